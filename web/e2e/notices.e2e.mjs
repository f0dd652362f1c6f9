import { describe } from "node:test";
import { checkAccessibility, eventually, lastReply } from "./support/browser.mjs";
import { banner, redacted } from "./support/redacted.mjs";
import { scenes } from "./support/scenes.mjs";

const notices = (page) => page.getByRole("list", { name: "Notices" }).locator(":scope > li");
const open = async (page) => {
  await banner(page).click();
  await page.getByRole("heading", { level: 1, name: "Notices" }).waitFor();
  await eventually(() => notices(page).count(), 1);
};
const nothing = (page) => page.getByText("Nothing to review.").waitFor();

describe("notices", () => {
  const test = scenes({ settings: "[models.offline]\npause_ms = 0\n" });

  test("tell whose reply recalled what somebody redacted, and remove the reply", async (scene) => {
    const { duet, page } = scene;
    const place = await redacted(scene);
    await open(page);
    await checkAccessibility(page, "notices");
    await notices(page).getByRole("link").click();
    await page.waitForURL(`**${place}?message=*`);
    await lastReply(page).getByText("Maria").first().waitFor();
    await open(page);
    await notices(page).getByRole("button", { name: "Remove reply" }).click();
    await nothing(page);
    await eventually(() => banner(page).count(), 0);
    await page.goto(duet.url + place);
    await lastReply(page).getByText("This reply was redacted.").waitFor();
    await eventually(() => page.getByText("Maria").count(), 0);
    await eventually(() => banner(page).count(), 0);
  });

  test("are settled by keeping the reply as well", async (scene) => {
    const { duet, page } = scene;
    const place = await redacted(scene);
    await open(page);
    await notices(page).getByRole("button", { name: "Keep reply" }).click();
    await nothing(page);
    await page.goto(duet.url + place);
    await lastReply(page).getByText("Maria").first().waitFor();
    await eventually(() => banner(page).count(), 0);
  });

  test(
    "say so where there are none",
    async ({ page }) => {
      await nothing(page);
      await eventually(() => banner(page).count(), 0);
      await checkAccessibility(page, "no notices");
    },
    { at: "/settings/notices" },
  );
});

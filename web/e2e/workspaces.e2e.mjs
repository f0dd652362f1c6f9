import assert from "node:assert/strict";
import { join } from "node:path";
import { describe } from "node:test";
import { checkAccessibility, checkTargets, desktop, eventually, phone, screenshots } from "./support/browser.mjs";
import { scenes } from "./support/scenes.mjs";

const switcher = (page) => page.getByRole("button", { name: /^Workspace:/ });
const menu = (page) => page.getByRole("dialog", { name: "Workspaces" });
const list = (page) => page.getByRole("navigation", { name: "Conversations" });
const current = (page) => new URL(page.url()).searchParams.get("workspace");
const writeTo = (page, name) => page.getByRole("textbox", { name: `Write to ${name}` });

/** Creates a second workspace with its own companion, returns the ids of both, and shows the first. */
async function second({ page, duet }) {
  const { id } = await duet.call("POST", "/v1/workspaces", { name: "Choir", companion_name: "Remy" });
  const first = duet.home.split("/").at(-1);
  await page.goto(`${duet.url}/chat?workspace=${first}`);
  await switcher(page).waitFor();
  return { first, second: id };
}

describe("several workspaces", () => {
  const test = scenes();

  test("are not offered to a person who has one, whose addresses do not name it", async ({ page }) => {
    await page.getByRole("button", { name: "Account and settings" }).waitFor();
    assert.equal(await switcher(page).count(), 0);
    await eventually(async () => current(page), null);
  });

  test("are listed, with the one that is shown marked", async (scene) => {
    const { page } = scene;
    await second(scene);
    await switcher(page).click();
    const names = await menu(page).getByRole("listitem").allInnerTexts();
    assert.deepEqual(
      names.map((name) => name.trim()),
      ["Home", "Choir"],
    );
    await eventually(() => menu(page).locator('[aria-current="true"]').allInnerTexts(), [names[0]]);
    await page.keyboard.press("Escape");
    await menu(page).waitFor({ state: "hidden" });
  });

  test("are switched by keyboard, each with its own conversations and companion", async (scene) => {
    const { page, duet } = scene;
    await duet.talk("My sister is called Maria.");
    const ids = await second(scene);
    await switcher(page).focus();
    await page.keyboard.press("Enter");
    await menu(page).waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await writeTo(page, "Remy").waitFor();
    await eventually(async () => current(page), ids.second);
    await page.getByRole("button", { name: "Workspace: Choir" }).waitFor();
    await list(page).getByText("Your conversations will appear here.").waitFor();
    await writeTo(page, "Remy").fill("What is my sister called?");
    await page.keyboard.press("Enter");
    const reply = page.getByRole("article", { name: "Remy said" });
    await reply.and(page.locator('[data-status="complete"]')).waitFor();
    assert.doesNotMatch(await reply.textContent(), /Maria/);
    await list(page).getByRole("link", { name: "What is my sister called?" }).waitFor();
    await eventually(() => list(page).getByRole("link", { name: /Maria/ }).count(), 0);
    await switcher(page).click();
    await menu(page).getByRole("button").first().click();
    await list(page).getByRole("link", { name: /Maria/ }).click();
    await page.getByRole("article", { name: "Juno said" }).waitFor();
    await eventually(async () => current(page), ids.first);
    await eventually(() => list(page).getByRole("link", { name: "What is my sister called?" }).count(), 0);
  });

  test("stay chosen over a reload, a link and a new tab", async (scene) => {
    const { page, context, duet } = scene;
    const ids = await second(scene);
    await switcher(page).click();
    await menu(page).getByText("Choir").click();
    await writeTo(page, "Remy").waitFor();
    await page.reload();
    await writeTo(page, "Remy").waitFor();
    await eventually(async () => current(page), ids.second);
    await list(page).getByRole("link", { name: "New conversation" }).click();
    await writeTo(page, "Remy").waitFor();
    await eventually(async () => current(page), ids.second);
    const tab = await context.newPage();
    await tab.goto(duet.url);
    await writeTo(tab, "Remy").waitFor();
    assert.equal(current(tab), ids.second);
  });

  test("give way to one of the person's own where the address names another", async (scene) => {
    const { page, duet } = scene;
    const ids = await second(scene);
    await page.goto(`${duet.url}/chat?workspace=00000000-0000-7000-8000-000000000000`);
    await writeTo(page, "Juno").waitFor();
    await eventually(async () => current(page), ids.first);
  });

  for (const [size, screen] of Object.entries({
    desktop: { viewport: desktop },
    phone: { viewport: phone, touch: true },
  })) {
    for (const colorScheme of ["light", "dark"]) {
      test(
        `look right with the menu open, ${size}, ${colorScheme}`,
        async (scene) => {
          const { page } = scene;
          const where = `workspaces, ${size}, ${colorScheme}`;
          const { duet } = scene;
          await duet.call("POST", "/v1/workspaces", { name: "Choir", companion_name: "Remy" });
          await page.reload();
          await page.getByRole("heading", { level: 1 }).waitFor();
          if (size === "phone") await page.getByRole("button", { name: "Conversations" }).click();
          await switcher(page).click();
          await menu(page).getByText("Choir").waitFor();
          await checkAccessibility(page, where);
          if (screen.touch) await checkTargets(page, where);
          await page.screenshot({ path: join(screenshots, `workspaces-${size}-${colorScheme}.png`) });
          await menu(page).getByText("Choir").click();
          await writeTo(page, "Remy").waitFor();
          if (size === "phone") await list(page).waitFor({ state: "detached" });
        },
        { ...screen, colorScheme },
      );
    }
  }
});

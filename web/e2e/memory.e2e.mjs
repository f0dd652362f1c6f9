import assert from "node:assert/strict";
import { describe } from "node:test";
import {
  checkAccessibility,
  checkTargets,
  eventually,
  guest,
  lastReply,
  openBasis,
  phone,
  say,
} from "./support/browser.mjs";
import { scenes } from "./support/scenes.mjs";
import { inbox } from "./support/waiting.mjs";

describe("memories that wait for a person", () => {
  const test = scenes({ settings: "[models.offline]\npause_ms = 0\n" });

  const waiting = (page) => page.getByRole("list", { name: "Suggested memories" }).getByRole("listitem");
  const review = async (duet, id) => (await duet.call("GET", `${duet.home}/memories/${id}`)).review;

  /** The owner shares a memory, and the guest suggests another in its place. */
  const suggested = async ({ duet, page }) => {
    const bea = await duet.join(guest);
    const old = await duet.call("POST", `${duet.home}/memories`, {
      text: "The harbour master is called Maria.",
      visibility: "shared",
    });
    const next = await bea.call("POST", `${bea.home}/memories`, {
      text: "The harbour master is called Mario.",
      visibility: "shared",
      supersedes: old.id,
    });
    await page.reload();
    await inbox(page, 1).waitFor();
    return { old, next, bea };
  };

  for (const [button, state] of [
    ["Accept", "accepted"],
    ["Reject", "rejected"],
  ]) {
    test(`are told of once, by whom, and ${state} on the page of the notices as well`, async (scene) => {
      const { duet, page } = scene;
      const { next } = await suggested(scene);
      assert.equal(await page.getByText(/was suggested/).count(), 0);
      await page.getByRole("button", { name: "Account and settings" }).click();
      await page.getByRole("button", { name: "Notices", exact: true }).click();
      await page.getByRole("heading", { level: 1, name: "Notices" }).waitFor();
      await eventually(() => waiting(page).count(), 1);
      await waiting(page).getByText("Bea suggests").waitFor();
      assert.match(await waiting(page).textContent(), /Bea suggests.*The harbour master is called Mario\./);
      await checkAccessibility(page, "suggested memories");
      await waiting(page).getByRole("button", { name: button }).click();
      await page.getByText("Nothing to review.").waitFor();
      assert.equal(await review(duet, next.id), state);
      await inbox(page).waitFor();
    });
  }

  test("are not put before whoever suggested them", async (scene) => {
    const { duet, open } = scene;
    const { bea } = await suggested(scene);
    const { page } = await open({ cookie: bea.cookie });
    await page.goto(`${duet.url}/settings/notices`);
    await page.getByText("Nothing to review.").waitFor();
    assert.equal(await waiting(page).count(), 0);
  });

  test(
    "are accepted where a reply shows them",
    async ({ duet, page }) => {
      await say(page, "My sister is called Maria.");
      await openBasis(lastReply(page));
      const line = lastReply(page).locator('[data-memory="remembered"]', { hasText: "Maria" });
      await line.waitFor();
      const { items } = await duet.call("GET", `${duet.home}/memories`);
      const { id } = items.find(({ text }) => text === "My sister is called Maria.");
      await duet.call("PATCH", `${duet.home}/memories/${id}`, { review: "proposed" });
      await page.reload();
      await openBasis(lastReply(page));
      await line.tap();
      const panel = page.getByRole("dialog", { name: "Remembered" });
      await panel.getByText("It’s waiting for your review").waitFor();
      await checkTargets(page, "a memory to review");
      await panel.getByRole("button", { name: "Accept" }).tap();
      await panel.getByText("It’s waiting for your review").waitFor({ state: "detached" });
      assert.equal(await review(duet, id), "accepted");
      await inbox(page).waitFor();
    },
    { viewport: phone, touch: true },
  );
});

import assert from "node:assert/strict";
import { describe } from "node:test";
import { eventually, phone, said, say } from "./support/browser.mjs";
import { scenes } from "./support/scenes.mjs";

describe("the list of conversations", () => {
  const test = scenes({ settings: "[models.offline]\npause_ms = 0\n" });

  const list = (page) => page.getByRole("navigation", { name: "Conversations" });
  const item = (page, text) => list(page).getByRole("listitem").filter({ hasText: text });
  const actions = (page, text) => item(page, text).getByRole("button", { name: /^Actions for/ });
  const open = async (page, text) => {
    await item(page, text).hover();
    await actions(page, text).click();
  };
  /** Creates two conversations and reloads the page. */
  const two = async ({ page, duet }) => {
    await duet.talk("Tell me about lighthouses.");
    await duet.talk("Plans for the harbour festival.");
    await page.reload();
    await eventually(() => list(page).getByRole("listitem").count(), 2);
  };

  test("names conversations after their first message, newest first", async (scene) => {
    await two(scene);
    const names = await list(scene.page).getByRole("listitem").getByRole("link").allInnerTexts();
    assert.equal(names.length, 2);
    assert.match(names[0], /harbour/);
    assert.match(names[1], /lighthouses/);
  });

  test("renames, and leaves the name with Esc; the focus is back at the menu", async (scene) => {
    const { page } = scene;
    await two(scene);
    await open(page, "lighthouses");
    await page.getByRole("button", { name: "Rename" }).click();
    const field = page.getByLabel("New name for this conversation");
    await field.fill("Nothing");
    await field.press("Escape");
    await list(page).getByRole("link", { name: "lighthouses" }).waitFor();
    const focused = (text) => actions(page, text).evaluate((button) => button === document.activeElement);
    await eventually(() => focused("lighthouses"), true);
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Rename" }).click();
    await field.fill("Towers by the sea");
    await field.press("Enter");
    await list(page).getByRole("link", { name: "Towers by the sea" }).waitFor();
    await eventually(() => focused("Towers"), true);
    assert.equal(await page.getByRole("button", { name: "Rename" }).count(), 0);
    await page.reload();
    await list(page).getByRole("link", { name: "Towers by the sea" }).click();
    await page.getByRole("heading", { level: 1, name: "Towers by the sea" }).waitFor();
  });

  test("searches what was said, marks the matches, and leads to the message", async (scene) => {
    const { page } = scene;
    await two(scene);
    await page.getByLabel("Search conversations").fill("harbour fest");
    const found = list(page).getByRole("list", { name: "Found" });
    const mine = found.getByRole("link").filter({ hasText: "You, " });
    await eventually(() => mine.locator("mark").allInnerTexts(), ["harbour", "fest"]);
    await mine.click();
    await said(page, "festival").waitFor();
    await page.getByLabel("Search conversations").fill("zeppelin");
    await page.getByText("Nothing found").waitFor();
    await page.getByRole("button", { name: "Clear search" }).click();
    await list(page).getByRole("link", { name: "lighthouses" }).waitFor();
  });

  test("shows hits in offline replies without their label", async ({ page }) => {
    await say(page, "My sister is called Maria.");
    await page.getByLabel("Search conversations").fill("maria");
    const found = list(page).getByRole("list", { name: "Found" });
    await eventually(() => found.getByRole("link").count(), 2);
    await found.getByText("Companion, ").waitFor();
    assert.doesNotMatch(await found.textContent(), /offline fallback|no model is configured/);
  });

  test("archives, which can be undone, and restores", async (scene) => {
    const { page } = scene;
    await two(scene);
    await open(page, "lighthouses");
    await page.getByRole("dialog").getByRole("button", { name: "Archive" }).click();
    await item(page, "lighthouses").waitFor({ state: "detached" });
    const undo = page.getByRole("button", { name: "Undo" });
    await eventually(() => undo.evaluate((button) => button === document.activeElement), true);
    await undo.press("Enter");
    await item(page, "lighthouses").waitFor();
    await eventually(() => undo.count(), 0);
    const row = list(page).getByRole("link", { name: "lighthouses" });
    await eventually(() => row.evaluate((link) => link === document.activeElement), true);
    await open(page, "lighthouses");
    await page.getByRole("dialog").getByRole("button", { name: "Archive" }).click();
    await page.getByText("Archived.").waitFor();
    await page.getByRole("button", { name: "Dismiss" }).click();
    await list(page).getByRole("button", { name: "Archived", exact: true }).click();
    await open(page, "lighthouses");
    await page.getByRole("button", { name: "Restore" }).click();
    await page.getByText("Nothing is archived.").waitFor();
    await page.getByText("Restored.").waitFor();
    await list(page).getByRole("button", { name: "Back to conversations" }).click();
    await item(page, "lighthouses").waitFor();
  });

  const drawn = { viewport: phone, touch: true };
  test(
    "is a drawer on a phone, which closes wherever it leads",
    async (scene) => {
      const { page, duet } = scene;
      await duet.talk("Tell me about lighthouses.");
      await page.reload();
      const drawer = page.getByRole("button", { name: "Conversations" });
      const leads = {
        "a conversation": () => list(page).getByRole("link", { name: "lighthouses" }).tap(),
        "a hit": async () => {
          await page.getByLabel("Search conversations").fill("lighthouses");
          await list(page).getByRole("list", { name: "Found" }).getByRole("link").first().tap();
        },
        "the members": async () => {
          await page.getByRole("button", { name: "Account and settings" }).tap();
          await page.getByRole("button", { name: "Members" }).tap();
          await page.getByRole("heading", { level: 1, name: "Members" }).waitFor();
        },
        "a new conversation": () => list(page).getByRole("link", { name: "New conversation" }).tap(),
        "the Escape key": () => page.keyboard.press("Escape"),
        "the page behind": () => page.touchscreen.tap(380, 400),
      };
      for (const lead of Object.values(leads)) {
        await drawer.tap();
        await list(page).waitFor();
        await lead();
        await list(page).waitFor({ state: "detached" });
      }
    },
    drawn,
  );
});

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openBrowser, openPage, phone, say, setUp } from "./support/browser.mjs";
import { startDuet } from "./support/duet.mjs";

describe("the list of conversations", () => {
  let duet;
  let browser;
  let page;
  let watch;
  before(async () => {
    duet = await startDuet();
    browser = await openBrowser();
    ({ page, watch } = await openPage(browser, duet.url));
    await setUp(page, duet);
    for (const text of ["Tell me about lighthouses.", "Plans for the harbour festival."]) {
      await page.getByRole("link", { name: "New conversation" }).click();
      await say(page, text);
    }
  });
  after(async () => {
    await browser?.close();
    await duet?.stop();
  });
  const list = () => page.getByRole("navigation", { name: "Conversations" });

  it("names conversations after their first message, newest first", async () => {
    const names = await list().getByRole("listitem").getByRole("link").allInnerTexts();
    assert.equal(names.length, 2);
    assert.match(names[0], /harbour/);
    assert.match(names[1], /lighthouses/);
  });

  it("renames", async () => {
    const item = list().getByRole("listitem").filter({ hasText: "lighthouses" });
    await item.hover();
    await item.getByRole("button", { name: /^Actions for/ }).click();
    await page.getByRole("button", { name: "Rename" }).click();
    const field = page.getByLabel("New name of the conversation");
    await field.fill("Towers by the sea");
    await field.press("Enter");
    await list().getByRole("link", { name: "Towers by the sea" }).waitFor();
    await page.reload();
    await list().getByRole("link", { name: "Towers by the sea" }).click();
    await page.getByRole("heading", { level: 1, name: "Towers by the sea" }).waitFor();
  });

  it("leaves the name with Esc", async () => {
    const item = list().getByRole("listitem").filter({ hasText: "Towers" });
    await item.hover();
    await item.getByRole("button", { name: /^Actions for/ }).click();
    await page.getByRole("button", { name: "Rename" }).click();
    const field = page.getByLabel("New name of the conversation");
    await field.fill("Nothing");
    await field.press("Escape");
    await list().getByRole("link", { name: "Towers by the sea" }).waitFor();
  });

  it("searches what was said and leads to the message", async () => {
    await page.getByLabel("Search conversations").fill("festival");
    const hit = list().getByRole("list", { name: "Found" }).getByRole("link").first();
    await hit.click();
    await page.getByRole("article", { name: "You said" }).filter({ hasText: "festival" }).waitFor();
    await page.getByLabel("Search conversations").fill("zeppelin");
    await page.getByText("Nothing found").waitFor();
    await page.getByRole("button", { name: "Clear the search" }).click();
    await list().getByRole("link", { name: "Towers by the sea" }).waitFor();
  });

  it("archives and brings back", async () => {
    const item = () => list().getByRole("listitem").filter({ hasText: "Towers" });
    await item().hover();
    await item()
      .getByRole("button", { name: /^Actions for/ })
      .click();
    await page.getByRole("dialog").getByRole("button", { name: "Archive" }).click();
    await item().waitFor({ state: "detached" });
    await list().getByRole("button", { name: "Archive", exact: true }).click();
    await item().hover();
    await item()
      .getByRole("button", { name: /^Actions for/ })
      .click();
    await page.getByRole("button", { name: "Bring back" }).click();
    await page.getByText("Nothing is archived.").waitFor();
    await list().getByRole("button", { name: "Back to conversations" }).click();
    await item().waitFor();
  });

  it("is a drawer on a phone", async () => {
    await page.setViewportSize(phone);
    await list().waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Conversations" }).click();
    await list().getByRole("link", { name: "Towers by the sea" }).click();
    await page.getByRole("heading", { level: 1, name: "Towers by the sea" }).waitFor();
    await list().waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Conversations" }).click();
    await page.keyboard.press("Escape");
    await list().waitFor({ state: "detached" });
  });

  it("had no error in the console, no breach of the policy, no request elsewhere", () => watch.check());
});

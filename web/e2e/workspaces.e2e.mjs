import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  checkAccessibility,
  checkWidth,
  desktop,
  eventually,
  openBrowser,
  openPage,
  phone,
  say,
  screenshots,
  setUp,
} from "./support/browser.mjs";
import { startDuet } from "./support/duet.mjs";

/** Makes a workspace over the API, as the person who is signed in on the page. */
const makeWorkspace = (page, name, companion_name) =>
  page.evaluate(
    async (body) => {
      const headers = { "content-type": "application/json", "x-duet-csrf": "1" };
      const answer = await fetch("/v1/workspaces", { method: "POST", headers, body: JSON.stringify(body) });
      if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
      return (await answer.json()).id;
    },
    { name, companion_name },
  );

describe("several workspaces", () => {
  let duet;
  let browser;
  let page;
  let context;
  let watch;
  let first;
  let second;
  before(async () => {
    duet = await startDuet();
    browser = await openBrowser();
    ({ page, context, watch } = await openPage(browser, duet.url));
    await setUp(page, duet);
    await say(page, "My sister is called Maria.");
  });
  after(async () => {
    await browser?.close();
    await duet?.stop();
  });
  const switcher = () => page.getByRole("button", { name: /^Workspace:/ });
  const menu = () => page.getByRole("dialog", { name: "Workspaces" });
  const list = () => page.getByRole("navigation", { name: "Conversations" });
  const current = () => new URL(page.url()).searchParams.get("workspace");

  it("are not offered to a person who has one, whose addresses do not name it", async () => {
    await page.getByRole("button", { name: "Account and settings" }).waitFor();
    assert.equal(await switcher().count(), 0);
    await eventually(async () => current(), null);
  });

  it("are listed, with the one that is shown marked", async () => {
    second = await makeWorkspace(page, "Choir", "Remy");
    await page.reload();
    await switcher().waitFor();
    first = current();
    assert.ok(first && first !== second);
    await switcher().click();
    const names = await menu().getByRole("listitem").allInnerTexts();
    assert.equal(names.length, 2);
    assert.equal(names[1].trim(), "Choir");
    assert.equal(await menu().locator('[aria-current="true"]').count(), 1);
    assert.equal(await menu().locator('[aria-current="true"]').textContent(), names[0]);
    await page.keyboard.press("Escape");
    await menu().waitFor({ state: "hidden" });
  });

  it("are switched by keyboard, each with its own conversations and companion", async () => {
    await switcher().focus();
    await page.keyboard.press("Enter");
    await menu().waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("textbox", { name: "Write to Remy" }).waitFor();
    await eventually(async () => current(), second);
    await page.getByRole("button", { name: "Workspace: Choir" }).waitFor();
    await list().getByText("Your conversations will be listed here.").waitFor();
    await page.getByRole("textbox", { name: "Write to Remy" }).fill("What is my sister called?");
    await page.keyboard.press("Enter");
    const reply = page.getByRole("article", { name: "Remy said" });
    await reply.and(page.locator('[data-status="complete"]')).waitFor();
    assert.doesNotMatch(await reply.textContent(), /Maria/);
    await list().getByRole("link", { name: "What is my sister called?" }).waitFor();
    await eventually(() => list().getByRole("link", { name: /Maria/ }).count(), 0);
  });

  it("stay chosen over a reload, a link and a new tab", async () => {
    assert.match(page.url(), /\/chat\/[\w-]+\?/);
    await page.reload();
    await page.getByRole("article", { name: "Remy said" }).waitFor();
    await eventually(async () => current(), second);
    await list().getByRole("link", { name: "New conversation" }).click();
    await page.getByRole("textbox", { name: "Write to Remy" }).waitFor();
    await eventually(async () => current(), second);
    const tab = await context.newPage();
    await tab.goto(duet.url);
    await tab.getByRole("textbox", { name: "Write to Remy" }).waitFor();
    assert.equal(new URL(tab.url()).searchParams.get("workspace"), second);
    await tab.close();
  });

  it("give way to one of the person's own where the address names another", async () => {
    await page.goto(`${duet.url}/chat?workspace=00000000-0000-7000-8000-000000000000`);
    await page.getByRole("textbox", { name: "Write to Remy" }).waitFor();
    await eventually(async () => current(), second);
  });

  it("are switched back, with the conversations that were there", async () => {
    await switcher().click();
    await menu().getByRole("button").first().click();
    await list().getByRole("link", { name: /Maria/ }).click();
    await page.getByRole("article", { name: "Juno said" }).waitFor();
    await eventually(async () => current(), first);
    await eventually(() => list().getByRole("link", { name: "What is my sister called?" }).count(), 0);
  });

  for (const [size, viewport] of Object.entries({ desktop, phone })) {
    for (const colorScheme of ["light", "dark"]) {
      it(`look right with the menu open, ${size}, ${colorScheme}: accessible, in width`, async () => {
        const where = `workspaces, ${size}, ${colorScheme}`;
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize(viewport);
        await page.goto(`${duet.url}/chat?workspace=${first}`);
        await page.getByRole("heading", { level: 1 }).waitFor();
        const drawer = page.getByRole("button", { name: "Conversations" });
        if (size === "phone") await drawer.click();
        await switcher().click();
        await menu().getByText("Choir").waitFor();
        await checkWidth(page, where);
        await checkAccessibility(page, where);
        await page.screenshot({ path: join(screenshots, `workspaces-${size}-${colorScheme}.png`) });
        await menu().getByText("Choir").click();
        await page.getByRole("textbox", { name: "Write to Remy" }).waitFor();
        await eventually(async () => current(), second);
        if (size === "phone") await list().waitFor({ state: "detached" });
      });
    }
  }

  it("had no error in the console, no breach of the policy, no request elsewhere", () => watch.check());
});

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  checkAccessibility,
  checkWidth,
  desktop,
  eventually,
  lastReply,
  openBrowser,
  openPage,
  phone,
  say,
  screenshots,
  send,
  settled,
  setUp,
  writing,
} from "./support/browser.mjs";
import { startDuet } from "./support/duet.mjs";

const sizes = { desktop, phone };
const schemes = ["light", "dark"];

/** Opens a route in a size and a scheme, checks it, and keeps a picture. */
async function look(browser, duet, name, size, colorScheme, path, { cookies, act = () => undefined } = {}) {
  const where = `${name}, ${size}, ${colorScheme}`;
  const { page, context, watch } = await openPage(browser, duet.url, { viewport: sizes[size], colorScheme });
  try {
    if (cookies) {
      await context.addCookies(cookies);
      await page.addInitScript(() => localStorage.setItem("duet.signed-in", "1"));
    }
    await page.goto(duet.url + path);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await act(page);
    await page.evaluate(() => document.fonts.ready);
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), colorScheme, where);
    await checkWidth(page, where);
    await checkAccessibility(page, where);
    await page.screenshot({ path: join(screenshots, `${name}-${size}-${colorScheme}.png`) });
    watch.check();
  } finally {
    await context.close();
  }
}

describe("how a fresh installation looks", () => {
  let duet;
  let browser;
  before(async () => {
    duet = await startDuet();
    browser = await openBrowser();
  });
  after(async () => {
    await browser?.close();
    await duet?.stop();
  });
  for (const size of Object.keys(sizes)) {
    for (const scheme of schemes) {
      it(`set-up, ${size}, ${scheme}: accessible, in width, without errors`, () =>
        look(browser, duet, "setup", size, scheme, "/setup"));
    }
  }
});

describe("how it looks", () => {
  let duet;
  let browser;
  let chat;
  let state;
  before(async () => {
    duet = await startDuet();
    browser = await openBrowser();
    const { page, context } = await openPage(browser, duet.url);
    await setUp(page, duet);
    await say(page, "My sister is called Maria and lives in Porto, by the river.");
    await say(page, "What is my sister called?");
    await say(
      page,
      "What is **strong** `code` [link](https://example.org/a-rather-long-address-that-does-not-break-by-itself-anywhere/at/all)?",
    );
    await send(page, "Tell me a long story.");
    await writing(page, "Mira");
    await page.keyboard.press("Escape");
    await settled(page, "stopped");
    chat = new URL(page.url()).pathname;
    state = await context.storageState();
    await context.close();
  });
  after(async () => {
    await browser?.close();
    await duet?.stop();
  });

  const openDrawer = async (page) => {
    const button = page.getByRole("button", { name: "Conversations" });
    if (await button.isVisible()) await button.click();
    await page.getByRole("navigation", { name: "Conversations" }).waitFor();
  };
  const pages = {
    "new-chat": ["/chat", () => undefined],
    chat: [() => chat, (page) => lastReply(page).waitFor()],
    source: [
      () => chat,
      async (page) => {
        await page.locator('[data-memory="recalled"]').first().click();
        await page.getByText("Why do you remember this?").waitFor();
      },
    ],
    list: ["/chat", openDrawer],
    account: [
      "/chat",
      async (page) => {
        await openDrawer(page);
        await page.getByRole("button", { name: "Account and settings" }).click();
        await page.getByText("Appearance").waitFor();
      },
    ],
    search: [
      "/chat",
      async (page) => {
        await openDrawer(page);
        await page.getByLabel("Search conversations").fill("sister");
        await page.getByRole("list", { name: "Found" }).waitFor();
      },
    ],
    "not-found": ["/nowhere/at/all", () => undefined],
  };
  for (const [name, [path, act]] of Object.entries(pages)) {
    for (const size of Object.keys(sizes)) {
      for (const scheme of schemes) {
        it(`${name}, ${size}, ${scheme}: accessible, in width, without errors`, () => {
          const place = typeof path === "function" ? path() : path;
          return look(browser, duet, name, size, scheme, place, { cookies: state.cookies, act });
        });
      }
    }
  }
  for (const size of Object.keys(sizes)) {
    for (const scheme of schemes) {
      it(`sign-in, ${size}, ${scheme}: accessible, in width, without errors`, () =>
        look(browser, duet, "sign-in", size, scheme, "/sign-in"));
    }
  }

  it("follows the choice of a theme, also after a reload", async () => {
    const { page, context, watch } = await openPage(browser, duet.url);
    await context.addCookies(state.cookies);
    await page.addInitScript(() => localStorage.setItem("duet.signed-in", "1"));
    await page.goto(`${duet.url}/chat`);
    await page.getByRole("button", { name: "Account and settings" }).click();
    await page.getByText("Dark", { exact: true }).click();
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    await eventually(theme, "dark");
    await page.reload();
    await eventually(theme, "dark");
    watch.check();
    await context.close();
  });

  it("can be used by keyboard alone: skip link first, focus to be seen, panels close with Esc", async () => {
    const { page, context, watch } = await openPage(browser, duet.url);
    await context.addCookies(state.cookies);
    await page.addInitScript(() => localStorage.setItem("duet.signed-in", "1"));
    await page.goto(duet.url + chat);
    await lastReply(page).waitFor();
    // From the top of the page, as if it had just been opened.
    await page.evaluate(() => {
      document.body.tabIndex = -1;
      document.body.focus();
    });
    await page.keyboard.press("Tab");
    const skip = page.getByRole("link", { name: "Skip to the conversation" });
    assert.ok(
      await skip.evaluate(
        (element) => element === document.activeElement && getComputedStyle(element).outlineStyle !== "none",
      ),
    );
    await page.keyboard.press("Enter");
    await eventually(() => page.evaluate(() => document.activeElement?.id), "content");
    await page.locator('[data-memory="recalled"]').first().focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "From memory" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog", { name: "From memory" }).waitFor({ state: "hidden" });
    watch.check();
    await context.close();
  });
});

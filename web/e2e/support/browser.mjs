// A real Chromium, and a record of everything that must not happen in it.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { chromium } from "playwright-core";

const candidates = [
  process.env.DUET_CHROMIUM,
  process.env.CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

export const desktop = { width: 1280, height: 800 };
export const phone = { width: 390, height: 844 };

/** Where screenshots go, for people to look at. */
export const screenshots = process.env.DUET_SCREENSHOTS ?? join(tmpdir(), "duet-screenshots");
mkdirSync(screenshots, { recursive: true });

export async function openBrowser() {
  const executablePath = candidates.find((path) => path && existsSync(path));
  if (!executablePath)
    throw new Error("The browser tests need Chromium or Chrome: install it, or name it in DUET_CHROMIUM.");
  return chromium.launch({ executablePath, args: flags });
}

/**
 * A page of a fresh profile. `watch.check()` fails if there was an error in the console, an uncaught error, a breach of the
 * content security policy, or a request to anywhere but `origin` and `others`. `watch.expect(pattern)` lets one kind of console error pass: the
 * browser reports each answer of 400 and above as one, also where the test provoked it.
 */
export async function openPage(browser, origin, { viewport = desktop, colorScheme = "light", others = [] } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, locale: "en-GB", reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const wrong = [];
  const expected = [];
  page.on("console", (message) => {
    const text = `${message.type()}: ${message.text()} (${message.location().url})`;
    const bad = message.type() === "error" || message.type() === "warning";
    if (bad && !expected.some((pattern) => pattern.test(text))) wrong.push(text);
  });
  page.on("pageerror", (error) => wrong.push(`uncaught: ${error.message}`));
  page.on("request", (request) => {
    const { protocol, origin: to } = new URL(request.url());
    if (protocol !== "data:" && to !== origin && !others.includes(to)) wrong.push(`request outside: ${request.url()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      console.error(`content security policy: ${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  const watch = {
    expect: (pattern) => expected.push(pattern),
    check: () => assert.deepEqual(wrong, []),
  };
  return { page, context, watch };
}

const axe = readFileSync(new URL("../../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** Fails if axe finds anything on the page as it is now. */
export async function checkAccessibility(page, where) {
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const result = await window.axe.run(document, { resultTypes: ["violations"] });
    return result.violations.map(({ id, nodes }) => ({
      id,
      nodes: nodes.map((node) => `${node.target} – ${node.failureSummary}`),
    }));
  });
  assert.deepEqual(violations, [], `axe: ${where}`);
}

/** Fails if the page scrolls sideways. */
export async function checkWidth(page, where) {
  const { wide, room } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    room: window.innerWidth,
  }));
  assert.ok(wide <= room, `${where} scrolls sideways: ${wide} in ${room}`);
}

/** Waits until `read` gives `expected`: what a page shows follows an action a moment later. */
export async function eventually(read, expected, timeout = 10_000) {
  const until = Date.now() + timeout;
  for (;;) {
    const actual = await read();
    if (isDeepStrictEqual(actual, expected)) return;
    if (Date.now() > until) assert.deepEqual(actual, expected);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export const owner = { name: "Ada", email: "ada@example.org", password: "correct horse battery", companion: "Juno" };

/** Goes through the wizard with a token that is already filled in or given. */
export async function setUp(page, { url, token }) {
  await page.goto(`${url}/setup#token=${encodeURIComponent(token)}`);
  await fillYou(page);
  await page.getByLabel("Companion’s name").fill(owner.companion);
  await page.getByRole("button", { name: "Start the first chat" }).click();
  await page.getByRole("heading", { name: owner.name }).waitFor();
}

export async function fillYou(page) {
  await page.getByLabel("What should your companion call you?").fill(owner.name);
  await page.getByLabel("E-mail").fill(owner.email);
  await page.getByLabel("Password").fill(owner.password);
  await page.getByRole("button", { name: "Go on" }).click();
}

export const composer = (page) => page.getByRole("textbox", { name: /^Write to/ });
export const replies = (page) => page.getByRole("article", { name: `${owner.companion} said` });
export const lastReply = (page) => replies(page).last();

/** Sends a message. */
export async function send(page, text) {
  await composer(page).fill(text);
  await composer(page).press("Enter");
}

/** Waits until the newest reply is whole (or has another status) and gives its text. */
export async function settled(page, status = "complete", timeout = 60_000) {
  await page.locator(`article[data-status="${status}"]`).last().waitFor({ timeout });
  await page.getByRole("button", { name: "Send" }).waitFor({ timeout });
  // biome-ignore lint/performance/useDomNodeTextContent: paragraphs and lines have to stay apart.
  return lastReply(page).locator(".prose").innerText();
}

/** Sends a message and waits for the whole reply. */
export async function say(page, text) {
  const before = await replies(page).count();
  await send(page, text);
  await page.waitForFunction(
    ({ name, before }) => {
      const all = document.querySelectorAll(`article[aria-label="${name} said"]`);
      return all.length > before && all[all.length - 1].dataset.status === "complete";
    },
    { name: owner.companion, before },
    { timeout: 60_000 },
  );
  return settled(page);
}

/** Waits until the reply being written has some text. */
export async function writing(page, text) {
  await page.locator('article[data-status="writing"] .prose', { hasText: text }).waitFor({ timeout: 30_000 });
}

/** The numbers in a text, in order. */
export const numbers = (text) => (text.match(/\d+/g) ?? []).map(Number);

/** 1, 2, 3 … */
export const upTo = (last) => Array.from({ length: last }, (_, index) => index + 1);

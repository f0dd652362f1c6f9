// A real Chromium, and a record of everything that must not happen in it.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { chromium } from "playwright-core";
import { guest, owner } from "./people.mjs";

export { guest, owner };

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

/** Where screenshots are stored. */
export const screenshots = process.env.DUET_SCREENSHOTS ?? join(tmpdir(), "duet-screenshots");
mkdirSync(screenshots, { recursive: true });

export async function openBrowser() {
  const executablePath = candidates.find((path) => path && existsSync(path));
  if (!executablePath)
    throw new Error("The browser tests need Chromium or Chrome: install it, or name it in DUET_CHROMIUM.");
  return chromium.launch({ executablePath, args: flags });
}

/**
 * In the page: disables movement and fading, so that measurements are stable, and checks that the page itself never scrolls, at any
 * time, on any screen, and that inner scrolling areas never scroll sideways. Findings go to the console, where `watch` reads them.
 */
function guard() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("*, *::before, *::after { animation: none !important; transition: none !important; }");
  document.adoptedStyleSheets = [sheet];
  const told = new Set();
  let before = "";
  const look = () => {
    const { scrollHeight, clientHeight, scrollWidth, clientWidth } = document.documentElement;
    let now = "";
    if (scrollHeight > clientHeight) now = `${scrollHeight} high in ${clientHeight}`;
    if (scrollWidth > clientWidth) now = `${scrollWidth} wide in ${clientWidth}`;
    for (const { scrollWidth: all, clientWidth: seen } of document.querySelectorAll(".scroller")) {
      if (all > seen) now = `what scrolls is ${all} wide in ${seen}`;
    }
    if (window.scrollY > 0 || document.body.scrollTop > 0) now = "scrolled away";
    // Seen twice in a row: not a window in the middle of a resize.
    if (now && now === before && !told.has(now)) {
      told.add(now);
      console.error(`the page does not fit its window: ${now}, at ${location.pathname}`);
    }
    before = now;
    requestAnimationFrame(look);
  };
  document.addEventListener("DOMContentLoaded", look);
  document.addEventListener("securitypolicyviolation", (event) => {
    console.error(`content security policy: ${event.violatedDirective} ${event.blockedURI}`);
  });
}

/**
 * A page in a fresh profile. `watch.check()` fails on a console error, an uncaught error, a violation of the
 * content security policy, a page taller or wider than its window, or a request to anywhere but `origin` and `others`. With `touch` it
 * acts as a phone, with `cookie` somebody is signed in. `watch.expect(pattern)` allows one kind of console error: the
 * browser reports each status of 400 and above as one, even when the test provoked it.
 */
export async function openPage(
  browser,
  origin,
  { viewport = desktop, colorScheme = "light", others = [], touch = false, cookie } = {},
) {
  const context = await browser.newContext({
    viewport,
    colorScheme,
    locale: "en-GB",
    reducedMotion: "reduce",
    isMobile: touch,
    hasTouch: touch,
    storageState: cookie && {
      cookies: [
        {
          ...cookie,
          domain: new URL(origin).hostname,
          path: "/",
          expires: -1,
          httpOnly: true,
          secure: false,
          sameSite: "Lax",
        },
      ],
      origins: [{ origin, localStorage: [{ name: "duet.signed-in", value: "1" }] }],
    },
  });
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
  await page.addInitScript(guard);
  const watch = {
    expect: (pattern) => expected.push(pattern),
    check: () => assert.deepEqual(wrong, []),
  };
  return { page, context, watch };
}

const axe = readFileSync(new URL("../../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** Fails if axe finds a problem on the page in its current state. */
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

/** Fails if a touch target on this page is smaller than 44 px in either direction, except links inside text. */
export async function checkTargets(page, where) {
  const small = await page.evaluate(() => {
    const pressed = "button, a[href], input, select, textarea, summary, label:has(input[type=radio]), [role=button]";
    const found = [];
    for (const element of document.querySelectorAll(pressed)) {
      if (element.closest(".prose, p") && element.matches("a")) continue;
      if (element.matches(".sr-only, :disabled") || element.closest("[inert]") || !element.checkVisibility()) continue;
      const { width, height, bottom } = element.getBoundingClientRect();
      // The skip link is above the window until it has the focus.
      if (bottom <= 0) continue;
      if (width < 43.5 || height < 43.5) {
        const name = element.getAttribute("aria-label") ?? element.textContent.trim();
        found.push(`${element.tagName} “${name}”: ${width.toFixed(0)} × ${height.toFixed(0)}`);
      }
      if (element.matches("input, select, textarea") && Number.parseFloat(getComputedStyle(element).fontSize) < 16)
        found.push(`${element.tagName}: its text is below 16 px`);
    }
    return found;
  });
  assert.deepEqual(small, [], `too small for a finger: ${where}`);
}

/** Waits until `read` returns `expected`: the page reacts to an action with a delay. */
export async function eventually(read, expected, timeout = 10_000) {
  const until = Date.now() + timeout;
  for (;;) {
    const actual = await read();
    if (isDeepStrictEqual(actual, expected)) return;
    if (Date.now() > until) assert.deepEqual(actual, expected);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Completes the wizard with a token that is already filled in or given. */
export async function setUp(page, { url, token }) {
  await page.goto(`${url}/setup#token=${encodeURIComponent(token)}`);
  await fillYou(page);
  await page.getByLabel("Companion’s name").fill(owner.companion);
  await page.getByRole("button", { name: "Start the first chat" }).click();
  await page.getByRole("heading", { name: owner.name }).waitFor();
}

export async function fillYou(page) {
  await page.getByLabel("What should your companion call you?").fill(owner.name);
  await page.getByLabel("Email").fill(owner.email);
  await page.getByLabel("Password").fill(owner.password);
  await page.getByRole("button", { name: "Continue" }).click();
}

export const composer = (page) => page.getByRole("textbox", { name: /^Write to/ });
export const replies = (page) => page.getByRole("article", { name: `${owner.companion} said` });
export const lastReply = (page) => replies(page).last();
/** The person's own messages, or those with the given text. */
export const said = (page, text) => {
  const all = page.getByRole("article", { name: "You said" });
  return text === undefined ? all : all.filter({ hasText: text });
};

/** Opens the sources of a reply. */
export const openBasis = (reply) => reply.locator("footer").getByRole("button", { expanded: false }).click();

export async function send(page, text) {
  await composer(page).fill(text);
  await composer(page).press("Enter");
}

/** Waits until the newest reply is whole (or has another status) and returns its text. */
export async function settled(page, status = "complete", timeout = 60_000) {
  await page.locator(`article[data-status="${status}"]`).last().waitFor({ timeout });
  await page.getByRole("button", { name: "Send", exact: true }).waitFor({ timeout });
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

/** Waits until the reply in progress has some text. */
export async function writing(page, text) {
  await page.locator('article[data-status="writing"] .prose', { hasText: text }).waitFor({ timeout: 30_000 });
}

/** The numbers in a text, in order. */
export const numbers = (text) => (text.match(/\d+/g) ?? []).map(Number);

/** 1, 2, 3 … */
export const upTo = (last) => Array.from({ length: last }, (_, index) => index + 1);

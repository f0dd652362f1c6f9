import assert from "node:assert/strict";
import { join } from "node:path";
import { describe } from "node:test";
import {
  checkAccessibility,
  checkTargets,
  desktop,
  eventually,
  lastReply,
  openBasis,
  phone,
  replies,
  screenshots,
} from "./support/browser.mjs";
import { redacted } from "./support/redacted.mjs";
import { scenes } from "./support/scenes.mjs";
import { askBefore, companion, openCard, waits } from "./support/waiting.mjs";

const screens = {
  desktop: { viewport: desktop },
  phone: { viewport: phone, touch: true },
  // Same as a window of 1280 × 800 at 400 %.
  zoomed: { viewport: { width: 320, height: 200 } },
};
const schemes = ["light", "dark"];

/** Checks the page in its current state, and keeps a screenshot. */
async function look({ page }, name, size, scheme) {
  const where = `${name}, ${size}, ${scheme}`;
  await page.evaluate(() => document.fonts.ready);
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), scheme, where);
  await checkAccessibility(page, where);
  if (screens[size].touch) await checkTargets(page, where);
  await page.screenshot({ path: join(screenshots, `${name}-${size}-${scheme}.png`) });
}

const settings = "[models.offline]\npause_ms = 0\n";
/** A conversation with most of the elements that occur. */
async function chat({ page, duet }) {
  const place = await duet.talk(
    "My sister is called Maria and lives in Porto, by the river.",
    "I am allergic to hazelnuts.",
    "What is **strong** `code` [link](https://example.org/a-rather-long-address-that-does-not-break-by-itself-anywhere/at/all)?",
    "What is my sister called?",
  );
  await page.goto(duet.url + place);
  await eventually(() => replies(page).count(), 4);
  await lastReply(page).locator(".prose").waitFor();
}
const drawer = async ({ page }) => {
  const button = page.getByRole("button", { name: "Conversations", exact: true });
  const list = page.getByRole("navigation", { name: "Conversations" });
  // A page that has just loaded briefly has neither.
  await button.or(list).first().waitFor();
  if (await button.isVisible()) await button.click();
  await list.waitFor();
};
const basis = async (scene) => {
  await chat(scene);
  await openBasis(lastReply(scene.page));
  await lastReply(scene.page).locator('[data-memory="recalled"]').first().getByText("Maria").waitFor();
};

/** Each screen, with the steps that lead to it. */
const pages = {
  setup: [
    async ({ page, duet }) => {
      await page.goto(`${duet.url}/setup`);
      await page.getByRole("heading", { name: "Let’s begin" }).waitFor();
    },
    { fresh: true },
  ],
  "setup-you": [
    async ({ page, duet }) => {
      await page.goto(`${duet.url}/setup#token=${duet.token}`);
      await page.getByRole("heading", { name: "About you" }).waitFor();
    },
    { fresh: true },
  ],
  "sign-in": [
    ({ page }) => page.getByRole("heading", { name: "Welcome back" }).waitFor(),
    { signedIn: false, at: "/sign-in" },
  ],
  "wrong-password": [
    async ({ page, owner, watch }) => {
      watch.expect(/status of 401/);
      await page.getByLabel("Email").fill(owner.email);
      await page.getByLabel("Password").fill("not this one");
      await page.getByRole("button", { name: "Sign in" }).click();
      const refusal = page.getByText("Wrong email or password");
      await refusal.waitFor();
      const inSight = () =>
        refusal.evaluate((element) => {
          const { top, bottom } = element.getBoundingClientRect();
          return top >= 0 && bottom <= innerHeight;
        });
      await eventually(inSight, true);
      const field = page.getByLabel("Password");
      await eventually(() => field.evaluate((element) => element === document.activeElement), true);
    },
    { signedIn: false, at: "/sign-in" },
  ],
  "new-chat": [({ page }) => page.getByRole("heading", { name: "Ada" }).waitFor()],
  chat: [chat],
  basis: [basis],
  source: [
    async (scene) => {
      await basis(scene);
      await lastReply(scene.page).locator('[data-memory="recalled"]').first().click();
      await scene.page.getByText("Why do you remember this?").waitFor();
    },
  ],
  list: [
    async (scene) => {
      await scene.duet.talk("Tell me about lighthouses.");
      await scene.page.reload();
      await drawer(scene);
      await scene.page.getByRole("link", { name: "lighthouses" }).waitFor();
    },
  ],
  archived: [
    async (scene) => {
      await scene.duet.talk("Tell me about lighthouses.");
      await scene.page.reload();
      await drawer(scene);
      await scene.page.getByRole("button", { name: /^Actions for/ }).focus();
      await scene.page.keyboard.press("Enter");
      await scene.page.getByRole("dialog").getByRole("button", { name: "Archive", exact: true }).click();
      await scene.page.getByRole("button", { name: "Undo" }).waitFor();
    },
  ],
  account: [
    async (scene) => {
      await drawer(scene);
      await scene.page.getByRole("button", { name: "Account and settings" }).click();
      await scene.page.getByText("Appearance").waitFor();
    },
  ],
  search: [
    async (scene) => {
      await scene.duet.talk("My sister is called Maria and lives in Porto, by the river.");
      await drawer(scene);
      await scene.page.getByLabel("Search conversations").fill("sister");
      await scene.page.getByRole("list", { name: "Found" }).locator("mark").first().waitFor();
    },
  ],
  members: [
    async ({ page, duet }) => {
      await page.goto(`${duet.url}/settings/members`);
      await page.getByText("No open invitations.").waitFor();
    },
  ],
  notices: [
    async (scene) => {
      await redacted(scene, 2);
      await scene.page.goto(`${scene.duet.url}/settings/notices`);
      await scene.page.getByRole("button", { name: "Remove replies" }).waitFor();
    },
  ],
  "notices-banner": [redacted],
  "no-notices": [({ page }) => page.getByText("Nothing to review.").waitFor(), { at: "/settings/notices" }],
  inbox: [
    async ({ page, duet }) => {
      await askBefore(duet, "memory_write", { why: "Memories are read first." });
      await waits(duet, "ask");
      await waits(duet, "keep odd");
      await page.goto(`${duet.url}/inbox`);
      await openCard(page, "question").waitFor();
    },
    { model: companion },
  ],
  "no-inbox": [({ page }) => page.getByText("Nothing is waiting for you.").waitFor(), { at: "/inbox" }],
  waiting: [
    async ({ page, duet }) => {
      await askBefore(duet, "memory_write", { why: "Memories are read first." });
      const { place } = await waits(duet, "keep odd");
      await page.goto(duet.url + place);
      await openCard(page, "approval").waitFor();
      await page.getByRole("button", { name: "Waiting for you" }).waitFor();
    },
    { model: companion },
  ],
  decided: [
    async ({ page, duet }) => {
      await askBefore(duet, "memory_write");
      const { place } = await waits(duet, "keep odd");
      await page.goto(duet.url + place);
      await openCard(page, "approval").getByRole("button", { name: "Approve" }).click();
      await page.getByText("Approved by you. The call was made").waitFor();
      await lastReply(page).getByText("So it is:").waitFor();
    },
    { model: companion },
  ],
  policy: [
    async ({ page, duet }) => {
      await askBefore(duet, "memory_write", { role: "member", tool: "remember", why: "Members ask." });
      await page.goto(`${duet.url}/settings/policy`);
      await page.getByText("Save memories, with remember, for members").waitFor();
    },
  ],
  "older-failures": [
    async ({ page, duet }) => {
      await page.goto(duet.url + (await duet.talk("refuse this", "break off", "Hello!")));
      await eventually(() => page.getByRole("button", { name: "Send again" }).count(), 2);
    },
    {
      model: (question) => {
        if (question.includes("refuse")) return { status: 400, message: "no" };
        return question.includes("break") ? ["Once upon a time", "break"] : "Good morning. How did you sleep?";
      },
    },
  ],
  failure: [
    async ({ page, duet }) => {
      await page.goto(duet.url + (await duet.talk("Hello!")));
      await page.getByRole("button", { name: "Try again" }).waitFor();
    },
    { model: () => ({ status: 401, message: "no" }) },
  ],
  "no-conversation": [
    async ({ page, duet, watch }) => {
      watch.expect(/status of 404/);
      await page.goto(`${duet.url}/chat/00000000-0000-7000-8000-000000000000`);
      await page.getByText("This conversation doesn’t exist").waitFor();
    },
  ],
  "not-found": [
    ({ page }) => page.getByRole("heading", { name: "Page not found" }).waitFor(),
    { at: "/nowhere/at/all" },
  ],
};

describe("how it looks", () => {
  const test = scenes({ settings });
  for (const [name, [lead, options]] of Object.entries(pages)) {
    for (const [size, screen] of Object.entries(screens)) {
      for (const scheme of size === "zoomed" ? ["light"] : schemes) {
        test(
          `${name}, ${size}, ${scheme}: accessible, fits its window, without errors`,
          async (scene) => {
            await lead(scene);
            await look(scene, name, size, scheme);
          },
          { ...screen, ...options, colorScheme: scheme },
        );
      }
    }
  }

  test("follows the choice of a theme, also after a reload", async ({ page }) => {
    await page.getByRole("button", { name: "Account and settings" }).click();
    await page.getByText("Dark", { exact: true }).click();
    const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
    await eventually(theme, "dark");
    await page.reload();
    await eventually(theme, "dark");
  });
});

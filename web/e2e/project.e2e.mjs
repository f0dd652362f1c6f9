// Duet on a Supabase project, in the browser: people sign up at the project, hints come by Realtime, and two people who share the
// installation share nothing else.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  checkAccessibility,
  composer,
  lastReply,
  numbers,
  openBrowser,
  openPage,
  owner,
  replies,
  say,
  send,
  settled,
  setUp,
  upTo,
  writing,
} from "./support/browser.mjs";
import { startOnProject } from "./support/project.mjs";

/** What a page's websockets said. */
function hear(page) {
  const frames = [];
  page.on("websocket", (socket) => {
    socket.on("framereceived", ({ payload }) => frames.push(String(payload)));
    socket.on("framesent", ({ payload }) => frames.push(String(payload)));
  });
  return frames;
}

describe("on a Supabase project", () => {
  let duet;
  let browser;
  let page;
  let context;
  let watch;
  let frames;
  before(async () => {
    duet = await startOnProject();
    browser = await openBrowser();
    ({ page, context, watch } = await openPage(browser, duet.url, { others: [duet.project] }));
    frames = hear(page);
  });
  after(async () => {
    await browser?.close();
    await duet?.stop();
  });

  it("makes the first person the owner, who signs up at the project", async () => {
    // The wizard tries whether they have an account already.
    watch.expect(/status of 400 .*\/auth\/v1\/token/);
    await setUp(page, duet);
    await checkAccessibility(page, "first chat on a project");
    const users = await duet.sql`select id from auth.users`;
    const accounts = await duet.sql`select id from duet.account`;
    assert.equal(users.length, 1);
    assert.deepEqual(
      accounts.map(({ id }) => id),
      users.map(({ id }) => id),
    );
    assert.deepEqual(await context.cookies(), [], "there is no session cookie");
  });

  it("answers, told by hints that carry no text", async () => {
    const asked = [];
    page.on("request", (request) => {
      if (/\/events\?/.test(request.url())) asked.push(request.headers().accept);
    });
    await say(page, "My sister is called Maria.");
    await send(page, "Count to 60.");
    await writing(page, "10,");
    const text = await settled(page);
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(60));
    assert.ok(asked.length > 2 && asked.every((accept) => accept === "application/json"), `pages alone: ${asked}`);
    const hints = frames.filter((frame) => frame.includes('"hint"') && frame.includes("last_seq"));
    assert.ok(hints.length > 2, `${hints.length} hints`);
    assert.ok(!frames.some((frame) => /Maria|10, 11/.test(frame)), "no text on the socket");
  });

  it("goes on where it was when the page is reloaded in mid-stream", async () => {
    await send(page, "Count to 200.");
    await writing(page, "30,");
    await page.reload();
    await writing(page, "31");
    const text = await settled(page);
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(200));
  });

  it("streams by itself where Realtime cannot be reached", async () => {
    const other = await openPage(browser, duet.url, { others: [duet.project] });
    try {
      other.watch.expect(/WebSocket connection to/);
      await other.page.routeWebSocket(/realtime/, (socket) => socket.close());
      await other.page.addInitScript(
        (state) => {
          for (const [name, value] of state) localStorage.setItem(name, value);
        },
        (await context.storageState()).origins[0].localStorage.map(({ name, value }) => [name, value]),
      );
      const streamed = [];
      other.page.on("request", (request) => {
        if (/\/events\?/.test(request.url())) streamed.push(request.headers().accept);
      });
      await other.page.goto(`${duet.url}/chat`);
      await composer(other.page).waitFor();
      const reply = await say(other.page, "What is my sister called?");
      assert.match(reply, /Maria/);
      assert.ok(streamed.includes("text/event-stream"), `${streamed}`);
      other.watch.check();
    } finally {
      await other.context.close();
    }
  });

  it("signs out and in again", async () => {
    await page.getByRole("button", { name: "Account and settings" }).click();
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.getByRole("heading", { name: "Welcome back" }).waitFor();
    const kept = await page.evaluate(() => JSON.stringify(localStorage));
    assert.ok(!kept.includes("access_token"), "no token stays");
    watch.expect(/status of 400 .*\/auth\/v1\/token/);
    await page.getByLabel("E-mail").fill(owner.email);
    await page.getByLabel("Password").fill("this is not it");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").filter({ hasText: "do not fit together" }).waitFor();
    await page.getByLabel("Password").fill(owner.password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: owner.name }).waitFor();
    await page.getByRole("link", { name: /Maria/ }).first().click();
    await lastReply(page).waitFor();
    assert.ok((await replies(page).count()) >= 1);
  });

  it("had no error in the console, no breach of the policy, no request elsewhere", () => watch.check());
});

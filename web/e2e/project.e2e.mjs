// Duet on a Supabase project, in the browser: people sign up at the project, hints come by Realtime, and two people who share the
// installation share nothing else.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  checkAccessibility,
  composer,
  eventually,
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

async function openMembers(page) {
  await page.getByRole("button", { name: "Account and settings" }).click();
  await page.getByRole("button", { name: "Members" }).click();
  await page.getByRole("heading", { level: 1, name: "Members" }).waitFor();
  return page;
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

  const guest = { name: "Bea", email: "bea@example.org", password: "a quiet river at night" };
  let bea;
  it("lets an invited person in, who signs up at the project as well", async () => {
    const members = await openMembers(page);
    await members.getByLabel("E-mail of the guest").fill(guest.email);
    await members.getByRole("button", { name: "Make the link" }).click();
    await members.getByText(`Give this link to ${guest.email}`).waitFor();
    const link = await members.getByLabel("Invitation link").inputValue();
    bea = await openPage(browser, duet.url, { others: [duet.project] });
    bea.frames = hear(bea.page);
    bea.watch.expect(/status of (400|404)/);
    await bea.page.goto(link);
    await bea.page.getByRole("heading", { name: "Join Home" }).waitFor();
    await bea.page.getByLabel("What should you be called?").fill(guest.name);
    await bea.page.getByLabel("Password").fill(guest.password);
    await bea.page.getByRole("button", { name: "Make the account and join" }).click();
    await bea.page.getByRole("heading", { name: guest.name }).waitFor();
    await checkAccessibility(bea.page, "an invited person's first chat");
  });

  it("lets nothing cross between two people and two workspaces", async () => {
    const own = await bea.page.evaluate(async (companion_name) => {
      const { access_token } = JSON.parse(localStorage.getItem("duet.auth"));
      const answer = await fetch("/v1/workspaces", {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${access_token}` },
        body: JSON.stringify({ name: "Boats", companion_name }),
      });
      if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
      return (await answer.json()).id;
    }, owner.companion);
    await bea.page.goto(`${duet.url}/chat?workspace=${own}`);
    await composer(bea.page).waitFor();
    await say(bea.page, "My boat is called Heron.");
    assert.doesNotMatch(await say(bea.page, "What is my sister called?"), /Maria/);
    const boats = bea.page.url();

    await page.goto(`${duet.url}/chat`);
    await composer(page).waitFor();
    assert.doesNotMatch(await say(page, "What is my boat called?"), /Heron/);
    const home = page.url();

    // Each has the other's address, and there is nothing at it.
    watch.expect(/status of 404/);
    for (const [person, address] of [
      [bea.page, home],
      [page, boats],
    ]) {
      const conversation = new URL(address).pathname;
      await person.goto(`${duet.url}${conversation}`);
      await person.getByText("This conversation is not there").waitFor();
      await eventually(() => person.getByRole("article").count(), 0);
    }
    const runs = await duet.sql`select id, user_id from duet.run`;
    const [{ id: beas }] = await duet.sql`select id from duet.account where email = ${guest.email}`;
    for (const [heard, other] of [
      [bea.frames, (run) => run.user_id !== beas],
      [frames, (run) => run.user_id === beas],
    ]) {
      const foreign = runs.filter(other);
      assert.ok(foreign.length > 0);
      assert.ok(!heard.some((frame) => foreign.some(({ id }) => frame.includes(id))), "no hint of another's run");
    }
  });

  it("tells somebody within five seconds that they were removed, in mid-reply", async () => {
    await bea.page.goto(`${duet.url}/chat`);
    await composer(bea.page).waitFor();
    await page.goto(`${duet.url}/chat`);
    const members = await openMembers(page);
    await members.getByRole("button", { name: `Remove ${guest.name}` }).click();
    const [{ id: home }] = await duet.sql`select id from duet.workspace where name = 'Home'`;
    await bea.page.goto(`${duet.url}/chat?workspace=${home}`);
    await send(bea.page, "Tell me a long story.");
    await writing(bea.page, "Mira");
    await members.getByRole("alertdialog").getByRole("button", { name: "Remove" }).click();
    await bea.page.getByRole("heading", { name: /^You are no longer a member of/ }).waitFor({ timeout: 5_000 });
    await bea.context.close();
    await page.goto(`${duet.url}/chat`);
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

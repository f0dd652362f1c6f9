// Duet on a Supabase project, in the browser: people sign up at the project, hints arrive by Realtime, and two people in the same
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
import { refuseOnce } from "./support/stale.mjs";

/** The messages of a page's websockets. */
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
  before(async () => {
    duet = await startOnProject();
    browser = await openBrowser();
    // The first person, needed by every test: they sign up at the project and become the owner.
    await inPage(async ({ page, context, watch }) => {
      // The wizard first tries to sign in, in case the account exists.
      watch.expect(/status of 400 .*\/auth\/v1\/token/);
      await setUp(page, duet);
      await checkAccessibility(page, "first chat on a project");
      assert.deepEqual(await context.cookies(), [], "there is no session cookie");
    });
  });
  after(async () => {
    await browser?.close();
    await duet?.stop();
  });

  /** Runs with its own page, and checks the page afterwards. */
  const inPage = async (body) => {
    const opened = await openPage(browser, duet.url, { others: [duet.project] });
    try {
      await body({ ...opened, frames: hear(opened.page) });
      opened.watch.check();
    } finally {
      await opened.context.close();
    }
  };
  const signIn = async (page, password = owner.password) => {
    await page.getByLabel("Email").fill(owner.email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
  };
  /** A test with the owner's page, signed in. */
  const test = (name, body) =>
    it(name, () =>
      inPage(async (scene) => {
        await scene.page.goto(`${duet.url}/chat`);
        await signIn(scene.page);
        await composer(scene.page).waitFor();
        await body(scene);
      }),
    );
  /** Invites somebody on the owner's page; they sign up at the project on theirs. */
  const joins = async (page, guest, bea) => {
    const members = await openMembers(page);
    await members.getByLabel("Guest’s email").fill(guest.email);
    await members.getByRole("button", { name: "Create link" }).click();
    await members.getByText(`Send this link to ${guest.email}`).waitFor();
    const link = await members.getByLabel("Invitation link").inputValue();
    bea.watch.expect(/status of (400|404)/);
    await bea.page.goto(link);
    await bea.page.getByRole("heading", { name: "Join Home" }).waitFor();
    await bea.page.getByLabel("Your name").fill(guest.name);
    await bea.page.getByLabel("Password").fill(guest.password);
    await bea.page.getByRole("button", { name: "Create account and join" }).click();
    await bea.page.getByRole("heading", { name: guest.name }).waitFor();
  };

  it("has made the first person the owner, under the id that they have at the project", async () => {
    const users = await duet.sql`select id from auth.users where email = ${owner.email}`;
    const accounts = await duet.sql`select id from duet.account where email = ${owner.email}`;
    assert.equal(users.length, 1);
    assert.deepEqual(
      accounts.map(({ id }) => id),
      users.map(({ id }) => id),
    );
  });

  test("answers, told by hints that carry no text", async ({ page, frames }) => {
    const asked = [];
    page.on("request", (request) => {
      if (/\/events\?/.test(request.url())) asked.push(request.headers().accept);
    });
    await say(page, "My sister is called Maria.");
    const text = await say(page, "Count to 200.");
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(200));
    assert.ok(asked.length > 2 && asked.every((accept) => accept === "application/json"), `pages alone: ${asked}`);
    const hints = frames.filter((frame) => frame.includes('"hint"') && frame.includes("last_seq"));
    assert.ok(hints.length > 2, `${hints.length} hints`);
    assert.ok(!frames.some((frame) => /Maria|10, 11/.test(frame)), "no text on the socket");
  });

  test("continues where it was when the page is reloaded in mid-stream", async ({ page }) => {
    await send(page, "Count to 200.");
    await writing(page, "30,");
    await page.reload();
    await writing(page, "31");
    const text = await settled(page);
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(200));
  });

  test("streams by itself where Realtime cannot be reached", async ({ page, watch }) => {
    watch.expect(/WebSocket connection to/);
    await page.routeWebSocket(/realtime/, (socket) => socket.close());
    const streamed = [];
    page.on("request", (request) => {
      if (/\/events\?/.test(request.url())) streamed.push(request.headers().accept);
    });
    await page.reload();
    await say(page, "My aunt is called Rosa.");
    assert.match(await say(page, "What is my aunt called?"), /Rosa/);
    assert.ok(streamed.includes("text/event-stream"), `${streamed}`);
  });

  test("lets nothing cross between two people and two workspaces", async ({ page, watch, frames }) => {
    const guest = { name: "Bea", email: "bea@example.org", password: "a quiet river at night" };
    await inPage(async (bea) => {
      await joins(page, guest, bea);
      await checkAccessibility(bea.page, "an invited person's first chat");
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
      const boats = bea.page.url();

      await page.goto(`${duet.url}/chat`);
      await composer(page).waitFor();
      await say(page, "My brother is called Otto.");
      assert.doesNotMatch(await say(page, "What is my boat called?"), /Heron/);
      const home = page.url();
      assert.doesNotMatch(await say(bea.page, "What is my brother called?"), /Otto/);

      // Each opens the other's address and finds nothing.
      watch.expect(/status of 404/);
      for (const [person, address] of [
        [bea.page, home],
        [page, boats],
      ]) {
        const conversation = new URL(address).pathname;
        await person.goto(`${duet.url}${conversation}`);
        await person.getByText("This conversation doesn’t exist").waitFor();
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
  });

  test("tells somebody within five seconds that they were removed, in mid-reply", async ({ page }) => {
    const guest = { name: "Carl", email: "carl@example.org", password: "a lamp above the door" };
    await inPage(async (carl) => {
      await joins(page, guest, carl);
      await page.reload();
      await page.getByRole("button", { name: `Remove ${guest.name}` }).click();
      await send(carl.page, "Tell me a long story.");
      await writing(carl.page, "Mira");
      await page.getByRole("alertdialog").getByRole("button", { name: "Remove" }).click();
      await carl.page.getByRole("heading", { name: /^You are no longer a member of/ }).waitFor({ timeout: 5_000 });
    });
  });

  test("asks for the password before an invitation where the sign-in is too long ago", async ({ page, watch }) => {
    watch.expect(/status of (400 .*\/auth\/v1\/token|403)/);
    await openMembers(page);
    await refuseOnce(page, /\/invitations$/, "POST");
    await page.getByLabel("Guest’s email").fill("dora@example.org");
    await page.getByRole("button", { name: "Create link" }).click();
    const dialog = page.getByRole("dialog", { name: "Confirm it’s you" });
    await dialog.getByLabel("Password").fill("this is not it");
    await dialog.getByRole("button", { name: "Continue" }).click();
    await dialog.getByRole("alert").filter({ hasText: "Wrong password." }).waitFor();
    await dialog.getByLabel("Password").fill(owner.password);
    await dialog.getByRole("button", { name: "Continue" }).click();
    await page.getByText("Send this link to dora@example.org").waitFor();
  });

  test("signs out and in again", async ({ page, watch }) => {
    await say(page, "My cat is called Momo.");
    await page.getByRole("button", { name: "Account and settings" }).click();
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.getByRole("heading", { name: "Welcome back" }).waitFor();
    const kept = await page.evaluate(() => JSON.stringify(localStorage));
    assert.ok(!kept.includes("access_token"), "no token stays");
    watch.expect(/status of 400 .*\/auth\/v1\/token/);
    await signIn(page, "this is not it");
    await page.getByRole("alert").filter({ hasText: "Wrong email or password." }).waitFor();
    await page.getByLabel("Password").fill(owner.password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: owner.name }).waitFor();
    await page.getByRole("link", { name: /Momo/ }).first().click();
    await lastReply(page).waitFor();
    assert.ok((await replies(page).count()) >= 1);
  });
});

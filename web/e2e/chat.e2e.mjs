import assert from "node:assert/strict";
import { describe } from "node:test";
import {
  composer,
  eventually,
  lastReply,
  numbers,
  openBasis,
  replies,
  said,
  say,
  send,
  settled,
  upTo,
  writing,
} from "./support/browser.mjs";
import { scenes } from "./support/scenes.mjs";

describe("talking with the companion", () => {
  const test = scenes();

  test("keeps facts, and says of each that it was kept", async ({ page }) => {
    for (const fact of ["My sister is called Maria.", "I am allergic to hazelnuts."]) {
      await say(page, fact);
      await openBasis(lastReply(page));
      await lastReply(page).locator('[data-memory="remembered"]', { hasText: fact }).waitFor();
      await lastReply(page).getByText("Saved a memory").first().waitFor();
    }
    await eventually(() => replies(page).count(), 2);
  });

  test("answers a question about them in another conversation, with the source", async ({ page, duet }) => {
    await duet.talk("My sister is called Maria.");
    const answer = await say(page, "What is my sister called?");
    assert.match(answer, /Maria/);
    await openBasis(lastReply(page));
    await lastReply(page).locator('[data-memory="recalled"]').filter({ hasText: "Maria" }).first().click();
    const panel = page.getByRole("dialog", { name: "From memory" });
    await panel.getByText("Why do you remember this?").waitFor();
    await panel.getByRole("blockquote").filter({ hasText: "My sister is called Maria." }).waitFor();
    await panel.getByText(/said it, today at/).waitFor();
    await panel.getByRole("link").click();
    await said(page, "My sister is called Maria.").waitFor();
    assert.match(page.url(), /message=/);
  });

  test("has one quiet line below a reply, which opens", async ({ page, duet }) => {
    await duet.talk("My sister is called Maria.");
    await say(page, "What is my sister called?");
    const line = lastReply(page).getByRole("button", { expanded: false });
    await eventually(() => lastReply(page).getByRole("button").count(), 1);
    assert.match(await line.textContent(), /^1 memory( · \d tools?)?$/);
    assert.equal(await lastReply(page).locator("[data-memory]").count(), 0);
    await line.press("Enter");
    await lastReply(page).locator('[data-memory="recalled"]', { hasText: "Maria" }).waitFor();
    await lastReply(page).getByRole("button", { expanded: true }).first().press("Enter");
    await eventually(() => lastReply(page).locator("[data-memory]").count(), 0);
    assert.doesNotMatch(await lastReply(page).textContent(), /no cost/);
  });

  test("says once in a conversation that no language model answers, from the first word on", async ({ page }) => {
    await send(page, "Count to 60.");
    await writing(page, "10,");
    const label = page.getByText("Without a language model", { exact: true });
    const labelled = async () => {
      await label.waitFor();
      await eventually(() => label.count(), 1);
      assert.doesNotMatch(await page.getByRole("main").textContent(), /offline fallback|answered offline|no cost/i);
    };
    await labelled();
    await settled(page);
    await labelled();
    await say(page, "Hello!");
    await labelled();
    await page.reload();
    await eventually(() => replies(page).count(), 2);
    await labelled();
    await page.getByRole("button", { name: "No model" }).click();
    await page.getByText("No language model is connected.").waitFor();
  });

  test(
    "names the model that the companion has of its own, where none is set for all",
    async ({ page, duet }) => {
      const { items } = await duet.call("GET", `${duet.home}/agents`);
      const { id, version } = items.find(({ kind }) => kind === "companion_primary");
      const label = (name) => page.getByRole("button", { name, exact: true });
      await label("No model").waitFor();
      await duet.call("PATCH", `${duet.home}/agents/${id}`, { version, model: "test/scripted" });
      await page.reload();
      await label("scripted").waitFor();
      assert.equal(await say(page, "Hello!"), "Good day.");
      await label("scripted").click();
      await page.getByText("The companion of this conversation has this model of its own.").waitFor();
      await eventually(() => label("No model").count(), 0);
    },
    { model: () => ["Good day."], standard: false },
  );

  test("continues exactly where it was when the page is reloaded in mid-stream", async ({ page }) => {
    await send(page, "Count to 200.");
    await writing(page, "30,");
    await page.reload();
    await writing(page, "31");
    const text = await settled(page);
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(200));
    await eventually(() => replies(page).count(), 1);
    await eventually(() => said(page).count(), 1);
  });

  test("stops with Esc, keeps what was written, and continues it", async ({ page }) => {
    await send(page, "Count to 150.");
    await writing(page, "20,");
    await page.keyboard.press("Escape");
    const kept = await settled(page, "stopped");
    assert.ok(numbers(kept).includes(20) && !numbers(kept).includes(150));
    await page.reload();
    await page.getByText("You stopped this reply").waitFor();
    await page.getByRole("button", { name: "Continue" }).click();
    const text = await settled(page);
    assert.ok(text.startsWith(kept.trim().slice(0, 40)));
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(150));
    await eventually(() => replies(page).count(), 1);
  });

  test("stops with the button and answers again", async ({ page }) => {
    await send(page, "Count to 140.");
    await writing(page, "12,");
    await page.getByRole("button", { name: "Stop the reply" }).click();
    await settled(page, "stopped");
    await page.getByRole("button", { name: "Answer again" }).click();
    const text = await settled(page);
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(140));
    await eventually(() => replies(page).count(), 1);
  });

  const gone =
    /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_CONNECTION_CLOSED/;

  test("survives kill -9 in mid-reply: says so, comes back by itself, and continues the reply", async (scene) => {
    const { page, duet, watch } = scene;
    watch.expect(gone);
    await send(page, "Count to 300.");
    await writing(page, "40,");
    await duet.kill();
    await page.getByText("Connection lost").waitFor();
    await duet.restart();
    await page.getByText("Duet was interrupted while writing this reply").waitFor({ timeout: 60_000 });
    await page.getByText("Connection lost").waitFor({ state: "hidden" });
    assert.ok(numbers(await settled(page, "interrupted")).includes(40));
    await page.getByRole("button", { name: "Continue" }).click();
    const text = await settled(page);
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(300));
    await eventually(() => replies(page).count(), 1);
  });

  test("keeps the text when a message cannot be sent, and sends it once Duet is back", async ({
    page,
    duet,
    watch,
  }) => {
    watch.expect(gone);
    await say(page, "Hello!");
    await duet.kill();
    await send(page, "Are you there?");
    await page.getByText("Not sent.").waitFor();
    await eventually(() => composer(page).inputValue(), "Are you there?");
    await assert.rejects(page.reload());
    // The browser shows its error page a moment after it gives up, which would interrupt an earlier navigation.
    await page.waitForURL(/^chrome-error:/);
    await duet.restart();
    await page.goto(duet.url);
    await page.getByRole("link", { name: "Hello!" }).first().click();
    await said(page, "Hello!").waitFor();
    await eventually(() => composer(page).inputValue(), "Are you there?");
    await composer(page).press("Enter");
    await settled(page);
    await eventually(() => said(page, "Are you there?").count(), 1);
    await eventually(() => composer(page).inputValue(), "");
  });

  test(
    "shows why an older message has no reply, and sends it again",
    async ({ page }) => {
      await say(page, "first");
      await send(page, "broken");
      await page.getByRole("button", { name: "Try again" }).waitFor();
      await say(page, "second");
      const failure = page.getByText(/refused the request/);
      await failure.waitFor();
      await eventually(() => page.getByRole("button", { name: "Try again" }).count(), 0);
      await page.reload();
      await failure.waitFor();
      // The message being written meanwhile is a different one.
      await composer(page).fill("Half a thought");
      await page.getByRole("button", { name: "Send again" }).click();
      await page.getByRole("button", { name: "Try again" }).waitFor();
      await eventually(() => said(page, "broken").count(), 2);
      await eventually(() => failure.count(), 2);
      await eventually(() => composer(page).inputValue(), "Half a thought");
      await page.reload();
      await failure.first().waitFor();
      await eventually(() => composer(page).inputValue(), "Half a thought");
    },
    { model: (question) => (question.includes("broken") ? { status: 400, message: "no" } : "Fine.") },
  );

  test(
    "shows why an older reply is not whole, and sends its message again",
    async ({ page }) => {
      const why = page.getByText(/broke off in mid-reply.* What was written is kept\.$/);
      await send(page, "broken");
      await settled(page, "interrupted");
      await why.waitFor();
      await say(page, "second");
      await why.waitFor();
      await eventually(() => page.getByRole("button", { name: "Continue" }).count(), 0);
      await page.reload();
      await why.waitFor();
      await page.getByRole("button", { name: "Send again" }).click();
      await eventually(() => said(page, "broken").count(), 2);
      await eventually(() => why.count(), 2);
      // The newest can be continued, an older one can be sent again.
      await page.getByRole("button", { name: "Continue" }).waitFor();
      await eventually(() => page.getByRole("button", { name: "Send again" }).count(), 1);
    },
    { model: (question) => (question.includes("broken") ? ["Once upon a time", "break"] : "Fine.") },
  );

  test(
    "says why a model refuses, in words without settings",
    async ({ page }) => {
      await send(page, "Hello!");
      await page.getByText("test refused Duet's key (HTTP 401). Duet's log says what to do.").waitFor();
      for (const setting of ["models.providers", "`", "http://"]) {
        await eventually(() => page.getByRole("alert").filter({ hasText: setting }).count(), 0);
      }
    },
    { model: () => ({ status: 401, message: "no" }) },
  );
});

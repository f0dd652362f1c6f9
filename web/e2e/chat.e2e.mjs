import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  composer,
  eventually,
  lastReply,
  numbers,
  openBrowser,
  openPage,
  replies,
  say,
  send,
  settled,
  setUp,
  upTo,
  writing,
} from "./support/browser.mjs";
import { startDuet } from "./support/duet.mjs";

describe("talking with the companion", () => {
  let duet;
  let browser;
  let page;
  let watch;
  before(async () => {
    duet = await startDuet();
    browser = await openBrowser();
    ({ page, watch } = await openPage(browser, duet.url));
    await setUp(page, duet);
  });
  after(async () => {
    await browser?.close();
    await duet?.stop();
  });
  const fresh = async () => {
    await page.getByRole("link", { name: "New conversation" }).click();
    await page.getByRole("heading", { level: 1, name: "Ada" }).waitFor();
  };

  it("keeps three facts, and says of each that it was kept", async () => {
    for (const fact of ["My sister is called Maria.", "I am allergic to hazelnuts.", "My favourite colour is blue."]) {
      await say(page, fact);
      await lastReply(page).locator('[data-memory="remembered"]').first().waitFor();
      await lastReply(page).getByText("Kept a memory").first().waitFor();
    }
    await eventually(() => replies(page).count(), 3);
  });

  it("answers a question about them in another conversation, with the source", async () => {
    await fresh();
    const answer = await say(page, "What is my sister called?");
    assert.match(answer, /Maria/);
    const source = lastReply(page).locator('[data-memory="recalled"]').filter({ hasText: "Maria" }).first();
    await source.click();
    const panel = page.getByRole("dialog", { name: "From memory" });
    await panel.getByText("Why do you remember this?").waitFor();
    await panel.getByRole("blockquote").filter({ hasText: "My sister is called Maria." }).waitFor();
    await panel.getByText(/said it, today at/).waitFor();
    await panel.getByRole("link").click();
    await page.getByRole("article", { name: "You said" }).filter({ hasText: "My sister is called Maria." }).waitFor();
    assert.match(page.url(), /message=/);
  });

  it("labels replies of the offline model once, from their first word on, with their cost", async () => {
    await fresh();
    await send(page, "Count to 60.");
    await writing(page, "10,");
    const label = lastReply(page).getByText("Offline, without a language model");
    const labelled = async () => {
      await label.waitFor();
      await eventually(() => label.count(), 1);
      assert.doesNotMatch(await lastReply(page).textContent(), /offline fallback|answered offline/i);
    };
    assert.equal(await lastReply(page).getAttribute("data-status"), "writing");
    await labelled();
    await settled(page);
    await labelled();
    await page.reload();
    await lastReply(page).getByText("no cost").waitFor();
    await labelled();
    await page.getByRole("button", { name: "Offline" }).click();
    await page.getByText("No language model is connected.").waitFor();
    await page.keyboard.press("Escape");
  });

  it("goes on exactly where it was when the page is reloaded in mid-stream", async () => {
    await fresh();
    await send(page, "Count to 200.");
    await writing(page, "30,");
    await page.reload();
    await writing(page, "31");
    const text = await settled(page);
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(200));
    await eventually(() => replies(page).count(), 1);
    await eventually(() => page.getByRole("article", { name: "You said" }).count(), 1);
  });

  it("stops with Esc, keeps what was written, and continues it", async () => {
    await fresh();
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

  it("stops with the button and answers again", async () => {
    await fresh();
    await send(page, "Count to 140.");
    await writing(page, "12,");
    await page.getByRole("button", { name: "Stop the reply" }).click();
    await settled(page, "stopped");
    await page.getByRole("button", { name: "Answer again" }).click();
    const text = await settled(page);
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(140));
    await eventually(() => replies(page).count(), 1);
  });

  it("survives kill -9 in mid-reply: says so, comes back by itself, and continues the reply", async () => {
    watch.expect(
      /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_CONNECTION_CLOSED/,
    );
    await fresh();
    await send(page, "Count to 300.");
    await writing(page, "40,");
    await duet.kill();
    await page.getByText("The connection to Duet is lost").waitFor();
    await duet.restart();
    await page.getByText("Duet was interrupted in the middle of this reply").waitFor({ timeout: 60_000 });
    await page.getByText("The connection to Duet is lost").waitFor({ state: "hidden" });
    assert.ok(numbers(await settled(page, "interrupted")).includes(40));
    await page.getByRole("button", { name: "Continue" }).click();
    const text = await settled(page);
    assert.deepEqual(numbers(text.slice(text.indexOf("1,"))), upTo(300));
    await eventually(() => replies(page).count(), 1);
  });

  it("keeps the text when a message cannot be sent, and sends it once Duet is back", async () => {
    await fresh();
    await say(page, "Hello!");
    await duet.kill();
    await send(page, "Are you there?");
    await page.getByText("Not sent.").waitFor();
    await eventually(() => composer(page).inputValue(), "Are you there?");
    await assert.rejects(page.reload());
    // The browser shows its error page a moment after it gave up; going elsewhere before would be interrupted by it.
    await page.waitForURL(/^chrome-error:/);
    await duet.restart();
    await page.goto(duet.url);
    await page.getByRole("link", { name: "Hello!" }).first().click();
    await page.getByText("Hello!").first().waitFor();
    await eventually(() => composer(page).inputValue(), "Are you there?");
    await composer(page).press("Enter");
    await settled(page);
    await eventually(
      () => page.getByRole("article", { name: "You said" }).filter({ hasText: "Are you there?" }).count(),
      1,
    );
  });

  it("refuses a message that is too long before it is sent, and keeps it", async () => {
    await fresh();
    await composer(page).fill("long ".repeat(14_000));
    await page.getByText("This message has 69 KiB; at most 64 fit in one. Send it in parts.").waitFor();
    await composer(page).press("Enter");
    assert.equal((await composer(page).inputValue()).length, 70_000);
    await composer(page).fill("");
  });

  it("starts a new line with Shift+Enter", async () => {
    await composer(page).fill("one");
    await composer(page).press("Shift+Enter");
    await composer(page).pressSequentially("two");
    await eventually(() => composer(page).inputValue(), "one\ntwo");
    await composer(page).fill("");
  });

  it("renders markdown, and never loads what a reply points to", async () => {
    const text = await say(
      page,
      "What is **bold** ![pixel](https://example.com/p.png) <img src=https://example.com/q.png>?",
    );
    assert.match(text, /image not loaded: pixel/);
    assert.equal(await lastReply(page).locator("img").count(), 0);
    await lastReply(page).locator("strong", { hasText: "bold" }).waitFor();
  });

  it("had no error in the console, no breach of the policy, no request elsewhere", () => watch.check());
});

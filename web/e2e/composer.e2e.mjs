import assert from "node:assert/strict";
import { describe } from "node:test";
import { composer, eventually, phone, replies, said, say, send, settled, writing } from "./support/browser.mjs";
import { scenes } from "./support/scenes.mjs";

/** Holds requests back until they are released. */
async function hold(page, pattern, method) {
  let release;
  const held = new Promise((resolve) => {
    release = resolve;
  });
  await page.route(pattern, async (route) => {
    if (route.request().method() === method) await held;
    await route.continue();
  });
  return release;
}

describe("the composer", () => {
  const test = scenes();

  test("is empty after the first message, also while that is still on its way", async ({ page }) => {
    const release = await hold(page, /\/messages$/, "POST");
    await send(page, "Good morning!");
    await page.waitForURL(/\/chat\/[\w-]+$/);
    await said(page, "Good morning!").waitFor();
    assert.equal(await composer(page).inputValue(), "");
    release();
    await settled(page);
    assert.equal(await composer(page).inputValue(), "");
    await page.reload();
    await said(page, "Good morning!").waitFor();
    assert.equal(await composer(page).inputValue(), "");
  });

  test("shows the first message at once, and stops its reply as soon as that can be stopped", async ({ page }) => {
    const release = await hold(page, /\/conversations$/, "POST");
    await send(page, "Count to 400.");
    await said(page, "Count to 400.").waitFor();
    await page.keyboard.press("Escape");
    await eventually(() => page.getByRole("button", { name: "Stop the reply" }).isDisabled(), true);
    assert.equal(new URL(page.url()).pathname, "/chat");
    release();
    await page.waitForURL(/\/chat\/[\w-]+$/);
    await page.getByText(/^You stopped (this|the) reply/).waitFor();
    await said(page, "Count to 400.").waitFor();
    await eventually(() => said(page).count(), 1);
  });

  test("keeps what is written while the first message is on its way", async ({ page }) => {
    const release = await hold(page, /\/conversations$/, "POST");
    await send(page, "Good morning!");
    await eventually(() => composer(page).inputValue(), "");
    await composer(page).fill("How are you?");
    release();
    await page.waitForURL(/\/chat\/[\w-]+$/);
    await settled(page);
    assert.equal(await composer(page).inputValue(), "How are you?");
    await page.getByRole("link", { name: "New conversation" }).click();
    await page.waitForURL(/\/chat$/);
    await eventually(() => composer(page).inputValue(), "");
  });

  test("goes to the new message from wherever one reads", async ({ page, duet }) => {
    await page.goto(duet.url + (await duet.talk(...Array(12).fill("Hello!"))));
    await eventually(() => replies(page).count(), 12);
    const box = page.getByRole("region", { name: "Conversation" });
    await box.evaluate((element) => element.scrollTo({ top: 0 }));
    await page.getByRole("button", { name: "Latest" }).waitFor();
    await send(page, "Count to 200.");
    await writing(page, "3,");
    const fromEnd = () =>
      box.evaluate(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight < 100);
    await eventually(fromEnd, true);
    await page.getByRole("button", { name: "Latest" }).waitFor({ state: "detached" });
    // A reader further up is left alone.
    await box.evaluate((element) => element.scrollTo({ top: 0 }));
    await writing(page, "60,");
    assert.equal(await box.evaluate((element) => element.scrollTop), 0);
  });

  test(
    "leaves the conversation where it is while a long message is written",
    async ({ page, duet }) => {
      await page.goto(duet.url + (await duet.talk(...Array(4).fill("Tell me a long story."))));
      await eventually(() => replies(page).count(), 4);
      const fromEnd = () =>
        page
          .getByRole("region", { name: "Conversation" })
          .evaluate(({ scrollHeight, scrollTop, clientHeight }) => Math.round(scrollHeight - scrollTop - clientHeight));
      await composer(page).fill("one\ntwo\nthree\nfour\nfive\nsix\nseven\neight");
      await eventually(fromEnd, 0);
      await composer(page).press("x");
      await eventually(async () => (await composer(page).inputValue()).includes("x"), true);
      assert.equal(await fromEnd(), 0);
    },
    { viewport: phone, touch: true, settings: "[models.offline]\npause_ms = 0\n" },
  );

  test("keeps a reply’s place from the moment a message is sent", async ({ page, duet }) => {
    await page.goto(duet.url + (await duet.talk("Hello!")));
    await eventually(() => replies(page).count(), 1);
    await page.evaluate(() => {
      window.places = [false];
      new MutationObserver(() => {
        const writing = document.querySelector('article[data-status="writing"]') !== null;
        if (window.places.at(-1) !== writing) window.places.push(writing);
      }).observe(document.querySelector("main"), { childList: true, subtree: true });
    });
    await send(page, "How are you?");
    await eventually(() => replies(page).count(), 2);
    await settled(page);
    assert.deepEqual(await page.evaluate(() => window.places), [false, true, false]);
  });

  test("keeps a message that was not sent, says so while the connection is away, and sends it with Enter", async ({
    page,
    context,
    duet,
    watch,
  }) => {
    watch.expect(/ERR_INTERNET_DISCONNECTED/);
    await page.goto(duet.url + (await duet.talk("Hello!")));
    await said(page, "Hello!").waitFor();
    await context.setOffline(true);
    await send(page, "Are you there?");
    await page.getByText("Not sent.").waitFor();
    await page.getByText("Not sent. Duet can’t be reached.").waitFor();
    await context.setOffline(false);
    await page.getByText("Not sent. Duet can be reached again. Your text is still below.").waitFor();
    await composer(page).press("Enter");
    await said(page, "Are you there?").waitFor();
    await settled(page);
    await eventually(() => page.getByText("Not sent.").count(), 0);
    assert.equal(await composer(page).inputValue(), "");
  });

  test("shows that it has the focus", async ({ page }) => {
    const frame = page.locator(".composer");
    const outline = () => frame.evaluate((element) => getComputedStyle(element).outlineStyle);
    await composer(page).focus();
    await eventually(outline, "solid");
    await page.getByRole("heading", { level: 1 }).click();
    await eventually(outline, "none");
  });

  test("refuses a message that is too long before it is sent, and keeps it", async ({ page }) => {
    await composer(page).fill("long ".repeat(14_000));
    await page.getByText("This message is too long: 69 KiB, and the limit is 64 KiB. Send it in parts.").waitFor();
    await composer(page).press("Enter");
    assert.equal((await composer(page).inputValue()).length, 70_000);
  });

  test("starts a new line with Shift+Enter", async ({ page }) => {
    await composer(page).fill("one");
    await composer(page).press("Shift+Enter");
    await composer(page).pressSequentially("two");
    await eventually(() => composer(page).inputValue(), "one\ntwo");
  });

  test("has its starter texts", async ({ page }) => {
    const ask = page.getByRole("button", { name: "Ask what it knows" });
    await ask.click();
    await eventually(() => composer(page).inputValue(), "What do you remember about me?");
    // Kept like typed text: it works again, and removes nothing.
    await page.reload();
    await eventually(() => composer(page).inputValue(), "What do you remember about me?");
    await composer(page).fill("");
    await ask.click();
    await eventually(() => composer(page).inputValue(), "What do you remember about me?");
    await composer(page).fill("");
    await ask.click();
    await eventually(() => composer(page).inputValue(), "What do you remember about me?");
    await composer(page).fill("One thing first.");
    await ask.click();
    await eventually(() => composer(page).inputValue(), "One thing first.\nWhat do you remember about me?");
    await composer(page).press("Enter");
    await settled(page);
    assert.equal(await composer(page).inputValue(), "");
    await say(page, "Hello!");
  });
});

import assert from "node:assert/strict";
import { describe } from "node:test";
import { eventually, lastReply, openBasis, phone, replies, said, say } from "./support/browser.mjs";
import { scenes } from "./support/scenes.mjs";

const box = (page) => page.getByRole("region", { name: "Conversation" });
/** The position of a message in the view. */
const topOf = (message) => message.evaluate((element) => Math.round(element.getBoundingClientRect().top));

describe("reading a conversation", () => {
  const test = scenes();

  test(
    "keeps the place when earlier messages come",
    async ({ page, duet }) => {
      const texts = Array.from({ length: 60 }, (_, index) => `Message number ${index}, and some words to go with it.`);
      await page.goto(duet.url + (await duet.talk(...texts)));
      await said(page, "number 59").waitFor();
      await box(page).evaluate((element) => element.scrollTo({ top: 0 }));
      const earlier = page.getByRole("button", { name: "Earlier messages" });
      await earlier.scrollIntoViewIfNeeded();
      const first = page.locator("article.message").first();
      const id = await first.getAttribute("id");
      const before = await topOf(first);
      await earlier.click();
      await said(page, "number 20").waitFor();
      assert.notEqual(await page.locator("article.message").first().getAttribute("id"), id);
      const same = page.locator(`[id="${id}"]`);
      await eventually(async () => Math.abs((await topOf(same)) - before) <= 2, true);
      // After the last page too, a keyboard user stays in the conversation.
      await earlier.focus();
      await page.keyboard.press("Enter");
      await said(page, "number 0,").waitFor();
      await eventually(() => earlier.count(), 0);
      await eventually(() => box(page).evaluate((element) => element === document.activeElement), true);
    },
    { settings: "[models.offline]\npause_ms = 0\n" },
  );

  test(
    "follows a link to a source a second time, and closes the panel",
    async ({ page, duet }) => {
      await page.goto(
        duet.url + (await duet.talk("My sister is called Maria.", ...Array(6).fill("Tell me a long story."))),
      );
      await say(page, "What is my sister called?");
      const panel = page.getByRole("dialog", { name: "From memory" });
      const source = said(page, "My sister is called Maria.");
      await openBasis(lastReply(page));
      for (const _ of [1, 2]) {
        await lastReply(page).locator('[data-memory="recalled"]').filter({ hasText: "Maria" }).first().click();
        await panel.getByRole("link").click();
        await panel.waitFor({ state: "hidden" });
        await eventually(
          () =>
            source.evaluate((element) => {
              const { top, bottom } = element.getBoundingClientRect();
              return top >= 0 && bottom <= innerHeight && element === document.activeElement;
            }),
          true,
        );
        await box(page).evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
        await page.getByRole("button", { name: "Latest" }).waitFor({ state: "detached" });
      }
    },
    { settings: "[models.offline]\npause_ms = 0\n" },
  );

  const markdown = [
    "| left | middle | right |\n|:--|:-:|--:|\n| a | b | c |",
    "مرحبا بالعالم",
    "Said before[^why], and[^2] not[^missing].\n\n[^why]: Because *so*.\n[^2]: Also this.",
  ].join("\n\n");
  const wideTable = `| ${"column | ".repeat(24)}\n|${"--|".repeat(24)}\n| ${"word | ".repeat(24)}`;
  const rightToLeft = [
    "- مرحبا\n- English",
    "1. أولا\n2. ثانيا",
    "> مرحبا بالعالم[^1]\n>\n> ```\n> let x = 1;\n> ```",
    "| مرحبا | عالم |\n|--|--|\n| 1 | 2 |",
    "- left\n- مرحبا",
    "| left | right |\n|--|--|\n| 1 | 2 |",
    "[^1]: مرحبا",
  ].join("\n\n");
  test(
    "shows tables as they are aligned, text in its direction, and footnotes",
    async ({ page }) => {
      await say(page, "hello");
      const prose = lastReply(page).locator(".prose");
      const aligned = (name) =>
        prose.getByText(name, { exact: true }).evaluate((cell) => getComputedStyle(cell).textAlign);
      assert.equal(await aligned("a"), "left");
      assert.equal(await aligned("middle"), "center");
      assert.equal(await aligned("c"), "right");
      const direction = await prose.getByText("مرحبا").evaluate((text) => getComputedStyle(text).direction);
      assert.equal(direction, "rtl");
      const notes = prose.getByRole("region", { name: "Footnotes" });
      await eventually(
        async () => (await notes.getByRole("listitem").allTextContents()).map((text) => text.trim()),
        ["Because so.↩", "Also this.↩"],
      );
      await prose.getByText("[^missing]").waitFor();
      await prose.getByRole("link", { name: "Footnote 2", exact: true }).click();
      await eventually(
        () =>
          notes
            .getByRole("listitem")
            .nth(1)
            .evaluate((note) => note === document.activeElement),
        true,
      );
      await notes.getByRole("link", { name: "Back to the text from footnote 2" }).click();
      await eventually(
        () =>
          prose
            .getByRole("link", { name: "Footnote 2", exact: true })
            .evaluate((link) => link === document.activeElement),
        true,
      );
      assert.equal(new URL(page.url()).hash, "");
    },
    { model: () => [markdown] },
  );

  test(
    "lets a table that is wider than the window scroll by itself",
    async ({ page }) => {
      await say(page, "hello");
      const table = lastReply(page).getByRole("region", { name: "Table" });
      await eventually(() => table.evaluate((element) => element.scrollWidth > element.clientWidth), true);
      const wide = () => box(page).evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth);
      assert.equal(await wide(), 0);
    },
    { viewport: phone, touch: true, model: () => [wideTable] },
  );

  test(
    "writes lists, quotes and tables from right to left where their text is",
    async ({ page }) => {
      await say(page, "hello");
      const prose = lastReply(page).locator(".prose");
      const direction = (selector, index) =>
        prose
          .locator(selector)
          .nth(index)
          .evaluate((element) => getComputedStyle(element).direction);
      for (const selector of ["ul", "ol", "blockquote", "table", ".notes li"]) {
        assert.equal(await direction(selector, 0), "rtl", selector);
      }
      for (const selector of ["ul", "table"]) assert.equal(await direction(selector, 1), "ltr", selector);
      // One item in another language keeps its list's direction; code is never reversed.
      assert.equal(await direction("ul > li", 1), "rtl");
      assert.equal(await direction("pre", 0), "ltr");
      const start = (item) => item.evaluate((element) => getComputedStyle(element.parentElement).paddingRight);
      assert.notEqual(await start(prose.locator("ul > li").first()), "0px");
    },
    { model: () => [rightToLeft] },
  );

  test(
    "gives a finger enough of a footnote’s links, and no two things the same id",
    async ({ page }) => {
      await say(page, "hello");
      const prose = lastReply(page).locator(".prose");
      const links = prose.getByRole("link", { name: /ootnote 1$/ });
      await eventually(() => links.count(), 3);
      for (const link of await links.all()) {
        const { width, height } = await link.boundingBox();
        assert.ok(width >= 24 && height >= 24, `${width} × ${height}`);
      }
      const ids = await prose.locator("[id]").evaluateAll((all) => all.map(({ id }) => id));
      assert.equal(new Set(ids).size, ids.length);
    },
    { viewport: phone, touch: true, model: () => ["Said once[^1] and twice[^1].\n\n[^1]: Why."] },
  );

  test("renders markdown, and never loads what a reply points to", async ({ page }) => {
    const text = await say(
      page,
      "What is **bold** ![pixel](https://example.com/p.png) <img src=https://example.com/q.png>?",
    );
    assert.match(text, /image not loaded: pixel/);
    assert.equal(await lastReply(page).locator("img").count(), 0);
    await lastReply(page).locator("strong", { hasText: "bold" }).waitFor();
  });

  const hostile = {
    quotes: ">".repeat(2_000),
    lists: `${"- ".repeat(2_000)}x`,
    stars: `${"*".repeat(2_000)}a${"*".repeat(2_000)}`,
  };
  test(
    "shows text that is nested without end as it is",
    async ({ page }) => {
      for (const [name, text] of Object.entries(hostile)) {
        await say(page, name);
        await lastReply(page)
          .locator(".prose", { hasText: text.slice(0, 200).trim() })
          .waitFor();
        assert.equal(await lastReply(page).locator("blockquote, ul, em").count(), 0);
      }
      await say(page, "hello");
      await page.reload();
      await eventually(() => replies(page).count(), 4);
    },
    { model: (question) => [hostile[question.trim()] ?? "Hello!"] },
  );

  test("says in plain words what a reply rests on, and what did not succeed", async ({ page, duet }) => {
    await duet.talk("My sister is called Maria.");
    const chat = await duet.talk("My brother is called Ben.", "What is my sister called?");
    await page.route(/\/messages\?/, async (route) => {
      const answer = await route.fetch();
      const body = await answer.json();
      const [newest, other] = body.items.filter(({ trace }) => trace);
      newest.trace.remembered = other.trace.remembered;
      const [tool] = other.trace.tools;
      newest.trace.tools = [{ ...tool, name: "remember", status: "failed" }];
      await route.fulfill({ response: answer, json: body });
    });
    await page.goto(duet.url + chat);
    const line = lastReply(page).getByRole("button", { expanded: false });
    await line.filter({ hasText: /^1 memory saved · \d+ recalled · 1 tool \(1 failed\)$/ }).waitFor();
    const colour = (element) => getComputedStyle(element).color;
    const seen = await line.evaluate(colour);
    await openBasis(lastReply(page));
    const failed = lastReply(page)
      .getByRole("listitem")
      .filter({ hasText: /^Could not save a memory$/ });
    await failed.waitFor();
    assert.equal(seen, await failed.evaluate(colour));
  });

  test(
    "begins no line with a separator",
    async ({ page, duet }) => {
      await page.route(/\/messages\?/, async (route) => {
        const answer = await route.fetch();
        const body = await answer.json();
        const { trace } = body.items.find((one) => one.trace);
        Object.assign(trace, {
          offline: false,
          model: "a-model-with-a-rather-long-name/and-a-version",
          cost_micros: 5_000,
        });
        trace.usage = { ...trace.usage, input_tokens: 1_000, output_tokens: 1_000 };
        await route.fulfill({ response: answer, json: body });
      });
      await page.goto(duet.url + (await duet.talk("My sister is called Maria.")));
      const line = lastReply(page).locator("footer > div").first();
      await line.getByText("2,000 tokens").waitFor();
      const parts = await line.evaluate((element) => {
        const { left } = element.getBoundingClientRect();
        const cut = Number.parseFloat(/([\d.]+)px\)$/.exec(getComputedStyle(element).clipPath)[1]);
        return [...element.children].map((part) => {
          const dot = getComputedStyle(part, "::before");
          const start = part.getBoundingClientRect().left;
          return { first: start - left < 20, seen: start + Number.parseFloat(dot.left) >= left + cut };
        });
      });
      assert.ok(parts.filter(({ first }) => first).length >= 2, "the line wraps");
      for (const { first, seen } of parts) assert.equal(seen, !first);
    },
    { viewport: phone, touch: true },
  );

  test("loses one message at most where one cannot be shown", async ({ page, duet, watch }) => {
    watch.expect(/tools|reading|iterable|is not a function|error boundary/i);
    const chat = await duet.talk("Hello!", "How are you?");
    await page.route(/\/messages\?/, async (route) => {
      const answer = await route.fetch();
      const body = await answer.json();
      body.items.find(({ role }) => role === "assistant").trace = { tools: 7 };
      await route.fulfill({ response: answer, json: body });
    });
    await page.goto(duet.url + chat);
    await said(page, "How are you?").waitFor();
    await page.getByText("This message can’t be shown with its formatting.").waitFor();
    await eventually(() => replies(page).count(), 1);
    await eventually(() => said(page).count(), 2);
    await page.getByRole("textbox", { name: "Write to Juno" }).waitFor();
  });

  test("shows no error of its own making to a person, and offers to reload", async ({ page, duet, watch }) => {
    watch.expect(/not iterable|undefined|null|is not a function|error boundary|TypeError/i);
    await page.route(/\/agents$/, (route) => route.fulfill({ json: {} }));
    await page.goto(`${duet.url}/chat`);
    await page.getByRole("heading", { level: 1, name: "This page couldn’t be opened" }).waitFor();
    await page.getByText("Something went wrong in the page itself.").waitFor();
    assert.doesNotMatch(await page.getByRole("alert").textContent(), /undefined|TypeError|find/);
    await page.unroute(/\/agents$/);
    await page.getByRole("button", { name: "Reload the page" }).click();
    await page.getByRole("textbox", { name: "Write to Juno" }).waitFor();
  });

  test("says what it is doing while a chat loads, and when there is none", async ({ page, duet, watch }) => {
    watch.expect(/status of 404/);
    const chat = await duet.talk("Hello!");
    let release;
    const held = new Promise((resolve) => {
      release = resolve;
    });
    await page.route(/\/conversations\/[\w-]+(\/messages.*)?$/, async (route) => {
      await held;
      await route.continue();
    });
    await page.goto(duet.url + chat);
    await page.getByRole("heading", { level: 1, name: "Loading…" }).waitFor();
    await page.getByText("Loading the conversation").waitFor();
    release();
    await page.getByRole("heading", { level: 1, name: "Hello!" }).waitFor();
    await page.goto(`${duet.url}/chat/00000000-0000-7000-8000-000000000000`);
    await page.getByRole("heading", { level: 1, name: "Conversation not found" }).waitFor();
    await page.getByText("This conversation doesn’t exist").waitFor();
    assert.equal(await page.getByRole("textbox", { name: /^Write to/ }).count(), 0);
    assert.match(await page.title(), /Conversation not found/);
  });
});

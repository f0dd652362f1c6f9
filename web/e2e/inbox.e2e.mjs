import assert from "node:assert/strict";
import { describe } from "node:test";
import {
  checkAccessibility,
  checkTargets,
  composer,
  desktop,
  eventually,
  guest,
  lastReply,
  openBasis,
  owner,
  phone,
  replies,
  send,
  writing,
} from "./support/browser.mjs";
import { scenes } from "./support/scenes.mjs";
import { askBefore, card, companion, form, inbox, memory, openCard, waits } from "./support/waiting.mjs";

const button = (place, name) => place.getByRole("button", { name, exact: true });
const memories = async ({ duet }) => (await duet.call("GET", `${duet.home}/memories`)).items.map(({ text }) => text);
const state = (place) => place.getAttribute("data-state");
const nothing = (page) => page.getByText("Nothing is waiting for you.").waitFor();

describe("what waits for a person", () => {
  const test = scenes({ model: companion });

  test("is asked in the conversation and in the Inbox of another browser, and approved for both", async (scene) => {
    const { duet, page, open } = scene;
    await askBefore(duet, "memory_write", { why: "Memories are read first." });
    const other = await open();
    await other.page.goto(`${duet.url}/inbox`);
    await nothing(other.page);
    await inbox(other.page).waitFor();

    await send(page, "Please keep that.");
    const here = card(page, "approval");
    await here.getByRole("heading", { name: "Juno wants to save a memory" }).waitFor();
    await here.getByText("Memories are read first.").waitFor();
    await here.getByText(memory.text).waitFor();
    await page.getByRole("button", { name: "Waiting for you" }).waitFor();
    await lastReply(page).getByText("I would like to keep that.").waitFor();
    await inbox(page, 1).waitFor();
    await inbox(other.page, 1).waitFor();
    const there = card(other.page, "approval");
    await there.getByText(memory.text).waitFor();
    assert.deepEqual(await memories(scene), []);
    await checkAccessibility(page, "an approval in a conversation");
    await checkAccessibility(other.page, "an approval in the Inbox");

    // The conversation is free meanwhile.
    await send(page, "Hello!");
    await lastReply(page).getByText("Good day.").waitFor();
    assert.equal(await state(here), "open");

    await button(there, "Approve").click();
    await there.getByText(/Approved by you\. The call was made today at/).waitFor();
    await here.getByText(/Approved by you\. The call was made today at/).waitFor();
    await eventually(() => memories(scene), [memory.text]);
    await inbox(page).waitFor();
    await inbox(other.page).waitFor();
    // The answer is a message of its own, which says what it answers.
    const late = lastReply(page);
    await late.getByText("So it is:").waitFor();
    await late.getByRole("link", { name: "In answer to “Please keep that.”" }).waitFor();
    await eventually(() => replies(page).count(), 3);
    await eventually(() => page.getByRole("button", { name: "Waiting for you" }).count(), 0);
    await page.reload();
    await eventually(() => replies(page).count(), 3);
    await lastReply(page).getByRole("link", { name: "In answer to “Please keep that.”" }).waitFor();
    assert.match(await replies(page).nth(0).textContent(), /I would like to keep that/);
    assert.match(await replies(page).nth(1).textContent(), /Good day/);
  });

  test("is rejected with a reason, which the companion reads", async (scene) => {
    const { duet, page } = scene;
    await askBefore(duet, "memory_write");
    await send(page, "Do it quietly: quiet");
    const here = card(page, "approval");
    await button(here, "Reject…").click();
    await here.getByLabel("Reason").fill("Not this one.");
    await button(here, "Reject").click();
    await here.getByText("Rejected by you.").waitFor();
    await here.getByText("“Not this one.”").waitFor();
    await lastReply(page).getByText("Not this one.").waitFor();
    // That is no failure.
    const line = lastReply(page).getByRole("button", { expanded: false });
    await line.filter({ hasText: /^1 tool \(1 not done\)$/ }).waitFor();
    const colour = (element) => getComputedStyle(element).color;
    const quiet = await line.evaluate(colour);
    await openBasis(lastReply(page));
    const told = lastReply(page)
      .getByRole("listitem")
      .filter({ hasText: /^Did not save a memory$/ });
    assert.equal(await told.evaluate(colour), quiet);
    assert.equal(quiet, await here.getByText("Rejected by you.").evaluate(colour));
    assert.deepEqual(await memories(scene), []);
    await nothing((await inboxOf(scene)).page);
  });

  const inboxOf = async ({ duet, open }, cookie = duet.cookie) => {
    const opened = await open({ cookie });
    await opened.page.goto(`${duet.url}/inbox`);
    await opened.page.getByRole("heading", { level: 1, name: "Inbox" }).waitFor();
    return opened;
  };

  test("is approved as edited, and only when the edit can be read", async (scene) => {
    const { duet, page } = scene;
    await askBefore(duet, "memory_write");
    await send(page, "quiet");
    const here = card(page, "approval");
    await button(here, "Edit…").click();
    assert.equal(await button(here, "Approve as edited").isDisabled(), true);
    await button(here, "Edit as JSON").click();
    await here.getByLabel("All details, as JSON").fill("{");
    await button(here, "Approve as edited").click();
    await here.getByText("This is not valid JSON.").waitFor();
    await here.getByLabel("All details, as JSON").fill(JSON.stringify({ ...memory, text: "Maria lives in Faro." }));
    await button(here, "Edit by field").click();
    await eventually(() => here.getByLabel("text", { exact: true }).inputValue(), "Maria lives in Faro.");
    await here.getByLabel("text", { exact: true }).fill("Maria lives in Lagos.");
    await button(here, "Approve as edited").click();
    await here.getByText(/Approved by you, with changes\. The call was made/).waitFor();
    await eventually(() => memories(scene), ["Maria lives in Lagos."]);
  });

  test("is answered instead, or dismissed, and the reply goes on", async (scene) => {
    const { duet, page } = scene;
    await askBefore(duet, "memory_write");
    await send(page, "quiet");
    await button(card(page, "approval"), "Say something instead…").click();
    await card(page, "approval").getByLabel("What to say").fill("Ask me tomorrow.");
    await page.keyboard.press("Escape");
    const answer = button(card(page, "approval"), "Say something instead…");
    await eventually(() => answer.evaluate((element) => element === document.activeElement), true);
    await answer.click();
    await button(card(page, "approval"), "Send").click();
    await card(page, "approval").getByText("Write something first.").waitFor();
    await card(page, "approval").getByLabel("What to say").fill("Ask me tomorrow.");
    await button(card(page, "approval"), "Send").click();
    await lastReply(page).getByText("Ask me tomorrow.").waitFor();
    await card(page, "approval").getByRole("status").getByText("Not done. You said:", { exact: true }).waitFor();
    await card(page, "approval").getByText("“Ask me tomorrow.”").waitFor();
    assert.equal(await card(page, "approval").getByText("answer", { exact: true }).count(), 0);

    const { place } = await waits(duet, "quiet");
    await page.goto(duet.url + place);
    await button(card(page, "approval"), "More ways to decide").click();
    await page.getByRole("dialog").getByRole("button", { name: "Dismiss" }).click();
    await card(page, "approval").getByText("Dismissed by you.").waitFor();
    await lastReply(page).getByText("So it is:").waitFor();
    assert.deepEqual(await memories(scene), []);
  });

  test("is a question that is skipped, and the reply goes on", async ({ duet, page }) => {
    const { place } = await waits(duet, "ask");
    await page.goto(duet.url + place);
    await button(card(page, "question"), "Skip").click();
    await card(page, "question").getByText("Skipped by you.").waitFor();
    await lastReply(page).getByText("So it is:").waitFor();
  });

  test("shows what is hidden in the arguments, and nothing of them in another order", async (scene) => {
    const { duet, page } = scene;
    await askBefore(duet, "memory_write");
    await send(page, "odd");
    const here = card(page, "approval");
    await here.getByText("U+202E").waitFor();
    await here.getByText("U+200B").waitFor();
    assert.doesNotMatch(await here.textContent(), /[\u202e\u200b]/);
    await button(here, "Edit…").click();
    await here.getByText("Contains invisible characters: U+202E U+200B").waitFor();
  });

  test("is a question, whose form is checked and answered", async ({ duet, page }) => {
    const { place } = await waits(duet, "ask");
    await page.goto(duet.url + place);
    const here = card(page, "question");
    await here.getByText(form.question).waitFor();
    await checkAccessibility(page, "a question");
    await button(here, "Send answer").click();
    await here.getByText("Enter a date.").waitFor();
    await here.getByText("Choose yes or no.").waitFor();
    await here.getByLabel("Day").fill("2026-12-24");
    await here.getByLabel("People").fill("many");
    await here.getByText("Yes", { exact: true }).click();
    await here.getByText("Oslo", { exact: true }).click();
    await button(here, "Send answer").click();
    await here.getByText("Enter a number.").waitFor();
    await here.getByLabel("People").fill("3");
    await button(here, "Send answer").click();
    await here.getByText("Answered by you.").waitFor();
    const reply = await lastReply(page).getByText("So it is:").textContent();
    const labels = await here.locator("dt").allTextContents();
    assert.deepEqual(labels, ["Day", "People", "By train?", "Place"]);
    const values = await here.locator("dd").allTextContents();
    assert.deepEqual(values, ["24 December 2026", "3", "Yes", "Oslo"]);
    const colours = await here
      .locator("dd")
      .evaluateAll((all) => all.map((one) => getComputedStyle(one.querySelector("span") ?? one).color));
    assert.equal(new Set(colours).size, 1);
    for (const part of ["2026-12-24", "3", "Oslo"]) assert.ok(reply.includes(part), reply);
  });

  test("is still there after a restart, and goes on from there", async (scene) => {
    const { duet, page, watch } = scene;
    watch.expect(/ERR_|Failed to load resource/);
    await askBefore(duet, "memory_write");
    const { place } = await waits(duet, "Please keep that.");
    await page.goto(duet.url + place);
    await openCard(page, "approval").waitFor();
    await duet.kill();
    await page.getByText("Connection lost").waitFor();
    await duet.restart();
    await page.getByText("Connection lost").waitFor({ state: "hidden", timeout: 30_000 });
    assert.equal(await state(card(page, "approval")), "open");
    await page.reload();
    await button(openCard(page, "approval"), "Approve").click();
    await card(page, "approval")
      .getByText(/The call was made today at/)
      .waitFor();
    await lastReply(page).getByText("So it is:").waitFor();
    assert.deepEqual(await memories(scene), [memory.text]);
  });

  test("shows what somebody else decided, instead of an error", async (scene) => {
    const { duet, page, watch } = scene;
    watch.expect(/status of 409/);
    await askBefore(duet, "memory_write");
    const { place } = await waits(duet, "quiet");
    await page.goto(duet.url + place);
    await openCard(page, "approval").waitFor();
    // This page does not hear of it.
    await page.route(/\/feed$/, (route) => route.abort());
    const [request] = (await duet.call("GET", `${duet.home}/requests`)).items;
    let decided = false;
    await page.route(/\/decide$/, async (route) => {
      if (!decided) await duet.call("POST", `${duet.home}/requests/${request.id}/decide`, { decision: "reject" });
      decided = true;
      await route.fallback();
    });
    await button(card(page, "approval"), "Approve").click();
    await card(page, "approval").getByText("Rejected by you.").waitFor();
    assert.equal(await card(page, "approval").getByRole("alert").count(), 0);
  });

  test("asks for the password where the sign-in has ended, and then decides", async (scene) => {
    const { duet, page, watch } = scene;
    watch.expect(/status of 403/);
    await askBefore(duet, "memory_write");
    const { place } = await waits(duet, "quiet");
    await page.goto(duet.url + place);
    let refused = false;
    await page.route(/\/decide$/, (route) => {
      if (refused) return route.fallback();
      refused = true;
      return route.fulfill({
        status: 403,
        contentType: "application/problem+json",
        json: { code: "not_live", title: "no", status: 403, detail: "Sign in again, then repeat." },
      });
    });
    await button(card(page, "approval"), "Approve").click();
    const dialog = page.getByRole("dialog", { name: "Confirm it’s you" });
    await dialog.getByLabel("Password").fill(owner.password);
    await dialog.getByLabel("Password").press("Enter");
    await card(page, "approval")
      .getByText(/Approved by you\./)
      .waitFor();
    await eventually(() => memories(scene), [memory.text]);
  });

  test("is an owner’s to decide where the policy says so, and says for whom", async (scene) => {
    const { duet, page, open } = scene;
    const bea = await duet.join(guest);
    await askBefore(duet, "memory_write", { decider: "owner" });
    const { place } = await waits(duet, "quiet", bea);
    const hers = await open({ cookie: bea.cookie });
    await hers.page.goto(duet.url + place);
    await card(hers.page, "approval").getByText("An owner of the workspace decides this.").waitFor();
    await eventually(() => button(card(hers.page, "approval"), "Approve").count(), 0);
    await hers.page.getByRole("button", { name: "Waiting for an owner" }).waitFor();
    await inbox(hers.page).waitFor();

    await inbox(page, 1).click();
    await card(page, "approval").getByText(`for ${guest.name}`).waitFor();
    assert.equal(await card(page, "approval").getByRole("link", { name: "Conversation" }).count(), 0);
    await button(card(page, "approval"), "Approve").click();
    await card(page, "approval").getByText(`${guest.name} sees the result.`).waitFor();
    await card(hers.page, "approval").getByText(`Approved by ${owner.name}. The call was made`).waitFor();
    await card(hers.page, "approval").getByText("Its result is in the reply.").waitFor();
    await lastReply(hers.page).getByText("So it is:").waitFor();
  });

  test("is decided by keyboard alone", async ({ duet, page }) => {
    await askBefore(duet, "memory_write");
    await waits(duet, "quiet");
    await inbox(page, 1).focus();
    await page.keyboard.press("Enter");
    await openCard(page, "approval").waitFor();
    const focused = () => page.evaluate(() => document.activeElement?.textContent ?? "");
    for (let presses = 0; presses < 40 && (await focused()) !== "Approve"; presses++) await page.keyboard.press("Tab");
    assert.equal(await focused(), "Approve");
    await page.keyboard.press("Enter");
    await card(page, "approval")
      .getByText(/Approved by you/)
      .waitFor();
    const kept = () => page.evaluate(() => document.activeElement?.getAttribute("data-kind"));
    await eventually(kept, "approval");
  });

  test("pauses a reply that is being written, and resumes it", async ({ page }) => {
    await send(page, "slow");
    await writing(page, "3,");
    await button(page, "Pause the reply").click();
    await button(page, "Resume").waitFor();
    await page.getByText("Paused", { exact: true }).waitFor();
    const told = page.getByRole("status").filter({ hasText: "Juno is paused." });
    await told.waitFor({ state: "attached" });
    await composer(page).fill("Hello!");
    await composer(page).press("Enter");
    await lastReply(page).getByText("Good day.").waitFor();
    await page.reload();
    await button(page, "Resume").click();
    await page.getByText(/40,/).waitFor({ timeout: 30_000 });
    await page.getByRole("link", { name: "In answer to “slow”" }).waitFor();
    await eventually(() => button(page, "Resume").count(), 0);
    assert.equal(await told.count(), 0);
  });

  test("is stopped while it waits", async ({ duet, page }) => {
    await askBefore(duet, "memory_write");
    const { place } = await waits(duet, "quiet");
    await page.goto(duet.url + place);
    await openCard(page, "approval").waitFor();
    await button(page, "Stop").click();
    await page.getByText("You stopped the reply before anything was written.").waitFor();
    await eventually(() => state(card(page, "approval")), "voided");
    await inbox(page).waitFor();
  });

  test("is listed by kind, with proposed memories, page by page", async (scene) => {
    const { duet, page } = scene;
    await askBefore(duet, "memory_write");
    const bea = await duet.join(guest);
    const old = await duet.call("POST", `${duet.home}/memories`, { text: "It is Maria.", visibility: "shared" });
    await bea.call("POST", `${bea.home}/memories`, { text: "It is Mario.", visibility: "shared", supersedes: old.id });
    for (let count = 0; count < 16; count++) await waits(duet, "quiet");
    for (let count = 0; count < 16; count++) await waits(duet, "ask");
    await inbox(page, 33).click();
    await eventually(() => page.locator("article").count(), 30);
    await button(page, "Show more").click();
    await eventually(() => page.locator("article").count(), 33);
    await page.getByText("Questions", { exact: true }).click();
    await eventually(() => page.locator("article").count(), 16);
    assert.match(page.url(), /kind=question/);
    await page.getByText("Reviews", { exact: true }).click();
    await page.getByText("None of these are waiting for you.").waitFor();
    await page.getByText("Memories", { exact: true }).click();
    await card(page, "memory").getByText("It is Mario.").waitFor();
    await button(card(page, "memory"), "Accept").click();
    await card(page, "memory").getByText("Accepted.").waitFor();
    await inbox(page, 32).waitFor();
  });

  const letThrough = [];
  const gates = [1, 2].map(() => new Promise((resolve) => letThrough.push(resolve)));
  /** As the companion; a story comes in three parts, each when it is let through. */
  async function* storyteller(question, ...rest) {
    if (!question.includes("story")) return yield* companion(question, ...rest);
    for (const [part, gate] of [undefined, ...gates].entries()) {
      await gate;
      for (let line = 1; line <= 15; line++) yield `Line ${line} of part ${part + 1}.\n\n`;
    }
  }
  /** The page gets shorter in one frame and longer before the next: the browser moves the view, and tells only then. */
  const flicker = (page) =>
    page.evaluate(
      () =>
        new Promise((done) => {
          const reply = [...document.querySelectorAll("article.message")].at(-1);
          requestAnimationFrame(() => {
            reply.style.display = "none";
            setTimeout(() => {
              reply.style.display = "";
              document.querySelector("form").style.paddingTop = "3rem";
              requestAnimationFrame(() => setTimeout(done));
            });
          });
        }),
    );
  const latest = (page) => button(page, "Latest");

  test(
    "leaves a reply in sight that is written meanwhile, on a phone",
    async ({ duet, page }) => {
      const inSight = (text) =>
        page.getByText(text, { exact: true }).evaluate((line) => {
          const { top, bottom } = line.getBoundingClientRect();
          return top >= 0 && bottom <= document.querySelector("form").getBoundingClientRect().top;
        });
      await askBefore(duet, "memory_write");
      const { place } = await waits(duet, "keep");
      await page.goto(duet.url + place);
      await openCard(page, "approval").waitFor();
      await composer(page).fill("Tell me\na story\nthat is long\nand\nin\nthree\nparts.");
      await button(page, "Send").tap();
      await page.getByText("Line 15 of part 1.").waitFor();
      await eventually(() => inSight("Line 15 of part 1."), true);
      await flicker(page);
      letThrough[0]();
      await page.getByText("Line 15 of part 2.").waitFor();
      await eventually(() => inSight("Line 15 of part 2."), true);
      assert.equal(await latest(page).count(), 0);

      // The reader moves up at the very moment at which the page changes.
      await page.evaluate(() => {
        document.querySelector('section[aria-label="Conversation"]').scrollTop -= 300;
        document.querySelector("form").style.paddingTop = "";
      });
      await latest(page).waitFor();
      letThrough[1]();
      await page.getByText("Line 15 of part 3.").waitFor();
      assert.equal(await inSight("Line 15 of part 3."), false);
      await latest(page).tap();
      await eventually(() => inSight("Line 15 of part 3."), true);
      await latest(page).waitFor({ state: "detached" });
    },
    { viewport: phone, touch: true, model: storyteller },
  );

  /** Where they stand, as the line's middle. */
  const topsOf = (all) =>
    all.map((one) => {
      const { top, bottom } = one.getBoundingClientRect();
      return Math.round((top + bottom) / 2);
    });
  for (const [size, view] of Object.entries({
    phone: { viewport: phone, touch: true },
    desktop: { viewport: desktop },
  })) {
    for (const colorScheme of ["light", "dark"]) {
      test(
        `fits a ${size}, ${colorScheme}, with forms open`,
        async ({ duet, page }) => {
          await askBefore(duet, "memory_write");
          await waits(duet, "ask");
          const { place } = await waits(duet, "keep odd");
          const look = async (where) => {
            await checkAccessibility(page, where);
            if (view.touch) await checkTargets(page, where);
          };
          await page.goto(`${duet.url}/inbox`);
          await openCard(page, "question").waitFor();
          await look("the Inbox");
          // The kinds stand in one line.
          const tops = await page.getByRole("group", { name: "Show" }).locator("label").evaluateAll(topsOf);
          assert.equal(new Set(tops).size, 1);
          for (const way of ["Edit…", "Reject…", "Say something instead…"]) {
            await button(openCard(page, "approval"), way).click();
            await look(way);
            await page.keyboard.press("Escape");
          }
          await page.goto(duet.url + place);
          await openCard(page, "approval").waitFor();
          await look("a card in a conversation");
          // Nor is a button left alone on a line.
          const waiting = page.getByRole("button", { name: "Waiting for you" });
          assert.equal(new Set(await waiting.or(button(page, "Stop")).evaluateAll(topsOf)).size, 1);
        },
        { ...view, colorScheme },
      );
    }
  }
});

describe("what needs a yes", () => {
  const test = scenes({ at: "/settings/policy" });
  const choice = (page, name) => page.getByRole("combobox", { name });
  const policy = async ({ duet }) => (await duet.call("GET", `${duet.home}/policy`)).rules;

  test("is chosen by category; other rules are shown and kept", async (scene) => {
    const { duet, page } = scene;
    await askBefore(duet, "memory_write", { role: "member", tool: "remember", why: "Members ask." });
    const before = await policy(scene);
    await page.reload();
    const exceptions = page.getByRole("list", { name: "Exceptions" });
    await exceptions.getByText("Save memories, with remember, for members").waitFor();
    await exceptions.getByText("Members ask.").waitFor();
    await choice(page, "Save memories").selectOption("Ask an owner first");
    await page.getByText("Saving cancels approvals that are still waiting.").waitFor();
    await checkAccessibility(page, "a changed policy");
    await button(page, "Save").click();
    await page.getByText("Saved.").waitFor();
    const at = before.findIndex(({ category, tool }) => category === "memory_write" && !tool);
    const expected = before.with(at, { category: "memory_write", say: "ask", decider: "owner" });
    assert.deepEqual(await policy(scene), expected);
    await page.reload();
    await eventually(() => choice(page, "Save memories").inputValue(), "ask_owner");
    const edges = await page.getByRole("combobox").evaluateAll((all) =>
      all.map((one) => {
        const { left, right } = one.getBoundingClientRect();
        return `${left} ${right}`;
      }),
    );
    assert.equal(new Set(edges).size, 1);
  });

  test("says that somebody else has changed it", async (scene) => {
    const { duet, page, watch } = scene;
    watch.expect(/status of 412/);
    await choice(page, "Search conversations").selectOption("Don’t allow");
    await askBefore(duet, "external");
    await button(page, "Save").click();
    await page.getByText("Somebody else has changed this in the meantime.").waitFor();
    await button(page, "Load it again").click();
    await eventually(() => choice(page, "Act outside of Duet").inputValue(), "ask");
    await eventually(() => choice(page, "Search conversations").inputValue(), "allow");
  });

  test("is read by members", async ({ duet, open }) => {
    const bea = await duet.join(guest);
    const { page } = await open({ cookie: bea.cookie });
    await page.goto(`${duet.url}/settings/policy`);
    await page.getByText("Owners of the workspace decide which.").waitFor();
    await eventually(() => page.getByRole("combobox").count(), 0);
    assert.equal(await button(page, "Save").count(), 0);
  });
});

// The frame around everything: the page itself never scrolls, and works by keyboard and at every size.
import assert from "node:assert/strict";
import { describe } from "node:test";
import { eventually, lastReply, openBasis, phone, replies, say } from "./support/browser.mjs";
import { entry, redacted } from "./support/redacted.mjs";
import { scenes } from "./support/scenes.mjs";

describe("the frame", () => {
  const test = scenes({ settings: "[models.offline]\npause_ms = 0\n" });

  /** A long conversation with everything opened that has names for screen readers. */
  const long = async ({ page, duet }) => {
    await page.goto(
      duet.url + (await duet.talk("My sister is called Maria.", ...Array(8).fill("Tell me a long story."))),
    );
    await say(page, "What is my sister called?");
    await openBasis(lastReply(page));
    await lastReply(page).locator("[data-memory]").first().waitFor();
  };
  const stays = async (page) => {
    await eventually(
      () =>
        page.evaluate(() => {
          const { scrollHeight, clientHeight, scrollTop } = document.documentElement;
          return [scrollHeight - clientHeight, scrollTop, document.body.scrollTop];
        }),
      [0, 0, 0],
    );
    await page.getByRole("textbox", { name: "Write to Juno" }).waitFor();
  };

  test("stays with a wheel over the list, and with Tab through everything", async (scene) => {
    const { page } = scene;
    await long(scene);
    await page.mouse.move(100, 400);
    await page.mouse.wheel(0, 3_000);
    await stays(page);
    await page.mouse.move(1_260, 30);
    await page.mouse.wheel(0, 3_000);
    await stays(page);
    for (let count = 0; count < 60; count++) await page.keyboard.press("Tab");
    await stays(page);
    // Attempts to scroll the page have no effect.
    await page.evaluate(() => window.scrollTo(0, 3_000));
    await stays(page);
  });

  test(
    "stays with a drag on a phone",
    async (scene) => {
      const { page, context } = scene;
      await long(scene);
      const touch = await context.newCDPSession(page);
      const at = (type, y) =>
        touch.send("Input.dispatchTouchEvent", { type, touchPoints: type === "touchEnd" ? [] : [{ x: 200, y }] });
      for (const from of [30, 780]) {
        await at("touchStart", from);
        for (let moved = 0; moved <= 300; moved += 30) await at("touchMove", from === 30 ? from + moved : from - moved);
        await at("touchEnd", 0);
        await stays(page);
      }
    },
    { viewport: phone, touch: true },
  );

  /** The share of the window that the conversation has. */
  const share = (page) =>
    page.getByRole("region", { name: "Conversation" }).evaluate((box) => box.clientHeight / window.innerHeight);

  test(
    "leaves half of the height to the conversation at 400 %",
    async (scene) => {
      const { page } = scene;
      await long(scene);
      assert.ok((await share(page)) >= 0.5, `${await share(page)}`);
      await page.getByRole("textbox", { name: "Write to Juno" }).fill("one\ntwo\nthree\nfour\nfive\nsix");
      assert.ok((await share(page)) >= 0.5, `with a draft: ${await share(page)}`);
      await page.getByRole("button", { name: "Conversations" }).click();
      const last = page.getByRole("button", { name: "Account and settings" });
      await last.scrollIntoViewIfNeeded();
      await last.click();
      await page.getByRole("button", { name: "Members" }).click();
      await page.getByRole("heading", { level: 1, name: "Members" }).waitFor();
    },
    { viewport: { width: 320, height: 200 } },
  );

  test(
    "leaves half of the height to the conversation at 400 %, also while there is something to review",
    async (scene) => {
      const { page } = scene;
      await redacted(scene);
      assert.ok((await share(page)) >= 0.5, `${await share(page)}`);
      await page.getByRole("button", { name: "Conversations" }).click();
      await page.getByRole("button", { name: "Account and settings" }).click();
      await entry(page).click();
      await page.getByRole("button", { name: "Remove reply" }).waitFor();
    },
    { viewport: { width: 320, height: 200 } },
  );

  test(
    "leaves half of the height to the conversation on a phone that lies",
    async (scene) => {
      await long(scene);
      assert.ok((await share(scene.page)) >= 0.5, `${await share(scene.page)}`);
    },
    { viewport: { width: 844, height: 390 }, touch: true },
  );

  test("can be used by keyboard alone: skip link first, focus to be seen, panels close with Esc", async (scene) => {
    const { page, duet } = scene;
    await page.goto(duet.url + (await duet.talk("My sister is called Maria.", "What is my sister called?")));
    await eventually(() => replies(page).count(), 2);
    // From the top of the page, as if it had just been opened.
    await page.evaluate(() => {
      document.body.tabIndex = -1;
      document.body.focus();
    });
    await page.keyboard.press("Tab");
    const skip = page.getByRole("link", { name: "Skip to the content" });
    assert.ok(
      await skip.evaluate(
        (element) => element === document.activeElement && getComputedStyle(element).outlineStyle !== "none",
      ),
    );
    await page.keyboard.press("Enter");
    await eventually(() => page.evaluate(() => document.activeElement?.id), "content");
    await openBasis(lastReply(page));
    await page.locator('[data-memory="recalled"]').first().focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "From memory" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog", { name: "From memory" }).waitFor({ state: "hidden" });
  });
});

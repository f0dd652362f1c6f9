// Tests that need nothing of each other: each has an installation, a browser profile and a record of errors of its own.
import { after, before, it } from "node:test";
import { openBrowser, openPage, owner } from "./browser.mjs";
import { startDuet, startWithOwner } from "./duet.mjs";
import { startModel } from "./model.mjs";

/**
 * Gives a function that declares tests, as `it` does. A test gets its installation `duet`, a `page` with its `context` and `watch`,
 * and `open` for more pages; at its end all of them are checked. Options, for all or for one:
 * `fresh`: nobody has set the installation up. `settings`: its configuration. `model`: what answers in place of
 * the offline model (support/model.mjs); with `standard: false` only those agents that name it. `at`: where the page begins (`null`: nowhere yet).
 * `signedIn: false`: nobody is. Others are those of `openPage`.
 */
export function scenes(defaults = {}) {
  let browser;
  before(async () => {
    browser = await openBrowser();
  });
  after(() => browser?.close());
  return (name, body, options = {}) =>
    it(name, async () => {
      const {
        fresh = false,
        model: answer,
        signedIn = !fresh,
        settings: given,
        standard = true,
        at = fresh ? null : "/chat",
        ...view
      } = { ...defaults, ...options };
      const model = answer && (await startModel(answer));
      const settings = [given, model?.settingsFor(standard)].filter(Boolean).join("\n");
      const duet = await (fresh ? startDuet({ settings }) : startWithOwner({ settings }));
      const pages = [];
      const open = async (more = {}) => {
        const cookie = signedIn ? duet.cookie : undefined;
        const opened = await openPage(browser, duet.url, { ...view, cookie, ...more });
        pages.push(opened);
        return opened;
      };
      try {
        const first = await open();
        if (at) {
          await first.page.goto(duet.url + at);
          await first.page.getByRole("heading", { level: 1 }).waitFor();
        }
        await body({ duet, browser, open, owner, ...first });
        for (const { watch } of pages) watch.check();
      } finally {
        for (const { context } of pages) await context.close();
        await duet.stop();
        model?.stop();
      }
    });
}

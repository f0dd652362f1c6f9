// Independent tests: each has its own installation, browser profile and record of errors.
import { after, before, it } from "node:test";
import { openBrowser, openPage, owner } from "./browser.mjs";
import { startDuet, startWithOwner } from "./duet.mjs";
import { startModel } from "./model.mjs";

/**
 * Returns a function that declares tests, like `it`. A test gets its installation `duet`, a `page` with its `context` and `watch`,
 * and `open` for more pages; all of them are checked at its end. Options, for all tests or one:
 * `fresh`: the installation is not set up. `settings`: its configuration. `model`: answers in place of
 * the offline model (support/model.mjs); with `standard: false` only for agents that name it. `at`: the first page (`null`: none yet).
 * `signedIn: false`: nobody is signed in. Other options are those of `openPage`.
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

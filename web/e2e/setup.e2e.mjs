import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  checkAccessibility,
  composer,
  eventually,
  fillYou,
  openBrowser,
  openPage,
  owner,
  send,
  settled,
} from "./support/browser.mjs";
import { startDuet } from "./support/duet.mjs";

describe("set-up and sign-in", () => {
  let duet;
  let browser;
  let page;
  let context;
  let watch;
  before(async () => {
    duet = await startDuet();
    browser = await openBrowser();
    ({ page, context, watch } = await openPage(browser, duet.url));
  });
  after(async () => {
    await browser?.close();
    await duet?.stop();
  });

  it("leads a fresh installation to the wizard", async () => {
    await page.goto(duet.url);
    await page.getByRole("heading", { name: "Let’s begin" }).waitFor();
    assert.equal(new URL(page.url()).pathname, "/setup");
    await checkAccessibility(page, "wizard, first step");
  });

  it("refuses a wrong token, says so, and keeps what was filled in", async () => {
    watch.expect(/status of 403/);
    await page.getByLabel("Setup token").fill("not-the-token");
    await page.getByRole("button", { name: "Go on" }).click();
    await checkAccessibility(page, "wizard, second step");
    await page.getByLabel("Password").fill("short");
    await page.getByLabel("What should your companion call you?").fill(owner.name);
    await page.getByLabel("E-mail").fill(owner.email);
    await page.getByRole("button", { name: "Go on" }).click();
    await page.getByText("A password has at least 10 characters").waitFor();
    await fillYou(page);
    await page.getByLabel("Companion’s name").fill(owner.companion);
    await page.getByRole("button", { name: "Start the first chat" }).click();
    await page.getByRole("alert").filter({ hasText: "setup token is not right" }).waitFor();
    assert.equal(await page.getByLabel("Setup token").inputValue(), "not-the-token");
    await checkAccessibility(page, "wizard with an error");
  });

  it("takes the right token out of the address at once, and starts the first chat", async () => {
    await page.goto("about:blank");
    await page.goto(`${duet.url}/setup#token=${encodeURIComponent(duet.token)}`);
    await page.getByRole("heading", { name: "About you" }).waitFor();
    assert.equal(new URL(page.url()).hash, "");
    await fillYou(page);
    await page.getByLabel("Companion’s name").fill(owner.companion);
    await page.getByRole("button", { name: "Start the first chat" }).click();
    await page.getByRole("heading", { name: owner.name }).waitFor();
    await send(page, "Hello!");
    await settled(page);
  });

  it("cannot be set up a second time", async () => {
    await page.goto(`${duet.url}/setup#token=${encodeURIComponent(duet.token)}`);
    await page.getByRole("heading", { name: owner.name }).waitFor();
    assert.equal(new URL(page.url()).pathname, "/chat");
  });

  it("signs out, refuses a wrong password, and signs in again", async () => {
    watch.expect(/status of 401.*sign-in/);
    await page.getByRole("button", { name: "Account and settings" }).click();
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.getByRole("heading", { name: "Welcome back" }).waitFor();
    assert.deepEqual(
      await context.cookies().then((all) => all.filter((one) => one.name === "duet_session" && one.value)),
      [],
    );
    await page.goto(`${duet.url}/chat`);
    await page.getByRole("heading", { name: "Welcome back" }).waitFor();
    await checkAccessibility(page, "sign-in");
    await page.getByLabel("E-mail").fill(owner.email);
    await page.getByLabel("Password").fill("this is not it");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").waitFor();
    await page.getByLabel("Password").fill(owner.password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: owner.name }).waitFor();
  });

  it("keeps the draft and the place when a sign-in ends", async () => {
    watch.expect(/status of 401/);
    await page.getByRole("link", { name: /Hello/ }).click();
    await page.getByRole("article", { name: "You said" }).getByText("Hello!").waitFor();
    const place = page.url();
    await composer(page).fill("A thought that must not be lost");
    await context.clearCookies();
    await composer(page).press("Enter");
    await page.getByText("Your sign-in has ended").waitFor();
    await page.getByLabel("E-mail").fill(owner.email);
    await page.getByLabel("Password").fill(owner.password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("article", { name: "You said" }).getByText("Hello!").waitFor();
    assert.equal(page.url(), place);
    await eventually(() => composer(page).inputValue(), "A thought that must not be lost");
  });

  it("signs out everywhere", async () => {
    const other = await openPage(browser, duet.url);
    other.watch.expect(/status of 401/);
    await other.page.goto(duet.url);
    await other.page.getByLabel("E-mail").fill(owner.email);
    await other.page.getByLabel("Password").fill(owner.password);
    await other.page.getByRole("button", { name: "Sign in" }).click();
    await other.page.getByRole("heading", { name: owner.name }).waitFor();
    await page.getByRole("button", { name: "Account and settings" }).click();
    await page.getByRole("button", { name: "Sign out everywhere" }).click();
    await page.getByRole("heading", { name: "Welcome back" }).waitFor();
    await other.page.reload();
    await other.page.getByRole("heading", { name: "Welcome back" }).waitFor();
    other.watch.check();
  });

  it("had no error in the console, no breach of the policy, no request elsewhere", () => watch.check());
});

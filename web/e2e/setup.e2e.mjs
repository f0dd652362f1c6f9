import assert from "node:assert/strict";
import { describe } from "node:test";
import { checkAccessibility, composer, eventually, fillYou, owner, said, send, settled } from "./support/browser.mjs";
import { scenes } from "./support/scenes.mjs";

describe("set-up", () => {
  const test = scenes({ fresh: true });

  const finish = async (page) => {
    await page.getByLabel("Companion’s name").fill(owner.companion);
    await page.getByRole("button", { name: "Start the first chat" }).click();
    await page.getByRole("heading", { name: owner.name }).waitFor();
  };

  test("leads to the wizard, which refuses a wrong token where it is typed", async ({ page, duet, watch }) => {
    watch.expect(/status of 403/);
    await page.goto(duet.url);
    await page.getByRole("heading", { name: "Let’s begin" }).waitFor();
    assert.equal(new URL(page.url()).pathname, "/setup");
    await checkAccessibility(page, "wizard, first step");
    // The steps stay where they are, whatever stands below them.
    const height = async () => (await page.getByRole("list", { name: "Steps" }).boundingBox()).y;
    const steps = await height();
    const field = page.getByLabel("Setup token");
    await field.fill("not-the-token");
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByText("That setup token is wrong").waitFor();
    await eventually(() => field.getAttribute("aria-invalid"), "true");
    await eventually(() => field.evaluate((input) => input === document.activeElement), true);
    assert.equal(await field.inputValue(), "not-the-token");
    await checkAccessibility(page, "wizard with an error");
    await field.fill(duet.token.toLowerCase());
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByRole("heading", { name: "About you" }).waitFor();
    await checkAccessibility(page, "wizard, second step");
    await page.getByLabel("Password").fill("short");
    await page.getByLabel("What should your companion call you?").fill(owner.name);
    await page.getByLabel("Email").fill(owner.email);
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByText("Use at least 10 characters").waitFor();
    const password = page.getByLabel("Password");
    await eventually(() => password.evaluate((input) => input === document.activeElement), true);
    await password.pressSequentially("er");
    assert.equal(await password.inputValue(), "shorter", "typing does not move the focus");
    assert.equal(await height(), steps);
    await fillYou(page);
    await page.getByLabel("Companion’s name").waitFor();
    assert.equal(await height(), steps);
    await finish(page);
  });

  test("loses nothing but the password at a reload, and takes a link that is pasted into the open page", async ({
    page,
    duet,
    watch,
  }) => {
    watch.expect(/status of 403/);
    const link = (token) => `${duet.url}/setup#token=${encodeURIComponent(token)}`;
    await page.goto(link("nothing"));
    await page.getByText("That setup token is wrong").waitFor();
    assert.equal(await page.getByText("That setup token is wrong").count(), 1);
    await page.evaluate((address) => location.assign(address), link(duet.token));
    await page.getByRole("heading", { name: "About you" }).waitFor();
    await eventually(() => new URL(page.url()).hash, "");
    await fillYou(page);
    await page.getByLabel("Companion’s name").fill("Somebody");
    await page.reload();
    await page.getByRole("heading", { name: "About you" }).waitFor();
    assert.equal(await page.getByLabel("What should your companion call you?").inputValue(), owner.name);
    assert.equal(await page.getByLabel("Email").inputValue(), owner.email);
    assert.equal(await page.getByLabel("Password").inputValue(), "");
    const kept = () => page.evaluate(() => JSON.stringify(sessionStorage));
    assert.ok(!(await kept()).includes(owner.password));
    await fillYou(page);
    assert.equal(await page.getByLabel("Companion’s name").inputValue(), "Somebody");
    await finish(page);
    assert.ok(!(await kept()).includes(duet.token));
  });

  test("refuses a wrong token that came with the address", async ({ page, duet, watch }) => {
    watch.expect(/status of 403/);
    await page.goto(`${duet.url}/setup#token=nothing`);
    await page.getByText("That setup token is wrong").waitFor();
    await eventually(() => page.getByLabel("Setup token").inputValue(), "nothing");
  });

  test("takes the right token out of the address at once, and starts the first chat", async ({ page, duet }) => {
    await page.goto(`${duet.url}/setup#token=${encodeURIComponent(duet.token)}`);
    await page.getByRole("heading", { name: "About you" }).waitFor();
    assert.equal(new URL(page.url()).hash, "");
    await fillYou(page);
    await page.getByLabel("Workspace name").fill("Harbour");
    await finish(page);
    await send(page, "Hello!");
    await settled(page);
    // Set-up cannot be repeated.
    await page.goto(`${duet.url}/setup#token=${encodeURIComponent(duet.token)}`);
    await page.getByRole("heading", { name: owner.name }).waitFor();
    assert.equal(new URL(page.url()).pathname, "/chat");
  });

  test("says that it is done to somebody who comes later and is not signed in", async ({
    page,
    context,
    duet,
    watch,
  }) => {
    watch.expect(/status of 401/);
    await page.goto(`${duet.url}/setup#token=${encodeURIComponent(duet.token)}`);
    await fillYou(page);
    await finish(page);
    await context.clearCookies();
    await page.goto(`${duet.url}/setup`);
    await page.getByText("This Duet is already set up.").waitFor();
    await page.getByRole("heading", { name: "Welcome back" }).waitFor();
    assert.equal(new URL(page.url()).pathname, "/sign-in");
    await checkAccessibility(page, "sign-in after a set-up that is done");
  });
});

describe("signing in", () => {
  const test = scenes();

  const signIn = async (page, password = owner.password) => {
    await page.getByLabel("Email").fill(owner.email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in" }).click();
  };
  const signOut = async (page, name) => {
    await page.getByRole("button", { name: "Account and settings" }).click();
    await page.getByRole("button", { name, exact: true }).click();
    await page.getByRole("heading", { name: "Welcome back" }).waitFor();
  };

  test("ends, refuses a wrong password, and works again", async ({ page, context, duet, watch }) => {
    watch.expect(/status of 401.*sign-in/);
    await signOut(page, "Sign out");
    const cookies = await context.cookies();
    assert.deepEqual(
      cookies.filter(({ name, value }) => name === "duet_session" && value),
      [],
    );
    await page.goto(`${duet.url}/chat`);
    await page.getByRole("heading", { name: "Welcome back" }).waitFor();
    await checkAccessibility(page, "sign-in");
    await signIn(page, "this is not it");
    await page.getByRole("alert").filter({ hasText: "Wrong email or password." }).waitFor();
    await page.getByLabel("Password").fill(owner.password);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: owner.name }).waitFor();
  });

  test("keeps the draft and the place when a sign-in ends", async ({ page, context, duet, watch }) => {
    watch.expect(/status of 401/);
    await page.goto(duet.url + (await duet.talk("Hello!")));
    await said(page, "Hello!").waitFor();
    const place = page.url();
    await composer(page).fill("A thought that must not be lost");
    await context.clearCookies();
    await composer(page).press("Enter");
    await page.getByText("You’ve been signed out").waitFor();
    await signIn(page);
    await said(page, "Hello!").waitFor();
    assert.equal(page.url(), place);
    await eventually(() => composer(page).inputValue(), "A thought that must not be lost");
  });

  test("ends everywhere", async ({ page, open, duet }) => {
    const other = await open();
    other.watch.expect(/status of 401/);
    await other.page.goto(`${duet.url}/chat`);
    await other.page.getByRole("heading", { name: owner.name }).waitFor();
    await signOut(page, "Sign out everywhere");
    await other.page.reload();
    await other.page.getByRole("heading", { name: "Welcome back" }).waitFor();
  });
});

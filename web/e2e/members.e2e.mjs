import assert from "node:assert/strict";
import { join } from "node:path";
import { describe } from "node:test";
import {
  checkAccessibility,
  desktop,
  eventually,
  guest,
  owner,
  phone,
  said,
  say,
  screenshots,
  send,
  writing,
} from "./support/browser.mjs";
import { scenes } from "./support/scenes.mjs";
import { refuseOnce } from "./support/stale.mjs";

const people = (page) => page.getByRole("list", { name: "Members" }).getByRole("listitem");
const invitations = (page) => page.getByRole("list", { name: "Open invitations" }).getByRole("listitem");
const gone = (page) => page.getByRole("heading", { name: /^You are no longer a member of/ });
const openMembers = async (page) => {
  await page.getByRole("button", { name: "Account and settings" }).click();
  await page.getByRole("button", { name: "Members" }).click();
  await page.getByRole("heading", { level: 1, name: "Members" }).waitFor();
  await people(page).first().waitFor();
};
/** Checks a page in every size and scheme. */
const look = async (page, name) => {
  for (const [size, viewport] of Object.entries({ phone, desktop })) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ["dark", "light"]) {
      await page.evaluate((scheme) => {
        document.documentElement.dataset.theme = scheme;
      }, colorScheme);
      await checkAccessibility(page, `${name}, ${size}, ${colorScheme}`);
      await page.screenshot({ path: join(screenshots, `${name}-${size}-${colorScheme}.png`) });
    }
  }
};
/** Creates an invitation on the members page and returns its link. */
const invite = async (page, email) => {
  await page.getByLabel("Guest’s email").fill(email);
  await page.getByRole("button", { name: "Create link" }).click();
  await page.getByText(`Send this link to ${email}`).waitFor();
  return page.getByLabel("Invitation link").inputValue();
};
/** A page for somebody who is not signed in. The browser reports every status of 400 and above, including provoked ones. */
const stranger = async (open) => {
  const opened = await open({ cookie: undefined });
  opened.watch.expect(/status of (401|404|409)/);
  return opened.page;
};
/** Invites the guest over the API, who creates an account; returns their page, in their first chat. */
const joined = async ({ duet, open }) => {
  const { token } = await duet.call("POST", `${duet.home}/invitations`, { email: guest.email, role: "member" });
  const page = await stranger(open);
  await page.goto(`${duet.url}/invite#token=${token}`);
  await page.getByLabel("Your name").fill(guest.name);
  await page.getByLabel("Password").fill(guest.password);
  await page.getByRole("button", { name: "Create account and join" }).click();
  await page.getByRole("heading", { name: guest.name }).waitFor();
  return page;
};

describe("members", () => {
  const test = scenes({ at: "/settings/members" });

  test("show who is there, and an owner how to invite", async ({ page }) => {
    await eventually(() => people(page).count(), 1);
    await page.getByText("No open invitations.").waitFor();
    await eventually(() => people(page).getByRole("button").count(), 0);
    await look(page, "members-alone");
  });

  test("refuse an invitation that cannot be, with what was filled in kept", async ({ page, watch }) => {
    watch.expect(/status of 409/);
    await page.getByLabel("Guest’s email").fill(owner.email);
    await page.getByRole("button", { name: "Create link" }).click();
    await page.getByRole("alert").filter({ hasText: "already a member of this workspace" }).waitFor();
    await eventually(() => page.getByLabel("Guest’s email").inputValue(), owner.email);
  });

  test("are invited by a link that is shown once", async ({ page, duet }) => {
    const link = await invite(page, guest.email);
    assert.match(link, new RegExp(`^${duet.url}/invite#token=[\\w-]{43}$`));
    await eventually(() => invitations(page).count(), 1);
    await look(page, "members-invited");
    await page.getByRole("button", { name: "Done" }).click();
    await eventually(() => page.getByLabel("Invitation link").count(), 0);
    await page.reload();
    await invitations(page).getByText(guest.email, { exact: true }).waitFor();
    assert.equal((await page.content()).includes(link.split("token=")[1]), false, "it is nowhere on the page any more");
  });

  test("come in with a new account, chat, and see nothing of what owners do", async ({ page: ada, open }) => {
    const link = await invite(ada, guest.email);
    const page = await stranger(open);
    await page.goto(link);
    await page.getByRole("heading", { name: "Join Home" }).waitFor();
    assert.equal(new URL(page.url()).hash, "", "the token is out of the address");
    await page.getByText(`${owner.name} invited ${guest.email}`).waitFor();
    await eventually(() => page.getByLabel("Email").inputValue(), guest.email);
    await look(page, "invite-newcomer");
    await page.getByLabel("Your name").fill(guest.name);
    await page.getByLabel("Password").fill("short");
    await page.getByRole("button", { name: "Create account and join" }).click();
    await page.getByText("Use at least 10 characters.").waitFor();
    await page.getByLabel("Password").fill(guest.password);
    await page.getByRole("button", { name: "Create account and join" }).click();
    await page.getByRole("heading", { name: guest.name }).waitFor();
    await say(page, "My boat is called Heron.");
    await openMembers(page);
    await eventually(() => people(page).count(), 2);
    await eventually(() => page.getByRole("heading", { name: "Invite someone" }).count(), 0);
    await eventually(() => people(page).getByRole("button").count(), 0);
    await look(page, "members-as-member");
    await page.goBack();
    await said(page, "Heron").waitFor();
  });

  test("are told within five seconds that they were removed, in mid-reply", async (scene) => {
    const bea = await joined(scene);
    const { page } = scene;
    await page.reload();
    await eventually(() => people(page).count(), 2);
    await page.getByRole("button", { name: `Remove ${guest.name}` }).click();
    await page.getByRole("alertdialog").getByText("They lose access at once").waitFor();
    await look(page, "members-removing");
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("alertdialog").waitFor({ state: "detached" });
    await page.getByRole("button", { name: `Remove ${guest.name}` }).click();
    await send(bea, "Tell me a long story.");
    await writing(bea, "Mira");
    await page.getByRole("alertdialog").getByRole("button", { name: "Remove" }).click();
    await eventually(() => people(page).count(), 1);
    await gone(bea).waitFor({ timeout: 5_000 });
    await eventually(() => bea.getByText("Mira").count(), 0);
    await look(bea, "removed");
    await bea.reload();
    await bea.getByRole("heading", { name: "You are not in any workspace" }).waitFor();
    await checkAccessibility(bea, "no workspace");
  });

  test("cannot use a link twice, or one that was revoked or cut off", async ({ page, open, duet }) => {
    const link = await invite(page, guest.email);
    const bea = await stranger(open);
    const refused = async (address, words) => {
      await bea.goto("about:blank");
      await bea.goto(address);
      await bea.getByRole("heading", { name: "This invitation can’t be used" }).waitFor();
      await bea.getByRole("alert").filter({ hasText: words }).waitFor();
    };
    await refused(`${duet.url}/invite`, "incomplete");
    await refused(`${duet.url}/invite#token=nothing`, "doesn’t exist");
    // A reload looks up the same invitation.
    await refused(`${duet.url}/invite`, "doesn’t exist");
    await bea.goto("about:blank");
    await bea.goto(link);
    await bea.getByLabel("Your name").fill(guest.name);
    await bea.getByLabel("Password").fill(guest.password);
    await bea.getByRole("button", { name: "Create account and join" }).click();
    await bea.getByRole("heading", { name: guest.name }).waitFor();
    await refused(link, "already been used");
    await checkAccessibility(bea, "a used invitation");
    const revoked = await invite(page, "carl@example.org");
    await page.getByRole("button", { name: "Revoke the invitation for carl@example.org" }).click();
    await page.getByText("No open invitations.").waitFor();
    await refused(revoked, "revoked");
  });

  test("come back with the account that they have, and find what was theirs", async (scene) => {
    const bea = await joined(scene);
    await say(bea, "My boat is called Heron.");
    const { duet } = scene;
    const { items } = await duet.call("GET", `${duet.home}/members`);
    const { user_id } = items.find(({ email }) => email === guest.email);
    await duet.call("DELETE", `${duet.home}/members/${user_id}`);
    const { token } = await duet.call("POST", `${duet.home}/invitations`, { email: guest.email, role: "member" });
    const link = `${duet.url}/invite#token=${token}`;
    await bea.goto("about:blank");
    await bea.goto(link);
    // Still signed in.
    await bea.getByRole("button", { name: `Join as ${guest.name}` }).waitFor();
    await look(bea, "invite-signed-in");
    await bea.evaluate(async () => {
      await fetch("/v1/auth/sign-out", { method: "POST", headers: { "x-duet-csrf": "1" } });
      localStorage.clear();
    });
    await bea.goto("about:blank");
    await bea.goto(link);
    await bea.getByLabel("Password").fill(guest.password);
    await eventually(() => bea.getByLabel("Email").inputValue(), guest.email);
    await look(bea, "invite-sign-in");
    await bea.getByRole("button", { name: "Sign in" }).click();
    await bea.getByRole("button", { name: `Join as ${guest.name}` }).click();
    await bea.getByRole("heading", { name: guest.name }).waitFor();
    await bea.getByRole("link", { name: /Heron/ }).click();
    await said(bea, "Heron").waitFor();
  });

  test("are invited after the password where the sign-in is too long ago, with all kept until then", async (scene) => {
    const { page, watch } = scene;
    watch.expect(/status of (401|403)/);
    await refuseOnce(page, /\/invitations$/, "POST");
    await page.getByLabel("Guest’s email").fill(guest.email);
    await page.getByLabel("Role").selectOption("owner");
    await page.getByLabel("The link expires after").selectOption("1 day");
    const create = page.getByRole("button", { name: "Create link" });
    await create.click();
    const dialog = page.getByRole("dialog", { name: "Confirm it’s you" });
    await dialog.getByText("It’s been a while since you signed in.").waitFor();
    await look(page, "sign-in-again");
    await dialog.getByLabel("Password").fill("not this one");
    await dialog.getByRole("button", { name: "Continue" }).click();
    await dialog.getByRole("alert").filter({ hasText: "Wrong password" }).waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await eventually(() => create.evaluate((element) => element === document.activeElement), true);
    await eventually(() => page.getByRole("alert").count(), 0);
    assert.equal(await page.getByLabel("Guest’s email").inputValue(), guest.email);
    assert.equal(await page.getByLabel("Role").inputValue(), "owner");

    await page.unrouteAll();
    await refuseOnce(page, /\/invitations$/, "POST");
    await create.click();
    await dialog.getByLabel("Password").fill(owner.password);
    await dialog.getByLabel("Password").press("Enter");
    await page.getByText(`Send this link to ${guest.email}`).waitFor();
    await dialog.waitFor({ state: "detached" });
    await eventually(() => invitations(page).count(), 1);
    await invitations(page).getByText("As an owner, expires").waitFor();
  });

  test("are made owners after the password where the sign-in is too long ago", async ({ page, duet, watch }) => {
    watch.expect(/status of 403/);
    await duet.join(guest);
    await page.reload();
    await refuseOnce(page, /\/members\/[\w-]+$/, "PATCH");
    await page.getByRole("button", { name: `Make owner (${guest.name})` }).click();
    const dialog = page.getByRole("dialog", { name: "Confirm it’s you" });
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await dialog.waitFor({ state: "detached" });
    await people(page).filter({ hasText: guest.name }).getByText("Member since").waitFor();
    await page.unrouteAll();
    await refuseOnce(page, /\/members\/[\w-]+$/, "PATCH");
    await page.getByRole("button", { name: `Make owner (${guest.name})` }).click();
    await dialog.getByLabel("Password").fill(owner.password);
    await dialog.getByRole("button", { name: "Continue" }).click();
    await people(page).filter({ hasText: guest.name }).getByText("Owner since").waitFor();
  });

  test("are asked to sign out where an invitation is for somebody else", async ({ page }) => {
    const third = await invite(page, "carl@example.org");
    await page.goto("about:blank");
    await page.goto(third);
    await page.getByText(`You’re signed in as ${owner.email}`).waitFor();
    await page.getByRole("button", { name: "Sign out and continue" }).waitFor();
    await checkAccessibility(page, "an invitation for somebody else");
  });

  test("can leave; the last owner cannot, until there is another", async (scene) => {
    const bea = await joined(scene);
    const { page, watch } = scene;
    watch.expect(/status of (404|409)/);
    await page.reload();
    await eventually(() => people(page).count(), 2);
    await page.getByRole("button", { name: "Leave Home" }).click();
    await page.getByRole("alertdialog").getByRole("button", { name: "Leave" }).click();
    await page.getByRole("alert").filter({ hasText: "needs an owner" }).waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: `Make owner (${guest.name})` }).click();
    await people(page).filter({ hasText: guest.name }).getByText("Owner since").waitFor();
    await page.getByRole("button", { name: "Leave Home" }).click();
    await page.getByRole("alertdialog").getByRole("button", { name: "Leave" }).click();
    await gone(page).waitFor();
    await openMembers(bea);
    await eventually(() => people(bea).count(), 1);
    await bea.getByRole("heading", { name: "Invite someone" }).waitFor();
  });
});

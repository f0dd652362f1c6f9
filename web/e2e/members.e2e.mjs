import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import {
  checkAccessibility,
  checkWidth,
  desktop,
  eventually,
  openBrowser,
  openPage,
  owner,
  phone,
  say,
  screenshots,
  send,
  setUp,
  writing,
} from "./support/browser.mjs";
import { startDuet } from "./support/duet.mjs";

const guest = { name: "Bea", email: "bea@example.org", password: "a quiet river at night" };

describe("members", () => {
  let duet;
  let browser;
  let ada;
  let bea;
  before(async () => {
    duet = await startDuet();
    browser = await openBrowser();
    ada = await openPage(browser, duet.url);
    bea = await openPage(browser, duet.url);
    // The browser reports every answer of 400 and above as an error, also those that these tests provoke.
    bea.watch.expect(/status of (401|404|409)/);
    ada.watch.expect(/status of (409|422)/);
    await setUp(ada.page, duet);
    await openMembers(ada.page);
  });
  after(async () => {
    await browser?.close();
    await duet?.stop();
  });

  const openMembers = async (page) => {
    await page.getByRole("button", { name: "Account and settings" }).click();
    await page.getByRole("button", { name: "Members" }).click();
    await page.getByRole("heading", { level: 1, name: "Members" }).waitFor();
    await page.getByRole("list", { name: "Members" }).getByRole("listitem").first().waitFor();
  };
  const people = (page) => page.getByRole("list", { name: "Members" }).getByRole("listitem");
  const open = (page) => page.getByRole("list", { name: "Open invitations" }).getByRole("listitem");
  /** Makes an invitation and gives its link. */
  const invite = async (email) => {
    const { page } = ada;
    await page.getByLabel("E-mail of the guest").fill(email);
    await page.getByRole("button", { name: "Make the link" }).click();
    await page.getByText(`Give this link to ${email}`).waitFor();
    return page.getByLabel("Invitation link").inputValue();
  };
  /** Looks at a page in every size and scheme. */
  const look = async ({ page }, name) => {
    for (const [size, viewport] of Object.entries({ phone, desktop })) {
      await page.setViewportSize(viewport);
      for (const colorScheme of ["dark", "light"]) {
        const where = `${name}, ${size}, ${colorScheme}`;
        await page.evaluate((scheme) => {
          document.documentElement.dataset.theme = scheme;
        }, colorScheme);
        await checkWidth(page, where);
        await checkAccessibility(page, where);
        await page.screenshot({ path: join(screenshots, `${name}-${size}-${colorScheme}.png`), fullPage: true });
      }
    }
  };
  const gone = (page) => page.getByRole("heading", { name: /^You are no longer a member of/ });

  it("show who is there, and an owner how to invite", async () => {
    await eventually(() => people(ada.page).count(), 1);
    await ada.page.getByText("No link is out at the moment.").waitFor();
    await eventually(() => people(ada.page).getByRole("button").count(), 0);
    await look(ada, "members-alone");
  });

  it("refuse an invitation that cannot be, with what was filled in kept", async () => {
    const { page } = ada;
    await page.getByLabel("E-mail of the guest").fill(owner.email);
    await page.getByRole("button", { name: "Make the link" }).click();
    await page.getByRole("alert").filter({ hasText: "member of this workspace already" }).waitFor();
    await eventually(() => page.getByLabel("E-mail of the guest").inputValue(), owner.email);
  });

  let link;
  it("are invited by a link that is shown once", async () => {
    const { page } = ada;
    link = await invite(guest.email);
    assert.match(link, new RegExp(`^${duet.url}/invite#token=[\\w-]{43}$`));
    await eventually(() => open(page).count(), 1);
    await look(ada, "members-invited");
    await page.getByRole("button", { name: "Done" }).click();
    await eventually(() => page.getByLabel("Invitation link").count(), 0);
    await page.reload();
    await open(page).getByText(guest.email, { exact: true }).waitFor();
    assert.equal((await page.content()).includes(link.split("token=")[1]), false, "it is nowhere on the page any more");
  });

  it("come in with a new account, and chat", async () => {
    const { page } = bea;
    await page.goto(link);
    await page.getByRole("heading", { name: "Join Home" }).waitFor();
    assert.equal(new URL(page.url()).hash, "", "the token is out of the address");
    await page.getByText(`${owner.name} invites ${guest.email}`).waitFor();
    await eventually(() => page.getByLabel("E-mail").inputValue(), guest.email);
    await look(bea, "invite-newcomer");
    await page.getByLabel("What should you be called?").fill(guest.name);
    await page.getByLabel("Password").fill("short");
    await page.getByRole("button", { name: "Make the account and join" }).click();
    await page.getByText("A password has at least 10 characters.").waitFor();
    await page.getByLabel("Password").fill(guest.password);
    await page.getByRole("button", { name: "Make the account and join" }).click();
    await page.getByRole("heading", { name: guest.name }).waitFor();
    await say(page, "My boat is called Heron.");
  });

  it("see who is there, and nothing of what owners do", async () => {
    const { page } = bea;
    await openMembers(page);
    await eventually(() => people(page).count(), 2);
    await eventually(() => page.getByRole("heading", { name: "Invite somebody" }).count(), 0);
    await eventually(() => people(page).getByRole("button").count(), 0);
    await look(bea, "members-as-member");
    await page.goBack();
    await page.getByRole("article", { name: "You said" }).getByText("Heron").waitFor();
  });

  it("are told within five seconds that they were removed, in mid-reply", async () => {
    const { page } = ada;
    await page.reload();
    await eventually(() => people(page).count(), 2);
    await eventually(() => open(page).count(), 0);
    await page.getByRole("button", { name: `Remove ${guest.name}` }).click();
    await page.getByRole("alertdialog").getByText("Their access ends at once").waitFor();
    await look(ada, "members-removing");
    await page.getByRole("button", { name: "Keep as it is" }).click();
    await page.getByRole("alertdialog").waitFor({ state: "detached" });
    await page.getByRole("button", { name: `Remove ${guest.name}` }).click();
    await send(bea.page, "Tell me a long story.");
    await writing(bea.page, "Mira");
    await page.getByRole("alertdialog").getByRole("button", { name: "Remove" }).click();
    await eventually(() => people(page).count(), 1);
    await gone(bea.page).waitFor({ timeout: 5_000 });
    await eventually(() => bea.page.getByText("Heron").count(), 0);
    await look(bea, "removed");
    await bea.page.reload();
    await bea.page.getByRole("heading", { name: "You are in no workspace" }).waitFor();
    await checkAccessibility(bea.page, "no workspace");
  });

  it("cannot use a link twice, or one that was revoked or cut off", async () => {
    const { page } = bea;
    const refused = async (address, words) => {
      await page.goto("about:blank");
      await page.goto(address);
      await page.getByRole("heading", { name: "This invitation cannot be used" }).waitFor();
      await page.getByRole("alert").filter({ hasText: words }).waitFor();
    };
    await refused(link, "used already");
    await checkAccessibility(page, "a used invitation");
    await refused(`${duet.url}/invite`, "not whole");
    await refused(`${duet.url}/invite#token=nothing`, "knows no such invitation");
    const revoked = await invite(guest.email);
    await ada.page.getByRole("button", { name: `Revoke the invitation of ${guest.email}` }).click();
    await eventually(() => open(ada.page).count(), 0);
    await refused(revoked, "taken back");
  });

  it("come back with the account that they have, and find what was theirs", async () => {
    const { page } = bea;
    const again = await invite(guest.email);
    await page.goto("about:blank");
    await page.goto(again);
    // Signed in still.
    await page.getByRole("button", { name: `Join as ${guest.name}` }).waitFor();
    await look(bea, "invite-signed-in");
    await page.evaluate(async () => {
      await fetch("/v1/auth/sign-out", { method: "POST", headers: { "x-duet-csrf": "1" } });
      localStorage.clear();
    });
    await page.goto("about:blank");
    await page.goto(again);
    await page.getByLabel("Password").fill(guest.password);
    await eventually(() => page.getByLabel("E-mail").inputValue(), guest.email);
    await look(bea, "invite-sign-in");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("button", { name: `Join as ${guest.name}` }).click();
    await page.getByRole("heading", { name: guest.name }).waitFor();
    await page.getByRole("link", { name: /Heron/ }).click();
    await page.getByRole("article", { name: "You said" }).getByText("Heron").waitFor();
  });

  it("are asked to sign out where an invitation is for somebody else", async () => {
    const third = await invite("carl@example.org");
    const { page } = ada;
    await page.goto("about:blank");
    await page.goto(third);
    await page.getByText(`You are signed in as ${owner.email}`).waitFor();
    await checkAccessibility(page, "an invitation for somebody else");
    await page.goto(`${duet.url}/settings/members`);
    await people(page).first().waitFor();
  });

  it("can leave; the last owner cannot, until there is another", async () => {
    const { page } = ada;
    await page.getByRole("button", { name: "Leave Home" }).click();
    await page.getByRole("alertdialog").getByRole("button", { name: "Leave" }).click();
    await page.getByRole("alert").filter({ hasText: "needs an owner" }).waitFor();
    await page.getByRole("button", { name: "Keep as it is" }).click();
    await page.getByRole("button", { name: `Make owner (${guest.name})` }).click();
    await people(page).filter({ hasText: guest.name }).getByText("Owner, since").waitFor();
    await page.getByRole("button", { name: "Leave Home" }).click();
    await page.getByRole("alertdialog").getByRole("button", { name: "Leave" }).click();
    await gone(page).waitFor();
    await openMembers(bea.page);
    await eventually(() => people(bea.page).count(), 1);
    await bea.page.getByRole("heading", { name: "Invite somebody" }).waitFor();
  });

  it("had no error in the console, no breach of the policy, no request elsewhere", () => {
    ada.watch.check();
    bea.watch.check();
  });
});

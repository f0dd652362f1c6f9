import assert from "node:assert/strict";
import { join } from "node:path";
import { describe } from "node:test";
import {
  checkAccessibility,
  checkTargets,
  desktop,
  eventually,
  owner,
  phone,
  screenshots,
} from "./support/browser.mjs";
import { scenes } from "./support/scenes.mjs";
import { refuseOnce } from "./support/stale.mjs";

/** What a device asks for and is told, as `duet login` does. */
const asking = async (duet, path, body) => {
  const answer = await fetch(duet.url + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: answer.status, ...(await answer.json()) };
};
const begin = (duet) => asking(duet, "/v1/device", { client: "duet on ada-laptop" });
const told = (duet, { device_code }) => asking(duet, "/v1/device/token", { device_code });

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
const heading = (page, name) => page.getByRole("heading", { level: 1, name });
const confirm = (page) => page.getByRole("button", { name: "Sign it in" });
const refuse = (page) => page.getByRole("button", { name: "Refuse" });

describe("a device", () => {
  const test = scenes({ at: "/device" });

  test("is let in by the code that it shows", async ({ page, duet }) => {
    await look(page, "device-empty");
    const codes = await begin(duet);
    await page.getByLabel("Code").fill(codes.user_code.toLowerCase().replace("-", " "));
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByText("duet on ada-laptop").waitFor();
    await page.getByText(codes.user_code, { exact: true }).waitFor();
    await page.getByText("127.0.0.1").waitFor();
    await page.getByText(owner.email).waitFor();
    await look(page, "device-asks");
    // The code is in the address: a reload and going back lose nothing.
    await page.reload();
    await confirm(page).waitFor();
    await page.goBack();
    await page.getByLabel("Code").waitFor();
    await page.goForward();
    await confirm(page).click();
    await heading(page, "Confirmed").waitFor();
    await look(page, "device-confirmed");
    const token = await told(duet, codes);
    assert.equal(token.status, 200);
    await page.reload();
    await heading(page, "Signed in").waitFor();
    const session = await fetch(`${duet.url}/v1/auth/session`, {
      headers: { authorization: `Bearer ${token.access_token}` },
    });
    assert.equal((await session.json()).user.email, owner.email);
  });

  test(
    "is refused, on a phone",
    async ({ page, duet }) => {
      const codes = await begin(duet);
      await page.goto(codes.verification_uri_complete);
      await confirm(page).waitFor();
      await checkTargets(page, "device");
      await refuse(page).click();
      await heading(page, "Refused").waitFor();
      assert.equal((await told(duet, codes)).code, "access_denied");
    },
    { viewport: phone, touch: true },
  );

  test("cannot be found by a wrong code, or one that cannot be", async ({ page, watch, duet }) => {
    watch.expect(/status of 404/);
    await page.getByLabel("Code").fill("ABC");
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByText("A code has eight letters").waitFor();
    await page.getByLabel("Code").fill("BCDF-GHJK");
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByText("No device shows the code BCDF-GHJK").waitFor();
    await look(page, "device-unknown");
    const codes = await begin(duet);
    await page.getByLabel("Code").fill(codes.user_code);
    await page.getByRole("button", { name: "Continue" }).click();
    await confirm(page).waitFor();
  });

  test("that was decided elsewhere meanwhile is shown as it is", async ({ page, watch, duet }) => {
    watch.expect(/status of 409/);
    const codes = await begin(duet);
    await page.goto(codes.verification_uri_complete);
    await confirm(page).waitFor();
    await duet.call("POST", "/v1/device/deny", { user_code: codes.user_code });
    await confirm(page).click();
    await heading(page, "Refused").waitFor();
  });

  test("that came too late is told to start again", async ({ page, duet }) => {
    const codes = await begin(duet);
    await page.route("**/v1/device/*", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, json: { ...(await answer.json()), state: "expired" } });
    });
    await page.goto(codes.verification_uri_complete);
    await heading(page, "This code has expired").waitFor();
    await page.getByText("duet login").waitFor();
    await eventually(() => confirm(page).count(), 0);
    await look(page, "device-expired");
  });

  test("takes the password again when the sign-in is old", async ({ page, watch, duet }) => {
    watch.expect(/status of 403/);
    const codes = await begin(duet);
    await page.goto(codes.verification_uri_complete);
    await refuseOnce(page, "**/v1/device/approve", "POST");
    await confirm(page).click();
    await page.getByRole("heading", { name: "Confirm it’s you" }).waitFor();
    await page.getByLabel("Password").fill(owner.password);
    await page.getByRole("button", { name: "Continue" }).click();
    await heading(page, "Confirmed").waitFor();
    assert.equal((await told(duet, codes)).status, 200);
  });

  test(
    "waits while somebody signs in first",
    async ({ page, watch, duet }) => {
      watch.expect(/status of 401/);
      const codes = await begin(duet);
      await page.goto(codes.verification_uri_complete);
      await page.getByText("Sign in here first").waitFor();
      await look(page, "device-signed-out");
      await page.getByLabel("Email").fill(owner.email);
      await page.getByLabel("Password").fill(owner.password);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByText(codes.user_code, { exact: true }).waitFor();
      await confirm(page).click();
      await heading(page, "Confirmed").waitFor();
      await eventually(async () => (await told(duet, codes)).status, 200);
    },
    { signedIn: false, at: null },
  );
});

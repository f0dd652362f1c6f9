import type { AuthError, GoTrueClient } from "@supabase/auth-js";
import { bearerFrom } from "./bearer";
import { Problem } from "./http";
import { hearFrom } from "./realtime";

/** The Supabase project whose Auth signs people in, if the deployment has one. */
type Project = { url: string; publishableKey: string };

let project: Project | undefined;
let client: Promise<GoTrueClient> | undefined;

/** Sets this deployment's project, once it is known. */
export function setProject(next: Project | undefined) {
  if (project?.url === next?.url) return;
  project = next;
  client = undefined;
  hearFrom(next);
  bearerFrom(next && token);
}

/** Whether people sign in at a Supabase project rather than at Duet itself. */
export const hasProject = () => project !== undefined;

/** Its code is loaded when somebody signs in or has signed in. */
function auth(): Promise<GoTrueClient> {
  if (!project) throw new Error("This Duet has no Supabase project.");
  const { url, publishableKey } = project;
  client ??= import("@supabase/auth-js").then(
    ({ AuthClient }) =>
      new AuthClient({
        url: `${url.replace(/\/$/, "")}/auth/v1`,
        headers: { apikey: publishableKey },
        storageKey: "duet.auth",
        autoRefreshToken: true,
        persistSession: true,
        detectSessionInUrl: true,
        flowType: "pkce",
      }),
  );
  return client;
}

/** The access token, renewed when it is about to expire. */
async function token(): Promise<string | undefined> {
  const { data } = await (await auth()).getSession();
  return data.session?.access_token;
}

export async function signInAtProject(email: string, password: string) {
  const { error } = await (await auth()).signInWithPassword({ email, password });
  if (error) throw problem(error);
}

/**
 * Signs in, or signs up a new person. A new address may have to be confirmed first: that is reported as a problem with the code
 * `confirm_address`, and calling this again continues from there.
 */
export async function enterProject(email: string, password: string) {
  const project = await auth();
  const known = await project.signInWithPassword({ email, password });
  if (!known.error) return;
  if (known.error.code !== "invalid_credentials") throw problem(known.error);
  const made = await project.signUp({
    email,
    password,
    options: { emailRedirectTo: window.location.origin + window.location.pathname },
  });
  if (made.error?.code === "user_already_exists" || made.error?.code === "email_exists") throw problem(known.error);
  if (made.error) throw problem(made.error);
  if (!made.data.session) throw unconfirmed(email);
}

/** Ends this sign-in, or all of the person's sign-ins. */
export async function signOutAtProject(everywhere: boolean) {
  const { error } = await (await auth()).signOut({ scope: everywhere ? "global" : "local" });
  if (error) throw problem(error);
}

const unconfirmed = (email: string) =>
  new Problem(
    403,
    "confirm_address",
    `If ${email} is new here, an email with a link is on its way: open the link, then come back and try again. If you already have an account, check the password.`,
  );

function problem(error: AuthError): Problem {
  switch (error.code) {
    case "invalid_credentials":
      return new Problem(401, "wrong_sign_in", "Wrong email or password.");
    case "email_not_confirmed":
      return new Problem(
        403,
        "confirm_address",
        "This email address is not confirmed yet. Open the link in the email that was sent to it, then try again.",
      );
    case "weak_password":
      return new Problem(422, "invalid", error.message, undefined, { password: error.message });
    case "over_request_rate_limit":
    case "over_email_send_rate_limit":
      return new Problem(429, "too_many_requests", "Too many attempts. Wait a few minutes, then try again.");
  }
  if (!error.status || error.status >= 500) {
    return new Problem(
      error.status ? 503 : 0,
      "unreachable",
      "The sign-in service can’t be reached. Try again in a moment. Nothing you wrote is lost.",
    );
  }
  return new Problem(error.status, "unknown", error.message);
}

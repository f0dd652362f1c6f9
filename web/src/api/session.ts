import { getSession, signIn, signOut } from "./endpoints";
import { hasProject, signInAtProject, signOutAtProject } from "./project";
import type { SessionAnswer } from "./types";

/** Signs in at Duet itself, or at the Supabase project and then with its token at Duet. */
export async function beginSession(email: string, password: string): Promise<SessionAnswer> {
  if (!hasProject()) return signIn({ email, password });
  await signInAtProject(email, password);
  return getSession();
}

/** Ends this sign-in, or all of the person's sign-ins. */
export async function endSession(everywhere: boolean): Promise<void> {
  await (hasProject() ? signOutAtProject(everywhere) : signOut(everywhere));
}

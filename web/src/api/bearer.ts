/**
 * The source of bearer tokens in a deployment whose people sign in with Supabase Auth. Other deployments have none: there the
 * browser sends a cookie.
 */
let source: (() => Promise<string | undefined>) | undefined;

export function bearerFrom(next: typeof source) {
  source = next;
}

/** The token of the person who is signed in now. */
export async function bearerToken(): Promise<string | undefined> {
  return source?.();
}

/** The header of a request, if it needs one. */
export async function bearer(): Promise<Record<string, string>> {
  const token = await bearerToken();
  return token ? { authorization: `Bearer ${token}` } : {};
}

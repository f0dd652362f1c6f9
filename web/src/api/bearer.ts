/**
 * Where requests get their bearer token from in a deployment whose people sign in with Supabase Auth. Nowhere in the others: there a
 * cookie goes along by itself.
 */
let source: (() => Promise<string | undefined>) | undefined;

export function bearerFrom(next: typeof source) {
  source = next;
}

/** The token of who is signed in now. */
export async function bearerToken(): Promise<string | undefined> {
  return source?.();
}

/** The header of a request, if it needs one. */
export async function bearer(): Promise<Record<string, string>> {
  const token = await bearerToken();
  return token ? { authorization: `Bearer ${token}` } : {};
}

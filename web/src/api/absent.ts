/** Called when something in a workspace was not found: the person may no longer be a member. The router sets this once. */
let tell: () => void = () => undefined;

export function whenAbsent(callback: () => void) {
  tell = callback;
}

/** Reports a 404 at an address inside a workspace. */
export function noteAbsent(problem: { code: string }, address: string) {
  if (problem.code === "not_found" && /^\/v1\/workspaces\/[^/?]+/.test(address)) tell();
}

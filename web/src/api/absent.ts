/** Who is told when something in a workspace was not found: the person may not be in it any more. The router sets this once. */
let tell: () => void = () => undefined;

export function whenAbsent(callback: () => void) {
  tell = callback;
}

/** Notes that something was not found at an address inside a workspace. */
export function noteAbsent(problem: { code: string }, address: string) {
  if (problem.code === "not_found" && /^\/v1\/workspaces\/[^/?]+/.test(address)) tell();
}

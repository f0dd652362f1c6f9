/** Who is told when something in a workspace was not found: the person may not be in it any more. The router sets this once. */
let tell: () => void = () => undefined;

export function whenAbsent(callback: () => void) {
  tell = callback;
}

/** Notes an answer of 404 from an address inside a workspace. */
export function noteAbsent(status: number, address: string) {
  if (status === 404 && /^\/v1\/workspaces\/[^/?]+/.test(address)) tell();
}

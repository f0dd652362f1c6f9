/** Called when the API says that the sign-in is over. The router sets this once. */
let tell: () => void = () => undefined;

export function whenSignedOut(callback: () => void) {
  tell = callback;
}

export function noteSignedOut() {
  tell();
}

const LETTERS = /^[BCDFGHJKLMNPQRSTVWXZ]{8}$/;

/** The code as the device shows it, however somebody typed it; `undefined` if it cannot be one. */
export function codeOf(typed: string): string | undefined {
  const letters = typed.toUpperCase().replace(/[\s-]/g, "");
  return LETTERS.test(letters) ? `${letters.slice(0, 4)}-${letters.slice(4)}` : undefined;
}

/** The code in a link's fragment (`#code=…`), which no server ever sees. */
export const codeIn = (hash: string): string => new URLSearchParams(hash.replace(/^#/, "")).get("code") ?? "";

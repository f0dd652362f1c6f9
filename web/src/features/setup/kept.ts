/**
 * What was entered before something is done, kept for this tab: a reload or the way back loses none of it. A password is never
 * among it.
 */
const place = (what: "setup" | "invitation") => `duet.entered.${what}`;

export function entered(what: "setup" | "invitation"): Record<string, string> {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(place(what)) ?? "{}");
    return Object.fromEntries(
      Object.entries(kept ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
    );
  } catch {
    // No storage, or not ours: there is nothing.
    return {};
  }
}

export function keepEntered(what: "setup" | "invitation", fields: Record<string, string>) {
  try {
    sessionStorage.setItem(place(what), JSON.stringify(fields));
  } catch {
    // Storage is full or forbidden: it is still in the page.
  }
}

export function forgetEntered(what: "setup" | "invitation") {
  try {
    sessionStorage.removeItem(place(what));
  } catch {
    // There is no storage, so there is nothing in it.
  }
}

/**
 * Form input before it is submitted, kept for this tab so that a reload or going back loses nothing. Passwords are never
 * kept.
 */
const place = (what: "setup" | "invitation") => `duet.entered.${what}`;

export function entered(what: "setup" | "invitation"): Record<string, string> {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(place(what)) ?? "{}");
    return Object.fromEntries(
      Object.entries(kept ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
    );
  } catch {
    // No storage, or not our format: nothing is kept.
    return {};
  }
}

export function keepEntered(what: "setup" | "invitation", fields: Record<string, string>) {
  try {
    sessionStorage.setItem(place(what), JSON.stringify(fields));
  } catch {
    // Storage is full or forbidden: the page still has it.
  }
}

export function forgetEntered(what: "setup" | "invitation") {
  try {
    sessionStorage.removeItem(place(what));
  } catch {
    // No storage, so nothing to remove.
  }
}

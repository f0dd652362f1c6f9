import type { Membership } from "~/api/types";

/** The workspace chosen last in this browser. The address of a page says which one it shows; this is for addresses that do not. */
const KEY = "duet.workspace";

export function lastChosen(): string | undefined {
  try {
    return localStorage.getItem(KEY) ?? undefined;
  } catch {
    // No storage: the first workspace it is.
    return undefined;
  }
}

export function keepChosen(workspace: string) {
  try {
    localStorage.setItem(KEY, workspace);
  } catch {
    // The address still says it.
  }
}

/** The workspace that the address names, else the one chosen last, else the oldest; never one that the person is not in. */
export function chosen(memberships: Membership[], named?: string, kept = lastChosen()): Membership | undefined {
  const find = (id?: string) => memberships.find(({ workspace }) => workspace.id === id);
  return find(named) ?? find(kept) ?? memberships[0];
}

/** What the address has to name, so that a reload or a link shows the same: nothing where there is no choice. */
export function toName(memberships: Membership[], current: Membership): string | undefined {
  return memberships.length > 1 ? current.workspace.id : undefined;
}

/** The same address with that workspace named in it, or none. */
export function naming(href: string, workspace?: string): string {
  const url = new URL(href, "http://duet.invalid");
  if (workspace) url.searchParams.set("workspace", workspace);
  else url.searchParams.delete("workspace");
  return url.pathname + url.search + url.hash;
}

import type { Membership } from "~/api/types";

/** The workspace last chosen in this browser, for addresses that do not name one. */
const KEY = "duet.workspace";

export function lastChosen(): string | undefined {
  try {
    return localStorage.getItem(KEY) ?? undefined;
  } catch {
    // No storage: use the first workspace.
    return undefined;
  }
}

export function keepChosen(workspace: string) {
  try {
    localStorage.setItem(KEY, workspace);
  } catch {
    // The address still names it.
  }
}

/** The workspace that the address names, else the one last chosen, else the oldest; never one that the person is not in. */
export function chosen(memberships: Membership[], named?: string, kept = lastChosen()): Membership | undefined {
  const find = (id?: string) => memberships.find(({ workspace }) => workspace.id === id);
  return find(named) ?? find(kept) ?? memberships[0];
}

/** The workspace id for addresses, so that a reload or a link shows the same; nothing if there is only one. */
export function toName(memberships: Membership[], current: Membership): string | undefined {
  return memberships.length > 1 ? current.workspace.id : undefined;
}

/** The same address naming the given workspace, or none. */
export function naming(href: string, workspace?: string): string {
  const url = new URL(href, "http://duet.invalid");
  if (workspace) url.searchParams.set("workspace", workspace);
  else url.searchParams.delete("workspace");
  return url.pathname + url.search + url.hash;
}

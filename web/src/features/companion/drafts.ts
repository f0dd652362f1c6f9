import { newId } from "~/api/id";

/**
 * What a person is writing, kept for this tab until the server has it. The key goes with the text: sending the same text again
 * after an answer was lost is the same request, not a second message.
 */
export type Draft = { text: string; key: string };

const place = (workspace: string, conversation?: string) => `duet.draft.${workspace}.${conversation ?? "new"}`;

export function readDraft(workspace: string, conversation?: string): Draft {
  try {
    const kept = JSON.parse(sessionStorage.getItem(place(workspace, conversation)) ?? "null") as Draft | null;
    if (kept?.text && kept.key) return kept;
  } catch {
    // No storage, or not ours: start empty.
  }
  return { text: "", key: newId() };
}

/** Throws away all drafts of this tab. */
export function forgetDrafts() {
  try {
    for (const name of Object.keys(sessionStorage)) if (name.startsWith("duet.draft.")) sessionStorage.removeItem(name);
  } catch {
    // There is no storage, so there is nothing in it.
  }
}

export function keepDraft(workspace: string, conversation: string | undefined, draft: Draft) {
  try {
    if (draft.text) sessionStorage.setItem(place(workspace, conversation), JSON.stringify(draft));
    else sessionStorage.removeItem(place(workspace, conversation));
  } catch {
    // Storage is full or forbidden: the text is still in the page.
  }
}

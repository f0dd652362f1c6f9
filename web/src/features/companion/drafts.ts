import { newId } from "~/api/id";

/**
 * The text a person is writing, kept for this tab until the server has it. The key is kept with it: sending the same text again
 * after a lost answer is the same request, not a second message.
 */
export type Draft = { text: string; key: string };

/** A text being written, and a sent one not known to have arrived. */
type Kind = "draft" | "sending";

const place = (kind: Kind, workspace: string, conversation?: string) =>
  `duet.${kind}.${workspace}.${conversation ?? "new"}`;

/** Keys of the drafts in flight. */
const underway = new Set<string>();

function read(kind: Kind, workspace: string, conversation?: string): Draft | undefined {
  try {
    const kept = JSON.parse(sessionStorage.getItem(place(kind, workspace, conversation)) ?? "null") as Draft | null;
    return kept?.text && kept.key ? kept : undefined;
  } catch {
    // No storage, or not our format: nothing is kept.
    return undefined;
  }
}

function write(kind: Kind, workspace: string, conversation: string | undefined, draft?: Draft) {
  try {
    if (draft?.text) sessionStorage.setItem(place(kind, workspace, conversation), JSON.stringify(draft));
    else sessionStorage.removeItem(place(kind, workspace, conversation));
  } catch {
    // Storage is full or forbidden: the page still has the text.
  }
}

/** The composer's content: any sent text that did not arrive, then the text written there. */
export function readDraft(workspace: string, conversation?: string): Draft {
  const written = read("draft", workspace, conversation);
  const sent = read("sending", workspace, conversation);
  if (!sent || underway.has(sent.key)) return written ?? { text: "", key: newId() };
  if (!written) return sent;
  return { text: `${sent.text}\n\n${written.text}`, key: newId() };
}

/** Stores the composer's content. */
export function keepDraft(workspace: string, conversation: string | undefined, draft: Draft) {
  write("draft", workspace, conversation, draft);
  const sent = read("sending", workspace, conversation);
  if (sent && !underway.has(sent.key)) write("sending", workspace, conversation);
}

/** Takes the text out of the composer. */
export function emptyComposer(workspace: string, conversation: string | undefined) {
  keepDraft(workspace, conversation, { text: "", key: "" });
}

/** Marks a text as in flight. The composer keeps its content, since an older message may have been sent again. */
export function beginSending(workspace: string, conversation: string | undefined, draft: Draft) {
  write("draft", workspace, conversation, readDraft(workspace, conversation));
  underway.add(draft.key);
  write("sending", workspace, conversation, draft);
}

/** Records whether the draft arrived; if not, the composer gets it back. */
export function endSending(workspace: string, conversation: string | undefined, draft: Draft, arrived: boolean) {
  underway.delete(draft.key);
  if (arrived) write("sending", workspace, conversation);
}

/** Moves text written while a new conversation was being created into that conversation. */
export function moveDraft(workspace: string, conversation: string) {
  const written = read("draft", workspace);
  if (written) write("draft", workspace, conversation, written);
  write("draft", workspace, undefined);
}

/** Discards all drafts of this tab. */
export function forgetDrafts() {
  try {
    for (const name of Object.keys(sessionStorage)) {
      if (/^duet\.(draft|sending)\./.test(name)) sessionStorage.removeItem(name);
    }
  } catch {
    // No storage, so nothing to remove.
  }
}

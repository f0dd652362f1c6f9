import { newId } from "~/api/id";

/**
 * What a person is writing, kept for this tab until the server has it. The key goes with the text: sending the same text again
 * after an answer was lost is the same request, not a second message.
 */
export type Draft = { text: string; key: string };

/** A text that is being written, and one that was sent and is not known to have arrived. */
type Kind = "draft" | "sending";

const place = (kind: Kind, workspace: string, conversation?: string) =>
  `duet.${kind}.${workspace}.${conversation ?? "new"}`;

/** Keys of the drafts that are on their way now. */
const underway = new Set<string>();

function read(kind: Kind, workspace: string, conversation?: string): Draft | undefined {
  try {
    const kept = JSON.parse(sessionStorage.getItem(place(kind, workspace, conversation)) ?? "null") as Draft | null;
    return kept?.text && kept.key ? kept : undefined;
  } catch {
    // No storage, or not ours: there is nothing.
    return undefined;
  }
}

function write(kind: Kind, workspace: string, conversation: string | undefined, draft?: Draft) {
  try {
    if (draft?.text) sessionStorage.setItem(place(kind, workspace, conversation), JSON.stringify(draft));
    else sessionStorage.removeItem(place(kind, workspace, conversation));
  } catch {
    // Storage is full or forbidden: the text is still in the page.
  }
}

/** What stands in the composer: what was written there, after a text that was sent and did not arrive. */
export function readDraft(workspace: string, conversation?: string): Draft {
  const written = read("draft", workspace, conversation);
  const sent = read("sending", workspace, conversation);
  if (!sent || underway.has(sent.key)) return written ?? { text: "", key: newId() };
  if (!written) return sent;
  return { text: `${sent.text}\n\n${written.text}`, key: newId() };
}

/** Keeps what stands in the composer. */
export function keepDraft(workspace: string, conversation: string | undefined, draft: Draft) {
  write("draft", workspace, conversation, draft);
  const sent = read("sending", workspace, conversation);
  if (sent && !underway.has(sent.key)) write("sending", workspace, conversation);
}

/** The composer gives its text away. */
export function emptyComposer(workspace: string, conversation: string | undefined) {
  keepDraft(workspace, conversation, { text: "", key: "" });
}

/** A text is on its way. What stands in the composer stays there: an older message may have been sent again. */
export function beginSending(workspace: string, conversation: string | undefined, draft: Draft) {
  write("draft", workspace, conversation, readDraft(workspace, conversation));
  underway.add(draft.key);
  write("sending", workspace, conversation, draft);
}

/** It is known whether the draft arrived; if not, the composer has it again. */
export function endSending(workspace: string, conversation: string | undefined, draft: Draft, arrived: boolean) {
  underway.delete(draft.key);
  if (arrived) write("sending", workspace, conversation);
}

/** What was written for a new conversation while that was being made goes with it. */
export function moveDraft(workspace: string, conversation: string) {
  const written = read("draft", workspace);
  if (written) write("draft", workspace, conversation, written);
  write("draft", workspace, undefined);
}

/** Throws away all drafts of this tab. */
export function forgetDrafts() {
  try {
    for (const name of Object.keys(sessionStorage)) {
      if (/^duet\.(draft|sending)\./.test(name)) sessionStorage.removeItem(name);
    }
  } catch {
    // There is no storage, so there is nothing in it.
  }
}

import { useSyncExternalStore } from "react";
import { sendMessage } from "~/api/endpoints";
import { Problem } from "~/api/http";
import type { TurnReceipt } from "~/api/types";
import { beginSending, type Draft, endSending } from "./drafts";

/** Messages in flight to the server, by conversation. They outlive the page that sent them: a new conversation gets its own page. */
export type Sending =
  | { text: string; state: "sending" | "sent"; receipt?: TurnReceipt }
  | { text: string; state: "failed"; problem: Problem };

const sendings = new Map<string, Sending>();
const listeners = new Set<() => void>();

/** Conversations whose reply is to be stopped as soon as it has a run. */
const wishes = new Set<string>();

function set(conversation: string, sending?: Sending) {
  if (sending) sendings.set(conversation, sending);
  else sendings.delete(conversation);
  for (const tell of listeners) tell();
}

/** Sends a draft, which stays in storage until the server has accepted it. */
export async function send(workspace: string, conversation: string, draft: Draft): Promise<void> {
  beginSending(workspace, conversation, draft);
  set(conversation, { text: draft.text, state: "sending" });
  try {
    const receipt = await sendMessage(workspace, conversation, draft.text, draft.key);
    endSending(workspace, conversation, draft, true);
    set(conversation, { text: draft.text, state: "sent", receipt });
  } catch (error) {
    endSending(workspace, conversation, draft, false);
    wishes.delete(conversation);
    const problem = error instanceof Problem ? error : new Problem(0, "unknown", "Sending failed. Try again.");
    set(conversation, { text: draft.text, state: "failed", problem });
  }
}

export const forgetSending = (conversation: string) => set(conversation);

/** Whether to stop the reply to a message that is still in flight. */
export function wishToStop(conversation: string, wished: boolean) {
  if (wished) wishes.add(conversation);
  else wishes.delete(conversation);
  for (const tell of listeners) tell();
}

function listen(tell: () => void) {
  listeners.add(tell);
  return () => listeners.delete(tell);
}

export function useSending(conversation: string): Sending | undefined {
  return useSyncExternalStore(
    listen,
    () => sendings.get(conversation),
    () => undefined,
  );
}

export function useWishToStop(conversation: string): boolean {
  return useSyncExternalStore(
    listen,
    () => wishes.has(conversation),
    () => false,
  );
}

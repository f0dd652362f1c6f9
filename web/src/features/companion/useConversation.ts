import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { cancelRun, retryMessage } from "~/api/endpoints";
import type { Message, TurnReceipt } from "~/api/types";
import type { Draft } from "./drafts";
import { conversationQuery, messagesQuery, runQuery } from "./queries";
import { forgetSending, send, useSending, useWishToStop, wishToStop } from "./sending";
import type { LiveReply } from "./stream/fold";
import { useRun } from "./stream/useRun";

/** A run in progress here: the message it answers, and the id of its reply if known. */
type Answering = { run: string; message?: string; reply?: string };

/**
 * A conversation in its current state: the stored messages, the message in flight, and the reply being written. The live reply
 * replaces the stored one for the same message until that is complete, so nothing shows twice or vanishes.
 */
export function useConversation(workspace: string, id: string) {
  const queries = useQueryClient();
  const conversation = useQuery(conversationQuery(workspace, id));
  const stored = useInfiniteQuery(messagesQuery(workspace, id));
  const sending = useSending(id);
  const [answering, setAnswering] = useState<Answering>();

  const started = (receipt: TurnReceipt) =>
    setAnswering({ run: receipt.run_id, message: receipt.message_id, reply: receipt.reply_id });

  // A message that was sent (perhaps from the previous page) has its run.
  const receipt = sending?.state === "sent" ? sending.receipt : undefined;
  useEffect(() => {
    if (!receipt) return;
    setAnswering({ run: receipt.run_id, message: receipt.message_id, reply: receipt.reply_id });
    queries.invalidateQueries({ queryKey: ["workspace", workspace, "conversations"] });
  }, [receipt, queries, workspace]);

  // A run that was in progress when the page loaded, or that was started elsewhere.
  const active = conversation.data?.active_run ?? undefined;
  useEffect(() => {
    if (active) setAnswering((now) => (now?.run === active ? now : { run: active }));
  }, [active]);

  const run = useQuery({
    ...runQuery(workspace, answering?.run ?? ""),
    enabled: Boolean(answering && !answering.message),
  });
  const message = answering?.message ?? run.data?.message_id;
  const following = useRun(workspace, answering?.run);
  const live = following?.reply;
  const ended = Boolean(live?.end || following?.problem);

  // Once the run has ended, the stored messages are the truth: fetch them, then drop the live reply.
  const endedRun = ended ? answering?.run : undefined;
  useEffect(() => {
    if (!endedRun) return;
    let current = true;
    const settle = async () => {
      await queries.invalidateQueries({ queryKey: ["workspace", workspace, "conversations"] });
      await queries.invalidateQueries({ queryKey: ["workspace", workspace, "runs", endedRun] });
      // The reply may have suggested a memory.
      void queries.invalidateQueries({ queryKey: ["workspace", workspace, "memory", "proposals"] });
      if (!current) return;
      forgetSending(id);
      setAnswering((now) => (now?.run === endedRun ? undefined : now));
    };
    void settle();
    return () => {
      current = false;
    };
  }, [endedRun, queries, workspace, id]);

  const messages = useMemo(() => stored.data?.pages.flatMap((page) => page.items).reverse() ?? [], [stored.data]);
  const replyId = live?.replyId ?? answering?.reply ?? run.data?.reply_id;
  const shown = useMemo(
    () =>
      answering
        ? messages.filter(
            (one) => one.role === "user" || !(one.id === replyId || (message && one.parent_id === message)),
          )
        : messages,
    [messages, answering, replyId, message],
  );
  const waiting = sending && !(receipt && messages.some((one) => one.id === receipt.message_id)) ? sending : undefined;

  const retry = useMutation({
    mutationFn: ({ messageId, mode }: { messageId: string; mode: "restart" | "continue" }) =>
      retryMessage(workspace, id, messageId, mode),
    onSuccess: (answer) => started(answer),
  });
  const cancel = useMutation({ mutationFn: (runId: string) => cancelRun(workspace, runId) });

  // Stopped before its run was known.
  const wished = useWishToStop(id);
  const { mutate: stopRun } = cancel;
  const stoppable = ended ? undefined : answering?.run;
  useEffect(() => {
    if (!wished || !stoppable) return;
    wishToStop(id, false);
    stopRun(stoppable);
  }, [wished, stoppable, id, stopRun]);

  return {
    conversation,
    stored,
    messages: shown,
    /** A message that is not stored yet. */
    waiting:
      !waiting || waiting.state === "failed" ? undefined : { id: receipt?.message_id ?? "waiting", text: waiting.text },
    failure: sending?.state === "failed" ? sending.problem : undefined,
    live: answering ? (live ?? undefined) : undefined,
    liveProblem: following?.problem,
    replyId,
    running: Boolean(answering && !ended) || sending?.state === "sending",
    stopping: wished || cancel.isPending || Boolean(live?.cancelRequested && !ended),
    stopProblem: cancel.error,
    retryProblem: retry.error,
    retrying: retry.isPending,
    send: (draft: Draft) => {
      retry.reset();
      cancel.reset();
      return send(workspace, id, draft);
    },
    stop: () => {
      if (stoppable) stopRun(stoppable);
      else if (sending?.state === "sending") wishToStop(id, true);
    },
    retry: (messageId: string, mode: "restart" | "continue") => retry.mutate({ messageId, mode }),
  };
}

export type ConversationState = ReturnType<typeof useConversation>;

/** The companion's current activity, in words. */
export function doing(live: LiveReply): string {
  if (live.cancelRequested) return "stopping…";
  // The advice is shown only once it has failed for good.
  if (live.trouble) return `${live.trouble.split(/\.\s|\.$/)[0]} – trying again…`;
  const tool = live.tools.findLast((one) => one.status === "started");
  if (tool) {
    if (tool.name === "recall") return "looking through memory…";
    if (tool.name === "remember") return "saving a memory…";
    if (tool.name === "search_conversations") return "searching conversations…";
    return `using ${tool.name.replaceAll("_", " ")}…`;
  }
  if (live.recovered && !live.text) return "picking up where it left off…";
  return live.text ? "" : "thinking…";
}

/** The message that a reply answers, with its text if it is among those shown. */
export function questionOf(messages: Message[], reply: Message): { id: string; text?: string } | undefined {
  const parent = reply.parent_id;
  const among = parent
    ? messages.find((one) => one.id === parent)
    : messages.findLast((one) => one.role === "user" && one.ordinal < reply.ordinal);
  return among ?? (parent ? { id: parent } : undefined);
}

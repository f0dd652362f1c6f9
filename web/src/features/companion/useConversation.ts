import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { cancelRun, pauseRun, resumeRun, retryMessage } from "~/api/endpoints";
import { tellChanged } from "~/api/hints";
import type { Message, TurnReceipt } from "~/api/types";
import type { Draft } from "./drafts";
import { conversationQuery, messagesQuery, runQuery } from "./queries";
import { forgetSending, send, useSending, useWishToStop, wishToStop } from "./sending";
import type { LiveReply } from "./stream/fold";
import { useRuns } from "./stream/useRuns";

/** The run that holds the conversation, the message it answers, and the id of its reply if known. */
type Answering = { run: string; message?: string; reply?: string };

/** A run that has not ended, or whose end is not among the stored messages yet. */
export type OpenRun = {
  run: string;
  /** The message that it answers, if known. */
  message?: string;
  replyId?: string;
  live: LiveReply;
  /** It writes, or is about to. */
  writing: boolean;
};

/**
 * A conversation in its current state: the stored messages, the message in flight, and the replies being written. One run at most
 * holds the conversation; others wait for a person, or go on after a wait beside it. A live reply replaces the stored one
 * until that is complete, so nothing shows twice or vanishes.
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

  const messages = useMemo(() => stored.data?.pages.flatMap((page) => page.items).reverse() ?? [], [stored.data]);
  const holder = answering?.run;
  // A run that waits does not hold the conversation. Its message names it and says of no end.
  const others = messages.flatMap(({ role, run_id, ended, id: message }) =>
    role === "user" && run_id && !ended && run_id !== holder ? [{ run: run_id, message }] : [],
  );
  const followed = useRuns(workspace, [...others.map(({ run }) => run), ...(holder ? [holder] : [])]);

  const run = useQuery({
    ...runQuery(workspace, holder ?? ""),
    enabled: Boolean(answering && !answering.message),
  });
  const message = answering?.message ?? run.data?.message_id;
  const following = holder ? followed(holder) : undefined;
  const live = following?.reply;
  // A run that waits has let go of the conversation.
  const over = Boolean(live?.end || live?.wait || following?.problem);

  // Then the stored messages are the truth: fetch them, then drop the live reply.
  const overRun = over ? holder : undefined;
  useEffect(() => {
    if (!overRun) return;
    let current = true;
    const settle = async () => {
      void queries.invalidateQueries({ queryKey: ["workspace", workspace, "requests"] });
      void queries.invalidateQueries({ queryKey: ["workspace", workspace, "inbox"] });
      await queries.invalidateQueries({ queryKey: ["workspace", workspace, "conversations"] });
      await queries.invalidateQueries({ queryKey: ["workspace", workspace, "runs", overRun] });
      // The reply may have suggested a memory.
      void queries.invalidateQueries({ queryKey: ["workspace", workspace, "memory", "proposals"] });
      if (!current) return;
      forgetSending(id);
      setAnswering((now) => (now?.run === overRun ? undefined : now));
    };
    void settle();
    return () => {
      current = false;
    };
  }, [overRun, queries, workspace, id]);

  const beside: OpenRun[] = others.map((other) => {
    const { reply, problem } = followed(other.run);
    const writing = !problem && reply.seq > 0 && !reply.wait && !reply.end;
    return { ...other, replyId: reply.replyId, live: reply, writing };
  });

  // What a run beside has left when it waits again or ends is stored: fetch it.
  const stale = beside
    .filter(({ live }) => live.end || (live.wait?.stored && !messages.some((one) => one.id === live.replyId)))
    .map(({ run, live }) => `${run}/${live.seq}`)
    .join(" ");
  useEffect(() => {
    if (stale) void queries.invalidateQueries({ queryKey: ["workspace", workspace, "conversations"] });
  }, [stale, queries, workspace]);

  const replyId = live?.replyId ?? answering?.reply ?? run.data?.reply_id;
  const held: OpenRun | undefined =
    holder && live ? { run: holder, message, replyId, live, writing: !over } : undefined;
  const runs = held ? [...beside, held] : beside;
  const written = runs
    .filter((one) => !one.live.wait)
    .map((one) => one.replyId)
    .join(" ");
  const shown = useMemo(() => {
    const live = new Set(written.split(" "));
    return messages.filter((one) => {
      if (one.role === "user") return true;
      // A reply that is answered once more is replaced; what the same run said before it waited stays.
      const replaced = message !== undefined && one.answers_id === message && one.run_id !== holder;
      return !live.has(one.id) && !replaced;
    });
  }, [messages, written, message, holder]);
  const newest = messages.findLast((one) => one.role === "user");
  // The list may have it before its sending is answered.
  const arrived = receipt
    ? messages.some((one) => one.id === receipt.message_id)
    : sending?.state === "sending" && newest?.text === sending.text && !newest.ended;
  const waiting = arrived ? undefined : sending;

  const retry = useMutation({
    mutationFn: ({ messageId, mode }: { messageId: string; mode: "restart" | "continue" }) =>
      retryMessage(workspace, id, messageId, mode),
    onSuccess: (answer) => started(answer),
  });
  const told = { onSuccess: () => tellChanged(workspace, "runs", "inbox") };
  const cancel = useMutation({ mutationFn: (runId: string) => cancelRun(workspace, runId), ...told });
  const pause = useMutation({ mutationFn: (runId: string) => pauseRun(workspace, runId), ...told });
  const resume = useMutation({ mutationFn: (runId: string) => resumeRun(workspace, runId), ...told });

  // Stopped before its run was known.
  const wished = useWishToStop(id);
  const { mutate: stopRun } = cancel;
  /** The run that Stop and Pause mean: the one that holds the conversation, else the newest that writes. */
  const target = held?.writing ? held : beside.findLast((one) => one.writing);
  const stoppable = over ? undefined : holder;
  useEffect(() => {
    if (!wished || !stoppable) return;
    wishToStop(id, false);
    stopRun(stoppable);
  }, [wished, stoppable, id, stopRun]);

  /** Sent, and its run is about to hold the conversation. */
  const starting = receipt !== undefined && receipt.run_id !== holder;
  const holds = Boolean(answering && !over) || sending?.state === "sending" || starting;
  return {
    conversation,
    stored,
    messages: shown,
    /** A message that is not stored yet. */
    waiting:
      !waiting || waiting.state === "failed" ? undefined : { id: receipt?.message_id ?? "waiting", text: waiting.text },
    failure: sending?.state === "failed" ? sending.problem : undefined,
    /** The runs that have not ended. */
    runs,
    /** The one that holds the conversation. */
    holder,
    problem: following?.problem ?? beside.map(({ run }) => followed(run).problem).find(Boolean),
    /** A reply is being written before which no other can begin. */
    holds,
    /** Nothing holds the conversation, and what did is stored. */
    idle: !holds && !answering && !waiting,
    /** A reply is being written. */
    running: holds || Boolean(target),
    stopping: wished || cancel.isPending || Boolean(target?.live.cancelRequested),
    pausing: pause.isPending || Boolean(target?.live.pauseRequested),
    stopProblem: cancel.error ?? pause.error ?? resume.error,
    retryProblem: retry.error,
    retrying: retry.isPending,
    resuming: resume.isPending,
    send: (draft: Draft) => {
      retry.reset();
      cancel.reset();
      pause.reset();
      resume.reset();
      return send(workspace, id, draft);
    },
    stop: () => {
      if (target) stopRun(target.run);
      else if (sending?.state === "sending") wishToStop(id, true);
    },
    stopRun,
    pause: target && (() => pause.mutate(target.run)),
    resume: resume.mutate,
    retry: (messageId: string, mode: "restart" | "continue") => retry.mutate({ messageId, mode }),
  };
}

export type ConversationState = ReturnType<typeof useConversation>;

/** The companion's current activity, in words. */
export function doing(live: LiveReply): string {
  if (live.cancelRequested) return "stopping…";
  if (live.pauseRequested) return "pausing…";
  // The advice is shown only once it has failed for good.
  if (live.trouble) return `${live.trouble.split(/\.\s|\.$/)[0]} – trying again…`;
  const tool = live.tools.findLast((one) => one.status === "started" && !one.asked);
  if (tool) {
    if (tool.name === "recall") return "looking through memory…";
    if (tool.name === "remember") return "saving a memory…";
    if (tool.name === "search_conversations") return "searching conversations…";
    if (tool.name === "ask_user") return "asking a question…";
    return `using ${tool.name.replaceAll("_", " ")}…`;
  }
  if (live.recovered && !live.text) return "picking up where it left off…";
  return live.text ? "" : "thinking…";
}

/** The message that a reply answers, with its text if it is among those shown. */
export function questionOf(messages: Message[], reply: Message): { id: string; text?: string } | undefined {
  const parent = reply.answers_id;
  const among = parent
    ? messages.find((one) => one.id === parent)
    : messages.findLast((one) => one.role === "user" && one.ordinal < reply.ordinal);
  return among ?? (parent ? { id: parent } : undefined);
}

/**
 * The message that a reply answers, if the reader cannot see that from its place: something else stands between them. `at` is the
 * place of the reply among the messages, their number if it is below them all.
 */
export function apartFrom(messages: Message[], parent: string | null | undefined, at: number): Message | undefined {
  let above = at - 1;
  // What the same run said before it waited may stand between.
  while (messages[above]?.role === "assistant" && messages[above]?.answers_id === parent) above--;
  if (above < 0 || messages[above]?.id === parent) return undefined;
  return messages.find((one) => one.id === parent);
}

import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { Problem } from "~/api/http";
import type { Message } from "~/api/types";
import { Button } from "~/ui/Button";
import { Onward, Retry } from "~/ui/icons";
import { Notice } from "~/ui/Notice";
import { Composer } from "./Composer";
import { withoutLabel } from "./offline";
import { agentsQuery, runQuery } from "./queries";
import { Reply, type ReplyView } from "./Reply";
import { Scroller } from "./Scroller";
import { answered, type ConversationState, doing, useConversation } from "./useConversation";
import { useTarget } from "./useTarget";

type Props = {
  workspace: string;
  conversationId: string;
  /** A message to show first, of a search hit or a memory's source. */
  target?: string;
  memories: (recalled: string[], remembered: string[]) => ReactNode;
  header: (title: string) => ReactNode;
};

export function Chat({ workspace, conversationId, target, memories, header }: Props) {
  const state = useConversation(workspace, conversationId);
  const agents = useQuery(agentsQuery(workspace));
  const [revision, setRevision] = useState(0);
  const marked = useTarget(target, state.stored);
  const agentId = state.conversation.data?.agent_id;
  const name = agents.data?.items.find((agent) => agent.id === agentId)?.name ?? "Your companion";
  const { running, stop } = state;

  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      // An open panel takes Esc for itself.
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector(":popover-open, dialog[open]"))
        return;
      if (running) stop();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, [running, stop]);

  const failed = state.failure;
  useEffect(() => {
    if (failed) setRevision((count) => count + 1);
  }, [failed]);

  const last = state.messages.at(-1);
  // One list with one key a message: what was being written or sent stays the same element once it is stored.
  const rows = state.messages.map((message) =>
    message.role === "user" ? (
      <Said key={message.id} message={message} marked={message.id === marked} />
    ) : (
      <Reply
        key={message.id}
        reply={storedView(message)}
        name={name}
        memories={memories}
        marked={message.id === marked}
      >
        {message === last && !state.running && <Unfinished message={message} state={state} workspace={workspace} />}
      </Reply>
    ),
  );
  if (state.waiting)
    rows.push(<Said key={state.waiting.id} message={{ text: state.waiting.text, status: "complete" }} pending />);
  if (state.live || state.running) {
    rows.push(<Reply key={state.replyId ?? "live"} reply={liveView(state)} name={name} memories={memories} />);
  }
  const title = state.conversation.data?.title || "New conversation";
  return (
    <>
      {header(title)}
      <Scroller
        key={conversationId}
        follow={`${state.messages.length}/${state.waiting?.id ?? ""}/${state.live?.text.length ?? 0}/${state.live?.tools.length ?? 0}`}
        ready={!state.stored.isPending}
        held={Boolean(marked)}
        more={state.stored.hasNextPage ? () => state.stored.fetchNextPage() : undefined}
        loadingMore={state.stored.isFetchingNextPage}
      >
        {state.stored.isPending && !state.waiting && <Loading />}
        {state.stored.isError && <LoadProblem error={state.stored.error} onRetry={() => state.stored.refetch()} />}
        {rows}
        {last?.role === "user" && !state.running && !state.live && !state.waiting && (
          <Unanswered message={last} state={state} workspace={workspace} />
        )}
        {state.liveProblem && <Notice>{state.liveProblem.message}</Notice>}
        {state.retryProblem && <Notice>{state.retryProblem.message}</Notice>}
        {state.stopProblem && <Notice>The reply could not be stopped: {state.stopProblem.message}</Notice>}
      </Scroller>
      {failed && (
        <div className="mx-auto w-full max-w-[44rem] px-4 pb-2">
          <Notice>
            <strong className="font-semibold">Not sent.</strong> {failed.message}{" "}
            {failed.lost ? "" : "Your text is still below."}
          </Notice>
        </div>
      )}
      <Composer
        workspace={workspace}
        conversation={conversationId}
        name={name}
        running={running}
        stopping={state.stopping}
        revision={revision}
        onSend={state.send}
        onStop={stop}
      />
      <p role="status" className="sr-only">
        {running ? `${name} is writing.` : ""}
      </p>
    </>
  );
}

/** The person's own words. */
function Said({
  message,
  pending,
  marked,
}: {
  message: Pick<Message, "text" | "status"> & { id?: string };
  pending?: boolean;
  marked?: boolean;
}) {
  return (
    <article
      id={message.id && `message-${message.id}`}
      aria-label="You said"
      className={`message said rise ml-auto w-fit max-w-[88%] rounded-2xl rounded-br-md bg-said px-4 py-2.5 leading-relaxed wide:max-w-[80%] ${marked ? "marked" : ""} ${pending ? "opacity-80" : ""}`}
    >
      {message.status === "redacted" ? (
        <p className="text-ink-2 italic">This message was redacted.</p>
      ) : (
        <p className="whitespace-pre-wrap [overflow-wrap:anywhere]">{message.text}</p>
      )}
    </article>
  );
}

function storedView(message: Message): ReplyView {
  const trace = message.trace;
  return {
    id: message.id,
    text: trace?.offline ? withoutLabel(message.text) : message.text,
    status: message.status,
    model: trace?.model,
    offline: trace?.offline ?? false,
    usage: trace?.usage,
    costMicros: trace?.cost_micros,
    tools: trace?.tools.map((tool) => ({ callId: tool.call_id, name: tool.name, status: tool.status })) ?? [],
    recalled: trace?.recalled ?? [],
    remembered: trace?.remembered ?? [],
  };
}

function liveView(state: ConversationState): ReplyView {
  const live = state.live;
  return {
    id: state.replyId ?? "live",
    text: live?.offline ? withoutLabel(live.text) : (live?.text ?? ""),
    status: live?.end?.status,
    doing: live?.end ? undefined : live ? doing(live) : "",
    model: live?.model,
    offline: live?.offline ?? false,
    textOnlyRecall: live?.textOnlyRecall,
    usage: live?.usage,
    costMicros: live?.costMicros,
    tools: live?.tools ?? [],
    recalled: live?.recalled ?? [],
    remembered: live?.remembered ?? [],
  };
}

const partial: Partial<Record<Message["status"], string>> = {
  stopped: "You stopped this reply. What was written is kept.",
  interrupted: "Duet was interrupted in the middle of this reply. What was written is kept.",
  limited: "This reply reached its limit. What was written is kept.",
};

/** Below a reply that is not whole: why, and how to go on. */
function Unfinished({ message, state, workspace }: { message: Message; state: ConversationState; workspace: string }) {
  const why = partial[message.status];
  const run = useQuery({ ...runQuery(workspace, message.run_id ?? ""), enabled: Boolean(why && message.run_id) });
  const question = answered(state.messages, message);
  if (!why || !question) return null;
  return (
    <div className="mt-3">
      <Notice
        tone="calm"
        actions={
          <>
            {message.status !== "limited" && (
              <Button look="primary" busy={state.retrying} onClick={() => state.retry(question, "continue")}>
                <Onward /> Continue
              </Button>
            )}
            <Button disabled={state.retrying} onClick={() => state.retry(question, "restart")}>
              <Retry /> Answer again
            </Button>
          </>
        }
      >
        {why} {run.data?.reason}
      </Notice>
    </div>
  );
}

const stuck: Record<string, string> = {
  cancelled: "You stopped the reply before anything was written.",
  interrupted: "Duet was interrupted before anything was written.",
  needs_review: "An action started, and it is not known whether it happened. Check before you try again.",
  failed: "The reply could not be written.",
  parked: "Duet gave up on this reply after several attempts.",
};

/** Below a message that got no reply: why, and a way to try again. */
function Unanswered({ message, state, workspace }: { message: Message; state: ConversationState; workspace: string }) {
  const run = useQuery({ ...runQuery(workspace, message.run_id ?? ""), enabled: Boolean(message.run_id) });
  if (message.run_id && run.isPending) return null;
  const status = run.data?.status ?? "failed";
  const calm = status === "cancelled" || status === "interrupted";
  return (
    <Notice
      tone={calm ? "calm" : "danger"}
      actions={
        <Button busy={state.retrying} onClick={() => state.retry(message.id, "restart")}>
          <Retry /> Try again
        </Button>
      }
    >
      {run.data?.reason ?? stuck[status] ?? "There is no reply to this message yet."} Your message is kept.
    </Notice>
  );
}

function Loading() {
  return (
    <div role="status" className="space-y-4 pt-6">
      <span className="sr-only">Loading the conversation</span>
      {["ml-auto w-2/5", "w-4/5", "w-3/5"].map((shape) => (
        <div key={shape} className={`h-4 animate-pulse rounded-full bg-line ${shape}`} />
      ))}
    </div>
  );
}

function LoadProblem({ error, onRetry }: { error: Error; onRetry: () => void }) {
  const gone = error instanceof Problem && error.status === 404;
  return (
    <Notice actions={!gone && <Button onClick={onRetry}>Try again</Button>}>
      {gone ? "This conversation is not there. It may belong to another workspace." : error.message}
    </Notice>
  );
}

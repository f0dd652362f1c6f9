import { useQuery } from "@tanstack/react-query";
import { type ComponentProps, type ReactNode, useEffect, useState } from "react";
import { Problem } from "~/api/http";
import { newId } from "~/api/id";
import type { Message } from "~/api/types";
import { Button } from "~/ui/Button";
import { Onward, Retry } from "~/ui/icons";
import { Notice } from "~/ui/Notice";
import { Composer } from "./Composer";
import { Contained } from "./Contained";
import type { Draft } from "./drafts";
import { NotSent } from "./NotSent";
import { withoutLabel } from "./offline";
import { agentsQuery } from "./queries";
import { Reply, type ReplyView } from "./Reply";
import { Said } from "./Said";
import { Scroller } from "./Scroller";
import { type ConversationState, doing, questionOf, useConversation } from "./useConversation";
import { useStopKey } from "./useStopKey";
import { useTarget } from "./useTarget";

type Props = {
  workspace: string;
  conversationId: string;
  /** The message to show first, from a search hit or a memory's source. */
  target?: string;
  /** Changes on each navigation to the page, even to the same message. */
  visit?: number;
  memories: (recalled: string[], remembered: string[]) => ReactNode;
  header: (title: string) => ReactNode;
};

export function Chat({ workspace, conversationId, target, visit, memories, header }: Props) {
  const state = useConversation(workspace, conversationId);
  const agents = useQuery(agentsQuery(workspace));
  const [revision, setRevision] = useState(0);
  const [sent, setSent] = useState(0);
  const marked = useTarget(target, visit, state.stored);
  const agentId = state.conversation.data?.agent_id;
  const known = agents.data?.items.find((agent) => agent.id === agentId)?.name;
  const name = known ?? "Your companion";
  const { running, stop } = state;

  useStopKey(running, stop);

  const failed = state.failure;
  useEffect(() => {
    if (failed) setRevision((count) => count + 1);
  }, [failed]);

  const send = (draft: Draft) => {
    setSent((count) => count + 1);
    void state.send(draft);
  };
  const retry = (message: string, mode: "restart" | "continue") => {
    setSent((count) => count + 1);
    state.retry(message, mode);
  };
  const again = (text: string) => send({ text, key: newId() });

  const missing = [state.conversation.error, state.stored.error].some(
    (error) => error instanceof Problem && error.code === "not_found",
  );
  if (missing) {
    return (
      <>
        {header("Conversation not found")}
        <div className="mx-auto w-full max-w-[44rem] px-5 pt-6">
          <Notice tone="calm" alert>
            This conversation doesn’t exist, or it belongs to another workspace.
          </Notice>
        </div>
      </>
    );
  }

  const last = state.messages.at(-1);
  const asked = state.messages.findLast((message) => message.role === "user");
  const answers = new Set(state.messages.map((message) => message.parent_id));
  const idle = !state.running && !state.live && !state.waiting;
  // One list with one key per message, so that a message being written or sent keeps its element once it is stored.
  const rows: ReactNode[] = [];
  let offline = false;
  for (const [index, message] of state.messages.entries()) {
    const next = state.messages[index + 1];
    if (message.role === "user") {
      const answered = answers.has(message.id) || next?.role === "assistant";
      rows.push(
        <Contained key={message.id} text={message.text}>
          <Said message={message} marked={message.id === marked} />
        </Contained>,
      );
      if (!answered && message.status !== "redacted" && (message === asked ? idle : true)) {
        rows.push(
          <Unanswered
            key={`${message.id}/unanswered`}
            message={message}
            busy={state.retrying || !idle}
            onRetry={message === asked ? () => retry(message.id, "restart") : undefined}
            onAgain={() => again(message.text)}
          />,
        );
      }
      continue;
    }
    const labelled = message.trace?.offline === true && !offline;
    offline = message.trace?.offline === true;
    rows.push(
      <Contained key={message.id} text={message.text}>
        <Answer
          view={() => storedView(message)}
          name={name}
          memories={memories}
          labelled={labelled}
          marked={message.id === marked}
        >
          {(message !== last || !state.running) && (
            <Unfinished
              message={message}
              question={questionOf(state.messages, message)}
              newest={message === last}
              busy={state.retrying || (message !== last && !idle)}
              onRetry={retry}
              onAgain={again}
            />
          )}
        </Answer>
      </Contained>,
    );
  }
  if (state.waiting) {
    const { id, text } = state.waiting;
    rows.push(
      <Contained key={id} text={text}>
        <Said message={{ text, status: "complete" }} pending />
      </Contained>,
    );
  }
  if (state.live || state.running) {
    rows.push(
      <Contained key={state.replyId ?? "live"} text={state.live?.text ?? ""}>
        <Answer
          view={() => liveView(state)}
          name={name}
          memories={memories}
          labelled={state.live?.offline === true && !offline}
        />
      </Contained>,
    );
  }
  const { data: conversation, isPending } = state.conversation;
  const title = isPending ? "Loading…" : conversation?.title || "New conversation";
  return (
    <>
      {header(title)}
      <Scroller
        key={conversationId}
        follow={`${state.messages.length}/${state.waiting?.id ?? ""}/${state.live?.text.length ?? 0}/${state.live?.tools.length ?? 0}`}
        ready={!state.stored.isPending}
        held={Boolean(marked)}
        sent={sent}
        more={state.stored.hasNextPage ? () => state.stored.fetchNextPage() : undefined}
        loadingMore={state.stored.isFetchingNextPage}
      >
        {state.stored.isPending && !state.waiting && <Loading />}
        {state.stored.isError && (
          <Notice actions={<Button onClick={() => state.stored.refetch()}>Try again</Button>}>
            {state.stored.error.message}
          </Notice>
        )}
        {rows}
        {state.liveProblem && <Notice>{state.liveProblem.message}</Notice>}
        {state.retryProblem && <Notice>{state.retryProblem.message}</Notice>}
        {state.stopProblem && <Notice>The reply could not be stopped: {state.stopProblem.message}</Notice>}
        {failed && <NotSent problem={failed} />}
      </Scroller>
      <Composer
        workspace={workspace}
        conversation={conversationId}
        name={known}
        running={running}
        stopping={state.stopping}
        revision={revision}
        onSend={send}
        onStop={stop}
      />
      <p role="status" className="sr-only">
        {running ? `${name} is writing.` : ""}
      </p>
    </>
  );
}

/** A reply, stored or being written. It is created inside its own boundary, so that an error in it stays there. */
function Answer({ view, ...rest }: Omit<ComponentProps<typeof Reply>, "reply"> & { view: () => ReplyView }) {
  return <Reply reply={view()} {...rest} />;
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
  stopped: "You stopped this reply.",
  interrupted: "Duet was interrupted while writing this reply.",
  limited: "This reply reached its limit.",
};

/** Below an incomplete reply: the reason, and how to continue. Below an older one: the reason, and a way to ask again. */
function Unfinished({
  message,
  question,
  newest,
  busy,
  onRetry,
  onAgain,
}: {
  message: Message;
  /** The message that it answers; `text` is absent if the message is further up than the page has read. */
  question: { id: string; text?: string } | undefined;
  newest: boolean;
  busy: boolean;
  onRetry: (message: string, mode: "restart" | "continue") => void;
  onAgain: (text: string) => void;
}) {
  const why = partial[message.status];
  if (!why || !question) return null;
  const { id, text } = question;
  const actions = newest ? (
    <>
      {message.status !== "limited" && (
        <Button look="primary" busy={busy} onClick={() => onRetry(id, "continue")}>
          <Onward /> Continue
        </Button>
      )}
      <Button disabled={busy} onClick={() => onRetry(id, "restart")}>
        <Retry /> Answer again
      </Button>
    </>
  ) : (
    text && (
      <Button disabled={busy} onClick={() => onAgain(text)}>
        <Retry /> Send again
      </Button>
    )
  );
  return (
    <div className="mt-3">
      <Notice tone="calm" actions={actions}>
        {message.ended?.reason ?? why} What was written is kept.
      </Notice>
    </div>
  );
}

const stuck: Record<string, string> = {
  cancelled: "You stopped the reply before anything was written.",
  interrupted: "Duet was interrupted before anything was written.",
  needs_review: "An action was started, but Duet can’t tell whether it finished. Check before you try again.",
  failed: "The reply could not be written.",
  parked: "Duet gave up on this reply after several attempts.",
};

/** Below a message without a reply: the reason, and a way to try again. The newest is answered again; an older one is sent again. */
function Unanswered({
  message,
  busy,
  onRetry,
  onAgain,
}: {
  message: Message;
  busy: boolean;
  onRetry?: () => void;
  onAgain: () => void;
}) {
  const status = message.ended?.status ?? "queued";
  const calm = status === "cancelled" || status === "interrupted" || status === "queued";
  return (
    <Notice
      tone={calm ? "calm" : "danger"}
      alert={Boolean(onRetry) && !calm}
      actions={
        <Button disabled={busy} onClick={onRetry ?? onAgain}>
          <Retry /> {onRetry ? "Try again" : "Send again"}
        </Button>
      }
    >
      {message.ended?.reason ?? stuck[status] ?? "This message has no reply yet."}
      {onRetry && " Your message is kept."}
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

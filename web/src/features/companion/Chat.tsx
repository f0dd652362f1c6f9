import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type ComponentProps, type ReactNode, useEffect, useState } from "react";
import { Problem } from "~/api/http";
import { newId } from "~/api/id";
import type { Message } from "~/api/types";
import { Button } from "~/ui/Button";
import { Onward, Retry } from "~/ui/icons";
import { Notice } from "~/ui/Notice";
import { visit as visiting } from "~/ui/visit";
import { type Asked, askedAfter, repliesOf } from "./asked";
import { Composer } from "./Composer";
import { Contained } from "./Contained";
import type { Draft } from "./drafts";
import { NotSent } from "./NotSent";
import { withoutLabel } from "./offline";
import { agentsQuery } from "./queries";
import { Reply, type ReplyView } from "./Reply";
import { Said } from "./Said";
import { Scroller } from "./Scroller";
import { apartFrom, doing, type OpenRun, questionOf, useConversation } from "./useConversation";
import { useStopKey } from "./useStopKey";
import { useTarget } from "./useTarget";
import { isPaused, WaitLine, WaitsElsewhere } from "./WaitLine";

type Props = {
  workspace: string;
  conversationId: string;
  /** The message to show first, from a search hit or a memory's source. */
  target?: string;
  /** Changes on each navigation to the page, even to the same message. */
  visit?: number;
  memories: (recalled: string[], remembered: string[]) => ReactNode;
  /** What the conversation's runs ask of people, oldest first. */
  asked: Asked[];
  header: (title: string) => ReactNode;
};

export function Chat({ workspace, conversationId, target, visit, memories, asked: asks, header }: Props) {
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
  const answers = new Set(state.messages.map((message) => message.answers_id));
  const { idle } = state;
  const waits = state.runs.filter(
    ({ live }) => live.wait && (!live.wait.stored || state.messages.some((one) => one.id === live.replyId)),
  );
  // One list with one key per message, so that a message being written or sent keeps its element once it is stored.
  const rows: ReactNode[] = [];
  let offline = false;
  const answering = (message: Message | undefined) =>
    message && <Answering conversationId={conversationId} message={message} />;
  /** What was asked after this message, how its run waits, and for what. */
  const askedHere = (message: Message) => {
    const run = message.run_id;
    const mine = asks.filter((one) => one.run === run);
    const here = askedAfter(state.messages, message, mine);
    const cards = (open: boolean) => {
      for (const { id, node } of here.filter((one) => one.open === open)) {
        rows.push(
          <div key={`asked/${id}`} className="-mt-3">
            {node}
          </div>,
        );
      }
    };
    cards(false);
    const waiting = waits.find((one) => one.run === run);
    const anchor = waiting && (repliesOf(state.messages, waiting.message, run).at(-1)?.id ?? waiting.message);
    if (waiting && anchor === message.id) {
      rows.push(
        <WaitLine
          key={`${run}/waits`}
          run={waiting}
          asked={mine.filter((one) => one.open)}
          name={message.role === "user" ? name : undefined}
          busy={state.resuming || state.stopping}
          onResume={() => state.resume(waiting.run)}
          onStop={() => state.stopRun(waiting.run)}
        />,
      );
    }
    cards(true);
  };
  for (const [index, message] of state.messages.entries()) {
    const next = state.messages[index + 1];
    if (message.role === "user") {
      const open = state.runs.some((one) => one.message === message.id);
      const answered = open || answers.has(message.id) || next?.role === "assistant";
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
      askedHere(message);
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
          answers={answering(apartFrom(state.messages, message.answers_id, index))}
        >
          {(message !== last || !state.holds) && (
            <Unfinished
              message={message}
              question={questionOf(state.messages, message)}
              lastWord={repliesOf(state.messages, message.answers_id, message.run_id).at(-1) === message}
              newest={message === last}
              busy={state.retrying || (message !== last && !idle)}
              onRetry={retry}
              onAgain={again}
            />
          )}
        </Answer>
      </Contained>,
    );
    askedHere(message);
  }
  if (state.waiting) {
    const { id, text } = state.waiting;
    rows.push(
      <Contained key={id} text={text}>
        <Said message={{ text, status: "complete" }} pending />
      </Contained>,
    );
  }
  const writing: Writing[] = state.runs.filter(
    ({ live, writing }) =>
      writing || live.end || (live.wait?.stored && !state.messages.some((one) => one.id === live.replyId)),
  );
  if (state.holds && !state.runs.some((one) => one.run === state.holder)) writing.push({ writing: true });
  for (const [index, one] of writing.entries()) {
    const between = index > 0 || (state.waiting && one.run !== undefined && one.run !== state.holder);
    const answered = between
      ? state.messages.find((message) => message.id === one.message)
      : apartFrom(state.messages, one.message, state.messages.length);
    rows.push(
      <Contained key={one.replyId ?? "live"} text={one.live?.text ?? ""}>
        <Answer
          view={() => liveView(one)}
          name={name}
          memories={memories}
          labelled={one.live?.offline === true && !offline}
          answers={one.message ? answering(answered) : undefined}
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
        follow={`${state.messages.length}/${state.waiting?.id ?? ""}/${writing.map(({ live }) => `${live?.text.length ?? 0},${live?.tools.length ?? 0}`).join("/")}/${waits.length}/${asks.length}`}
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
        {state.problem && <Notice>{state.problem.message}</Notice>}
        {state.retryProblem && <Notice>{state.retryProblem.message}</Notice>}
        {state.stopProblem && <Notice>That didn’t work: {state.stopProblem.message}</Notice>}
        {failed && <NotSent problem={failed} />}
      </Scroller>
      <p role="status" className="sr-only">
        {waits.some(({ live }) => isPaused(live)) && `${name} is paused.`}
      </p>
      <WaitsElsewhere asked={asks.filter((one) => one.open && one.run !== asked?.run_id)} />
      <Composer
        workspace={workspace}
        conversation={conversationId}
        name={known}
        running={running}
        holds={state.holds}
        stopping={state.stopping}
        pausing={state.pausing}
        onPause={state.pause}
        revision={revision}
        onSend={send}
        onStop={stop}
      />
      <p role="status" className="sr-only">
        {running ? `${name} is writing.` : waits.length > 0 ? `${name} is waiting.` : ""}
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

/** A reply being written; its run is not known at once. */
type Writing = Partial<OpenRun> & Pick<OpenRun, "writing">;

function liveView({ replyId, live, writing }: Writing): ReplyView {
  return {
    id: replyId ?? "live",
    text: live?.offline ? withoutLabel(live.text) : (live?.text ?? ""),
    status: live?.end?.status ?? (live?.wait ? "complete" : undefined),
    doing: writing ? (live ? doing(live) : "") : undefined,
    model: live?.model,
    offline: live?.offline ?? false,
    textOnlyRecall: live?.textOnlyRecall,
    usage: live?.usage,
    costMicros: live?.costMicros,
    tools: live?.tools.filter((tool) => !live.wait || !tool.asked) ?? [],
    recalled: live?.recalled ?? [],
    remembered: live?.remembered ?? [],
  };
}

/** Says which message a reply answers that does not stand right below it. */
function Answering({ conversationId, message }: { conversationId: string; message: Message }) {
  const said = message.status === "redacted" ? "a redacted message" : `“${message.text.slice(0, 120)}”`;
  return (
    <Link
      to="/chat/$conversationId"
      params={{ conversationId }}
      search={{ message: message.id }}
      state={visiting}
      className="block max-w-full truncate text-sm text-ink-3 hover:text-ink"
    >
      In answer to <bdi className="underline underline-offset-2">{said}</bdi>
    </Link>
  );
}

const partial: Partial<Record<Message["status"], string>> = {
  stopped: "You stopped this reply.",
  interrupted: "Duet was interrupted while writing this reply.",
  limited: "This reply reached its limit.",
};

/** Why a run said no more after its last whole message, which it left before it waited. */
const after: Partial<Record<NonNullable<Message["ended"]>["status"], string>> = {
  cancelled: "You stopped it here.",
  interrupted: "Duet was interrupted here.",
  needs_review: "An action was started, but Duet can’t tell whether it finished.",
  failed: "It could not continue.",
  parked: "Duet gave up here after several attempts.",
};

/** Below an incomplete reply: the reason, and how to continue. Below an older one: the reason, and a way to ask again. */
function Unfinished({
  message,
  question,
  lastWord,
  newest,
  busy,
  onRetry,
  onAgain,
}: {
  message: Message;
  /** Nothing of the same run follows. */
  lastWord: boolean;
  /** The message that it answers; `text` is absent if the message is further up than the page has read. */
  question: { id: string; text?: string } | undefined;
  newest: boolean;
  busy: boolean;
  onRetry: (message: string, mode: "restart" | "continue") => void;
  onAgain: (text: string) => void;
}) {
  const { status, ended } = message;
  const whole = status === "complete";
  const why = whole && lastWord && ended ? after[ended.status] : partial[status];
  if (!why || !question) return null;
  const { id, text } = question;
  const actions = newest ? (
    <>
      {status !== "limited" && !whole && (
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
        {ended?.reason ?? why} What was written is kept.
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

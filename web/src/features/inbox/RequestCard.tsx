import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useEffect, useId, useRef, useState } from "react";
import { decideRequest } from "~/api/endpoints";
import { tellChanged } from "~/api/hints";
import { Problem } from "~/api/http";
import type { Decision, RunRequest } from "~/api/types";
import { Button, IconButton } from "~/ui/Button";
import { when } from "~/ui/format";
import { Check, Close, More, Question, Tool, Warning } from "~/ui/icons";
import { Plain } from "~/ui/Plain";
import { MenuButton, Popover } from "~/ui/Popover";
import { told, useRecentSignIn } from "~/ui/SignInAgain";
import { Answer } from "./Answer";
import { Answers, Arguments } from "./Arguments";
import { objectOf } from "./arguments";
import { Editor } from "./Editor";
import { ANSWER, formOf, tooLong } from "./form";
import { agentsQuery, peopleQuery, requestQuery } from "./queries";
import { actOf, left, nameOf, outcomeOf, saidWith } from "./words";

export type Viewer = { id: string; email: string; owner: boolean };

type Props = {
  workspace: string;
  me: Viewer;
  request: RunRequest;
  /** It stands in its own conversation, so there is no need to link to it. */
  here?: boolean;
};

type Way = "edit" | "reject" | "answer";

/** Refusals that mean that somebody or something else was first: the card then shows what became of the request. */
const late: ReadonlySet<Problem["code"]> = new Set(["request_decided", "request_over", "not_found"]);

/** What a run asks of a person, with the ways to decide, or with what was decided. */
export default function RequestCard({ workspace, me, request, here = false }: Props) {
  const queries = useQueryClient();
  const id = useId();
  const card = useRef<HTMLElement>(null);
  const [way, setWay] = useState<Way>();
  const agents = useQuery(agentsQuery(workspace)).data?.items;
  const mine = request.user_id === me.id;
  const named = !mine || (request.decided_by != null && request.decided_by !== me.id);
  const people = useQuery({ ...peopleQuery(workspace), enabled: named }).data?.items;
  const { recently, dialog } = useRecentSignIn(me.email);
  const decide = useMutation({
    mutationFn: (decision: Decision) => recently(() => decideRequest(workspace, request.id, decision)),
    onSuccess: (decided) => {
      queries.setQueryData(requestQuery(workspace, request.id).queryKey, decided);
      setWay(undefined);
      // The buttons are gone: the focus stays with the card.
      card.current?.focus({ preventScroll: true });
      tellChanged(workspace, "inbox", "runs");
    },
    onError: (error) => {
      if (error instanceof Problem && late.has(error.code)) {
        void queries.invalidateQueries({ queryKey: requestQuery(workspace, request.id).queryKey });
        tellChanged(workspace, "inbox", "runs");
      }
    },
  });
  const agent = agents?.find((one) => one.id === request.agent_id)?.name ?? "Your companion";
  const outcome = outcomeOf(request, me.id, people);
  const deciding = request.decider === "owner" ? me.owner : mine;
  const open = !outcome && deciding && request.arguments != null;
  const said = saidWith(request);
  const menu = open && !way && request.kind !== "question";
  const problem = told(decide.error);
  const Icon = { approval: Tool, question: Question, review: Warning }[request.kind];
  return (
    <article
      ref={card}
      id={`request-${request.id}`}
      tabIndex={-1}
      aria-labelledby={`${id}-title`}
      data-state={request.state}
      data-kind={request.kind}
      className={`scroll-m-16 rounded-2xl border bg-card p-4 outline-offset-4 wide:p-5 ${outcome ? "border-line" : "border-line-strong shadow-lift"}`}
    >
      <header className="relative flex items-start gap-3">
        <span
          className={`mt-0.5 inline-flex size-8 shrink-0 items-center justify-center rounded-full ${outcome ? "bg-margin text-ink-3" : "bg-accent-soft text-accent"}`}
        >
          <Icon size={16} />
        </span>
        <div className="min-w-0 flex-1">
          <h2 id={`${id}-title`} className={`leading-snug font-medium [overflow-wrap:anywhere] ${menu ? "pr-8" : ""}`}>
            <Title request={request} agent={agent} decided={Boolean(outcome)} />
          </h2>
          <p className="dotted mt-0.5 text-sm leading-snug text-ink-3">
            {request.kind !== "question" && (
              <code className="font-mono text-[0.92em] leading-[inherit]">
                <Plain text={request.tool} />
              </code>
            )}
            {!mine && (
              <span>
                for <bdi>{nameOf(people, request.user_id, me.id)}</bdi>
              </span>
            )}
            <span>{when(request.created_at)}</span>
            {!outcome && <span>{left(request.expires_at)}</span>}
            {!here && request.conversation_id && (
              <Link
                to="/chat/$conversationId"
                params={{ conversationId: request.conversation_id }}
                className="underline underline-offset-2"
              >
                Conversation
              </Link>
            )}
          </p>
        </div>
        {menu && <Menu busy={decide.isPending} onDismiss={() => decide.mutate({ decision: "dismiss" })} />}
      </header>
      <div className="mt-3 space-y-4">
        {request.arguments == null ? (
          <p className="text-ink-2 italic">What was asked has been redacted.</p>
        ) : (
          <Asked request={request} folded={Boolean(outcome)} editing={way === "edit"} />
        )}
        {open && (
          <Ways
            request={request}
            agent={agent}
            way={way}
            busy={decide.isPending}
            onWay={setWay}
            onDecide={(decision) => decide.mutate(decision)}
          />
        )}
        {!outcome && !deciding && <p className="text-ink-2">An owner of the workspace decides this.</p>}
        {dialog}
        {problem && !outcome && (
          <p role="alert" className="text-sm text-danger">
            {problem.message}
          </p>
        )}
      </div>
      <div role="status" className={outcome ? "mt-4" : "sr-only"}>
        {outcome && (
          <>
            <p className="flex items-start gap-2 text-ink-2">
              {outcome.done ? (
                <Check size={16} className="mt-1 shrink-0 text-accent" />
              ) : (
                <Close size={16} className="mt-1 shrink-0 text-ink-3" />
              )}
              <span className="min-w-0 [overflow-wrap:anywhere]">
                <Plain text={outcome.text} />
              </span>
            </p>
            {said && (
              <p dir="auto" className="mt-2 pl-6 whitespace-pre-wrap [overflow-wrap:anywhere]">
                “<Plain text={said} />”
              </p>
            )}
          </>
        )}
      </div>
      {outcome && <Decided request={request} />}
    </article>
  );
}

function Title({ request, agent, decided }: { request: RunRequest; agent: string; decided: boolean }): ReactNode {
  const who = <bdi>{agent}</bdi>;
  if (request.kind === "question")
    return (
      <>
        {who} {decided ? "asked" : "asks"}
      </>
    );
  if (request.kind === "review") return "Did this happen?";
  return (
    <>
      {who} {decided ? "wanted to" : "wants to"} <Plain text={actOf(request.tool)} />
    </>
  );
}

/** What is asked: the arguments of the call, or the question. */
function Asked({ request, folded, editing }: { request: RunRequest; folded: boolean; editing: boolean }) {
  if (request.kind === "question") {
    return (
      <p
        dir="auto"
        className="font-serif text-[1.0625rem] leading-relaxed whitespace-pre-wrap [overflow-wrap:anywhere]"
      >
        <Plain text={formOf(request.arguments).question} />
      </p>
    );
  }
  return (
    <>
      {!folded && (
        <p className="text-ink-2 [overflow-wrap:anywhere]">
          {request.kind === "review"
            ? "Duet stopped while this was being done, and can’t tell whether it happened."
            : words(request.why)}
        </p>
      )}
      {!editing && (
        <div className={`rounded-xl bg-margin px-4 py-3 ${folded ? "text-ink-2" : ""}`}>
          <Arguments value={objectOf(request.arguments) ?? {}} />
        </div>
      )}
    </>
  );
}

/** A sentence with names of tools and categories set apart. */
function words(sentence: string): ReactNode {
  return sentence.split("`").map((part, index) =>
    index % 2 === 1 ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one sentence.
      <code key={index} className="font-mono text-[0.9em]">
        <Plain text={part} />
      </code>
    ) : (
      // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one sentence.
      <Plain key={index} text={part} />
    ),
  );
}

function Menu({ busy, onDismiss }: { busy: boolean; onDismiss: () => void }) {
  return (
    <Popover
      name="More ways to decide"
      width={260}
      button={(props) => (
        <IconButton name="More ways to decide" disabled={busy} className="absolute -top-3 -right-3" {...props}>
          <More />
        </IconButton>
      )}
    >
      {(close) => (
        <div className="p-2">
          <MenuButton
            onClick={() => {
              close();
              onDismiss();
            }}
          >
            <Close /> Dismiss
          </MenuButton>
          <p className="px-3 pt-1 pb-1.5 text-sm text-ink-3">The reply continues without your answer.</p>
        </div>
      )}
    </Popover>
  );
}

type WaysProps = {
  request: RunRequest;
  agent: string;
  way: Way | undefined;
  busy: boolean;
  onWay: (way: Way | undefined) => void;
  onDecide: (decision: Decision) => void;
};

/** The ways to decide that fit the kind of request. */
function Ways({ request, agent, way, busy, onWay, onDecide }: WaysProps) {
  const buttons = useRef<HTMLDivElement>(null);
  /** The button that opened a form has the focus again once the form is closed. */
  const opened = useRef<Way>(undefined);
  useEffect(() => {
    if (way) {
      opened.current = way;
      return;
    }
    if (opened.current) buttons.current?.querySelector<HTMLElement>(`[data-way="${opened.current}"]`)?.focus();
    opened.current = undefined;
  }, [way]);
  if (request.kind === "question") {
    const respond = (answers: Record<string, string | number | boolean>) => onDecide({ decision: "respond", answers });
    return (
      <Answer
        form={formOf(request.arguments)}
        busy={busy}
        onSend={respond}
        onSkip={() => onDecide({ decision: "dismiss" })}
      />
    );
  }
  if (request.kind === "review") {
    return (
      <div className="flex flex-wrap gap-2">
        <Button look="primary" busy={busy} onClick={() => onDecide({ decision: "happened" })}>
          It happened
        </Button>
        <Button busy={busy} onClick={() => onDecide({ decision: "did_not" })}>
          It did not
        </Button>
        <Button look="bare" busy={busy} onClick={() => onDecide({ decision: "dismiss" })}>
          I don’t know
        </Button>
      </div>
    );
  }
  const close = () => onWay(undefined);
  if (way === "edit") {
    return (
      <Editor
        value={objectOf(request.arguments) ?? {}}
        busy={busy}
        onApprove={(value) => onDecide({ decision: "approve", arguments: value })}
        onCancel={close}
      />
    );
  }
  if (way === "reject") {
    return (
      <Word
        label="Reason"
        optional
        send="Reject"
        busy={busy}
        onCancel={close}
        onSend={(text) => onDecide(text ? { decision: "reject", reason: text } : { decision: "reject" })}
      />
    );
  }
  if (way === "answer") {
    return (
      <Word
        label="What to say"
        hint={
          <>
            <bdi>{agent}</bdi> reads this instead of doing it.
          </>
        }
        send="Send"
        busy={busy}
        onCancel={close}
        onSend={(text) => onDecide({ decision: "respond", answers: { [ANSWER]: text } })}
      />
    );
  }
  return (
    <div ref={buttons} className="flex flex-wrap gap-2">
      <Button look="primary" busy={busy} onClick={() => onDecide({ decision: "approve" })}>
        Approve
      </Button>
      <Button data-way="edit" disabled={busy} onClick={() => onWay("edit")}>
        Edit…
      </Button>
      <Button data-way="reject" disabled={busy} onClick={() => onWay("reject")}>
        Reject…
      </Button>
      <Button data-way="answer" look="bare" disabled={busy} onClick={() => onWay("answer")}>
        Say something instead…
      </Button>
    </div>
  );
}

type WordProps = {
  label: string;
  hint?: ReactNode;
  send: string;
  optional?: boolean;
  busy: boolean;
  onSend: (text: string) => void;
  onCancel: () => void;
};

/** A word to the agent. */
function Word({ label, hint, send, optional = false, busy, onSend, onCancel }: WordProps) {
  const id = useId();
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState<string>();
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    field.current?.focus();
  }, []);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!text.trim() && !optional) setWrong("Write something first.");
    else if (tooLong(text)) setWrong("This is too long.");
    else return onSend(text.trim());
    field.current?.focus();
  };
  return (
    <form
      noValidate
      onSubmit={submit}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        onCancel();
      }}
    >
      <label htmlFor={id} className="mb-1.5 block text-sm font-medium">
        {label}
        {optional && <span className="font-normal text-ink-3"> (optional)</span>}
      </label>
      <textarea
        ref={field}
        id={id}
        rows={2}
        dir="auto"
        value={text}
        onChange={(event) => setText(event.target.value)}
        aria-invalid={wrong ? true : undefined}
        aria-describedby={wrong || hint ? `${id}-hint` : undefined}
        className="field"
      />
      {(wrong || hint) && (
        <p id={`${id}-hint`} className={`mt-1.5 text-sm ${wrong ? "text-danger" : "text-ink-3"}`}>
          {wrong ?? hint}
        </p>
      )}
      <div className="mt-3 flex flex-wrap gap-2">
        <Button type="submit" look="primary" busy={busy}>
          {send}
        </Button>
        <Button look="bare" disabled={busy} onClick={onCancel}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

/** What was changed with a yes, or answered to a question. */
function Decided({ request }: { request: RunRequest }) {
  const decision = request.decision ?? undefined;
  if (decision?.decision === "approve" && decision.arguments) {
    return (
      <div className="mt-3 rounded-xl bg-margin px-4 py-3">
        <p className="mb-2 text-sm font-medium">As approved</p>
        <Arguments value={objectOf(decision.arguments) ?? {}} />
      </div>
    );
  }
  if (decision?.decision === "respond" && request.kind === "question") {
    return (
      <div className="mt-3 rounded-xl bg-margin px-4 py-3">
        <Answers fields={formOf(request.arguments).fields} answers={objectOf(decision.answers) ?? {}} />
      </div>
    );
  }
  return null;
}

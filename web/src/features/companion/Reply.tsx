import { Fragment, lazy, type ReactNode, Suspense, useId, useState } from "react";
import type { MessageStatus, ToolStatus, Usage } from "~/api/types";
import { cost, counted, tokens } from "~/ui/format";
import { Check, Chevron, Close, Tool, Warning } from "~/ui/icons";
import { Mark } from "~/ui/Mark";
import { Contained } from "./Contained";
import { lineOf, outcomeOf, summaryOf } from "./tools";

const Markdown = lazy(() => import("./markdown/Markdown"));

/** The visible parts of a reply, stored or being written. */
export type ReplyView = {
  id: string;
  text: string;
  status?: MessageStatus;
  /** The companion's current activity, while it writes. */
  doing?: string;
  model?: string;
  offline: boolean;
  textOnlyRecall?: boolean;
  usage?: Usage;
  costMicros?: number | null;
  tools: { callId: string; name: string; status: ToolStatus }[];
  recalled: string[];
  remembered: string[];
};

type Props = {
  reply: ReplyView;
  name: string;
  memories: (recalled: string[], remembered: string[]) => ReactNode;
  /** Whether to say that no language model wrote it: only at the first of such replies. */
  labelled: boolean;
  /** Which message it answers, where that cannot be seen. */
  answers?: ReactNode;
  children?: ReactNode;
  marked?: boolean;
};

export function Reply({ reply, name, memories, labelled, answers, children, marked }: Props) {
  const writing = reply.doing !== undefined;
  return (
    <article
      id={`message-${reply.id}`}
      tabIndex={-1}
      aria-label={`${name} said`}
      aria-busy={writing || undefined}
      data-status={writing ? "writing" : reply.status}
      className={`message relative ${marked ? "marked" : ""}`}
    >
      <header className="mb-1.5 flex flex-wrap items-center gap-x-2 gap-y-1 text-sm text-ink-2">
        <Mark size={20} writing={writing} />
        <span dir="auto" className="font-medium">
          {name}
        </span>
        {labelled && (
          <span className="rounded-full bg-caution-soft px-2 text-xs leading-5 text-caution">
            Without a language model
          </span>
        )}
        {writing && !reply.text && <span className="text-ink-3">{reply.doing}</span>}
        {answers && <span className="min-w-0 basis-full">{answers}</span>}
      </header>
      {reply.status === "redacted" ? (
        <p className="font-serif text-lg text-ink-2 italic">This reply was redacted.</p>
      ) : (
        reply.text && (
          <div className={`prose ${writing ? "open" : ""}`}>
            <Contained text={reply.text}>
              <Suspense fallback={<p className="whitespace-pre-wrap">{reply.text}</p>}>
                <Markdown text={reply.text} scope={reply.id} />
              </Suspense>
            </Contained>
          </div>
        )
      )}
      {writing && reply.text && reply.doing && <p className="mt-2 text-sm text-ink-3">{reply.doing}</p>}
      {children}
      {!writing && <Basis reply={reply} memories={memories} />}
    </article>
  );
}

/** One quiet line below a reply: its sources, which open, and its model. */
function Basis({ reply, memories }: Pick<Props, "reply" | "memories">) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const { recalled, remembered, tools } = reply;
  const used = summaryOf(tools);
  const rests = [
    remembered.length > 0 && `${counted(remembered.length, "memory", "memories")} saved`,
    recalled.length > 0 &&
      (remembered.length > 0 ? `${recalled.length} recalled` : counted(recalled.length, "memory", "memories")),
    tools.length > 0 && used.text,
  ].filter((part) => part !== false);
  const origin = originOf(reply);
  if (!rests.length && !origin.length) return null;
  return (
    <footer className="mt-2 text-xs leading-5 text-ink-3">
      <div className="dotted items-center">
        {rests.length > 0 && (
          <button
            type="button"
            aria-expanded={open}
            aria-controls={open ? id : undefined}
            onClick={() => setOpen(!open)}
            className={`ml-3 inline-flex min-h-7 items-center gap-1 rounded-md px-1 hover:bg-hover hover:text-ink ${used.bad ? "text-caution" : "text-ink-2"}`}
          >
            <span>
              {rests.map((part, index) =>
                index === rests.length - 1 ? (
                  part
                ) : (
                  // No line begins with the dot.
                  <Fragment key={part}>
                    <span className="whitespace-nowrap">{part} ·</span>{" "}
                  </Fragment>
                ),
              )}
            </span>
            <Chevron size={14} className={`transition-transform ${open ? "rotate-180" : ""}`} />
          </button>
        )}
        {origin.map((part, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one line, which have no state.
          <span key={index}>{part}</span>
        ))}
      </div>
      {open && (
        <ul id={id} aria-label="What this reply is based on" className="mt-1 mb-2 border-l border-line pl-2">
          {memories(recalled, remembered)}
          {tools.map((tool, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: calls only ever grow at the end, and their ids repeat.
            <ToolLine key={index} {...tool} />
          ))}
        </ul>
      )}
    </footer>
  );
}

function ToolLine({ name, status }: { name: string; status: ToolStatus }) {
  const Icon = { started: Tool, succeeded: Check, failed: Close, refused: Close, unknown: Warning }[status] ?? Tool;
  const { text, note, bad } = lineOf({ name, status });
  return (
    <li
      className={`relative flex min-h-8 items-center gap-2 px-2 text-sm ${bad ? "text-caution" : "text-ink-2"}`}
      title={`Tool ${name}: ${outcomeOf(status)}`}
    >
      <Icon size={14} className="shrink-0" />
      {text}
      {status === "succeeded" && <span className="sr-only">, done</span>}
      {note && <span>({note})</span>}
    </li>
  );
}

/** The model that wrote a reply, with its tokens and cost. */
function originOf(reply: ReplyView): ReactNode[] {
  if (!reply.model) return [];
  const parts: ReactNode[] = [];
  const used = reply.usage ? reply.usage.input_tokens + reply.usage.output_tokens : 0;
  // Said once, at the first reply that no model wrote.
  if (!reply.offline) {
    parts.push(reply.model);
    if (used > 0) {
      parts.push(
        <span
          title={`${reply.usage?.input_tokens.toLocaleString()} read, ${reply.usage?.output_tokens.toLocaleString()} written`}
        >
          {tokens(used)}
        </span>,
      );
      const price = cost(reply.costMicros);
      if (price) parts.push(price);
      else if (reply.costMicros !== 0) parts.push("price unknown");
    }
  }
  if (reply.textOnlyRecall) parts.push("memory searched by keyword only");
  return parts;
}

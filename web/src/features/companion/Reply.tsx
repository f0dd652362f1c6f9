import { lazy, type ReactNode, Suspense } from "react";
import type { MessageStatus, ToolStatus, Usage } from "~/api/types";
import { cost, tokens } from "~/ui/format";
import { Check, Close, Tool, Warning } from "~/ui/icons";
import { Mark } from "~/ui/Mark";

const Markdown = lazy(() => import("./markdown/Markdown"));

/** What is shown of a reply, whether it is stored or being written. */
export type ReplyView = {
  id: string;
  text: string;
  status?: MessageStatus;
  /** What the companion is doing now, while it writes. */
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
  children?: ReactNode;
  marked?: boolean;
};

export function Reply({ reply, name, memories, children, marked }: Props) {
  const writing = reply.doing !== undefined;
  const chips = reply.tools.length + reply.recalled.length + reply.remembered.length > 0;
  return (
    <article
      id={`message-${reply.id}`}
      aria-label={`${name} said`}
      aria-busy={writing || undefined}
      data-status={writing ? "writing" : reply.status}
      className={`message ${marked ? "marked" : ""}`}
    >
      <header className="mb-1.5 flex flex-wrap items-center gap-x-2 gap-y-1 text-sm text-ink-2">
        <Mark size={20} writing={writing} />
        <span className="font-medium">{name}</span>
        {reply.offline && (
          <span className="rounded-full bg-caution-soft px-2 text-xs leading-5 text-caution">
            Offline, without a language model
          </span>
        )}
        {writing && !reply.text && <span className="text-ink-3">{reply.doing}</span>}
      </header>
      {reply.status === "redacted" ? (
        <p className="font-serif text-lg text-ink-2 italic">This reply was redacted.</p>
      ) : (
        reply.text && (
          <div className={`prose ${writing ? "open" : ""}`}>
            <Suspense fallback={<p className="whitespace-pre-wrap">{reply.text}</p>}>
              <Markdown text={reply.text} />
            </Suspense>
          </div>
        )
      )}
      {writing && reply.text && reply.doing && <p className="mt-2 text-sm text-ink-3">{reply.doing}</p>}
      {chips && (
        <div className="mt-3 flex flex-wrap items-center gap-1.5">
          {memories(reply.recalled, reply.remembered)}
          {reply.tools.map((tool, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: calls only ever grow at the end, and their ids repeat.
            <ToolChip key={index} {...tool} />
          ))}
        </div>
      )}
      {children}
      {!writing && reply.model && <Origin reply={reply} />}
    </article>
  );
}

const toolNames: Record<string, string> = {
  recall: "Looked through memory",
  remember: "Kept a memory",
  search_conversations: "Searched conversations",
};

const outcomes: Record<ToolStatus, string> = {
  started: "running",
  succeeded: "done",
  failed: "failed",
  refused: "refused",
  unknown: "outcome unknown",
};

export const toolName = (name: string) => toolNames[name] ?? name.replaceAll("_", " ");

function ToolChip({ name, status }: { name: string; status: ToolStatus }) {
  const Icon = { started: Tool, succeeded: Check, failed: Close, refused: Close, unknown: Warning }[status];
  const bad = status === "failed" || status === "refused" || status === "unknown";
  return (
    <span
      className={`chip ${bad ? "border-transparent bg-caution-soft text-caution" : "border-transparent bg-margin"}`}
      title={`Tool ${name}: ${outcomes[status]}`}
    >
      <Icon size={14} className={`shrink-0 ${status === "started" ? "animate-pulse" : ""}`} />
      {toolName(name)}
      {status === "succeeded" ? <span className="sr-only">, done</span> : <span>({outcomes[status]})</span>}
    </span>
  );
}

function Origin({ reply }: { reply: ReplyView }) {
  const used = reply.usage ? reply.usage.input_tokens + reply.usage.output_tokens : 0;
  const price = cost(reply.costMicros);
  const parts: ReactNode[] = [];
  // An offline reply says at its head what wrote it.
  if (!reply.offline) parts.push(reply.model);
  if (used > 0) {
    parts.push(
      <span
        title={`${reply.usage?.input_tokens.toLocaleString()} read, ${reply.usage?.output_tokens.toLocaleString()} written`}
      >
        {tokens(used)}
      </span>,
    );
  }
  if (price) parts.push(price);
  else if (used > 0 && !reply.offline) parts.push("price not known");
  if (reply.textOnlyRecall) parts.push("memory searched by words only");
  if (!parts.length) return null;
  return (
    <footer className="mt-2.5 flex flex-wrap gap-x-1 text-xs leading-5 text-ink-3">
      {parts.map((part, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one line, which have no state.
        <span key={index}>
          {index > 0 && "· "}
          {part}
        </span>
      ))}
    </footer>
  );
}

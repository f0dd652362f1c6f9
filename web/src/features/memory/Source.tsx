import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Problem } from "~/api/http";
import type { Memory, MemoryProvenance } from "~/api/types";
import { Button } from "~/ui/Button";
import { when } from "~/ui/format";
import { visit } from "~/ui/visit";
import { provenanceQuery } from "./queries";

type Props = {
  workspace: string;
  id: string;
  /** The reply made the memory, rather than resting on it. */
  made?: boolean;
  /** The person follows the link to the source. */
  onGo: () => void;
};

/** "Why do you remember this?": what is remembered, since when, and where it comes from. */
export function Source({ workspace, id, made = false, onGo }: Props) {
  const answer = useQuery(provenanceQuery(workspace, id));
  if (answer.isPending) {
    return (
      <p role="status" className="text-sm text-ink-2">
        Looking up where this comes from…
      </p>
    );
  }
  if (answer.isError) {
    const gone = answer.error instanceof Problem && answer.error.status === 404;
    return (
      <div className="text-sm text-ink-2">
        <p>{gone ? "This memory no longer exists, or you can’t see it." : answer.error.message}</p>
        {!gone && (
          <Button className="mt-2" onClick={() => answer.refetch()}>
            Try again
          </Button>
        )}
      </div>
    );
  }
  const { memory, superseded } = answer.data;
  const notes = notesOn(memory);
  return (
    <div className="text-sm">
      <p className="text-ink-3">{made ? "Remembered from this conversation" : "Why do you remember this?"}</p>
      {memory.redacted_at ? (
        <p className="mt-1.5 font-serif text-base italic">This memory was redacted {when(memory.redacted_at)}.</p>
      ) : (
        <blockquote dir="auto" className="mt-1.5 font-serif text-[1.0625rem] leading-relaxed [overflow-wrap:anywhere]">
          {memory.text}
        </blockquote>
      )}
      <p className="mt-2.5 leading-relaxed text-ink-2">
        <Origin {...answer.data} onGo={onGo} />
      </p>
      {notes.length > 0 && <p className="mt-1.5 text-ink-3">{notes.join(" ")}</p>}
      {superseded.length > 0 && (
        <div className="mt-3 border-t border-line pt-3 text-ink-2">
          <p>It replaced:</p>
          <ul className="mt-1 space-y-1">
            {superseded.map((old) => (
              <li key={old.id} dir="auto" className="font-serif italic">
                {old.text || "a redacted memory"}
              </li>
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}

function Origin({ memory, message, conversation, agent, onGo }: MemoryProvenance & Pick<Props, "onGo">) {
  const time = when(message?.created_at ?? memory.occurred_at);
  const said = message
    ? message.role === "user"
      ? "You said it"
      : `${agent?.name ?? "Your companion"} said it`
    : undefined;
  const noted = agent ? `${agent.name} noted it` : "It was added by hand";
  if (!conversation) return `${said ?? noted}, ${time}.`;
  return (
    <>
      {said ?? noted}, {time}, in “
      <Link
        to="/chat/$conversationId"
        params={{ conversationId: conversation.id }}
        search={message ? { message: message.id } : {}}
        state={visit}
        onClick={onGo}
        className="text-accent underline underline-offset-2"
      >
        {conversation.title.trim() || "a conversation"}
      </Link>
      ”.
    </>
  );
}

function notesOn(memory: Memory): string[] {
  return [
    memory.review === "proposed" && "It’s waiting for your review and isn’t used until then.",
    memory.review === "rejected" && "You rejected it, so it isn’t used.",
    memory.taint === "untrusted" && "It came from an untrusted source.",
    memory.visibility === "private" && "Only you can see it.",
    memory.egress === "local_only" && "It stays on this machine.",
    memory.valid_to && "It’s out of date.",
  ].filter((note): note is string => Boolean(note));
}

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Problem } from "~/api/http";
import type { Memory, MemoryProvenance } from "~/api/types";
import { Button } from "~/ui/Button";
import { when } from "~/ui/format";
import { provenanceQuery } from "./queries";

/** "Why do you remember this?": what is remembered, since when, and where it comes from. */
export function Source({ workspace, id, made = false }: { workspace: string; id: string; made?: boolean }) {
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
        <p>{gone ? "This memory is no longer there, or is not yours to see." : answer.error.message}</p>
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
        <blockquote className="mt-1.5 font-serif text-[1.0625rem] leading-relaxed [overflow-wrap:anywhere]">
          {memory.text}
        </blockquote>
      )}
      <p className="mt-2.5 leading-relaxed text-ink-2">
        <Origin {...answer.data} />
      </p>
      {notes.length > 0 && <p className="mt-1.5 text-ink-3">{notes.join(" ")}</p>}
      {superseded.length > 0 && (
        <div className="mt-3 border-t border-line pt-3 text-ink-2">
          <p>It took the place of:</p>
          <ul className="mt-1 space-y-1">
            {superseded.map((old) => (
              <li key={old.id} className="font-serif italic">
                {old.text || "a redacted memory"}
              </li>
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}

function Origin({ memory, message, conversation, agent }: MemoryProvenance) {
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
        className="text-accent underline underline-offset-2"
      >
        {conversation.title.trim() || "a conversation"}
      </Link>
      ”
    </>
  );
}

function notesOn(memory: Memory): string[] {
  return [
    memory.review === "proposed" && "It waits for your review and is not recalled until then.",
    memory.review === "rejected" && "You rejected it; it is not recalled.",
    memory.taint === "untrusted" && "It comes from a source that is not trusted.",
    memory.visibility === "private" && "Only you can see it.",
    memory.egress === "local_only" && "It never leaves this machine.",
    memory.valid_to && "It no longer holds.",
  ].filter((note): note is string => Boolean(note));
}

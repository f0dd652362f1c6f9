import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Problem } from "~/api/http";
import type { Memory, MemoryProvenance } from "~/api/types";
import { Button } from "~/ui/Button";
import { when } from "~/ui/format";
import { visit } from "~/ui/visit";
import { peopleQuery, provenanceQuery } from "./queries";
import { Review } from "./Review";
import { awaits, origin } from "./whose";

type Props = {
  workspace: string;
  /** The person viewing it. */
  me: string;
  id: string;
  /** The reply made the memory, rather than being based on it. */
  made?: boolean;
  /** Called when the person follows the link to the source. */
  onGo: () => void;
};

/** "Why do you remember this?": the memory, its date and its source. */
export function Source({ workspace, me, id, made = false, onGo }: Props) {
  const answer = useQuery(provenanceQuery(workspace, id));
  const others = answer.data !== undefined && answer.data.memory.user_id !== me;
  const people = useQuery({ ...peopleQuery(workspace), enabled: others }).data?.items;
  if (answer.isPending) {
    return (
      <p role="status" className="text-sm text-ink-2">
        Looking up where this comes from…
      </p>
    );
  }
  if (answer.isError) {
    const gone = answer.error instanceof Problem && answer.error.code === "not_found";
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
  const notes = notesOn(memory, me);
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
        <Origin source={answer.data} said={origin(answer.data, me, people)} onGo={onGo} />
      </p>
      {notes.length > 0 && <p className="mt-1.5 text-ink-3">{notes.join(" ")}</p>}
      {awaits(memory, me) && <Review workspace={workspace} id={id} />}
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

function Origin({ source, said, onGo }: { source: MemoryProvenance; said: string } & Pick<Props, "onGo">) {
  const { memory, message, conversation } = source;
  const time = when(message?.created_at ?? memory.occurred_at);
  if (!conversation) return `${said}, ${time}.`;
  return (
    <>
      {said}, {time}, in “
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

function notesOn(memory: Memory, me: string): string[] {
  return [
    memory.review === "proposed" &&
      (awaits(memory, me)
        ? "It’s waiting for your review and isn’t used until then."
        : "It’s waiting for somebody else’s review and isn’t used until then."),
    memory.review === "rejected" && "It was rejected, so it isn’t used.",
    memory.taint === "untrusted" && "It came from an untrusted source.",
    memory.visibility === "private" && "Only you can see it.",
    memory.egress === "local_only" && "It stays on this machine.",
    memory.valid_to && "It’s out of date.",
  ].filter((note): note is string => Boolean(note));
}

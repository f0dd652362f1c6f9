import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { createConversation } from "~/api/endpoints";
import { Problem } from "~/api/http";
import { newId } from "~/api/id";
import { Mark } from "~/ui/Mark";
import { Composer } from "./Composer";
import { beginSending, type Draft, endSending, moveDraft } from "./drafts";
import { NotSent } from "./NotSent";
import { agentsQuery, conversationQuery } from "./queries";
import { Said } from "./Said";
import { send, useWishToStop, wishToStop } from "./sending";
import { useStopKey } from "./useStopKey";

type Props = {
  workspace: string;
  /** The person's name. */
  person: string;
  onStarted: (conversation: string) => void;
  header: ReactNode;
};

const starters = [
  { label: "Tell it something to remember", text: "Please remember that " },
  { label: "Ask what it knows", text: "What do you remember about me?" },
  { label: "Think something through", text: "Help me think something through: " },
];

/** A conversation that has not begun. */
export function NewChat({ workspace, person, onStarted, header }: Props) {
  const queries = useQueryClient();
  const agents = useQuery(agentsQuery(workspace));
  const name = agents.data?.items.find((agent) => agent.kind === "companion_primary")?.name;
  // The client chooses the conversation's id, so that repeating a request after a lost answer creates no second conversation.
  const [id] = useState(() => newId());
  const [problem, setProblem] = useState<Problem>();
  const [revision, setRevision] = useState(0);
  /** The message in flight while the conversation is being created. */
  const [pending, setPending] = useState<string>();
  const busy = pending !== undefined;
  const stopping = useWishToStop(id);
  const stop = () => wishToStop(id, true);
  useStopKey(busy, stop);
  const [starter, setStarter] = useState<{ text: string }>();

  const start = async (draft: Draft) => {
    setPending(draft.text);
    setProblem(undefined);
    beginSending(workspace, undefined, draft);
    try {
      const conversation = await createConversation(workspace, id);
      queries.setQueryData(conversationQuery(workspace, id).queryKey, conversation);
      endSending(workspace, undefined, draft, true);
      void send(workspace, conversation.id, draft);
      moveDraft(workspace, conversation.id);
      onStarted(conversation.id);
    } catch (error) {
      endSending(workspace, undefined, draft, false);
      setProblem(error instanceof Problem ? error : new Problem(0, "unknown", "Sending failed. Try again."));
      setRevision((count) => count + 1);
      setPending(undefined);
      wishToStop(id, false);
    }
  };

  return (
    <>
      {header}
      <div className="scroller flex min-h-0 flex-1 flex-col">
        {busy ? (
          <div className="mx-auto w-full max-w-[44rem] px-5 pt-6">
            <h1 className="sr-only">New conversation</h1>
            <Said message={{ text: pending, status: "complete" }} pending />
          </div>
        ) : (
          <div className="m-auto w-full max-w-[44rem] px-5 py-10 short:py-3">
            <Mark size={44} />
            <h1 className="mt-5 font-serif text-[2.125rem] leading-tight tracking-tight text-balance wide:text-[2.75rem] short:mt-2 short:text-2xl">
              {greeting(person)}
            </h1>
            <p className="mt-3 max-w-[32rem] font-serif text-lg leading-relaxed text-pretty text-ink-2">
              {name ?? "Your companion"} listens, and remembers what matters to you. Where shall we begin?
            </p>
            <ul className="mt-7 flex flex-wrap gap-2">
              {starters.map(({ label, text }) => (
                <li key={label}>
                  <button
                    type="button"
                    className="chip min-h-10 px-4 text-[0.9375rem]"
                    onClick={() => setStarter({ text })}
                  >
                    {label}
                  </button>
                </li>
              ))}
            </ul>
            {problem && (
              <div className="mt-7">
                <NotSent problem={problem} />
              </div>
            )}
          </div>
        )}
      </div>
      <Composer
        workspace={workspace}
        name={name}
        running={busy}
        stopping={stopping}
        revision={revision}
        onSend={start}
        onStop={stop}
        starter={starter}
      />
    </>
  );
}

function greeting(person: string, hour = new Date().getHours()): string {
  if (hour < 5) return `Still up, ${person}?`;
  if (hour < 12) return `Good morning, ${person}.`;
  if (hour < 18) return `Good afternoon, ${person}.`;
  return `Good evening, ${person}.`;
}

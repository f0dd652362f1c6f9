import { useQuery } from "@tanstack/react-query";
import type { Memory } from "~/api/types";
import { when } from "~/ui/format";
import { peopleQuery, proposalsQuery } from "./queries";
import { Review } from "./Review";
import { awaits, nameOf } from "./whose";

/** Suggested memories that wait for this person. */
export function useProposals(workspace: string, me: string): Memory[] {
  const proposals = useQuery(proposalsQuery(workspace));
  return proposals.data?.items.filter((memory) => awaits(memory, me)) ?? [];
}

export function Proposals({ workspace, me }: { workspace: string; me: string }) {
  const proposals = useProposals(workspace, me);
  const people = useQuery({
    ...peopleQuery(workspace),
    enabled: proposals.some((memory) => memory.user_id !== me),
  }).data?.items;
  if (!proposals.length) return null;
  return (
    <ul className="divide-y divide-line border-line border-y" aria-label="Suggested memories">
      {proposals.map((memory) => (
        <li key={memory.id} className="py-4">
          <p>
            {memory.user_id === me ? (
              "Your companion suggests a memory"
            ) : (
              <>
                <bdi>{nameOf(people, memory.user_id)}</bdi> suggests a memory in place of a shared one
              </>
            )}
            , {when(memory.created_at)}:
          </p>
          <blockquote
            dir="auto"
            className="mt-1.5 font-serif text-[1.0625rem] leading-relaxed [overflow-wrap:anywhere]"
          >
            {memory.text}
          </blockquote>
          {memory.taint === "untrusted" && (
            <p className="mt-1.5 text-sm text-ink-2">It came from an untrusted source.</p>
          )}
          <Review workspace={workspace} id={memory.id} />
        </li>
      ))}
    </ul>
  );
}

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useId, useRef } from "react";
import { reviewMemory } from "~/api/endpoints";
import { tellChanged } from "~/api/hints";
import type { Memory } from "~/api/types";
import { Button } from "~/ui/Button";
import { when } from "~/ui/format";
import { Bookmark, Check, Close } from "~/ui/icons";
import { LongPlain } from "~/ui/Plain";
import { memoryQuery, peopleQuery } from "./queries";
import { nameOf } from "./words";

type Props = { workspace: string; me: string; memory: Memory };

const outcomes: Record<Memory["review"], string | undefined> = {
  proposed: undefined,
  accepted: "Accepted. It’s used from now on.",
  rejected: "Rejected. It isn’t used.",
};

/** A proposed memory. */
export function MemoryCard({ workspace, me, memory }: Props) {
  const queries = useQueryClient();
  const id = useId();
  const card = useRef<HTMLElement>(null);
  const mine = memory.user_id === me;
  const people = useQuery({ ...peopleQuery(workspace), enabled: !mine }).data?.items;
  const review = useMutation({
    mutationFn: (state: "accepted" | "rejected") => reviewMemory(workspace, memory.id, state),
    onSuccess: async (reviewed) => {
      queries.setQueryData(memoryQuery(workspace, memory.id).queryKey, reviewed);
      card.current?.focus({ preventScroll: true });
      tellChanged(workspace, "inbox");
      await queries.invalidateQueries({ queryKey: ["workspace", workspace, "memory"] });
    },
    onError: () => tellChanged(workspace, "inbox"),
  });
  const outcome = memory.redacted_at ? "It was redacted." : outcomes[memory.review];
  return (
    <article
      ref={card}
      tabIndex={-1}
      aria-labelledby={`${id}-title`}
      data-kind="memory"
      data-state={memory.review}
      className={`rounded-2xl border bg-card p-4 outline-offset-4 wide:p-5 ${outcome ? "border-line" : "border-line-strong shadow-lift"}`}
    >
      <header className="flex items-start gap-3">
        <span
          className={`mt-0.5 inline-flex size-8 shrink-0 items-center justify-center rounded-full ${outcome ? "bg-margin text-ink-3" : "bg-accent-soft text-accent"}`}
        >
          <Bookmark size={16} />
        </span>
        <div className="min-w-0 flex-1">
          <h2 id={`${id}-title`} className="leading-snug font-medium">
            {mine ? (
              "Your companion suggests a memory"
            ) : (
              <>
                <bdi>{nameOf(people, memory.user_id, me)}</bdi> suggests a memory in place of a shared one
              </>
            )}
          </h2>
          <p className="mt-0.5 text-sm leading-snug text-ink-3">{when(memory.created_at)}</p>
        </div>
      </header>
      <div className="mt-3 space-y-4">
        <blockquote className="font-serif text-[1.0625rem] leading-relaxed">
          <LongPlain text={memory.text} empty="redacted" />
        </blockquote>
        {memory.taint === "untrusted" && !outcome && (
          <p className="text-sm text-ink-2">It came from an untrusted source.</p>
        )}
        {!outcome && (
          <div className="flex flex-wrap gap-2">
            <Button look="primary" busy={review.isPending} onClick={() => review.mutate("accepted")}>
              Accept
            </Button>
            <Button busy={review.isPending} onClick={() => review.mutate("rejected")}>
              Reject
            </Button>
          </div>
        )}
        {review.error && !outcome && (
          <p role="alert" className="text-sm text-danger">
            {review.error.message}
          </p>
        )}
      </div>
      <p role="status" className={outcome ? "mt-4 flex items-start gap-2 text-ink-2" : "sr-only"}>
        {outcome && (
          <>
            {memory.review === "accepted" ? (
              <Check size={16} className="mt-1 shrink-0 text-accent" />
            ) : (
              <Close size={16} className="mt-1 shrink-0 text-ink-3" />
            )}
            {outcome}
          </>
        )}
      </p>
    </article>
  );
}

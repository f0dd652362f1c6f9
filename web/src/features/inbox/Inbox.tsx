import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type ReactNode, useMemo } from "react";
import type { InboxKind } from "~/api/types";
import { Button } from "~/ui/Button";
import { Tray } from "~/ui/icons";
import { Notice } from "~/ui/Notice";
import { MemoryCard } from "./MemoryCard";
import { agentsQuery, inboxQuery } from "./queries";
import RequestCard, { type Viewer } from "./RequestCard";
import { useKept } from "./useKept";

const kinds: { kind: InboxKind | undefined; label: string }[] = [
  { kind: undefined, label: "All" },
  { kind: "approval", label: "Approvals" },
  { kind: "question", label: "Questions" },
  { kind: "review", label: "Reviews" },
  { kind: "memory", label: "Memories" },
];

type Props = {
  workspace: string;
  me: Viewer;
  kind: InboxKind | undefined;
  onKind: (kind: InboxKind | undefined) => void;
  header: ReactNode;
};

/** All that waits for the person. */
export function Inbox({ workspace, me, kind, onKind, header }: Props) {
  return (
    <>
      {header}
      <div className="scroller min-h-0 flex-1 px-5 pb-16 wide:px-8">
        <div className="mx-auto max-w-2xl pt-2">
          {/* One line, also on a phone: what does not fit is scrolled to. */}
          <fieldset className="relative -mx-5 mb-4 flex min-w-0 gap-1.5 overflow-x-auto px-5 py-1 [scrollbar-width:none] wide:-mx-8 wide:px-8">
            <legend className="sr-only">Show</legend>
            {kinds.map((one) => (
              <label
                key={one.label}
                className="chip shrink-0 cursor-pointer has-checked:border-accent has-checked:bg-accent-soft has-checked:text-ink has-focus-visible:outline-2 has-focus-visible:outline-accent"
              >
                <input
                  type="radio"
                  name="kind"
                  checked={kind === one.kind}
                  onChange={() => onKind(one.kind)}
                  className="sr-only"
                />
                {one.label}
              </label>
            ))}
          </fieldset>
          <List key={kind ?? "all"} workspace={workspace} me={me} kind={kind} />
        </div>
      </div>
    </>
  );
}

function List({ workspace, me, kind }: Pick<Props, "workspace" | "me" | "kind">) {
  const inbox = useInfiniteQuery(inboxQuery(workspace, kind));
  const waiting = useMemo(() => inbox.data?.pages.flatMap((page) => page.items), [inbox.data]);
  const items = useKept(workspace, waiting);
  return (
    <>
      {inbox.isPending && (
        <p role="status" className="text-ink-3">
          Loading…
        </p>
      )}
      {inbox.error && (
        <Notice actions={<Button onClick={() => void inbox.refetch()}>Try again</Button>}>{inbox.error.message}</Notice>
      )}
      {inbox.data && waiting?.length === 0 && items.length === 0 && (
        <Empty workspace={workspace} some={Boolean(kind)} />
      )}
      <ul aria-label="Waiting for you" className="space-y-4">
        {items.map((item) =>
          item.item === "request" ? (
            <li key={item.request.id}>
              <RequestCard workspace={workspace} me={me} request={item.request} />
            </li>
          ) : (
            <li key={item.memory.id}>
              <MemoryCard workspace={workspace} me={me.id} memory={item.memory} />
            </li>
          ),
        )}
      </ul>
      {inbox.hasNextPage && (
        <Button className="mt-5" busy={inbox.isFetchingNextPage} onClick={() => void inbox.fetchNextPage()}>
          Show more
        </Button>
      )}
    </>
  );
}

function Empty({ workspace, some }: { workspace: string; some: boolean }) {
  const agents = useQuery(agentsQuery(workspace)).data?.items;
  const agent = agents?.find((one) => one.kind === "companion_primary")?.name ?? "your companion";
  return (
    <div className="flex flex-col items-center px-4 py-16 text-center short:py-6">
      <span className="inline-flex size-14 items-center justify-center rounded-full bg-margin text-ink-3">
        <Tray size={26} />
      </span>
      <p className="mt-4 font-serif text-xl">
        {some ? "None of these are waiting for you." : "Nothing is waiting for you."}
      </p>
      {!some && (
        <>
          <p className="mt-1.5 max-w-sm leading-relaxed text-ink-2">
            When <bdi>{agent}</bdi> needs a yes or an answer from you, you’ll find it here and in the conversation.
          </p>
          <Link to="/settings/policy" className="mt-3 inline-flex min-h-11 items-center underline underline-offset-2">
            What needs a yes
          </Link>
        </>
      )}
    </div>
  );
}

import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { settleNotice } from "~/api/endpoints";
import type { NoticeAction, PersonalNotice } from "~/api/types";
import { Button } from "~/ui/Button";
import { when } from "~/ui/format";
import { Notice } from "~/ui/Notice";
import { noticesQuery } from "./queries";

type Props = {
  workspace: string;
  header: ReactNode;
  /** Other items that wait for the person, if any. */
  first: ReactNode;
};

/** Replies that recalled a memory which was redacted, for the person who decides about them. */
export function Notices({ workspace, header, first }: Props) {
  const notices = useInfiniteQuery(noticesQuery(workspace));
  const items = notices.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      {header}
      <div className="scroller min-h-0 flex-1 px-5 pb-16 wide:px-8">
        <div className="mx-auto max-w-2xl space-y-6 pt-2">
          {first}
          {notices.isPending && <p className="text-ink-3">Loading…</p>}
          {notices.error && (
            <Notice actions={<Button onClick={() => void notices.refetch()}>Try again</Button>}>
              {notices.error.message}
            </Notice>
          )}
          {notices.data && items.length === 0 && !first && <p className="text-ink-3">Nothing to review.</p>}
          <ul className="divide-y divide-line border-line border-y empty:border-none" aria-label="Notices">
            {items.map((notice) => (
              <Item key={notice.id} workspace={workspace} notice={notice} />
            ))}
          </ul>
          {notices.hasNextPage && (
            <Button busy={notices.isFetchingNextPage} onClick={() => void notices.fetchNextPage()}>
              Show more
            </Button>
          )}
        </div>
      </div>
    </>
  );
}

function Item({ workspace, notice }: { workspace: string; notice: PersonalNotice }) {
  const queries = useQueryClient();
  const settle = useMutation({
    mutationFn: (action: NoticeAction) => settleNotice(workspace, notice.id, action),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["workspace", workspace] }),
  });
  const one = notice.replies.length === 1;
  return (
    <li className="py-4">
      <p>
        A memory that {one ? "this reply" : "these replies"} relied on was redacted {when(notice.created_at)}.
      </p>
      <ul className="mt-2 list-disc space-y-1 pl-5">
        {notice.replies.map((reply) => (
          <li key={reply.run_id}>
            <Link
              to="/chat/$conversationId"
              params={{ conversationId: reply.conversation_id }}
              search={{ message: reply.message_id }}
              className="target inline-flex items-center underline [overflow-wrap:anywhere]"
            >
              {reply.title || "Untitled"}
            </Link>
          </li>
        ))}
      </ul>
      <p className="mt-2 text-sm text-ink-2">Removing can’t be undone. What you wrote stays.</p>
      <div className="mt-3 flex flex-wrap gap-2">
        <Button look="danger" busy={settle.isPending} onClick={() => settle.mutate("blank")}>
          {one ? "Remove reply" : "Remove replies"}
        </Button>
        <Button busy={settle.isPending} onClick={() => settle.mutate("dismiss")}>
          {one ? "Keep reply" : "Keep replies"}
        </Button>
      </div>
      {settle.error && (
        <p role="alert" className="mt-2 text-danger text-sm">
          {settle.error.message}
        </p>
      )}
    </li>
  );
}

import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { noticesQuery } from "./queries";

const useOpen = (workspace: string) =>
  useInfiniteQuery(noticesQuery(workspace)).data?.pages.some((page) => page.items.length > 0) ?? false;

type Props = { workspace: string };

/**
 * Says that there are replies to review; suggested memories are counted by the Inbox. A low window needs the room for the
 * conversation: there only the menu says so.
 */
export function NoticesBanner({ workspace }: Props) {
  if (!useOpen(workspace)) return null;
  return (
    <p className="bg-accent-soft px-4 py-2 text-center text-sm text-ink short:hidden">
      A memory that some replies to you relied on was redacted.{" "}
      <Link to="/settings/notices" className="font-medium underline">
        Review these replies
      </Link>
    </p>
  );
}

/** The same beside a menu entry. */
export function NoticesMark({ workspace }: Props) {
  if (!useOpen(workspace)) return null;
  return <span className="ml-auto rounded-full bg-accent-soft px-2 text-xs leading-5 text-accent">To review</span>;
}

import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { noticesQuery } from "./queries";

const useOpen = (workspace: string) =>
  useInfiniteQuery(noticesQuery(workspace)).data?.pages.some((page) => page.items.length > 0) ?? false;

type Props = {
  workspace: string;
  /** A suggested memory waits for the person. */
  suggested: boolean;
};

/** Says that there is something to review. A low window needs the room for the conversation: there only the menu says so. */
export function NoticesBanner({ workspace, suggested }: Props) {
  const open = useOpen(workspace);
  if (!open && !suggested) return null;
  return (
    <p className="bg-accent-soft px-4 py-2 text-center text-sm text-ink short:hidden">
      {open ? "A memory that some replies to you relied on was redacted." : "A memory was suggested."}{" "}
      <Link to="/settings/notices" className="font-medium underline">
        {open ? "Review these replies" : "Review suggested memories"}
      </Link>
    </p>
  );
}

/** The same beside a menu entry. */
export function NoticesMark({ workspace, suggested }: Props) {
  const open = useOpen(workspace);
  if (!open && !suggested) return null;
  return <span className="ml-auto rounded-full bg-accent-soft px-2 text-xs leading-5 text-accent">To review</span>;
}

import { useInfiniteQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { noticesQuery } from "./queries";

/** Says that there is something to decide, while there is. */
export function NoticesBanner({ workspace }: { workspace: string }) {
  const open = useInfiniteQuery(noticesQuery(workspace)).data?.pages.some((page) => page.items.length > 0);
  if (!open) return null;
  return (
    <p className="bg-accent-soft px-4 py-2 text-center text-sm text-ink">
      A memory that some replies to you relied on was redacted.{" "}
      <Link to="/settings/notices" className="font-medium underline">
        Review these replies
      </Link>
    </p>
  );
}

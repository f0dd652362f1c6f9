import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Tray } from "~/ui/icons";
import { countQuery } from "./queries";

type Props = {
  workspace: string;
  /** Only the icon and the count, for a narrow window. */
  small?: boolean;
  onGo?: () => void;
};

/** The count stops being exact there. */
const MOST = 99;

/** The way to the Inbox, with how much waits there. */
export function InboxLink({ workspace, small = false, onGo }: Props) {
  const waiting = useQuery(countQuery(workspace)).data?.waiting ?? 0;
  const name = waiting > 0 ? `Inbox, ${waiting} waiting` : "Inbox";
  // Drawn, not written: the name says it already.
  const shown = waiting > MOST ? `${MOST}+` : String(waiting);
  if (small) {
    return (
      <Link
        to="/inbox"
        aria-label={name}
        title={name}
        className="target relative inline-flex size-10 shrink-0 items-center justify-center rounded-lg text-ink-2 transition hover:bg-hover hover:text-ink aria-[current=page]:text-accent"
      >
        <Tray />
        {waiting > 0 && (
          <span
            aria-hidden="true"
            data-count={shown}
            className="before:content-[attr(data-count)] absolute top-0.5 right-0 min-w-4.5 rounded-full bg-accent px-1 text-center text-[0.6875rem] leading-4.5 font-semibold text-on-accent"
          ></span>
        )}
      </Link>
    );
  }
  return (
    <Link
      to="/inbox"
      aria-label={name}
      onClick={onGo}
      className="target flex min-h-10 items-center gap-3 rounded-lg px-3 text-[0.9375rem] transition hover:bg-hover aria-[current=page]:bg-hover aria-[current=page]:font-medium"
    >
      <Tray className="text-ink-2" />
      <span className="flex-1">Inbox</span>
      {waiting > 0 && (
        <span
          aria-hidden="true"
          data-count={shown}
          className="before:content-[attr(data-count)] min-w-6 rounded-full bg-accent px-1.5 text-center text-xs leading-5 font-semibold text-on-accent"
        ></span>
      )}
    </Link>
  );
}

import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Bookmark, Leaf } from "~/ui/icons";
import { Popover } from "~/ui/Popover";
import { memoryQuery } from "./queries";
import { Source } from "./Source";

/** How many memories are shown with their text; the rest stand behind one chip. */
const SHOWN = 3;

type Props = { workspace: string; recalled: string[]; remembered: string[] };

/** The memories that a reply rests on, and those that it made. Asked for only once they come into view. */
export function MemoryChips({ workspace, recalled, remembered }: Props) {
  const [seen, setSeen] = useState(false);
  const place = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    if (!place.current) return;
    const watch = new IntersectionObserver(
      (entries) => entries.some((entry) => entry.isIntersecting) && setSeen(true),
      {
        rootMargin: "200px",
      },
    );
    watch.observe(place.current);
    return () => watch.disconnect();
  }, []);

  const rest = recalled.slice(SHOWN);
  return (
    <>
      <span ref={place} className="sr-only" />
      {remembered.map((id) => (
        <MemoryChip key={id} workspace={workspace} id={id} seen={seen} made />
      ))}
      {recalled.slice(0, SHOWN).map((id) => (
        <MemoryChip key={id} workspace={workspace} id={id} seen={seen} />
      ))}
      {rest.length > 0 && (
        <Popover
          name="More memories"
          width={380}
          button={(props) => (
            <button type="button" className="chip" {...props}>
              {rest.length} more {rest.length === 1 ? "memory" : "memories"}
            </button>
          )}
        >
          {() => (
            <ul className="divide-y divide-line">
              {rest.map((id) => (
                <li key={id} className="p-4">
                  <Source workspace={workspace} id={id} />
                </li>
              ))}
            </ul>
          )}
        </Popover>
      )}
    </>
  );
}

function MemoryChip({
  workspace,
  id,
  seen,
  made = false,
}: {
  workspace: string;
  id: string;
  seen: boolean;
  made?: boolean;
}) {
  const memory = useQuery({ ...memoryQuery(workspace, id), enabled: seen });
  const text = memory.data?.text;
  let label: ReactNode = text;
  if (memory.data?.redacted_at) label = "Redacted";
  else if (memory.isError) label = "No longer there";
  else if (text === undefined) label = <span className="inline-block h-3 w-24 animate-pulse rounded-full bg-line" />;
  const what = made ? "Remembered" : "From memory";
  return (
    <Popover
      name={what}
      width={380}
      button={(props) => (
        <button type="button" className="chip" data-memory={made ? "remembered" : "recalled"} {...props}>
          {made ? (
            <Bookmark size={14} className="shrink-0 text-second" />
          ) : (
            <Leaf size={14} className="shrink-0 text-accent" />
          )}
          <span className="sr-only">{what}: </span>
          <span className="max-w-[15rem] truncate">{label}</span>
        </button>
      )}
    >
      {() => (
        <div className="p-4">
          <Source workspace={workspace} id={id} made={made} />
        </div>
      )}
    </Popover>
  );
}

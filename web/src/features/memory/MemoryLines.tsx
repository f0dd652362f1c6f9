import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Bookmark, Leaf } from "~/ui/icons";
import { Popover } from "~/ui/Popover";
import { memoryQuery } from "./queries";
import { Source } from "./Source";

type Props = { workspace: string; me: string; recalled: string[]; remembered: string[] };

/** The memories that a reply made or is based on, one per line; each opens to show its source. */
export function MemoryLines({ workspace, me, recalled, remembered }: Props) {
  return (
    <>
      {remembered.map((id) => (
        <MemoryLine key={id} workspace={workspace} me={me} id={id} made />
      ))}
      {recalled.map((id) => (
        <MemoryLine key={id} workspace={workspace} me={me} id={id} />
      ))}
    </>
  );
}

function MemoryLine({
  workspace,
  me,
  id,
  made = false,
}: Pick<Props, "workspace" | "me"> & { id: string; made?: boolean }) {
  const memory = useQuery(memoryQuery(workspace, id));
  let label: ReactNode = memory.data?.text;
  if (memory.data?.redacted_at) label = "Redacted";
  else if (memory.isError) label = "No longer exists";
  else if (label === undefined) label = <span className="inline-block h-3 w-40 animate-pulse rounded-full bg-line" />;
  const what = made ? "Remembered" : "From memory";
  return (
    <li className="relative">
      <Popover
        name={what}
        width={380}
        button={(props) => (
          <button
            type="button"
            data-memory={made ? "remembered" : "recalled"}
            className="flex min-h-8 w-full items-center gap-2 rounded-md px-2 text-left text-sm text-ink-2 hover:bg-hover hover:text-ink"
            {...props}
          >
            {made ? (
              <Bookmark size={14} className="shrink-0 text-second" />
            ) : (
              <Leaf size={14} className="shrink-0 text-accent" />
            )}
            <span className="sr-only">{what}: </span>
            <span dir="auto" className="line-clamp-2 min-w-0 flex-1 [overflow-wrap:anywhere]">
              {label}
            </span>
          </button>
        )}
      >
        {(close) => (
          <div className="p-4">
            <Source workspace={workspace} me={me} id={id} made={made} onGo={close} />
          </div>
        )}
      </Popover>
    </li>
  );
}

import { Button } from "~/ui/Button";
import { Onward, Stop } from "~/ui/icons";
import { Mark } from "~/ui/Mark";
import type { Asked } from "./asked";
import type { LiveReply } from "./stream/fold";
import type { OpenRun } from "./useConversation";

/** Brings the card into view, and the keyboard to it. */
function show(id: string) {
  const card = document.getElementById(`request-${id}`);
  card?.scrollIntoView({ block: "center" });
  card?.focus({ preventScroll: true });
}

function Pill({ asked }: { asked: Asked[] }) {
  const [first] = asked;
  const words = asked.some((one) => one.mine) ? "Waiting for you" : "Waiting for an owner";
  if (!first) return <span className="chip">{words}</span>;
  return (
    <button type="button" className="chip border-accent bg-accent-soft text-ink" onClick={() => show(first.id)}>
      <span aria-hidden="true" className="size-1.5 rounded-full bg-accent" />
      {words}
    </button>
  );
}

type Props = {
  run: OpenRun;
  /** What it asks. */
  asked: Asked[];
  /** The companion's name, where no reply above has it. */
  name?: string;
  busy: boolean;
  onResume: () => void;
  onStop: () => void;
};

/** Whether a run that waits does so until it is resumed. */
export const isPaused = ({ wait, pauseRequested }: LiveReply): boolean =>
  wait !== undefined && (pauseRequested || wait.requests.length === 0);

/** Below what a run that waits has said and asks. */
export function WaitLine({ run, asked, name, busy, onResume, onStop }: Props) {
  const { wait } = run.live;
  const paused = isPaused(run.live);
  return (
    <div className={`flex flex-wrap items-center gap-2 text-sm text-ink-2 ${name ? "" : "-mt-4"}`}>
      {name && (
        // A line of its own where there is little room: a button is not left alone on the next.
        <span className="flex min-w-0 basis-full items-center gap-2 wide:mr-1 wide:basis-auto">
          <Mark size={20} />
          <span dir="auto" className="min-w-0 font-medium [overflow-wrap:anywhere]">
            {name}
          </span>
        </span>
      )}
      {wait && wait.requests.length > 0 && <Pill asked={asked} />}
      {paused && <span className="chip">Paused</span>}
      {paused && (
        <Button busy={busy} onClick={onResume}>
          <Onward /> Resume
        </Button>
      )}
      <Button look="bare" disabled={busy} onClick={onStop}>
        <Stop size={16} /> Stop
      </Button>
    </div>
  );
}

/** Above the composer: the conversation has moved on from a reply that still waits. */
export function WaitsElsewhere({ asked }: { asked: Asked[] }) {
  if (asked.length === 0) return null;
  return (
    <div className="mx-auto flex w-full max-w-[44rem] justify-center px-4 pb-2">
      <Pill asked={asked} />
    </div>
  );
}

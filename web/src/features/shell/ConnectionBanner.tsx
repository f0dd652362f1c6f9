import { useReachability } from "~/api/reachability";

/** Says that Duet is unreachable, until it is back. */
export function ConnectionBanner() {
  const state = useReachability();
  return (
    <div
      role="status"
      className={state === "lost" ? "bg-caution-soft px-4 py-2 text-center text-sm text-caution" : undefined}
    >
      {state === "lost" && "Connection lost. Reconnecting… Nothing you wrote is lost."}
    </div>
  );
}

import { useEffect, useRef } from "react";
import type { Problem } from "~/api/http";
import { useReachability } from "~/api/reachability";
import { Notice } from "~/ui/Notice";

/** Says that a message could not be sent, in its place in the conversation. */
export function NotSent({ problem }: { problem: Problem }) {
  const back = useReachability() === "reached" && problem.lost;
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    place.current?.scrollIntoView({ block: "nearest" });
  }, []);
  return (
    <div ref={place}>
      <Notice>
        <strong className="font-semibold">Not sent.</strong> {back ? "Duet can be reached again." : problem.message}
        {problem.lost && !back ? "" : " Your text is still below."}
      </Notice>
    </div>
  );
}

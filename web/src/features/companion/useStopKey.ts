import { useEffect } from "react";

/** Esc stops the reply, unless an open panel uses Esc. */
export function useStopKey(running: boolean, stop: () => void) {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector(":popover-open, dialog[open]"))
        return;
      if (running) stop();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, [running, stop]);
}

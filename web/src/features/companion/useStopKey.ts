import { useEffect } from "react";

/** Esc stops the reply, as long as no panel is open that takes Esc for itself. */
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

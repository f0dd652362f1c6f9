import { useEffect, useId, useRef } from "react";
import { Button } from "~/ui/Button";

type Props = {
  question: string;
  /** The consequences. */
  detail: string;
  /** The verb on the button. */
  yes: string;
  busy: boolean;
  onYes: () => void;
  onNo: () => void;
};

/** Asks for confirmation, in place of the button, before an action that the person cannot undo alone. */
export function Confirm({ question, detail, yes, busy, onYes, onNo }: Props) {
  const id = useId();
  const no = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    no.current?.focus();
  }, []);
  return (
    <div
      role="alertdialog"
      aria-labelledby={`${id}-question`}
      aria-describedby={`${id}-detail`}
      className="rise mt-4 rounded-xl bg-danger-soft p-4"
      onKeyDown={(event) => event.key === "Escape" && onNo()}
    >
      <p id={`${id}-question`} className="font-medium">
        {question}
      </p>
      <p id={`${id}-detail`} className="mt-1 leading-relaxed text-ink-2">
        {detail}
      </p>
      <div className="mt-3 flex gap-2">
        <Button look="danger" onClick={onYes} busy={busy}>
          {yes}
        </Button>
        <Button ref={no} look="bare" onClick={onNo} disabled={busy}>
          Cancel
        </Button>
      </div>
    </div>
  );
}

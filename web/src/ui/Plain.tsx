import { type ReactNode, useState } from "react";
import { pieces } from "./plain";

/** A text exactly as it is: what would not be seen is shown by its name. */
export function Plain({ text }: { text: string }) {
  return pieces(text).map((piece, index) =>
    "hidden" in piece ? (
      <span
        // biome-ignore lint/suspicious/noArrayIndexKey: pieces of one text, which have no state.
        key={index}
        className="mx-px rounded bg-caution-soft px-1 font-mono text-[0.8em] text-caution"
        title="An invisible character"
      >
        {piece.hidden}
      </span>
    ) : (
      piece.text
    ),
  );
}

/** Texts longer than this open on demand. */
const LONG = 480;
const LINES = 10;

/** Where to cut a text that is too long to show whole. */
function cut(text: string): string | undefined {
  const lines = text.split("\n");
  const short = lines.length > LINES ? lines.slice(0, LINES).join("\n") : text;
  const characters = [...short];
  if (characters.length > LONG) return characters.slice(0, LONG).join("");
  return short.length < text.length ? short : undefined;
}

/** The same for a text of any length. */
export function LongPlain({ text, empty = "empty" }: { text: string; empty?: string }): ReactNode {
  const [open, setOpen] = useState(false);
  const short = cut(text);
  if (!text) return <span className="text-ink-3 italic">{empty}</span>;
  return (
    <>
      <span dir="auto" className="block whitespace-pre-wrap [overflow-wrap:anywhere]">
        <Plain text={short !== undefined && !open ? `${short}…` : text} />
      </span>
      {short !== undefined && (
        <button
          type="button"
          aria-expanded={open}
          onClick={() => setOpen(!open)}
          className="-ml-1.5 mt-0.5 min-h-7 rounded-md px-1.5 text-sm text-accent hover:bg-hover"
        >
          {open ? "Show less" : `Show all ${[...text].length.toLocaleString()} characters`}
        </button>
      )}
    </>
  );
}

import { codeIn, reasonFor } from "./reasons";

/** Why a reply failed or is not whole. */
export function Reason({ text, owner }: { text: string; owner: boolean }) {
  return codeIn(reasonFor(text, owner)).map(({ text, code }, index) =>
    code ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one text, which have no state.
      <code key={index} className="font-mono text-[0.9em]">
        {text}
      </code>
    ) : (
      text
    ),
  );
}

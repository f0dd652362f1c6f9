/** A piece of a text: characters as they are, or one that would not be seen, by its name. */
export type Piece = { text: string } | { hidden: string };

/**
 * Characters that are not seen, or that change the order in which others are: controls, directions, joiners, fillers, tags,
 * and code points that mean nothing. Line ends and tabs are seen.
 */
const HIDDEN =
  /\u034f|[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]|[\u180b-\u180f]|[\ufe00-\ufe0f]|[\u{e0100}-\u{e01ef}]/u;
const SEEN = new Set(["\n", "\t"]);
const PICTURE = /^[\p{Extended_Pictographic}\p{Emoji_Modifier}]$/u;
const [JOINER, AS_PICTURE, KEYCAP] = ["\u200d", "\ufe0f", "\u20e3"];

const codeOf = (character: string) =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;

/** Whether the character is part of one emoji: it says "as a picture", or joins two pictures. */
function joins(characters: string[], at: number): boolean {
  const character = characters[at];
  const before = characters[at - 1] ?? "";
  if (character === AS_PICTURE) return PICTURE.test(before) || characters[at + 1] === KEYCAP;
  const pictured = before === AS_PICTURE ? (characters[at - 2] ?? "") : before;
  return character === JOINER && PICTURE.test(pictured) && PICTURE.test(characters[at + 1] ?? "");
}

/** Splits a text so that nothing in it goes unseen. Joined again, with each name as its character, it is the same text. */
export function pieces(text: string): Piece[] {
  const characters = [...text.replaceAll("\r\n", "\n")];
  const all: Piece[] = [];
  let run = "";
  for (const [at, character] of characters.entries()) {
    if (!HIDDEN.test(character) || SEEN.has(character) || joins(characters, at)) {
      run += character;
      continue;
    }
    if (run) all.push({ text: run });
    run = "";
    all.push({ hidden: codeOf(character) });
  }
  if (run) all.push({ text: run });
  return all;
}

/** The names of a text's hidden characters, each once. */
export const hiddenIn = (text: string): string[] => [
  ...new Set(pieces(text).flatMap((piece) => ("hidden" in piece ? [piece.hidden] : []))),
];

/** The same in places that take only text, such as the options of a select. */
export const plainText = (text: string): string =>
  pieces(text)
    .map((piece) => ("hidden" in piece ? `⟨${piece.hidden}⟩` : piece.text))
    .join("");

/** A part of a text, and whether it matches the search. */
export type Part = { text: string; match: boolean };

/** Lower case without accents, with one character per character, so that positions in both agree. */
const plain = (text: string) => [...text].map((letter) => [...letter.normalize("NFD").toLowerCase()][0] ?? letter);

const inWord = (letter: string | undefined) => letter !== undefined && /[\p{L}\p{N}]/u.test(letter);

/** Splits a text at the searched words. A word matches at the start of a word of the text. */
export function matches(text: string, query: string): Part[] {
  const letters = [...text];
  const folded = plain(text);
  const words = query
    .split(/[^\p{L}\p{N}]+/u)
    .filter(Boolean)
    .map(plain);
  const parts: Part[] = [];
  const add = (part: string, match: boolean) => {
    const last = parts.at(-1);
    if (last?.match === match) last.text += part;
    else parts.push({ text: part, match });
  };
  for (let place = 0; place < letters.length; ) {
    const found = inWord(folded[place - 1])
      ? []
      : words
          .filter((word) => word.every((letter, index) => folded[place + index] === letter))
          .sort((a, b) => b.length - a.length);
    const length = found[0]?.length ?? 0;
    add(letters.slice(place, place + Math.max(length, 1)).join(""), length > 0);
    place += Math.max(length, 1);
  }
  return parts;
}

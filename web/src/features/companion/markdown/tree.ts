import { Lexer, type MarkedOptions, type Token, type TokenizerThis } from "marked";

/** A reference to a footnote in the text. */
export type NoteRef = {
  type: "noteRef";
  raw: string;
  label: string /** A later reference to the same footnote. */;
  again?: boolean;
};
/** The content of a footnote. */
export type Note = { type: "note"; raw: string; label: string; tokens: Token[] };

export type Tree = {
  blocks: Token[];
  /** The referenced footnotes, in the order of their first reference. */
  notes: Note[];
};

/** More levels of nested quotes, lists or emphasis than any person writes. */
const DEEPEST = 32;

/**
 * Text built to nest deeply or to parse slowly: more markers in a row than `DEEPEST` levels need, an indent deeper than any list,
 * hundreds of the same mark in a row.
 */
const hostile = new RegExp(
  `^(?:[ \\t]*(?:>|[-*+][ \\t]|\\d{1,9}[.)][ \\t])){${DEEPEST}}|^[ \\t]{200,}(?:[-*+>]|\\d{1,9}[.)])|([*_~])\\1{199}`,
  "m",
);

const NOTE = /^\[\^([^\]\s]{1,80})\]:[ \t]*([^\n]*(?:\n+(?: {2,}|\t)[^\n]+|\n(?![ \t]|\[\^)[^\n]+)*)(?:\n+|$)/;
const NOTE_REF = /^\[\^([^\]\s]{1,80})\]/;

function note(this: TokenizerThis, raw: string): Note | undefined {
  const [whole = "", label = "", text = ""] = NOTE.exec(raw) ?? [];
  return whole
    ? { type: "note", raw: whole, label, tokens: this.lexer.blockTokens(text.replace(/^[ \t]+/gm, "")) }
    : undefined;
}

function noteRef(this: TokenizerThis, raw: string): NoteRef | undefined {
  const [whole = "", label = ""] = NOTE_REF.exec(raw) ?? [];
  return whole ? { type: "noteRef", raw: whole, label } : undefined;
}

const at = (place: number) => (place < 0 ? undefined : place);

const options: MarkedOptions = {
  gfm: true,
  breaks: false,
  extensions: {
    renderers: {},
    childTokens: {},
    block: [note],
    inline: [noteRef],
    startBlock: [(text) => at(text.search(/^\[\^[^\]\s]+\]:/m))],
    startInline: [(text) => at(text.indexOf("[^"))],
  },
};

/**
 * Markdown as a tree, or nothing if the text is built to overwhelm the reader: then it is shown as plain text. Only the lexer
 * of `marked` is used, never its HTML output.
 */
export function tree(text: string): Tree | undefined {
  if (hostile.test(text)) return undefined;
  try {
    const all = Lexer.lex(text, options).filter((token) => token.type !== "space");
    const blocks = all.filter((token) => token.type !== "note");
    const labels = references(blocks, new Set());
    if (!labels) return undefined;
    const said = new Map(all.filter((token): token is Note => token.type === "note").map((one) => [one.label, one]));
    const notes = [...labels].flatMap((label) => said.get(label) ?? []);
    return notes.every(({ tokens }) => references(tokens, labels)) ? { blocks, notes } : undefined;
  } catch (error) {
    // The lexer recurses for each level.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Adds the referenced footnotes, in order, to the known ones; returns nothing if the tree is too deep. */
function references(tokens: Token[], labels: Set<string>): Set<string> | undefined {
  const look = (token: Token, depth: number): boolean => {
    if (depth > 2 * DEEPEST) return false;
    if (token.type === "noteRef") {
      const reference = token as NoteRef;
      reference.again = labels.has(reference.label);
      labels.add(reference.label);
    }
    return below(token).every((one) => look(one, depth + 1));
  };
  return tokens.every((token) => look(token, 0)) ? labels : undefined;
}

/** The tokens inside a token. */
function below(token: Token): Token[] {
  if (token.type === "list") return (token as { items: Token[] }).items;
  if (token.type === "table") {
    const { header, rows } = token as { header: { tokens: Token[] }[]; rows: { tokens: Token[] }[][] };
    return [header, ...rows].flat().flatMap((cell) => cell.tokens);
  }
  return ("tokens" in token && token.tokens) || [];
}

/** The address of a link, if it is safe to follow. */
export function safeHref(href: string): string | undefined {
  try {
    const url = new URL(href);
    return ["https:", "http:", "mailto:"].includes(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}

const named: Record<string, string> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\u00a0",
  hellip: "…",
  mdash: "—",
  ndash: "–",
  copy: "©",
  euro: "€",
};

/** The characters for entities, which the lexer leaves as written. */
export function decode(text: string): string {
  return text.replace(/&(#x[\da-f]{1,6}|#\d{1,7}|[a-z]+);/gi, (whole, name: string) => {
    if (name[0] !== "#") return named[name.toLowerCase()] ?? whole;
    const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number.parseInt(name.slice(1), 10);
    return code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : whole;
  });
}

import { Lexer, type Token } from "marked";

/** Markdown as blocks. Only the lexer of `marked` is used: its HTML output never is. */
export function blocks(text: string): Token[] {
  return Lexer.lex(text, { gfm: true, breaks: false }).filter((token) => token.type !== "space");
}

/** The address of a link, if it is one that a person can be sent to. */
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

/** The characters that entities stand for. The lexer leaves them as they were written. */
export function decode(text: string): string {
  return text.replace(/&(#x[\da-f]{1,6}|#\d{1,7}|[a-z]+);/gi, (whole, name: string) => {
    if (name[0] !== "#") return named[name.toLowerCase()] ?? whole;
    const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number.parseInt(name.slice(1), 10);
    return code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : whole;
  });
}

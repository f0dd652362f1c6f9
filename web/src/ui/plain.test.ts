import { describe, expect, it } from "vitest";
import { hiddenIn, pieces } from "./plain";

describe("a text shown as it is", () => {
  it("names what turns the reading order or is not seen", () => {
    expect(pieces("pay \u202ejpg.exe\u202c now")).toEqual([
      { text: "pay " },
      { hidden: "U+202E" },
      { text: "jpg.exe" },
      { hidden: "U+202C" },
      { text: " now" },
    ]);
    const hidden = [
      "\u200b", // zero-width space
      "\u200c", // zero-width non-joiner
      "\u200f", // right-to-left mark
      "\u2066", // isolate
      "\u2060", // word joiner
      "\ufeff", // byte order mark
      "\u00ad", // soft hyphen
      "\u061c", // Arabic letter mark
      "\u0000",
      "\u001b", // escape
      "\u2028",
      "\u3164", // Hangul filler
      "\u2800", // braille blank
      "\u{e0041}", // tag
      "\u{e0100}", // variation selector
      "\ue000", // private use
      "\ud800", // half of a pair
    ];
    for (const one of hidden) expect(hiddenIn(`a${one}b`), JSON.stringify(one)).toHaveLength(1);
    expect(hiddenIn(hidden.join("a"))).toHaveLength(hidden.length);
  });

  it("leaves lines, other scripts and emoji alone", () => {
    for (const text of [
      "one\ntwo\tthree\r\n",
      "שלום, مرحبا, Ελλάδα, नमस्ते, 日本",
      "👩‍👩‍👧 ❤️ 👍🏽 1️⃣ 🏳️‍🌈 é e\u0301",
      "a\u00a0b – “c” …",
    ]) {
      expect(hiddenIn(text), text).toEqual([]);
    }
  });

  it("loses nothing", () => {
    const text = "a\u200bb\u202e\u202ec👩‍👧\u200d";
    const again = pieces(text).map((piece) =>
      "hidden" in piece ? String.fromCodePoint(Number.parseInt(piece.hidden.slice(2), 16)) : piece.text,
    );
    expect(again.join("")).toBe(text);
  });
});

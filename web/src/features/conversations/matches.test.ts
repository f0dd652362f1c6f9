import { describe, expect, it } from "vitest";
import { matches } from "./matches";

const marked = (text: string, query: string) =>
  matches(text, query)
    .map((part) => (part.match ? `[${part.text}]` : part.text))
    .join("");

describe("the matches of a search", () => {
  it("are marked, whatever their case and accents, also where a word only begins with them", () => {
    expect(marked("The Café by the lake, lakeside", "cafe LAKE")).toBe("The [Café] by the [lake], [lake]side");
  });

  it("are words, not parts inside of others", () => {
    expect(marked("An art of party", "art")).toBe("An [art] of party");
  });

  it("take the longest word, and leave the text whole", () => {
    expect(marked("harbourmaster", "harbour harbourmaster")).toBe("[harbourmaster]");
    for (const text of ["", "😀 smile", "ﬁne İstanbul ß"]) expect(marked(text, "zeppelin")).toBe(text);
  });

  it("are none where there are no words", () => {
    expect(marked("a * b", "* ( )")).toBe("a * b");
  });
});

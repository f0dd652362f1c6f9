import { describe, expect, it } from "vitest";
import { edited, editedJson, editFields, rowsOf, same } from "./arguments";

describe("the arguments of a call", () => {
  it("are rows in words, with rows inside", () => {
    expect(
      rowsOf({ text: "Hi", shared: true, count: 3, none: null, to: ["a", "b"], at: { place: "Rome" }, empty: [] }),
    ).toEqual([
      { name: "text", value: { kind: "text", text: "Hi" } },
      { name: "shared", value: { kind: "word", word: "Yes" } },
      { name: "count", value: { kind: "word", word: "3" } },
      { name: "none", value: { kind: "none", word: "Nothing" } },
      {
        name: "to",
        value: {
          kind: "list",
          items: [
            { kind: "text", text: "a" },
            { kind: "text", text: "b" },
          ],
        },
      },
      { name: "at", value: { kind: "rows", rows: [{ name: "place", value: { kind: "text", text: "Rome" } }] } },
      { name: "empty", value: { kind: "none", word: "None" } },
    ]);
  });

  it("begin with the text", () => {
    expect(rowsOf({ due_at: "May", kind: "fact", text: "Hi" }).map(({ name }) => name)).toEqual([
      "text",
      "due at",
      "kind",
    ]);
    expect(editFields({ kind: "fact", text: "Hi" }).map(({ name }) => name)).toEqual(["text", "kind"]);
  });

  it("are shown as JSON where they are too deep for rows", () => {
    const [row] = rowsOf({ a: { b: { c: { d: 1 } } } });
    expect(JSON.stringify(row)).toContain('{\\"d\\"'.replace("{", "{\\n  "));
  });

  it("are the same after an edit that changes nothing", () => {
    const value = { text: "a\u200bb", count: -2.5, shared: false, supersedes: null, list: [1, { a: "b" }] };
    expect(edited(editFields(value))).toEqual({ value });
    expect(editedJson(JSON.stringify(value))).toEqual({ value });
  });

  it("say by field what an edit gets wrong", () => {
    const result = edited([
      { name: "count", kind: "number", entered: "many" },
      { name: "size", kind: "number", entered: "9007199254740994" },
      { name: "list", kind: "json", entered: "[1," },
      { name: "text", kind: "text", entered: "" },
    ]);
    expect(result).toEqual({
      errors: new Map([
        ["count", "Enter a number."],
        ["size", "This number is too large."],
        ["list", "This is not valid JSON."],
      ]),
    });
    expect(editedJson("[1]")).toEqual({ error: "This must be an object: { … }." });
    expect(editedJson("{")).toEqual({ error: "This is not valid JSON." });
  });

  it("may have a field of any name", () => {
    const value = JSON.parse('{"__proto__":"x","constructor":"y"}');
    const result = edited(editFields(value));
    expect("value" in result && JSON.stringify(result.value)).toBe('{"__proto__":"x","constructor":"y"}');
  });

  it("have numbers that can be read in one way only", () => {
    for (const odd of ["1,000", "1.000,5", "0x10", "", " ", "Infinity", "1e999", "--1"]) {
      expect(edited([{ name: "n", kind: "number", entered: odd }]), odd).toHaveProperty("errors");
    }
    expect(edited([{ name: "n", kind: "number", entered: " 1e3 " }])).toEqual({ value: { n: 1000 } });
  });

  it("are compared without regard to the order of their fields", () => {
    expect(same({ a: 1, b: [{ c: null, d: 2 }] }, { b: [{ d: 2, c: null }], a: 1 })).toBe(true);
    expect(same({ a: [1, 2] }, { a: [2, 1] })).toBe(false);
    expect(same({ a: 1 }, { a: 1, b: 1 })).toBe(false);
    expect(same({ a: 1 }, { a: "1" })).toBe(false);
  });
});

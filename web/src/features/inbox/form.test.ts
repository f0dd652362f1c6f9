import { describe, expect, it } from "vitest";
import { day } from "~/ui/format";
import { answeredRows, answersOf, formOf } from "./form";

const asked = {
  question: "Which day, how many, by train, and where to?",
  fields: [
    { name: "day", label: "Day", kind: "date" },
    { name: "people", label: "People", kind: "number" },
    { name: "train", label: "By train?", kind: "yes_no" },
    { name: "place", label: "Place", kind: "choice", options: ["Rome", "Oslo"] },
    { name: "note", label: "Note", kind: "text", optional: true },
  ],
};

describe("the form of a question", () => {
  it("has the fields that were asked for", () => {
    const { question, fields } = formOf(asked);
    expect(question).toBe(asked.question);
    expect(fields.map(({ kind, optional }) => [kind, optional])).toEqual([
      ["date", false],
      ["number", false],
      ["yes_no", false],
      ["choice", false],
      ["text", true],
    ]);
    expect(fields[3]?.options).toEqual(["Rome", "Oslo"]);
  });

  it("is shown with its labels, in its order, once it is answered", () => {
    const rows = answeredRows(formOf(asked).fields, { place: "Oslo", day: "2026-12-24", train: true });
    expect(rows.map(({ name }) => name)).toEqual(["Day", "By train?", "Place"]);
  });

  it("shows a date as the page writes all dates, and what is no date as it is", () => {
    const shown = (answer: string) => answeredRows(formOf(asked).fields, { day: answer })[0]?.value;
    const text = day("2026-12-24");
    expect(text).toContain("2026");
    expect(text).not.toContain("-");
    expect(shown("2026-12-24")).toEqual({ kind: "text", text });
    for (const odd of ["2026-02-31", "soon", "2026-12-24\u200b"])
      expect(shown(odd)).toEqual({ kind: "text", text: odd });
  });

  it("is one answer in words where none were, or what is stored cannot be read", () => {
    const free = [{ name: "answer", label: "Your answer", kind: "text", options: [], optional: false }];
    for (const odd of [
      { question: "Why?", fields: [] },
      { question: "Why?" },
      null,
      "x",
      { fields: [3, { label: "a" }] },
    ])
      expect(formOf(odd).fields).toEqual(free);
    expect(formOf({ question: "x", fields: [{ name: "a", kind: "colour" }] }).fields).toEqual([
      { name: "a", label: "a", kind: "text", options: [], optional: false },
    ]);
  });

  it("gives answers of the right kind, and leaves out what is optional and empty", () => {
    const entered = { day: "2026-05-09", people: "3", train: "no", place: "Oslo", note: "  " };
    expect(answersOf(formOf(asked).fields, new Map(Object.entries(entered)))).toEqual({
      answers: { day: "2026-05-09", people: 3, train: false, place: "Oslo" },
    });
  });

  it("may have a field of any name", () => {
    const { fields } = formOf({ fields: [{ name: "__proto__", label: "Odd", kind: "text" }] });
    expect(answersOf(fields, new Map())).toHaveProperty("errors");
    const result = answersOf(fields, new Map([["__proto__", "x"]]));
    expect(JSON.stringify(result)).toBe('{"answers":{"__proto__":"x"}}');
  });

  it("says by field what is missing or wrong", () => {
    const entered = { day: "tomorrow", people: "few", note: "x".repeat(4097) };
    expect(answersOf(formOf(asked).fields, new Map(Object.entries(entered)))).toEqual({
      errors: new Map(
        Object.entries({
          day: "Enter a date.",
          people: "Enter a number.",
          train: "Choose yes or no.",
          place: "Choose one.",
          note: "This answer is too long.",
        }),
      ),
    });
  });
});

import { day } from "~/ui/format";
import { type Errors, type Json, numberOf, objectOf, type Row, rowsOf } from "./arguments";

/** The form of a question, as `ask_user` describes it: flat, at most eight fields. */

const KINDS = ["text", "number", "choice", "yes_no", "date"] as const;
export type FieldKind = (typeof KINDS)[number];
export type FormField = { name: string; label: string; kind: FieldKind; options: string[]; optional: boolean };
export type Form = { question: string; fields: FormField[] };

/** The name of the answer where a question has no fields. */
export const ANSWER = "answer";

const free: FormField = { name: ANSWER, label: "Your answer", kind: "text", options: [], optional: false };

const textOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");

/** Reads the form from what is stored with the request. */
export function formOf(asked: unknown): Form {
  const { question, fields } = objectOf(asked) ?? {};
  const read = Array.isArray(fields) ? fields.flatMap(fieldOf) : [];
  return { question: textOf(question), fields: read.length > 0 ? read : [free] };
}

function fieldOf(value: Json): FormField[] {
  const field = objectOf(value);
  const name = textOf(field?.name);
  if (!field || !name) return [];
  const options = Array.isArray(field.options) ? field.options.map(textOf).filter(Boolean) : [];
  const kind = KINDS.find((one) => one === field.kind) ?? "text";
  return [{ name, label: textOf(field.label) || name, kind, options, optional: field.optional === true }];
}

/** The answers that were given, by the labels of their fields and in the form’s order. */
export const answeredRows = (fields: FormField[], answers: { [name: string]: Json }): Row[] =>
  fields.flatMap(({ name, label, kind }) => {
    if (!Object.hasOwn(answers, name)) return [];
    const answer = answers[name] as Json;
    const shown = kind === "date" && typeof answer === "string" ? day(answer) : answer;
    return rowsOf({ [name]: shown }).map((row) => ({ ...row, name: label }));
  });

type Answer = string | number | boolean;
type Answers = { answers: Record<string, Answer> } | { errors: Errors };

/** The answers as entered, or what is wrong, by field. An optional field that is empty is left out. */
export function answersOf(fields: FormField[], entered: ReadonlyMap<string, string>): Answers {
  const answers = new Map<string, Answer>();
  const errors = new Map<string, string>();
  for (const field of fields) {
    const text = entered.get(field.name) ?? "";
    if (!text.trim()) {
      if (!field.optional) errors.set(field.name, missing[field.kind]);
      continue;
    }
    const read = readAnswer(field.kind, text);
    if ("error" in read) errors.set(field.name, read.error);
    else answers.set(field.name, read.answer);
  }
  return errors.size > 0 ? { errors } : { answers: Object.fromEntries(answers) };
}

function readAnswer(kind: FieldKind, text: string): { answer: Answer } | { error: string } {
  if (kind === "yes_no") return { answer: text === "yes" };
  if (kind === "number") {
    const number = numberOf(text);
    return typeof number === "number" ? { answer: number } : { error: number };
  }
  if (kind === "date" && !/^\d{4}-\d{2}-\d{2}$/.test(text)) return { error: missing.date };
  return tooLong(text) ? { error: "This answer is too long." } : { answer: text };
}

/** Whether a text is beyond the API's limit for one answer or reason. */
export const tooLong = (text: string): boolean => new TextEncoder().encode(text).length > MOST;

/** The API's limit for one answer, in bytes. */
const MOST = 4096;

const missing: Record<FieldKind, string> = {
  text: "This needs an answer.",
  number: "Enter a number.",
  choice: "Choose one.",
  yes_no: "Choose yes or no.",
  date: "Enter a date.",
};

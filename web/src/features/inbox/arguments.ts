/** The arguments of a call: rows to read, and fields to edit. Both come from what is stored with the request. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A row: a name and a value, which can have rows of its own. */
export type Row = { name: string; value: Value };
export type Value =
  | { kind: "text"; text: string }
  | { kind: "word"; word: string }
  | { kind: "none"; word: string }
  | { kind: "list"; items: Value[] }
  | { kind: "rows"; rows: Row[] };

/** Deeper values are shown as JSON. */
const DEEPEST = 3;

const isObject = (value: unknown): value is { [name: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The arguments as the API gives them: an object, unless they were redacted. */
export const objectOf = (value: unknown): { [name: string]: Json } | undefined => (isObject(value) ? value : undefined);

/** The fields, the text first: it says best what a call is about. */
const entriesOf = (value: { [name: string]: Json }) =>
  Object.entries(value).sort(([one], [other]) => Number(other === "text") - Number(one === "text"));

export function rowsOf(value: { [name: string]: Json }, depth = 1): Row[] {
  return entriesOf(value).map(([name, one]) => ({ name: name.replaceAll("_", " "), value: valueIn(one, depth) }));
}

function valueIn(value: Json, depth: number): Value {
  if (typeof value === "string") return { kind: "text", text: value };
  if (typeof value === "boolean") return { kind: "word", word: value ? "Yes" : "No" };
  if (typeof value === "number") return { kind: "word", word: String(value) };
  if (value === null) return { kind: "none", word: "Nothing" };
  if (depth >= DEEPEST) return { kind: "text", text: JSON.stringify(value, null, 2) };
  if (Array.isArray(value)) {
    return value.length === 0
      ? { kind: "none", word: "None" }
      : { kind: "list", items: value.map((one) => valueIn(one, depth + 1)) };
  }
  const rows = rowsOf(value, depth + 1);
  return rows.length === 0 ? { kind: "none", word: "None" } : { kind: "rows", rows };
}

/** A field of the editor. What is neither text, number nor yes or no is edited as JSON. */
export type EditField = { name: string; kind: "text" | "number" | "yes_no" | "json"; entered: string };

export function editFields(value: { [name: string]: Json }): EditField[] {
  return entriesOf(value).map(([name, one]) => {
    if (typeof one === "string") return { name, kind: "text", entered: one };
    if (typeof one === "number") return { name, kind: "number", entered: String(one) };
    if (typeof one === "boolean") return { name, kind: "yes_no", entered: one ? "yes" : "no" };
    return { name, kind: "json", entered: JSON.stringify(one, null, 2) };
  });
}

/** By field; a field may have any name. */
export type Errors = ReadonlyMap<string, string>;

type Edited = { value: { [name: string]: Json } } | { errors: Errors };

/** The arguments as edited, or what is wrong, by field. */
export function edited(fields: EditField[]): Edited {
  const read = fields.map(({ name, kind, entered }) => ({ name, ...readField(kind, entered) }));
  const errors = new Map(read.flatMap((one) => ("error" in one ? [[one.name, one.error]] : [])));
  if (errors.size > 0) return { errors };
  return { value: Object.fromEntries(read.flatMap((one) => ("value" in one ? [[one.name, one.value]] : []))) };
}

function readField(kind: EditField["kind"], entered: string): { value: Json } | { error: string } {
  if (kind === "text") return { value: entered };
  if (kind === "yes_no") return { value: entered === "yes" };
  if (kind === "number") {
    const number = numberOf(entered);
    return typeof number === "number" ? { value: number } : { error: number };
  }
  return readJson(entered);
}

/** A number, or what is wrong with it. */
export function numberOf(entered: string): number | string {
  const number = Number(entered);
  if (!/^\s*-?\d+(\.\d+)?(e[+-]?\d+)?\s*$/i.test(entered) || !Number.isFinite(number)) return "Enter a number.";
  // The API keeps whole numbers only as exactly as this.
  if (Number.isInteger(number) && Math.abs(number) > 2 ** 53) return "This number is too large.";
  return number;
}

function readJson(entered: string): { value: Json } | { error: string } {
  try {
    return { value: JSON.parse(entered) as Json };
  } catch {
    return { error: "This is not valid JSON." };
  }
}

/** All arguments, edited as one JSON object. */
export function editedJson(entered: string): { value: { [name: string]: Json } } | { error: string } {
  const read = readJson(entered);
  if ("error" in read) return read;
  return isObject(read.value) ? { value: read.value } : { error: "This must be an object: { … }." };
}

/** Whether two arguments are the same, in whatever order their fields are. */
export function same(one: Json, other: Json): boolean {
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((item, at) => same(item, other[at] as Json));
  }
  if (isObject(one) && isObject(other)) {
    const names = Object.keys(one);
    return (
      names.length === Object.keys(other).length &&
      names.every((name) => Object.hasOwn(other, name) && same(one[name] as Json, other[name] as Json))
    );
  }
  return one === other;
}

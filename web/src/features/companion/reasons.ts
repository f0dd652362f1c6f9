/** Names a setting of Duet's configuration. */
const SETTING = /`[a-z_]+(\.[\w-]+)+`/;

/**
 * Why a reply failed, as this person can use it: what to change in the configuration is of use to owners alone; the others are told whom
 * to ask.
 */
export function reasonFor(reason: string, owner: boolean): string {
  if (owner || !SETTING.test(reason)) return reason;
  return `${withoutSettings(reason)} Ask an owner to check the model’s settings.`.trimStart();
}

/** A reason without what to change in the configuration. */
export function withoutSettings(reason: string): string {
  const clauses = reason.split(/(?<=[;.?])\s+/).filter((clause) => !SETTING.test(clause));
  return clauses.join(" ").replace(/;$/, ".");
}

/** The parts of a sentence: a name in backticks is code. */
export const codeIn = (sentence: string): { text: string; code: boolean }[] =>
  sentence
    .split("`")
    .map((text, index) => ({ text, code: index % 2 === 1 }))
    .filter(({ text }) => text);

/** What every reply of the offline model begins with. It is for readers of plain text; the page has a label of its own. */
const LABEL = "(offline fallback: no model is configured)";

/** The text of an offline reply without its label, also while the label is still being written. */
export function withoutLabel(text: string): string {
  if (text.startsWith(LABEL)) return text.slice(LABEL.length).trimStart();
  return LABEL.startsWith(text) ? "" : text;
}

/** How every reply of the offline model begins. It is for readers of plain text; the page has its own label. */
const LABEL = "(offline fallback: no model is configured)";

/** The text of an offline reply without its label, even while the label is still arriving. */
export function withoutLabel(text: string): string {
  if (text.startsWith(LABEL)) return text.slice(LABEL.length).trimStart();
  return LABEL.startsWith(text) ? "" : text;
}

const DAY = 86_400_000;

/** Midnight before a time, in the reader's time zone. */
const midnight = (time: Date) => new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime();

/** The list heading for a time. */
export function era(iso: string, now = new Date()): string {
  const days = Math.round((midnight(now) - midnight(new Date(iso))) / DAY);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days < 7) return "This week";
  if (days < 31) return "This month";
  return "Earlier";
}

const dated = (time: Date) => time.toLocaleDateString(undefined, { day: "numeric", month: "long", year: "numeric" });

/** A date in words: "3 November 2026". What is no date (`YYYY-MM-DD`) stays as it is. */
export function day(date: string): string {
  const [, year, month, ofMonth] = (/^(\d{4})-(\d{2})-(\d{2})$/.exec(date) ?? []).map(Number);
  if (year === undefined || month === undefined || ofMonth === undefined) return date;
  const time = new Date(year, month - 1, ofMonth);
  const exists = time.getFullYear() === year && time.getMonth() === month - 1 && time.getDate() === ofMonth;
  return exists ? dated(time) : date;
}

/** A time in words: "today at 14:05", "3 November 2026 at 14:05". */
export function when(iso: string, now = new Date()): string {
  const time = new Date(iso);
  const days = Math.round((midnight(now) - midnight(time)) / DAY);
  const clock = time.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  if (days === 0) return `today at ${clock}`;
  if (days === 1) return `yesterday at ${clock}`;
  return `${dated(time)} at ${clock}`;
}

/** How long to wait before retrying. */
export const waiting = (seconds: number | undefined): string =>
  seconds ? `Wait ${counted(seconds, "second", "seconds")}, then try again.` : "Wait a moment, then try again.";

/** A cost in micro-US-dollars; empty if there is none. */
export function cost(micros: number | null | undefined): string | undefined {
  if (!micros) return undefined;
  const dollars = micros / 1_000_000;
  if (dollars < 0.0001) return "under $0.0001";
  return `$${dollars.toFixed(dollars < 0.01 ? 4 : dollars < 1 ? 3 : 2)}`;
}

export const counted = (count: number, one: string, many: string): string =>
  `${count.toLocaleString()} ${count === 1 ? one : many}`;

export const tokens = (count: number): string => counted(count, "token", "tokens");

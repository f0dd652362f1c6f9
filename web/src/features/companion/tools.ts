import type { ToolStatus } from "~/api/types";
import { counted } from "~/ui/format";

type Call = { name: string; status: ToolStatus };

/** What tools do: said once it is done, when it failed, and when it was not to be done. */
const acts = new Map([
  ["recall", ["Looked through memory", "Could not look through memory", "Did not look through memory"]],
  ["remember", ["Saved a memory", "Could not save a memory", "Did not save a memory"]],
  [
    "search_conversations",
    ["Searched conversations", "Could not search conversations", "Did not search conversations"],
  ],
  ["ask_user", ["Asked you a question", "Could not ask you a question", "Asked you a question, without an answer"]],
]);

const outcomes: Record<ToolStatus, string> = {
  started: "running",
  succeeded: "done",
  failed: "failed",
  refused: "not done",
  unknown: "outcome unknown",
};

export const outcomeOf = (status: ToolStatus): string => outcomes[status] ?? status;

/** Whether something went wrong. A call that a person or the policy refused did not fail. */
const isBad = (status: ToolStatus) => status === "failed" || status === "unknown";

/** What a call did, in words, and what to add about its outcome where those do not say it. */
export function lineOf({ name, status }: Call): { text: string; note?: string; bad: boolean } {
  const bad = isBad(status);
  const [done, failed, refused] = acts.get(name) ?? [];
  if (status === "failed" && failed) return { text: failed, bad };
  if (status === "refused" && refused) return { text: refused, bad };
  const text = done ?? name.replaceAll("_", " ");
  return status === "succeeded" ? { text, bad } : { text, note: outcomeOf(status), bad };
}

/** How many there were, and how many of them did not succeed. */
export function summaryOf(calls: Call[]): { text: string; bad: boolean } {
  const count = (status: ToolStatus) => calls.filter((call) => call.status === status).length;
  const [failed, unknown, refused] = [count("failed"), count("unknown"), count("refused")];
  const notes = [
    failed > 0 && `${failed} failed`,
    unknown > 0 && `${unknown} unclear`,
    refused > 0 && `${refused} not done`,
  ].filter(Boolean);
  const text = counted(calls.length, "tool", "tools") + (notes.length > 0 ? ` (${notes.join(", ")})` : "");
  return { text, bad: failed + unknown > 0 };
}

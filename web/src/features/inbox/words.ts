import type { Member, RunRequest, VoidReason } from "~/api/types";
import { when } from "~/ui/format";
import { ANSWER } from "./form";

/** What known tools do, to follow “wants to” or “wanted to”. */
const acts: Record<string, string> = {
  remember: "save a memory",
  recall: "look through memory",
  search_conversations: "search your conversations",
  ask_user: "ask you something",
};

/** What a call is for, in words. A tool that this page does not know is named. */
export const actOf = (tool: string): string => acts[tool] ?? `use ${tool.replaceAll("_", " ")}`;

export const nameOf = (people: Member[] | undefined, user: string | null | undefined, me: string): string => {
  if (user === me) return "you";
  return people?.find((member) => member.user_id === user)?.display_name || "another member";
};

/** What became of a request. */
export type Outcome = { done: boolean; text: string };

export function outcomeOf(request: RunRequest, me: string, people: Member[] | undefined): Outcome | undefined {
  const by = nameOf(people, request.decided_by, me);
  const you = request.decided_by === me;
  switch (request.state) {
    case "open":
      return undefined;
    case "approved": {
      const changed = request.decision?.decision === "approve" && request.decision.arguments;
      const approved = `Approved by ${by}${changed ? ", with changes" : ""}`;
      const made = request.used_at
        ? `The call was made ${when(request.used_at)}. ${resultOf(request, me, people)}`
        : "The call is yet to be made.";
      return { done: true, text: `${approved}. ${made}` };
    }
    case "rejected":
      return { done: false, text: `Rejected by ${by}.` };
    case "answered":
      if (request.decision?.decision === "happened")
        return { done: true, text: `${you ? "You" : cap(by)} said it happened.` };
      if (request.decision?.decision === "did_not")
        return { done: true, text: `${you ? "You" : cap(by)} said it did not happen.` };
      // A word instead of a yes is not a yes.
      if (request.kind === "approval") {
        const said = saidWith(request) ? "said:" : "said something instead.";
        return { done: false, text: `Not done. ${you ? "You" : cap(by)} ${said}` };
      }
      return { done: true, text: `Answered by ${by}.` };
    case "dismissed": {
      const way = request.kind === "question" ? "Skipped" : "Dismissed";
      return { done: false, text: `${way} by ${by}. The reply continues without an answer.` };
    }
    case "expired":
      return { done: false, text: "Nobody decided in time." };
    case "voided":
      return { done: false, text: voidedWhy(request) };
  }
}

/** What a person said with their no, if anything. */
export function saidWith({ kind, decision }: RunRequest): string | undefined {
  if (decision?.decision === "reject") return decision.reason || undefined;
  if (kind !== "approval" || decision?.decision !== "respond") return undefined;
  const word = decision.answers[ANSWER];
  return typeof word === "string" ? word : undefined;
}

/** Where the result is: an owner who decides for somebody else cannot read that conversation. */
function resultOf(request: RunRequest, me: string, people: Member[] | undefined): string {
  if (request.user_id === me) return "Its result is in the reply.";
  const name = people?.find((member) => member.user_id === request.user_id)?.display_name;
  return `${name || "The person who asked"} sees the result.`;
}

const VOIDED: Record<VoidReason, string> = {
  run_ended: "The reply has ended.",
  run_stopped: "The reply was stopped.",
  policy_changed: "The policy has changed since.",
  role_changed: "The role of the person who asked has changed since.",
  file_restored: "The data file was restored to an earlier state.",
};

const voidedWhy = ({ decision }: RunRequest) =>
  decision?.decision === "voided" ? VOIDED[decision.because] : "This can’t be decided any more.";

const cap = (text: string) => text.slice(0, 1).toUpperCase() + text.slice(1);

const HOUR = 3_600_000;

/** How much time is left to decide. */
export function left(expires: string, now = Date.now()): string {
  const hours = (new Date(expires).getTime() - now) / HOUR;
  if (hours <= 0) return "expired";
  if (hours < 1) return "less than an hour left";
  // No line ends between the number and its unit.
  const [count, unit] = hours < 36 ? [Math.round(hours), "hour"] : [Math.round(hours / 24), "day"];
  return `${count}\u00a0${unit}${count === 1 ? "" : "s"} left`;
}

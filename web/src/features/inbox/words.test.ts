import { describe, expect, it } from "vitest";
import type { Decision, RunRequest } from "~/api/types";
import { left, outcomeOf } from "./words";

const people = [
  {
    user_id: "bea",
    display_name: "Bea",
    email: "bea@example.org",
    role: "member" as const,
    joined_at: "2026-11-01T00:00:00Z",
  },
];
const answered = (user: string, more: Partial<RunRequest> = {}) =>
  decided(
    "answered",
    { decision: "respond", answers: { answer: "Later." } },
    { kind: "approval", decided_by: user, ...more },
  );
const decided = (state: RunRequest["state"], decision: Decision | null, more: Partial<RunRequest> = {}) =>
  outcomeOf({ user_id: "ada", state, decision, decided_by: "ada", ...more } as RunRequest, "ada", people)?.text;

describe("what became of a request", () => {
  it("is said with whoever decided, and whether it was done", () => {
    expect(decided("open", null, { decided_by: null })).toBeUndefined();
    expect(decided("approved", { decision: "approve" })).toBe("Approved by you. The call is yet to be made.");
    const used_at = new Date().toISOString();
    expect(decided("approved", { decision: "approve", arguments: { a: 1 } }, { decided_by: "bea", used_at })).toMatch(
      /^Approved by Bea, with changes\. The call was made today at /,
    );
    expect(decided("rejected", { decision: "reject" }, { decided_by: "gone" })).toBe("Rejected by another member.");
    expect(decided("answered", { decision: "respond", answers: {} })).toBe("Answered by you.");
    expect(decided("answered", { decision: "happened" })).toBe("You said it happened.");
    expect(decided("answered", { decision: "did_not" }, { decided_by: "bea" })).toBe("Bea said it did not happen.");
    expect(decided("dismissed", { decision: "dismiss" }, { kind: "question" })).toMatch(/^Skipped by you\./);
    expect(decided("dismissed", { decision: "dismiss" }, { kind: "approval" })).toMatch(/^Dismissed by you\./);
    expect(decided("expired", { decision: "expired" }, { decided_by: null })).toBe("Nobody decided in time.");
    expect(decided("voided", { decision: "voided", because: "run_stopped" })).toBe("The reply was stopped.");
    expect(decided("dismissed", { decision: "dismiss" }, { kind: "approval" })).toMatch(/The reply continues without/);
    // Redacted: only the state is left.
    expect(decided("voided", null)).toBe("This can’t be decided any more.");
  });
});

describe("a word instead of a yes", () => {
  it("is no consent", () => {
    expect(answered("ada")).toBe("Not done. You said:");
    expect(answered("bea")).toBe("Not done. Bea said:");
    expect(answered("gone")).toBe("Not done. Another member said:");
    expect(answered("ada", { decision: null })).toBe("Not done. You said something instead.");
    const request = { kind: "approval", state: "answered", decided_by: "ada" } as RunRequest;
    expect(outcomeOf(request, "ada", people)?.done).toBe(false);
    expect(outcomeOf({ ...request, kind: "question" }, "ada", people)?.done).toBe(true);
  });
});

describe("the result of an approved call", () => {
  it("is where the person who asked sees it", () => {
    const made = (more: Partial<RunRequest>) =>
      decided("approved", { decision: "approve" }, { used_at: new Date().toISOString(), ...more });
    expect(made({})).toMatch(/ Its result is in the reply\.$/);
    expect(made({ user_id: "bea" })).toMatch(/ Bea sees the result\.$/);
    expect(made({ user_id: "gone" })).toMatch(/ The person who asked sees the result\.$/);
  });
});

describe("the time that is left", () => {
  it("is said in the unit that matters", () => {
    const now = Date.parse("2026-11-28T10:00:00Z");
    const at = (hours: number) => left(new Date(now + hours * 3_600_000).toISOString(), now).replace("\u00a0", " ");
    expect([at(168), at(36), at(35), at(1), at(0.5), at(-1)]).toEqual([
      "7 days left",
      "2 days left",
      "35 hours left",
      "1 hour left",
      "less than an hour left",
      "expired",
    ]);
  });
});

import { describe, expect, it } from "vitest";
import type { Message } from "~/api/types";
import { type Asked, askedAfter } from "./asked";
import { apartFrom } from "./useConversation";

const message = (id: string, minute: number, more: Partial<Message>): Message => ({
  id,
  conversation_id: "c",
  ordinal: minute,
  role: "assistant",
  status: "complete",
  text: id,
  labels: { integrity: "trusted", egress: "any", sensitive: false, others: false },
  created_at: `2026-11-28T10:${String(minute).padStart(2, "0")}:00Z`,
  ...more,
});
const one = message("one", 1, { role: "user", run_id: "run" });
const before = message("before", 2, { answers_id: "one", run_id: "run" });
const two = message("two", 4, { role: "user", run_id: "other" });
const answer = message("answer", 5, { answers_id: "two", run_id: "other" });
const late = message("late", 9, { answers_id: "one", run_id: "run" });
const asked = (decidedAt?: string): Asked => ({
  id: "q",
  run: "run",
  decidedAt,
  open: !decidedAt,
  mine: true,
  node: null,
});
const places = (messages: Message[], ask: Asked) =>
  messages
    .filter((each) => each.run_id === ask.run && askedAfter(messages, each, [ask]).length > 0)
    .map(({ id }) => id);

describe("where a card stands", () => {
  it("is below what the run said before it waited, also once it goes on", () => {
    expect(places([one, before, two, answer], asked())).toEqual(["before"]);
    expect(places([one, before, two, answer, late], asked("2026-11-28T10:07:00Z"))).toEqual(["before"]);
  });

  it("is below the message where the run has said nothing yet", () => {
    expect(places([one, two], asked())).toEqual(["one"]);
    expect(places([one, two, answer, late], asked("2026-11-28T10:07:00Z"))).toEqual(["one"]);
  });
});

describe("a reply that stands apart from its message", () => {
  const all = [one, before, two, answer, late];

  it("says which message that is", () => {
    expect(apartFrom(all, "one", 4)?.id).toBe("one");
    expect(apartFrom(all.slice(0, 4), "one", 4)?.id).toBe("one");
  });

  it("says nothing where its message is right above, or not on the page", () => {
    expect(apartFrom(all, "one", 1)).toBeUndefined();
    expect(apartFrom(all, "two", 3)).toBeUndefined();
    expect(apartFrom([one, before, late], "one", 2)).toBeUndefined();
    expect(apartFrom([late], "one", 0)).toBeUndefined();
  });
});

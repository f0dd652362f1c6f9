import { describe, expect, it } from "vitest";
import type { MemoryProvenance } from "~/api/types";
import { awaits, origin } from "./whose";

const told = (memory: object, rest: object = {}) =>
  ({
    memory: { text: "Maria is Ada’s sister.", user_id: "ada", review: "accepted", provenance: {}, ...memory },
    superseded: [],
    ...rest,
  }) as unknown as MemoryProvenance;
const message = (role: string, text: string) => ({ message: { role, text } });
const people = [{ user_id: "bea", display_name: "Bea" }] as never;
const of = (memory: object, rest?: object) => origin(told(memory, rest), "ada", people);

describe("where a memory comes from", () => {
  it("was said by whoever’s message it stands in", () => {
    expect(of({ text: "I like tea" }, message("user", "I like tea."))).toBe("You said it");
    expect(of({ text: "I like tea" }, { ...message("assistant", "I like tea."), agent: { name: "Juno" } })).toBe(
      "Juno said it",
    );
  });
  it("comes from the conversation where the companion worded it", () => {
    expect(of({}, message("user", "My sister is called Maria."))).toBe("From your conversation");
    expect(of({ text: "" }, message("user", "My sister is called Maria."))).toBe("From your conversation");
  });
  it("is another member’s where it is", () => {
    expect(of({ user_id: "bea" })).toBe("Bea shared it");
    expect(of({ user_id: "bea", review: "proposed" })).toBe("Bea suggested it");
    expect(of({ user_id: "cleo" })).toBe("Another member shared it");
  });
  it("was noted or added by hand where there is no conversation", () => {
    expect(of({}, { agent: { name: "Juno" } })).toBe("Juno noted it");
    expect(of({})).toBe("You added it by hand");
  });
});

describe("a suggested memory", () => {
  it.each([
    ["of the companion’s", { review: "proposed", provenance: { agent_id: "juno" } }, true],
    ["of another member’s", { review: "proposed", user_id: "bea" }, true],
    ["of one’s own", { review: "proposed" }, false],
    ["that is decided", { provenance: { agent_id: "juno" } }, false],
  ])("%s waits for the person or does not", (_, memory, waits) => {
    expect(awaits(told(memory).memory, "ada")).toBe(waits);
  });
});

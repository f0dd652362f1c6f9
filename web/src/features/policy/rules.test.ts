import { describe, expect, it } from "vitest";
import type { Rule, ToolCategory } from "~/api/types";
import { about, type Choice, choiceOf, choicesFor, isGeneral, saysOf, whyOf, withChoices } from "./rules";

const rules: Rule[] = [
  { category: "memory_read", say: "allow" },
  { category: "memory_write", say: "allow" },
  { category: "memory_write", say: "deny", role: "member", tool: "remember" },
  { category: "memory_write", say: "ask", why: "Memories are read first." },
  { category: "question", say: "ask", decider: "owner" },
];
const set = (...choices: [ToolCategory, Choice][]) => withChoices(rules, new Map(choices));

describe("the rules of a policy", () => {
  it("say the strictest of a category, and why", () => {
    expect(choiceOf(rules, "memory_read")).toBe("allow");
    expect(choiceOf(rules, "memory_write")).toBe("ask");
    expect(whyOf(rules, "memory_write")).toBe("Memories are read first.");
    expect(choiceOf(rules, "question")).toBe("ask_owner");
    expect(choiceOf(rules, "external")).toBeUndefined();
  });

  it("stay as they are where nothing is chosen, or what holds already", () => {
    expect(set()).toBe(rules);
    expect(set(["memory_write", "ask"], ["question", "ask_owner"])).toBe(rules);
  });

  it("have one rule of a category that is chosen, in its place, and keep all special ones", () => {
    expect(set(["memory_write", "ask_owner"])).toEqual([
      rules[0],
      { category: "memory_write", say: "ask", decider: "owner" },
      rules[2],
      rules[4],
    ]);
    expect(set(["question", "allow"], ["external", "ask"])).toEqual([
      ...rules.slice(0, 4),
      { category: "question", say: "allow" },
      { category: "external", say: "ask" },
    ]);
    for (const choice of ["allow", "ask", "ask_owner", "deny"] as const) {
      for (const category of ["memory_write", "external"] as const) {
        const next = set([category, choice]);
        expect(choiceOf(next, category)).toBe(choice);
        expect(next.filter((rule) => !isGeneral(rule))).toEqual([rules[2]]);
      }
    }
  });

  it("ask before everything but questions", () => {
    expect(choicesFor("external", undefined)).toEqual(["allow", "ask", "ask_owner", "deny"]);
    expect(choicesFor("question", "allow")).toEqual(["allow", "deny"]);
    expect(choicesFor("question", "ask_owner")).toEqual(["allow", "ask_owner", "deny"]);
  });

  it("are told in words", () => {
    expect(about(rules[2] as Rule, [])).toBe("Save memories, with remember, for members");
    expect(about({ category: "external", say: "deny", agent: "x" }, [])).toBe(
      "Act outside of Duet, by an agent that is gone",
    );
    expect(saysOf(rules[4] as Rule)).toBe("Ask an owner first");
  });
});

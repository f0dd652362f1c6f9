import { describe, expect, it } from "vitest";
import type { ToolStatus } from "~/api/types";
import { lineOf, summaryOf } from "./tools";

const calls = (...all: ToolStatus[]) => all.map((status) => ({ name: "remember", status }));

describe("the tools of a reply", () => {
  it("are counted, and what did not succeed by how it ended", () => {
    expect(summaryOf(calls("succeeded"))).toEqual({ text: "1 tool", bad: false });
    expect(summaryOf(calls("succeeded", "started"))).toEqual({ text: "2 tools", bad: false });
    expect(summaryOf(calls("failed", "succeeded"))).toEqual({ text: "2 tools (1 failed)", bad: true });
    expect(summaryOf(calls("refused"))).toEqual({ text: "1 tool (1 not done)", bad: false });
    expect(summaryOf(calls("refused", "failed", "unknown", "refused"))).toEqual({
      text: "4 tools (1 failed, 1 unclear, 2 not done)",
      bad: true,
    });
  });

  it("have their line each", () => {
    const line = (name: string, status: ToolStatus) => lineOf({ name, status });
    expect(line("remember", "succeeded")).toEqual({ text: "Saved a memory", bad: false });
    expect(line("remember", "failed")).toEqual({ text: "Could not save a memory", bad: true });
    expect(line("remember", "refused")).toEqual({ text: "Did not save a memory", bad: false });
    expect(line("remember", "unknown")).toEqual({ text: "Saved a memory", note: "outcome unknown", bad: true });
    expect(line("ask_user", "succeeded")).toEqual({ text: "Asked you a question", bad: false });
    expect(line("send_mail", "succeeded")).toEqual({ text: "send mail", bad: false });
    expect(line("send_mail", "refused")).toEqual({ text: "send mail", note: "not done", bad: false });
    expect(line("__proto__", "failed")).toEqual({ text: "  proto  ", note: "failed", bad: true });
  });
});

import { afterEach, describe, expect, it, vi } from "vitest";
import type { Membership } from "~/api/types";
import { chosen, keepChosen, lastChosen, naming, toName } from "./choice";

const membership = (id: string) => ({ workspace: { id, name: id }, role: "owner" }) as Membership;
const [home, work, choir] = [membership("home"), membership("work"), membership("choir")];
const all = [home, work, choir];

afterEach(() => vi.unstubAllGlobals());

describe("which workspace is shown", () => {
  it("is the one that the address names", () => {
    expect(chosen(all, "choir", "work")).toBe(choir);
  });

  it("is the one chosen last where the address names none", () => {
    expect(chosen(all, undefined, "work")).toBe(work);
  });

  it("is the oldest where nothing was chosen", () => {
    vi.stubGlobal("localStorage", { getItem: () => null });
    expect(chosen(all)).toBe(home);
  });

  it("is never one that the person is not in", () => {
    expect(chosen(all, "theirs", "work")).toBe(work);
    expect(chosen(all, "theirs", "gone")).toBe(home);
    expect(chosen([], "theirs", "gone")).toBeUndefined();
  });

  it("is remembered by the browser", () => {
    const kept = new Map<string, string>();
    vi.stubGlobal("localStorage", {
      getItem: (key: string) => kept.get(key) ?? null,
      setItem: (key: string, value: string) => kept.set(key, value),
    });
    expect(lastChosen()).toBeUndefined();
    keepChosen("work");
    expect(chosen(all)).toBe(work);
  });

  it("works without storage", () => {
    const refuse = () => {
      throw new Error("denied");
    };
    vi.stubGlobal("localStorage", { getItem: refuse, setItem: refuse });
    keepChosen("work");
    expect(chosen(all)).toBe(home);
  });
});

describe("the address", () => {
  it("names the workspace only where there is a choice", () => {
    expect(toName(all, work)).toBe("work");
    expect(toName([home], home)).toBeUndefined();
  });

  it("keeps everything else", () => {
    expect(naming("/chat/c?message=m&workspace=old#end", "work")).toBe("/chat/c?message=m&workspace=work#end");
    expect(naming("/chat", "work")).toBe("/chat?workspace=work");
    expect(naming("/chat/c?workspace=old&message=m")).toBe("/chat/c?message=m");
    expect(naming("/chat?workspace=old")).toBe("/chat");
  });
});

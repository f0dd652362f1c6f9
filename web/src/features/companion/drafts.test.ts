import { beforeEach, describe, expect, it, vi } from "vitest";
import { beginSending, emptyComposer, endSending, forgetDrafts, keepDraft, moveDraft, readDraft } from "./drafts";

const kept: Record<string, string> = {};
beforeEach(() => {
  for (const name of Object.keys(kept)) delete kept[name];
  // Its keys are its entries, so `Object.keys` works as on a real storage.
  vi.stubGlobal(
    "sessionStorage",
    new Proxy(kept, {
      get: (_, name: string) =>
        ({
          getItem: (key: string) => kept[key] ?? null,
          setItem: (key: string, value: string) => {
            kept[key] = value;
          },
          removeItem: (key: string) => {
            delete kept[key];
          },
        })[name],
    }),
  );
});

const draft = { text: "Hello", key: "k1" };

describe("a draft", () => {
  it("is not in the composer while it is on its way, nor after it arrived", () => {
    keepDraft("w", "c", draft);
    expect(readDraft("w", "c")).toEqual(draft);
    emptyComposer("w", "c");
    beginSending("w", "c", draft);
    expect(readDraft("w", "c").text).toBe("");
    endSending("w", "c", draft, true);
    expect(readDraft("w", "c").text).toBe("");
    expect(kept).toEqual({});
  });

  it("is there again, with its key, when it did not arrive", () => {
    beginSending("w", "c", draft);
    endSending("w", "c", draft, false);
    expect(readDraft("w", "c")).toEqual(draft);
  });

  it("comes before what was written while it was on its way", () => {
    beginSending("w", "c", draft);
    keepDraft("w", "c", { text: "And this", key: "k2" });
    expect(readDraft("w", "c").text).toBe("And this");
    endSending("w", "c", draft, false);
    const both = readDraft("w", "c");
    expect(both.text).toBe("Hello\n\nAnd this");
    keepDraft("w", "c", both);
    expect(readDraft("w", "c")).toEqual(both);
  });

  it("does not take along what was written while it was on its way", () => {
    beginSending("w", "c", draft);
    keepDraft("w", "c", { text: "And this", key: "k2" });
    endSending("w", "c", draft, true);
    expect(readDraft("w", "c").text).toBe("And this");
  });

  it("stays while an older message is sent again, also one that did not arrive before", () => {
    keepDraft("w", "c", draft);
    const again = { text: "Once more", key: "k2" };
    beginSending("w", "c", again);
    expect(readDraft("w", "c")).toEqual(draft);
    endSending("w", "c", again, false);
    beginSending("w", "c", { text: "Another", key: "k3" });
    endSending("w", "c", { text: "Another", key: "k3" }, true);
    expect(readDraft("w", "c").text).toBe("Once more\n\nHello");
  });

  it("of a new conversation goes along to it", () => {
    beginSending("w", undefined, draft);
    keepDraft("w", undefined, { text: "And this", key: "k2" });
    endSending("w", undefined, draft, true);
    moveDraft("w", "c");
    expect(readDraft("w").text).toBe("");
    expect(readDraft("w", "c").text).toBe("And this");
  });

  it("is forgotten with the others when somebody signs out", () => {
    beginSending("w", "c", draft);
    keepDraft("w", undefined, { text: "New", key: "k2" });
    kept["duet.theme"] = "dark";
    forgetDrafts();
    expect(Object.keys(kept)).toEqual(["duet.theme"]);
  });
});

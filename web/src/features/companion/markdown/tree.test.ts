import { describe, expect, it } from "vitest";
import { decode, safeHref, tree } from "./tree";

const blocks = (text: string) => tree(text)?.blocks ?? [];

describe("markdown", () => {
  it("links only where a person can be sent", () => {
    expect(safeHref("https://example.org/a")).toBe("https://example.org/a");
    expect(safeHref("mailto:a@example.org")).toBe("mailto:a@example.org");
    for (const bad of [
      "javascript:alert(1)",
      "JaVaScRiPt:alert(1)",
      "data:text/html,x",
      "file:///etc/passwd",
      "/v1/keys",
      "",
    ]) {
      expect(safeHref(bad), bad).toBeUndefined();
    }
  });

  it("shows the characters that entities stand for, and leaves the rest alone", () => {
    expect(decode("a &amp; b &lt;i&gt; &#39; &#x41; &unknown; &#xD800; &")).toBe("a & b <i> ' A &unknown; &#xD800; &");
  });

  it("keeps finished blocks the same while text is added at the end", () => {
    const text = "# Title\n\nOne *two*.\n\n- a\n- b\n\n```js\nlet a;\n```\n\nThe end.";
    const done = blocks("# Title\n\nOne *two*.\n\n").map((token) => token.raw.trim());
    expect(
      blocks(text)
        .slice(0, done.length)
        .map((token) => token.raw.trim()),
    ).toEqual(done);
  });

  it.each([
    ["quotes", ">".repeat(2_000)],
    ["quotes with spaces", "> ".repeat(2_000)],
    ["quotes, line by line", Array.from({ length: 500 }, (_, level) => `${">".repeat(level)} a`).join("\n")],
    ["lists", `${"- ".repeat(2_000)}x`],
    ["numbered lists", `${"1. ".repeat(2_000)}x`],
    ["lists by their indent", Array.from({ length: 300 }, (_, level) => `${" ".repeat(2 * level)}- a`).join("\n")],
    ["emphasis", `${"*".repeat(2_000)}a${"*".repeat(2_000)}`],
    ["quotes in a footnote", `a[^1]\n\n[^1]: ${"> ".repeat(2_000)}x`],
  ])("gives up on text that is nested without end: %s", (_, text) => {
    expect(tree(text)).toBeUndefined();
  });

  it("reads what people nest", () => {
    expect(tree(`${"> ".repeat(12)}a`)).toBeDefined();
    expect(tree(Array.from({ length: 12 }, (_, level) => `${" ".repeat(2 * level)}- a`).join("\n"))).toBeDefined();
    expect(tree(`${"-".repeat(300)}\n\n${"=".repeat(300)}\n${" ".repeat(300)}indented code`)).toBeDefined();
  });

  it("collects footnotes in the order of their references", () => {
    const read = tree(
      "One[^b] and two[^a], not three[^c].\n\n[^a]: About *two*.\n[^b]: About one,\n    and more.\n[^d]: Unused.",
    );
    expect(read?.notes.map(({ label }) => label)).toEqual(["b", "a"]);
    expect(read?.notes[0]?.tokens[0]?.raw).toBe("About one,\nand more.");
    expect(read?.blocks).toHaveLength(1);
  });

  it("knows which reference to a footnote is the first, also from inside another", () => {
    const read = tree("One[^a], two[^a].\n\n[^a]: See [^a].");
    const found: unknown[] = [];
    JSON.stringify(read, (_, value) => {
      if (value?.type === "noteRef") found.push(value.again);
      return value;
    });
    expect(found).toEqual([false, true, true]);
  });
});

import { describe, expect, it } from "vitest";
import { blocks, decode, safeHref } from "./tree";

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
});

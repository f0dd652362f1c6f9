import { describe, expect, it } from "vitest";
import { withoutLabel } from "./offline";

const label = "(offline fallback: no model is configured)";

describe("the label of offline replies", () => {
  it("is not shown as part of the text", () => {
    expect(withoutLabel(`${label}\n\nHello! I follow rules.`)).toBe("Hello! I follow rules.");
    expect(withoutLabel(label)).toBe("");
  });

  it("never appears while it is being written", () => {
    const whole = `${label}\n\nHello!`;
    for (let end = 0; end <= whole.length; end++)
      expect("Hello!".startsWith(withoutLabel(whole.slice(0, end)))).toBe(true);
  });

  it("leaves everything else alone", () => {
    for (const text of ["Hello!", "(offline fallback: the rest is missing)", `Quoted: ${label}`]) {
      expect(withoutLabel(text)).toBe(text);
    }
  });
});

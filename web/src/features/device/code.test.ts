import { describe, expect, it } from "vitest";
import { codeIn, codeOf } from "./code";

describe("the code of a device", () => {
  it.each(["BCDF-GHJK", "bcdfghjk", " bcdf ghjk ", "BCDF - GHJK"])("%j is read as the device shows it", (typed) => {
    expect(codeOf(typed)).toBe("BCDF-GHJK");
  });

  it.each(["", "BCDF-GHJ", "BCDF-GHJKL", "BCDF-GHJA", "BCDF-GHJ1", "<b>"])("%j is none", (typed) => {
    expect(codeOf(typed)).toBeUndefined();
  });

  it("comes in the link's fragment", () => {
    expect(codeIn("#code=BCDF-GHJK")).toBe("BCDF-GHJK");
    expect(codeIn("code=BCDF-GHJK")).toBe("BCDF-GHJK");
    expect(codeIn("")).toBe("");
  });
});

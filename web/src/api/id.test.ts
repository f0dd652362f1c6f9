import { describe, expect, it } from "vitest";
import { newId } from "./id";

describe("an id made here", () => {
  it("is a UUIDv7 of its time", () => {
    const id = newId(0x0190_1234_5678);
    expect(id).toMatch(/^01901234-5678-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  });

  it("is another each time and sorts by time", () => {
    expect(newId(1)).not.toBe(newId(1));
    expect(newId(1) < newId(2)).toBe(true);
  });
});

import { describe, expect, it } from "vitest";
import { codeIn, reasonFor } from "./reasons";

const unreachable =
  "Could not reach `ollama` at http://127.0.0.1:11434/v1 (connection refused). Is it running? If it is elsewhere, set `models.providers.ollama.base_url`.";

describe("a reason", () => {
  it.each([
    [unreachable, "Could not reach `ollama` at http://127.0.0.1:11434/v1 (connection refused). Is it running?"],
    [
      "`test` refused the key (HTTP 401); set `models.providers.test.api_key` to `env:NAME` or `file:/path`.",
      "`test` refused the key (HTTP 401).",
    ],
    [
      "`test` at http://127.0.0.1/v1 does not know the model `tiny` (HTTP 404); check the model's name and `models.providers.test.base_url`.",
      "`test` at http://127.0.0.1/v1 does not know the model `tiny` (HTTP 404).",
    ],
  ])("keeps settings from those who cannot change them: %s", (reason, told) => {
    expect(reasonFor(reason, false)).toBe(`${told} Ask an owner to check the model’s settings.`);
    expect(reasonFor(reason, true)).toBe(reason);
  });

  it("without a setting is the same for everybody", () => {
    const reason = "`test` gave up waiting for the model (HTTP 504); try again.";
    expect(reasonFor(reason, false)).toBe(reason);
  });

  it("shows names as code, not backticks", () => {
    expect(codeIn("`test` refused `tiny`.")).toEqual([
      { text: "test", code: true },
      { text: " refused ", code: false },
      { text: "tiny", code: true },
      { text: ".", code: false },
    ]);
  });
});

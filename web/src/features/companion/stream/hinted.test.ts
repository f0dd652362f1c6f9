import { describe, expect, it } from "vitest";
import type { Following } from "./follow";
import { followHinted } from "./hinted";

const log = [
  [{ type: "RUN_STARTED", metadata: { duet: { reply_id: "r" } } }],
  [
    { type: "TEXT_MESSAGE_START", messageId: "r" },
    { type: "TEXT_MESSAGE_CONTENT", delta: "one " },
  ],
  [{ type: "TEXT_MESSAGE_CONTENT", delta: "two " }],
  [{ type: "TEXT_MESSAGE_CONTENT", delta: "three" }],
  [{ type: "RUN_FINISHED", metadata: { duet: { outcome: "completed", status: "complete" } } }],
];

const page = (after: number, upTo: number) =>
  new Response(
    JSON.stringify({
      events: log.slice(after, upTo).map((data, place) => ({ seq: after + place + 1, kind: "x", data })),
      last_seq: upTo,
      ended: upTo === log.length,
    }),
  );
const stream = (after: number) =>
  new Response(
    log
      .slice(after)
      .flatMap((data, event) =>
        data.map(
          (object, place) =>
            `${place === data.length - 1 ? `id: ${after + event + 1}\n` : ""}event: x\ndata: ${JSON.stringify(object)}\n\n`,
        ),
      )
      .join(""),
  );

/** A run whose log grows as the test says, and a topic that the test controls. */
function run() {
  const state = { length: 1, asked: [] as string[], left: 0, last: undefined as Following | undefined };
  let hint: () => void = () => undefined;
  let lose: (error: Error) => void = () => undefined;
  const lost = new Promise<never>((_, reject) => {
    lose = reject;
  });
  lost.catch(() => undefined);
  const stop = new AbortController();
  const start = (options: { join?: Error; status?: number; code?: string } = {}) =>
    followHinted({
      topic: "run:w:r",
      hear: async (_, onHint) => {
        if (options.join) throw options.join;
        hint = onHint;
        return { lost, leave: () => state.left++ };
      },
      url: (after) => String(after),
      signal: stop.signal,
      onChange: (following) => {
        state.last = following;
      },
      sleep: async () => undefined,
      fetch: (async (address: string, { headers }: { headers: Record<string, string> }) => {
        const kind = headers.accept === "application/json" ? "page" : "stream";
        state.asked.push(`${kind} ${address}`);
        if (kind === "stream") return stream(Number(address));
        if (options.status)
          return new Response(JSON.stringify({ code: options.code, detail: "Do this." }), { status: options.status });
        return page(Number(address), state.length);
      }) as typeof fetch,
    });
  return {
    state,
    start,
    stop: () => stop.abort(),
    hint: () => hint(),
    lose: () => lose(new Error("CHANNEL_ERROR")),
    grow: (length: number) => {
      state.length = length;
    },
  };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

describe("following a run by hints", () => {
  it("reads the log once at the start and once a hint, and leaves at the end", async () => {
    const { state, start, hint, grow } = run();
    const done = start();
    await settled();
    expect(state.asked).toEqual(["page 0"]);
    grow(3);
    hint();
    await settled();
    expect(state.last?.reply.text).toBe("one two ");
    grow(5);
    hint();
    await done;
    expect(state.last?.reply).toMatchObject({ text: "one two three", seq: 5, end: { outcome: "completed" } });
    expect(state.asked).toEqual(["page 0", "page 1", "page 3"]);
    expect(state.left).toBe(1);
  });

  it("shows the same whatever becomes of the hints: doubled, early, late, of old", async () => {
    const { state, start, hint, grow } = run();
    const done = start();
    for (const length of [1, 2, 2, 4, 4, 5]) {
      await settled();
      grow(length);
      for (let times = 0; times < length; times++) hint();
    }
    await done;
    expect(state.last?.reply.text).toBe("one two three");
  });

  it("looks by itself when no hint comes", async () => {
    const { state, start, grow } = run();
    const done = start();
    await settled();
    grow(5);
    await done;
    expect(state.last?.reply.text).toBe("one two three");
  });

  it("goes on by the stream when the topic cannot be joined, or is lost in the middle", async () => {
    const refused = run();
    await refused.start({ join: new Error("CHANNEL_ERROR") });
    expect(refused.state.asked).toEqual(["stream 0"]);
    expect(refused.state.last?.reply.text).toBe("one two three");

    const lost = run();
    lost.grow(3);
    const done = lost.start();
    await settled();
    lost.lose();
    await done;
    expect(lost.state.asked).toEqual(["page 0", "stream 3"]);
    expect(lost.state.last?.reply.text).toBe("one two three");
    expect(lost.state.left).toBe(1);
  });

  it("goes on by the stream when pages fail, and says it when the person may not read", async () => {
    const down = run();
    await down.start({ status: 503, code: "unavailable" });
    expect(down.state.asked).toEqual(["page 0", "stream 0"]);
    for (const [status, code] of [
      [401, "not_signed_in"],
      [403, "denied"],
      [403, "bad_access_token"],
      [404, "not_found"],
    ] as const) {
      const { state, start } = run();
      await start({ status, code });
      expect(state.last?.problem?.code).toBe(code);
      expect(state.asked).toEqual(["page 0"]);
    }
  });

  it("decides by the code, not by the status: a gateway in between may answer with any", async () => {
    const signedOut = run();
    await signedOut.start({ status: 401 });
    expect(signedOut.state.last?.problem?.code).toBe("not_signed_in");
    for (const status of [403, 404]) {
      const { state, start } = run();
      await start({ status });
      expect(state.asked).toEqual(["page 0", "stream 0"]);
      expect(state.last?.reply.text).toBe("one two three");
    }
  });

  it("stops when the page goes away", async () => {
    const { state, start, stop } = run();
    const done = start();
    await settled();
    stop();
    await done;
    expect(state.left).toBe(1);
    expect(state.asked).toEqual(["page 0"]);
  });
});

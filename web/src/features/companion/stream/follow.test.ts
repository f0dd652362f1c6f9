import { describe, expect, it } from "vitest";
import type { ProblemCode } from "~/api/http";
import { type Following, follow } from "./follow";

const line = (seq: number, data: object) => `id: ${seq}\nevent: x\ndata: ${JSON.stringify(data)}\n\n`;
const log = [
  line(1, { type: "RUN_STARTED", metadata: { duet: { reply_id: "r" } } }),
  line(2, { type: "TEXT_MESSAGE_CONTENT", delta: "one " }),
  line(3, { type: "TEXT_MESSAGE_CONTENT", delta: "two " }),
  line(4, { type: "TEXT_MESSAGE_CONTENT", delta: "three" }),
  line(5, { type: "RUN_FINISHED", metadata: { duet: { outcome: "completed", status: "complete" } } }),
];

type Reaction = (after: number) => Response | Error;

/** Follows a run on a server with the given reactions, one per connection. */
async function followed(reactions: Reaction[]) {
  const states: Following[] = [];
  const waits: number[] = [];
  const asked: number[] = [];
  let looks = 0;
  await follow({
    url: (after) => String(after),
    signal: new AbortController().signal,
    onChange: (state) => states.push(state),
    sleep: async (ms) => void waits.push(ms),
    watch: () => async () => void looks++,
    fetch: (async (address: string) => {
      asked.push(Number(address));
      const answer = reactions.shift()?.(Number(address));
      if (!answer) throw new Error("the test has no more reactions");
      if (answer instanceof Error) throw answer;
      return answer;
    }) as typeof fetch,
  });
  return { states, waits, asked, looks, last: states.at(-1) };
}

/** A stream of the events after `after`, cut after `bytes`. */
const stream =
  (bytes = Number.POSITIVE_INFINITY) =>
  (after: number) => {
    const all = new TextEncoder().encode(log.slice(after).join(""));
    return new Response(all.slice(0, bytes));
  };
const problem =
  (status: number, headers: Record<string, string> = {}, code: ProblemCode = "unknown") =>
  () =>
    new Response(JSON.stringify({ code, detail: "Do this." }), { status, headers });

describe("following a run", () => {
  it("ends with the run, without another connection", async () => {
    const { asked, last } = await followed([stream()]);
    expect(asked).toEqual([0]);
    expect(last?.reply).toMatchObject({ text: "one two three", seq: 5 });
  });

  it("gives the whole reply when the connection is cut at any byte", async () => {
    const size = new TextEncoder().encode(log.join("")).length;
    for (let cut = 0; cut < size; cut++) {
      const { last } = await followed([stream(cut), stream()]);
      expect(last?.reply.text, `cut at byte ${cut}`).toBe("one two three");
    }
  });

  it("waits longer after each failure, and as long as the server says", async () => {
    const down = () => new TypeError("no connection");
    const { waits, last } = await followed([down, down, down, problem(503, { "retry-after": "3" }), stream()]);
    expect(waits).toEqual([250, 500, 1000, 3000]);
    expect(last?.reply.text).toBe("one two three");
  });

  it("reads from the start when the server knows fewer events than this page", async () => {
    const { asked, last } = await followed([
      stream(log.slice(0, 3).join("").length),
      problem(422, {}, "no_such_event"),
      stream(),
    ]);
    expect(asked).toEqual([0, 3, 0]);
    expect(last?.reply.text).toBe("one two three");
  });

  it("looks at a run that waits only once it may have gone on, from where it was", async () => {
    const waits = log.slice(0, 3).concat(
      line(4, {
        type: "RUN_FINISHED",
        outcome: { type: "interrupt", interrupts: [{ id: "q" }] },
        metadata: { duet: { outcome: "waiting", message_id: "r", status: "complete" } },
      }),
    );
    const goesOn = [
      line(5, { type: "RUN_STARTED", parentRunId: "run", metadata: { duet: { reply_id: "r2" } } }),
      line(6, { type: "TEXT_MESSAGE_CONTENT", delta: "four" }),
      line(7, { type: "RUN_FINISHED", metadata: { duet: { outcome: "completed", status: "complete" } } }),
    ];
    const answers = [waits, [], goesOn].map((lines) => () => new Response(lines.join("")));
    const { asked, waits: slept, looks, last } = await followed(answers);
    expect(asked).toEqual([0, 4, 4]);
    expect(looks).toBe(2);
    expect(slept).toEqual([]);
    expect(last?.reply).toMatchObject({ replyId: "r2", text: "four", end: { outcome: "completed" } });
  });

  it("gives up where trying again cannot help", async () => {
    const { last } = await followed([problem(404)]);
    expect(last?.problem).toMatchObject({ status: 404, message: "Do this." });
  });
});

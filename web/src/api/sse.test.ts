import { describe, expect, it } from "vitest";
import { type Frame, sseReader } from "./sse";

const bytes = (text: string) => new TextEncoder().encode(text);
const log =
  ': keep-alive\n\nid: 1\nevent: started\ndata: {"a":"é – 🎻"}\n\nevent: delta\r\ndata: one\r\ndata: two\r\n\r\nid:2\rdata:x\r\r\nevent: empty\n\nid: 3\ndata: last\n\n';
const whole: Frame[] = [
  { event: "started", data: '{"a":"é – 🎻"}', id: "1" },
  { event: "delta", data: "one\ntwo" },
  { event: "message", data: "x", id: "2" },
  { event: "message", data: "last", id: "3" },
];

describe("the stream of events", () => {
  it("is read the same when it is cut at any byte", () => {
    const all = bytes(log);
    for (let cut = 0; cut <= all.length; cut++) {
      const read = sseReader();
      expect([...read(all.slice(0, cut)), ...read(all.slice(cut))], `cut at ${cut}`).toEqual(whole);
    }
  });

  it("is read the same byte by byte", () => {
    const read = sseReader();
    expect([...bytes(log)].flatMap((byte) => read(Uint8Array.of(byte)))).toEqual(whole);
  });

  it("gives nothing of a frame whose blank line has not come", () => {
    expect(sseReader()(bytes("id: 9\ndata: half\n"))).toEqual([]);
  });

  it("does not carry an id over to the next frame", () => {
    const read = sseReader();
    expect(read(bytes("id: 1\ndata: a\n\ndata: b\n\n")).map((frame) => frame.id)).toEqual(["1", undefined]);
  });
});

/** One server-sent event. */
export type Frame = { event: string; data: string; id?: string };

/**
 * Parses server-sent events from bytes that arrive in pieces of any size, even cut inside a character or a line end.
 * `id` is set only if the event itself carried one. A frame counts once its blank line has come; an incomplete one is dropped.
 */
export function sseReader(): (chunk: Uint8Array) => Frame[] {
  const decoder = new TextDecoder();
  let rest = "";
  let event = "";
  let id: string | undefined;
  let data: string[] = [];

  const line = (text: string): Frame | undefined => {
    if (text === "") {
      const frame = data.length
        ? { event: event || "message", data: data.join("\n"), ...(id === undefined ? {} : { id }) }
        : undefined;
      event = "";
      id = undefined;
      data = [];
      return frame;
    }
    const colon = text.indexOf(":");
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (field === "data") data.push(value);
    else if (field === "event") event = value;
    else if (field === "id" && !value.includes("\0")) id = value;
    return undefined;
  };

  return (chunk) => {
    rest += decoder.decode(chunk, { stream: true });
    const frames: Frame[] = [];
    for (;;) {
      const end = rest.search(/[\r\n]/);
      if (end < 0) break;
      // A carriage return at the very end may be half of a line end: wait for more.
      if (rest[end] === "\r" && end === rest.length - 1) break;
      const length = rest[end] === "\r" && rest[end + 1] === "\n" ? 2 : 1;
      const frame = line(rest.slice(0, end));
      rest = rest.slice(end + length);
      if (frame) frames.push(frame);
    }
    return frames;
  };
}

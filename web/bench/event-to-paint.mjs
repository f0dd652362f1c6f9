// How long an event of a reply takes from reaching the page to being painted. Run by hand, on the built output:
//
//   DUET_BIN=… node web/bench/event-to-paint.mjs [--deltas 250] [--pause 70] [--json]
//
// A scripted model, here in this process, writes numbered words with a pause between them; the real `duet` streams them to a real
// Chromium. In the page, a chunk of the stream is timed when it has been read, and its newest word when the frame that shows it
// has been painted.
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { openBrowser, openPage, send, settled, setUp } from "../e2e/support/browser.mjs";
import { startDuet } from "../e2e/support/duet.mjs";

const { values } = parseArgs({
  options: {
    deltas: { type: "string", default: "250" },
    pause: { type: "string", default: "70" },
    json: { type: "boolean", default: false },
  },
});
const deltas = Number(values.deltas);
const pause = Number(values.pause);

/** The words of the reply, in paragraphs. */
const word = (number) => `word${number}${number % 40 === 39 ? "\n\n" : " "}`;

/** When the model wrote each word, by the machine's clock. */
const written = new Map();

/** Answers every request with the words, as OpenAI-compatible servers write them. */
async function startModel() {
  const server = createServer(async (request, response) => {
    request.resume();
    response.writeHead(200, { "content-type": "text/event-stream" });
    const say = (choice, usage = null) =>
      response.write(`data: ${JSON.stringify({ object: "chat.completion.chunk", choices: choice, usage })}\n\n`);
    for (let number = 0; number < deltas; number++) {
      await sleep(pause);
      written.set(number, performance.timeOrigin + performance.now());
      say([{ index: 0, delta: { content: word(number) }, finish_reason: null }]);
    }
    say([{ index: 0, delta: {}, finish_reason: "stop" }]);
    say([], { prompt_tokens: 1, completion_tokens: deltas, total_tokens: deltas + 1 });
    response.end("data: [DONE]\n\n");
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return { url: `http://127.0.0.1:${server.address().port}/v1`, stop: () => server.close() };
}

/** In the page: notes when a chunk with words was read, and when a frame with its newest word was painted. */
function watchPaints() {
  window.paints = [];
  const text = new TextDecoder();
  const read = ReadableStreamDefaultReader.prototype.read;
  ReadableStreamDefaultReader.prototype.read = async function (...given) {
    const chunk = await read.apply(this, given);
    const at = performance.now();
    const words = chunk.value instanceof Uint8Array ? (text.decode(chunk.value).match(/word\d+/g) ?? []) : [];
    if (words.length) awaitPaint(words.at(-1), at);
    return chunk;
  };
  function awaitPaint(newest, at) {
    requestAnimationFrame(() => {
      const shown = document.querySelector('main article[aria-busy="true"] .prose')?.textContent ?? "";
      const number = Number(newest.slice(4));
      // Words come in order, so a later one shows this one too.
      const last = Number(shown.match(/word(\d+)\s*$/)?.[1] ?? -1);
      if (last < number) return awaitPaint(newest, at);
      // The frame is painted after its callbacks: the next task comes behind it.
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        const painted = performance.now();
        window.paints.push({ number, ms: painted - at, at: performance.timeOrigin + painted });
      };
      port2.postMessage(null);
    });
  }
}

const rank = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];
const spread = (list) => {
  const sorted = list.toSorted((a, b) => a - b);
  return { count: list.length, p50: rank(sorted, 0.5), p95: rank(sorted, 0.95), max: sorted.at(-1) };
};

const model = await startModel();
const duet = await startDuet({
  settings: `[models]\ndefault = "bench/scripted"\n[models.providers.bench]\nkind = "openai"\nbase_url = "${model.url}"\n`,
});
const browser = await openBrowser();
try {
  const { page, watch } = await openPage(browser, duet.url);
  await page.addInitScript(watchPaints);
  await setUp(page, duet);
  await send(page, "Please write.");
  await settled(page, "complete", 60_000 + deltas * pause * 2);
  const paints = await page.evaluate(() => window.paints);
  watch.check();
  const result = {
    deltas: paints.length,
    eventToPaintMs: spread(paints.map(({ ms }) => ms)),
    modelToPaintMs: spread(paints.map(({ number, at }) => at - written.get(number))),
    browser: browser.version(),
  };
  if (values.json) console.log(JSON.stringify(result));
  else {
    const line = ({ p50, p95, max }) => [p50, p95, max].map((ms) => `${ms.toFixed(1)} ms`).join(", ");
    console.log(`${result.deltas} events painted, Chromium ${result.browser}; p50, p95, most:`);
    console.log(`  read by the page to painted:     ${line(result.eventToPaintMs)}`);
    console.log(`  written by the model to painted: ${line(result.modelToPaintMs)}`);
  }
} finally {
  await browser.close();
  await duet.stop();
  model.stop();
}

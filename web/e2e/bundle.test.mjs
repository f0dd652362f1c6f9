// Checks what the build contains, and how much of it a browser needs before it can show anything. Run after `npm run build`.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { gzipSync } from "node:zlib";

const client = new URL("../dist/client/", import.meta.url).pathname;
assert.ok(existsSync(join(client, "_shell.html")), "Run `npm run build` first.");
const files = readdirSync(client, { recursive: true, encoding: "utf8" }).filter((file) => /\.\w+$/.test(file));
const read = (file) => readFileSync(join(client, file), "utf8");
const shell = read("_shell.html");
const scripts = files.filter((file) => file.endsWith(".js"));

/** A script and everything it imports statically. */
function closure(entries) {
  const seen = new Set();
  const visit = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const [, name] of read(file).matchAll(/(?:from|import)\s*"\.\/([\w.$-]+\.js)"/g)) visit(`assets/${name}`);
  };
  for (const entry of entries) visit(entry);
  return seen;
}

it("needs at most 180 KiB of script (gzip) for the shell together with the largest route", () => {
  const initial = [...shell.matchAll(/(?:src|href)="\/(assets\/[\w.$-]+\.js)"/g)].map(([, file]) => file);
  assert.ok(initial.length > 0);
  // A route's chunks: its own and those of its layout; markdown is fetched at the same time as the messages.
  const routes = scripts.filter((file) =>
    /assets\/(_app|_conversationId|chat|invite|members|setup|sign-in)-/.test(file),
  );
  assert.ok(
    routes.some((file) => file.includes("_conversationId")),
    "the route of a conversation has a chunk of its own",
  );
  const size = [...closure([...initial, ...routes])].reduce(
    (sum, file) => sum + gzipSync(read(file), { level: 9 }).length,
    0,
  );
  console.log(`initial script with all routes: ${(size / 1024).toFixed(1)} KiB gzip`);
  assert.ok(size <= 180 * 1024, `${size} bytes`);
});

it("has hashed names for everything that is cached for good", () => {
  for (const file of files.filter((one) => one.startsWith("assets/"))) assert.match(file, /-[\w-]{8}\.\w+$/);
});

it("has nothing of a server, no secret and no setting of the machine that built it", () => {
  const marks = [
    "createServerFn",
    "process.env.",
    "node:fs",
    "node:async_hooks",
    "SERVICE_ROLE",
    "sk-ant-",
    "BEGIN PRIVATE KEY",
    process.cwd(),
    process.env.HOME && process.env.HOME !== "/" ? `${process.env.HOME}/` : undefined,
  ].filter(Boolean);
  for (const file of files) {
    const text = read(file);
    for (const mark of marks) assert.ok(!text.includes(mark), `${file} has ${mark}`);
  }
  assert.deepEqual(
    files.filter((file) => file.endsWith(".map")),
    [],
  );
});

it("loads nothing from elsewhere", () => {
  for (const file of files.filter((one) => /\.(html|css)$/.test(one))) {
    assert.doesNotMatch(read(file), /(?:src|href)="(?:https?:)?\/\//, file);
    assert.doesNotMatch(read(file), /url\(\s*["']?(?:https?:)?\/\//, file);
    assert.doesNotMatch(read(file), /@import\s+["'(]?(?:url\()?["']?https?:/, file);
  }
  for (const file of scripts) assert.doesNotMatch(read(file), /import\s*\(?\s*["']https?:/, file);
});

it("has no inline style, which the content security policy forbids", () => {
  assert.doesNotMatch(shell, /<style|\sstyle="/);
  assert.doesNotMatch(shell, /\son\w+="/);
});

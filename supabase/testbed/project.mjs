// The Supabase project that tests talk to: a real one when the environment names it, else serve.mjs over a database.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/**
 * A project: `url`, `publishableKey`, `close()`. One that is served here has `jwtSecret` too, to forge tokens with.
 *
 * @param {string} database URL of the database to serve, as a superuser
 * @param {string[]} after SQL files that put the platform's functions back
 * @param {string[]} more further arguments of serve.mjs
 */
export async function project(database, after, more = []) {
  const url = process.env.DUET_TEST_SUPABASE_URL;
  if (!url) return serve(database, after, more);
  const publishableKey = process.env.DUET_TEST_SUPABASE_PUBLISHABLE_KEY;
  if (!publishableKey) {
    throw new Error(
      "DUET_TEST_SUPABASE_URL names a project; set DUET_TEST_SUPABASE_PUBLISHABLE_KEY to its sb_publishable_… key.",
    );
  }
  return { url, publishableKey, close: async () => {} };
}

/** Serves a database, as `project` does when no real project is named; `more` are further arguments of serve.mjs. */
export async function serve(database, after, more = []) {
  const program = fileURLToPath(new URL("serve.mjs", import.meta.url));
  const files = after.flatMap((file) => ["--after", file]);
  const server = spawn(process.execPath, [program, "--postgres", database, ...files, ...more], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(server, "exit");
  const lines = createInterface({ input: server.stdout });
  const first = await Promise.race([
    once(lines, "line").then(([line]) => line),
    ended.then(([code]) => {
      throw new Error(`serve.mjs ended with ${code} before it served; the lines above say why.`);
    }),
  ]);
  return {
    ...JSON.parse(first),
    /** Ends it by the end of its input; resolves to its exit code. */
    close: async () => {
      server.stdin.end();
      const [code] = await ended;
      return code;
    },
  };
}

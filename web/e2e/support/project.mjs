// Starts the real `duet-api` on its own Supabase project: Auth and Data API from Supabase's alpha implementation, a stand-in for
// Realtime (supabase/testbed/README.md), and a real database.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { makeDatabase, SHIM } from "../../../supabase/testbed/database.mjs";
import { serve } from "../../../supabase/testbed/project.mjs";

/** The program to test: `DUET_API_BIN`. */
function binary() {
  if (!process.env.DUET_API_BIN)
    throw new Error("Set DUET_API_BIN to the `duet-api` to test, or run `cargo xtask test --only e2e`.");
  return process.env.DUET_API_BIN;
}

/** A fresh installation: its address, setup token and database. */
export async function startOnProject() {
  const database = await makeDatabase("e2e");
  const worker = database.urlAs("duet_worker");
  const owner = { PATH: process.env.PATH, OWNER_URL: database.urlAs("postgres") };
  const migrate = promisify(execFile)(binary(), ["--json", "migrate", "--owner-url", "env:OWNER_URL"], { env: owner });
  const { setup_token: token } = JSON.parse((await migrate).stdout);
  const project = await serve(database.urlAs(), [SHIM], ["--realtime"]);

  let log = "";
  const child = spawn(binary(), ["--json", "serve", "--bind", "127.0.0.1:0"], {
    env: {
      PATH: process.env.PATH,
      DUET_BACKEND: "supabase",
      DUET_DATABASE_URL: worker,
      DUET_SUPABASE_URL: project.url,
      DUET_SUPABASE_PUBLISHABLE_KEY: project.publishableKey,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stderr.on("data", (chunk) => {
    log += chunk;
  });
  const first = once(createInterface({ input: child.stdout }), "line");
  const end = once(child, "exit").then(() => {
    throw new Error(`duet-api ended before it served:\n${log}`);
  });
  end.catch(() => undefined);
  const [line] = await Promise.race([first, end]);
  const { url } = JSON.parse(line);
  return {
    url,
    /** The project's address. */
    project: project.url,
    token,
    sql: database.sql,
    log: () => log,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const exit = once(child, "exit");
        child.kill("SIGTERM");
        await exit;
      }
      await project.close();
      await database.drop();
    },
  };
}

// Starts the real `duet` on a free port with a data folder of its own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** The program to test: `DUET_BIN`. */
function binary() {
  if (!process.env.DUET_BIN) {
    throw new Error(
      "Set DUET_BIN to the `duet` to test, for example with `cargo build -p duet-local`, or run `cargo xtask test`.",
    );
  }
  return process.env.DUET_BIN;
}

/**
 * A fresh installation. `settings` is TOML for its configuration file. The offline model answers, with a pause between
 * words, so that there is something to watch.
 */
export async function startDuet({ settings = "" } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "duet-web-"));
  const config = join(folder, "duet.toml");
  writeFileSync(config, settings);
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    XDG_CONFIG_HOME: join(folder, "config"),
    XDG_DATA_HOME: join(folder, "data"),
    // No keyring of the machine's: the key lies in the folder.
    DBUS_SESSION_BUS_ADDRESS: "unix:path=/nonexistent",
    DUET_KEY: undefined,
  };
  let child;
  let log = "";

  async function start(bind) {
    child = spawn(
      binary(),
      ["--json", "--config", config, "--data", join(folder, "duet.db"), "serve", "--bind", bind],
      {
        env,
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    child.stderr.on("data", (chunk) => {
      log += chunk;
    });
    const first = once(createInterface({ input: child.stdout }), "line");
    const end = once(child, "exit").then(() => {
      throw new Error(`duet ended before it served:\n${log}`);
    });
    end.catch(() => undefined);
    const [line] = await Promise.race([first, end]);
    return JSON.parse(line);
  }

  const said = await start("127.0.0.1:0");
  const { host } = new URL(said.url);
  const ended = async (signal) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  };
  return {
    url: said.url,
    token: said.setup_token,
    setupUrl: said.setup_url,
    log: () => log,
    /** As if the machine lost power: nothing is written any more. */
    kill: () => ended("SIGKILL"),
    /** The same installation again, at the same address. */
    restart: () => start(host),
    async stop() {
      await ended("SIGTERM");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

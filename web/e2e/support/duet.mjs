// Starts the real `duet` on a free port with its own data folder.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { owner } from "./people.mjs";

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
 * A fresh installation, or a copy of `from`. `settings` is TOML for its configuration file. The offline model answers, with a
 * pause between words, so that streaming can be observed.
 */
export async function startDuet({ settings = "", from } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "duet-web-"));
  if (from) cpSync(from, folder, { recursive: true });
  const config = join(folder, "duet.toml");
  writeFileSync(config, settings);
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    XDG_CONFIG_HOME: join(folder, "config"),
    XDG_DATA_HOME: join(folder, "data"),
    // Do not use the machine's keyring: the key is in the folder.
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
    /** Like a power loss: nothing more is written. */
    kill: () => ended("SIGKILL"),
    /** Starts the same installation again, at the same address. */
    restart: () => start(host),
    /** Stops it and keeps its folder. */
    async end() {
      await ended("SIGTERM");
      return folder;
    },
    async stop() {
      await ended("SIGTERM");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

let prepared;

/** Sets up an installation over the API, once for all tests of this process, and stops it: its folder and the owner's cookie. */
async function prepare() {
  const duet = await startDuet();
  const answer = await fetch(`${duet.url}/v1/setup`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-duet-csrf": "1" },
    body: JSON.stringify({
      token: duet.token,
      email: owner.email,
      password: owner.password,
      display_name: owner.name,
      workspace_name: "Home",
      companion_name: owner.companion,
    }),
  });
  if (answer.status !== 201) throw new Error(`set-up: ${answer.status} ${await answer.text()}`);
  const cookie = sessionOf(answer);
  const folder = await duet.end();
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return { folder, cookie };
}

/** The session cookie that an answer set. */
function sessionOf(answer) {
  const session = answer.headers.getSetCookie().find((cookie) => cookie.includes("duet_session="));
  const [name, value] = session.split(";")[0].split("=");
  return { name, value };
}

/** A person's API calls, and the path of their workspace. */
async function person(url, cookie) {
  const call = async (method, path, body, headers = {}) => {
    const answer = await fetch(url + path, {
      method,
      headers: {
        cookie: `${cookie.name}=${cookie.value}`,
        origin: url,
        "content-type": "application/json",
        "x-duet-csrf": "1",
        ...headers,
      },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  };
  const { workspaces } = await call("GET", "/v1/auth/session");
  return { cookie, call, home: `/v1/workspaces/${workspaces[0].workspace.id}` };
}

/** A separate installation with its owner, and the owner's session cookie. */
export async function startWithOwner({ settings } = {}) {
  prepared ??= prepare();
  const { folder, cookie } = await prepared;
  const duet = await startDuet({ settings, from: folder });
  const { call, home } = await person(duet.url, cookie);
  return {
    ...duet,
    cookie,
    /** Calls the API as the owner. */
    call,
    /** The path of the owner's workspace. */
    home,
    /** Invites somebody, who creates an account; returns their API calls and cookie. */
    async join({ email, name, password }) {
      const { token } = await call("POST", `${home}/invitations`, { email, role: "member" });
      const answer = await fetch(`${duet.url}/v1/invitations/accept`, {
        method: "POST",
        headers: { origin: duet.url, "content-type": "application/json", "x-duet-csrf": "1" },
        body: JSON.stringify({ token, display_name: name, password }),
      });
      if (!answer.ok) throw new Error(`joining: ${answer.status} ${await answer.text()}`);
      return person(duet.url, sessionOf(answer));
    },
    /** Sends messages in a new conversation, waits for each reply, and returns the conversation's page address. */
    async talk(...texts) {
      const conversation = await call("POST", `${home}/conversations`, {});
      for (const text of texts) {
        const { run_id } = await call(
          "POST",
          `${home}/conversations/${conversation.id}/messages`,
          { text },
          { "idempotency-key": crypto.randomUUID() },
        );
        // The stream ends with the run.
        const events = await fetch(`${duet.url}${home}/runs/${run_id}/events`, {
          headers: { cookie: `${cookie.name}=${cookie.value}`, accept: "text/event-stream" },
        });
        await events.text();
      }
      return `/chat/${conversation.id}`;
    },
  };
}

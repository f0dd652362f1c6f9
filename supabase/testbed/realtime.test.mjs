// A run's hints from the database to the official client, past a stand-in for Realtime's server: who joins, what arrives, and what
// happens to somebody who is removed.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { RealtimeClient } from "@supabase/realtime-js";
import { WebSocket } from "ws";
import { makeDatabase, SHIM } from "./database.mjs";
import { serve } from "./project.mjs";

const PEOPLE = { ada: "00000000-0000-7000-8000-0000000000a1", ben: "00000000-0000-7000-8000-0000000000b1" };
const WORKSPACE = "00000000-0000-7000-8000-000000000001";
const RUN = "00000000-0000-7000-8000-000000000009";
const TOPIC = `run:${WORKSPACE}:${RUN}`;

let made;
let database;
let served;
const clients = [];

before(async () => {
  made = await makeDatabase("realtime");
  database = made.sql;
  const folder = fileURLToPath(new URL("../../migrations/", import.meta.url));
  for (const file of readdirSync(folder).sort()) {
    await database.begin(async (tx) => {
      await tx.unsafe("set local role postgres");
      await tx.file(folder + file).simple();
    });
  }
  // As its owner, past the functions that would make a run: two members and a run of Ada's.
  await database.unsafe(`
    insert into duet.account (id, email, display_name, created_at) values
      ('${PEOPLE.ada}', 'ada@example.org', 'Ada', now()), ('${PEOPLE.ben}', 'ben@example.org', 'Ben', now());
    insert into duet.workspace values ('${WORKSPACE}', 'Home', '${PEOPLE.ada}', now());
    insert into duet.member values ('${WORKSPACE}', '${PEOPLE.ada}', 'owner', now()), ('${WORKSPACE}', '${PEOPLE.ben}', 'member', now());`);
  await makeRun(RUN, "ada");
  served = await serve(made.urlAs(), [SHIM], ["--realtime"]);
});

after(async () => {
  for (const client of clients) await client.disconnect();
  await served?.close();
  await made?.drop();
});

function token(person, secret = served.jwtSecret) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: PEOPLE[person], role: "authenticated", exp: 4102444800 })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** Joins a topic with the official client; the status that it tells, and what is heard from then on. */
async function join(accessToken, topic = TOPIC) {
  const client = new RealtimeClient(`${served.url.replace("http", "ws")}/realtime/v1`, {
    params: { apikey: served.publishableKey },
    accessToken: async () => accessToken,
    transport: WebSocket,
    timeout: 60_000,
  });
  clients.push(client);
  await client.setAuth();
  const heard = [];
  const channel = client.channel(topic, { config: { private: true } });
  channel.on("broadcast", { event: "hint" }, ({ payload }) => heard.push(payload));
  const status = await new Promise((resolve) => channel.subscribe(resolve));
  return { status, heard, client, channel };
}

/** A run without the conversation around it. */
async function makeRun(id, person) {
  const row = {
    workspace_id: WORKSPACE,
    id,
    conversation_id: id,
    message_id: id,
    reply_id: id,
    user_id: PEOPLE[person],
    agent_id: id,
    status: "queued",
    last_seq: 1,
    created_at: new Date().toISOString(),
    updated_at: new Date().toISOString(),
  };
  await database.begin(async (tx) => {
    await tx.unsafe("set local session_replication_role = replica");
    await tx`insert into duet.run ${tx(row)}`;
  });
}

/** The log grows, as far as hints know. */
const grow = () =>
  database.unsafe(`
  update duet.run set last_seq = last_seq + 1, updated_at = updated_at + interval '1 second' where id = '${RUN}'`);

async function until(condition) {
  for (let tries = 0; tries < 1000; tries++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail("it did not come");
}

test("the run's person joins and hears where its log stands", async () => {
  const ada = await join(token("ada"));
  assert.equal(ada.status, "SUBSCRIBED");
  await grow();
  await until(() => ada.heard.length > 0);
  const { id, ...hint } = ada.heard[0];
  assert.match(id, /^[0-9a-f-]{36}$/);
  assert.deepEqual(hint, { run: RUN, first_seq: 2, last_seq: 2, kinds: [], status: "queued" });
});

test("nobody else joins: another member, a forged token, another topic, a public channel's name", async () => {
  const ada = await join(token("ada"));
  for (const [accessToken, topic] of [
    [token("ben"), TOPIC],
    [token("ada", "another secret"), TOPIC],
    [token("ada"), `run:${RUN}:${RUN}`],
    [token("ada"), "anything"],
  ]) {
    const { status, heard, client } = await join(accessToken, topic);
    assert.equal(status, "CHANNEL_ERROR", topic);
    const before = ada.heard.length;
    await grow();
    await until(() => ada.heard.length > before);
    assert.deepEqual(heard, []);
    await client.disconnect();
  }
});

test("nobody sends: a client's broadcast reaches no one", async () => {
  const ada = await join(token("ada"));
  const other = await join(token("ada"));
  await ada.channel.send({ type: "broadcast", event: "hint", payload: { last_seq: 99 } });
  await grow();
  await until(() => other.heard.length > 0);
  assert.equal(other.heard.filter(({ last_seq }) => last_seq === 99).length, 0);
});

test("who is removed cannot join again", async () => {
  const run = "00000000-0000-7000-8000-00000000000b";
  await makeRun(run, "ben");
  const topic = `run:${WORKSPACE}:${run}`;
  const ben = await join(token("ben"), topic);
  assert.equal(ben.status, "SUBSCRIBED");
  await database.unsafe(`delete from duet.member where user_id = '${PEOPLE.ben}'`);
  assert.equal((await join(token("ben"), topic)).status, "CHANNEL_ERROR");
});

// The served project behaves as the suites expect of Supabase: otherwise they would prove nothing.
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createClient } from "@supabase/supabase-js";
import postgres from "postgres";
import { serve } from "./project.mjs";

const SHIM = fileURLToPath(new URL("../../deploy/postgres/shim.sql", import.meta.url));
const FIXTURE = `
  create table if not exists auth.users (id uuid primary key, email text);
  create table public.note (
    id bigint generated always as identity primary key,
    owner_id uuid not null default auth.uid(),
    body jsonb not null
  );
  alter table public.note enable row level security;
  create policy note_select on public.note for select to authenticated using (owner_id = (select auth.uid()));
  create policy note_insert on public.note for insert to authenticated with check (owner_id = (select auth.uid()));
  grant select, insert on public.note to authenticated;
  create function public.who_am_i(told jsonb) returns jsonb language sql stable set search_path = '' as $$
    select jsonb_build_object('role', current_user, 'uid', auth.uid(), 'email', auth.jwt() ->> 'email', 'told', told)
  $$;
  create function public.raises(code text) returns jsonb language plpgsql set search_path = '' as $$
  begin raise exception 'no' using errcode = code; end $$;
  create function public.bytes(told bytea) returns jsonb language sql stable set search_path = '' as $$
    select to_jsonb(encode(told, 'hex'))
  $$;
  revoke all on function public.who_am_i(jsonb), public.raises(text), public.bytes(bytea) from public;
  grant execute on function public.who_am_i(jsonb), public.raises(text), public.bytes(bytea) to authenticated;`;
const PASSWORD = "correct horse battery";

let admin;
let database;
let served;

before(async () => {
  const server = process.env.DUET_TEST_POSTGRES_URL;
  assert.ok(server, "Set DUET_TEST_POSTGRES_URL; `cargo xtask postgres` starts a server and prints the line.");
  admin = postgres(server, { max: 1, onnotice: () => {} });
  const name = `testbed_${randomBytes(6).toString("hex")}`;
  await admin.unsafe(`create database ${name}`);
  const at = new URL(server);
  at.pathname = `/${name}`;
  database = postgres(at.href, { max: 2, onnotice: () => {} });
  await database.file(SHIM).simple();
  await database.unsafe(FIXTURE);
  served = await serve(at.href, [SHIM]);
});

after(async () => {
  await served?.close();
  await database?.end();
  if (database) await admin.unsafe(`drop database ${database.options.database} with (force)`);
  await admin?.end();
});

/** A client without Realtime: Node 20 has no WebSocket, and the client asks for one when it is made. */
const client = () =>
  createClient(served.url, served.publishableKey, {
    auth: { persistSession: false, autoRefreshToken: false },
    realtime: { transport: class {} },
  });

async function person(name) {
  const signedIn = client();
  const email = `${name}-${randomBytes(4).toString("hex")}@example.org`;
  const { error } = await signedIn.auth.signUp({ email, password: PASSWORD });
  assert.equal(error, null);
  return { email, client: signedIn, id: (await signedIn.auth.getUser()).data.user.id };
}

/** A token that is signed with any secret. */
function token(secret, claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ exp: 4102444800, ...claims })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

test("a person signs up, signs in, refreshes, is known, and signs out", async () => {
  const { email, id } = await person("ada");
  const again = client();
  const wrong = await again.auth.signInWithPassword({ email, password: "something else" });
  assert.equal(wrong.error.code, "invalid_credentials");
  const right = await again.auth.signInWithPassword({ email, password: PASSWORD });
  assert.equal(right.error, null);
  const refreshed = await again.auth.refreshSession();
  assert.notEqual(refreshed.data.session.refresh_token, right.data.session.refresh_token);
  assert.equal((await again.auth.getUser()).data.user.id, id);
  const { access_token } = refreshed.data.session;
  assert.equal((await again.auth.signOut()).error, null);
  assert.notEqual((await client().auth.getUser(access_token)).error, null);
});

test("a function runs as the person, with arguments as they were given", async () => {
  const { client, id, email } = await person("ben");
  for (const told of [{ a: [1, "zwei", null, { b: true }] }, [], "plain words", 7, false]) {
    const { data, error } = await client.rpc("who_am_i", { told });
    assert.equal(error, null);
    assert.deepEqual(data, { role: "authenticated", uid: id, email, told });
  }
});

test("errors of the database keep their code and have PostgREST's status", async () => {
  const { client } = await person("cai");
  const statuses = { P0001: 400, 23514: 400, 40001: 500, "40P01": 500, 57014: 500, 53300: 503, 42501: 403, "22P02": 400 };
  for (const [code, expected] of Object.entries(statuses)) {
    const { error, status } = await client.rpc("raises", { code });
    assert.deepEqual([error.code, status], [code, expected]);
  }
});

test("bytes arrive in Postgres's own form", async () => {
  const { client } = await person("dee");
  assert.equal((await client.rpc("bytes", { told: "\\x00ff" })).data, "00ff");
});

test("each copy of a database is a project of its own below its name", async () => {
  const name = database.options.database;
  const each = await serve(process.env.DUET_TEST_POSTGRES_URL, [], ["--each"]);
  try {
    const settings = await fetch(`${each.url}/${name}/auth/v1/settings`, { headers: { apikey: each.publishableKey } });
    assert.equal(settings.status, 200);
    assert.equal((await fetch(`${each.url}/no_such_database/auth/v1/settings`)).status >= 400, true);
    assert.equal((await fetch(each.url)).status, 404);
  } finally {
    assert.equal(await each.close(), 0);
  }
});

test("nobody in particular may not call what is granted to people", async () => {
  const { error, status } = await client().rpc("who_am_i", { told: null });
  assert.equal(error.code, "42501");
  assert.equal(status, 401);
  const keyless = await fetch(`${served.url}/rest/v1/rpc/who_am_i`, { method: "POST", body: "{}" });
  assert.equal(keyless.status, 401);
  const forged = await fetch(`${served.url}/rest/v1/rpc/who_am_i`, {
    method: "POST",
    headers: { apikey: served.publishableKey, authorization: `Bearer ${token("another secret", { role: "service_role" })}` },
    body: '{"told":1}',
  });
  assert.equal(forged.status, 401);
});

test("row level security binds, and no grant was added", async () => {
  const [ada, ben] = [await person("ada"), await person("ben")];
  assert.equal((await ada.client.from("note").insert({ body: { of: "ada" } })).error, null);
  assert.deepEqual((await ada.client.from("note").select("body")).data, [{ body: { of: "ada" } }]);
  assert.deepEqual((await ben.client.from("note").select("body")).data, []);
  const stolen = await ben.client.from("note").insert({ body: {}, owner_id: ada.id });
  assert.equal(stolen.error.code, "42501");
  const deleted = await ada.client.from("note").delete().eq("owner_id", ada.id);
  assert.equal(deleted.error.code, "42501");
  const [{ acl }] = await database`select relacl::text as acl from pg_class where relname = 'note'`;
  assert.doesNotMatch(acl, /anon|service_role/);
});

test("the platform's functions are the shim's again, and its people have all that signing in needs", async () => {
  const [{ source }] = await database`select prosrc as source from pg_proc where proname = 'uid' and pronamespace = 'auth'::regnamespace`;
  assert.match(source, /request\.jwt\.claims/);
  const columns = await database`select attname from pg_attribute where attrelid = 'auth.users'::regclass`;
  assert.ok(columns.some(({ attname }) => attname === "encrypted_password"));
});

test("it ends when its input does", async () => {
  const at = new URL(process.env.DUET_TEST_POSTGRES_URL);
  at.pathname = `/${database.options.database}`;
  const other = await serve(at.href, [SHIM]);
  assert.equal((await fetch(`${other.url}/auth/v1/settings`)).status < 500, true);
  assert.equal(await other.close(), 0);
  await assert.rejects(fetch(`${other.url}/auth/v1/settings`));
});

// Serves /auth/v1 and /rest/v1 over a Postgres, for tests: with @supabase/lite, Supabase's own TypeScript implementation of
// its Auth and Data API, which is alpha. The production servers (GoTrue, PostgREST) need Docker. Where a real project is at
// hand, tests use that instead; see project.mjs.
//
//   node serve.mjs --postgres URL [--after FILE.sql]…
//
// URL names the database and a superuser. Prints one line of JSON, {"url", "publishableKey", "jwtSecret"}, and ends when its
// standard input does. The files run after the bootstrap, which replaces functions of the platform: they put them back.
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { serve } from "@hono/node-server";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";
import { completeAuthTables } from "./auth-tables.mjs";

const { values } = parseArgs({
  options: {
    postgres: { type: "string" },
    after: { type: "string", multiple: true, default: [] },
  },
});
if (!values.postgres) {
  console.error("Name the database to serve: node serve.mjs --postgres postgres://superuser@127.0.0.1:5432/name");
  process.exit(2);
}

const publishableKey = `sb_publishable_${randomBytes(16).toString("base64url")}`;
const jwtSecret = randomBytes(32).toString("base64url");

// The implementation encodes JSON arguments itself, all but strings: what is JSON already stays as it is. So a string that
// reads like JSON ("5", "{}") arrives as what it reads like, where PostgREST leaves it a string.
function encodedOnce(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  try {
    JSON.parse(value);
    return value;
  } catch {
    return JSON.stringify(value);
  }
}
const json = (type) => ({ to: type, from: [type], serialize: encodedOnce, parse: JSON.parse });

const connection = createPostgresConnection({
  url: values.postgres,
  postgresOptions: {
    max: 20,
    onnotice: () => {},
    types: { json: json(114), jsonb: json(3802) },
  },
});
// Row level security is on: without this, the first request would grant everything on every such table to the API's roles.
connection.rlsState = "active";

const app = new App({
  connection,
  auth: {
    enabled: true,
    jwt_secret: jwtSecret,
    publishable_key: publishableKey,
    email: { enable_confirmations: false },
  },
  // The real CLI keeps the history of migrations.
  db: { migrations: { enabled: false } },
  storage: { enabled: false },
  studio: { enabled: false },
});

await app.ensureSystemSchema();
await completeAuthTables(connection, values.postgres);
for (const file of values.after) {
  await connection.driver.unsafe(await readFile(file, "utf8"));
}
// Tables that the files made are known from now on.
await connection.clearSchemaCache();

const server = serve(
  {
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request, env) => app.fetch(request, { peerAddress: env.incoming.socket.remoteAddress ?? null }),
  },
  ({ port }) => console.log(JSON.stringify({ url: `http://127.0.0.1:${port}`, publishableKey, jwtSecret })),
);

process.stdin.resume();
process.stdin.on("end", async () => {
  server.close();
  server.closeAllConnections();
  await connection.close();
  process.exit(0);
});

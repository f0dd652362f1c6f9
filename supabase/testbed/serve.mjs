// Serves /auth/v1 and /rest/v1 over a Postgres, for tests: with @supabase/lite, Supabase's own TypeScript implementation of
// its Auth and Data API, which is alpha. The production servers (GoTrue, PostgREST) need Docker. Where a real project is at
// hand, tests use that instead; see project.mjs.
//
//   node serve.mjs --postgres URL [--after FILE.sql]…             one database
//   node serve.mjs --postgres URL [--after FILE.sql]… --prepare   makes it ready to be copied, and ends
//   node serve.mjs --postgres URL --each                          every copy on that server, below its name
//
// URL names the database (for --each: any) and a superuser. Prints one line of JSON, {"url", "publishableKey", "jwtSecret"}, and
// ends when its standard input does. The files run after the bootstrap, which replaces functions of the platform: they put
// them back. With --realtime one database has /realtime/v1 as well, by a stand-in of the tests' own (realtime.mjs).
import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { serve } from "@hono/node-server";
import { open, prepare } from "./app.mjs";
import { each } from "./each.mjs";
import { serveRealtime } from "./realtime.mjs";

const { values } = parseArgs({
  options: {
    postgres: { type: "string" },
    after: { type: "string", multiple: true, default: [] },
    prepare: { type: "boolean", default: false },
    each: { type: "boolean", default: false },
    realtime: { type: "boolean", default: false },
  },
});
if (!values.postgres) {
  console.error("Name the database to serve: node serve.mjs --postgres postgres://superuser@127.0.0.1:5432/name");
  process.exit(2);
}

const keys = {
  publishableKey: `sb_publishable_${randomBytes(16).toString("base64url")}`,
  jwtSecret: randomBytes(32).toString("base64url"),
};

async function one() {
  const opened = open(values.postgres, keys);
  await prepare(opened, values.postgres, values.after);
  return {
    fetch: (request, environment) => opened.app.fetch(request, environment),
    close: () => opened.connection.close(),
  };
}

const served = values.each ? each(values.postgres, keys) : await one();
if (values.prepare) {
  await served.close();
  process.exit(0);
}

// Production lets pages of any origin ask, with the headers of Supabase's own client; the implementation does not.
async function answer(request, environment) {
  const given = await served.fetch(request, environment);
  if (!request.headers.has("origin")) return given;
  const headers = new Headers(given.headers);
  headers.set("access-control-allow-origin", "*");
  const wanted = request.headers.get("access-control-request-headers");
  if (wanted) headers.set("access-control-allow-headers", wanted);
  return new Response(request.method === "OPTIONS" ? null : given.body, { status: given.status, headers });
}

const server = serve(
  {
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request, env) => answer(request, { peerAddress: env.incoming.socket.remoteAddress ?? null }),
  },
  ({ port }) => console.log(JSON.stringify({ url: `http://127.0.0.1:${port}`, ...keys })),
);

const realtime = values.realtime && serveRealtime(server, { database: values.postgres, ...keys });

process.stdin.resume();
process.stdin.on("end", async () => {
  if (realtime) await realtime.close();
  server.close();
  server.closeAllConnections();
  await served.close();
  process.exit(0);
});

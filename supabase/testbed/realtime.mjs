// A stand-in for Supabase's Realtime server, for tests: its websocket protocol (version 2.0.0 of the serialisation), as far as a client
// needs it that joins private topics and hears broadcasts. The production server (Elixir) cannot be had where the tests run. What
// decides is real: whether somebody may join is asked of the database as the real server asks it, and what is sent on are the rows of
// realtime.messages, which testbed/realtime.sql makes.
import { createHmac, timingSafeEqual } from "node:crypto";
import postgres from "postgres";
import { WebSocketServer } from "ws";

/** How often the table is looked at; the real server reads the write-ahead log. */
const LOOK_MS = 40;

/**
 * Serves /realtime/v1/websocket on an HTTP server.
 *
 * @param {import("node:http").Server} server
 * @param {{ database: string, publishableKey: string, jwtSecret: string }} options `database` is a superuser's URL
 */
export function serveRealtime(server, { database, publishableKey, jwtSecret }) {
  const sql = postgres(database, { max: 4, onnotice: () => {} });
  const sockets = new WebSocketServer({ noServer: true });
  /** Channels by topic without its prefix. */
  const joined = new Map();

  server.on("upgrade", (request, socket, head) => {
    const url = new URL(request.url, "http://localhost");
    const known = url.pathname === "/realtime/v1/websocket" && url.searchParams.get("apikey") === publishableKey;
    if (!known) return socket.end("HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n");
    sockets.handleUpgrade(request, socket, head, (connection) => attend(connection));
  });

  function attend(connection) {
    const own = new Map();
    const send = (...message) => connection.send(JSON.stringify(message));
    connection.on("message", async (data, binary) => {
      // Broadcasts of clients are binary; Duet has no policy by which one could be sent.
      if (binary) return;
      const [joinRef, ref, topic, event, payload] = JSON.parse(String(data));
      const answer = (status, response = {}) => send(joinRef, ref, topic, "phx_reply", { status, response });
      if (topic === "phoenix" && event === "heartbeat") return answer("ok");
      const name = topic.replace(/^realtime:/, "");
      if (event === "phx_join") {
        const claims = verified(payload.access_token, jwtSecret);
        if (!payload.config?.private || !claims || !(await mayJoin(claims, name))) {
          return answer("error", {
            reason: `Unauthorized: You do not have permissions to read from this Channel topic: ${name}`,
          });
        }
        leave(own, name);
        const channel = { joinRef, topic, send, claims };
        own.set(name, channel);
        if (!joined.has(name)) joined.set(name, new Set());
        joined.get(name).add(channel);
        return answer("ok", { postgres_changes: [] });
      }
      if (event === "access_token") {
        // A new token: what it may hear is asked again.
        const claims = verified(payload.access_token, jwtSecret);
        if (own.has(name) && !(claims && (await mayJoin(claims, name)))) {
          leave(own, name);
          send(joinRef, null, topic, "phx_close", {});
        }
        return;
      }
      if (event === "phx_leave") {
        leave(own, name);
        return answer("ok");
      }
    });
    connection.on("close", () => {
      for (const name of [...own.keys()]) leave(own, name);
    });
  }

  function leave(own, name) {
    const channel = own.get(name);
    own.delete(name);
    joined.get(name)?.delete(channel);
    if (joined.get(name)?.size === 0) joined.delete(name);
  }

  /** As the real server does: a row of the topic is put in, the person's role and claims are taken on, and the row is looked for. */
  async function mayJoin(claims, topic) {
    const role = claims.role === "authenticated" ? "authenticated" : "anon";
    let seen = false;
    try {
      await sql.begin(async (tx) => {
        await tx`insert into realtime.messages (topic, extension, event, private) values (${topic}, 'broadcast', 'probe', true)`;
        await tx`select set_config('realtime.topic', ${topic}, true), set_config('request.jwt.claims', ${JSON.stringify(claims)}, true),
                 set_config('role', ${role}, true)`;
        const rows =
          await tx`select 1 from realtime.messages where topic = ${topic} and extension = 'broadcast' limit 1`;
        seen = rows.length > 0;
        throw new Undo();
      });
    } catch (error) {
      if (!(error instanceof Undo) && error.code !== "42501") throw error;
    }
    return seen;
  }

  let after = null;
  let stopped = false;
  const looking = (async () => {
    while (!stopped) {
      // Rows become visible when their transaction ends, maybe later than rows with a later time: a second is looked at again.
      const rows = await sql`
        select id, topic, event, payload, private, inserted_at from realtime.messages
        where extension = 'broadcast' and inserted_at > localtimestamp - interval '2 seconds' order by inserted_at`;
      const seen = after ?? new Set(rows.map((row) => row.id));
      for (const row of rows) {
        if (seen.has(row.id)) continue;
        for (const { topic, send } of joined.get(row.topic) ?? []) {
          send(null, null, topic, "broadcast", {
            type: "broadcast",
            event: row.event,
            payload: row.payload,
            meta: { id: row.id },
          });
        }
      }
      after = new Set(rows.map((row) => row.id));
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  })();

  return {
    /** Ends it and every connection. */
    close: async () => {
      stopped = true;
      await looking;
      for (const connection of sockets.clients) connection.terminate();
      sockets.close();
      await sql.end();
    },
  };
}

class Undo extends Error {}

/** The claims of a token that this project signed and that still holds; the real server checks by the project's keys. */
function verified(token, secret) {
  const [header, payload, signature] = String(token).split(".");
  if (!signature) return undefined;
  const wanted = createHmac("sha256", secret).update(`${header}.${payload}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return undefined;
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
  return typeof claims.exp === "number" && claims.exp * 1000 > Date.now() ? claims : undefined;
}

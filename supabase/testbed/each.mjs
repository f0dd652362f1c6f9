// Every database of a server as a project of its own, below its name: `/name/rest/v1/…`. The databases are copies of one that
// was prepared, so that the first request is answered at once.
import { createHash } from "node:crypto";
import { open } from "./app.mjs";

/** A project that nobody asked for so long is put away; tests do not come back to one. */
const QUIET_MS = 20_000;

const FUNCTIONS = `
  select string_agg(p.oid::regprocedure || p.prosrc, ';' order by p.oid::regprocedure::text) as sources
  from pg_proc p where p.pronamespace = 'public'::regnamespace`;

/** A handler of requests for every database of the server at `server`. */
export function each(server, keys) {
  const projects = new Map();
  const schemas = new Map();

  function urlOf(name) {
    const url = new URL(server);
    url.pathname = `/${name}`;
    return url.href;
  }

  // What copies of one database look like inside is found out once.
  async function schemaOf(url) {
    const { connection } = open(url, keys, { connections: 1 });
    try {
      const [{ sources }] = await connection.driver.unsafe(FUNCTIONS);
      return createHash("sha256").update(sources ?? "").digest("hex");
    } finally {
      await connection.close();
    }
  }

  async function start(name) {
    const url = urlOf(name);
    const schema = await schemaOf(url);
    const schemaCache = {
      get: async () => schemas.get(schema),
      set: async (_, value) => void schemas.set(schema, value),
      delete: async () => void schemas.delete(schema),
    };
    return open(url, keys, { connections: 4, schemaCache });
  }

  const sweep = setInterval(() => {
    for (const [name, project] of projects) {
      if (project.busy > 0 || Date.now() - project.asked < QUIET_MS) continue;
      projects.delete(name);
      close(project);
    }
  }, QUIET_MS / 4);

  async function close(project) {
    try {
      await (await project.opened).connection.close();
    } catch (error) {
      console.error(`A project could not be put away: ${error}`);
    }
  }

  async function fetch(request, environment) {
    const url = new URL(request.url);
    const [, name, rest] = /^\/([a-z0-9_]+)(\/.*)$/.exec(url.pathname) ?? [];
    if (!name) return new Response("Name a database: /name/rest/v1/…", { status: 404 });
    let project = projects.get(name);
    if (!project) {
      project = { opened: start(name), asked: 0, busy: 0 };
      projects.set(name, project);
      project.opened.catch(() => projects.delete(name));
    }
    project.busy += 1;
    try {
      const { app } = await project.opened;
      url.pathname = rest;
      return await app.fetch(new Request(url, request), environment);
    } finally {
      project.busy -= 1;
      project.asked = Date.now();
    }
  }

  return {
    fetch,
    close: async () => {
      clearInterval(sweep);
      await Promise.all([...projects.values()].map(close));
    },
  };
}

// @supabase/lite over one database, set right where it differs from what production does.
import { readFile } from "node:fs/promises";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";
import { completeAuthTables } from "./auth-tables.mjs";

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

// Bytes arrive as PostgREST takes them, in Postgres's own hex form: the driver would encode that text once more.
const bytea = {
  to: 17,
  from: [17],
  serialize: (value) => (typeof value === "string" ? value : `\\x${Buffer.from(value).toString("hex")}`),
  parse: (text) => Buffer.from(text.slice(2), "hex"),
};

// Statuses by SQLSTATE as PostgREST has them, for those that the implementation answers with 500 and without the code.
// https://docs.postgrest.org/en/stable/references/errors.html
const STATUSES = [
  [/^(42|22|21|55|PT|PGRST)|^(23502|23503|23505|25006)$/, undefined],
  [/^(08|53|57P01)/, 503],
  [/^(09|25|2D|38|39|3B|40|54|57|58|F0|HV|XX)/, 500],
  [/^(0L|0P|28)/, 403],
  [/^/, 400],
];

/** An error of the database in the form in which the implementation passes status and code on. */
function withCode(error) {
  if (error?.name !== "PostgresError" || typeof error.code !== "string") return error;
  const [, status] = STATUSES.find(([codes]) => codes.test(error.code));
  if (status === undefined) return error;
  const { code, message, detail, hint } = error;
  return {
    code: "PGRST",
    message: JSON.stringify({ code, message, details: detail ?? null, hint: hint ?? null }),
    detail: JSON.stringify({ status, headers: {} }),
  };
}

// What the database refuses is told in the answer; the implementation prints all of it besides, values too.
const print = console.error;
console.error = (...words) => {
  const [error] = words;
  if (error?.name !== "PostgresError" && error?.code !== "PGRST" && !(error instanceof TypeError)) print(...words);
};

/**
 * The implementation on a database. `keys` are the project's: `publishableKey` and `jwtSecret`.
 *
 * @param {string} url the database, as a superuser
 * @param {{connections?: number, schemaCache?: object}} options
 */
export function open(url, keys, { connections = 20, schemaCache } = {}) {
  const connection = createPostgresConnection({
    url,
    schemaCache,
    postgresOptions: {
      max: connections,
      idle_timeout: 5,
      onnotice: () => {},
      types: { json: json(114), jsonb: json(3802), bytea },
    },
  });
  // Row level security is on: without this, the first request would grant everything on every such table to the API's roles.
  connection.rlsState = "active";
  const known = connection.normalizeDbError.bind(connection);
  connection.normalizeDbError = (error) => withCode(known(error));
  const app = new App({
    connection,
    auth: {
      enabled: true,
      jwt_secret: keys.jwtSecret,
      publishable_key: keys.publishableKey,
      email: { enable_confirmations: false },
    },
    // The real CLI keeps the history of migrations.
    db: { migrations: { enabled: false } },
    storage: { enabled: false },
    studio: { enabled: false },
  });
  return { app, connection };
}

/** Makes the tables and functions of the implementation, then runs the files that put the platform's own back. */
export async function prepare({ app, connection }, url, after) {
  await app.ensureSystemSchema();
  await completeAuthTables(connection, url);
  for (const file of after) {
    await connection.driver.unsafe(await readFile(file, "utf8"));
  }
  // Tables that the files made are known from now on.
  await connection.clearSchemaCache();
}

// A fresh database of the test server, for suites that are not Rust.
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import postgres from "postgres";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

/** What the platform brings: applied before the migrations, and after a bootstrap that replaces functions of it. */
export const SHIM = at("../../deploy/postgres/shim.sql");
/** What Realtime brings. */
const REALTIME = at("realtime.sql");

/**
 * Makes a database on the server that `DUET_TEST_POSTGRES_URL` names, with what a Supabase project has and without the migrations.
 *
 * @param {string} purpose part of its name
 */
export async function makeDatabase(purpose) {
  const server = process.env.DUET_TEST_POSTGRES_URL;
  if (!server) throw new Error("Set DUET_TEST_POSTGRES_URL; `cargo xtask postgres` starts a server and prints the line.");
  const name = `${purpose}_${randomBytes(6).toString("hex")}`;
  const admin = postgres(server, { max: 1, onnotice: () => {} });
  await admin.unsafe(`create database ${name}`);
  const urlAs = (user) => {
    const url = new URL(server);
    url.pathname = `/${name}`;
    if (user) url.username = user;
    return url.href;
  };
  const sql = postgres(urlAs(), { max: 2, onnotice: () => {} });
  await sql.file(SHIM).simple();
  await sql.file(REALTIME).simple();
  return {
    /** Where it is, as the superuser or as another login. */
    urlAs,
    /** Statements as the superuser. */
    sql,
    drop: async () => {
      await sql.end();
      await admin.unsafe(`drop database ${name} with (force)`);
      await admin.end();
    },
  };
}

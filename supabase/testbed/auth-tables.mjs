// A platform shim may have made `auth.users` with only what policies need. The bootstrap of @supabase/lite leaves tables that
// exist as they are and ignores what then fails, so what its own tables have is looked up in a scratch database and added.
import { randomBytes } from "node:crypto";
import postgres from "postgres";

const COLUMNS = `
  select c.relname as "table", a.attname as "column", format_type(a.atttypid, a.atttypmod) as type,
    pg_get_expr(d.adbin, d.adrelid) as expression, a.attgenerated = 's' as generated
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'auth'
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  where c.relkind = 'r'
  order by c.relname, a.attgenerated <> '', a.attnum`;

/** Adds the columns and indexes of the implementation's tables that the database lacks. */
export async function completeAuthTables(connection, url) {
  const wanted = await inScratchDatabase(url, async (scratch) => {
    await scratch.unsafe(connection.config.baseSchema);
    return scratch.unsafe(COLUMNS);
  });
  const known = new Set((await connection.driver.unsafe(COLUMNS)).map(({ table, column }) => `${table}.${column}`));
  for (const { table, column, type, expression, generated } of wanted) {
    if (known.has(`${table}.${column}`)) continue;
    let given = "";
    if (expression !== null) given = generated ? `generated always as (${expression}) stored` : `default ${expression}`;
    await connection.driver.unsafe(`alter table auth."${table}" add column "${column}" ${type} ${given}`);
  }
  // Once more, with errors told: nothing of it may fail now.
  await connection.driver.unsafe(connection.config.baseSchema);
}

async function inScratchDatabase(url, use) {
  const name = `scratch_${randomBytes(8).toString("hex")}`;
  const admin = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await admin.unsafe(`create database ${name} template template0`);
    const at = new URL(url);
    at.pathname = `/${name}`;
    const scratch = postgres(at.href, { max: 1, onnotice: () => {} });
    try {
      return await use(scratch);
    } finally {
      await scratch.end();
      await admin.unsafe(`drop database ${name}`);
    }
  } finally {
    await admin.end();
  }
}

-- Duet's things stand in its own schemas: what belongs to its owner elsewhere is looked at by nobody. In `public` there are functions
-- alone, in the others no views: whoever asks, asks the tables. And there are no ways by which rows leave that are no statement of
-- somebody's: publications, rules, inheritance, triggers of the whole database, foreign servers, connections of the database's own.
with owner as (select nspowner as id from pg_namespace where nspname = 'duet'),
elsewhere as (
    select n.oid, n.nspname from pg_namespace n
    where n.nspname !~ '^(pg_|information_schema$)'
      and n.nspname not in ('duet', 'private', 'driver', 'duet_migrations', 'supabase_migrations')
)
select format('schema %s belongs to Duet''s owner', e.nspname)
from elsewhere e join pg_namespace n on n.oid = e.oid, owner o
where n.nspowner = o.id and e.nspname not in ('public', 'extensions')
union all
select format('%s stands in schema %s', c.oid::regclass, e.nspname)
from pg_class c join elsewhere e on e.oid = c.relnamespace, owner o
where c.relowner = o.id and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relname <> '_sqlx_migrations'
  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
union all
select format('%s stands in schema %s', p.oid::regprocedure, e.nspname)
from pg_proc p join elsewhere e on e.oid = p.pronamespace, owner o
where p.proowner = o.id and e.nspname <> 'public'
  and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
union all
select format('type %s stands in schema %s', t.oid::regtype, e.nspname)
from pg_type t join elsewhere e on e.oid = t.typnamespace, owner o
where t.typowner = o.id and t.typtype in ('d', 'e', 'r') and not exists (select from pg_depend d where d.objid = t.oid and d.deptype = 'e')
union all
-- Whoever owns them: a view may stand anywhere and show what is here.
select format('%s reads %s', v.oid::regclass, c.oid::regclass)
from pg_rewrite r join pg_class v on v.oid = r.ev_class and v.relkind in ('v', 'm')
join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
join pg_class c on c.oid = d.refobjid and c.oid <> v.oid
where c.relnamespace::regnamespace::text in ('duet', 'private', 'driver')
union all
select format('%s does not say what it stands for: %s', r.ev_class::regclass, r.rulename)
from pg_rewrite r join pg_class c on c.oid = r.ev_class
where c.relnamespace::regnamespace::text in ('duet', 'private', 'driver', 'public') and c.relkind in ('r', 'p')
union all
select format('%s inherits from %s', i.inhrelid::regclass, i.inhparent::regclass)
from pg_inherits i join pg_class c on c.oid in (i.inhrelid, i.inhparent)
where c.relnamespace::regnamespace::text in ('duet', 'private', 'driver') and c.relkind in ('r', 'p')
union all
select format('publication %s tells of %s', p.pubname, t.tablename)
from pg_publication p join pg_publication_tables t on t.pubname = p.pubname
where t.schemaname in ('duet', 'private', 'driver')
union all
select format('event trigger %s', t.evtname) from pg_event_trigger t, owner o where t.evtowner = o.id
union all
select format('foreign server %s', s.srvname) from pg_foreign_server s, owner o where s.srvowner = o.id
union all
select format('%s is a large object', l.oid) from pg_largeobject_metadata l, owner o where l.lomowner = o.id

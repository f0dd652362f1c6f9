-- Between two tables of workspaces a foreign key takes the workspace along: no row refers to another workspace's.
select format('%s of %s does not take the workspace along', f.conname, f.conrelid::regclass)
from pg_constraint f
join pg_class c on c.oid = f.conrelid join pg_namespace n on n.oid = c.relnamespace
join pg_attribute w on w.attrelid = f.conrelid and w.attname = 'workspace_id'
join pg_attribute v on v.attrelid = f.confrelid and v.attname = 'workspace_id'
where f.contype = 'f' and n.nspname = 'duet'
  and not exists (select from unnest(f.conkey, f.confkey) as pair (here, there) where pair.here = w.attnum and pair.there = v.attnum)

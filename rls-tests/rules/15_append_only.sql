-- What is written once cannot be changed or emptied, by its owner neither: a trigger of each kind stands there.
select format('%s: no trigger stops %s', t.name, k.kind)
from (values ('duet.audit_entry'), ('duet.run_event'), ('duet.run_event_payload'), ('duet.soul_version'),
             ('duet.policy_version'), ('duet.request'), ('duet.memory_tombstone')) as t (name)
cross join (values ('delete', 8), ('update', 16), ('truncate', 32)) as k (kind, bit)
where not exists (
    select from pg_trigger g
    where g.tgrelid = t.name::regclass and not g.tgisinternal and g.tgenabled in ('O', 'A') and g.tgtype & k.bit <> 0 and g.tgtype & 2 <> 0
      and g.tgfoid in ('private.append_only'::regproc, 'private.only_redacted'::regproc, 'private.request_fixed'::regproc))

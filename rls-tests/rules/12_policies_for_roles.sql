-- Policies are per command and for named roles; what may be written is checked as well as what may be seen.
select format('policy %s on %s.%s: %s', p.policyname, p.schemaname, p.tablename,
    case when p.cmd = 'ALL' then 'is for all commands' when p.permissive <> 'PERMISSIVE' then 'is not permissive'
         when p.roles && array['public', 'anon']::name[] then 'is for everybody' else 'does not check what is written' end)
from pg_policies p
where p.schemaname in ('duet', 'private', 'driver', 'public')
  and (p.cmd = 'ALL' or p.roles && array['public', 'anon']::name[]
       or p.cmd in ('INSERT', 'UPDATE') and p.with_check is null
       or btrim(coalesce(p.qual, ''), '() ') = 'true' or btrim(coalesce(p.with_check, ''), '() ') = 'true')

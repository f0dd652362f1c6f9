-- Policies ask who somebody is and where they are once a statement, in a subquery, and not once a row (measured twentyfold apart).
select format('policy %s on %s.%s asks once a row', p.policyname, p.schemaname, p.tablename)
from pg_policies p,
     regexp_replace(
         regexp_replace(coalesce(p.qual, '') || ' ' || coalesce(p.with_check, ''),
             '\( SELECT (auth\.uid|private\.now)\(\) AS \w+\)', '', 'g'),
         'ARRAY\( SELECT private\.my_\w+\([^()]*\) AS \w+\)', '', 'g') as rest
where p.schemaname in ('duet', 'private', 'driver', 'public')
  and (rest ~ '(auth\.|private\.my_)' or p.cmd <> 'INSERT' and rest ~ 'current_setting\(')
union all
-- On rows of workspaces a policy names the workspaces, or the rows of a table that has such a policy.
select format('policy %s on %s.%s does not ask for the workspace', p.policyname, p.schemaname, p.tablename)
from pg_policies p
where p.schemaname = 'duet'
  and exists (select from pg_attribute a
              where a.attrelid = format('%I.%I', p.schemaname, p.tablename)::regclass and a.attname = 'workspace_id')
  and coalesce(p.qual, '') || coalesce(p.with_check, '') !~ 'private\.my_\w+'

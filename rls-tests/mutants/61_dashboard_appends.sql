-- A role of the platform may call the function that appends to logs.
-- class: grants and roles
-- found by: rule 02_nobody_is_everybody
grant usage on schema private to dashboard_user;
grant execute on function private.append_events(duet.run, jsonb) to dashboard_user;

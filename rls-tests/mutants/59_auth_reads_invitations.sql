-- Supabase Auth's own role reads the table that its hook queries.
-- class: grants and roles
-- found by: rule 02_nobody_is_everybody
grant usage on schema duet to supabase_auth_admin;
grant select on duet.invitation to supabase_auth_admin;

-- People's sessions start with a search path that puts another schema first.
-- class: grants and roles
-- found by: rule 13_roles
do $$ begin execute format('alter role authenticated in database %I set search_path = extensions, duet', current_database()); end $$;

-- Everybody may create temporary types, which security definer functions resolve first.
-- class: objects anywhere
-- found by: rule 16_temporary
do $$ begin execute format('grant temporary on database %I to public', current_database()); end $$;

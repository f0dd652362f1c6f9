-- Everybody may make temporary types, which functions with their owner's rights find first.
-- class: objects anywhere
-- found by: rule 16_temporary
do $$ begin execute format('grant temporary on database %I to public', current_database()); end $$;

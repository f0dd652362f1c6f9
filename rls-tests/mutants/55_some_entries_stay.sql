-- Entries of what was refused can be changed: the trigger looks at the others alone.
-- class: append-only and audit
-- found by: fixed
drop trigger audit_entry_fixed on duet.audit_entry;
create trigger audit_entry_fixed before update or delete on duet.audit_entry
    for each row when (old.outcome = 'done') execute function private.append_only();

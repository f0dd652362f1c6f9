-- Audit entries of refused actions can be changed: the trigger checks only the others.
-- class: append-only and audit
-- found by: fixed
drop trigger audit_entry_fixed on duet.audit_entry;
create trigger audit_entry_fixed before update or delete on duet.audit_entry
    for each row when (old.outcome = 'done') execute function private.append_only();

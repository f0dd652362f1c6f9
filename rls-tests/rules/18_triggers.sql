-- The triggers, each as it is declared here. One more may send on what it sees; one less, one that is switched off, or one that comes at
-- another time or for other columns, lets pass what it was made to stop.
with declared (of, trigger) as (values
    ('duet.audit_entry', 'audit_entry_fixed BEFORE DELETE OR UPDATE ON duet.audit_entry FOR EACH ROW EXECUTE FUNCTION private.append_only()'),
    ('duet.audit_entry', 'audit_entry_kept BEFORE TRUNCATE ON duet.audit_entry FOR EACH STATEMENT EXECUTE FUNCTION private.append_only()'),
    ('duet.memory', 'memory_arrives BEFORE INSERT ON duet.memory FOR EACH ROW EXECUTE FUNCTION private.memory_arrives()'),
    ('duet.memory', 'memory_proposed AFTER INSERT ON duet.memory FOR EACH ROW WHEN ((new.review = ''proposed''::text)) EXECUTE FUNCTION private.hint_proposal()'),
    ('duet.memory', 'memory_reviewed AFTER UPDATE OF review ON duet.memory FOR EACH ROW WHEN ((new.review <> old.review)) EXECUTE FUNCTION private.hint_proposal()'),
    ('duet.memory', 'memory_stored AFTER INSERT ON duet.memory FOR EACH ROW EXECUTE FUNCTION private.memory_stored()'),
    ('duet.memory_tombstone', 'memory_tombstone_fixed BEFORE DELETE OR UPDATE ON duet.memory_tombstone FOR EACH ROW EXECUTE FUNCTION private.append_only()'),
    ('duet.memory_tombstone', 'memory_tombstone_kept BEFORE TRUNCATE ON duet.memory_tombstone FOR EACH STATEMENT EXECUTE FUNCTION private.append_only()'),
    ('duet.policy_version', 'policy_version_fixed BEFORE DELETE OR UPDATE ON duet.policy_version FOR EACH ROW EXECUTE FUNCTION private.append_only()'),
    ('duet.policy_version', 'policy_version_kept BEFORE TRUNCATE ON duet.policy_version FOR EACH STATEMENT EXECUTE FUNCTION private.append_only()'),
    ('duet.request', 'request_fixed BEFORE DELETE OR UPDATE ON duet.request FOR EACH ROW EXECUTE FUNCTION private.request_fixed()'),
    ('duet.request', 'request_kept BEFORE TRUNCATE ON duet.request FOR EACH STATEMENT EXECUTE FUNCTION private.append_only()'),
    ('duet.run', 'run_answers_its_message BEFORE INSERT OR UPDATE OF workspace_id, message_id, conversation_id, user_id ON duet.run FOR EACH ROW EXECUTE FUNCTION private.answers_its_message()'),
    ('duet.run', 'run_labels_worsen BEFORE UPDATE ON duet.run FOR EACH ROW WHEN (((old.labels & (~ new.labels)) <> 0)) EXECUTE FUNCTION private.labels_only_worsen()'),
    ('duet.run_event', 'run_event_fixed BEFORE DELETE OR UPDATE ON duet.run_event FOR EACH ROW EXECUTE FUNCTION private.append_only()'),
    ('duet.run_event', 'run_event_kept BEFORE TRUNCATE ON duet.run_event FOR EACH STATEMENT EXECUTE FUNCTION private.append_only()'),
    ('duet.run_event_payload', 'run_event_payload_fixed BEFORE DELETE OR UPDATE ON duet.run_event_payload FOR EACH ROW EXECUTE FUNCTION private.only_redacted()'),
    ('duet.run_event_payload', 'run_event_payload_kept BEFORE TRUNCATE ON duet.run_event_payload FOR EACH STATEMENT EXECUTE FUNCTION private.append_only()'),
    ('duet.soul_version', 'soul_version_fixed BEFORE DELETE OR UPDATE ON duet.soul_version FOR EACH ROW EXECUTE FUNCTION private.append_only()'),
    ('duet.soul_version', 'soul_version_kept BEFORE TRUNCATE ON duet.soul_version FOR EACH STATEMENT EXECUTE FUNCTION private.append_only()')
),
there (of, trigger, state) as (
    select g.tgrelid::regclass::text, regexp_replace(pg_get_triggerdef(g.oid), '^CREATE TRIGGER ', ''), g.tgenabled
    from pg_trigger g join pg_class c on c.oid = g.tgrelid
    where not g.tgisinternal and c.relnamespace::regnamespace::text in ('duet', 'private', 'driver', 'public')
)
select format('%s has a trigger that is not declared in this rule: %s', t.of, t.trigger) from there t
where (t.of, t.trigger) not in (select d.of, d.trigger from declared d)
  -- Where a project has Realtime; cases/realtime.txt looks into it.
  and t.trigger not like 'run\_hints AFTER UPDATE OF last_seq, status ON duet.run FOR EACH ROW %'
union all
select format('%s lacks its trigger: %s', d.of, d.trigger) from declared d
where not exists (select from there t where (t.of, t.trigger) = (d.of, d.trigger) and t.state in ('O', 'A'))

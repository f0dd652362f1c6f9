-- The world that is attacked. Each part is run once, for each account, for each workspace, or for each person of each workspace, as its
-- heading says. {ws} is the workspace, {me} the person, {maker} the workspace's owner, {name} who it is in words; {my:x} is an id of
-- that person in that workspace, {the:x} one of the workspace, {bytes:x} 32 bytes of that person. Every table has to get rows of every
-- workspace, and where rows belong to persons, of every person.

-- @ account: duet.account, duet.credential, duet.session
insert into duet.account values ({me}, lower({name}) || '@example.test', {name}, now());
insert into duet.credential values ({me}, '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA');
insert into duet.session values ({my:session}, {me}, {bytes:session}, now(), now() + interval '1 day');

-- @ workspace: duet.workspace, duet.agent, duet.soul_version
insert into duet.workspace values ({ws}, 'Workspace', {maker}, now());
insert into duet.agent values
    ({ws}, {the:agent}, 'companion_primary', 'Companion', '', null, '{read_memory,write_memory}',
     '{"domains": ["episodic", "semantic", "working"], "private": true}', '{}', true, 1, now(), now()),
    ({ws}, {the:executor}, 'executor_primary', 'Executor', '', null, '{read_memory,run_tool}',
     '{"domains": ["semantic"], "private": false}', '{}', true, 1, now(), now());
insert into duet.soul_version values
    ({ws}, 1, '{"identity": "i", "personality": "p", "style": "s", "boundaries": "b"}', {maker}, now());

-- @ person: duet.member (the former member's row is taken away at the end)
insert into duet.member values ({ws}, {me}, case when {me} = {maker} then 'owner' else 'member' end, now());

-- @ person: duet.invitation: one by which they came, and one that is open: for somebody without an account, in every workspace; but the
-- stranger's is for themselves, and to workspace C
insert into duet.invitation values
    ({ws}, {my:invitation_used}, lower({name}) || '@example.test', 'member', {bytes:invitation}, {maker}, now() - interval '2 days',
     now() + interval '5 days', now() - interval '1 day', {me}, null),
    (case when {name} = 'stranger' then md5('workspace/C')::uuid else {ws} end, {my:invitation},
     case when {name} = 'stranger' then 'stranger@example.test' else 'friend-of-' || {name} || '@example.test' end, 'member',
     {bytes:welcome}, case when {name} = 'stranger' then md5('account/owner')::uuid else {maker} end, now(), now() + interval '7 days',
     null, null, null);

-- @ person: duet.audit_entry, duet.audit_head
select private.record_audit({ws}, {me}, null, 'key.create', 'key:' || {my:key}, 'done', '{}');

-- @ person: duet.conversation, duet.message, duet.run
insert into duet.conversation (workspace_id, id, user_id, agent_id, title, last_ordinal, created_at, updated_at)
values ({ws}, {my:conversation}, {me}, {the:agent}, 'Talk of ' || {name}, 2, now(), now());
insert into duet.message
    (workspace_id, id, conversation_id, user_id, ordinal, role, status, text, parent_id, run_id, agent_id, created_at)
values ({ws}, {my:message}, {my:conversation}, {me}, 1, 'user', 'complete', 'Words of ' || {name}, null, {my:run}, null, now()),
       ({ws}, {my:reply}, {my:conversation}, {me}, 2, 'assistant', 'complete', 'Answer to ' || {name}, {my:message}, {my:run},
        {the:agent}, now());
insert into duet.run (workspace_id, id, user_id, conversation_id, message_id, reply_id, agent_id, status, created_at, updated_at)
values ({ws}, {my:run}, {me}, {my:conversation}, {my:message}, {my:reply}, {the:agent}, 'done', now(), now());

-- @ person: duet.run_event, duet.run_event_payload, duet.run_event_mention, duet.run_event_outbox
select private.append_events(r, jsonb_build_array(jsonb_build_object(
    'kind', 'started', 'payload', jsonb_build_object('type', 'started', 'agent_id', {the:agent}, 'message_id', {my:message},
                                                     'reply_id', {my:reply}, 'by', {me})::text, 'salt', repeat('ab', 16), 'mentions', jsonb_build_array({my:memory}))))
from duet.run r where r.workspace_id = {ws} and r.id = {my:run};

-- @ person: duet.idempotency_key
insert into duet.idempotency_key
values ({ws}, {me}, 'key', {bytes:request}, {my:message}, {my:run}, {my:reply}, now() + interval '1 day');

-- @ person: duet.api_key
insert into duet.api_key
values ({ws}, {my:key}, {me}, 'Key', 'duet_x', {bytes:secret}, '{chat}', now(), null, null, null);

-- @ workspace: duet.workspace_key, duet.memory_class (shared)
insert into duet.workspace_key values ({ws}, 1, decode(repeat('ab', 40), 'hex'), now());
insert into duet.memory_class (workspace_id, owner, domain, egress) values ({ws}, null, 'semantic', 'any');

-- @ person: duet.memory_class (private), duet.memory, duet.memory_term, duet.memory_thread: one memory for all, one for its owner
insert into duet.memory_class (workspace_id, owner, domain, egress) values ({ws}, {me}, 'episodic', 'any');
insert into duet.memory (workspace_id, id, class, user_id, text, terms, sensitive, taint, review, from_user, conversation_id, ordinal,
                         occurred_at)
select {ws}, case when c.owner is null then {my:memory} else {my:secret} end, c.key, {me}, 'Memory of ' || {name},
       jsonb_build_object('memori', 1, {name}, 1), false, 'trusted', 'accepted', {me}, {my:conversation}, 1, now()
from duet.memory_class c where c.workspace_id = {ws} and c.domain = 'semantic' or c.workspace_id = {ws} and c.owner = {me};

-- @ person: duet.embedding_model, duet.memory_partition, duet.memory_vector, duet.memory_code
select private.put_vector(m, 'world-model', (select '[1' || repeat(',0', 599) || ']')::extensions.vector)
from duet.memory m where m.workspace_id = {ws} and m.id in ({my:memory}, {my:secret});

-- @ person: duet.memory_tombstone
insert into duet.memory_tombstone values ({ws}, {my:gone}, {my:redaction}, {me}, now(), '{}', '{"removed": []}');

-- @ once: duet.issuer
insert into duet.issuer (signing_key, made_at) values (decode(repeat('cd', 32), 'hex'), now());

-- @ once: duet.installation, which has its owner
update duet.installation set owner_since = now();

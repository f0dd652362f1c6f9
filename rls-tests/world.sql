-- The world under attack. Each part runs once, per account, per workspace, or per person of each workspace, as its heading says. {ws}
-- is the workspace, {me} the person, {maker} the workspace's owner, {name} the person in words; {my:x} is an id of that person in
-- that workspace, {the:x} one of the workspace, {bytes:x} 32 bytes of that person, {mark:x} a text that only that row contains: an
-- answer with it has read the row. Every table needs rows of every workspace, where rows belong to persons of every person, and rows
-- in every state that its columns allow: each value of a check constraint, true and false, set and null. {my:x_y} is another x in the
-- state y: attacks try it wherever they try {my:x}.

-- @ account: duet.account, duet.credential, duet.session, duet.device_login: one in each state, and those that ended unused
insert into duet.account values ({me}, lower({name}) || '@example.test', {name}, private.now());
insert into duet.credential values ({me}, '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$' || encode({bytes:password}, 'hex'));
insert into duet.session values
    ({my:session}, {me}, {bytes:session}, private.now(), private.now() + interval '1 day', false),
    ({my:session_over}, {me}, {bytes:session_over}, private.now() - interval '2 days', private.now() - interval '1 second', false),
    ({my:session_device}, {me}, {bytes:session_device}, private.now(), private.now() + interval '1 day', true);
insert into duet.device_login values
    ({bytes:device}, {bytes:code}, {mark:device}, '192.0.2.1', 'waiting', private.now(), private.now() + interval '9 minutes', null, null, null),
    ({bytes:device_asked}, {bytes:code_asked}, {mark:asked}, '192.0.2.1', 'waiting', private.now(),
     private.now() + interval '9 minutes', private.now(), null, null),
    ({bytes:device_approved}, {bytes:code_approved}, {mark:approved}, '192.0.2.1', 'approved', private.now(),
     private.now() + interval '9 minutes', private.now() - interval '5 seconds', {me}, {my:session}),
    ({bytes:device_denied}, {bytes:code_denied}, {mark:denied}, '192.0.2.1', 'denied', private.now(),
     private.now() + interval '9 minutes', private.now() - interval '5 seconds', {me}, {my:session}),
    ({bytes:device_used}, {bytes:code_used}, {mark:used}, '192.0.2.1', 'used', private.now(), private.now() + interval '9 minutes',
     private.now() - interval '5 seconds', {me}, {my:session}),
    ({bytes:device_orphan}, {bytes:code_orphan}, {mark:orphan}, '192.0.2.1', 'approved', private.now(),
     private.now() + interval '9 minutes', null, {me}, {my:session_over}),
    ({bytes:device_late}, {bytes:code_late}, {mark:late}, '192.0.2.1', 'waiting', private.now() - interval '9 minutes', private.now(),
     null, null, null),
    ({bytes:device_late_yes}, {bytes:code_late_yes}, {mark:lateyes}, '192.0.2.1', 'approved', private.now() - interval '9 minutes',
     private.now(), null, {me}, {my:session}),
    ({bytes:device_gone}, {bytes:code_gone}, {mark:gone}, '192.0.2.1', 'waiting', private.now() - interval '69 minutes',
     private.now() - interval '1 hour', null, null, null);

-- @ workspace: duet.workspace, duet.agent, duet.soul_version, duet.policy_version
insert into duet.workspace values ({ws}, 'Workspace ' || {mark:ws}, {maker}, private.now());
insert into duet.agent values
    ({ws}, {the:agent}, 'companion_primary', 'Companion', '', null, '{read_memory,write_memory}',
     '{"domains": ["episodic", "semantic", "working"], "private": true}', '{mail_send}', true, 1, private.now(), private.now()),
    ({ws}, {the:executor}, 'executor_primary', 'Executor', '', 'local/model', '{read_memory,run_tool}',
     '{"domains": ["semantic"], "private": false}', '{}', true, 1, private.now(), private.now()),
    ({ws}, {the:agent_bare}, 'specialist', 'Bare', '', null, '{}',
     '{"domains": ["episodic", "semantic", "working"], "private": true}', '{}', true, 1, private.now(), private.now()),
    ({ws}, {the:agent_off}, 'specialist', 'Off', '', null, '{delegate,external_action,read_memory,run_tool,write_memory}',
     '{"domains": ["episodic", "semantic", "working"], "private": true}', '{}', false, 1, private.now(), private.now());
insert into duet.soul_version values
    ({ws}, 1, '{"identity": "i", "personality": "p", "style": "s", "boundaries": "b"}', {maker}, private.now());
insert into duet.policy_version values
    ({ws}, 1, jsonb_build_array(jsonb_build_object('category', 'external', 'say', 'ask', 'tool', 'mail_send', 'why', 'Because ' || {mark:policy})),
     {maker}, private.now());

-- @ person: duet.member (the former member's row is deleted at the end)
insert into duet.member values ({ws}, {me}, case when {me} = {maker} then 'owner' else 'member' end, private.now());

-- @ person: duet.invitation: the one they joined by, an open, a revoked and an expired one. The open one is for somebody without an
-- account, in every workspace; the stranger's is for themselves, to workspace C.
insert into duet.invitation values
    ({ws}, {my:invitation_used}, lower({name}) || '@example.test', 'member', {bytes:welcome_used}, {maker},
     private.now() - interval '2 days', private.now() + interval '5 days', private.now() - interval '1 day', {me}, null),
    ({ws}, {my:invitation_revoked}, lower({name}) || '@example.test', 'owner', {bytes:welcome_revoked}, {maker},
     private.now() - interval '2 days', private.now() + interval '5 days', null, null, private.now() - interval '1 day'),
    ({ws}, {my:invitation_ended}, 'late-' || {name} || '@example.test', 'member', {bytes:welcome_ended}, {maker},
     private.now() - interval '9 days', private.now() - interval '2 days', null, null, null),
    (case when {name} = 'stranger' then md5('workspace/C')::uuid else {ws} end, {my:invitation},
     case when {name} = 'stranger' then 'stranger@example.test' else 'friend-of-' || {name} || '@example.test' end, 'member',
     {bytes:welcome}, case when {name} = 'stranger' then md5('account/owner')::uuid else {maker} end, private.now(), private.now() + interval '7 days',
     null, null, null);

-- @ person: duet.audit_entry, duet.audit_head: an action done, one by an agent that was refused, and one that failed
select private.record_audit({ws}, {me}, null, 'key.create', 'key:' || {my:key}, 'done', '{}'),
       private.record_audit({ws}, {me}, {the:agent}, 'tool.call', 'tool:' || {mark:tool}, 'refused', '{}'),
       private.record_audit({ws}, {me}, null, 'sign.in', 'user:' || {me}, 'failed', '{}');

-- @ person: duet.conversation, duet.message, duet.run: one active, one archived with runs of every outcome, one deleted, three that are
-- being answered, one of these by a lost worker, and one whose run waits for a person
insert into duet.conversation (workspace_id, id, user_id, agent_id, title, archived, last_ordinal, created_at, updated_at)
values ({ws}, {my:conversation}, {me}, {the:agent}, 'Talk ' || {mark:talk}, false, 2, private.now(), private.now()),
       ({ws}, {my:conversation_old}, {me}, {the:agent}, 'Old talk ' || {mark:oldtalk}, true, 7, private.now(), private.now()),
       ({ws}, {my:conversation_queued}, {me}, {the:agent}, 'Queued ' || {mark:queued}, false, 1, private.now(), private.now()),
       ({ws}, {my:conversation_running}, {me}, {the:agent}, 'Running ' || {mark:running}, false, 1, private.now(), private.now()),
       ({ws}, {my:conversation_executor}, {me}, {the:executor}, 'Executor ' || {mark:executor}, false, 1, private.now(), private.now()),
       ({ws}, {my:conversation_bare}, {me}, {the:agent_bare}, 'Bare ' || {mark:bare}, false, 1, private.now(), private.now()),
       ({ws}, {my:conversation_lost}, {me}, {the:agent}, 'Lost ' || {mark:lost}, false, 1, private.now(), private.now()),
       ({ws}, {my:conversation_waiting}, {me}, {the:agent}, 'Waiting ' || {mark:waiting}, false, 2, private.now(), private.now());
insert into duet.conversation (workspace_id, id, user_id, agent_id, title, archived, last_ordinal, created_at, updated_at, deleted_at)
values ({ws}, {my:conversation_gone}, {me}, {the:agent}, '', false, 2, private.now(), private.now(), private.now());
insert into duet.message
    (workspace_id, id, conversation_id, user_id, ordinal, role, status, text, answers_id, run_id, agent_id, trace, aside, created_at)
values ({ws}, {my:message}, {my:conversation}, {me}, 1, 'user', 'complete', 'Words ' || {mark:words}, null, {my:run}, null, null, false,
        private.now()),
       ({ws}, {my:reply}, {my:conversation}, {me}, 2, 'assistant', 'complete', 'Answer ' || {mark:answer}, {my:message}, {my:run},
        {the:agent}, jsonb_build_object('of', {mark:trace}), false, private.now()),
       ({ws}, {my:message_old}, {my:conversation_old}, {me}, 6, 'user', 'complete', 'Old words ' || {mark:oldwords}, null,
        {my:run_interrupted}, null, null, false, private.now()),
       ({ws}, {my:reply_limited}, {my:conversation_old}, {me}, 2, 'assistant', 'limited', 'Limited ' || {mark:limited}, null, null,
        {the:agent}, null, true, private.now()),
       ({ws}, {my:reply_stopped}, {my:conversation_old}, {me}, 3, 'assistant', 'stopped', 'Stopped ' || {mark:stopped}, null, null,
        {the:agent}, null, false, private.now()),
       ({ws}, {my:reply_redacted}, {my:conversation_old}, {me}, 4, 'assistant', 'redacted', '', null, null, {the:agent}, null, false,
        private.now()),
       ({ws}, {my:reply_interrupted}, {my:conversation_old}, {me}, 7, 'assistant', 'interrupted', 'Cut ' || {mark:cut}, {my:message_old},
        {my:run_interrupted}, {the:agent}, null, false, private.now()),
       ({ws}, {my:message_queued}, {my:conversation_queued}, {me}, 1, 'user', 'complete', 'Waits ' || {mark:waits}, null, {my:run_queued},
        null, null, false, private.now()),
       ({ws}, {my:message_running}, {my:conversation_running}, {me}, 1, 'user', 'complete', 'Runs ' || {mark:runs}, null,
        {my:run_running}, null, null, false, private.now()),
       ({ws}, {my:message_executor}, {my:conversation_executor}, {me}, 1, 'user', 'complete', 'Plans ' || {mark:plans}, null,
        {my:run_executor}, null, null, false, private.now()),
       ({ws}, {my:message_bare}, {my:conversation_bare}, {me}, 1, 'user', 'complete', 'Bares ' || {mark:bares}, null,
        {my:run_bare}, null, null, false, private.now()),
       ({ws}, {my:message_lost}, {my:conversation_lost}, {me}, 1, 'user', 'complete', 'Lost ' || {mark:lostwords}, null,
        {my:run_lost}, null, null, false, private.now()),
       ({ws}, {my:message_waiting}, {my:conversation_waiting}, {me}, 1, 'user', 'complete', 'Asks ' || {mark:asks}, null,
        {my:run_waiting}, null, null, false, private.now()),
       ({ws}, {my:reply_said}, {my:conversation_waiting}, {me}, 2, 'assistant', 'complete', 'Said ' || {mark:said}, {my:message_waiting},
        {my:run_waiting}, {the:agent}, null, false, private.now());
update duet.message m
set parent_id = (select p.id from duet.message p
                 where p.workspace_id = m.workspace_id and p.conversation_id = m.conversation_id and p.ordinal < m.ordinal and not p.aside
                 order by p.ordinal desc limit 1)
where m.workspace_id = {ws} and m.user_id = {me};
update duet.conversation c
set head_id = (select m.id from duet.message m where m.workspace_id = {ws} and m.conversation_id = c.id and not m.aside
               order by m.ordinal desc limit 1)
where c.workspace_id = {ws} and c.user_id = {me};
update duet.message m set labels = 9 where m.workspace_id = {ws} and m.id = {my:reply};
insert into duet.run (workspace_id, id, user_id, conversation_id, message_id, reply_id, agent_id, status, reason, created_at, updated_at)
values ({ws}, {my:run}, {me}, {my:conversation}, {my:message}, {my:reply}, {the:agent}, 'done', null, private.now(), private.now()),
       ({ws}, {my:run_queued}, {me}, {my:conversation_queued}, {my:message_queued}, {my:reply_queued}, {the:agent}, 'queued', null,
        private.now(), private.now());
insert into duet.run (workspace_id, id, user_id, conversation_id, message_id, reply_id, agent_id, status, reason, created_at, updated_at)
select {ws}, r.id, {me}, {my:conversation_old}, {my:message_old}, {my:reply_interrupted}, {the:agent}, r.status,
       'Ended: ' || {mark:reason}, private.now(), private.now()
from (values ({my:run_failed}, 'failed'), ({my:run_cancelled}, 'cancelled'), ({my:run_interrupted}, 'interrupted'),
             ({my:run_review}, 'needs_review'), ({my:run_parked}, 'parked')) as r (id, status);
insert into duet.run (workspace_id, id, user_id, conversation_id, message_id, reply_id, agent_id, status, attempt, lease_token, lease_until,
                      lease_millis, commit_id, commit_seq, created_at, updated_at)
values ({ws}, {my:run_running}, {me}, {my:conversation_running}, {my:message_running}, {my:reply_running}, {the:agent}, 'running', 1,
        {my:lease}, private.now() + interval '1 minute', 60000, {my:commit}, 1, private.now(), private.now()),
       ({ws}, {my:run_executor}, {me}, {my:conversation_executor}, {my:message_executor}, {my:reply_executor}, {the:executor}, 'running', 1,
        {my:lease_executor}, private.now() + interval '1 minute', 60000, null, null, private.now(), private.now()),
       ({ws}, {my:run_bare}, {me}, {my:conversation_bare}, {my:message_bare}, {my:reply_bare}, {the:agent_bare}, 'running', 1,
        {my:lease_bare}, private.now() + interval '1 minute', 60000, null, null, private.now(), private.now()),
       ({ws}, {my:run_lost}, {me}, {my:conversation_lost}, {my:message_lost}, {my:reply_lost}, {the:agent}, 'running', 1,
        {my:lease_lost}, private.now() - interval '1 minute', 60000, null, null, private.now() - interval '1 hour', private.now());
insert into duet.run (workspace_id, id, user_id, conversation_id, message_id, reply_id, agent_id, status, holds, attempt, created_at,
                      updated_at)
values ({ws}, {my:run_waiting}, {me}, {my:conversation_waiting}, {my:message_waiting}, {my:reply_waiting}, {the:agent}, 'waiting', false, 1,
        private.now(), private.now());

-- @ person: duet.run_event, duet.run_event_payload, duet.run_event_mention, duet.run_event_outbox: an event of each kind
select private.append_events(r, (select jsonb_agg(jsonb_build_object(
    'kind', kind, 'payload', jsonb_build_object('type', 'started', 'agent_id', {the:agent}, 'message_id', {my:message},
                                                'reply_id', {my:reply}, 'by', {me}, 'of', {mark:event})::text,
    'salt', left(encode({bytes:salt}, 'hex'), 32), 'mentions', jsonb_build_array({my:memory})))
    from unnest(array['started', 'context', 'model', 'delta', 'tool', 'retry', 'recovered', 'cancel', 'error', 'reply', 'limit', 'asked', 'decided',
                      'pause', 'suspended', 'resumed', 'done']) kind))
from duet.run r where r.workspace_id = {ws} and r.id = {my:run};
select private.append_events(r, jsonb_build_array(jsonb_build_object(
    'kind', 'started', 'payload', jsonb_build_object('type', 'started', 'agent_id', {the:agent}, 'message_id', r.message_id,
        'reply_id', r.reply_id, 'prefix', '', 'of', {mark:started},
        'limits', {limits}::jsonb)::text,
    'salt', left(encode({bytes:salt}, 'hex'), 32), 'mentions', '[]'::jsonb)))
from duet.run r where r.workspace_id = {ws} and r.user_id = {me} and r.id <> {my:run};
select private.append_events(r, jsonb_build_array(jsonb_build_object(
    'kind', 'suspended', 'payload', jsonb_build_object('type', 'suspended', 'usage', '{"input_tokens": 7, "output_tokens": 5}'::jsonb,
        'cost_micros', 3, 'of', {mark:suspended})::text,
    'salt', left(encode({bytes:salt}, 'hex'), 32), 'mentions', '[]'::jsonb)))
from duet.run r where r.workspace_id = {ws} and r.id = {my:run_waiting};
select private.hint_queued({ws}), private.hint_changed({ws}, {me}, 'runs'), private.hint_changed({ws}, {me}, 'inbox');
update duet.run_event_payload p set payload = null, salt = null, redacted_at = private.now()
where p.workspace_id = {ws} and p.run_id = {my:run_parked};

-- @ person: duet.request: what the waiting run asks: their own yes, an owner's, an answer; one of these in vain by now. A call that may
-- have happened. A yes that is still to be used, by a run that goes on. And one in each way that it can have ended.
insert into duet.request (workspace_id, id, run_id, user_id, conversation_id, step, position, agent_id, kind, tool, arguments, salt, hash, why,
                          decider, policy_version, labels, state, decision, approved, decided_by, decided_at, used_at, redacted_at, expires_at,
                          created_at)
select {ws}, v.id, r.id, {me}, r.conversation_id, 1, v.place, r.agent_id, v.kind, v.tool,
       case when not v.gone then '{"to":"' || v.mark || '"}' end, case when not v.gone then substring(sha256(v.id::text::bytea) from 1 for 16) end,
       sha256('hash of ' || v.id::text::bytea), case when v.gone then '' else 'Because ' || v.mark end, v.decider,
       case v.kind when 'approval' then 1 else 0 end, 0, v.state,
       case when not v.gone then v.decision end, case when v.state = 'approved' then '{"to":"' || v.mark || '"}' end,
       v.decider_id, case when v.state <> 'open' then private.now() end, case when v.used then private.now() end,
       case when v.gone then private.now() end, private.now() + case when v.late then interval '-1 hour' else interval '7 days' end,
       private.now()
from (values
    ({my:request}, {my:run_waiting}, 1, 'approval', 'mail_send', {mark:asked}, 'asker', 'open', null::jsonb, null::uuid, false, false, false),
    ({my:request_owners}, {my:run_waiting}, 2, 'approval', 'mail_send', {mark:askedowner}, 'owner', 'open', null, null, false, false, false),
    ({my:request_question}, {my:run_waiting}, 3, 'question', 'ask_user', {mark:question}, 'asker', 'open', null, null, false, false, false),
    ({my:request_late}, {my:run_waiting}, 4, 'approval', 'mail_send', {mark:late}, 'asker', 'open', null, null, false, false, true),
    ({my:request_denied}, {my:run_waiting}, 5, 'approval', 'mail_send', {mark:denied}, 'owner', 'rejected',
     jsonb_build_object('decision', 'reject', 'reason', 'No ' || {mark:no}), {maker}, false, false, false),
    ({my:request_review}, {my:run_review}, 1, 'review', 'mail_send', {mark:review}, 'asker', 'open', null, null, false, false, false),
    ({my:request_approved}, {my:run_running}, 1, 'approval', 'mail_send', {mark:approved}, 'asker', 'approved', '{"decision": "approve"}', {me},
     false, false, false),
    ({my:request_used}, {my:run}, 1, 'approval', 'mail_send', {mark:used}, 'asker', 'approved', '{"decision": "approve"}', {me}, true, false, false),
    ({my:request_answered}, {my:run}, 2, 'question', 'ask_user', {mark:answered}, 'asker', 'answered',
     jsonb_build_object('decision', 'respond', 'answers', jsonb_build_object('answer', {mark:answerto})), {me}, false, false, false),
    ({my:request_dismissed}, {my:run}, 3, 'question', 'ask_user', {mark:dismissed}, 'asker', 'dismissed', '{"decision": "dismiss"}', {me}, false,
     false, false),
    ({my:request_expired}, {my:run}, 4, 'approval', 'mail_send', {mark:over}, 'asker', 'expired', '{"decision": "expired"}', null, false, false, true),
    ({my:request_voided}, {my:run}, 5, 'approval', 'mail_send', {mark:voided}, 'asker', 'voided', '{"decision": "voided", "because": "run_ended"}', null,
     false, false, false),
    ({my:request_redacted}, {my:run_parked}, 1, 'approval', 'mail_send', 'none', 'asker', 'voided', null, null, false, true, false)
) as v (id, run, place, kind, tool, mark, decider, state, decision, decider_id, used, gone, late)
join duet.run r on r.workspace_id = {ws} and r.id = v.run;

-- @ person: duet.idempotency_key: one valid, one expired
insert into duet.idempotency_key
values ({ws}, {me}, 'key', {bytes:request}, {my:message}, {my:run}, {my:reply}, private.now() + interval '1 day'),
       ({ws}, {me}, 'old key', {bytes:request_old}, {my:message}, {my:run}, {my:reply}, private.now() - interval '1 day');

-- @ person: duet.api_key: active, revoked, expired
insert into duet.api_key
values ({ws}, {my:key}, {me}, 'Key', 'duet_x', {bytes:secret}, '{chat}', private.now(), private.now() + interval '1 day', null, null),
       ({ws}, {my:key_revoked}, {me}, 'Revoked', 'duet_r', {bytes:secret_revoked}, '{chat}', private.now() - interval '2 days', null,
        private.now() - interval '2 days', private.now() - interval '1 day'),
       ({ws}, {my:key_ended}, {me}, 'Ended', 'duet_e', {bytes:secret_ended}, '{admin,chat,memory_read,memory_write}',
        private.now() - interval '2 days', private.now() - interval '1 second', null, null);

-- @ workspace: duet.workspace_key, duet.memory_class (shared)
insert into duet.workspace_key values ({ws}, 1, decode(repeat('ab', 40), 'hex'), private.now());
insert into duet.memory_class (workspace_id, owner, domain, egress) values ({ws}, null, 'semantic', 'any'), ({ws}, null, 'episodic', 'any');

-- @ person: duet.memory_class (private), duet.memory, duet.memory_term, duet.memory_thread: one memory for all, one for its owner
insert into duet.memory_class (workspace_id, owner, domain, egress)
values ({ws}, {me}, 'episodic', 'any'), ({ws}, {me}, 'working', 'any'), ({ws}, {me}, 'semantic', 'local_only');
insert into duet.memory (workspace_id, id, class, user_id, text, terms, sensitive, taint, review, from_user, conversation_id, ordinal,
                         occurred_at)
select {ws}, case when c.owner is null then {my:memory} else {my:secret} end, c.key, {me},
       'Memory ' || case when c.owner is null then {mark:memory} else {mark:secret} end,
       jsonb_build_object('memori', 1, {name}, 1), false, 'trusted', 'accepted', {me}, {my:conversation}, 1, private.now()
from duet.memory_class c
where c.workspace_id = {ws} and c.egress = 'any' and (c.owner is null and c.domain = 'semantic' or c.owner = {me} and c.domain = 'episodic');
-- Then one in every other state: proposed by an agent from what a run read, for all and for its owner; rejected; superseded by
-- another; redacted; sealed and for local models only; working, and expired.
insert into duet.memory (workspace_id, id, class, user_id, text, sealed, terms, speaker, sensitive, taint, review, from_conversation,
                         from_message, from_run, from_agent, from_user, occurred_at, expires_at)
select {ws}, v.id, c.key, {me}, case when v.sealed is null then 'Memory ' || v.mark end, v.sealed,
       case when v.sealed is null then '{"memori": 1}'::jsonb end, v.speaker, v.sealed is not null, v.taint, v.review,
       case when v.agent is not null then {my:conversation} end, case when v.agent is not null then {my:message} end,
       case when v.agent is not null then {my:run} end, v.agent, {me}, private.now(), v.expires
from (values
    ({my:memory_offered}, true, 'semantic', 'any', {mark:offered}, null::bytea, 'untrusted', 'proposed', {the:agent}, null::timestamptz, null),
    ({my:memory_told}, true, 'episodic', 'any', {mark:told}, null, 'trusted', 'accepted', null, null, null),
    ({my:secret_proposed}, false, 'episodic', 'any', {mark:proposed}, null, 'untrusted', 'proposed', {the:agent}, null, 'Somebody'),
    ({my:secret_rejected}, false, 'episodic', 'any', {mark:rejected}, null, 'trusted', 'rejected', null, null, null),
    ({my:secret_older}, false, 'episodic', 'any', {mark:older}, null, 'trusted', 'accepted', null, null, null),
    ({my:secret_redacted}, false, 'episodic', 'any', {mark:redacted}, null, 'trusted', 'accepted', null, null, null),
    ({my:secret_sealed}, false, 'semantic', 'local_only', null, {bytes:sealed}, 'trusted', 'accepted', null, null, null),
    ({my:secret_sealed_too}, false, 'episodic', 'any', null, {bytes:sealed_too}, 'trusted', 'accepted', null, null, null),
    ({my:secret_local}, false, 'semantic', 'local_only', {mark:local}, null, 'trusted', 'accepted', null, null, null),
    ({my:secret_working}, false, 'working', 'any', {mark:working}, null, 'trusted', 'accepted', null, private.now() + interval '1 hour', null),
    ({my:secret_expired}, false, 'working', 'any', {mark:expired}, null, 'trusted', 'accepted', null, private.now() - interval '1 hour', null)
) as v (id, shared, domain, egress, mark, sealed, taint, review, agent, expires, speaker)
join duet.memory_class c on c.workspace_id = {ws} and c.domain = v.domain and c.egress = v.egress
                        and c.owner is not distinct from case when not v.shared then {me} end;
insert into duet.memory (workspace_id, id, class, user_id, text, terms, sensitive, taint, review, from_user, occurred_at)
select {ws}, {my:secret_newer}, m.class, {me}, 'Memory ' || {mark:newer}, '{"memori": 1}', false, 'trusted', 'accepted', {me},
       private.now()
from duet.memory m where m.workspace_id = {ws} and m.id = {my:secret_older};
select private.supersede(m, {my:secret_newer}, private.now()) from duet.memory m where m.workspace_id = {ws} and m.id = {my:secret_older};
update duet.memory m set supersedes = {my:secret_older} where m.workspace_id = {ws} and m.id = {my:secret_newer};
select private.unindex_text(m) from duet.memory m where m.workspace_id = {ws} and m.id = {my:secret_redacted};
update duet.memory m set text = null, terms = null, redacted_at = private.now()
where m.workspace_id = {ws} and m.id = {my:secret_redacted};

-- @ once: duet.embedding_model
insert into duet.embedding_model (name, dimensions) values ('world-model', 600);

-- @ workspace: duet.memory_gone
insert into duet.memory_gone values ({ws}, {the:expired});

-- @ person: duet.memory_partition, duet.memory_vector, duet.memory_code
select private.put_vector(m, 'world-model', (select '[1' || repeat(',0', 599) || ']')::extensions.vector)
from duet.memory m where m.workspace_id = {ws} and m.id in ({my:memory}, {my:secret}, {my:secret_working}, {my:secret_expired});

-- @ person: duet.memory_refusal
insert into duet.memory_refusal
select m.workspace_id, m.key, 'another-model', 600, 1,
       private.now() + case when m.id = {my:memory} then interval '1 day' else interval '-1 day' end
from duet.memory m where m.workspace_id = {ws} and m.id in ({my:memory}, {my:secret});

-- @ person: duet.memory_tombstone
insert into duet.memory_tombstone
values ({ws}, {my:gone}, {my:redaction}, {me}, private.now(), '{}', jsonb_build_object('removed', '[]'::jsonb, 'of', {mark:receipt})),
       ({ws}, {my:gone_noticed}, {my:redaction_noticed}, {maker}, private.now(), '{}',
        jsonb_build_object('removed', '[]'::jsonb, 'of', {mark:noticed}));

-- @ person: duet.notice: one open, and one settled in each way
insert into duet.notice (workspace_id, id, user_id, memory_id, redaction_id, redacted_by, created_at, settled, settled_at, tombstone)
values ({ws}, {my:notice}, {me}, {my:gone_noticed}, {my:redaction_noticed}, {maker}, private.now(), null, null, null),
       ({ws}, {my:notice_blanked}, {me}, {my:gone_noticed}, {my:redaction_noticed}, {maker}, private.now(), 'blank', private.now(),
        jsonb_build_object('runs', jsonb_build_array({my:run}))),
       ({ws}, {my:notice_dismissed}, {me}, {my:gone_noticed}, {my:redaction_noticed}, {maker}, private.now(), 'dismiss', private.now(), null);
insert into duet.run_event_mention values ({ws}, {my:gone_noticed}, {my:run}, 1);

-- @ once: a mean in the vectors of one workspace; duet.issuer
update duet.memory_partition p set mean = (select '[1' || repeat(',0', 599) || ']')::extensions.vector, mean_of = 1
where p.workspace_id = md5('workspace/A')::uuid;
insert into duet.issuer (signing_key, made_at) values (decode(repeat('cd', 32), 'hex'), private.now());

-- @ once: duet.installation, with an owner
update duet.installation set owner_since = private.now();

-- What holds whatever is called: a row that was not there before the attack is a finding.
select 'a workspace without an owner: ' || w.id
from duet.workspace w where not exists (select from duet.member m where m.workspace_id = w.id and m.role = 'owner')
union all
select 'a workspace without an active primary agent: ' || w.id
from duet.workspace w
where not exists (select from duet.agent a where a.workspace_id = w.id and a.active and a.kind <> 'specialist')
union all
select 'a key of somebody who is no member counts: ' || k.id
from duet.api_key k
where k.revoked_at is null and (k.expires_at is null or k.expires_at > private.now())
  and not exists (select from duet.member m where (m.workspace_id, m.user_id) = (k.workspace_id, k.user_id))
union all
select 'a key opens what its person may not: ' || k.id
from duet.api_key k join duet.member m on (m.workspace_id, m.user_id) = (k.workspace_id, k.user_id)
where k.revoked_at is null and (k.expires_at is null or k.expires_at > private.now()) and 'admin' = any (k.scopes) and m.role <> 'owner'
union all
select 'an invitation counts of somebody who is no owner: ' || i.id
from duet.invitation i
where i.accepted_at is null and i.revoked_at is null and i.expires_at > private.now()
  and not exists (select from duet.member m where (m.workspace_id, m.user_id, m.role) = (i.workspace_id, i.created_by, 'owner'))
union all
select 'an invitation was accepted by somebody else: ' || i.id
from duet.invitation i join duet.account a on a.id = i.accepted_by where a.email <> i.email
union all
select 'a run goes on for somebody who is no member: ' || r.id
from duet.run r
where r.active
  and not exists (select from duet.member m where (m.workspace_id, m.user_id) = (r.workspace_id, r.user_id))
union all
select 'a run answers somebody else''s message, or in another conversation: ' || r.id
from duet.run r join duet.message m on (m.workspace_id, m.id) = (r.workspace_id, r.message_id)
where (m.user_id, m.conversation_id) is distinct from (r.user_id, r.conversation_id)
union all
select 'the audit log does not hold: ' || w.id
from duet.workspace w where (private.verify_audit(w.id)).broken is not null
union all
select 'an entry of somebody who was never there: ' || e.id
from duet.audit_entry e
where not exists (select from duet.account a where a.id = e.actor)
union all
select 'a log does not end where its run says: ' || r.id
from duet.run r
where r.last_seq is distinct from (select count(*) from duet.run_event e where (e.workspace_id, e.run_id) = (r.workspace_id, r.id))
union all
select 'a memory is superseded by one that others see: ' || o.id
from duet.memory o join duet.memory n on (n.workspace_id, n.id) = (o.workspace_id, o.superseded_by)
join duet.memory_class oc on (oc.workspace_id, oc.key) = (o.workspace_id, o.class)
join duet.memory_class nc on (nc.workspace_id, nc.key) = (n.workspace_id, n.class)
where oc.owner is distinct from nc.owner
union all
select 'a memory that is not recalled stands in the index: ' || m.id
from duet.memory m
where not m.live and (exists (select from duet.memory_term t where (t.workspace_id, t.memory) = (m.workspace_id, m.key))
                      or exists (select from duet.memory_vector v where (v.workspace_id, v.memory) = (m.workspace_id, m.key)))
union all
select 'the index says otherwise who may see a memory: ' || m.id
from duet.memory m
where exists (select from duet.memory_term t where (t.workspace_id, t.memory) = (m.workspace_id, m.key) and t.class <> m.class)
   or exists (select from duet.memory_vector v where (v.workspace_id, v.memory) = (m.workspace_id, m.key) and v.class <> m.class)
   or exists (select from duet.memory_code c where (c.workspace_id, c.memory) = (m.workspace_id, m.key) and c.class <> m.class)
union all
select 'a private memory is its owner''s and somebody else''s: ' || m.id
from duet.memory m join duet.memory_class c on (c.workspace_id, c.key) = (m.workspace_id, m.class)
where c.owner <> m.user_id
union all
select 'a memory of an agent that nobody has accepted is accepted: ' || m.id
from duet.memory m join duet.memory_class c on (c.workspace_id, c.key) = (m.workspace_id, m.class)
where m.from_agent is not null and m.taint = 'untrusted' and m.review = 'accepted' and c.domain <> 'working'
  and current_setting('role', true) = 'duet_agent'
union all
select 'a working memory that stays, or another that does not: ' || m.id
from duet.memory m join duet.memory_class c on (c.workspace_id, c.key) = (m.workspace_id, m.class)
where (c.domain = 'working') <> (m.expires_at is not null)
union all
select 'a conversation counts its messages wrongly: ' || c.id
from duet.conversation c join duet.message m on (m.workspace_id, m.conversation_id) = (c.workspace_id, c.id)
where m.ordinal > c.last_ordinal
union all
select 'a conversation shows something else than the way from its head: ' || m.id
from duet.conversation c
cross join lateral (
    with recursive path (id, parent_id) as (
        select p.id, p.parent_id from duet.message p where (p.workspace_id, p.conversation_id, p.id) = (c.workspace_id, c.id, c.head_id)
        union all
        select p.id, p.parent_id from path q join duet.message p on (p.workspace_id, p.id) = (c.workspace_id, q.parent_id))
    select coalesce(array_agg(p.id), '{}') as ids from path p) shown
join duet.message m on (m.workspace_id, m.conversation_id) = (c.workspace_id, c.id)
where m.aside = (m.id = any (shown.ids))
union all
select 'a message comes after one of another conversation, or a later one: ' || m.id
from duet.message m join duet.message p on (p.workspace_id, p.id) = (m.workspace_id, m.parent_id)
where (p.conversation_id, p.user_id) <> (m.conversation_id, m.user_id) or p.ordinal >= m.ordinal
union all
select 'a run is at something else than its columns say: ' || r.id
from duet.run r
where (r.active, r.claimable) is distinct from (r.status in ('queued', 'running', 'waiting'), r.status in ('queued', 'running'))
union all
select 'a run that waits is held, or holds its conversation: ' || r.id
from duet.run r where r.status = 'waiting' and (r.lease_token is not null or r.lease_until is not null or r.holds)
union all
select 'more than one run holds a conversation: ' || r.conversation_id
from duet.run r where r.claimable and r.holds group by r.workspace_id, r.conversation_id having count(*) > 1
union all
select 'a run that is over may still get a yes, or use one: ' || q.id
from duet.request q join duet.run r on (r.workspace_id, r.id) = (q.workspace_id, q.run_id)
where q.kind <> 'review' and q.pending and not r.active
union all
select 'a call was made that nobody approved: ' || q.id
from duet.request q
where q.used_at is not null and (q.state <> 'approved' or q.kind <> 'approval' or q.decided_by is null
                                 or q.approved is null and q.redacted_at is null)
union all
select 'somebody decided what another''s run asked of them: ' || q.id
from duet.request q where q.decider = 'asker' and q.decided_by <> q.user_id
union all
select 'a request is approved and does not say what, or says it and is not: ' || q.id
from duet.request q where q.redacted_at is null and (q.approved is not null) <> (q.state = 'approved' or q.approved is not null and q.state = 'voided')
union all
select 'a request is somebody else''s than its run: ' || q.id
from duet.request q join duet.run r on (r.workspace_id, r.id) = (q.workspace_id, q.run_id)
where (q.user_id, q.conversation_id, q.agent_id) is distinct from (r.user_id, r.conversation_id, r.agent_id)
union all
select 'a request still has the text that was taken from its run: ' || q.id
from duet.request q
where q.redacted_at is null
  and exists (select from duet.run_event_payload p where (p.workspace_id, p.run_id) = (q.workspace_id, q.run_id))
  and not exists (select from duet.run_event_payload p where (p.workspace_id, p.run_id) = (q.workspace_id, q.run_id) and p.payload is not null)
union all
select 'a workspace whose policy has no first version, or misses one: ' || w.id
from duet.workspace w
where (select max(p.version) is distinct from count(*)::int or count(*) = 0
       from duet.policy_version p where p.workspace_id = w.id)

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
where r.status in ('queued', 'running')
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

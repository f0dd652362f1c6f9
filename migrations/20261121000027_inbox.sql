-- The Inbox: one list of all that waits for a person. Row level security decides what they see of it.

-- Open requests that the current person decides, and proposed memories: their own, as an owner shared ones, and those that would replace
-- one of theirs. Whoever proposed to replace another's memory does not decide it.
create function private.inbox_entries(workspace uuid) returns table (kind text, id uuid, at timestamptz)
language sql stable set search_path = '' as $$
    select q.kind, q.id, q.created_at from duet.request q
    where q.workspace_id = workspace and q.state = 'open'
      and case q.decider when 'owner' then private.my_role(workspace) = 'owner' else q.user_id = (select auth.uid()) end
    union all
    select 'memory', m.id, m.created_at from duet.memory m
    join duet.memory_class c on c.workspace_id = m.workspace_id and c.key = m.class
    left join duet.memory old on old.workspace_id = m.workspace_id and old.id = m.supersedes
    where m.workspace_id = workspace and m.review = 'proposed' and m.redacted_at is null and m.valid_to is null
      and (m.expires_at is null or m.expires_at > private.now())
      and (m.user_id = (select auth.uid())
           or c.owner is null and (private.my_role(workspace) = 'owner' or old.user_id = (select auth.uid())))
      and (old.id is null or private.my_role(workspace) = 'owner' or old.user_id = (select auth.uid()))
$$;
call private.expose('private', 'inbox_entries', 'authenticated');

-- duet_core::ports::RequestStore::inbox; the cursor is the last entry's time and id.
create function public.inbox_list(p_workspace uuid, p_kind text, p_before timestamptz, p_before_id uuid, p_limit int) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(coalesce(
        jsonb_agg(jsonb_build_object('kind', page.kind, 'id', page.id, 'at', page.at) order by page.at desc, page.id desc), '[]'))
    from (select e.* from private.inbox_entries(p_workspace) e
          where (p_kind is null or e.kind = p_kind) and (p_before is null or (e.at, e.id) < (p_before, p_before_id))
          order by e.at desc, e.id desc limit private.page_size(p_limit)) page
$$;
call private.expose('public', 'inbox_list', 'authenticated');

-- duet_core::ports::RequestStore::waiting
create function public.inbox_count(p_workspace uuid) returns jsonb
language sql stable set search_path = '' as $$
    select private.ok(to_jsonb((select count(*) from (select from private.inbox_entries(p_workspace) limit 1000) counted)))
$$;
call private.expose('public', 'inbox_count', 'authenticated');

-- A proposal, or what became of it, changes the Inbox of its person, of whoever's memory it would replace, and of the owners. Definer,
-- because an agent's insert leaves it.
create function private.hint_proposal() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
begin
    perform private.hint_changed(new.workspace_id, m.user_id, 'inbox') from duet.member m
    where m.workspace_id = new.workspace_id
      and (m.user_id = new.user_id or m.role = 'owner'
           or m.user_id = (select r.user_id from duet.memory r where r.workspace_id = new.workspace_id and r.id = new.supersedes));
    return null;
end;
$$;
call private.expose('private', 'hint_proposal');
create trigger memory_proposed after insert on duet.memory
    for each row when (new.review = 'proposed') execute function private.hint_proposal();
create trigger memory_reviewed after update of review on duet.memory
    for each row when (new.review <> old.review) execute function private.hint_proposal();

-- An agent reads the policy, and so what it may do unasked.
-- class: agents
-- found by: matrix
grant select on duet.policy_version to duet_agent;
create policy policy_for_agents on duet.policy_version for select to duet_agent
    using (workspace_id = any (array(select private.my_workspaces())));

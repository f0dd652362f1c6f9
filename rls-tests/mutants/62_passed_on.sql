-- Agents may grant their read rights to others.
-- class: grants and roles
-- found by: rule 06_grants
grant select on duet.workspace_key to duet_agent with grant option;

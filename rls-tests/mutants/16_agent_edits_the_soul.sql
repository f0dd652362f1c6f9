-- An agent may write the soul, with its person's rights.
-- class: agents
-- found by: reach
call private.expose('public', 'soul_write', 'authenticated', 'duet_agent');
grant execute on function private.write_soul(uuid, int, jsonb) to duet_agent;

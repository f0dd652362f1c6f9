-- Agents set when their memories were created and what superseded them.
-- class: rows put in
-- found by: matrix
grant insert (superseded_by, redacted_at, embedded, created_at) on duet.memory to duet_agent;

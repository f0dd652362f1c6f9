-- The server's login reads a table without assuming anybody's role.
-- class: driver and leases
-- found by: matrix
grant usage on schema duet to duet_worker;
grant select on duet.credential to duet_worker;

-- People call functions that only the server may.
-- class: driver and leases
-- found by: reach
grant usage on schema driver to authenticated;
grant execute on function driver.session(bytea) to authenticated;

-- A single column is granted to everybody.
-- class: grants and roles
-- found by: rule 02_nobody_is_everybody
grant select (email) on duet.account to public;

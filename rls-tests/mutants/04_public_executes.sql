-- Everybody may execute a function that only the server may call.
-- class: grants and roles
-- found by: rule 02_nobody_is_everybody
grant execute on function driver.credentials(text) to public;

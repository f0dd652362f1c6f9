-- A security definer function resolves its tables through the caller's search path.
-- class: grants and roles
-- found by: rule 04_search_path
alter function private.my_role(uuid) reset search_path;

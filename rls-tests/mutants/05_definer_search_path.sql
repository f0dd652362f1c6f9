-- A function with its owner's rights finds its tables by whoever's search path.
-- class: grants and roles
-- found by: rule 04_search_path
alter function private.my_role(uuid) reset search_path;

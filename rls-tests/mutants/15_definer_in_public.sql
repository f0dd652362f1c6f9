-- A function that people call is security definer.
-- class: objects anywhere
-- found by: rule 03_definer
alter function public.run_read(uuid, uuid) security definer;

-- A function that people call runs with its owner's rights.
-- class: objects anywhere
-- found by: rule 03_definer
alter function public.run_read(uuid, uuid) security definer;

-- A rule copies what is written into one table to another.
-- class: objects anywhere
-- found by: rule 17_nothing_elsewhere
create rule also as on insert to duet.memory do also notify duet_memory;

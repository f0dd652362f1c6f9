-- What is written into one table is written into another by a rule.
-- class: objects anywhere
-- found by: rule 17_nothing_elsewhere
create rule also as on insert to duet.memory do also notify duet_memory;

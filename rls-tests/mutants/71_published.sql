-- Messages are published to whoever replicates.
-- class: objects anywhere
-- found by: rule 17_nothing_elsewhere
create publication changes for table duet.message;

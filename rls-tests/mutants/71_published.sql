-- Messages are published to every replication subscriber.
-- class: objects anywhere
-- found by: rule 17_nothing_elsewhere
create publication changes for table duet.message;

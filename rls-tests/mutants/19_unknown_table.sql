-- A table that nobody has considered.
-- class: objects anywhere
-- found by: world
create table duet.note (workspace_id uuid not null references duet.workspace (id), id uuid, primary key (workspace_id, id));
call private.seclude('duet.note');

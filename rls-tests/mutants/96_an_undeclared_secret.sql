-- A new column holds the token itself, and nobody has said that it is a secret.
-- class: columns and secrets
-- found by: whole
alter table duet.invitation add column token text;

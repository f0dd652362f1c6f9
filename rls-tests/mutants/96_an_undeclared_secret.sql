-- A new column holds the token itself, and nobody has declared it a secret.
-- class: columns and secrets
-- found by: whole
alter table duet.invitation add column token text;

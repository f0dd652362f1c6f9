//! The program `duet-api` against a real Postgres.

//! Suites that every adapter must pass.

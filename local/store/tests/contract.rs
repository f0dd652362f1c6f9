//! The encrypted file passes the suites that every adapter must pass.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod on_file;

use self::on_file::fresh;

duet_core::contract_suite!(fresh);

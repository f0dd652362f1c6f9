//! Programs that tests start: named by the environment (`cargo xtask test` does that), else fetched by `xtask`, which is next to the
//! tests in the target folder.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// `xtask` itself.
pub(super) fn xtask() -> PathBuf {
    if let Some(named) = std::env::var_os("DUET_TEST_XTASK").filter(|named| !named.is_empty()) {
        return named.into();
    }
    let own = std::env::current_exe().expect("a test knows its own file");
    let beside = own
        .ancestors()
        .nth(2)
        .map(|folder| folder.join(format!("xtask{}", std::env::consts::EXE_SUFFIX)));
    beside
        .filter(|program| program.is_file())
        .expect("`xtask` is not built: run `cargo xtask test --only rust`, or `cargo build --package xtask` first")
}

/// The path of a tool, given by its name in `xtask fetch`.
///
/// # Panics
/// If it is not available; `xtask` has said why.
pub fn tool(name: &str) -> PathBuf {
    let variable = format!("DUET_TEST_{}", name.to_uppercase().replace('-', "_"));
    if let Some(named) = std::env::var_os(variable).filter(|named| !named.is_empty()) {
        return named.into();
    }
    let output = Command::new(xtask())
        .args(["fetch", name])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("xtask starts");
    assert!(output.status.success(), "`xtask fetch {name}` failed");
    let said = String::from_utf8(output.stdout).expect("xtask writes UTF-8");
    said.lines().last().expect("xtask says where the tool is").into()
}

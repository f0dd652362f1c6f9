//! Files and folders named in ARCHITECTURE.md and the decision records have to exist.

use std::path::Path;

use super::Tree;

/// One sentence for each path that does not exist.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in tree.texts(&[".md"]) {
        if name != "ARCHITECTURE.md" && !name.starts_with("docs/adr/") {
            continue;
        }
        for path in named(&text) {
            if !tree.exists(Path::new(path)) {
                problems.push(format!("{name}: `{path}` does not exist"));
            }
        }
    }
    problems
}

/// Backticked text that looks like a path of the checkout: it starts with one of its folders.
fn named(text: &str) -> Vec<&str> {
    const FOLDERS: [&str; 11] = [
        "api/",
        "bench/",
        "core/",
        "docs/",
        "local/",
        "migrations/",
        "supabase/",
        "functions/",
        "web/",
        "xtask/",
        ".ci/",
    ];
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|code| FOLDERS.iter().any(|folder| code.starts_with(folder)))
        .filter(|code| !code.contains([' ', '*', '<', '{', '…']))
        .map(|code| code.split("::").next().unwrap_or(code))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::tree, *};

    #[test]
    fn finds_the_paths_that_vanished() {
        let text = "`core/src/run.rs` and `core/src/gone.rs`; `core/src/*.rs`, `api/v1 x` and `step` are no paths.";
        let (tree, _folder) = tree(&[
            ("ARCHITECTURE.md", text),
            ("core/src/run.rs", ""),
            ("README.md", "`core/other.rs`"),
        ]);
        assert_eq!(check(&tree), ["ARCHITECTURE.md: `core/src/gone.rs` does not exist"]);
    }
}

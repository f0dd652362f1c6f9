//! Allowed dependencies: web features never import each other, and the packages' dependencies point to the core.

use super::{Tree, links::beside};

/// The packages' folders, with the workspace packages that each may depend on. `deny.toml` says which database libraries a package
/// may use.
const PACKAGES: [(&str, &[&str]); 10] = [
    ("core", &[]),
    ("api", &["duet-core", "duet-supabase"]),
    ("local/store", &["duet-core"]),
    ("local", &["duet-core", "duet-api", "duet-sqlite"]),
    ("supabase", &["duet-core"]),
    ("supabase/sqlx-sqlite-stub", &[]),
    ("functions", &["duet-core", "duet-api"]),
    ("rls-tests", &["duet-core", "duet-supabase"]),
    (
        "bench",
        &["duet-core", "duet-api", "duet-local", "duet-sqlite", "duet-supabase"],
    ),
    ("xtask", &[]),
];

/// One sentence for each violation.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in tree.texts(&[".ts", ".tsx"]) {
        let Some(own) = feature(name) else { continue };
        for (index, line) in text.lines().enumerate() {
            if let Some(other) = imported(name, line).filter(|other| other != own) {
                problems.push(format!(
                    "{name}:{}: the feature `{own}` imports the feature `{other}`",
                    index + 1
                ));
            }
        }
    }
    for (name, text) in tree.texts(&["Cargo.toml"]) {
        let Some(folder) = name.strip_suffix("/Cargo.toml") else {
            continue;
        };
        let Some((_, allowed)) = PACKAGES.iter().find(|(package, _)| *package == folder) else {
            problems.push(format!(
                "{name}: say in xtask/src/tree/borders.rs what this package may depend on"
            ));
            continue;
        };
        // Tests may depend on higher layers: a dev-dependency is not part of the product.
        let mut of_product = true;
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('[') {
                of_product = !line.contains("dev-dependencies");
            }
            // `[dependencies.NAME]` and `[target.….dependencies.NAME]`, or a line of a table.
            let dependency = match line.split_once("dependencies.") {
                Some((table, name)) if table.starts_with('[') => name.trim_end().trim_end_matches(']').trim_matches('"'),
                _ => line.split(['.', ' ', '=']).next().unwrap_or_default().trim_matches('"'),
            };
            if of_product && dependency.starts_with("duet-") && !allowed.contains(&dependency) {
                problems.push(format!("{name}:{}: depends on `{dependency}`", index + 1));
            }
        }
    }
    problems
}

/// The feature that a file belongs to.
fn feature(name: &str) -> Option<&str> {
    name.strip_prefix("web/src/features/")?
        .split_once('/')
        .map(|(feature, _)| feature)
}

/// The feature that a line imports from, by an alias (`…/features/NAME/…`) or by a relative path.
fn imported(name: &str, line: &str) -> Option<String> {
    let quoted = line.split_once("from ").or_else(|| line.split_once("import("))?.1;
    let quote = quoted.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let path = quoted[1..].split(quote).next()?;
    let path = if path.starts_with('.') {
        beside(name, path).to_string_lossy().into_owned()
    } else {
        path.to_owned()
    };
    let (_, rest) = path.split_once("features/")?;
    Some(rest.split('/').next().unwrap_or(rest).to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::tree, *};

    #[test]
    fn finds_imports_between_features() {
        let (tree, _folder) = tree(&[
            (
                "web/src/features/auth/a.ts",
                "import { x } from \"../../features/memory/x\";\nimport { y } from \"@/features/auth/y\";\nimport { z } from \"../setup/z\";\nimport { w } from \"./w\";\n",
            ),
            ("web/src/routes/b.ts", "import { x } from \"@/features/memory/x\";\n"),
        ]);
        assert_eq!(
            check(&tree),
            [
                "web/src/features/auth/a.ts:1: the feature `auth` imports the feature `memory`",
                "web/src/features/auth/a.ts:3: the feature `auth` imports the feature `setup`"
            ]
        );
    }

    #[test]
    fn finds_dependencies_that_point_up() {
        let (tree, _folder) = tree(&[
            ("Cargo.toml", "[workspace.dependencies]\nduet-api = { path = \"api\" }\n"),
            ("core/Cargo.toml", "[dependencies]\nduet-api.workspace = true\n"),
            (
                "local/store/Cargo.toml",
                "[dependencies]\nduet-core.workspace = true\nduet-api = { workspace = true }\n[dev-dependencies]\nduet-api.workspace = true\n",
            ),
            (
                "supabase/Cargo.toml",
                "[dependencies.duet-core]\nworkspace = true\n[dependencies.duet-api]\nworkspace = true\n\
                 [target.'cfg(unix)'.dependencies.\"duet-local\"]\nworkspace = true\n\
                 [dev-dependencies.duet-api]\nworkspace = true\n[target.'cfg(unix)'.dev-dependencies.duet-api]\nworkspace = true\n\
                 [target.'cfg(unix)'.dependencies]\nduet-sqlite.workspace = true\n",
            ),
            ("other/Cargo.toml", "[dependencies]\n"),
        ]);
        assert_eq!(
            check(&tree),
            [
                "core/Cargo.toml:2: depends on `duet-api`",
                "local/store/Cargo.toml:3: depends on `duet-api`",
                "supabase/Cargo.toml:3: depends on `duet-api`",
                "supabase/Cargo.toml:5: depends on `duet-local`",
                "supabase/Cargo.toml:12: depends on `duet-sqlite`",
                "other/Cargo.toml: say in xtask/src/tree/borders.rs what this package may depend on",
            ]
        );
    }
}

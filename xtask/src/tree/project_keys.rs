//! No program that answers requests knows a Supabase key that bypasses row level security.

use super::Tree;

/// The code of the programs that answer requests.
const CODE: [&str; 5] = ["api/", "core/src/", "functions/", "supabase/src/", "local/src/"];

/// Code only for tests (feature `testing` of the package): a stand-in's tokens are forged there.
const TESTING: &str = "supabase/src/testing";

/// A package for tests only, which compare it with our client (`docs/adr/0012-supabase-auth.md`). That no program links it is checked
/// in `linked.rs`.
const COMPARED: &str = "supabase-auth";

/// Names of such keys and of what only they open, in lower case with `_` for `-`.
const WORDS: [&str; 7] = [
    "service_role_key",
    "supabase_service",
    "supabase_secret",
    "jwt_secret",
    "secret_api_key",
    "auth/v1/admin",
    "pg_meta",
];

/// One sentence for each occurrence.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in tree.texts(&[".rs", ".toml", ".yaml"]) {
        if !CODE.iter().any(|folder| name.starts_with(folder)) || name.contains("/tests/") || name.starts_with(TESTING) {
            continue;
        }
        // Tests contain these words themselves.
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (index, line) in product.lines().enumerate() {
            let line = line.to_lowercase().replace('-', "_");
            for word in WORDS.iter().filter(|word| line.contains(**word)) {
                problems.push(format!(
                    "{name}:{}: `{word}` has no place in a program that answers requests",
                    index + 1
                ));
            }
        }
    }
    for (name, text) in tree.texts(&["Cargo.lock"]) {
        let packages = text
            .lines()
            .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        let known = |package: &str| package == "duet-supabase" || package == COMPARED;
        for package in packages.filter(|package| (package.contains("supabase") && !known(package)) || package.contains("gotrue"))
        {
            problems.push(format!(
                "{name}: the package `{package}` may bring the admin API along; Duet has no use for it"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::fixture;

    #[test]
    fn a_key_of_the_project_is_found_wherever_it_would_come_in() {
        let (tree, _folder) = fixture::tree(&[
            (
                "api/src/server/serve.rs",
                "let key = env(\"SUPABASE_SERVICE_ROLE_KEY\");\n#[cfg(test)]\nconst WORDS: [&str; 1] = [\"jwt_secret\"];",
            ),
            (
                "supabase/src/auth.rs",
                "// fine\nlet url = base.join(\"/auth/v1/admin/users\");",
            ),
            ("functions/src/api.rs", "let name = \"jwt-secret\";"),
            ("deploy/lambda/notes.rs", "jwt_secret"),
            ("supabase/tests/forge.rs", "jwt_secret"),
            ("supabase/src/testing/project.rs", "jwt_secret"),
            (
                "Cargo.lock",
                "name = \"duet-supabase\"\nname = \"supabase-auth\"\nname = \"supabase-admin\"\nname = \"serde\"",
            ),
        ]);
        let found = check(&tree);
        let places: Vec<&str> = found.iter().filter_map(|problem| problem.split(": `").next()).collect();
        assert_eq!(places.len(), 5, "{found:?}");
        assert!(
            found[0].starts_with("api/src/server/serve.rs:1: `service_role_key`"),
            "{found:?}"
        );
        assert!(found.iter().any(|problem| problem.starts_with("supabase/src/auth.rs:2")));
        assert!(found.iter().any(|problem| problem.starts_with("functions/src/api.rs:1")));
        assert!(found.iter().any(|problem| problem.contains("supabase-admin")));
    }
}

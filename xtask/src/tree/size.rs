//! Files stay small enough to read.

use super::Tree;

const LINES: usize = 800;

/// One sentence for each file that is too long. Generated files are exempt, because nobody reads them.
pub fn check(tree: &Tree) -> Vec<String> {
    tree.texts(&[".rs", ".ts", ".tsx", ".mjs", ".css", ".sql"])
        .filter(|(name, _)| !name.contains(".gen."))
        .filter_map(|(name, text)| {
            let lines = text.lines().count();
            (lines > LINES).then(|| format!("{name} has {lines} lines"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::tree, *};

    #[test]
    fn finds_the_long_ones() {
        let long = "x\n".repeat(801);
        let (tree, _folder) = tree(&[("a.rs", &long), ("b.rs", "x\n"), ("c.gen.ts", &long)]);
        assert_eq!(check(&tree), ["a.rs has 801 lines"]);
    }
}

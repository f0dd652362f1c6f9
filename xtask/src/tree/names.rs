//! Keeps names of one machine or one network out of the files.

use super::Tree;

/// Assembled here, so that this file does not break its own rule.
fn forbidden() -> Vec<String> {
    let host = |name: &str, domain: &str| format!("{name}.{domain}");
    vec![
        host("registry.npmjs", "org"),
        host("registry.yarnpkg", "com"),
        ["files.python", "hosted.org"].concat(),
        host("deb.debian", "org"),
        host("static.crates", "io"),
        host("index.crates", "io"),
        ["/ro", "ot/"].concat(),
        ["/wo", "rk/"].concat(),
    ]
}

/// One sentence for each line that contains one.
pub fn check(tree: &Tree) -> Vec<String> {
    let forbidden = forbidden();
    let mut problems = Vec::new();
    for (name, text) in tree.texts(&[]) {
        for (index, line) in text.lines().enumerate() {
            for word in forbidden.iter().filter(|word| stands_alone(line, word)) {
                problems.push(format!("{name}:{}: names `{word}`", index + 1));
            }
        }
    }
    problems
}

/// Whether the line contains the word, and not as the end of a longer path such as `node_modules/x` + a folder.
fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(index, _)| {
        !word.starts_with('/') || !line[..index].ends_with(|before: char| before.is_alphanumeric() || "_-.})".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::tree, *};

    #[test]
    fn finds_each_of_them() {
        for word in forbidden() {
            let (tree, _folder) = tree(&[("a.txt", &format!("one\nsee {word}thing\n"))]);
            assert_eq!(check(&tree), [format!("a.txt:2: names `{word}`")]);
        }
    }

    #[test]
    fn longer_paths_are_other_paths() {
        let (tree, _folder) = tree(&[("a.txt", &["data/wo", "rk/x"].concat())]);
        assert!(check(&tree).is_empty());
    }
}

//! Links between the project's own pages, with their anchors.

use std::path::{Component, Path, PathBuf};

use super::Tree;

/// One sentence a link that leads nowhere.
pub fn check(tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in tree.texts(&[".md"]) {
        for target in targets(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let page = if path.is_empty() {
                PathBuf::from(name)
            } else {
                beside(name, path)
            };
            if !tree.exists(&page) {
                problems.push(format!("{name}: `{target}` does not exist"));
                continue;
            }
            if !anchor.is_empty() && page.extension().is_some_and(|extension| extension == "md") {
                let there = std::fs::read_to_string(tree.root.join(&page)).unwrap_or_default();
                if !anchors(&there).any(|known| known == anchor) {
                    problems.push(format!("{name}: {} has no heading for `#{anchor}`", page.display()));
                }
            }
        }
    }
    problems
}

/// The targets of `[text](target)`, outside code.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // Every other part between backticks is code.
        for part in line.split('`').step_by(2) {
            for (index, _) in part.match_indices("](") {
                let rest = &part[index + 2..];
                if let Some(end) = rest.find([')', ' ']) {
                    found.push(rest[..end].to_owned());
                }
            }
        }
    }
    found
}

/// The lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return false;
        }
        !fenced
    })
}

/// Anchors as forges make them: lower case, spaces to hyphens, punctuation dropped.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter(|line| line.starts_with('#')).map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        heading
            .chars()
            .filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'))
            .map(|character| if character == ' ' { '-' } else { character })
            .collect()
    })
}

/// The path that a link or import in a file means, without `..`.
pub(super) fn beside(page: &str, path: &str) -> PathBuf {
    let mut result = Path::new(page).parent().map(Path::to_path_buf).unwrap_or_default();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                result.pop();
            }
            Component::Normal(part) => result.push(part),
            _ => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::tree, *};

    #[test]
    fn finds_the_links_that_lead_nowhere() {
        let page = "See [a](b.md), [c](../README.md#two-words), [d](gone.md), [e](b.md#nothing), [f](#here), `[g](code.md)`.\n\
                    [h](https://example.org/x)\n```\n[i](fenced.md)\n```\n## Here\n";
        let (tree, _folder) = tree(&[("docs/a.md", page), ("docs/b.md", "# B\n"), ("README.md", "## Two words!\n")]);
        let problems = check(&tree);
        assert_eq!(
            problems,
            [
                "docs/a.md: `gone.md` does not exist",
                "docs/a.md: docs/b.md has no heading for `#nothing`"
            ]
        );
    }
}

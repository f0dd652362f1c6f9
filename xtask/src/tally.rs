//! Counts tests from the summary lines of the project's test runners.

/// How many tests ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Tally {
    /// Reads a line; true if it is a runner's summary. Supports cargo-nextest, cargo test, Node's test runner and Vitest.
    pub fn read(&mut self, line: &str) -> bool {
        let line = line.trim();
        let found = nextest(line)
            .or_else(|| cargo_test(line))
            .or_else(|| node(line))
            .or_else(|| vitest(line));
        match found {
            Some(tally) => {
                *self += tally;
                true
            }
            None => false,
        }
    }
}

/// `Summary [   1.203s] 12 tests run: 11 passed (1 slow), 1 failed, 0 skipped`
fn nextest(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("Summary [")?.split_once(" run: ")?.1;
    Some(Tally {
        passed: before(counts, "passed"),
        failed: before(counts, "failed") + before(counts, "timed"),
    })
}

/// `test result: ok. 3 passed; 0 failed; 0 ignored; …`
fn cargo_test(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    Some(Tally {
        passed: before(counts, "passed"),
        failed: before(counts, "failed"),
    })
}

/// `# pass 7` and `# fail 0`, or the same after the signs of the spec reporter (`ℹ pass 7`).
fn node(line: &str) -> Option<Tally> {
    let rest = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ "))?;
    let (word, count) = rest.split_once(' ')?;
    let count = count.parse().ok()?;
    match word {
        "pass" => Some(Tally {
            passed: count,
            failed: 0,
        }),
        "fail" => Some(Tally {
            passed: 0,
            failed: count,
        }),
        _ => None,
    }
}

/// `Tests  1 failed | 12 passed (13)`
fn vitest(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("Tests ")?.trim_start();
    counts.ends_with(')').then(|| Tally {
        passed: before(counts, "passed"),
        failed: before(counts, "failed"),
    })
}

/// The number before a word.
fn before(counts: &str, word: &str) -> u64 {
    let words: Vec<&str> = counts
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect();
    words
        .windows(2)
        .find(|pair| pair[1] == word)
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_runners() {
        let cases = [
            (
                "     Summary [   1.203s] 12 tests run: 11 passed (1 slow), 1 failed, 2 skipped",
                11,
                1,
            ),
            (
                "Summary [   1.203s] 12/40 tests run: 10 passed, 1 failed, 1 timed out, 0 skipped",
                10,
                2,
            ),
            (
                "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
                3,
                0,
            ),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored", 3, 2),
            ("# pass 7", 7, 0),
            ("# fail 2", 0, 2),
            ("ℹ pass 7", 7, 0),
            ("      Tests  1 failed | 12 passed (13)", 12, 1),
            ("      Tests  12 passed (12)", 12, 0),
        ];
        for (line, passed, failed) in cases {
            let mut tally = Tally::default();
            assert!(tally.read(line), "{line}");
            assert_eq!(tally, Tally { passed, failed }, "{line}");
        }
    }

    #[test]
    fn leaves_other_lines_alone() {
        for line in [
            "running 3 tests",
            "# tests 9",
            "Test Files  2 passed (2)",
            "Tests are good",
            "# pass the salt",
            "",
        ] {
            let mut tally = Tally::default();
            assert!(!tally.read(line), "{line}");
            assert_eq!(tally, Tally::default());
        }
    }
}

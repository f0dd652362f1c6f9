//! The tools that the machine must have, and how to get them.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::place;

/// A tool that is not installed automatically.
struct Tool {
    name: &'static str,
    why: &'static str,
    check: fn() -> Result<(), String>,
    debian: &'static str,
    mac: &'static str,
}

/// What the web app's dependencies ask for. Older versions that build it all the same are named, not refused.
const NODE: (u32, u32) = (22, 12);
const OLDEST_NODE: (u32, u32) = (20, 19);

const BUILD: &[Tool] = &[
    Tool {
        name: "C compiler",
        why: "SQLCipher, OpenSSL and sqlite-vec are C",
        check: || starts("cc", &["--version"]),
        debian: "apt-get install build-essential",
        mac: "xcode-select --install",
    },
    Tool {
        name: "make",
        why: "builds OpenSSL for SQLCipher",
        check: || starts("make", &["--version"]),
        debian: "apt-get install build-essential",
        mac: "xcode-select --install",
    },
    Tool {
        name: "perl",
        why: "configures OpenSSL for SQLCipher",
        check: || starts("perl", &["-MIPC::Cmd", "-MFile::Compare", "-e", "1"]),
        debian: "apt-get install perl",
        mac: "brew install perl",
    },
    Tool {
        name: "Node.js 22.12 or newer, with npm",
        why: "builds the web app; not needed at run time",
        check: node,
        debian: "install Node.js 24 from nodejs.org or your package manager",
        mac: "brew install node",
    },
];

const TEST: &[Tool] = &[Tool {
    name: "Python 3 with pip",
    why: "brings pinned test tools",
    check: || starts("python3", &["-m", "pip", "--version"]),
    debian: "apt-get install python3-pip",
    mac: "brew install python",
}];

/// Checks what building needs.
pub fn for_building() -> Result<()> {
    require(BUILD.iter())
}

/// Checks what testing needs.
pub fn for_testing() -> Result<()> {
    require(BUILD.iter().chain(TEST))
}

fn require<'a>(tools: impl Iterator<Item = &'a Tool>) -> Result<()> {
    let missing: Vec<String> = tools
        .filter_map(|tool| {
            let problem = (tool.check)().err()?;
            let hint = if cfg!(target_os = "macos") { tool.mac } else { tool.debian };
            Some(format!("  {}: {problem} ({}). To get it: {hint}", tool.name, tool.why))
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "Something that Duet is built with is missing. Install it and run this again.\n{}",
        missing.join("\n")
    )
}

fn starts(program: &str, arguments: &[&str]) -> Result<(), String> {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("`{program} {}` fails", arguments.join(" "))),
        Err(_) => Err(format!("`{program}` was not found")),
    }
}

fn node() -> Result<(), String> {
    if place::which("npm").is_none() {
        return Err("`npm` was not found".into());
    }
    let output = Command::new("node").arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|_| "`node` was not found".to_owned())?;
    new_enough(String::from_utf8_lossy(&output.stdout).trim())
}

fn new_enough(version: &str) -> Result<(), String> {
    let mut parts = version
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < OLDEST_NODE {
        return Err(format!("`node` is {version}"));
    }
    if found < NODE {
        eprintln!(
            "Note: `node` is {version}; the web app's dependencies ask for {}.{} or newer.",
            NODE.0, NODE.1
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_node_is_too_old() {
        assert!(new_enough("v20.19.0").is_ok());
        assert!(new_enough("v24.1.0").is_ok());
        assert_eq!(new_enough("v20.18.3"), Err("`node` is v20.18.3".into()));
        assert!(new_enough("").is_err());
    }

    #[test]
    fn the_same_node_is_named_everywhere() {
        let version = format!("{}.{}", NODE.0, NODE.1);
        let read = |file: &str| std::fs::read_to_string(crate::place::root().join(file)).unwrap();
        assert!(read("README.md").contains(&format!("Node.js {version} or newer")));
        assert!(
            BUILD
                .iter()
                .any(|tool| tool.name.contains(&format!("Node.js {version} or newer")))
        );
        let lock: serde_json::Value = serde_json::from_str(&read("web/package-lock.json")).unwrap();
        let asked = |name: &str| lock["packages"][name]["engines"]["node"].as_str().unwrap_or_default();
        assert_eq!(asked(""), format!(">={version}"));
        assert_eq!(
            asked("node_modules/@tanstack/react-start"),
            format!(">={version}.0"),
            "the most that is asked for"
        );
    }

    #[test]
    fn a_missing_tool_is_named_with_what_installs_it() {
        let tool = Tool {
            name: "thing",
            why: "it helps",
            check: || starts("no-such-program-here", &[]),
            debian: "get it",
            mac: "get it",
        };
        let error = require([&tool].into_iter()).unwrap_err().to_string();
        assert!(
            error.contains("thing: `no-such-program-here` was not found (it helps). To get it: get it"),
            "{error}"
        );
    }
}

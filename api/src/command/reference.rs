//! The reference of a command line, generated from the definitions that the program itself uses.

use clap::{ColorChoice, Command};

use super::exit::Exit;

/// The exit codes as a Markdown table.
pub fn exit_codes() -> String {
    let rows = Exit::TABLE.map(|(code, meaning)| format!("| {code} | {meaning} |\n"));
    format!("| code | meaning |\n|---|---|\n{}", rows.concat())
}

/// The help of a program and of each of its commands as Markdown sections.
pub fn commands(root: Command, program: &str) -> String {
    let mut root = root.max_term_width(100).term_width(100).color(ColorChoice::Never);
    root.build();
    let mut page = String::new();
    describe(&mut root, program, program, &mut page);
    page
}

fn describe(command: &mut Command, path: &str, program: &str, page: &mut String) {
    if !command.has_subcommands() || path == program {
        let help = command.render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        page.push_str(&format!("\n### `{path}`\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
    }
    for sub in command.get_subcommands_mut() {
        if sub.get_name() != "help" {
            let path = format!("{path} {}", sub.get_name());
            describe(sub, &path, program, page);
        }
    }
}

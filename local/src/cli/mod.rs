//! The `duet` command line: one file per command. Data goes to standard output, messages to standard error.

mod agent;
mod ask;
mod audit;
mod bench;
mod client;
mod completions;
mod config;
mod connect;
mod conversation;
mod doctor;
mod ids;
mod inbox;
mod init;
mod input;
mod inside;
mod keys;
mod login;
mod member;
mod memory;
mod mend;
mod notices;
mod openapi;
mod password;
mod paths;
mod policy;
mod reference;
mod reply;
mod serve;
mod settings;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

pub use reference::reference_markdown;

use duet_api::command::{
    exit::{self, Failure, Outcome},
    output::{self, Output},
    times,
};

/// Duet: a companion that remembers, on one encrypted file.
#[derive(Debug, Parser)]
#[command(
    name = "duet",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  \
        duet serve                           start Duet and print its address\n  \
        duet ask \"What did I plan for May?\"  talk from the terminal\n  \
        duet memory search climbing          look into its memory\n  \
        duet doctor                          check this machine and say what to fix\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong input, 3 refused, 4 not found, 5 not available now,\n\
        6 waits for a decision, 130 interrupted."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The heading of the global options in the help.
const GLOBAL: &str = "Global options";

/// Options that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Configuration file (default: $XDG_CONFIG_HOME/duet/duet.toml)
    #[arg(long, global = true, help_heading = GLOBAL, env = "DUET_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Encrypted data file (default: $XDG_DATA_HOME/duet/duet.db)
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Server to work at, where `duet login` signed you in; `local` for this machine's file (default: that file)
    #[arg(long, global = true, help_heading = GLOBAL, env = "DUET_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Workspace to work in, by id or its beginning, or by name (default: the first); for `init` the name of the new one
    #[arg(long, global = true, help_heading = GLOBAL, env = "DUET_WORKSPACE", value_name = "WORKSPACE")]
    workspace: Option<String>,
    /// Write data as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    /// Print nothing but data and errors
    #[arg(long, short, global = true, help_heading = GLOBAL)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start Duet: the web app, the HTTP API, and the companion behind them
    Serve(serve::ServeArgs),
    /// Set up the owner without a browser
    Init(init::InitArgs),
    /// Say something to the companion and print the reply as it arrives
    Ask(ask::AskArgs),
    /// See what waits for you, and decide it
    Inbox(inbox::InboxArgs),
    /// See, add, review and redact memories
    #[command(subcommand)]
    Memory(memory::MemoryCommand),
    /// See and edit agents
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// See, export, rename, archive and delete conversations
    #[command(subcommand)]
    Conversation(conversation::ConversationCommand),
    /// See and change what agents may do, and what is asked first
    Policy(policy::PolicyArgs),
    /// See who is in the workspace, invite and remove people
    #[command(subcommand)]
    Member(member::MemberCommand),
    /// Sign in to a Duet that runs elsewhere, by a code that you confirm in the browser
    Login(login::LoginArgs),
    /// Sign out of a Duet that runs elsewhere
    Logout(login::LogoutArgs),
    /// Make, see and revoke API keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Check the audit log and the runs' event logs
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Measure Duet
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Check this machine and the data file, and say how to fix what is wrong
    Doctor(doctor::DoctorArgs),
    /// See the configuration in use
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print the OpenAPI 3.1 description of the HTTP API
    Openapi,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// How long the exit waits for what still runs.
const LAST_TASKS: Duration = Duration::from_secs(2);

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors; clap knows which stream each belongs to.
            let code = if error.use_stderr() {
                exit::Exit::Usage.into()
            } else {
                ExitCode::SUCCESS
            };
            let _ = error.print();
            return code;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("Duet cannot start its threads: {error}.")).report("duet"),
    };
    let outcome = runtime.block_on(async {
        outlive_file_size_limit()?;
        dispatch(cli).await
    });
    // The data file's threads end with the last task that holds it. Exiting before them would leave them using a cipher that the
    // exit has already torn down (seen as a protection fault). Blocked reads (standard input) must not keep a finished command
    // alive for long.
    runtime.shutdown_timeout(LAST_TASKS);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("duet"),
    }
}

/// Makes a write past the process's file size limit an error, reported like a full disk; by default, the signal that comes with
/// it ends the process. Listening once is enough: the handler stays installed.
#[cfg(unix)]
fn outlive_file_size_limit() -> Outcome {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::from_raw(libc::SIGXFSZ))
        .map(|_| ())
        .map_err(|error| Failure::failed(format!("Signals cannot be listened for: {error}.")))
}

#[cfg(not(unix))]
fn outlive_file_size_limit() -> Outcome {
    Ok(())
}

async fn dispatch(Cli { global, command }: Cli) -> Outcome {
    let output = Output {
        json: global.json,
        quiet: global.quiet,
    };
    if let (Command::Serve(_) | Command::Init(_) | Command::Bench(_) | Command::Doctor(_), Some(url)) =
        (&command, login::named(&global)?)
    {
        return Err(Failure::usage(format!(
            "This works on this machine alone, not at {url}. Leave out --server, unset DUET_SERVER, or use --server local."
        )));
    }
    match command {
        Command::Serve(args) => serve::run(&global, output, args).await,
        Command::Init(args) => init::run(&global, output, args).await,
        Command::Ask(args) => ask::run(&global, output, args).await,
        Command::Inbox(args) => inbox::run(&global, output, args).await,
        Command::Memory(command) => memory::run(&global, output, command).await,
        Command::Agent(command) => agent::run(&global, output, command).await,
        Command::Conversation(command) => conversation::run(&global, output, command).await,
        Command::Policy(args) => policy::run(&global, output, args).await,
        Command::Member(command) => member::run(&global, output, command).await,
        Command::Login(args) => login::run(&global, output, args).await,
        Command::Logout(args) => login::log_out(&global, output, args).await,
        Command::Keys(command) => keys::run(&global, output, command).await,
        Command::Audit(command) => audit::run(&global, output, command).await,
        Command::Bench(command) => bench::run(&global, output, command).await,
        Command::Doctor(args) => doctor::run(&global, output, args).await,
        Command::Config(command) => config::run(&global, output, command),
        Command::Openapi => openapi::run(output),
        Command::Completions(args) => completions::run(output, args),
    }
}

//! `cargo xtask bench lambda`: the deployed size of the functions, and their start-up time.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{
    binary::{self, Profile},
    command, place,
};

const FUNCTIONS: [&str; 3] = ["api", "stream", "worker"];
/// Number of measured starts; one extra start before them warms the machine's caches.
const STARTS: usize = 20;

/// Builds the functions, measures them and writes the figures.
pub fn measure(profile: Profile) -> Result<ExitCode> {
    let folder = place::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("Cannot make {}.", folder.display()))?;
    let mut figures = Vec::new();
    for name in FUNCTIONS {
        let program = binary::build(profile, "duet-functions", name)?;
        let zip = folder.join(format!("{name}.zip"));
        pack(&program, &zip)?;
        let mut starts = Vec::new();
        let mut memory = 0;
        start(&program)?;
        for _ in 0..STARTS {
            let (took, resident) = start(&program)?;
            starts.push(took);
            memory = memory.max(resident);
        }
        figures.push(figure(name, size(&program)?, size(&zip)?, memory, starts));
    }
    for figure in &figures {
        println!(
            "{:8} program {:>6.2} MiB, zip {:>6.2} MiB, begins in {:.1} ms (p50) {:.1} ms (p95), {:.1} MiB resident",
            figure["function"].as_str().unwrap_or_default(),
            mebibytes(&figure["program_bytes"]),
            mebibytes(&figure["zip_bytes"]),
            figure["init_p50_ms"].as_f64().unwrap_or_default(),
            figure["init_p95_ms"].as_f64().unwrap_or_default(),
            mebibytes(&figure["resident_bytes"]),
        );
    }
    let file = folder.join("lambda.json");
    fs::write(&file, format!("{:#}\n", json!({"functions": figures})))
        .with_context(|| format!("Cannot write {}.", file.display()))?;
    println!("{} has the figures.", file.display());
    Ok(ExitCode::SUCCESS)
}

fn figure(name: &str, program: u64, zip: u64, resident: u64, mut starts: Vec<Duration>) -> Value {
    starts.sort();
    let millis = |share: f64| {
        let index = ((starts.len() as f64 - 1.0) * share).round() as usize;
        starts.get(index).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
    };
    json!({
        "function": name, "program_bytes": program, "zip_bytes": zip, "resident_bytes": resident,
        "init_p50_ms": millis(0.5), "init_p95_ms": millis(0.95),
    })
}

fn mebibytes(bytes: &Value) -> f64 {
    bytes.as_f64().unwrap_or_default() / 1024.0 / 1024.0
}

fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file)
        .with_context(|| format!("Cannot read {}.", file.display()))?
        .len())
}

/// Packs a program for upload, under the name that the platform starts.
fn pack(program: &Path, zip: &Path) -> Result<()> {
    const PACK: &str = "import sys, zipfile\n\
        with zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as z: z.write(sys.argv[1], 'bootstrap')";
    let mut python = command::command("python3");
    command::capture(python.args(["-c", PACK]).arg(program).arg(zip))?;
    Ok(())
}

/// The time from process start until it asks for its first event, and its memory use then.
#[expect(clippy::disallowed_methods, reason = "the real time that a start takes is what is measured")]
fn start(program: &Path) -> Result<(Duration, u64)> {
    let runtime = TcpListener::bind("127.0.0.1:0").context("No free port on 127.0.0.1.")?;
    let address = runtime.local_addr().context("A listener without an address.")?;
    let begun = Instant::now();
    let mut child = Command::new(program)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "measured")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("DUET_WORKER_FUNCTION", "worker")
        .env("DUET_DATABASE_URL", "postgres://duet_worker@127.0.0.1:1/none")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("Cannot start the function.")?;
    // Held open: a function ends when its runtime interface hangs up.
    let asked = runtime
        .accept()
        .context("The function does not connect.")
        .and_then(|(connection, _)| {
            let mut asking = BufReader::new(connection);
            let mut line = String::new();
            asking.read_line(&mut line).context("The function asks for nothing.")?;
            Ok((line, begun.elapsed(), asking))
        });
    let resident = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    child.kill().context("The function has ended by itself.")?;
    child.wait().context("Cannot wait for the function.")?;
    let (line, took, _) = asked?;
    if !line.contains("/runtime/invocation/next") {
        bail!("The function asks for something else than an event: {line}");
    }
    Ok((took, resident_bytes(&resident)))
}

/// `VmRSS` on Linux; 0 elsewhere.
fn resident_bytes(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_taken_from_the_sorted_starts() {
        let starts = (1..=20).rev().map(Duration::from_millis).collect();
        let figure = figure("api", 1, 2, 3, starts);
        assert_eq!(figure["init_p50_ms"], 11.0);
        assert_eq!(figure["init_p95_ms"], 19.0);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), 2048 * 1024);
    }
}

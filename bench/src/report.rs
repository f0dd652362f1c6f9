//! Figures: percentiles, a table for people, JSON for programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Serialize;

/// A distribution of durations, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Number of measurements.
    pub count: usize,
    /// The median.
    pub p50_ms: f64,
    /// 95 of 100 are at most this.
    pub p95_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Spread {
    /// From these durations; `None` if there are none.
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut millis: Vec<f64> = durations
            .into_iter()
            .map(|duration| duration.as_secs_f64() * 1000.0)
            .collect();
        millis.sort_by(f64::total_cmp);
        let last = *millis.last()?;
        // Nearest rank: always a measured value, never an interpolated one.
        let rank = |share: f64| millis[((share * millis.len() as f64).ceil() as usize).clamp(1, millis.len()) - 1];
        Some(Self {
            count: millis.len(),
            p50_ms: rank(0.50),
            p95_ms: rank(0.95),
            p99_ms: rank(0.99),
            max_ms: last,
        })
    }
}

/// The machine that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory in bytes, where known.
    pub memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub system: String,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory.map(|kib| kib * 1024),
            system: format!("{} {}", env::consts::OS, env::consts::ARCH),
        }
    }
}

/// A figure with its target.
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// The distribution.
    pub spread: Option<Spread>,
    /// The target for its p95, in milliseconds.
    pub promise_ms: Option<f64>,
}

/// Prints distributions as a table.
pub fn table(rows: &[Row]) {
    println!(
        "{:44} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "count", "p50 ms", "p95 ms", "p99 ms", "max ms", "promise"
    );
    for row in rows {
        let promise = row
            .promise_ms
            .map_or_else(|| "–".to_owned(), |promise| format!("≤ {promise}"));
        match row.spread {
            Some(Spread {
                count,
                p50_ms,
                p95_ms,
                p99_ms,
                max_ms,
            }) => println!(
                "{:44} {count:>7} {p50_ms:>9.2} {p95_ms:>9.2} {p99_ms:>9.2} {max_ms:>9.2} {promise:>9}",
                row.name
            ),
            None => println!("{:44} {:>7} nothing was measured", row.name, 0),
        }
    }
}

/// Writes the report to the path of the option or of `DUET_BENCH_JSON`.
pub fn write_json(path: Option<&Path>, report: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(report).context("The report cannot be written as JSON.")?;
    fs::write(path, text + "\n").with_context(|| format!("Cannot write {}.", path.display()))
}

/// Writes the report to the path in `DUET_BENCH_JSON`, if set.
pub fn keep(report: &impl Serialize) -> Result<()> {
    write_json(env::var_os("DUET_BENCH_JSON").map(PathBuf::from).as_deref(), report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let spread = Spread::of((1..=100).map(Duration::from_millis)).expect("a spread");
        assert_eq!(
            (spread.p50_ms, spread.p95_ms, spread.p99_ms, spread.max_ms),
            (50.0, 95.0, 99.0, 100.0)
        );
        let one = Spread::of([Duration::from_millis(7)]).expect("a spread");
        assert_eq!((one.count, one.p50_ms, one.p99_ms), (1, 7.0, 7.0));
        assert_eq!(Spread::of([]), None);
    }
}

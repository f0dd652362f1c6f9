//! A small workspace among few and among many foreign memories. Both installations exist at once and are queried alternately, so that
//! changes in the machine's speed affect both.

use std::path::Path;

use anyhow::Result;
use duet_core::domain::RecallMode;
use serde::Serialize;

use super::{
    Options, Report,
    ask::{self, Samples},
    discard, make,
};
use crate::{
    clock,
    fixture::Shape,
    postgres::{Backend, Server},
};

/// Memories of the small workspace.
const OWN: usize = 50;

/// Number of foreign workspaces beside it: few and many.
const FOREIGN: [usize; 2] = [2, 20];

/// How often each query is asked.
const ROUNDS: usize = 5;

/// The ratio of the time among many to the time among few.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// Where it was measured.
    pub backend: Backend,
    /// What was measured.
    pub name: String,
    /// The p50 among many divided by the p50 among few.
    pub p50: f64,
}

/// Measures the small workspace on these backends.
pub async fn measure(
    options: &Options,
    mut report: Report,
    server: Option<&Server>,
    backends: &[Option<Backend>],
    folder: &Path,
) -> Result<Report> {
    let beside = |workspaces: usize| Shape {
        workspaces: workspaces + 1,
        first: Some(OWN),
        ..report.shape.clone()
    };
    let shapes = FOREIGN.map(beside);
    for backend in backends.iter().copied().flatten() {
        let few = make(options, &shapes[0], backend, server, folder).await?;
        let many = make(options, &shapes[1], backend, server, folder).await?;
        let measured = ask_both(options, &[&few, &many]).await;
        for (place, _) in [&few, &many] {
            let bytes = place.bytes().await;
            discard(options, place).await?;
            report.bytes.push((backend, bytes?));
        }
        for (mode, [few, many]) in measured? {
            let name = |shape: &Shape| format!("{OWN} among {} ({mode})", shape.total(shape.workspaces) - OWN);
            let lines = [few.line(backend, &name(&shapes[0])), many.line(backend, &name(&shapes[1]))];
            if let [Some(few), Some(many)] = &lines {
                report.ratios.push(Ratio {
                    backend,
                    name: format!("{mode}, among many by among few"),
                    p50: many.spread.p50_ms / few.spread.p50_ms,
                });
            }
            report.lines.extend(lines.into_iter().flatten());
        }
    }
    report.shape = shapes[1].clone();
    Ok(report)
}

/// Queries both alternately, with one client, after a warm-up of as many queries.
async fn ask_both(
    options: &Options,
    made: &[&(crate::fixture::Place, crate::fixture::Fixture); 2],
) -> Result<Vec<(RecallMode, [Samples; 2])>> {
    let env = clock::env(options.seed ^ 0xC0);
    let asked = ask::about(&made[0].1.shape, 0, options.questions);
    let opened = [made[0].0.open(&env, true)?, made[1].0.open(&env, true)?];
    let stores = [opened[0].stores(), opened[1].stores()];
    let mut measured = Vec::new();
    for mode in [RecallMode::Vector, RecallMode::Hybrid] {
        let mut samples = [Samples::default(), Samples::default()];
        for round in 0..=ROUNDS {
            for question in &asked {
                for (number, stores) in stores.iter().enumerate() {
                    let mut unmeasured = Samples::default();
                    let samples = if round == 0 { &mut unmeasured } else { &mut samples[number] };
                    samples.ask(stores, &made[number].1, &env, question, mode).await?;
                }
            }
        }
        measured.push((mode, samples));
    }
    for opened in opened {
        opened.close().await;
    }
    Ok(measured)
}

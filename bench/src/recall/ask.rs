//! Queries with their true answers, and the duration of the answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use duet_core::{
    Caller, Env,
    domain::{Bar, Embedding, Locality, RecallMode, RecallQuery, Role},
    ids::MemoryId,
    ports::Stores,
};
use serde::Serialize;

use crate::{
    clock,
    fixture::{Fixture, Shape},
    postgres::Backend,
    report::Spread,
};

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Where it was measured.
    pub backend: Backend,
    /// What was measured.
    pub name: String,
    /// The duration of an answer.
    #[serde(flatten)]
    pub spread: Spread,
    /// The share of the true ten nearest that was found; only for vector queries.
    pub recall_at_10: Option<f64>,
    /// Answers per second, in a closed loop.
    pub per_second: Option<f64>,
}

/// A query with its ten nearest memories by full comparison.
pub struct Asked {
    workspace: usize,
    vector: Vec<f32>,
    text: String,
    truth: Vec<MemoryId>,
}

/// This many queries about one workspace, with their true nearest.
pub fn about(shape: &Shape, workspace: usize, count: usize) -> Vec<Asked> {
    let mut vectors = shape.vectors(workspace);
    let all: Vec<Vec<f32>> = vectors.by_ref().collect();
    (0..count)
        .map(|number| {
            let vector = vectors.draw();
            let mut near: Vec<(f64, usize)> = all
                .iter()
                .enumerate()
                .map(|(place, other)| (product(&vector, other), place))
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            let truth = near
                .iter()
                .take(10)
                .map(|(_, place)| shape.memory(workspace, *place))
                .collect();
            Asked {
                workspace,
                vector,
                text: shape.text(workspace, number * 7 % all.len()),
                truth,
            }
        })
        .collect()
}

/// Queries across the workspaces, with their true nearest.
pub fn questions(shape: &Shape, count: usize) -> Vec<Asked> {
    let each = count.div_ceil(shape.workspaces);
    let mut turns: Vec<(usize, Asked)> = (0..shape.workspaces.min(count))
        .flat_map(|workspace| about(shape, workspace, each).into_iter().enumerate())
        .collect();
    // Round robin over the workspaces.
    turns.sort_by_key(|(turn, asked)| (*turn, asked.workspace));
    turns.into_iter().map(|(_, asked)| asked).take(count).collect()
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0f64; 8];
    let ((a, _), (b, _)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (x, y) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += f64::from(x[lane] * y[lane]);
        }
    }
    sums.iter().sum()
}

/// The samples of one way of asking.
#[derive(Default)]
pub struct Samples {
    durations: Vec<Duration>,
    found: usize,
    wanted: usize,
}

impl Samples {
    /// Asks as the workspace's owner.
    pub async fn ask(&mut self, stores: &Stores, fixture: &Fixture, env: &Env, asked: &Asked, mode: RecallMode) -> Result<()> {
        let caller = Caller::person(fixture.owner, fixture.workspaces[asked.workspace], Role::Owner);
        let query = RecallQuery {
            text: asked.text.clone(),
            embedding: Some(Embedding {
                model: fixture.shape.model(),
                vector: asked.vector.clone(),
            }),
            mode,
            limit: 10,
            domains: None,
            locality: Locality::Local,
            bar: Bar::NONE,
            now: env.now(),
        };
        let start = clock::start();
        let answer = stores.memories.recall(&caller, query).await?;
        self.durations.push(start.elapsed());
        if mode == RecallMode::Vector {
            self.wanted += asked.truth.len();
            self.found += answer
                .items
                .iter()
                .filter(|item| asked.truth.contains(&item.memory.id))
                .count();
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.durations.extend(other.durations);
        self.found += other.found;
        self.wanted += other.wanted;
    }

    /// A line of the result; `None` without samples.
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    pub fn line(self, backend: Backend, name: &str) -> Option<Line> {
        Some(Line {
            backend,
            name: name.to_owned(),
            spread: Spread::of(self.durations)?,
            recall_at_10: (self.wanted > 0).then(|| self.found as f64 / self.wanted as f64),
            per_second: None,
        })
    }
}

/// Many clients, each asking again as soon as it has its answer; also returns the answers per second.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
pub async fn closed_loop(
    clients: usize,
    length: Duration,
    stores: &Stores,
    fixture: &Arc<Fixture>,
    env: &Env,
    asked: &Arc<Vec<Asked>>,
    mode: RecallMode,
) -> Result<(Samples, f64)> {
    let next = Arc::new(AtomicUsize::new(0));
    let start = clock::start();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let (stores, fixture, env, asked, next) = (
            stores.clone(),
            Arc::clone(fixture),
            env.clone(),
            Arc::clone(asked),
            Arc::clone(&next),
        );
        asking.spawn(async move {
            let mut samples = Samples::default();
            while start.elapsed() < length {
                let question = &asked[next.fetch_add(1, Ordering::Relaxed) % asked.len()];
                samples.ask(&stores, &fixture, &env, question, mode).await?;
            }
            anyhow::Ok(samples)
        });
    }
    let mut all = Samples::default();
    while let Some(samples) = asking.join_next().await {
        all.add(samples??);
    }
    let rate = all.durations.len() as f64 / start.elapsed().as_secs_f64();
    Ok((all, rate))
}

//! A file with many workspaces full of memories: seeded, any size, made through the ordinary store.

use std::path::Path;

use anyhow::{Context, Result};
use duet_core::{
    Caller, Env,
    domain::{Egress, Embedding, EmbeddingModel, MemoryDomain, NewMemory, Provenance, Role, Taint, Visibility},
    ids::{Id, MemoryId, WorkspaceId},
    ports::Stores,
};
use duet_local::{
    key::FileKey,
    quality,
    store::{LocalStore, OpenOptions},
};
use futures::{StreamExt, TryStreamExt, stream};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::clock;

/// Writes under way at a time; they share commits.
const WRITES: usize = 128;

/// Words of the memories' texts; the first ones are the most common.
const WORDS: usize = 5_000;

/// How large, and from which seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Workspaces.
    pub workspaces: usize,
    /// Memories in each.
    pub memories: usize,
    /// Dimensions of their vectors.
    pub dimensions: usize,
    /// The seed.
    pub seed: u64,
}

/// A made file: who asks in which workspace. Kept beside it as JSON, so that it can be measured again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fixture {
    /// How it was made.
    pub shape: Shape,
    /// The owner of all workspaces.
    pub owner: duet_core::ids::UserId,
    /// The workspaces.
    pub workspaces: Vec<WorkspaceId>,
}

impl Shape {
    /// The embedding model that the vectors are said to be of.
    pub fn model(&self) -> EmbeddingModel {
        EmbeddingModel {
            id: "bench/clustered".into(),
            dimensions: u32::try_from(self.dimensions).unwrap_or(u32::MAX),
        }
    }

    /// The vectors of one workspace, the same each time: unit vectors around cluster centres that share a direction, as
    /// embeddings do.
    pub fn vectors(&self, workspace: usize) -> Vectors {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ (workspace as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let clusters = (self.memories / 100).clamp(1, 200);
        let mut common = ChaCha8Rng::seed_from_u64(self.seed);
        let shared = gaussian(&mut common, self.dimensions);
        let centres = (0..clusters)
            .map(|_| {
                let own = gaussian(&mut random, self.dimensions);
                own.iter().zip(&shared).map(|(x, s)| x + 0.7 * s).collect()
            })
            .collect();
        Vectors {
            random,
            centres,
            left: self.memories,
        }
    }

    /// The id of a memory of a workspace.
    pub fn memory(&self, workspace: usize, number: usize) -> MemoryId {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ 0x5EED ^ ((workspace as u64) << 32 | number as u64));
        MemoryId::from_uuid(
            uuid::Builder::from_unix_timestamp_millis(1_750_000_000_000 + number as u64, &random.random()).into_uuid(),
        )
    }

    /// The text of a memory: eight words, common ones more often.
    pub fn text(&self, workspace: usize, number: usize) -> String {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ 0x7E87 ^ ((workspace as u64) << 32 | number as u64));
        let words: Vec<String> = (0..8)
            .map(|_| {
                let skewed: f64 = random.random::<f64>().powi(3);
                format!("word{}", (skewed * WORDS as f64) as usize)
            })
            .collect();
        words.join(" ")
    }
}

/// The vectors of a workspace, one after the other.
pub struct Vectors {
    random: ChaCha8Rng,
    centres: Vec<Vec<f32>>,
    left: usize,
}

impl Vectors {
    /// Another vector of the same distribution: a question.
    pub fn draw(&mut self) -> Vec<f32> {
        let centre = self.random.random_range(0..self.centres.len());
        let noise = gaussian(&mut self.random, self.centres[centre].len());
        let mixed: Vec<f32> = self.centres[centre].iter().zip(&noise).map(|(c, n)| c + 0.9 * n).collect();
        unit(mixed)
    }
}

impl Iterator for Vectors {
    type Item = Vec<f32>;
    fn next(&mut self) -> Option<Vec<f32>> {
        self.left = self.left.checked_sub(1)?;
        Some(self.draw())
    }
}

/// Independent normal components, by Box and Muller.
fn gaussian(random: &mut ChaCha8Rng, dimensions: usize) -> Vec<f32> {
    let mut components = Vec::with_capacity(dimensions + 1);
    while components.len() < dimensions {
        let radius = (-2.0 * (1.0 - random.random::<f32>()).ln()).sqrt();
        let (sine, cosine) = (std::f32::consts::TAU * random.random::<f32>()).sin_cos();
        components.extend([radius * cosine, radius * sine]);
    }
    components.truncate(dimensions);
    components
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    for x in &mut vector {
        *x /= length;
    }
    vector
}

/// Opens the fixture's file.
pub fn open(path: &Path, env: &Env, vector_cache_bytes: usize) -> Result<LocalStore> {
    LocalStore::open(OpenOptions {
        path: path.to_owned(),
        key: FileKey::new([0xbe; 32]),
        env: env.clone(),
        vector_cache_bytes,
    })
    .with_context(|| format!("cannot open {}", path.display()))
}

/// Opens the fixture at `path`, making it first when it is not there.
pub async fn make(path: &Path, shape: &Shape) -> Result<Fixture> {
    let beside = path.with_extension("json");
    if path.exists() && beside.exists() {
        let fixture: Fixture = serde_json::from_slice(&std::fs::read(&beside)?)?;
        anyhow::ensure!(
            fixture.shape == *shape,
            "{} was made with other measures ({:?}). Remove it, or name another file.",
            path.display(),
            fixture.shape
        );
        return Ok(fixture);
    }
    let env = clock::env(shape.seed);
    let store = open(path, &env, 0)?;
    let stores = store.stores();
    let first = quality::owner(&stores, &env).await?;
    let mut workspaces = vec![first.workspace];
    for number in 1..shape.workspaces {
        let id: WorkspaceId = env.id();
        stores
            .workspaces
            .create(first.user, id, &format!("Workspace {number}"), "Duet")
            .await?;
        workspaces.push(id);
    }
    let start = clock::start();
    for (number, workspace) in workspaces.iter().enumerate() {
        let caller = Caller::person(first.user, *workspace, Role::Owner);
        fill(&stores, &env, &caller, shape, number).await?;
        stores.system.sweep().await?;
        let done = (number + 1) * shape.memories;
        eprintln!(
            "{}/{} workspaces, {:.0} memories/s",
            number + 1,
            shape.workspaces,
            done as f64 / start.elapsed().as_secs_f64()
        );
    }
    let fixture = Fixture {
        shape: shape.clone(),
        owner: first.user,
        workspaces,
    };
    std::fs::write(&beside, serde_json::to_vec(&fixture)?)?;
    Ok(fixture)
}

async fn fill(stores: &Stores, env: &Env, caller: &Caller, shape: &Shape, workspace: usize) -> Result<()> {
    let now = env.now();
    stream::iter(shape.vectors(workspace).enumerate())
        .map(|(number, vector)| {
            let memory = NewMemory {
                id: shape.memory(workspace, number),
                domain: MemoryDomain::Semantic,
                text: shape.text(workspace, number),
                speaker: None,
                visibility: Visibility::Shared,
                sensitive: false,
                egress: Egress::Any,
                taint: Taint::Trusted,
                provenance: Provenance::default(),
                position: None,
                occurred_at: now,
                expires_at: None,
                supersedes: None,
            };
            let embedding = Embedding {
                model: shape.model(),
                vector,
            };
            stores.memories.remember(caller, memory, Some(embedding))
        })
        .buffer_unordered(WRITES)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    Ok(())
}

//! One workspace's codes by one model, in memory, and a search over them that is provably exact.

use std::{cmp::Ordering, convert::Infallible};

use super::{
    quantize::{Coarse, Code, QuestionCode, lower, upper},
    simd,
};

/// One code with what a search needs to know about its memory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The change it came with.
    pub seq: i64,
    /// Key of the vector's row.
    pub vector: i64,
    /// Key of the memory.
    pub memory: i64,
    /// Who may see it.
    pub class: i64,
    /// When it expires.
    pub expires_at: Option<i64>,
    /// The code.
    pub code: Code,
}

/// A candidate with its exact cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// The memory.
    pub memory: i64,
    /// The cosine.
    pub cosine: f32,
}

#[derive(Clone, Copy, Debug)]
struct Meta {
    vector: i64,
    memory: i64,
    class: i64,
    expires_at: i64,
    scale: f32,
    error: f32,
    coarse: Coarse,
}

/// Codes in columns, with all upper nibbles apart from the lower ones: the upper ones decide most searches, and memory bandwidth
/// limits how fast they can be read.
#[derive(Debug)]
pub struct Block {
    /// The change up to which this is complete.
    pub generation: i64,
    /// Bytes of half a code.
    width: usize,
    metas: Vec<Meta>,
    high: Vec<u8>,
    low: Vec<u8>,
}

impl Block {
    /// An empty block for vectors of this many dimensions.
    pub fn new(dimensions: usize) -> Self {
        Self {
            generation: 0,
            width: simd::padded(dimensions) / 2,
            metas: Vec::new(),
            high: Vec::new(),
            low: Vec::new(),
        }
    }

    /// Reserves room for this many more.
    pub fn reserve(&mut self, count: usize) {
        self.metas.reserve_exact(count);
        self.high.reserve_exact(count * self.width);
        self.low.reserve_exact(count * self.width);
    }

    /// Adds a code.
    pub fn push(&mut self, mut entry: Entry) {
        entry.code.code.resize(2 * self.width, 0);
        self.metas.push(Meta {
            vector: entry.vector,
            memory: entry.memory,
            class: entry.class,
            expires_at: entry.expires_at.unwrap_or(i64::MAX),
            scale: entry.code.scale,
            error: entry.code.error,
            coarse: Coarse::of(&entry.code),
        });
        simd::pack(entry.code.code.iter().map(|step| upper(*step)), &mut self.high);
        simd::pack(entry.code.code.iter().map(|step| lower(*step)), &mut self.low);
        self.generation = self.generation.max(entry.seq);
    }

    /// Takes out the code of a vector, if it is there.
    pub fn remove(&mut self, vector: i64) {
        let Some(place) = self.metas.iter().position(|meta| meta.vector == vector) else {
            return;
        };
        self.metas.swap_remove(place);
        let (last, width) = (self.metas.len(), self.width);
        for half in [&mut self.high, &mut self.low] {
            if place < last {
                half.copy_within(last * width..(last + 1) * width, place * width);
            }
            half.truncate(last * width);
        }
    }

    /// How many codes there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.high.capacity() + self.low.capacity() + self.metas.capacity() * size_of::<Meta>()
    }

    /// Memory that this many codes will take, in bytes.
    pub fn bytes_for(dimensions: usize, count: usize) -> usize {
        count * (simd::padded(dimensions) + size_of::<Meta>())
    }

    /// The `count` nearest of these classes that have not expired by `now`, and any that are exactly as near as the last of them;
    /// nearest first. `exact` reads a vector's true cosine, or `None` if its row is gone by now.
    ///
    /// A code's upper nibbles bound its cosine from above and below, the whole code bounds it more closely, and the vector itself
    /// is the truth. Each is examined in order of falling bound, until no bound reaches what at least `count` others have for
    /// certain.
    pub fn nearest<E>(
        &self,
        question: &QuestionCode,
        classes: &[i64],
        now: i64,
        count: usize,
        mut exact: impl FnMut(i64) -> Result<Option<f32>, E>,
    ) -> Result<Vec<Near>, E> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut gone: Vec<u32> = Vec::new();
        loop {
            let mut coarse = self.coarse_bounds(question, classes, now);
            coarse.retain(|(_, place)| !gone.contains(place));
            let mut fine = self.fine_bounds(question, coarse, count);
            let mut near: Vec<Near> = Vec::with_capacity(count + 1);
            let mut missing = Vec::new();
            falling(&mut fine, |upper, place| {
                if near.len() >= count && upper < near[count - 1].cosine {
                    return Ok(false);
                }
                let meta = &self.metas[place as usize];
                match exact(meta.vector)? {
                    Some(cosine) => {
                        let found = Near {
                            memory: meta.memory,
                            cosine,
                        };
                        let at = near.partition_point(|other| by_cosine(other, &found) == Ordering::Less);
                        near.insert(at, found);
                    }
                    None => missing.push(place),
                }
                Ok(true)
            })?;
            if missing.is_empty() {
                keep_with_equals(&mut near, count);
                return Ok(near);
            }
            // Vectors that are gone may have kept others out: search again without them.
            gone.extend(missing);
        }
    }

    /// The upper bound of every code that may be found, from its upper nibbles.
    fn coarse_bounds(&self, question: &QuestionCode, classes: &[i64], now: i64) -> Vec<(f32, u32)> {
        let mut bounds = Vec::with_capacity(self.metas.len());
        for (place, (meta, high)) in self.metas.iter().zip(self.high.chunks_exact(self.width)).enumerate() {
            if meta.expires_at <= now || !classes.contains(&meta.class) {
                continue;
            }
            let product = simd::nibble_product(&question.coarse_steps, high);
            let (estimate, width) = question.coarse_interval(product, meta.coarse, meta.error);
            #[expect(clippy::cast_possible_truncation, reason = "a block of 2^32 codes fits no memory")]
            bounds.push((estimate + width, place as u32));
        }
        bounds
    }

    /// The upper bounds from whole codes, for those whose coarse bound reaches the lower bound of the `count`-th best.
    fn fine_bounds(&self, question: &QuestionCode, mut coarse: Vec<(f32, u32)>, count: usize) -> Vec<(f32, u32)> {
        let mut fine: Vec<(f32, u32)> = Vec::new();
        let mut lowers: Vec<f32> = Vec::with_capacity(count + 1);
        let outcome = falling(&mut coarse, |upper, place| {
            if lowers.len() >= count && upper < lowers[count - 1] {
                return Ok::<_, Infallible>(false);
            }
            let (meta, at) = (&self.metas[place as usize], place as usize * self.width);
            let (high, low) = (&self.high[at..at + self.width], &self.low[at..at + self.width]);
            let product = simd::product(&question.fine_steps, high, low);
            let (estimate, width) = question.interval(product, meta.scale, meta.error);
            fine.push((estimate + width, place));
            let lower = estimate - width;
            if lowers.len() < count || lower > lowers[count - 1] {
                lowers.insert(lowers.partition_point(|other| *other > lower), lower);
                lowers.truncate(count);
            }
            Ok(true)
        });
        match outcome {
            Ok(()) => fine,
        }
    }
}

/// Visits bounds by falling value until `each` says no. They are sorted in batches: usually the first one is enough.
fn falling<E>(bounds: &mut [(f32, u32)], mut each: impl FnMut(f32, u32) -> Result<bool, E>) -> Result<(), E> {
    const LOT: usize = 256;
    let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0);
    let mut rest = bounds;
    while !rest.is_empty() {
        let lot = rest.len().min(LOT);
        if lot < rest.len() {
            rest.select_nth_unstable_by(lot, order);
        }
        let (first, others) = rest.split_at_mut(lot);
        first.sort_unstable_by(order);
        for &mut (upper, place) in first {
            if !each(upper, place)? {
                return Ok(());
            }
        }
        rest = others;
    }
    Ok(())
}

/// Nearest first; ties by key.
pub fn by_cosine(a: &Near, b: &Near) -> Ordering {
    b.cosine.total_cmp(&a.cosine).then(a.memory.cmp(&b.memory))
}

/// Truncates a sorted list to `count`, plus whatever is exactly as near as the last one kept.
pub fn keep_with_equals(near: &mut Vec<Near>, count: usize) {
    if let Some(last) = count.checked_sub(1).and_then(|last| near.get(last)).map(|last| last.cosine) {
        near.truncate(near.partition_point(|other| other.cosine >= last));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(raw: &[f32]) -> Vec<f32> {
        let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
        raw.iter().map(|x| x / length).collect()
    }

    fn block_of(vectors: &[Vec<f32>]) -> Block {
        let mut block = Block::new(vectors[0].len());
        for (place, vector) in vectors.iter().enumerate() {
            let place = i64::try_from(place).unwrap();
            block.push(Entry {
                seq: place + 1,
                vector: place,
                memory: place,
                class: place % 3,
                expires_at: (place % 5 == 0).then_some(10),
                code: Code::of(vector),
            });
        }
        block
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_same_as_a_full_comparison(
            raw in prop::collection::vec(prop::collection::vec(-1.0f32..1.0, 40), 1..120),
            question in prop::collection::vec(-1.0f32..1.0, 40),
            count in 1usize..15, now in prop::sample::select(vec![5i64, 20]), gone in 0i64..120,
        ) {
            prop_assume!(question.iter().map(|x| x * x).sum::<f32>() > 0.01);
            prop_assume!(raw.iter().all(|v| v.iter().map(|x| x * x).sum::<f32>() > 0.01));
            let vectors: Vec<Vec<f32>> = raw.iter().map(|v| unit(v)).collect();
            let question = unit(&question);
            let mut block = block_of(&vectors);
            block.remove(gone);
            let near = block
                .nearest(&QuestionCode::of(&question), &[0, 2], now, count, |vector| {
                    Ok::<_, Infallible>(Some(simd::cosine(&question, &vectors[usize::try_from(vector).unwrap()])))
                })
                .unwrap();
            let mut all: Vec<Near> = (0..vectors.len())
                .filter(|place| place % 3 != 1 && (now < 10 || place % 5 != 0) && i64::try_from(*place).unwrap() != gone)
                .map(|place| Near { memory: i64::try_from(place).unwrap(), cosine: simd::cosine(&question, &vectors[place]) })
                .collect();
            all.sort_by(by_cosine);
            keep_with_equals(&mut all, count);
            prop_assert_eq!(near, all);
        }
    }

    #[test]
    fn removing_keeps_the_others_in_step() {
        let vectors: Vec<Vec<f32>> = (0..4).map(|i| unit(&[1.0, i as f32])).collect();
        let mut block = block_of(&vectors);
        block.remove(1);
        block.remove(99);
        assert_eq!((block.len(), block.generation), (3, 4));
        let near = block
            .nearest(&QuestionCode::of(&vectors[3]), &[0, 1, 2], 0, 1, |v| {
                Ok::<_, Infallible>((v != 3).then_some(0.5))
            })
            .unwrap();
        assert!(near.iter().all(|near| near.memory != 1 && near.memory != 3));
    }
}

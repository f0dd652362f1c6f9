//! The codes of one workspace by one model, in memory, and the search over them that is exact by proof.

use std::cmp::Ordering;

use super::{
    quantize::{Code, QuestionCode},
    simd,
};

/// One code with what a search has to know of its memory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The change that it came with.
    pub seq: i64,
    /// Key of the vector's row.
    pub vector: i64,
    /// Key of the memory.
    pub memory: i64,
    /// Who may see it.
    pub class: i64,
    /// From then on it is gone.
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
}

/// Codes, by columns.
#[derive(Debug)]
pub struct Block {
    /// The change up to which this is complete.
    pub generation: i64,
    width: usize,
    metas: Vec<Meta>,
    codes: Vec<i8>,
}

impl Block {
    /// An empty one for vectors of so many dimensions.
    pub fn new(dimensions: usize) -> Self {
        Self {
            generation: 0,
            width: simd::padded(dimensions),
            metas: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// Room for so many more.
    pub fn reserve(&mut self, count: usize) {
        self.metas.reserve_exact(count);
        self.codes.reserve_exact(count * self.width);
    }

    /// Adds a code.
    pub fn push(&mut self, entry: &Entry) {
        self.metas.push(Meta {
            vector: entry.vector,
            memory: entry.memory,
            class: entry.class,
            expires_at: entry.expires_at.unwrap_or(i64::MAX),
            scale: entry.code.scale,
            error: entry.code.error,
        });
        let end = self.codes.len() + self.width;
        self.codes.extend_from_slice(&entry.code.code);
        self.codes.resize(end, 0);
        self.generation = self.generation.max(entry.seq);
    }

    /// Takes the code of a vector out, if it is there.
    pub fn remove(&mut self, vector: i64) {
        let Some(place) = self.metas.iter().position(|meta| meta.vector == vector) else {
            return;
        };
        self.metas.swap_remove(place);
        let last = self.metas.len();
        if place < last {
            self.codes
                .copy_within(last * self.width..(last + 1) * self.width, place * self.width);
        }
        self.codes.truncate(last * self.width);
    }

    /// How many codes there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        self.codes.capacity() + self.metas.capacity() * size_of::<Meta>()
    }

    /// Memory that so many codes will take.
    pub fn bytes_for(dimensions: usize, count: usize) -> usize {
        count * (simd::padded(dimensions) + size_of::<Meta>())
    }

    /// The `count` nearest of these classes that have not expired by `now`, and any that are exactly as near as the last of
    /// them; nearest first. `exact` reads a vector's true cosine, `None` when its row is gone by now.
    ///
    /// Every code bounds its cosine from above. Vectors are compared exactly by falling bound, until no bound reaches the
    /// `count`-th best exact cosine any more: what is left cannot be among the nearest.
    pub fn nearest<E>(
        &self,
        question: &QuestionCode,
        classes: &[i64],
        now: i64,
        count: usize,
        mut exact: impl FnMut(i64) -> Result<Option<f32>, E>,
    ) -> Result<Vec<Near>, E> {
        /// Bounds are put in order so many at a time: mostly the first lot is enough.
        const LOT: usize = 256;
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut bounds: Vec<(f32, u32)> = Vec::with_capacity(self.metas.len());
        for (place, (meta, code)) in self.metas.iter().zip(self.codes.chunks_exact(self.width)).enumerate() {
            if meta.expires_at <= now || !classes.contains(&meta.class) {
                continue;
            }
            let (estimate, width) = question.interval(simd::product(&question.code, code), meta.scale, meta.error);
            #[expect(clippy::cast_possible_truncation, reason = "a block of 2^32 codes fits no memory")]
            bounds.push((estimate + width, place as u32));
        }

        let mut near: Vec<Near> = Vec::with_capacity(count + 1);
        let mut rest = bounds.as_mut_slice();
        'lots: while !rest.is_empty() {
            let falling = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0);
            let lot = rest.len().min(LOT);
            if lot < rest.len() {
                rest.select_nth_unstable_by(lot, falling);
            }
            let (first, others) = rest.split_at_mut(lot);
            first.sort_unstable_by(falling);
            for &mut (upper, place) in first {
                if near.len() >= count && upper < near[count - 1].cosine {
                    break 'lots;
                }
                let meta = &self.metas[place as usize];
                if let Some(cosine) = exact(meta.vector)? {
                    let found = Near {
                        memory: meta.memory,
                        cosine,
                    };
                    let at = near.partition_point(|other| by_cosine(other, &found) == Ordering::Less);
                    near.insert(at, found);
                }
            }
            rest = others;
        }
        keep_with_equals(&mut near, count);
        Ok(near)
    }
}

/// Nearest first; equals by key.
pub fn by_cosine(a: &Near, b: &Near) -> Ordering {
    b.cosine.total_cmp(&a.cosine).then(a.memory.cmp(&b.memory))
}

/// Cuts a sorted list after `count` and whatever is exactly as near as the last one kept.
pub fn keep_with_equals(near: &mut Vec<Near>, count: usize) {
    if let Some(last) = count.checked_sub(1).and_then(|last| near.get(last)).map(|last| last.cosine) {
        near.truncate(near.partition_point(|other| other.cosine >= last));
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

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
            block.push(&Entry {
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

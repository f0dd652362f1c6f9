//! Recall by words, by vectors and by both.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{World, cosine, direction, fact, ids, turn, vector};
use crate::contract::world::assert_refused;
use crate::{
    domain::{Embedding, NewMemory, RecallMode, Visibility},
    ids::{ConversationId, MemoryId, RedactionId},
    refusal::Refusal,
};

rules! {
    /// Word forms, case and accents do not matter; any text is a valid question.
    async fn full_text_finds_words_in_other_forms(w) {
        let cafe = w.remember(&w.anna, fact(&w.env, "We were running to the Café in 2023")).await;
        for question in ["Who runs?", "CAFE", "2023", "café?"] {
            assert_eq!(w.found(&w.anna, question).await, [cafe.id], "{question}");
        }
        for question in ["", "   ", "the of and", "\"*^ OR NEAR(", "'; DROP TABLE memory; --", "\u{0}\u{202e}"] {
            assert!(w.found(&w.anna, question).await.is_empty(), "{question:?}");
        }
        let best = w.remember(&w.anna, fact(&w.env, "Zanzibar Zanzibar spices")).await;
        w.remember(&w.anna, fact(&w.env, "We talked a long time about many places and also Zanzibar and other islands far away")).await;
        let answer = w.ask(&w.anna, "Zanzibar").await;
        assert_eq!(answer.items[0].memory.id, best.id);
        assert!(answer.items[0].score > answer.items[1].score && answer.items[0].text_score.is_some());
    }

    /// The answer shares no word with the query but stands next to the question that does.
    async fn neighbours_and_conversation_lift_an_episode(w) {
        let (here, there) = (w.env.id::<ConversationId>(), w.env.id::<ConversationId>());
        w.remember(&w.anna, turn(&w.env, here, 1, "Good morning")).await;
        w.remember(&w.anna, turn(&w.env, here, 2, "Which instrument do you play in the orchestra?")).await;
        let answer = w.remember(&w.anna, turn(&w.env, here, 3, "Cello, since I was nine!")).await;
        for number in 1..6 {
            w.remember(&w.anna, turn(&w.env, there, number, "The weather is dull again")).await;
        }
        let found = w.found(&w.anna, "instrument in the orchestra").await;
        assert!(found.contains(&answer.id), "the neighbour of the best match is a candidate");
        let lone = w.remember(&w.anna, turn(&w.env, there, 40, "The orchestra was mentioned")).await;
        let found = w.found(&w.anna, "instrument orchestra").await;
        let place = |id| found.iter().position(|found| *found == id).expect("found");
        assert!(place(answer.id) > 0 && place(lone.id) > 0);
    }

    /// The top k match a comparison with every vector, for narrow and wide models, even as memories come and go.
    async fn vectors_rank_exactly_like_a_full_comparison(w) {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for (id, dimensions) in [("narrow", 24), ("wide", 640)] {
            let mut kept: Vec<(MemoryId, Embedding)> = Vec::new();
            for round in 0..3 {
                for number in 0..40 {
                    let embedding = direction(&mut random, id, dimensions);
                    let text = format!("{id} {round} {number}");
                    let stored = w.memories.remember(&w.anna, fact(&w.env, &text), Some(embedding.clone())).await.expect("stored");
                    kept.push((stored.id, embedding));
                }
                let (gone, _) = kept.remove(random.random_range(0..kept.len()));
                w.memories.redact(&w.anna, gone, w.env.id::<RedactionId>()).await.expect("redacted");
                for _ in 0..5 {
                    let question = direction(&mut random, id, dimensions);
                    let answer = w.memories.recall(&w.anna, w.query("", Some(question.clone()), RecallMode::Vector)).await.expect("an answer");
                    let mut exact: Vec<(f64, MemoryId)> = kept.iter().map(|(id, vector)| (cosine(&question, vector), *id)).collect();
                    exact.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                    assert_eq!(ids(&answer), exact.iter().take(10).map(|(_, id)| *id).collect::<Vec<_>>());
                    for (item, (cosine, _)) in answer.items.iter().zip(&exact) {
                        assert!((f64::from(item.vector_score.expect("a cosine")) - cosine).abs() < 1e-5);
                    }
                }
            }
        }
    }

    /// Even when the caller may not see most vectors, the full number of results comes back.
    async fn filters_leave_enough_results(w) {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        for dimensions in [16, 600] {
            let id = format!("m{dimensions}");
            let question = direction(&mut random, &id, dimensions);
            for number in 0..12 {
                let embedding = direction(&mut random, &id, dimensions);
                w.memories.remember(&w.anna, fact(&w.env, &format!("shared {number}")), Some(embedding)).await.expect("stored");
            }
            for number in 0..60 {
                // Nearer than all of Anna's, but Ben's own.
                let mut near = question.clone();
                near.vector[0] += 0.001 * number as f32;
                let near = Embedding::new(near.model.clone(), near.vector).expect("a direction");
                let private = NewMemory { visibility: Visibility::Private, ..fact(&w.env, &format!("private {number}")) };
                w.memories.remember(&w.ben, private, Some(near)).await.expect("stored");
            }
            let answer = w.memories.recall(&w.anna, w.query("", Some(question.clone()), RecallMode::Vector)).await.expect("an answer");
            assert_eq!(answer.items.len(), 10);
            assert!(answer.items.iter().all(|item| item.memory.text.starts_with("shared")));
        }
    }

    /// Fusion loses neither.
    async fn hybrid_finds_what_either_signal_finds(w) {
        let words = w.memories.remember(&w.anna, fact(&w.env, "The plumber is called Oskar"), Some(vector("m", &[0.0, 1.0]))).await.expect("stored");
        let meaning = w.memories.remember(&w.anna, fact(&w.env, "Handyman for pipes: Mr Weber"), Some(vector("m", &[1.0, 0.05]))).await.expect("stored");
        for number in 0..5 {
            let text = format!("Unrelated note {number}");
            w.memories.remember(&w.anna, fact(&w.env, &text), Some(vector("m", &[-1.0, number as f32]))).await.expect("stored");
        }
        let query = w.query("Who is the plumber?", Some(vector("m", &[1.0, 0.0])), RecallMode::Hybrid);
        let answer = w.memories.recall(&w.anna, query).await.expect("an answer");
        assert_eq!(answer.mode, RecallMode::Hybrid);
        let mut best = ids(&answer)[..2].to_vec();
        best.sort();
        let mut expected = vec![words.id, meaning.id];
        expected.sort();
        assert_eq!(best, expected);
        assert!(answer.items.windows(2).all(|pair| pair[0].score >= pair[1].score));
        let by_words = answer.items.iter().find(|item| item.memory.id == words.id).expect("found");
        assert!(by_words.text_score.is_some() && by_words.vector_score.is_some());
    }

    /// S7.
    async fn without_a_vector_hybrid_is_full_text_and_says_so(w) {
        let stored = w.remember(&w.anna, fact(&w.env, "Saffron is in the blue tin")).await;
        let answer = w.memories.recall(&w.anna, w.query("saffron", None, RecallMode::Hybrid)).await.expect("an answer");
        assert_eq!((answer.mode, ids(&answer)), (RecallMode::Fts, vec![stored.id]));
        assert!(answer.items[0].vector_score.is_none());
        let refused = w.memories.recall(&w.anna, w.query("saffron", None, RecallMode::Vector)).await;
        assert_refused(refused, Refusal::NoVector);
    }
}

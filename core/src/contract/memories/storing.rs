//! Storing: what comes back, what the same id does, what is refused.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{World, direction, fact, model, turn};
use crate::contract::world::assert_refused;
use crate::{
    clock::Timestamp,
    domain::{
        Egress, Embedding, MemoryDomain, MemoryFilter, NewMemory, PageRequest, RecallMode, RecallQuery, ReviewState, Taint,
        Visibility,
    },
    refusal::Refusal,
};

rules! {
    /// Every attribute survives; the store fills in whose it is and that no agent wrote it.
    async fn a_memory_comes_back_as_it_was_stored(w) {
        let asked = NewMemory {
            visibility: Visibility::Private,
            egress: Egress::LocalOnly,
            taint: Taint::Untrusted,
            occurred_at: Timestamp::from_millis(w.env.now().millis() - 5_000),
            ..turn(&w.env, w.env.id(), 3, "Rote Grütze 🍓 with cream")
        };
        let stored = w.remember(&w.anna, asked.clone()).await;
        assert_eq!(stored.text, asked.text);
        assert_eq!((stored.id, stored.domain, stored.position), (asked.id, asked.domain, asked.position));
        assert_eq!((stored.visibility, stored.egress, stored.taint), (asked.visibility, asked.egress, asked.taint));
        assert_eq!((stored.workspace_id, stored.user_id), (w.anna.workspace, w.anna.user));
        assert_eq!((stored.review, stored.speaker.as_deref()), (ReviewState::Accepted, Some("Dora")));
        assert_eq!((stored.occurred_at, stored.valid_from, stored.valid_to), (asked.occurred_at, asked.occurred_at, None));
        assert_eq!(stored.provenance.user_id, Some(w.anna.user));
        assert_eq!((stored.provenance.agent_id, stored.provenance.run_id), (None, None));
        assert_eq!(stored.created_at, w.env.now());
        assert_eq!(w.memories.memories(&w.anna, &[stored.id]).await.expect("read"), [stored]);
    }

    /// Replaying an effect returns the first memory, whatever else the request contains.
    async fn the_same_id_changes_nothing(w) {
        let asked = fact(&w.env, "The bakery opens at seven");
        let first = w.remember(&w.anna, asked.clone()).await;
        let again = w.remember(&w.anna, NewMemory { text: "Something else".into(), ..asked }).await;
        assert_eq!(first, again);
        assert_eq!(w.found(&w.anna, "bakery").await, [first.id]);
        assert!(w.found(&w.anna, "something else").await.is_empty());
    }

    /// Ids are unique within a workspace only: an id taken elsewhere is neither noticeable nor blocked.
    async fn an_id_of_another_workspace_is_free(w) {
        let asked = fact(&w.env, "Anna's secret garden");
        w.remember(&w.anna, asked.clone()).await;
        let other = w.remember(&w.carl, NewMemory { text: "Carl's balcony".into(), ..asked.clone() }).await;
        assert_eq!(other.text, "Carl's balcony");
        assert_eq!(w.memories.memories(&w.anna, &[asked.id]).await.expect("read")[0].text, "Anna's secret garden");
        assert_eq!(w.found(&w.carl, "garden balcony").await, [asked.id]);
    }

    /// Writes are readable at once, even between recalls that may have filled a cache.
    async fn what_is_written_is_found_at_once(w) {
        let mut random = ChaCha8Rng::seed_from_u64(9);
        for dimensions in [8, 520] {
            for number in 0..30 {
                let embedding = direction(&mut random, &format!("w{dimensions}"), dimensions);
                let stored = w.memories.remember(&w.anna, fact(&w.env, &format!("note {number}")), Some(embedding.clone())).await.expect("stored");
                let answer = w.memories.recall(&w.anna, w.query("", Some(embedding), RecallMode::Vector)).await.expect("an answer");
                assert_eq!(answer.items[0].memory.id, stored.id);
            }
        }
    }

    /// Pages follow each other without gap or double; a foreign cursor is refused.
    async fn lists_page_newest_first(w) {
        let mut stored = Vec::new();
        for number in 0..7 {
            (w.set_time)(w.env.now().millis() + 10);
            let text = format!("Fact {number}");
            stored.push(if number % 2 == 0 { w.remember(&w.anna, fact(&w.env, &text)).await } else { w.remember(&w.anna, turn(&w.env, w.env.id(), 1, &text)).await }.id);
        }
        stored.reverse();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = PageRequest { cursor, limit: 3 };
            let page = w.memories.list(&w.anna, MemoryFilter::default(), page).await.expect("listed");
            seen.extend(page.items.iter().map(|memory| memory.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, stored);
        let semantic = MemoryFilter { domain: Some(MemoryDomain::Semantic), ..MemoryFilter::default() };
        assert_eq!(w.memories.list(&w.anna, semantic, PageRequest::first(50)).await.expect("listed").items.len(), 4);
        let foreign = PageRequest { cursor: Some("nonsense".into()), limit: 3 };
        assert_refused(w.memories.list(&w.anna, MemoryFilter::default(), foreign).await, Refusal::Cursor);
    }

    /// Each says what to fix; nothing is stored.
    async fn bad_requests_are_refused_with_a_sentence(w) {
        let bad = [
            (fact(&w.env, "  "), Refusal::MemoryEmpty),
            (
                fact(&w.env, &"x".repeat(NewMemory::MAX_TEXT + 1)),
                Refusal::MemoryLength { most: NewMemory::MAX_TEXT, has: NewMemory::MAX_TEXT + 1 },
            ),
            (NewMemory { domain: MemoryDomain::Working, ..fact(&w.env, "Without an end") }, Refusal::NoExpiry),
            (NewMemory { expires_at: Some(w.env.now()), ..fact(&w.env, "A fact with an end") }, Refusal::OnlyWorkingExpires),
        ];
        for (memory, why) in bad {
            assert!(why.to_string().ends_with('.'), "{why}");
            assert_refused(w.memories.remember(&w.anna, memory, None).await, why);
        }
        let short = Embedding { model: model("m", 3), vector: vec![1.0] };
        assert_refused(
            w.memories.remember(&w.anna, fact(&w.env, "Short"), Some(short)).await,
            Refusal::VectorDimensions { model: "m".into(), dimensions: 3, most: Embedding::MAX_DIMENSIONS, has: 1 },
        );
        for limit in [0, 101] {
            let query = RecallQuery { limit, ..w.query("x", None, RecallMode::Fts) };
            assert_refused(w.memories.recall(&w.anna, query).await, Refusal::RecallCount);
        }
        assert!(w.memories.list(&w.anna, MemoryFilter::default(), PageRequest::first(9)).await.expect("listed").items.is_empty());
    }
}

//! Replacing somebody else's memory.

use super::{World, agent_of, fact};
use crate::contract::world::assert_refused;
use crate::{
    caller::Caller,
    domain::{
        Capability, Memory, MemoryDomain, MemoryEdit, MemoryFilter, NewMemory, PageRequest, ReviewState, Taint, Visibility,
    },
    refusal::Refusal,
};

fn review(review: ReviewState) -> MemoryEdit {
    MemoryEdit {
        review: Some(review),
        ..MemoryEdit::default()
    }
}

async fn replacing(w: &World, caller: &Caller, old: &Memory, text: &str) -> Memory {
    let new = NewMemory {
        supersedes: Some(old.id),
        ..fact(&w.env, text)
    };
    w.remember(caller, new).await
}

rules! {
    /// A member's new text for another's shared memory waits for its author or an owner; the memory it would replace holds until
    /// then.
    async fn superseding_anothers_memory_is_a_proposal(w) {
        let annas = w.remember(&w.anna, fact(&w.env, "The gate code is 4711")).await;
        let proposed = replacing(&w, &w.ben, &annas, "The gate code is 0815").await;
        assert_eq!(proposed.review, ReviewState::Proposed);
        assert_eq!(w.found(&w.anna, "gate code").await, [annas.id]);
        let waiting = MemoryFilter { review: Some(ReviewState::Proposed), ..MemoryFilter::default() };
        let listed = w.memories.list(&w.anna, waiting, PageRequest::first(9)).await.expect("listed").items;
        assert_eq!(listed, std::slice::from_ref(&proposed));

        assert_refused(w.memories.edit(&w.ben, proposed.id, review(ReviewState::Accepted)).await, Refusal::ReplacesOthers);
        let hidden = MemoryEdit { visibility: Some(Visibility::Private), ..review(ReviewState::Accepted) };
        assert_refused(w.memories.edit(&w.ben, proposed.id, hidden).await, Refusal::ReplacesOthers);
        w.memories.edit(&w.ben, proposed.id, review(ReviewState::Rejected)).await.expect("withdrawn by who proposed it");
        assert_refused(w.memories.edit(&w.ben, proposed.id, review(ReviewState::Accepted)).await, Refusal::ReplacesOthers);
        assert_eq!(w.found(&w.ben, "gate code").await, [annas.id]);
        w.memories.edit(&w.anna, proposed.id, review(ReviewState::Accepted)).await.expect("accepted by the owner");
        assert_eq!(w.found(&w.ben, "gate code").await, [proposed.id]);

        let bens = w.remember(&w.ben, fact(&w.env, "The bins go out on Monday")).await;
        let owners = replacing(&w, &w.anna, &bens, "The bins go out on Friday").await;
        assert_eq!(owners.review, ReviewState::Accepted, "an owner needs nobody's yes");
        assert_eq!(w.found(&w.ben, "bins").await, [owners.id]);
    }

    /// The author of a memory decides whether an owner's agent may replace it, and nothing else about the proposal.
    async fn an_author_decides_on_what_takes_the_place_of_theirs(w) {
        let agent = agent_of(&w, &w.anna, &[Capability::ReadMemory, Capability::WriteMemory], MemoryDomain::ALL, true);
        let bens = w.remember(&w.ben, fact(&w.env, "The boiler is serviced in May")).await;
        let first = replacing(&w, &agent, &bens, "The boiler is serviced in June").await;
        assert_eq!(first.review, ReviewState::Proposed, "an agent is no owner");
        let more = MemoryEdit { visibility: Some(Visibility::Private), ..review(ReviewState::Rejected) };
        assert_refused(w.memories.edit(&w.ben, first.id, more).await, Refusal::OthersMemory);
        w.memories.edit(&w.ben, first.id, review(ReviewState::Rejected)).await.expect("rejected by the author");
        assert_eq!(w.found(&w.anna, "boiler").await, [bens.id]);
        assert_refused(w.memories.edit(&w.ben, first.id, review(ReviewState::Accepted)).await, Refusal::OthersMemory);
        let second = replacing(&w, &agent, &bens, "The boiler is serviced in July").await;
        w.memories.edit(&w.ben, second.id, review(ReviewState::Accepted)).await.expect("accepted by the author");
        assert_eq!(w.found(&w.anna, "boiler").await, [second.id]);
    }

    /// A memory that its author has since made private can be replaced by nobody else, not even an owner.
    async fn what_has_become_private_is_not_replaced(w) {
        let agent = agent_of(&w, &w.anna, &[Capability::ReadMemory, Capability::WriteMemory], MemoryDomain::ALL, true);
        let bens = w.remember(&w.ben, fact(&w.env, "The spare key is under the stone")).await;
        let proposed = replacing(&w, &agent, &bens, "The spare key is with Cleo").await;
        let hidden = |edit| MemoryEdit { visibility: Some(Visibility::Private), ..edit };
        w.memories.edit(&w.ben, bens.id, hidden(MemoryEdit::default())).await.expect("his to hide");
        w.memories.edit(&w.anna, proposed.id, hidden(review(ReviewState::Accepted))).await.expect("hers to keep");
        assert_eq!(w.found(&w.ben, "spare key").await, [bens.id]);
    }

    /// An agent's working memory that contains untrusted text does not replace knowledge without review.
    async fn untrusted_notes_take_the_place_of_nothing(w) {
        let agent = agent_of(&w, &w.anna, &[Capability::ReadMemory, Capability::WriteMemory], MemoryDomain::ALL, true);
        let known = w.remember(&w.anna, fact(&w.env, "The account number is 111")).await;
        let note = |supersedes| NewMemory {
            domain: MemoryDomain::Working,
            expires_at: Some(w.env.now().plus(std::time::Duration::from_secs(60))),
            taint: Taint::Untrusted,
            supersedes,
            ..fact(&w.env, "The account number is 999")
        };
        assert_eq!(w.remember(&agent, note(Some(known.id))).await.review, ReviewState::Proposed);
        assert_eq!(w.found(&w.anna, "account number").await, [known.id]);
        assert_eq!(w.remember(&agent, note(None)).await.review, ReviewState::Accepted);
    }
}

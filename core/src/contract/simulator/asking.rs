//! The same turns where every call that changes something needs a yes: the run waits, a person decides, it goes on. The driver is lost
//! at every point on the way, decisions come at every moment, and so does a stop.
//!
//! What must hold on top of what the undisturbed turns show:
//! - what a person approved happens once, however often a driver is lost between the question and the act;
//! - what a person refused does not happen at all;
//! - nothing happens without an approval that was used for it;
//! - what may have happened is asked about, and the person's answer is taken for what it says.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;

use super::{
    Host, Scene,
    fuse::Fuse,
    script::{Outside, RingBell, Script},
    shown_text,
};
use crate::{
    caller::Caller,
    domain::{Decision, LeasePolicy, Message, MessageRole, PageRequest, Request, RequestFilter, RequestKind, RunStatus},
    ids::SessionId,
    policy::Say,
    ports::Stores,
    tools::Tool,
};

/// Decides whatever is open, always in the same way.
#[derive(Clone)]
struct Person {
    stores: Stores,
    caller: Caller,
    session: SessionId,
    outside: Arc<Outside>,
    says_yes: bool,
}

impl Person {
    fn of(scene: &Scene<'_>, says_yes: bool) -> Self {
        Self {
            stores: scene.host.stores.clone(),
            caller: scene.caller.clone(),
            session: scene.host.session,
            outside: scene.outside.clone(),
            says_yes,
        }
    }

    async fn decide(&self) {
        for request in self.requests(true).await {
            let decision = match request.kind {
                RequestKind::Approval if self.says_yes => Decision::Approve { arguments: None },
                RequestKind::Approval => Decision::Reject { reason: None },
                RequestKind::Question => Decision::Dismiss,
                // Looks, and says what there is to see. Only the bell leaves it to a person to look.
                RequestKind::Review if request.tool == RingBell::NAME && self.outside.rings() > 0 => Decision::Happened,
                RequestKind::Review => Decision::DidNot,
            };
            let decided = self
                .stores
                .requests
                .decide(&self.caller, self.session, request.id, decision)
                .await;
            decided.unwrap_or_else(|error| panic!("{request:?}: {error}"));
        }
    }

    async fn requests(&self, open: bool) -> Vec<Request> {
        let filter = RequestFilter {
            conversation: None,
            open,
        };
        let page = self.stores.requests.list(&self.caller, filter, PageRequest::first(200)).await;
        page.expect("requests").items
    }
}

impl Scene<'_> {
    /// Drives the run and has the person decide whenever it waits; `false` when the fuse blew and the driver was lost.
    async fn play(&self, fuse: &Arc<Fuse>, person: &Person) -> bool {
        loop {
            match self.run().await.status {
                status if status.is_final() => return true,
                RunStatus::Waiting => person.decide().await,
                _ => {}
            }
            if !self.drive(fuse).await {
                return false;
            }
        }
    }

    /// All that the run has said, each wait and the end with a message of their own.
    async fn said(&self) -> Vec<Message> {
        let conversations = &self.host.stores.conversations;
        let page = conversations
            .transcript(&self.caller, self.conversation, PageRequest::first(50))
            .await;
        let said = page.expect("messages").items;
        said.into_iter()
            .filter(|message| message.role == MessageRole::Assistant)
            .collect()
    }

    async fn check_asked(&self, person: &Person, expected: &[String], place: &str) {
        let (log, run) = (self.log(self.turn.run_id).await, self.run().await);
        assert!(!self.outside.is_overdone(&self.script), "{place}: something was done twice");
        let memories = self.memories().await;
        let acts = self.outside.rings() + self.outside.letters().len() + self.outside.payments() + memories.len();
        let requests = person.requests(false).await;
        let used = requests.iter().filter(|request| request.used_at.is_some()).count();
        assert!(acts <= used, "{place}: {acts} acts with {used} approvals");
        assert!(person.says_yes || acts == 0, "{place}: done without a yes");
        let said = self
            .said()
            .await
            .iter()
            .map(|message| message.text.clone())
            .collect::<Vec<_>>();
        let said = said.join("\n\n");
        match run.status {
            RunStatus::Done => {
                assert_eq!(said, self.script.reply(), "{place}: another reply");
                assert_eq!(memories, expected, "{place}: other memories");
                assert!(
                    !person.says_yes || self.outside.is_done(&self.script),
                    "{place}: something was not done"
                );
            }
            RunStatus::Interrupted => {
                assert!(
                    self.script.reply().starts_with(&said),
                    "{place}: not a part of the whole reply"
                );
            }
            RunStatus::Cancelled => {
                let shown = shown_text(&log);
                assert_eq!(letters(&said), letters(&shown), "{place}: the reply is not what was shown");
            }
            status => panic!("{place}: ended as {status} ({:?})", run.reason),
        }
        let open = requests.iter().filter(|request| request.decided_at.is_none());
        assert_eq!(open.count(), 0, "{place}: something is left to decide");
    }
}

/// Where a message ends and the next begins makes no difference.
fn letters(text: &str) -> String {
    text.split_whitespace().collect()
}

fn says_yes(seed: u64) -> bool {
    !seed.is_multiple_of(4)
}

/// Plays the turn of one seed undisturbed, then loses the driver once at every point. Returns how many points there were.
pub async fn ask_at_every_step(host: &Host, seed: u64) -> usize {
    let script = Arc::new(Script::seeded(seed));
    let calm = Scene::open(host, &script, Say::Ask).await;
    let (fuse, person) = (Fuse::counting(), Person::of(&calm, says_yes(seed)));
    assert!(
        calm.play(&fuse, &person).await,
        "seed {seed}: the undisturbed turn came to no end"
    );
    let (run, expected) = (calm.run().await, calm.memories().await);
    assert_eq!(run.status, RunStatus::Done, "seed {seed}: {:?}", run.reason);
    calm.check_asked(&person, &expected, &format!("seed {seed}, undisturbed"))
        .await;
    let points = fuse.passed();
    for point in 1..=points {
        let place = format!("seed {seed}, asking, lost at point {point} of {points}");
        let scene = Scene::open(host, &script, Say::Ask).await;
        let person = Person::of(&scene, says_yes(seed));
        if !scene.play(&Fuse::blowing_at(point), &person).await {
            (host.advance)(LeasePolicy::default().duration + Duration::from_secs(1));
            assert!(scene.play(&Fuse::counting(), &person).await, "{place}: came to no end");
        }
        scene.check_asked(&person, &expected, &place).await;
    }
    points
}

/// Plays the turn of one seed with a decision of all that is open at every point, and once with a stop at every point.
pub async fn decide_at_every_step(host: &Host, seed: u64) {
    let script = Arc::new(Script::seeded(seed));
    let calm = Scene::open(host, &script, Say::Ask).await;
    let (fuse, person) = (Fuse::counting(), Person::of(&calm, says_yes(seed)));
    assert!(
        calm.play(&fuse, &person).await,
        "seed {seed}: the undisturbed turn came to no end"
    );
    let expected = calm.memories().await;
    for point in 1..=fuse.passed() {
        for stop in [false, true] {
            let place = format!("seed {seed}, at point {point}: {}", if stop { "stopped" } else { "decided" });
            let scene = Scene::open(host, &script, Say::Ask).await;
            let person = Person::of(&scene, says_yes(seed));
            let (now, run) = (person.clone(), scene.turn.run_id);
            let fuse = Fuse::calling_at(
                point,
                Box::new(move || {
                    let now = now.clone();
                    async move {
                        match stop {
                            false => now.decide().await,
                            true => drop(now.stores.runs.cancel(&now.caller, run).await.expect("a stop")),
                        }
                    }
                    .boxed()
                }),
            );
            assert!(scene.play(&fuse, &person).await, "{place}: came to no end");
            person.decide().await;
            scene.check_asked(&person, &expected, &place).await;
        }
    }
}

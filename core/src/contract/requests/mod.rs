//! [`crate::ports::RequestStore`], and runs that wait.

mod ends;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use self::ends::{
    a_new_policy_voids_approvals, a_new_role_takes_runs_back, a_new_role_voids_approvals, answering_again,
    asked_under_the_policy_in_force, expiry, hints_of_what_waits, pausing, proposals_wait_too, requests_are_bounded,
    reviews_outlive_their_run, stale_approvals, stopping, the_end_of_what_waits,
};
use super::{World, Writes, assert_refused};
use crate::{
    caller::Caller,
    domain::{
        Arguments, Canonical, Claim, Commit, Decider, Decision, EffectId, EventKind, InboxItem, LogRange, MessageRole,
        MessageStatus, MessageTrace, NewRequest, PageRequest, Reply, Request, RequestFilter, RequestKind, RequestState, Run,
        RunEvent, RunStatus, Settlement, StoredEvent, Suspension, Then, Usage, UsedApproval,
    },
    error::{StoreError, StoreResult},
    ids::{ConversationId, RequestId},
    inbox,
    refusal::Refusal,
};

const CALL: EffectId = EffectId { step: 1, index: 1 };

/// A run in its conversation, claimed, with what to ask.
struct Asking<'a> {
    world: &'a World,
    caller: Caller,
    claim: Claim,
    /// The newest `seq`.
    last: u64,
}

impl<'a> Asking<'a> {
    async fn of(world: &'a World, caller: &Caller) -> Self {
        let conversation = world.conversation(caller).await;
        world.ask(caller, conversation.id, "Please keep that I like tea.").await;
        Self {
            world,
            caller: caller.clone(),
            claim: world.claim().await.expect("a run"),
            last: 1,
        }
    }

    fn request(&self, kind: RequestKind, arguments: Value) -> NewRequest {
        let env = &self.world.env;
        NewRequest {
            id: env.id(),
            effect: CALL,
            kind,
            tool: "remember".into(),
            arguments: Arguments::salted(env, Canonical::of(&arguments).unwrap()),
            why: "The policy asks.".into(),
            decider: Decider::Asker,
            policy_version: 1,
            expires_at: env.now().plus(Request::LASTS),
        }
    }

    /// Asks, and keeps the run.
    async fn ask(&mut self, request: NewRequest) -> StoreResult<RequestId> {
        let asked = RunEvent::Asked {
            effect: request.effect,
            request: request.id,
            kind: request.kind,
            hash: hex::encode(request.arguments.hash()),
        };
        let id = request.id;
        let commit = Commit {
            asks: vec![request],
            ..Commit::of(self.world.env.id(), vec![asked.into()])
        };
        self.commit(commit).await?;
        Ok(id)
    }

    async fn commit(&mut self, commit: Commit) -> StoreResult<()> {
        let log = &self.world.stores.run_log;
        let committed = log.commit(self.claim.run.id, self.claim.lease, self.last, commit).await?;
        let newest = committed
            .interleaved
            .iter()
            .chain(&committed.own)
            .map(|stored| stored.seq)
            .max();
        self.last = newest.unwrap_or(self.last);
        Ok(())
    }

    fn suspension(&self, text: Option<&str>) -> Commit {
        let env = &self.world.env;
        let suspension = Suspension {
            reply: text.map(|text| Reply {
                status: MessageStatus::Complete,
                text: text.into(),
                trace: MessageTrace::default(),
            }),
            next_reply: env.id(),
        };
        let event = RunEvent::Suspended {
            reply: suspension.reply.as_ref().map(|reply| reply.status),
            next_reply: suspension.next_reply,
            usage: Usage {
                input_tokens: 7,
                ..Usage::default()
            },
            cost_micros: Some(3),
        };
        Commit {
            then: Then::Suspend(suspension),
            ..Commit::of(env.id(), vec![event.into()])
        }
    }

    /// Asks for this approval and waits.
    async fn waiting(world: &'a World, caller: &Caller) -> (Self, RequestId) {
        let mut asking = Self::of(world, caller).await;
        let request = asking.ask(asking.request(RequestKind::Approval, tea())).await.unwrap();
        asking.commit(asking.suspension(Some("May I?"))).await.unwrap();
        (asking, request)
    }

    async fn run(&self) -> Run {
        let runs = &self.world.stores.runs;
        runs.run(&self.caller, self.claim.run.id).await.unwrap().expect("the run")
    }

    async fn log(&self) -> Vec<StoredEvent> {
        let runs = &self.world.stores.runs;
        let page = runs
            .events(&self.caller, self.claim.run.id, LogRange::whole(0, 100))
            .await
            .unwrap();
        page.events
    }

    async fn kinds(&self) -> Vec<EventKind> {
        self.log().await.iter().map(|stored| stored.kind).collect()
    }

    fn conversation(&self) -> ConversationId {
        self.claim.run.conversation_id
    }

    /// Claims the run again after its wait.
    async fn resumed(&mut self) {
        self.claim = self.world.claim().await.expect("a run to resume");
        self.last = self.claim.run.last_seq;
    }

    /// Begins the call under this approval, with these arguments.
    async fn begin(&mut self, request: RequestId, arguments: &Value) -> StoreResult<()> {
        let used = UsedApproval {
            request,
            arguments: Canonical::of(arguments).unwrap(),
        };
        let commit = Commit {
            uses: vec![used],
            ..Commit::of(self.world.env.id(), vec![RunEvent::ToolStarted { effect: CALL }.into()])
        };
        self.commit(commit).await
    }
}

fn tea() -> Value {
    json!({"text": "Likes tea.", "kind": "fact"})
}

fn yes() -> Decision {
    Decision::Approve { arguments: None }
}

impl World {
    async fn decide(&self, caller: &Caller, request: RequestId, decision: Decision) -> StoreResult<Request> {
        let session = self.sign_ins[&caller.user];
        self.stores.requests.decide(caller, session, request, decision).await
    }

    async fn one(&self, caller: &Caller, request: RequestId) -> Request {
        let found = self.stores.requests.requests(caller, &[request]).await.unwrap();
        found.into_iter().next().expect("the request")
    }

    async fn entries(&self, caller: &Caller) -> Vec<InboxItem> {
        let page = inbox::page(&self.stores, caller, None, PageRequest::first(50)).await.unwrap();
        let waiting = self.stores.requests.waiting(caller).await.unwrap();
        assert_eq!(waiting, page.items.len() as u64);
        page.items
    }
}

/// A run asks and waits without a lease; its conversation goes on; a yes has it claimed again, and the call is made once, as it was
/// approved.
pub async fn an_approval(world: &World) {
    let (mut asking, request) = Asking::waiting(world, &world.owner).await;
    let run = asking.run().await;
    assert_eq!(run.status, RunStatus::Waiting);
    assert_ne!(run.reply_id, asking.claim.run.reply_id, "the next reply is another message");
    assert!(world.claim().await.is_none(), "nobody works on a run that waits");
    assert!(matches!(
        world.stores.run_log.heartbeat(run.id, asking.claim.lease).await,
        Err(StoreError::Stale(_))
    ));
    let conversation = world
        .stores
        .conversations
        .conversation(&world.owner, asking.conversation())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(conversation.active_run, None);
    let said = world
        .stores
        .conversations
        .messages(&world.owner, conversation.id, PageRequest::first(5))
        .await
        .unwrap();
    let said: Vec<_> = said
        .items
        .iter()
        .map(|message| (message.role, message.text.as_str()))
        .collect();
    assert_eq!(said[0], (MessageRole::Assistant, "May I?"));

    let asked = world.one(&world.owner, request).await;
    assert_eq!((asked.state, asked.arguments.as_ref()), (RequestState::Open, Some(&tea())));
    assert_eq!(
        (asked.run_id, asked.conversation_id, asked.effect),
        (run.id, Some(conversation.id), CALL)
    );
    let list = |filter| world.stores.requests.list(&world.owner, filter, PageRequest::first(5));
    let open = RequestFilter {
        conversation: Some(conversation.id),
        open: true,
    };
    assert_eq!(list(open).await.unwrap().items, std::slice::from_ref(&asked));
    assert_eq!(world.entries(&world.owner).await, [InboxItem::Request { request: asked }]);

    let decided = world.decide(&world.owner, request, yes()).await.unwrap();
    assert_eq!(
        (decided.state, decided.decided_by),
        (RequestState::Approved, Some(world.owner.user))
    );
    assert_eq!(world.entries(&world.owner).await, []);
    assert_eq!(list(open).await.unwrap().items, []);
    assert_eq!(
        world.decide(&world.owner, request, yes()).await.unwrap(),
        decided,
        "once more"
    );
    let no = world.decide(&world.owner, request, Decision::Dismiss).await;
    assert_refused(
        no,
        Refusal::RequestDecided {
            state: RequestState::Approved,
        },
    );

    asking.resumed().await;
    assert_eq!(asking.claim.run.id, run.id);
    let last = asking.claim.log.last().unwrap();
    assert!(
        matches!(&last.event, Some(RunEvent::Decided { request: of, decision, by: Some(_), .. }) if *of == request && *decision == yes())
    );
    let other = asking.begin(request, &json!({"text": "Likes coffee.", "kind": "fact"})).await;
    assert_refused(other, Refusal::ApprovalStale);
    asking.begin(request, &tea()).await.unwrap();
    assert!(world.one(&world.owner, request).await.used_at.is_some());
    let again = asking.begin(request, &tea()).await;
    assert_refused(again, Refusal::ApprovalSpent);
    use EventKind::{Asked, Decided, Started, Suspended, Tool};
    assert_eq!(asking.kinds().await, [Started, Asked, Suspended, Decided, Tool]);
}

/// The next turn of a conversation begins while an earlier one waits; the earlier one goes on beside it, and its answer comes as a
/// message of its own.
pub async fn talking_meanwhile(world: &World) {
    let (mut first, request) = Asking::waiting(world, &world.owner).await;
    let receipt = world.ask(&world.owner, first.conversation(), "And what is the time?").await;
    let second = world.claim().await.expect("the second turn");
    assert_eq!(second.run.id, receipt.run_id);
    world.decide(&world.owner, request, yes()).await.unwrap();
    first.resumed().await;
    assert_ne!(first.claim.run.id, second.run.id, "both are under way");
    world.end(&second, 1, Some("Ten.")).await;
    let settlement = Settlement {
        status: RunStatus::Done,
        reason: None,
        reply: Some(Reply {
            status: MessageStatus::Complete,
            text: "Kept.".into(),
            trace: MessageTrace::default(),
        }),
    };
    let (run, lease, last) = (first.claim.run.id, first.claim.lease, first.last);
    world
        .stores
        .run_log
        .settle(run, lease, last, world.env.id(), Vec::new(), settlement)
        .await
        .unwrap();
    let page = world
        .stores
        .conversations
        .transcript(&world.owner, first.conversation(), PageRequest::first(9))
        .await
        .unwrap();
    let texts: Vec<&str> = page.items.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "Please keep that I like tea.",
            "May I?",
            "And what is the time?",
            "Ten.",
            "Kept."
        ]
    );
    assert_eq!(page.items[4].answers_id, Some(page.items[0].id), "it says what it answers");
    assert_eq!(
        page.items[4].parent_id,
        Some(page.items[3].id),
        "and comes after what was said meanwhile"
    );
}

/// What is approved can be changed by the person who approves; only that is made then.
pub async fn edited_arguments(world: &World) {
    let (mut asking, request) = Asking::waiting(world, &world.owner).await;
    let green = json!({"text": "Likes green tea.", "kind": "fact"});
    let approve = |arguments: Value| Decision::Approve {
        arguments: Some(arguments),
    };
    let refused = world.decide(&world.owner, request, approve(json!("tea"))).await;
    assert_refused(refused, Refusal::ArgumentsForm);
    let refused = world
        .decide(&world.owner, request, approve(json!({"n": 9_007_199_254_740_993_u64})))
        .await;
    assert_refused(refused, Refusal::ArgumentNumber);
    let decided = world.decide(&world.owner, request, approve(green.clone())).await.unwrap();
    assert_eq!(decided.arguments, Some(tea()), "what was asked stays");
    asking.resumed().await;
    assert_refused(asking.begin(request, &tea()).await, Refusal::ApprovalStale);
    asking.begin(request, &green).await.unwrap();
}

/// A question is answered in its form.
pub async fn questions(world: &World) {
    let mut asking = Asking::of(world, &world.owner).await;
    let form = json!({"question": "Which one?", "fields": [
        {"name": "drink", "label": "Drink", "kind": "choice", "options": ["tea", "coffee"], "optional": false}]});
    let question = asking.ask(asking.request(RequestKind::Question, form)).await.unwrap();
    asking.commit(asking.suspension(None)).await.unwrap();
    assert_eq!(asking.run().await.reply_id, asking.claim.run.reply_id, "nothing was said yet");
    let answer = |name: &str, value: Value| Decision::Respond {
        answers: BTreeMap::from([(name.to_owned(), value)]),
    };
    for (wrong, refusal) in [
        (
            yes(),
            Refusal::DecisionUnfit {
                kind: RequestKind::Question,
                decision: "approve".into(),
            },
        ),
        (answer("food", json!("tea")), Refusal::AnswerUnknown { field: "food".into() }),
        (
            Decision::Respond {
                answers: BTreeMap::new(),
            },
            Refusal::AnswerMissing { field: "drink".into() },
        ),
        (
            answer("drink", json!("milk")),
            Refusal::AnswerForm {
                field: "drink".into(),
                kind: crate::domain::FieldKind::Choice,
            },
        ),
    ] {
        assert_refused(world.decide(&world.owner, question, wrong).await, refusal.clone());
    }
    let decided = world
        .decide(&world.owner, question, answer("drink", json!("tea")))
        .await
        .unwrap();
    assert_eq!(decided.state, RequestState::Answered);
    asking.resumed().await;
}

/// Only the person whose run asks decides, by a live sign-in of their own; others do not see it, and agents never do.
pub async fn who_decides(world: &World) {
    let (_, request) = Asking::waiting(world, &world.member).await;
    let requests = &world.stores.requests;
    for other in [&world.owner, &world.stranger] {
        assert_eq!(requests.requests(other, &[request]).await.unwrap(), []);
        assert_eq!(world.entries(other).await, []);
        let refused = world.decide(other, request, yes()).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    }
    let agent = world.agent_of(&world.member).await;
    assert_refused(requests.requests(&agent, &[request]).await, Refusal::PeopleOnly);
    assert_refused(world.decide(&agent, request, yes()).await, Refusal::PeopleOnly);
    for session in [world.sign_ins[&world.owner.user], world.env.id()] {
        let refused = requests.decide(&world.member, session, request, yes()).await;
        assert_refused(refused, Refusal::NotLive);
    }
    assert_eq!(world.one(&world.member, request).await.state, RequestState::Open);
    world.decide(&world.member, request, yes()).await.unwrap();
    let audit = world
        .stores
        .audit
        .entries(&world.owner, PageRequest::first(50))
        .await
        .unwrap();
    let entry = audit
        .items
        .iter()
        .find(|entry| entry.action == "request.decide")
        .expect("on record");
    assert_eq!(
        (entry.actor, entry.target.as_str()),
        (world.member.user, format!("request:{request}").as_str())
    );
    assert!(!entry.details.to_string().contains("tea"), "{}", entry.details);
}

/// Where an owner decides, any owner sees what is asked, but not where; the person themselves sees it and does not decide it.
pub async fn an_owner_decides(world: &World) {
    let mut asking = Asking::of(world, &world.member).await;
    let new = NewRequest {
        decider: Decider::Owner,
        ..asking.request(RequestKind::Approval, tea())
    };
    let request = asking.ask(new).await.unwrap();
    asking.commit(asking.suspension(None)).await.unwrap();
    let seen = world.one(&world.owner, request).await;
    assert_eq!((seen.conversation_id, seen.arguments), (None, Some(tea())));
    assert!(world.one(&world.member, request).await.conversation_id.is_some());
    assert_eq!(world.entries(&world.member).await, []);
    assert_eq!(world.entries(&world.owner).await.len(), 1);
    assert_refused(world.decide(&world.member, request, yes()).await, Refusal::NotDecider);
    let filter = RequestFilter {
        conversation: Some(asking.conversation()),
        open: false,
    };
    let listed = world
        .stores
        .requests
        .list(&world.owner, filter, PageRequest::first(5))
        .await
        .unwrap();
    assert_eq!(listed.items, [], "another's conversation has nothing to list");
    let decided = world.decide(&world.owner, request, yes()).await.unwrap();
    assert_eq!((decided.decided_by, decided.conversation_id), (Some(world.owner.user), None));
    asking.resumed().await;
    asking.begin(request, &tea()).await.unwrap();
}

/// A decision between the question and the wait is not lost: the run does not begin to wait before its worker has read it.
pub async fn no_wait_misses_a_decision(world: &World) {
    let mut asking = Asking::of(world, &world.owner).await;
    let request = asking.ask(asking.request(RequestKind::Approval, tea())).await.unwrap();
    world.decide(&world.owner, request, yes()).await.unwrap();
    let commit = asking.suspension(None);
    assert_refused(asking.commit(commit).await, Refusal::LogGrew);
    assert_eq!(asking.run().await.status, RunStatus::Running);
    let read = Commit::of(world.env.id(), Vec::new());
    asking.commit(read).await.unwrap();
    asking.begin(request, &tea()).await.unwrap();
}

/// A write whose answer was lost is made once: what it asked, the message that it left, and the wait.
pub async fn repeating_a_wait(world: &World) {
    let mut asking = Asking::of(world, &world.owner).await;
    let new = asking.request(RequestKind::Approval, tea());
    let asked = RunEvent::Asked {
        effect: CALL,
        request: new.id,
        kind: new.kind,
        hash: hex::encode(new.arguments.hash()),
    };
    let ask = Commit {
        asks: vec![new],
        ..Commit::of(world.env.id(), vec![asked.into()])
    };
    let log = &world.stores.run_log;
    let (run, lease) = (asking.claim.run.id, asking.claim.lease);
    let first = log.commit(run, lease, 1, ask.clone()).await.unwrap();
    let again = log.commit(run, lease, 1, ask).await.unwrap();
    assert_eq!(first.own, again.own);
    asking.last = 2;
    let suspension = asking.suspension(Some("May I?"));
    let first = log.commit(run, lease, 2, suspension.clone()).await.unwrap();
    let again = log.commit(run, lease, 2, suspension).await.unwrap();
    assert_eq!(first.own, again.own);
    let late = log.append(run, lease, 3, world.env.id(), Vec::new()).await;
    assert_refused(late, Refusal::LeaseLost);
    assert_eq!(world.entries(&world.owner).await.len(), 1);
    let said = world
        .stores
        .conversations
        .messages(&world.owner, asking.conversation(), PageRequest::first(9))
        .await
        .unwrap();
    assert_eq!(said.items.len(), 2);
}

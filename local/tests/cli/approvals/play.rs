//! Turns in which a call needs a yes, on a server that is killed again and again: what the program on one machine and the one over
//! Postgres have in common.

use std::{collections::BTreeMap, fmt, time::Duration};

use duet_api::testing::{Browser, Event, Scripted};
use reqwest::Method;
use serde_json::{Value, json};

/// A server that can be killed.
pub trait Running {
    /// Where it is.
    fn url(&self) -> &str;
    /// Ends it as a crash would.
    fn kill(self);
}

/// When the server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// The message was taken, and the run is on its way to the question.
    Said,
    /// The question is there.
    Asked,
    /// The decision is under way.
    Deciding,
    /// The decision was acknowledged.
    Decided,
    /// The run goes on, mostly on a server that has just come back.
    Back,
}

impl Moment {
    const ALL: [Self; 5] = [Self::Said, Self::Asked, Self::Deciding, Self::Decided, Self::Back];
}

/// What the person decides.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Yes,
    Edited,
    No,
}

impl Verdict {
    fn of(round: u64) -> Self {
        match round % 3 {
            0 => Self::Yes,
            1 => Self::Edited,
            _ => Self::No,
        }
    }

    fn decision(self, round: u64) -> Value {
        match self {
            Self::Yes => json!({"decision": "approve"}),
            Self::Edited => json!({"decision": "approve", "arguments": arguments(&edited(round))}),
            Self::No => json!({"decision": "reject", "reason": "It is a secret."}),
        }
    }

    /// What is remembered in the end.
    fn kept(self, round: u64) -> Option<String> {
        match self {
            Self::Yes => Some(wanted(round)),
            Self::Edited => Some(edited(round)),
            Self::No => None,
        }
    }

    fn reply(self, round: u64) -> String {
        match self {
            Self::Yes | Self::Edited => noted(round).concat(),
            Self::No => left_out(round).concat(),
        }
    }
}

/// What the model wants remembered. No two rounds want the same, or the second would be known already.
fn wanted(round: u64) -> String {
    format!("Marta keeps {round} bees.")
}

/// What the person makes of it.
fn edited(round: u64) -> String {
    format!("Marta keeps {round} geese.")
}

fn arguments(text: &str) -> Value {
    json!({"text": text, "kind": "fact"})
}

fn noted(round: u64) -> [String; 3] {
    ["It is ".into(), "noted, ".into(), format!("round {round}.")]
}

fn left_out(round: u64) -> [String; 3] {
    ["It is ".into(), "left out, ".into(), format!("round {round}.")]
}

/// What the scripted model says: first the call, and after its result what became of it.
pub fn answer(body: &Value) -> Scripted {
    let messages = body["messages"].as_array().unwrap();
    let last = messages.last().unwrap();
    let said = messages
        .iter()
        .rfind(|message| message["role"] == "user")
        .unwrap()
        .to_string();
    let digits = said.split_once("Round ").unwrap().1.chars();
    let round: u64 = digits.take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
    if last["role"] != "tool" {
        return Scripted::calls("call", "remember", arguments(&wanted(round)));
    }
    let result = last["content"].as_str().unwrap();
    let reply = if result.starts_with("Remembered.") {
        noted(round)
    } else if result.contains("It is a secret.") {
        left_out(round)
    } else {
        [result.into(), String::new(), String::new()]
    };
    Scripted::text(reply).pause(Duration::from_millis(10))
}

/// A small generator, so that a failed seed can be repeated.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    /// How long the server has left: up to 300 ms, half of the time less than 40, because most steps take a few. A decision takes
    /// less than ten.
    fn fuse(&mut self, moment: Moment) -> Duration {
        let most = match moment {
            Moment::Deciding => 215,
            Moment::Said | Moment::Asked | Moment::Decided | Moment::Back => 670,
        };
        Duration::from_nanos(self.next(most).pow(3))
    }
}

/// What happened, for whoever reads the test's output.
#[derive(Default)]
struct Tally {
    kills: BTreeMap<Moment, u64>,
    /// What became of the decisions that were under way.
    under_way: BTreeMap<&'static str, u64>,
    /// The last event before a worker was lost.
    lost_after: BTreeMap<String, u64>,
    verdicts: BTreeMap<String, u64>,
}

impl Tally {
    fn killed(&self) -> u64 {
        self.kills.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills: {:?}; decisions under way: {:?}; workers lost after: {:?}; verdicts: {:?}",
            self.killed(),
            self.kills,
            self.under_way,
            self.lost_after,
            self.verdicts
        )
    }
}

/// Asks until there is an answer.
async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(120), asked).await;
    answer.unwrap_or_else(|_| panic!("two minutes without: {what}"))
}

/// An installation whose server comes and goes, and its owner, who signs in once.
pub struct Play<S, F> {
    start: F,
    server: Option<S>,
    ada: Browser,
    dice: Dice,
    /// All that may be remembered.
    kept: Vec<String>,
    tally: Tally,
}

impl<S: Running, F: Fn() -> S> Play<S, F> {
    /// With the server's first start, and its setup token.
    pub async fn begin(server: S, setup_token: &str, start: F) -> Self {
        let mut ada = Browser::new(server.url());
        ada.set_up(setup_token).await;
        let policy = ada.get("{ws}/policy").await;
        let mut rules = policy["rules"].clone();
        let rule = json!({"category": "memory_write", "say": "ask", "why": "Memories are read first."});
        rules.as_array_mut().unwrap().push(rule);
        let write = json!({"from": policy["version"], "rules": rules});
        let written = ada.request(Method::PUT, "{ws}/policy", Some(&write)).await.unwrap();
        assert!(written.status().is_success(), "{written:?}");
        Self {
            start,
            server: Some(server),
            ada,
            dice: Dice(0),
            kept: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Plays rounds until the server was killed this often, and at every moment. The server that runs in the end.
    pub async fn until_killed(mut self, times: u64) -> S {
        let mut round = 0;
        while self.tally.killed() < times || self.tally.kills.len() < Moment::ALL.len() {
            self.round(round).await;
            round += 1;
        }
        println!("{}", self.tally);
        // What survived its own crash has survived all the later ones.
        self.remembers_only(&self.kept, "at the end").await;
        self.server.unwrap()
    }

    /// One turn, from the message to the reply. The server is killed at one moment at least, and the person decides in the end.
    async fn round(&mut self, round: u64) {
        let verdict = Verdict::of(round);
        self.dice = Dice(round);
        let moments: Vec<Moment> = (0..)
            .zip(Moment::ALL)
            .filter(|(place, _)| *place == round % 5 || self.dice.next(3) == 0)
            .map(|(_, moment)| moment)
            .collect();
        let place = format!("round {round}, {verdict:?}, killed at {moments:?}");
        *self.tally.verdicts.entry(format!("{verdict:?}")).or_default() += 1;

        let talk = self.ada.conversation().await;
        let said = self.ada.say(&talk, &format!("Round {round}: keep it in mind.")).await;
        let run = said["run_id"].as_str().unwrap();
        if moments.contains(&Moment::Said) {
            self.crash(Moment::Said);
        }

        let asked = self.asked(&talk, &place).await;
        let id = asked["id"].as_str().unwrap();
        assert_eq!(asked["kind"], "approval", "{place}: {asked}");
        assert_eq!(asked["arguments"], arguments(&wanted(round)), "{place}: {asked}");
        self.remembers_only(&self.kept, &place).await;
        if moments.contains(&Moment::Asked) {
            self.crash(Moment::Asked);
            assert_eq!(self.asked(&talk, &place).await, asked, "{place}: it waits as it did");
            self.remembers_only(&self.kept, &place).await;
        }

        let decision = verdict.decision(round);
        let early = match moments.contains(&Moment::Deciding) {
            true => self.crash_while_deciding(id, &decision, &place).await,
            false => None,
        };
        let decided = match early {
            Some(decided) => decided,
            None => decide(&self.ada, id, &decision).await.expect("the server answers"),
        };
        for moment in [Moment::Decided, Moment::Back] {
            if moments.contains(&moment) {
                self.crash(moment);
                self.is_kept(&decided, &place).await;
            }
        }

        let ended = until(&format!("{place}: the end of the run"), async || {
            let run = self.ada.get(&format!("{{ws}}/runs/{run}")).await;
            let goes_on = ["queued", "running"].iter().any(|status| run["status"] == *status);
            (!goes_on).then_some(run)
        })
        .await;
        self.kept.extend(verdict.kept(round));
        self.remembers_only(&self.kept, &place).await;
        let request = self.is_kept(&decided, &place).await;
        self.check_request(&request, verdict, round, &place).await;
        self.check_log(run, verdict, &place).await;

        let page = self.ada.get(&format!("{{ws}}/conversations/{talk}/messages")).await;
        let reply = &page["items"][0];
        assert_eq!(page["items"].as_array().unwrap().len(), 2, "{place}: {page}");
        let (text, whole) = (reply["text"].as_str().unwrap(), verdict.reply(round));
        match ended["status"].as_str().unwrap() {
            "done" => assert_eq!((text, &reply["status"]), (&*whole, &json!("complete")), "{place}"),
            // Cut off while it was written.
            "interrupted" => assert!(
                whole.starts_with(text) && reply["status"] == "interrupted",
                "{place}: {reply}"
            ),
            _ => panic!("{place}: {ended}"),
        }
    }

    /// Kills the server after a while, and starts it again.
    fn crash(&mut self, moment: Moment) {
        let fuse = self.dice.fuse(moment);
        // The runtime's own clock has no parts of a millisecond.
        tokio::task::block_in_place(|| std::thread::sleep(fuse));
        self.server.take().unwrap().kill();
        *self.tally.kills.entry(moment).or_default() += 1;
        let server = (self.start)();
        self.ada = self.ada.at(server.url()).from_origin(server.url());
        self.server = Some(server);
    }

    /// Kills the server while the decision is under way. The answer, if one came.
    async fn crash_while_deciding(&mut self, id: &str, decision: &Value, place: &str) -> Option<Value> {
        let deciding = tokio::spawn({
            let (ada, id, decision) = (self.ada.clone(), id.to_owned(), decision.clone());
            async move { decide(&ada, &id, &decision).await }
        });
        self.crash(Moment::Deciding);
        let decided = deciding.await.unwrap();
        let became = match &decided {
            Some(decided) => {
                self.is_kept(decided, place).await;
                "acknowledged"
            }
            None => {
                let found = self.ada.get(&format!("{{ws}}/requests/{id}")).await;
                if found["state"] == "open" {
                    self.remembers_only(&self.kept, place).await;
                    "lost"
                } else {
                    assert_eq!(found["decision"], *decision, "{place}: {found}");
                    "made, and not acknowledged"
                }
            }
        };
        *self.tally.under_way.entry(became).or_default() += 1;
        decided
    }

    /// The one request of the conversation, once it is open.
    async fn asked(&self, talk: &str, place: &str) -> Value {
        until(&format!("{place}: the question"), async || {
            let page = self.ada.get(&format!("{{ws}}/requests?conversation_id={talk}")).await;
            let request = page["items"].get(0)?;
            assert_eq!(request["state"], "open", "{place}: {page}");
            Some(request.clone())
        })
        .await
    }

    /// The request as it is now: an acknowledged decision does not change.
    async fn is_kept(&self, decided: &Value, place: &str) -> Value {
        let now = self
            .ada
            .get(&format!("{{ws}}/requests/{}", decided["id"].as_str().unwrap()))
            .await;
        let mut as_it_was = now.clone();
        if decided["used_at"].is_null() {
            as_it_was["used_at"] = Value::Null;
        }
        assert_eq!(as_it_was, *decided, "{place}: what was acknowledged");
        now
    }

    async fn memories(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut path = "{ws}/memories?limit=200".to_owned();
        loop {
            let page = self.ada.get(&path).await;
            all.extend(page["items"].as_array().unwrap().clone());
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("{{ws}}/memories?limit=200&cursor={cursor}"),
                None => return all,
            }
        }
    }

    /// Just these are remembered, each once.
    async fn remembers_only(&self, texts: &[String], place: &str) {
        let memories = self.memories().await;
        let mut found: Vec<&str> = memories.iter().map(|memory| memory["text"].as_str().unwrap()).collect();
        let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        found.sort_unstable();
        texts.sort_unstable();
        assert_eq!(found, texts, "{place}");
    }

    /// It was decided, used and acted upon in this order, and it is the only one: its call can be repeated, so nobody has to be asked
    /// whether it took place.
    async fn check_request(&self, request: &Value, verdict: Verdict, round: u64, place: &str) {
        let talk = request["conversation_id"].as_str().unwrap();
        let all = self.ada.get(&format!("{{ws}}/requests?conversation_id={talk}")).await;
        assert_eq!(all["items"], json!([request]), "{place}");
        assert_eq!(request["decision"], verdict.decision(round), "{place}: {request}");
        let Some(text) = verdict.kept(round) else {
            assert_eq!(request["state"], "rejected", "{place}: {request}");
            assert_eq!(request["used_at"], Value::Null, "{place}: {request}");
            return;
        };
        assert_eq!(request["state"], "approved", "{place}: {request}");
        let memories = self.memories().await;
        let memory = memories.iter().find(|memory| memory["text"] == *text).unwrap();
        let times = [&request["decided_at"], &request["used_at"], &memory["created_at"]].map(|time| time.as_str().unwrap());
        assert!(times.is_sorted(), "{place}: {times:?}");
    }

    /// The call began after the yes, once but for lost workers, and ended once.
    async fn check_log(&mut self, run: &str, verdict: Verdict, place: &str) {
        let log = self.ada.events(run, 0).await;
        let names: Vec<&str> = log.iter().map(named).collect();
        let count = |name: &str| names.iter().filter(|known| **known == name).count();
        let of = |name: &str| names.iter().position(|known| *known == name);
        assert_eq!(
            (count("asked"), count("decided"), count("TOOL_CALL_RESULT")),
            (1, 1, 1),
            "{place}: {names:?}"
        );
        let result = &log[of("TOOL_CALL_RESULT").unwrap()].data["metadata"]["duet"];
        match verdict {
            Verdict::No => {
                assert_eq!(count("tool_started"), 0, "{place}: {names:?}");
                assert_eq!(result["status"], "refused", "{place}: {result}");
            }
            Verdict::Yes | Verdict::Edited => {
                assert_eq!(count("tool_started"), 1, "{place}: {names:?}");
                assert!(of("decided") < of("tool_started"), "{place}: {names:?}");
                assert_eq!(result["remembered"].as_array().unwrap().len(), 1, "{place}: {result}");
            }
        }
        assert!(count("tool_repeated") <= count("recovered"), "{place}: {names:?}");
        for pair in names.windows(2).filter(|pair| pair[1] == "recovered") {
            *self.tally.lost_after.entry(pair[0].to_owned()).or_default() += 1;
        }
    }
}

/// Decides; `None` if there was no whole answer.
async fn decide(ada: &Browser, id: &str, decision: &Value) -> Option<Value> {
    let path = format!("{{ws}}/requests/{id}/decide");
    let response = ada.request(Method::POST, &path, Some(decision)).await.ok()?;
    let status = response.status();
    let answer: Value = response.json().await.ok()?;
    assert!(status.is_success(), "{status}: {answer}");
    Some(answer)
}

/// What an event is called: by AG-UI, or by Duet.
fn named(event: &Event) -> &str {
    match event.data["name"].as_str() {
        Some(name) => name,
        None => event.data["type"].as_str().unwrap(),
    }
}

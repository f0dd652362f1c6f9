use duet_core::{
    ids::{Id as _, MemoryId},
    ports::ToolSpec,
};

use super::{
    sentences::{Told, read},
    *,
};

const FACT: Kind = Kind::Statement(Told::Fact);
const PREFERENCE: Kind = Kind::Statement(Told::Preference);
const EVENT: Kind = Kind::Statement(Told::Event);

#[test]
fn messages_are_read_as_what_they_are() {
    let table: &[(&str, &[(&str, Kind)])] = &[
        ("My dog is called Rex.", &[("My dog is called Rex.", FACT)]),
        ("my dog is called rex", &[("My dog is called rex.", FACT)]),
        (
            "My dog is called Rex. I live in Lyon. I prefer tea to coffee!",
            &[
                ("My dog is called Rex.", FACT),
                ("I live in Lyon.", FACT),
                ("I prefer tea to coffee!", PREFERENCE),
            ],
        ),
        (
            "remember that my sister's birthday is on 3 May",
            &[("My sister's birthday is on 3 May.", FACT)],
        ),
        (
            "Can you remember that I am allergic to nuts?",
            &[("I am allergic to nuts.", FACT)],
        ),
        (
            "Please don’t forget that Anna is vegetarian",
            &[("Anna is vegetarian.", FACT)],
        ),
        ("Note: the boiler code is 4417", &[("The boiler code is 4417.", FACT)]),
        ("Hi, my name is Ada.", &[("My name is Ada.", FACT)]),
        (
            "Yesterday I met Dr. Who in Paris.",
            &[("Yesterday I met Dr. Who in Paris.", EVENT)],
        ),
        ("Rex is a labrador.", &[("Rex is a labrador.", FACT)]),
        (
            "1. I live in Lyon.\n2. I work at a bakery.",
            &[("I live in Lyon.", FACT), ("I work at a bakery.", FACT)],
        ),
        ("Ich wohne in Lyon.", &[("Ich wohne in Lyon.", FACT)]),
        ("Remember these things: I live in Lyon.", &[("I live in Lyon.", FACT)]),
        (
            "Please remember this:\nI live in Lyon",
            &[("Please remember this:", Kind::SmallTalk), ("I live in Lyon.", FACT)],
        ),
        ("What is my dog's name?", &[("What is my dog's name?", Kind::Question)]),
        ("where do I live", &[("where do I live", Kind::Question)]),
        ("Do you remember my dog?", &[("Do you remember my dog?", Kind::Question)]),
        ("Tell me about my dog", &[("Tell me about my dog", Kind::Question)]),
        ("Remind me where I live", &[("Remind me where I live", Kind::Question)]),
        (
            "When I was young I lived in Nice.",
            &[("When I was young I lived in Nice.", FACT)],
        ),
        ("count to 200", &[("count to 200", Kind::Count(200))]),
        ("Can you count to 999999?", &[("Can you count to 999999?", Kind::Count(2000))]),
        (
            "Tell me a long story.",
            &[("Tell me a long story.", Kind::Story { long: true })],
        ),
        ("tell me a story", &[("tell me a story", Kind::Story { long: false })]),
        ("Hello!", &[("Hello!", Kind::Greeting)]),
        ("Who are you?", &[("Who are you?", Kind::Help)]),
        ("Thanks!", &[("Thanks!", Kind::Thanks)]),
        ("Forget my dog", &[("Forget my dog", Kind::Forget)]),
        ("I am fine.", &[("I am fine.", Kind::SmallTalk)]),
        ("I don't know.", &[("I don't know.", Kind::SmallTalk)]),
        (
            "Translate this text into French",
            &[("Translate this text into French", Kind::Other)],
        ),
        (
            "Please remember three things about me: I was born in Porto, my cat is called Miso, and I start a new job on Monday.",
            &[
                ("I was born in Porto.", FACT),
                ("My cat is called Miso.", FACT),
                ("I start a new job on Monday.", FACT),
            ],
        ),
        (
            "I live in Lyon and I work at a bakery.",
            &[("I live in Lyon.", FACT), ("I work at a bakery.", FACT)],
        ),
        (
            "I like my job and my boss very much.",
            &[("I like my job and my boss very much.", PREFERENCE)],
        ),
        (
            "My wife and my son are called Ana and Leo.",
            &[("My wife and my son are called Ana and Leo.", FACT)],
        ),
        ("If it rains, I take the bus.", &[("If it rains, I take the bus.", FACT)]),
        ("🙂", &[]),
        ("", &[]),
    ];
    for (message, expected) in table {
        let read: Vec<(String, Kind)> = read(message)
            .into_iter()
            .map(|sentence| (sentence.text, sentence.kind))
            .collect();
        let expected: Vec<(String, Kind)> = expected.iter().map(|(text, kind)| ((*text).to_owned(), *kind)).collect();
        assert_eq!(read, expected, "{message}");
    }
}

fn item(text: &str) -> ContextItem {
    ContextItem {
        memory: MemoryId::from_uuid(uuid::Uuid::nil()),
        text: text.into(),
        note: "2026-11-21".into(),
        untrusted: false,
    }
}

fn tools() -> Vec<ToolSpec> {
    ["remember", "recall"]
        .map(|name| ToolSpec {
            name: name.into(),
            description: String::new(),
            input_schema: json!({}),
        })
        .to_vec()
}

fn request(memories: &[&str], said: &str) -> ChatRequest {
    let mut messages = vec![ChatMessage::Context(memories.iter().map(|text| item(text)).collect())];
    messages.push(ChatMessage::User(said.into()));
    ChatRequest {
        system: String::new(),
        messages,
        tools: tools(),
        max_output_tokens: 1_000,
    }
}

fn with_results(mut request: ChatRequest, calls: &[ToolCall], results: &[(&str, bool)]) -> ChatRequest {
    request.messages.push(ChatMessage::Assistant {
        text: String::new(),
        tool_calls: calls.to_vec(),
    });
    for (call, (text, failed)) in calls.iter().zip(results) {
        request.messages.push(ChatMessage::ToolResult {
            call_id: call.id.clone(),
            name: call.name.clone(),
            text: (*text).into(),
            failed: *failed,
        });
    }
    request
}

const MEMORIES: &[&str] = &[
    "My dog is called Rex.",
    "I live in Lyon.",
    "I prefer tea to coffee.",
    "My bike is red.",
    "Anna lives in Oslo.",
    "My sister Anna was born on 3 May.",
];

#[test]
fn questions_are_answered_by_the_right_memory_with_its_source() {
    let table = [
        ("What is my dog's name?", "My dog is called Rex."),
        ("what's my dog called", "My dog is called Rex."),
        ("Who is Rex?", "My dog is called Rex."),
        ("Where do I live?", "I live in Lyon."),
        ("Do I prefer tea or coffee?", "I prefer tea to coffee."),
        ("What colour is my bike?", "My bike is red."),
        ("Where does Anna live?", "Anna lives in Oslo."),
        ("When is Anna's birthday?", "My sister Anna was born on 3 May."),
        ("Tell me about my bike", "My bike is red."),
        ("When was Anna born?", "My sister Anna was born on 3 May."),
    ];
    for (question, answer) in table {
        let (text, calls) = reply(&request(MEMORIES, question));
        assert_eq!(
            text,
            format!("{LABEL}\n\nYou told me: “{answer}” (from our conversation, 2026-11-21)"),
            "{question}"
        );
        assert!(calls.is_empty(), "{question}");
    }
}

#[test]
fn what_is_not_recalled_is_searched_once_and_then_admitted() {
    let asked = request(&["My dog is called Rex."], "What is my name?");
    let (text, calls) = reply(&asked);
    assert_eq!((text.as_str(), calls.len()), ("", 1));
    assert_eq!(calls[0].arguments, json!({"query": "name"}));
    let found = with_results(
        asked.clone(),
        &calls,
        &[("One memory matches:\n- [0197-x] (2026-11-20, Ada) My name is Ada.", false)],
    );
    assert_eq!(
        reply(&found),
        (
            format!("{LABEL}\n\nYou told me: “My name is Ada.” (from our conversation, 2026-11-20, Ada)"),
            vec![]
        )
    );
    let (text, calls) = reply(&with_results(asked, &calls, &[("Nothing in memory matches.", false)]));
    assert!(
        text.contains("I am not sure") && text.contains("Rex") && calls.is_empty(),
        "{text}"
    );

    let (text, _) = reply(&ChatRequest {
        tools: vec![],
        ..request(&[], "How tall is the tower?")
    });
    assert!(text.contains("I have nothing in memory") && text.contains("tower"), "{text}");
}

#[test]
fn every_fact_is_one_call_and_is_confirmed() {
    let told = request(
        &[],
        "My dog is called Rex. I live in Lyon. I prefer tea to coffee. What do you know about me?",
    );
    let (text, calls) = reply(&told);
    assert_eq!(text, "");
    let arguments: Vec<_> = calls
        .iter()
        .map(|call| (call.name.as_str(), call.arguments.clone()))
        .collect();
    assert_eq!(
        arguments,
        [
            ("remember", json!({"text": "My dog is called Rex.", "kind": "fact"})),
            ("remember", json!({"text": "I live in Lyon.", "kind": "fact"})),
            ("remember", json!({"text": "I prefer tea to coffee.", "kind": "preference"})),
        ]
    );
    let ids: std::collections::BTreeSet<_> = calls.iter().map(|call| &call.id).collect();
    assert_eq!(ids.len(), 3);
    let results = [
        ("Remembered.", false),
        ("This is in memory already:\n- […]", false),
        ("The store is full.", true),
    ];
    let (text, again) = reply(&with_results(told, &calls, &results));
    assert!(again.is_empty());
    assert!(
        text.starts_with(&format!(
            "{LABEL}\n\nI will remember:\n- “My dog is called Rex.”\n- “I live in Lyon.” I knew already."
        )),
        "{text}"
    );
    assert!(text.contains("“I prefer tea to coffee.” could not be stored."), "{text}");
    assert!(text.contains("I remember nothing yet"), "{text}");
}

#[test]
fn a_new_value_supersedes_the_old_one_and_nothing_else() {
    let table = [
        ("My dog is called Max.", true),
        ("My dog is brown.", false),
        ("Actually my dog is called Max now.", true),
        ("I moved to Paris last month.", true),
        ("My favorite color is blue.", true),
        ("I live in Paris.", true),
        ("My sister lives in Paris.", false),
        ("My dog is called Rex.", false),
    ];
    for (said, supersedes) in table {
        let (_, calls) = reply(&request(
            &[
                "My dog is called Rex.",
                "I prefer tea.",
                "I live in Lyon.",
                "My favourite colour is green.",
            ],
            said,
        ));
        assert_eq!(calls[0].arguments.get("supersedes").is_some(), supersedes, "{said}");
    }
    let mut hostile = request(&[], "My dog is called Max.");
    hostile.messages[0] = ChatMessage::Context(vec![ContextItem {
        untrusted: true,
        ..item("My dog is called Rex.")
    }]);
    assert!(reply(&hostile).1[0].arguments.get("supersedes").is_none());
}

#[test]
fn without_tools_it_says_so() {
    let (text, calls) = reply(&ChatRequest {
        tools: vec![],
        ..request(&[], "My dog is called Rex.")
    });
    assert!(calls.is_empty() && text.contains("I cannot keep that"), "{text}");
}

#[test]
fn a_cut_reply_goes_on_exactly_where_it_ended() {
    for said in [
        "count to 200",
        "Tell me a long story.",
        "Where do I live?",
        "My dog is called Rex.",
        "what can you do",
    ] {
        let asked = request(MEMORIES, said);
        let (_, calls) = reply(&asked);
        let results: Vec<(&str, bool)> = calls.iter().map(|_| ("Remembered.", false)).collect();
        let answering = if calls.is_empty() {
            asked.clone()
        } else {
            with_results(asked.clone(), &calls, &results)
        };
        let (whole, _) = reply(&answering);
        assert!(whole.starts_with(LABEL));
        for cut in (1..whole.len()).filter(|at| whole.is_char_boundary(*at)).step_by(7) {
            let mut going_on = asked.clone();
            going_on.messages.push(ChatMessage::Assistant {
                text: whole[..cut].to_owned(),
                tool_calls: vec![],
            });
            let (rest, calls) = reply(&going_on);
            assert!(calls.is_empty());
            assert_eq!(format!("{}{rest}", &whole[..cut]), whole, "{said}");
        }
    }
}

#[test]
fn a_reply_that_cannot_be_rebuilt_says_so() {
    let mut going_on = request(&[], "Where do I live?");
    going_on.messages.push(ChatMessage::Assistant {
        text: format!("{LABEL}\n\nYou told me: “I live"),
        tool_calls: vec![],
    });
    let (rest, _) = reply(&going_on);
    assert!(
        rest.contains("cannot be made up again") && rest.contains("I have nothing in memory"),
        "{rest}"
    );
}

#[test]
fn every_reply_is_labelled() {
    for said in [
        "",
        "🙂",
        "hello",
        "Translate this into French",
        "thanks",
        "What?",
        "forget everything",
        "I am fine",
        "bye",
    ] {
        let (text, calls) = reply(&ChatRequest {
            tools: vec![],
            ..request(MEMORIES, said)
        });
        assert!(
            text.starts_with(LABEL) && text.len() > LABEL.len() + 5 && calls.is_empty(),
            "{said}: {text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn it_streams_word_by_word_with_pauses() {
    let model = Offline::new(Duration::from_millis(20));
    let before = tokio::time::Instant::now();
    let events: Vec<_> = model.stream(request(&[], "count to 200")).await.unwrap().collect().await;
    let text: String = events
        .iter()
        .filter_map(|event| match event {
            Ok(ModelEvent::Text(text)) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(text, format!("{LABEL}\n\n{}", writing::count(200)));
    assert!(events.len() > 200);
    assert_eq!(events.last(), Some(&Ok(ModelEvent::Stop(StopReason::End))));
    assert!(before.elapsed() >= Duration::from_secs(4));
}

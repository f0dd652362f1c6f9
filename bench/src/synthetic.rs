//! A synthetic data set of long conversations, from a seed: two people, many sittings, facts among small talk, and questions of
//! several kinds. It is generated from patterns and proves no quality; it shows when a change makes something worse.

use duet_core::memory::quality::{Category, Line, Question, Turn};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

const NAMES: &[&str] = &[
    "Mira", "Jonas", "Aylin", "Pedro", "Hanna", "Kofi", "Ingrid", "Tariq", "Lucia", "Marek", "Noor", "Felix", "Sana", "Bruno",
    "Elif", "Oscar", "Priya", "Theo", "Wanda", "Yusuf",
];
const RELATIONS: &[&str] = &[
    "sister",
    "neighbour",
    "cousin",
    "boss",
    "dentist",
    "landlord",
    "flatmate",
    "uncle",
];
const PLACES: &[&str] = &[
    "Lisbon",
    "Kyoto",
    "Tromsø",
    "Marrakesh",
    "Galway",
    "Ljubljana",
    "Hanoi",
    "Valparaíso",
    "Tbilisi",
    "Quebec",
    "Cusco",
    "Zadar",
];
const OBJECTS: &[&str] = &[
    "kayak",
    "telescope",
    "accordion",
    "sewing machine",
    "road bike",
    "espresso grinder",
    "terrarium",
    "typewriter",
    "drone",
    "loom",
];
/// As it is said, and as it is asked about in other words.
const ACTIVITIES: &[(&str, &str)] = &[
    ("adopted a rescue puppy", "get a dog"),
    ("started learning the cello", "take up an instrument"),
    ("quit my job at the bank", "leave employment"),
    ("planted tomatoes on the roof", "grow vegetables"),
    ("ran a half marathon", "compete in a long race"),
    ("painted the bedroom teal", "redecorate a room"),
    ("joined a pottery class", "work with clay"),
    ("sold my old motorbike", "get rid of a vehicle"),
    ("broke my wrist on the ice", "suffer an injury"),
    ("baked sourdough for the fair", "make bread"),
    ("volunteered at the animal shelter", "help out with strays"),
    ("published a short story", "become an author"),
];
const FOODS: &[&str] = &[
    "ramen", "pierogi", "falafel", "ceviche", "gnocchi", "injera", "borscht", "pho", "tagine", "dolma",
];
const SMALL_TALK: &[&str] = &[
    "How have you been lately?",
    "Not bad, a bit tired this week.",
    "The weather has been strange again.",
    "I hear you, same here.",
    "That sounds lovely!",
    "Haha, good one.",
    "Anyway, what else is new?",
    "Work keeps me busy as always.",
    "We should meet up soon.",
    "I watched a film last night, it was fine.",
    "My phone battery is dying all the time.",
    "Oh wow, really?",
    "Tell me more about it!",
    "I slept so badly this week.",
    "The train was late again today.",
    "Coffee first, then we talk.",
];

struct Maker {
    random: ChaCha8Rng,
    lines: Vec<Line>,
    questions: Vec<Line>,
    conversation: String,
    people: [&'static str; 2],
    sitting: usize,
    number: usize,
    minute: i64,
}

impl Maker {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *from.choose(&mut self.random).expect("no list is empty")
    }

    fn say(&mut self, who: usize, text: String) -> String {
        self.number += 1;
        self.minute += 1;
        let id = format!("D{}:{}", self.sitting, self.number);
        let time = jiff::Timestamp::from_second(1_680_000_000 + self.minute * 60).expect("within the calendar");
        self.lines.push(Line::Turn(Turn {
            conversation: self.conversation.clone(),
            id: id.clone(),
            speaker: Some(self.people[who].to_owned()),
            time: Some(time.to_string()),
            text,
        }));
        id
    }

    fn chat(&mut self, turns: usize) {
        for turn in 0..turns {
            let text = self.pick(SMALL_TALK).to_owned();
            self.say(turn % 2, text);
        }
    }

    fn ask(&mut self, category: &str, text: String, evidence: Vec<String>) {
        self.questions.push(Line::Question(Question {
            conversation: self.conversation.clone(),
            text,
            evidence,
            category: Some(Category::Name(category.to_owned())),
        }));
    }

    fn sitting(&mut self) {
        self.sitting += 1;
        self.number = 0;
        self.minute += self.random.random_range(2..20) * 24 * 60;
        let small = self.random.random_range(2..5);
        self.chat(small);
        for _ in 0..self.random.random_range(2..5) {
            let who = self.random.random_range(0..2);
            let name = self.people[who];
            match self.random.random_range(0..5) {
                0 => {
                    let (relation, place) = (self.pick(RELATIONS), self.pick(PLACES));
                    let food = self.pick(FOODS);
                    let told = self.say(
                        who,
                        format!("My {relation} took me to {place} and we ate {food} every single day."),
                    );
                    self.ask(
                        "words",
                        format!("Where did {name}'s {relation} take {name} to eat {food}?"),
                        vec![told],
                    );
                }
                1 => {
                    let object = self.pick(OBJECTS);
                    let price = self.random.random_range(40..900);
                    let asked = self.say(1 - who, format!("So did you finally buy the {object}?"));
                    let told = self.say(who, format!("Yes! For {price} euros, from a man at the flea market."));
                    self.ask("neighbour", format!("How much did {name} pay for the {object}?"), vec![told]);
                    let _ = asked;
                }
                2 => {
                    let (said, meant) = self.pick(ACTIVITIES);
                    let told = self.say(who, format!("Big news, I {said} on the weekend."));
                    self.ask("paraphrase", format!("When did {name} {meant}?"), vec![told]);
                }
                3 => {
                    let (food, place) = (self.pick(FOODS), self.pick(PLACES));
                    let first = self.say(who, format!("I could eat {food} all day long."));
                    self.chat(2);
                    let second = self.say(who, format!("The best {food} I ever had was in {place}, by the harbour."));
                    self.ask(
                        "two facts",
                        format!("Which dish does {name} love, and where was the best {food}?"),
                        vec![first, second],
                    );
                }
                _ => {
                    let (relation, object) = (self.pick(RELATIONS), self.pick(OBJECTS));
                    self.say(who, format!("I still have to talk about the {object} with my {relation}."));
                    let told = self.say(1 - who, "Did it break, or what happened?".to_owned());
                    let answer = self.say(who, "It fell off the balcony in the storm, can you believe that?".to_owned());
                    self.ask(
                        "context",
                        format!("What happened to the {object} of {name}'s {relation}?"),
                        vec![answer],
                    );
                    let _ = told;
                }
            }
            let small = self.random.random_range(1..4);
            self.chat(small);
        }
    }
}

/// The data set, as JSON lines: first all turns, then all questions.
pub fn data_set(seed: u64, conversations: usize) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut turns, mut questions) = (Vec::new(), Vec::new());
    for conversation in 0..conversations {
        let first = random.random_range(0..NAMES.len());
        let second = (first + random.random_range(1..NAMES.len())) % NAMES.len();
        let mut maker = Maker {
            random: ChaCha8Rng::seed_from_u64(random.random()),
            lines: Vec::new(),
            questions: Vec::new(),
            conversation: format!("conversation-{}", conversation + 1),
            people: [NAMES[first], NAMES[second]],
            sitting: 0,
            number: 0,
            minute: 0,
        };
        for _ in 0..20 {
            maker.sitting();
        }
        turns.append(&mut maker.lines);
        questions.append(&mut maker.questions);
    }
    turns
        .iter()
        .chain(&questions)
        .map(|line| serde_json::to_string(line).expect("plain data") + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_set_and_its_evidence_exists() {
        let set = data_set(5, 2);
        assert_eq!(set, data_set(5, 2));
        assert_ne!(set, data_set(6, 2));
        let (turns, questions) = duet_core::memory::quality::parse(&set).expect("a data set");
        for question in questions {
            for id in question.evidence {
                assert!(
                    turns
                        .iter()
                        .any(|turn| turn.conversation == question.conversation && turn.id == id)
                );
            }
        }
    }
}

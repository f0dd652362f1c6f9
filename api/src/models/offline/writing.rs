//! Long texts that are the same every time: something to watch stream, stop, interrupt and continue.

use std::fmt::Write as _;

/// Counts from 1.
pub(super) fn count(to: u32) -> String {
    let mut text = String::new();
    for number in 1..=to {
        // Writing to a String cannot fail.
        let _ = match number {
            1 => write!(text, "1"),
            n if n % 20 == 1 => write!(text, ",\n{n}"),
            n => write!(text, ", {n}"),
        };
    }
    text.push('.');
    text
}

const PLACES: [&str; 6] = [
    "the harbour",
    "a quiet library",
    "the last tram stop",
    "a garden behind the mill",
    "the lighthouse",
    "the market square",
];
const FINDS: [&str; 5] = [
    "a brass key",
    "a letter without a name",
    "an old map",
    "a clock that ran backwards",
    "a jar of blue ink",
];
const MEETS: [&str; 4] = [
    "a retired cartographer",
    "two children with a kite",
    "the woman who wound the town clock",
    "a dog that knew the way",
];

/// A story of short chapters.
pub(super) fn story(long: bool) -> String {
    let chapters = if long { 24 } else { 3 };
    let mut text = String::from("Here is a story put together from a few building blocks.");
    for chapter in 0..chapters {
        let (place, find, meets) = (PLACES[chapter % 6], FINDS[chapter % 5], MEETS[chapter % 4]);
        let _ = write!(
            text,
            "\n\n{}. In the morning Mira walked to {place}. There she found {find}, and nobody could tell her whose it was. \
             On the way back she met {meets}, who listened, thought for a while, and said that such things turn up when one has stopped looking for them. \
             So Mira put it in her coat, wrote the day into her notebook, and went on to the next place.",
            chapter + 1
        );
    }
    text.push_str("\n\nThat is where the story ends.");
    text
}

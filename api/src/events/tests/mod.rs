//! Frames of every kind.

pub mod logs;
mod streams;

use duet_core::{domain::*, ids::*};
use serde_json::{Value, json};

use super::{
    agui::{Agui, Frame},
    sse,
};
use logs::*;

pub fn frames(log: &[StoredEvent]) -> Vec<Frame> {
    let mut mapping = Agui::new(&run());
    log.iter().flat_map(|stored| mapping.frames(stored)).collect()
}

#[test]
fn every_kind_of_event_has_its_shape() {
    let text = String::from_utf8(sse::encode_all(&frames(&eventful())).to_vec()).unwrap();
    insta::assert_snapshot!("eventful", text);
}

#[test]
fn every_wait_has_its_shape() {
    let text = String::from_utf8(sse::encode_all(&frames(&waiting())).to_vec()).unwrap();
    insta::assert_snapshot!("waiting", text);
}

#[test]
fn a_wait_ends_one_message_and_the_next_has_an_id_of_its_own() {
    // The run as it is by now names its newest reply.
    let mut mapping = Agui::new(&Run {
        reply_id: id(99),
        ..run()
    });
    let ids = |frames: Vec<Frame>| -> Vec<Value> {
        let objects = frames.into_iter().map(|frame| serde_json::to_value(frame.data).unwrap());
        objects
            .filter(|object| object["type"] == "TEXT_MESSAGE_START")
            .map(|object| object["messageId"].clone())
            .collect()
    };
    let seen: Vec<Value> = waiting().iter().flat_map(|stored| ids(mapping.frames(stored))).collect();
    let expected = [id::<MessageId>(6), id(20), id(20)].map(|id| json!(id));
    assert_eq!(seen, expected, "what a pause cut off is begun again under the same id");
}

#[test]
fn every_end_has_its_shape() {
    let limited = RunOutcome::Limited {
        message: "The turn used its 8 model calls.".into(),
    };
    let failed = RunOutcome::Failed {
        failure: ModelFailure::Unauthorized,
        message: "The key was refused.".into(),
    };
    let review = RunOutcome::NeedsReview { tool: "http".into() };
    let mut text = String::new();
    for (outcome, reply) in [
        (RunOutcome::Completed, Some(MessageStatus::Complete)),
        (RunOutcome::Interrupted, Some(MessageStatus::Interrupted)),
        (limited, None),
        (failed, None),
        (review, Some(MessageStatus::Stopped)),
    ] {
        let log = stored(vec![started(""), finished(outcome, reply)]);
        text.push_str(std::str::from_utf8(&sse::encode_all(&frames(&log)[1..])).unwrap());
    }
    let mut redacted = stored(vec![started(""), delta(1, "secret")]);
    redacted[1].event = None;
    text.push_str(std::str::from_utf8(&sse::encode_all(&frames(&redacted)[1..])).unwrap());
    insta::assert_snapshot!("ends", text);
}

#[test]
fn only_the_last_frame_of_an_event_carries_its_id() {
    let mut mapping = Agui::new(&run());
    for event in &waiting() {
        assert_eq!(
            mapping.frames(event).last().expect("every event has a frame").id,
            Some(event.seq)
        );
    }
    let log = eventful();
    let mut mapping = Agui::new(&run());
    for event in &log {
        let frames = mapping.frames(event);
        let (last, others) = frames.split_last().expect("every event has a frame");
        assert_eq!(last.id, Some(event.seq));
        assert!(others.iter().all(|frame| frame.id.is_none()));
    }
}

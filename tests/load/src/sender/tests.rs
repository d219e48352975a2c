//! What a simulated gateway keeps until it is settled: the rules of resending, with a clock of our own.

use super::*;
use protocols_wire::{Ack, EpochState, RetryLater};

const WALL: Timestamp = Timestamp(1_795_000_000_000_000_000);

fn at(ms: u64) -> Instant {
    Instant(Duration::from_millis(ms))
}

fn sender() -> (Sender, Shape) {
    let id = GatewayId::try_new("load-00000").unwrap();
    let sender = Sender::new(id, Epoch(7), Duration::from_millis(30));
    (sender, Shape::new(20).unwrap())
}

fn set(first: u64, last: u64) -> SeqSet {
    SeqSet::from_iter([SeqRange::new(first, last).unwrap()])
}

fn item(epoch: u64, stored: SeqSet) -> AckItem {
    AckItem {
        epoch: Epoch(epoch),
        lane: LANE,
        stored,
        refused: vec![],
        retry: vec![],
    }
}

fn ack(item: AckItem) -> Bytes {
    let ack = Ack {
        generation: 1,
        items: vec![item],
        pace: None,
    };
    Down::Ack(ack).encode().unwrap()
}

fn answer(nonce: u64, settled: SeqSet, stream_pending: u64) -> Bytes {
    let answer = HelloAnswer {
        nonce,
        epochs: vec![EpochState {
            epoch: Epoch(7),
            lane: LANE,
            settled,
            closed: false,
        }],
        stream_pending,
        ..HelloAnswer::default()
    };
    Down::HelloAnswer(answer).encode().unwrap()
}

#[test]
fn a_settlement_is_measured_from_the_first_sending_and_counted_once() {
    let (mut sender, shape) = sender();
    sender.seal(&shape, at(100), WALL).unwrap();
    sender.seal(&shape, at(200), WALL).unwrap();
    assert!(sender.take(&[1, 2], at(200)).1, "with the dictionary");
    let heard = sender.heard(&ack(item(7, set(1, 2))), at(260));
    assert_eq!(heard.delays, [160, 60].map(Duration::from_millis));
    let repeated = sender.heard(&ack(item(7, set(1, 2))), at(300));
    assert_eq!(repeated, Heard::default());
    sender.seal(&shape, at(400), WALL).unwrap();
    assert!(!sender.take(&[3], at(400)).1, "the dictionary is known");
}

#[test]
fn a_settlement_of_what_was_never_sent_is_noticed() {
    let (mut sender, shape) = sender();
    sender.seal(&shape, at(0), WALL).unwrap();
    assert_eq!(sender.heard(&ack(item(7, set(1, 3))), at(1)).foreign, 2);
    assert_eq!(sender.heard(&ack(item(8, set(1, 1))), at(1)).foreign, 1);
    assert!(sender.heard(b"what?", at(1)).unreadable);
}

#[test]
fn silence_asks_for_a_hello_and_only_what_is_missing_is_sent_again() {
    let (mut sender, shape) = sender();
    assert_eq!(sender.hello_due(false), Some(at(0)), "after the connect");
    sender.hello(&shape, at(0), WALL).unwrap();
    assert_eq!(sender.hello_due(false), None);
    sender.seal(&shape, at(1000), WALL).unwrap();
    sender.seal(&shape, at(2000), WALL).unwrap();
    assert_eq!(sender.hello_due(false), Some(at(6000)));
    sender.hello(&shape, at(6000), WALL).unwrap();
    let under_way = sender.heard(&answer(2, set(1, 1), 5), at(6010));
    assert!(under_way.answered && under_way.again.is_empty());
    sender.hello(&shape, at(16_000), WALL).unwrap();
    assert_eq!(
        sender.heard(&answer(3, set(1, 1), 0), at(16_010)).again,
        [2]
    );
}

#[test]
fn a_missing_dictionary_is_attached_and_what_needed_it_is_sent_again() {
    let (mut sender, shape) = sender();
    sender.seal(&shape, at(0), WALL).unwrap();
    sender.heard(&ack(item(7, set(1, 1))), at(1));
    sender.seal(&shape, at(2), WALL).unwrap();
    let mut retry = item(7, SeqSet::new());
    retry.retry.push(RetryLater {
        range: SeqRange::one(2).unwrap(),
        reason: RetryReason::UnknownDictionary(shape.dictionary().hash()),
        after: Duration::ZERO,
    });
    assert_eq!(sender.heard(&ack(retry), at(3)).again, [2]);
    assert!(sender.take(&[2], at(3)).1);
}

#[test]
fn nothing_is_confirmed_before_the_cloud_has_said_exactly_what_was_sent() {
    let (mut sender, shape) = sender();
    sender.hello(&shape, at(0), WALL).unwrap();
    sender.seal(&shape, at(1), WALL).unwrap();
    sender.heard(&ack(item(7, set(1, 1))), at(2));
    assert!(!sender.is_confirmed());
    assert_eq!(sender.hello_due(true), Some(at(32)), "one more hello");
    sender.hello(&shape, at(3), WALL).unwrap();
    assert_eq!(
        sender.hello_due(true),
        Some(at(10_003)),
        "not at once again"
    );
    sender.heard(&answer(2, SeqSet::new(), 0), at(4));
    assert!(!sender.is_confirmed(), "less than was sent");
    sender.heard(&answer(2, set(1, 1), 0), at(4));
    assert!(sender.is_confirmed());
}

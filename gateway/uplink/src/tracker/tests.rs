//! The tracker's rules, one by one and against a set of numbers.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const OWN: Epoch = Epoch(7);
const OLD: Epoch = Epoch(3);

fn stream(epoch: Epoch) -> Stream {
    Stream {
        epoch,
        lane: Lane::Telemetry,
    }
}

fn held(epoch: Epoch, first: Seq, last: Seq) -> Held {
    Held {
        epoch,
        lane: Lane::Telemetry,
        first,
        last,
    }
}

fn class(history: bool) -> Class {
    Class {
        lane: Lane::Telemetry,
        history,
    }
}

fn at(ms: u64) -> Instant {
    Instant(Duration::from_millis(ms))
}

fn range(first: Seq, last: Seq) -> SeqRange {
    SeqRange::new(first, last).unwrap()
}

#[test]
fn backlog_goes_oldest_epoch_first_and_live_starts_behind_what_waited() {
    let mut tracker = Tracker::new(OWN);
    tracker.held(&[held(OLD, 5, 9), held(OWN, 1, 3)], at(0));
    tracker.connected(at(0));
    assert_eq!(tracker.candidate(class(false)), None);
    assert_eq!(
        tracker.candidate(class(true)),
        Some((stream(OLD), range(5, 9)))
    );
    tracker.held(&[held(OLD, 5, 9), held(OWN, 1, 4)], at(1));
    assert_eq!(
        tracker.candidate(class(false)),
        Some((stream(OWN), range(4, 4)))
    );
    tracker.hand(stream(OLD), range(5, 9));
    assert_eq!(
        tracker.candidate(class(true)),
        Some((stream(OWN), range(1, 3)))
    );
}

#[test]
fn an_acknowledgement_for_what_was_never_sent_settles_nothing_and_is_counted() {
    let mut tracker = Tracker::new(OWN);
    tracker.held(&[held(OLD, 5, 9), held(OWN, 1, 10)], at(0));
    tracker.hand(stream(OWN), range(1, 4));
    let accepted = tracker.settle(stream(OWN), &seqs(3, 20));
    assert_eq!(accepted.seqs, seqs(3, 4));
    assert_eq!(
        accepted.never_sent, 16,
        "5 to 10 not sent, 11 to 20 never existed"
    );
    let accepted = tracker.settle(stream(OLD), &seqs(1, 7));
    assert_eq!(
        (accepted.seqs, accepted.never_sent),
        (seqs(5, 7), 0),
        "sent by an earlier process"
    );
    let foreign = tracker.settle(stream(Epoch(99)), &seqs(1, 7));
    assert_eq!(foreign, Accepted::default());
}

#[test]
fn what_was_found_gone_may_be_acknowledged_as_lost() {
    let mut tracker = Tracker::new(OWN);
    tracker.held(&[held(OWN, 1, 10)], at(0));
    tracker.gone(stream(OWN), range(4, 6), at(1000));
    assert_eq!(tracker.settle(stream(OWN), &seqs(4, 6)).never_sent, 0);
}

#[test]
fn live_that_lags_becomes_backlog_so_that_now_stays_now() {
    let mut tracker = Tracker::new(OWN);
    tracker.connected(at(0));
    tracker.held(&[held(OWN, 1, 5)], at(0));
    tracker.tick(at(0));
    assert_eq!(
        tracker.candidate(class(false)),
        Some((stream(OWN), range(1, 5)))
    );
    tracker.tick(at(100));
    tracker.held(&[held(OWN, 1, 50)], at(6000));
    tracker.tick(at(6000));
    assert_eq!(tracker.candidate(class(false)), None);
    assert_eq!(
        tracker.candidate(class(true)),
        Some((stream(OWN), range(1, 50)))
    );
    tracker.held(&[held(OWN, 1, 51)], at(6100));
    assert_eq!(
        tracker.candidate(class(false)),
        Some((stream(OWN), range(51, 51)))
    );
}

#[test]
fn live_that_keeps_up_never_becomes_backlog() {
    let mut tracker = Tracker::new(OWN);
    tracker.connected(at(0));
    for seq in 1..200 {
        let now = at(seq * 1000);
        tracker.held(&[held(OWN, 1, seq)], now);
        tracker.tick(now);
        let (stream, run) = tracker.candidate(class(false)).unwrap();
        tracker.hand(stream, run);
    }
    assert_eq!(tracker.candidate(class(true)), None);
}

#[test]
fn near_sixty_four_ranges_only_gaps_are_filled() {
    let mut tracker = Tracker::new(OWN);
    let mut last = 10;
    tracker.held(&[held(OWN, 1, last)], at(0));
    let mut sent = 0;
    for jump in 0..100 {
        tracker.connected(at(jump));
        last += 2;
        tracker.held(&[held(OWN, 1, last)], at(jump));
        if let Some((stream, run)) = tracker.candidate(class(false)) {
            tracker.hand(stream, SeqRange::one(run.first()).unwrap());
            sent += 1;
        }
        assert!(tracker.ranges(stream(OWN)) < MAX_RANGES);
    }
    assert!(sent < MAX_RANGES, "{sent}");
    let (_, run) = tracker.candidate(class(true)).unwrap();
    assert_eq!(run.first(), 1, "the lowest gap is filled first");
    while let Some((stream, run)) = tracker.candidate(class(true)) {
        tracker.hand(stream, run);
    }
    assert_eq!(tracker.ranges(stream(OWN)), 1, "everything went in the end");
}

#[test]
fn a_new_store_is_offered_everything_still_held() {
    let mut tracker = Tracker::new(OWN);
    tracker.held(&[held(OWN, 1, 10)], at(0));
    tracker.hand(stream(OWN), range(1, 8));
    tracker.settle(stream(OWN), &seqs(1, 5));
    tracker.forget_settled(|_| seqs(6, 8));
    let (_, run) = tracker.candidate(class(false)).unwrap();
    assert_eq!(run, range(1, 5));
}

#[test]
fn what_the_spool_thinned_is_not_asked_for_and_may_be_acknowledged_as_lost() {
    let mut tracker = Tracker::new(OWN);
    tracker.held(&[held(OWN, 1, 10)], at(0));
    tracker.connected(at(0));
    tracker.let_go(stream(OWN), &seqs(4, 6));
    let accepted = tracker.settle(stream(OWN), &seqs(4, 6));
    assert_eq!((accepted.seqs, accepted.never_sent), (seqs(4, 6), 0));
    let mut asked = Vec::new();
    while let Some((stream, run)) = tracker.candidate(class(true)) {
        tracker.hand(stream, run);
        asked.push(run);
    }
    assert_eq!(asked, [range(1, 3), range(7, 10)]);
    // Neither a group that is put off nor another store brings them back.
    tracker.give_up(stream(OWN), &seqs(2, 5));
    assert_eq!(tracker.candidate(class(true)).unwrap().1, range(2, 3));
    tracker.forget_settled(|_| seqs(7, 10));
    assert_eq!(tracker.candidate(class(true)).unwrap().1, range(1, 3));
}

#[test]
fn a_paused_lane_waits_and_others_do_not() {
    let mut tracker = Tracker::new(OWN);
    let alarm = Held {
        lane: Lane::Alarm,
        ..held(OWN, 1, 1)
    };
    tracker.held(&[held(OWN, 1, 1), alarm], at(0));
    tracker.pause(Lane::Telemetry, at(500));
    assert_eq!(tracker.candidate(class(false)), None);
    assert!(
        tracker
            .candidate(Class {
                lane: Lane::Alarm,
                history: false
            })
            .is_some()
    );
    assert_eq!(tracker.deadline(), Some(at(500)));
    tracker.tick(at(500));
    assert!(tracker.candidate(class(false)).is_some());
}

#[test]
fn any_number_of_put_off_groups_stays_bounded_and_offers_nothing_early() {
    let mut tracker = Tracker::new(OWN);
    tracker.held(&[held(OLD, 1, 9), held(OWN, 1, 100_000)], at(0));
    for seq in 1..1000 {
        tracker.hand(stream(OWN), range(seq * 2, seq * 2));
        tracker.defer(stream(OWN), seqs(seq * 2, seq * 2), at(1000 + seq));
    }
    tracker.gone(stream(OLD), range(1, 9), at(5000));
    assert!(tracker.deferred.len() <= MAX_DEFERRED + 2);
    assert_eq!(
        tracker.uncovered(stream(OLD), range(1, 9)),
        SeqSet::new(),
        "the other stream's group finds its place"
    );
    tracker.tick(at(4999));
    assert!(tracker.uncovered(stream(OWN), range(2, 2)) == seqs(2, 2));
    tracker.tick(at(5000));
    assert_eq!(tracker.deadline(), None);
    assert_eq!(tracker.uncovered(stream(OLD), range(1, 9)), seqs(1, 9));
}

#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    Connect,
    Send { live: bool, most: u64 },
    Settle(u64, u64),
    GiveUp(u64, u64),
    Defer(u64, u64, u64),
    Delete(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..5).prop_map(Step::Append),
        1 => Just(Step::Connect),
        6 => (any::<bool>(), 1u64..6).prop_map(|(live, most)| Step::Send { live, most }),
        3 => (1u64..60, 0u64..8).prop_map(|(a, n)| Step::Settle(a, a + n)),
        2 => (1u64..60, 0u64..8).prop_map(|(a, n)| Step::GiveUp(a, a + n)),
        1 => (1u64..60, 0u64..4, 1u64..4000).prop_map(|(a, n, t)| Step::Defer(a, a + n, t)),
        1 => (1u64..60).prop_map(Step::Delete),
        2 => (1u64..8000).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Against plain sets: what is under way or settled is never offered; nothing never-sent settles;
    /// everything else is offered in the end.
    #[test]
    fn offers_exactly_what_is_held_and_neither_under_way_nor_settled(steps in prop::collection::vec(step(), 1..80)) {
        let mut tracker = Tracker::new(OWN);
        let own = stream(OWN);
        let (mut last, mut first, mut now) = (0u64, 1u64, 0u64);
        let mut away: BTreeSet<u64> = BTreeSet::new();
        let mut settled: BTreeSet<u64> = BTreeSet::new();
        let mut sent: BTreeSet<u64> = BTreeSet::new();
        let mut deferred: Vec<(u64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Append(n) => last += n,
                Step::Connect => tracker.connected(at(now)),
                Step::Send { live, most } => if let Some((to, run)) = tracker.candidate(class(!live)) {
                    prop_assert_eq!(to, own);
                    let run = range(run.first(), run.last().min(run.first() + most - 1));
                    for seq in run.first()..=run.last() {
                        prop_assert!(first <= seq && seq <= last, "{} is not held", seq);
                        prop_assert!(!away.contains(&seq) && !settled.contains(&seq), "{} sent twice", seq);
                        prop_assert!(!deferred.iter().any(|(s, _)| *s == seq), "{} was put off", seq);
                        away.insert(seq);
                        sent.insert(seq);
                    }
                    tracker.hand(own, run);
                },
                Step::Settle(a, b) => {
                    let got = tracker.settle(own, &seqs(a, b));
                    for seq in a..=b {
                        let good = sent.contains(&seq) && (first..=last).contains(&seq);
                        prop_assert_eq!(got.seqs.contains(seq), good, "seq {}", seq);
                        if good { settled.insert(seq); away.remove(&seq); deferred.retain(|(s, _)| *s != seq); }
                    }
                }
                Step::GiveUp(a, b) => {
                    let lost: SeqSet = (a..=b).filter(|s| away.contains(s)).filter_map(SeqRange::one).collect();
                    tracker.give_up(own, &lost);
                    away.retain(|s| !lost.contains(*s));
                }
                Step::Defer(a, b, span) => {
                    let lost: SeqSet = (a..=b).filter(|s| away.contains(s)).filter_map(SeqRange::one).collect();
                    away.retain(|s| !lost.contains(*s));
                    for seq in a..=b { if lost.contains(seq) { deferred.push((seq, now + span)); } }
                    tracker.defer(own, lost, at(now + span));
                }
                Step::Delete(upto) => {
                    // The spool deletes settled records only.
                    while first <= upto && settled.contains(&first) { first += 1; }
                }
                Step::Pass(ms) => { now += ms; }
            }
            let (f, l) = if first <= last { (first, last) } else { (0, last) };
            if last > 0 { tracker.held(&[held(OWN, f, l)], at(now)); }
            tracker.tick(at(now));
            deferred.retain(|(_, until)| *until > now);
        }
        now += 10_000;
        tracker.tick(at(now));
        let mut offered = BTreeSet::new();
        for history in [true, false] {
            while let Some((_, run)) = tracker.candidate(class(history)) {
                tracker.hand(own, run);
                offered.extend(run.first()..=run.last());
            }
        }
        let expected: BTreeSet<u64> = (first..=last).filter(|s| !away.contains(s) && !settled.contains(s)).collect();
        prop_assert_eq!(offered, expected);
    }
}

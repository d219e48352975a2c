//! The judge must see each kind of wrong, and nothing in what is right.

use super::*;
use crate::awake::Pause;
use crate::evidence::{LedgerPoint, StoredRow};
use tests_fieldsim::answer_log::{ANSWER, AnswerLine, PolledPoint, SILENT};
use tests_fieldsim::{BusKind, BusSite, PointSite, Shape, Site, Space, UnitSite, WordKind, signal};

const SECOND: i64 = 1_000_000_000;

fn point(id: &str, kind: WordKind, address: u16, deadband: f64) -> PointSite {
    PointSite {
        id: id.into(),
        space: if kind == WordKind::Bit {
            Space::Coil
        } else {
            Space::Input
        },
        address,
        kind,
        shape: Shape::Sine {
            base: 100.0,
            amplitude: 50.0,
            period: 40.0,
        },
        unit: String::new(),
        deadband,
        beat_s: 0,
    }
}

/// A line of the answer log.
fn line(t: i64, kind: &str, polls: Vec<PolledPoint>) -> AnswerLine {
    AnswerLine {
        t,
        gateway: "g".into(),
        device: "d".into(),
        polls,
        kind: kind.into(),
    }
}

/// A world in which everything went well: 60 polls, one a second, one life of the gateway.
fn world() -> Evidence {
    world_after_silence(None)
}

/// As [`world`]; before poll `silent` the device kept quiet once, so that the filter lets that poll
/// pass whatever its value.
fn world_after_silence(silent: Option<u64>) -> Evidence {
    let points = vec![
        point("wide", WordKind::I64, 0, 0.0),
        point("banded", WordKind::I32, 4, 20.0),
        point("bit0", WordKind::Bit, 0, 0.0),
        point("bit1", WordKind::Bit, 1, 0.0),
    ];
    let unit = UnitSite {
        unit: 1,
        device: "d".into(),
        points,
        silent_every_s: 0,
        silent_s: 0,
    };
    let bus = BusSite {
        name: "b".into(),
        gateway: "g".into(),
        kind: BusKind::Tcp { port: 0 },
        units: vec![unit.clone()],
    };
    let mut answers = Vec::new();
    let mut stored = Vec::new();
    let mut kept: Option<i64> = None;
    for n in 0..60u64 {
        let t = SECOND * i64::try_from(n).unwrap();
        if silent == Some(n) {
            answers.push(line(t - SECOND / 2, SILENT, Vec::new()));
        }
        let polls = unit.points.iter().map(|point| PolledPoint {
            point: point.id.clone(),
            n,
            raw: signal::raw_at(point, n),
        });
        answers.push(line(t, ANSWER, polls.collect()));
        for point in &unit.points {
            let raw = signal::raw_at(point, n);
            if point.id == "banded" {
                let within = kept.is_some_and(|kept| (raw - kept).abs() <= 200_000);
                if within && silent != Some(n) {
                    continue;
                }
                kept = Some(raw);
            }
            stored.push(StoredRow {
                gateway: "g".into(),
                device: "d".into(),
                point: point.id.clone(),
                time_ns: t + 5,
                value: Some(raw as f64 / signal::divisor(point.kind)),
                quality: "good".into(),
                epoch: "00000000000000aa".into(),
                lane: "telemetry".into(),
                seq: n + 1,
            });
        }
    }
    Evidence {
        site: Site { buses: vec![bus] },
        answers,
        stored,
        ledger: Vec::new(),
        runs: vec![Run {
            gateway: "g".into(),
            started_ns: 0,
            ended_ns: i64::MAX,
            ending: Ending::Clean,
        }],
        loss_window_ns: 5 * SECOND,
        pauses: Vec::new(),
    }
}

#[test]
fn a_world_in_which_all_went_well_holds() {
    let verdict = judge(&world());
    assert!(verdict.holds(), "{verdict} {:?}", verdict.notes);
    assert_eq!(verdict.read, 240);
    assert!(verdict.filtered > 10, "the deadband filters: {verdict}");
    assert_eq!(verdict.stored + verdict.filtered, 240);
}

#[test]
fn one_missing_row_is_lost_and_named() {
    for point in ["wide", "banded", "bit1"] {
        let mut evidence = world();
        let place = evidence
            .stored
            .iter()
            .rposition(|row| row.point == point && row.seq < 50);
        evidence.stored.remove(place.unwrap());
        let verdict = judge(&evidence);
        assert_eq!(verdict.lost, 1, "{point}: {verdict} {:?}", verdict.notes);
        assert!(!verdict.notes.is_empty());
    }
}

#[test]
fn a_row_stored_twice_is_duplicated_whatever_its_identity() {
    for (epoch, seq_add) in [
        ("00000000000000aa", 0),
        ("00000000000000aa", 1000),
        ("00000000000000bb", 0),
    ] {
        let mut evidence = world();
        let mut again = evidence
            .stored
            .iter()
            .find(|row| row.point == "wide")
            .unwrap()
            .clone();
        again.epoch = epoch.into();
        again.seq += seq_add;
        evidence.stored.push(again);
        let verdict = judge(&evidence);
        assert_eq!(verdict.duplicated, 1, "{epoch} +{seq_add}: {verdict}");
        assert_eq!(verdict.lost, 0, "{verdict}");
    }
}

#[test]
fn a_value_no_device_ever_gave_is_invented() {
    let mut evidence = world();
    evidence.stored[0].value = Some(1e-9);
    let verdict = judge(&evidence);
    assert_eq!((verdict.invented, verdict.lost), (1, 1), "{verdict}");
}

#[test]
fn a_reading_that_the_filter_should_have_dropped_is_seen() {
    let mut evidence = world();
    let banded = point("banded", WordKind::I32, 4, 20.0);
    let has = |seq| {
        evidence
            .stored
            .iter()
            .any(|row| row.point == "banded" && row.seq == seq)
    };
    let dropped = (1..60).find(|&seq| !has(seq)).unwrap();
    let mut extra = evidence.stored[0].clone();
    extra.point = "banded".into();
    extra.seq = dropped;
    extra.value = Some(signal::raw_at(&banded, dropped - 1) as f64 / 1e4);
    evidence.stored.push(extra);
    assert_eq!(judge(&evidence).misfiltered, 1);
}

fn killed_at(seconds: i64) -> Evidence {
    let mut evidence = world();
    evidence.stored.retain(|row| row.seq < 50);
    evidence.runs[0].ended_ns = seconds * SECOND;
    evidence.runs[0].ending = Ending::Killed;
    evidence.answers.retain(|line| line.t <= seconds * SECOND);
    evidence
}

fn entry(reason: &str, points: Vec<LedgerPoint>) -> LedgerRow {
    LedgerRow {
        gateway: "g".into(),
        epoch: "00000000000000aa".into(),
        reason: reason.into(),
        readings: (!points.is_empty()).then_some(1),
        points,
    }
}

#[test]
fn a_crash_tail_counts_only_within_the_loss_window_and_with_a_ledger_entry() {
    let mut evidence = killed_at(52);
    assert!(judge(&evidence).lost > 0, "no ledger entry");
    evidence.ledger.push(entry("crash-tail", Vec::new()));
    let verdict = judge(&evidence);
    assert!(
        verdict.holds() && verdict.crash_tail > 0,
        "{verdict} {:?}",
        verdict.notes
    );

    let mut evidence = killed_at(58);
    evidence.ledger.push(entry("crash-tail", Vec::new()));
    assert!(judge(&evidence).lost > 0, "older than the loss window");

    let mut evidence = killed_at(52);
    evidence.ledger.push(entry("crash-tail", Vec::new()));
    evidence.stored.retain(|row| row.seq != 47);
    assert!(judge(&evidence).lost > 0, "a hole is no tail");
}

#[test]
fn the_ledger_answers_for_as_many_readings_as_it_names() {
    let mut evidence = world();
    evidence
        .stored
        .retain(|row| !(row.point == "wide" && (row.seq == 20 || row.seq == 21)));
    let named = |readings| {
        vec![LedgerPoint {
            device: "d".into(),
            point: "wide".into(),
            readings,
        }]
    };
    evidence.ledger = vec![entry("evicted", named(1))];
    assert_eq!(judge(&evidence).lost, 1);
    evidence.ledger = vec![entry("evicted", named(2))];
    let verdict = judge(&evidence);
    assert!(verdict.holds() && verdict.ledger == 2, "{verdict}");
}

#[test]
fn a_hole_in_which_a_change_of_quality_let_a_reading_pass_is_counted_as_the_gateway_did() {
    let silent = 21;
    let mut evidence = world_after_silence(Some(silent));
    assert!(judge(&evidence).holds());
    let in_hole = |row: &StoredRow| row.point == "banded" && (18..40).contains(&row.seq);
    let lost = evidence.stored.iter().filter(|row| in_hole(row)).count();
    evidence.stored.retain(|row| !in_hole(row));
    let point = LedgerPoint {
        device: "d".into(),
        point: "banded".into(),
        readings: lost.try_into().unwrap(),
    };
    evidence.ledger = vec![entry("evicted", vec![point])];
    let verdict = judge(&evidence);
    assert!(verdict.holds(), "{verdict} {:?}", verdict.notes);
}

#[test]
fn an_answer_to_a_gateway_that_was_killed_while_it_waited_belongs_to_its_tail() {
    let mut evidence = killed_at(52);
    evidence.ledger.push(entry("crash-tail", Vec::new()));
    let mut late = evidence.answers.last().unwrap().clone();
    late.t = 52 * SECOND + SECOND / 2;
    for polled in &mut late.polls {
        polled.n += 1;
        polled.raw += 1;
    }
    evidence.answers.push(late);
    let verdict = judge(&evidence);
    assert!(verdict.holds(), "{verdict} {:?}", verdict.notes);
    if let Some(late) = evidence.answers.last_mut() {
        late.t += 2 * SECOND;
    }
    assert!(judge(&evidence).lost > 0, "nobody can have asked");
    evidence.pauses = vec![Pause {
        from_ns: 52 * SECOND,
        to_ns: 54 * SECOND,
    }];
    let verdict = judge(&evidence);
    assert!(verdict.holds(), "{verdict} {:?}", verdict.notes);
}

#[test]
fn an_answer_given_while_the_machine_stood_still_is_a_reading_only_if_it_was_taken() {
    let mut evidence = world();
    evidence.pauses = vec![Pause {
        from_ns: 30 * SECOND - SECOND / 2,
        to_ns: 30 * SECOND - SECOND / 10,
    }];
    let taken = judge(&evidence);
    assert!(taken.holds(), "{taken} {:?}", taken.notes);
    assert_eq!(taken.read + taken.late, 240);
    assert!(
        taken.late <= 1,
        "the filtered one may have been taken: {taken}"
    );

    evidence.stored.retain(|row| row.seq != 31);
    let missed = judge(&evidence);
    assert!(missed.holds(), "{missed} {:?}", missed.notes);
    assert_eq!(missed.read + missed.late, 240);
    assert!(missed.late >= 3, "{missed}");

    evidence.stored.retain(|row| row.seq != 32);
    assert!(judge(&evidence).lost > 0, "its neighbour was in time");
}

#[test]
fn the_loss_window_does_not_run_while_the_machine_stands_still() {
    let mut evidence = killed_at(58);
    evidence.ledger.push(entry("crash-tail", Vec::new()));
    assert!(judge(&evidence).lost > 0, "older than the loss window");
    evidence.pauses = vec![Pause {
        from_ns: 52 * SECOND,
        to_ns: 56 * SECOND,
    }];
    let verdict = judge(&evidence);
    assert!(verdict.holds(), "{verdict} {:?}", verdict.notes);
}

#[test]
fn rows_of_a_record_in_which_the_clock_stepped_back_are_no_duplicates() {
    let mut evidence = world();
    // Two polls in one record, the later one with the earlier stamp: an export by time turns them.
    let second = |row: &StoredRow| row.seq == 31;
    evidence
        .stored
        .iter_mut()
        .filter(|row| second(row))
        .for_each(|row| {
            row.seq = 30;
            row.time_ns -= 3600 * SECOND;
        });
    evidence.stored.sort_by_key(|row| (row.seq, row.time_ns));
    let verdict = judge(&evidence);
    assert!(verdict.holds(), "{verdict} {:?}", verdict.notes);
}

#[test]
fn a_bank_read_just_before_the_clock_stepped_is_no_duplicate() {
    let bits = |row: &StoredRow| row.point.starts_with("bit");
    // The first record of an epoch: all after its bank has the new clock.
    let mut evidence = world();
    let rows = evidence.stored.iter_mut();
    rows.filter(|row| row.seq > 1 || !bits(row))
        .for_each(|row| row.time_ns += 3600 * SECOND);
    let verdict = judge(&evidence);
    assert!(verdict.holds(), "{verdict} {:?}", verdict.notes);
    // In the middle, from a wrong clock to the right one: the record before tells nothing.
    let mut evidence = world();
    let rows = evidence.stored.iter_mut();
    rows.filter(|row| row.seq < 30 || (row.seq == 30 && bits(row)))
        .for_each(|row| row.time_ns += 3600 * SECOND);
    without(&mut evidence, "wide", 29);
    let wide = LedgerPoint {
        device: "d".into(),
        point: "wide".into(),
        readings: 1,
    };
    evidence.ledger.push(entry("evicted", vec![wide]));
    let verdict = judge(&evidence);
    assert!(verdict.holds(), "{verdict} {:?}", verdict.notes);
    // The same bank stored once more is one too many, whatever the clock said.
    let again: Vec<StoredRow> = evidence
        .stored
        .iter()
        .filter(|row| row.seq == 30 && bits(row))
        .cloned()
        .collect();
    evidence.stored.extend(again);
    assert!(judge(&evidence).duplicated > 0);
}

/// The same world, with a device that sends by itself instead of one that answers.
fn unasked(kind: BusKind) -> Evidence {
    let mut evidence = world();
    evidence.site.buses[0].kind = kind;
    let points = &mut evidence.site.buses[0].units[0].points;
    points.retain(|point| point.id != "banded");
    evidence
}

fn scale() -> BusKind {
    BusKind::Scale {
        link: String::new(),
        baud: 9600,
        every_ms: 1000,
    }
}

fn port(t: i64, kind: &str) -> AnswerLine {
    AnswerLine {
        t,
        gateway: "g".into(),
        device: "d".into(),
        polls: Vec::new(),
        kind: kind.into(),
    }
}

fn without(evidence: &mut Evidence, point: &str, seq: u64) {
    evidence
        .stored
        .retain(|row| !(row.point == point && row.seq == seq));
}

#[test]
fn what_a_scale_sends_is_lost_only_where_the_port_was_open_for_a_while() {
    let mut evidence = unasked(scale());
    evidence.answers.insert(0, port(-1, "opened"));
    without(&mut evidence, "wide", 2);
    let verdict = judge(&evidence);
    assert!(
        verdict.holds() && verdict.late == 1,
        "just opened: {verdict}"
    );
    without(&mut evidence, "wide", 30);
    assert_eq!(judge(&evidence).lost, 1, "in the middle");
    evidence.answers.push(port(31 * SECOND, "closed"));
    let verdict = judge(&evidence);
    assert!(
        verdict.holds() && verdict.late == 2,
        "just closed: {verdict}"
    );
}

#[test]
fn an_advertisement_need_not_be_heard_but_is_stored_once_and_as_it_was() {
    let radio = BusKind::Radio { every_ms: 1000 };
    let mut evidence = unasked(radio);
    for seq in 10..30 {
        without(&mut evidence, "wide", seq);
    }
    let verdict = judge(&evidence);
    assert!(
        verdict.holds() && verdict.late == 20 && verdict.deaf == 0,
        "{verdict}"
    );
    let again = evidence.stored.iter().find(|row| row.point == "wide");
    evidence.stored.push(again.unwrap().clone());
    assert_eq!(judge(&evidence).duplicated, 1);
    evidence.stored.pop();
    let wrong = evidence.stored.iter_mut().find(|row| row.point == "wide");
    wrong.unwrap().value = Some(1e-9);
    assert_eq!(judge(&evidence).invented, 1);
    for seq in 30..50 {
        without(&mut evidence, "wide", seq);
    }
    assert_eq!(judge(&evidence).deaf, 1, "two thirds are missing");
}

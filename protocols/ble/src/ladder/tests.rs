//! The ladder, rung by rung.

use super::*;
use crate::config::Adapter;

fn at(seconds: u64) -> Instant {
    Instant(Duration::from_secs(seconds))
}

const SILENCE: Duration = Duration::from_mins(1);

/// A ladder whose radio was built at once.
fn running() -> Ladder {
    let mut ladder = Ladder::new(Some(SILENCE), at(0));
    assert_eq!(ladder.act(at(0)), Some(Act::Take(Step::Rebuild, None)));
    assert_eq!(ladder.took(Ok(()), at(0)), None);
    assert!(!ladder.in_trouble());
    ladder
}

/// Lets time pass to the next act.
fn next(ladder: &mut Ladder) -> (u64, Act) {
    let due = ladder.due().expect("something is due");
    let act = ladder.act(due).expect("it is due");
    (due.0.as_secs(), act)
}

/// The next act, which is this step and ends like this. When it was.
fn step(
    ladder: &mut Ladder,
    expected: Step,
    result: Result<(), RadioError>,
) -> (u64, Option<String>) {
    let (when, act) = next(ladder);
    match act {
        Act::Take(step, _) => assert_eq!(step, expected, "at {when} s"),
        Act::Report(text) => panic!("at {when} s: {text}"),
    }
    (when, ladder.took(result, at(when)))
}

fn away() -> RadioError {
    RadioError::NoAdapter(Adapter::default(), "none".to_owned())
}

#[test]
fn adverts_that_stop_climb_the_ladder_and_the_first_one_heard_ends_it() {
    let mut ladder = running();
    ladder.heard(at(30));
    let (when, act) = next(&mut ladder);
    let text = "no advertisement for 60 s: restarting the scan".to_owned();
    assert_eq!((when, act), (90, Act::Take(Step::RestartScan, Some(text))));
    assert_eq!(ladder.due(), None);
    assert_eq!(ladder.took(Ok(()), at(91)), None);
    assert_eq!(step(&mut ladder, Step::RestartScan, Ok(())), (151, None));
    assert_eq!(step(&mut ladder, Step::Rebuild, Ok(())), (211, None));
    let well = ladder.heard(at(215)).unwrap();
    let expected =
        "well again after 125 s (rebuilding the connection to the Bluetooth service helped)";
    assert_eq!(well, expected);
    assert_eq!(ladder.due(), Some(at(275)));
}

#[test]
fn when_nothing_helps_it_is_reported_once_and_tried_on_with_back_off() {
    let mut ladder = running();
    let mut steps = Vec::new();
    let mut reports = Vec::new();
    for _ in 0..200 {
        let (when, act) = next(&mut ladder);
        match act {
            Act::Take(step, _) => {
                steps.push((when, step));
                reports.extend(ladder.took(Ok(()), at(when)).map(|text| (when, text)));
            }
            Act::Report(text) => reports.push((when, text)),
        }
        if when > 4 * 3600 {
            break;
        }
    }
    let first: Vec<_> = steps.iter().take(5).map(|(_, step)| *step).collect();
    use Step::{PowerCycle, Rebuild, RestartScan};
    assert_eq!(
        first,
        [RestartScan, RestartScan, Rebuild, Rebuild, PowerCycle]
    );
    let (when, text) = &reports[0];
    assert_eq!(*when, 300);
    assert!(
        text.ends_with("and no step helped; trying on in 60 s"),
        "{text}"
    );
    // Never more power cycles than the budget, in any window.
    let cycles = steps.iter().filter(|(_, step)| *step == PowerCycle);
    let cycles: Vec<_> = cycles.map(|(when, _)| *when).collect();
    assert!(cycles.len() > CYCLES);
    for window in cycles.windows(CYCLES + 1) {
        assert!(
            window[CYCLES] - window[0] >= CYCLE_SPAN.as_secs(),
            "{cycles:?}"
        );
    }
    // The back-off keeps the whole from being busy: a few acts an hour.
    let late = steps
        .iter()
        .filter(|(when, _)| (3 * 3600..4 * 3600).contains(when));
    assert!((4..=16).contains(&late.count()));
    // Steps never come closer than a settling time.
    assert!(
        steps
            .windows(2)
            .all(|pair| pair[1].0 - pair[0].0 >= SETTLE.as_secs())
    );
}

#[test]
fn a_service_that_restarts_is_noticed_at_once_and_its_return_within_seconds() {
    let mut ladder = running();
    ladder.wrong(Cause::ServiceGone, at(20));
    let (when, act) = next(&mut ladder);
    let text = "the Bluetooth service ended: rebuilding the connection to the Bluetooth service";
    assert_eq!(
        (when, act),
        (20, Act::Take(Step::Rebuild, Some(text.to_owned())))
    );
    let gone = || Err(RadioError::NoService("gone".to_owned()));
    assert_eq!(ladder.took(gone(), at(20)), None);
    assert_eq!(step(&mut ladder, Step::Rebuild, gone()), (21, None));
    let (when, told) = step(&mut ladder, Step::Rebuild, Ok(()));
    assert_eq!(when, 23);
    assert!(told.unwrap().starts_with("well again after 3 s"));
    // It ends again and again: still nothing harsher is done to what is not there.
    for begin in [30, 40, 50] {
        ladder.wrong(Cause::ServiceGone, at(begin));
        assert_eq!(step(&mut ladder, Step::Rebuild, Ok(())).0, begin);
    }
}

#[test]
fn an_adapter_that_stays_away_is_reported_once_and_looked_for_for_ever() {
    let mut ladder = running();
    ladder.wrong(Cause::AdapterGone, at(10));
    let mut told = Vec::new();
    let mut last = 10;
    for _ in 0..100 {
        let (when, text) = step(&mut ladder, Step::Rebuild, Err(away()));
        assert!(when - last <= AWAY.1.as_secs());
        last = when;
        told.extend(text);
    }
    assert_eq!(
        told,
        ["there is no adapter hci0; there is none; trying on every 30 s"]
    );
    let (_, text) = step(&mut ladder, Step::Rebuild, Ok(()));
    assert!(text.unwrap().starts_with("well again"));
}

#[test]
fn a_radio_that_is_missing_at_the_start_is_told_at_once() {
    let mut ladder = Ladder::new(None, at(0));
    let (_, told) = step(&mut ladder, Step::Rebuild, Err(away()));
    assert_eq!(
        told.unwrap(),
        "there is no adapter hci0; there is none; trying on every 30 s"
    );
    let (_, told) = step(&mut ladder, Step::Rebuild, Ok(()));
    assert_eq!(told.as_deref(), Some("the adapter listens"));
    assert_eq!(ladder.due(), None);
}

#[test]
fn an_adapter_that_does_not_answer_is_rebuilt_then_power_cycled() {
    let mut ladder = running();
    ladder.wrong(Cause::NotAnswering("state"), at(5));
    let (when, told) = step(&mut ladder, Step::Rebuild, Err(RadioError::TimedOut));
    assert_eq!((when, told), (5, None));
    assert_eq!(
        step(&mut ladder, Step::Rebuild, Err(RadioError::TimedOut)).0,
        15
    );
    assert_eq!(step(&mut ladder, Step::PowerCycle, Ok(())).0, 25);
    assert!(!ladder.in_trouble());
    // What returns at once goes on above, not at the bottom again.
    let mut ladder = running();
    ladder.wrong(Cause::NotAnswering("state"), at(5));
    step(&mut ladder, Step::Rebuild, Ok(()));
    ladder.wrong(Cause::NotAnswering("state"), at(30));
    step(&mut ladder, Step::PowerCycle, Ok(()));
}

#[test]
fn a_scan_that_ends_by_itself_or_an_adapter_switched_off_begins_below() {
    for cause in [Cause::ScanEnded, Cause::SwitchedOff] {
        let mut ladder = running();
        ladder.wrong(cause.clone(), at(5));
        let (_, told) = step(&mut ladder, Step::RestartScan, Ok(()));
        assert_eq!(
            told.unwrap(),
            "well again after 0 s (restarting the scan helped)"
        );
        ladder.wrong(cause, at(6));
        step(&mut ladder, Step::Rebuild, Ok(()));
    }
    let mut ladder = running();
    ladder.wrong(Cause::ScanEnded, at(5));
    let refused = || Err(RadioError::Refused("busy".to_owned()));
    assert_eq!(step(&mut ladder, Step::RestartScan, refused()), (5, None));
    assert_eq!(step(&mut ladder, Step::Rebuild, refused()).0, 5);
}

#[test]
fn a_harsher_cause_takes_over_and_silence_while_connecting_does_not_count() {
    let mut ladder = running();
    ladder.wrong(Cause::ScanEnded, at(5));
    ladder.wrong(Cause::AdapterGone, at(5));
    ladder.wrong(Cause::ScanEnded, at(5));
    step(&mut ladder, Step::Rebuild, Ok(()));
    ladder.paused(at(50));
    assert_eq!(ladder.due(), Some(at(110)));
    assert_eq!(ladder.act(at(109)), None);
}

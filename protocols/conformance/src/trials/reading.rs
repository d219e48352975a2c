//! Readings of devices that are well: pace, stamps, counters, and neighbours of a silent one.

use super::{good_again, up};
use crate::bench::{Mood, Time};
use crate::report::Rule;
use crate::stand::{Stand, Verdict, broken};
use protocols_driver::{LinkState, PROBE_SHARE};
use protocols_model::{Clock as _, Timestamp};
use std::time::Duration;

/// Periods over which the pace is measured.
const PERIODS: u32 = 20;
/// Polls that may be under way, or due at this very moment, when it is looked.
const UNDER_WAY: u64 = 2;

/// Each point that is due gets exactly one reading a poll: readings and missed polls add up to what
/// was due. Polled devices always; those that speak unasked while they are silent.
pub(super) async fn pace(stand: &mut Stand, rule: Rule) -> Verdict {
    let period = stand.facts.period;
    let devices = u64::try_from(stand.facts.devices.len()).unwrap_or(u64::MAX);
    let (began, missed_before) = (stand.running(), stand.missed());
    let before = stand.tally.readings.clone();
    let mut wanting = u64::MAX;
    // In real time the end of the window may fall into a stall, hence up to three windows.
    for window in 0..3 {
        let sweeps = stand.during(period * PERIODS).await?;
        let due = |span: Duration| u64::try_from(span.as_nanos() / period.as_nanos());
        let due = due(stand.running() - began).unwrap_or(u64::MAX);
        let mut handed = 0;
        for device in &stand.facts.devices {
            let mut least = u64::MAX;
            for point in &device.points {
                let count =
                    |of: &std::collections::BTreeMap<_, u64>| of.get(point).copied().unwrap_or(0);
                let count = count(&stand.tally.readings) - count(&before);
                if count > due + UNDER_WAY {
                    let saw = format!("{count} readings of {point:?} in {due} periods");
                    return broken(rule, saw);
                }
                least = least.min(count);
            }
            handed += least;
        }
        let missed = stand.missed() - missed_before;
        wanting = (due * devices).saturating_sub(handed + missed);
        if wanting <= UNDER_WAY * devices {
            return Ok(());
        }
        if sweeps.is_empty() || stand.facts.time == Time::Paused || window == 2 {
            let saw = format!(
                "{handed} polls read and {missed} counted as missed of {} that were due",
                due * devices
            );
            return broken(rule, saw);
        }
    }
    broken(
        rule,
        format!("{wanting} polls gave no reading and are not counted as missed"),
    )
}

/// Progress, pace, counters, link states, and nothing left after the stop.
pub(super) async fn well(stand: &mut Stand) -> Verdict {
    up(stand).await?;
    if !stand.facts.unasked {
        pace(stand, Rule::SilenceIsAReading).await?;
    }
    let links = stand.status.as_ref().map(|s| s.links()).unwrap_or_default();
    for device in &stand.facts.devices {
        let link = links.iter().find(|l| l.device == device.device);
        if link.map(|l| l.state) != Some(LinkState::Up) {
            let saw = format!("device {} answers and its link is {link:?}", device.device);
            return broken(Rule::Bounded, saw);
        }
    }
    stand.stop("idle").await?;
    let counted = stand
        .status
        .as_ref()
        .map_or(0, |s| s.counters.readings.get());
    if counted != stand.tally.total {
        let saw = format!(
            "{counted} readings counted and {} handed over",
            stand.tally.total
        );
        return broken(Rule::Bounded, saw);
    }
    // One answer may have come while the driver gave up its last question.
    if !stand.facts.unasked
        && let Some(answered) = stand.seen().answered
        && stand.good_sweeps + 1 < answered
    {
        let saw = format!(
            "{answered} answers and {} sweeps with values",
            stand.good_sweeps
        );
        return broken(Rule::NoAnswerDropped, saw);
    }
    silent_after_return(stand).await
}

/// A driver that has returned asks nothing more.
pub(super) async fn silent_after_return(stand: &mut Stand) -> Verdict {
    let period = stand.facts.period;
    // What was on the wire when it returned arrives.
    stand.during(period * 3).await?;
    let before = stand.asked();
    stand.during(period * 6).await?;
    let more = stand.asked() - before;
    if more > 0 {
        let saw = format!("{more} requests after it had returned");
        return broken(Rule::OneTask, saw);
    }
    Ok(())
}

/// The schedule does not follow the wall clock; stamps do.
pub(super) async fn wall_steps(stand: &mut Stand) -> Verdict {
    up(stand).await?;
    if !stand.facts.unasked {
        pace(stand, Rule::SilenceIsAReading).await?;
    }
    for back in [true, false, false, true] {
        let now = stand.clock.monotonic();
        stand.clock.step(Duration::from_hours(30), back);
        let wall: Timestamp = stand.clock.wall();
        let since = stand.clock.monotonic();
        // A request under way was stamped before.
        let last = stand.walls.pop();
        stand.walls = last
            .into_iter()
            .chain([(wall.minus(since.since(now)), now.0)])
            .collect();
        good_again(stand, Rule::OneTimestamp, "after a step of the wall clock").await?;
        if !stand.facts.unasked {
            pace(stand, Rule::OneTimestamp).await?;
        }
    }
    stand.stop("idle").await
}

/// A dead device costs the bus one part in twenty; the others go on.
pub(super) async fn neighbours(stand: &mut Stand) -> Verdict {
    if stand.facts.devices.len() < 2 || stand.facts.unasked {
        return Err(crate::stand::End::LeftOut(
            "the bus has one device, or they are not asked".to_owned(),
        ));
    }
    up(stand).await?;
    pace(stand, Rule::SilenceIsAReading).await?;
    stand.mood(Mood::Silent).await?;
    let points = stand.first_points();
    if !stand.until_bad(&points).await? {
        return broken(
            Rule::SilenceIsAReading,
            "a silent device gives no bad reading",
        );
    }
    // Until it is known to be dead it may be asked as ever.
    let patience = stand.facts.patience;
    let first = stand.facts.devices.first().map(|d| d.device.clone());
    let status = stand.status.clone();
    let dead = |_: &Stand, _: &_| {
        let links = status.as_ref().map(|s| s.links()).unwrap_or_default();
        links
            .iter()
            .any(|l| Some(&l.device) == first.as_ref() && matches!(l.state, LinkState::Down(_)))
    };
    if !stand.until(patience, dead).await? {
        return broken(Rule::Bounded, "a silent device is not published as down");
    }
    let of_first = |stand: &Stand| stand.seen().asked.first().copied().unwrap_or(0);
    let (began, asked, good) = (stand.running(), of_first(stand), stand.good_sweeps);
    let silence = stand.facts.silence;
    let span = (silence * PROBE_SHARE * 3).max(stand.facts.period * 2 * PERIODS);
    stand.during(span).await?;
    let (span, asked) = (stand.running() - began, of_first(stand) - asked);
    // The probe under way, and one that was saved up.
    let allowed = span / PROBE_SHARE + silence * 2;
    let spent = silence * u32::try_from(asked).unwrap_or(u32::MAX);
    if spent > allowed {
        let saw = format!(
            "a dead device was asked {asked} times in {span:?}, which costs the bus {spent:?}"
        );
        return broken(Rule::OwnTrouble, saw);
    }
    let good = stand.good_sweeps - good;
    let others = u64::try_from(stand.facts.devices.len() - 1).unwrap_or(u64::MAX);
    let due = span.as_nanos() / stand.facts.period.as_nanos();
    let due = u64::try_from(due).unwrap_or(u64::MAX) * others;
    // In real time a slow machine costs polls too; that they go on is all that can be told.
    let enough = if stand.facts.time == Time::Paused {
        due * 9 / 10
    } else {
        1
    };
    if good < enough {
        let saw = format!("beside a dead device {good} of {due} polls of the others were good");
        return broken(Rule::OwnTrouble, saw);
    }
    stand.stop("beside a dead device").await
}

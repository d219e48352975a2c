//! Nobody takes sweeps for a while: nothing is asked, nothing is dropped, nothing is queued.

use super::good_again;
use crate::bench::Time;
use crate::report::Rule;
use crate::stand::{Stand, Verdict, broken};

/// Periods for which nobody takes a sweep.
const HELD: u32 = 30;
/// Requests under way when the channel filled up: the last that had room, and a retry of it.
const UNDER_WAY: u64 = 2;

pub(super) async fn full(stand: &mut Stand) -> Verdict {
    stand.drive(stand.facts.devices.len());
    good_again(stand, Rule::SilenceIsAReading, "after the start").await?;
    let period = stand.facts.period;
    // Nothing is received: the channel with one place for each device is full after the next sweep.
    tokio::time::sleep(period * 3).await;
    let (asked, missed) = (stand.asked(), stand.missed());
    tokio::time::sleep(period * HELD).await;
    let more = stand.asked() - asked;
    if more > UNDER_WAY {
        let saw = format!("{more} requests although nobody took their answers");
        return broken(Rule::NoAnswerDropped, saw);
    }
    if stand.facts.unasked {
        good_again(stand, Rule::NoAnswerDropped, "sweeps are taken again").await?;
        return stand.stop("idle").await;
    }
    // What was due meanwhile was missed, not queued: it does not come now.
    let (began, mut burst) = (stand.running(), 0);
    while stand.sweep_within(stand.facts.patience).await?.is_some() {
        burst += 1;
        if stand.running() - began >= period * 3 {
            break;
        }
    }
    let devices = u32::try_from(stand.facts.devices.len()).unwrap_or(u32::MAX);
    let periods = (stand.running() - began).as_nanos() / period.as_nanos();
    let due = u32::try_from(periods).unwrap_or(u32::MAX).saturating_add(4) * devices;
    if burst > due {
        let saw = format!(
            "{burst} sweeps in {periods} periods after the channel had been full: polls were queued"
        );
        return broken(Rule::NoAnswerDropped, saw);
    }
    good_again(stand, Rule::NoAnswerDropped, "sweeps are taken again").await?;
    let missed = stand.missed() - missed;
    if missed < u64::from((HELD - 5) * devices) {
        let saw =
            format!("{HELD} periods passed without a poll and {missed} are counted as missed");
        return broken(Rule::NoAnswerDropped, saw);
    }
    stand.stop("idle").await?;
    // Cut off by the stop: one; in real time one more where a slow machine made an answer late.
    let cut = if stand.facts.time == Time::Paused {
        1
    } else {
        2
    };
    let good = stand.good_sweeps;
    if let Some(answered) = stand.seen().answered
        && good + cut < answered
    {
        let saw = format!("the device gave {answered} answers and {good} were handed over");
        return broken(Rule::NoAnswerDropped, saw);
    }
    Ok(())
}

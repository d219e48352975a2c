//! Memory does not grow with the number of polls, good ones or failed ones.

use super::up;
use crate::bench::{Mood, Time};
use crate::counting::alive;
use crate::report::Rule;
use crate::stand::{End, Stand, Verdict, broken};

/// Cycles of well, silent, well that are measured, after [`WARM`] that are not.
const CYCLES: u32 = 3;
const WARM: u32 = 2;
/// Bytes a sweep that would be kept costs at least; below it is what buffers and counters do.
const KEPT_PER_SWEEP: i64 = 16;
/// Growth that proves nothing: a buffer that doubled once.
const SLACK: i64 = 4096;

pub(super) async fn many_cycles(stand: &mut Stand) -> Verdict {
    if alive().is_none() {
        let why = "nobody counts: install protocols_conformance::Counting as the global allocator";
        return Err(End::NotRun(why.to_owned()));
    }
    up(stand).await?;
    let silent = stand.mood(Mood::Silent).await.is_ok();
    stand.mood(Mood::Well).await?;
    let polls = match stand.facts.time {
        Time::Paused => 500,
        Time::Real => 60,
    };
    let mut first = None;
    for cycle in 0..WARM + CYCLES {
        let (least, sweeps) = quiet(stand, polls).await?;
        if cycle == WARM {
            first = Some((least, stand.tally.total));
        }
        if cycle == WARM + CYCLES - 1
            && let Some((before, readings)) = first
        {
            let more = i64::try_from(stand.tally.total - readings).unwrap_or(i64::MAX);
            let readings_per_sweep = i64::try_from(stand.first_points().len())
                .unwrap_or(1)
                .max(1);
            let allowed = SLACK + more / readings_per_sweep * KEPT_PER_SWEEP;
            let grew = least - before;
            if grew > allowed {
                let saw = format!(
                    "{grew} bytes more are kept after {more} more readings ({sweeps} sweeps in the last round)"
                );
                return broken(Rule::Bounded, saw);
            }
        }
        if silent {
            stand.mood(Mood::Silent).await?;
            stand.during(stand.facts.period * (polls / 4)).await?;
            stand.mood(Mood::Well).await?;
            let points = stand.points();
            if !stand.until_good(&points).await? {
                return broken(
                    Rule::SilenceIsAReading,
                    "the device is well again and is not read",
                );
            }
        }
    }
    stand.stop("after many cycles").await
}

/// The fewest bytes alive after any of the next sweeps: between two polls buffers are given back.
async fn quiet(stand: &mut Stand, polls: u32) -> Verdict<(i64, u32)> {
    let mut least = i64::MAX;
    let mut sweeps = 0;
    while sweeps < polls {
        let patience = stand.facts.patience;
        if stand.sweep_within(patience).await?.is_none() {
            return broken(Rule::SilenceIsAReading, "no reading came any more");
        }
        least = least.min(alive().unwrap_or_default());
        sweeps += 1;
    }
    Ok((least, sweeps))
}

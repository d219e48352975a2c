//! What readings say while a device fails, and that it is read again when it is well again.

use super::{good_again, reading, up};
use crate::bench::{Mood, Time};
use crate::report::Rule;
use crate::stand::{End, ROOM, Stand, Verdict, broken};
use protocols_driver::LinkState;

/// Well, then this mood, then well again.
pub(super) async fn mood(stand: &mut Stand, mood: Mood) -> Verdict {
    up(stand).await?;
    stand.mood(mood).await?;
    bad_in_time(stand, mood).await?;
    if matches!(mood, Mood::Silent | Mood::Gone) {
        down_in_time(stand, mood).await?;
        reading::pace(stand, Rule::SilenceIsAReading).await?;
    }
    stand.mood(Mood::Well).await?;
    good_again(stand, Rule::ReturnsWhenTold, "the device is well again").await?;
    stand.stop("well again").await
}

/// Each point of the device says in time that it cannot be read.
async fn bad_in_time(stand: &mut Stand, mood: Mood) -> Verdict {
    let (points, patience) = (stand.first_points(), stand.facts.patience);
    if stand.until_bad(&points).await? {
        return Ok(());
    }
    broken(
        Rule::SilenceIsAReading,
        format!("a device that is {mood:?} gave no bad reading of each point within {patience:?}"),
    )
}

/// The state of the link follows.
async fn down_in_time(stand: &mut Stand, mood: Mood) -> Verdict {
    let (status, patience) = (stand.status.clone(), stand.facts.patience);
    let first = stand.facts.devices.first().map(|d| d.device.clone());
    let down = move |_: &Stand, _: &_| {
        let links = status.as_ref().map(|s| s.links()).unwrap_or_default();
        let link = links.iter().find(|l| Some(&l.device) == first.as_ref());
        link.is_some_and(|l| matches!(l.state, LinkState::Down(_)))
    };
    if stand.until(patience, down).await? {
        return Ok(());
    }
    let saw = format!("a device that is {mood:?} is not published as down within {patience:?}");
    broken(Rule::Bounded, saw)
}

/// Each answer comes after its time-out: none of them is the answer to a later question.
pub(super) async fn late(stand: &mut Stand) -> Verdict {
    if stand.facts.time == Time::Real {
        return Err(End::LeftOut(
            "in real time nothing is late for sure".to_owned(),
        ));
    }
    up(stand).await?;
    // Between two polls, so that no good answer is on its way.
    stand.during(stand.facts.period / 2).await?;
    stand.mood(Mood::Late).await?;
    // Judged as it comes: the bench knows which request a value answers.
    let span = (stand.facts.silence * 20).max(stand.facts.period * 10);
    stand.during(span).await?;
    stand.mood(Mood::Well).await?;
    good_again(stand, Rule::ReturnsWhenTold, "answers are in time again").await?;
    stand.stop("well again").await
}

/// The device comes after the driver.
pub(super) async fn absent(stand: &mut Stand) -> Verdict {
    stand.mood(Mood::Gone).await?;
    stand.drive(ROOM);
    bad_in_time(stand, Mood::Gone).await?;
    stand.mood(Mood::Well).await?;
    good_again(
        stand,
        Rule::ReturnsWhenTold,
        "the device was switched on after the driver",
    )
    .await?;
    stand.stop("idle").await
}

//! Told to stop in every state a driver can be in, and what the next driver finds.

use super::{good_again, reading, up};
use crate::bench::Mood;
use crate::report::Rule;
use crate::stand::{ROOM, Stand, Verdict};

/// Between two polls.
pub(super) async fn idle(stand: &mut Stand) -> Verdict {
    up(stand).await?;
    stand.stop("idle").await?;
    free_again(stand).await
}

/// While a device is in this mood: a question under way, half an answer, a link that is away.
pub(super) async fn in_mood(stand: &mut Stand, mood: Mood) -> Verdict {
    up(stand).await?;
    stand.mood(mood).await?;
    let (before, period) = (stand.asked(), stand.facts.period);
    if mood == Mood::Gone || stand.facts.unasked {
        stand.during(period * 3).await?;
    } else {
        // As soon as the device was asked; looked at often, since a time-out may be short.
        for _ in 0..1000 {
            if stand.asked() > before {
                break;
            }
            stand.during(period / 50).await?;
        }
    }
    stand.stop(&format!("the device is {mood:?}")).await?;
    stand.mood(Mood::Well).await?;
    free_again(stand).await
}

/// Before there ever was a link.
pub(super) async fn opening(stand: &mut Stand) -> Verdict {
    stand.mood(Mood::Gone).await?;
    for wait in [0, 1, 4] {
        stand.drive(ROOM);
        stand.during(stand.facts.period * wait).await?;
        stand.stop("opening").await?;
    }
    stand.mood(Mood::Well).await?;
    free_again(stand).await
}

/// While it waits for room.
pub(super) async fn full(stand: &mut Stand) -> Verdict {
    fill(stand).await?;
    stand.stop("the channel is full").await?;
    free_again(stand).await
}

async fn fill(stand: &mut Stand) -> Verdict {
    stand.drive(stand.facts.devices.len());
    good_again(stand, Rule::SilenceIsAReading, "after the start").await?;
    tokio::time::sleep(stand.facts.period * 4).await;
    Ok(())
}

/// Nobody takes sweeps any more.
pub(super) async fn receiver_gone(stand: &mut Stand) -> Verdict {
    up(stand).await?;
    stand.drop_receiver();
    // It may notice with its next sweep only, and then returns.
    tokio::time::sleep(stand.facts.period * 2).await;
    stand.returned("the receiver is gone").await
}

/// The same while it waits for room.
pub(super) async fn receiver_gone_full(stand: &mut Stand) -> Verdict {
    fill(stand).await?;
    stand.drop_receiver();
    stand
        .returned("the receiver is gone, and the channel was full")
        .await
}

/// Its task is dropped wherever it is, several times; the next one goes on.
pub(super) async fn dropped(stand: &mut Stand) -> Verdict {
    up(stand).await?;
    for parts in [1, 2, 3] {
        stand.abort().await;
        stand.drive(ROOM);
        good_again(stand, Rule::OneTask, "the driver before was dropped").await?;
        stand.during(stand.facts.period * parts / 3).await?;
    }
    stand.abort().await;
    reading::silent_after_return(stand).await
}

/// The next driver finds the bus free.
async fn free_again(stand: &mut Stand) -> Verdict {
    stand.drive(ROOM);
    good_again(
        stand,
        Rule::OneTask,
        "a new driver after the one that returned",
    )
    .await?;
    stand.stop("idle").await
}

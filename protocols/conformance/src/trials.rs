//! All trials by name. A trial starts with a fresh bench, its device well, and no driver.

mod memory;
mod moods;
mod orders;
mod reading;
mod room;
mod stop;

use crate::bench::Mood;
use crate::report::Rule;
use crate::stand::{ROOM, Stand, Verdict, broken};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

/// One trial.
pub(crate) struct Trial {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a mut Stand) -> LocalBoxFuture<'a, Verdict>,
}

macro_rules! trials {
    ($($name:literal => $run:expr,)+) => {
        /// In the order of their names in reports; they do not depend on each other.
        pub(crate) const TRIALS: &[Trial] = &[$(Trial {
            name: $name,
            run: |stand| $run(stand).boxed_local(),
        },)+];
    };
}

trials! {
    "a device that is well" => reading::well,
    "steps of the wall clock" => reading::wall_steps,
    "a silent device beside others" => reading::neighbours,
    "many cycles in bounded memory" => memory::many_cycles,
    "a silent device" => |s| moods::mood(s, Mood::Silent),
    "an answer that stops in the middle" => |s| moods::mood(s, Mood::Torn),
    "rubbish" => |s| moods::mood(s, Mood::Garbage),
    "refusals" => |s| moods::mood(s, Mood::Refusing),
    "late answers" => moods::late,
    "a device that goes away" => |s| moods::mood(s, Mood::Gone),
    "a device that is not there at the start" => moods::absent,
    "a full channel" => room::full,
    "stop while idle" => stop::idle,
    "stop in mid-transaction" => |s| stop::in_mood(s, Mood::Silent),
    "stop in a torn answer" => |s| stop::in_mood(s, Mood::Torn),
    "stop while the link is away" => |s| stop::in_mood(s, Mood::Gone),
    "stop while opening" => stop::opening,
    "stop while the channel is full" => stop::full,
    "the receiver goes while idle" => stop::receiver_gone,
    "the receiver goes while the channel is full" => stop::receiver_gone_full,
    "dropped and started again" => stop::dropped,
    "an order for no point" => orders::no_point,
    "orders one by one" => orders::one_by_one,
    "many orders at once" => orders::many,
    "expired orders" => orders::expired,
    "an order that nobody confirms" => orders::unconfirmed,
    "an order while the device is away" => orders::away,
    "an order while the channel is full" => orders::while_full,
    "an order that waits for the next driver" => orders::next_driver,
}

/// Starts a driver and waits until every point was read well.
async fn up(stand: &mut Stand) -> Verdict {
    stand.drive(ROOM);
    good_again(stand, Rule::SilenceIsAReading, "after the start").await
}

/// Each point has a good reading in time.
async fn good_again(stand: &mut Stand, rule: Rule, when: &str) -> Verdict {
    let points = stand.points();
    if stand.until_good(&points).await? {
        return Ok(());
    }
    let patience = stand.facts.patience;
    broken(
        rule,
        format!("{when}: not every point had a good reading within {patience:?}"),
    )
}

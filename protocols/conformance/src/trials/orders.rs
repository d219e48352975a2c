//! Orders: what the device was told, against what whoever ordered was told.

use super::{ROOM, good_again, up};
use crate::bench::{Mood, Time};
use crate::report::Rule;
use crate::stand::{End, Stand, Verdict, broken};
use protocols_driver::{OrderDesk, WriteError, Written};
use protocols_model::{Clock as _, Instant, PointKey, Value};
use std::time::Duration;

type Outcome = Result<Written, WriteError>;

const ORDERS: u32 = 10;

/// Where to write the `number`-th value, or the trial is left out.
fn target(stand: &Stand, number: u32) -> Verdict<(PointKey, Value)> {
    let target = stand.bench.write(number);
    target.ok_or_else(|| End::LeftOut("nothing of this bus can be written".to_owned()))
}

/// An order on its way; sweeps are taken meanwhile.
struct Placed {
    value: Value,
    outcome: tokio::task::JoinHandle<Outcome>,
}

fn place(desk: &OrderDesk, (point, value): (PointKey, Value), begin_before: Instant) -> Placed {
    let (desk, ordered) = (desk.clone(), value.clone());
    Placed {
        value,
        outcome: tokio::spawn(async move { desk.place(point, ordered, begin_before).await }),
    }
}

/// A moment that no trial reaches.
const ANY_TIME: Instant = Instant(Duration::MAX);

impl Placed {
    /// The outcome, which is due; with `taking`, sweeps are received while it is waited for.
    async fn outcome(mut self, stand: &mut Stand, taking: bool) -> Verdict<(Value, Outcome)> {
        let patience = stand.facts.patience;
        let (time, began) = (stand.facts.time, stand.running());
        loop {
            let slice = (patience / 20).min(Duration::from_millis(100));
            if let Ok(outcome) = tokio::time::timeout(slice, &mut self.outcome).await {
                let outcome = outcome.unwrap_or(Err(WriteError::Unknown));
                return Ok((self.value, outcome));
            }
            if taking {
                while stand.sweep_now()?.is_some() {}
            }
            let factor = if time == Time::Paused { 1 } else { 4 };
            if stand.running() - began > patience * factor + Duration::from_secs(1) {
                let saw = format!("the order to write {:?} was not answered", self.value);
                return broken(Rule::OrdersOnce, saw);
            }
        }
    }
}

/// How often the device was told to write this value.
fn told(stand: &Stand, value: &Value) -> usize {
    stand.seen().written.iter().filter(|v| *v == value).count()
}

/// What was answered fits what the device saw.
fn agree(stand: &Stand, value: &Value, outcome: &Outcome) -> Verdict {
    let told = told(stand, value);
    let fits = match outcome {
        Ok(_) | Err(WriteError::NotVerified(_)) => told == 1,
        Err(WriteError::Unknown | WriteError::Refused(_)) => told <= 1,
        Err(_) => told == 0,
    };
    if fits {
        return Ok(());
    }
    let saw = format!("{value:?} was sent {told} times and the order was answered {outcome:?}");
    broken(Rule::OrdersOnce, saw)
}

fn confirmed(value: &Value, outcome: &Outcome) -> Verdict {
    if outcome.is_ok() {
        return Ok(());
    }
    let saw = format!("the device is well and writing {value:?} ended with {outcome:?}");
    broken(Rule::OrdersOnce, saw)
}

/// Also a driver that cannot write answers.
pub(super) async fn no_point(stand: &mut Stand) -> Verdict {
    up(stand).await?;
    let nowhere = (PointKey(u32::MAX), Value::U64(1));
    let placed = place(&stand.desk, nowhere, ANY_TIME);
    let (_, outcome) = placed.outcome(stand, true).await?;
    if !matches!(
        outcome,
        Err(WriteError::UnknownPoint | WriteError::ReadOnly)
    ) {
        let saw = format!("an order for a point that nobody has was answered {outcome:?}");
        return broken(Rule::OrdersOnce, saw);
    }
    good_again(stand, Rule::SilenceIsAReading, "after an order").await?;
    stand.stop("idle").await
}

/// Each at once, once, before the next poll.
pub(super) async fn one_by_one(stand: &mut Stand) -> Verdict {
    target(stand, 0)?;
    up(stand).await?;
    for number in 0..ORDERS {
        good_again(stand, Rule::SilenceIsAReading, "between orders").await?;
        // Between two polls, at another moment each time.
        stand
            .during(stand.facts.period * (number % 4 + 1) / 6)
            .await?;
        let order = target(stand, number)?;
        let asked = stand.asked();
        let placed = place(&stand.desk, order, ANY_TIME);
        let (value, outcome) = placed.outcome(stand, true).await?;
        confirmed(&value, &outcome)?;
        agree(stand, &value, &outcome)?;
        // In real time a poll may have begun in this very moment.
        let under_way = u64::from(stand.facts.time == Time::Real) * 2;
        let between = stand.asked() - asked;
        if stand.facts.time == Time::Paused && between > under_way {
            let saw = format!("{between} polls went ahead of an order");
            return broken(Rule::OrdersOnce, saw);
        }
    }
    stand.stop("idle").await
}

/// As many as come, in their order, none twice, none lost.
pub(super) async fn many(stand: &mut Stand) -> Verdict {
    target(stand, 0)?;
    up(stand).await?;
    let mut placed = Vec::new();
    for number in 0..ORDERS {
        placed.push(place(&stand.desk, target(stand, number)?, ANY_TIME));
        // Each takes its place in the queue before the next.
        tokio::task::yield_now().await;
    }
    let mut ordered = Vec::new();
    for order in placed {
        let (value, outcome) = order.outcome(stand, true).await?;
        confirmed(&value, &outcome)?;
        agree(stand, &value, &outcome)?;
        ordered.push(value);
    }
    let written = stand.seen().written;
    if written != ordered {
        let saw = format!("ordered were {ordered:?}, written {written:?}");
        return broken(Rule::OrdersOnce, saw);
    }
    stand.stop("idle").await
}

/// What could not begin in time is not begun.
pub(super) async fn expired(stand: &mut Stand) -> Verdict {
    target(stand, 0)?;
    up(stand).await?;
    for number in 0..3 {
        // The time is past already when the driver gets to see it.
        let past = Instant(
            stand
                .clock
                .monotonic()
                .0
                .saturating_sub(Duration::from_millis(1)),
        );
        let placed = place(&stand.desk, target(stand, number)?, past);
        let (value, outcome) = placed.outcome(stand, true).await?;
        if told(stand, &value) > 0 || outcome != Err(WriteError::Expired) {
            let saw = format!(
                "an expired order was sent {} times and answered {outcome:?}",
                told(stand, &value)
            );
            return broken(Rule::OrdersOnce, saw);
        }
    }
    good_again(stand, Rule::SilenceIsAReading, "after expired orders").await?;
    stand.stop("idle").await
}

/// Sent and not confirmed: unknown, and never sent again.
pub(super) async fn unconfirmed(stand: &mut Stand) -> Verdict {
    target(stand, 0)?;
    up(stand).await?;
    stand.mood(Mood::Silent).await?;
    let placed = place(&stand.desk, target(stand, 1)?, ANY_TIME);
    let (value, outcome) = placed.outcome(stand, true).await?;
    agree(stand, &value, &outcome)?;
    if outcome.is_ok() {
        return broken(
            Rule::OrdersOnce,
            "an order that nobody confirmed is said to be written",
        );
    }
    if told(stand, &value) == 1 && outcome != Err(WriteError::Unknown) {
        let saw = format!("it was sent and not confirmed, and answered {outcome:?}");
        return broken(Rule::OrdersOnce, saw);
    }
    stand.mood(Mood::Well).await?;
    good_again(stand, Rule::ReturnsWhenTold, "the device is well again").await?;
    stand.during(stand.facts.period * 10).await?;
    agree(stand, &value, &outcome)?;
    let placed = place(&stand.desk, target(stand, 2)?, ANY_TIME);
    let (value, outcome) = placed.outcome(stand, true).await?;
    confirmed(&value, &outcome)?;
    agree(stand, &value, &outcome)?;
    stand.stop("idle").await
}

/// Answered in time also when nobody is there.
pub(super) async fn away(stand: &mut Stand) -> Verdict {
    target(stand, 0)?;
    up(stand).await?;
    stand.mood(Mood::Gone).await?;
    let points = stand.first_points();
    if !stand.until_bad(&points).await? {
        return broken(
            Rule::SilenceIsAReading,
            "a device that is gone gives no bad reading",
        );
    }
    let soon = stand.clock.monotonic().plus(stand.facts.patience / 4);
    let placed = place(&stand.desk, target(stand, 1)?, soon);
    let (value, outcome) = placed.outcome(stand, true).await?;
    if outcome.is_ok() {
        return broken(
            Rule::OrdersOnce,
            "an order is said to be written to a device that is gone",
        );
    }
    agree(stand, &value, &outcome)?;
    stand.mood(Mood::Well).await?;
    good_again(stand, Rule::ReturnsWhenTold, "the device is there again").await?;
    stand.during(stand.facts.period * 5).await?;
    agree(stand, &value, &outcome)?;
    stand.stop("idle").await
}

/// A pipeline that stands still holds up polls, not orders.
pub(super) async fn while_full(stand: &mut Stand) -> Verdict {
    target(stand, 0)?;
    stand.drive(stand.facts.devices.len());
    good_again(stand, Rule::SilenceIsAReading, "after the start").await?;
    tokio::time::sleep(stand.facts.period * 4).await;
    for number in 0..3 {
        let placed = place(&stand.desk, target(stand, number)?, ANY_TIME);
        let (value, outcome) = placed.outcome(stand, false).await?;
        confirmed(&value, &outcome)?;
        agree(stand, &value, &outcome)?;
    }
    good_again(stand, Rule::NoAnswerDropped, "sweeps are taken again").await?;
    stand.stop("idle").await
}

/// What waits in the queue survives the driver.
pub(super) async fn next_driver(stand: &mut Stand) -> Verdict {
    target(stand, 0)?;
    up(stand).await?;
    stand.stop("idle").await?;
    let placed = place(&stand.desk, target(stand, 1)?, ANY_TIME);
    tokio::task::yield_now().await;
    stand.drive(ROOM);
    let (value, outcome) = placed.outcome(stand, true).await?;
    // A driver may answer before its link is up; what counts is that it does, and what it then did.
    agree(stand, &value, &outcome)?;
    good_again(stand, Rule::SilenceIsAReading, "after the order").await?;
    agree(stand, &value, &outcome)?;
    stand.stop("idle").await
}

//! One driver on one bench: started, watched, stopped. Every sweep is judged as it comes.
//!
//! A trial ends at the first rule that is broken: what follows would be its consequences.

use crate::bench::{Bench, Facts, Mood, Seen, Time};
use crate::clock::BenchClock;
use crate::meter::{Meter, Metered};
use crate::pulse;
use crate::report::Rule;
use protocols_driver::{
    BusStatus, CancellationToken, DriverContext, OrderDesk, Orders, STOP_BOUND, Sweep, order_queue,
};
use protocols_model::{Clock as _, Instant, PointKey, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

/// Room for sweeps in trials that are not about room.
pub(crate) const ROOM: usize = 64;

/// Why a trial ended before it was through.
#[derive(Debug)]
pub(crate) enum End {
    /// A rule is broken.
    Broken(Rule, String),
    /// The bench has no such device.
    LeftOut(String),
    /// It cannot be judged here.
    NotRun(String),
}

pub(crate) type Verdict<T = ()> = Result<T, End>;

/// Ends the trial with a broken rule.
pub(crate) fn broken<T>(rule: Rule, saw: impl Into<String>) -> Verdict<T> {
    Err(End::Broken(rule, saw.into()))
}

/// The driver that runs.
struct Run {
    name: String,
    sweeps: Option<mpsc::Receiver<Sweep>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// When it was started, monotonic.
    began: Instant,
}

/// What was handed over, since the bench was made or the count was begun anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Readings per point.
    pub(crate) readings: BTreeMap<PointKey, u64>,
    /// All readings.
    pub(crate) total: u64,
}

pub(crate) struct Stand {
    pub(crate) bench: Box<dyn Bench>,
    pub(crate) facts: Facts,
    pub(crate) clock: Arc<BenchClock>,
    pub(crate) desk: OrderDesk,
    orders: Orders,
    pub(crate) status: Option<Arc<BusStatus>>,
    /// Of the driver that runs.
    pub(crate) tally: Tally,
    /// Sweeps with a good reading, of all drivers so far.
    pub(crate) good_sweeps: u64,
    /// Wall times allowed now: the clock may have been stepped.
    pub(crate) walls: Vec<(Timestamp, Duration)>,
    run: Option<Run>,
    meter: Arc<Meter>,
}

impl Stand {
    /// The bench with its device running, without a driver.
    pub(crate) async fn start(mut bench: Box<dyn Bench>, meter: Arc<Meter>) -> Self {
        bench.start().await;
        let (desk, orders) = order_queue();
        Self {
            facts: bench.facts(),
            bench,
            clock: Arc::new(BenchClock::start()),
            desk,
            orders,
            status: None,
            tally: Tally::default(),
            good_sweeps: 0,
            walls: vec![(crate::clock::WALL_START, Duration::ZERO)],
            run: None,
            meter,
        }
    }

    /// Starts a driver with room for so many sweeps.
    pub(crate) fn drive(&mut self, room: usize) {
        let driver = self.bench.driver();
        let (sweeps, receiver) = mpsc::channel(room);
        let stop = CancellationToken::new();
        let ctx = DriverContext {
            sweeps,
            stop: stop.clone(),
            clock: Arc::clone(&self.clock) as _,
            orders: self.orders.clone(),
        };
        self.status = Some(driver.status());
        self.tally = Tally::default();
        let name = driver.name().to_owned();
        let paused = self.facts.time == Time::Paused;
        let running = Metered::new(driver.run(ctx), Arc::clone(&self.meter), paused);
        self.run = Some(Run {
            name,
            sweeps: Some(receiver),
            stop,
            task: tokio::spawn(running),
            began: self.clock.monotonic(),
        });
    }

    /// Sets the mood, or leaves the trial out.
    pub(crate) async fn mood(&mut self, mood: Mood) -> Verdict {
        if self.bench.set(mood).await {
            return Ok(());
        }
        Err(End::LeftOut(format!("the device has no mood {mood:?}")))
    }

    pub(crate) fn seen(&self) -> Seen {
        self.bench.seen()
    }

    /// Requests to read that all devices saw.
    pub(crate) fn asked(&self) -> u64 {
        self.seen().asked.iter().sum()
    }

    /// All points of the bus.
    pub(crate) fn points(&self) -> BTreeSet<PointKey> {
        let devices = self.facts.devices.iter();
        devices.flat_map(|d| d.points.iter().copied()).collect()
    }

    /// The points of the device whose moods change.
    pub(crate) fn first_points(&self) -> BTreeSet<PointKey> {
        let first = self.facts.devices.first();
        first
            .map(|d| d.points.iter().copied().collect())
            .unwrap_or_default()
    }

    pub(crate) fn missed(&self) -> u64 {
        let missed = |s: &Arc<BusStatus>| s.counters.missed_polls.get();
        self.status.as_ref().map_or(0, missed)
    }

    /// How long the driver has been running.
    pub(crate) fn running(&self) -> Duration {
        let now = self.clock.monotonic();
        self.run
            .as_ref()
            .map_or(Duration::ZERO, |run| now.since(run.began))
    }

    /// Waits for `work`, on a paused clock exactly `span`; in real time more than twice that, in ticks
    /// of the control thread.
    pub(crate) async fn within<T>(
        time: Time,
        span: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        if time == Time::Paused {
            return tokio::time::timeout(span, work).await.ok();
        }
        let mut work = std::pin::pin!(work);
        let limit = pulse::ticks_of(span * 2 + Duration::from_secs(3));
        let began = pulse::ticks();
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            if pulse::ticks() - began > limit {
                return None;
            }
        }
    }

    /// The next sweep, judged; `None` when none comes within `span`.
    pub(crate) async fn sweep_within(&mut self, span: Duration) -> Verdict<Option<Sweep>> {
        let Some(sweeps) = self.run.as_mut().and_then(|run| run.sweeps.as_mut()) else {
            return Ok(None);
        };
        let received = Self::within(self.facts.time, span, sweeps.recv()).await;
        match received {
            None => Ok(None),
            Some(Some(sweep)) => {
                self.judge(&sweep)?;
                Ok(Some(sweep))
            }
            Some(None) => self.ended_by_itself().await,
        }
    }

    /// A sweep that is there already, judged.
    pub(crate) fn sweep_now(&mut self) -> Verdict<Option<Sweep>> {
        let sweeps = self.run.as_mut().and_then(|run| run.sweeps.as_mut());
        let Some(sweep) = sweeps.and_then(|sweeps| sweeps.try_recv().ok()) else {
            return Ok(None);
        };
        self.judge(&sweep)?;
        Ok(Some(sweep))
    }

    async fn ended_by_itself(&mut self) -> Verdict<Option<Sweep>> {
        let Some(run) = self.run.take() else {
            return Ok(None);
        };
        match run.task.await {
            Err(error) if error.is_panic() => broken(Rule::NeverBlocks, panicked(error)),
            // It gave its sender away and lives on: nothing more can come from it.
            _ => broken(
                Rule::ReturnsWhenTold,
                "it returned although nobody told it to",
            ),
        }
    }

    /// Sweeps until `done` says so, within `span`; whether it did.
    pub(crate) async fn until(
        &mut self,
        span: Duration,
        mut done: impl FnMut(&Self, &Sweep) -> bool,
    ) -> Verdict<bool> {
        let (paused, began) = (self.facts.time == Time::Paused, self.clock.monotonic());
        let ticks = pulse::ticks();
        loop {
            let left = if paused {
                span.saturating_sub(self.clock.monotonic().since(began))
            } else {
                let gone = pulse::TICK * u32::try_from(pulse::ticks() - ticks).unwrap_or(u32::MAX);
                span.saturating_sub(gone / 3)
            };
            let Some(sweep) = self.sweep_within(left).await? else {
                return Ok(false);
            };
            if done(self, &sweep) {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Waits until each of `points` had a good reading from now on.
    pub(crate) async fn until_good(&mut self, points: &BTreeSet<PointKey>) -> Verdict<bool> {
        self.until_each(points, true).await
    }

    /// Waits until each of `points` had a bad reading from now on.
    pub(crate) async fn until_bad(&mut self, points: &BTreeSet<PointKey>) -> Verdict<bool> {
        self.until_each(points, false).await
    }

    async fn until_each(&mut self, points: &BTreeSet<PointKey>, good: bool) -> Verdict<bool> {
        let mut left = points.clone();
        let (patience, since) = (self.facts.patience, self.clock.monotonic());
        self.until(patience, |_, sweep| {
            for reading in &sweep.readings {
                // What was taken before belongs to the time before.
                if reading.quality.is_bad() != good && sweep.taken >= since {
                    left.remove(&reading.point);
                }
            }
            left.is_empty()
        })
        .await
    }

    /// Takes what comes for `span` of time.
    pub(crate) async fn during(&mut self, span: Duration) -> Verdict<Vec<Sweep>> {
        let end = tokio::time::Instant::now() + span;
        let mut all = Vec::new();
        loop {
            let Some(sweeps) = self.run.as_mut().and_then(|run| run.sweeps.as_mut()) else {
                tokio::time::sleep_until(end).await;
                return Ok(all);
            };
            match tokio::time::timeout_at(end, sweeps.recv()).await {
                Err(_) => return Ok(all),
                Ok(Some(sweep)) => {
                    self.judge(&sweep)?;
                    all.push(sweep);
                }
                Ok(None) => {
                    self.ended_by_itself().await?;
                }
            }
        }
    }

    /// Nobody takes sweeps any more.
    pub(crate) fn drop_receiver(&mut self) {
        if let Some(run) = &mut self.run {
            run.sweeps = None;
        }
    }

    /// Tells the driver to stop.
    pub(crate) fn tell_to_stop(&self) {
        if let Some(run) = &self.run {
            run.stop.cancel();
        }
    }

    /// Waits until the driver has returned, which is due; then takes what it left in the channel.
    pub(crate) async fn returned(&mut self, state: &str) -> Verdict {
        let Some(mut run) = self.run.take() else {
            return Ok(());
        };
        let ended = Self::within(self.facts.time, STOP_BOUND, &mut run.task).await;
        match ended {
            None => {
                run.task.abort();
                let saw =
                    format!("{state}: it had not returned {STOP_BOUND:?} after it was told to");
                return broken(Rule::ReturnsWhenTold, saw);
            }
            Some(Err(error)) if error.is_panic() => {
                return broken(Rule::NeverBlocks, panicked(error));
            }
            Some(_) => {}
        }
        let Some(mut sweeps) = run.sweeps else {
            return Ok(());
        };
        while let Ok(sweep) = sweeps.try_recv() {
            self.judge_of(&run.name, &sweep)?;
        }
        Ok(())
    }

    /// Stops the driver, which must return in time.
    pub(crate) async fn stop(&mut self, state: &str) -> Verdict {
        self.tell_to_stop();
        self.returned(state).await
    }

    /// Drops the driver where it is, as an aborted task.
    pub(crate) async fn abort(&mut self) {
        if let Some(run) = self.run.take() {
            run.task.abort();
            drop(run.task.await);
        }
    }

    /// The end of the trial, however it went.
    pub(crate) async fn end(mut self) {
        self.abort().await;
    }

    fn judge(&mut self, sweep: &Sweep) -> Verdict {
        let name = self.run.as_ref().map(|run| run.name.clone());
        self.judge_of(&name.unwrap_or_default(), sweep)
    }

    fn judge_of(&mut self, name: &str, sweep: &Sweep) -> Verdict {
        let known = self.facts.devices.iter().find(|d| d.device == sweep.device);
        let Some(device) = known else {
            let saw = format!(
                "a sweep of device {}, which the bus does not have",
                sweep.device
            );
            return broken(Rule::NothingGuessed, saw);
        };
        if *sweep.bus != *name || self.status.as_ref().is_some_and(|s| **s.bus() != *name) {
            let saw = format!("the bus is called {name} and the sweep's {}", sweep.bus);
            return broken(Rule::Bounded, saw);
        }
        if sweep.readings.is_empty() {
            return broken(Rule::SilenceIsAReading, "a sweep without readings");
        }
        let mut points = BTreeSet::new();
        for reading in &sweep.readings {
            if !device.points.contains(&reading.point) {
                let saw = format!(
                    "a reading of {:?}, which the device does not have",
                    reading.point
                );
                return broken(Rule::NothingGuessed, saw);
            }
            if !points.insert(reading.point) {
                let saw = format!("two readings of {:?} in one sweep", reading.point);
                return broken(Rule::SilenceIsAReading, saw);
            }
            if reading.value.is_none() != reading.quality.is_bad() {
                let saw = format!("quality and value do not go together: {reading:?}");
                return broken(Rule::NothingGuessed, saw);
            }
            if reading.value.is_some() && !self.bench.is_true(reading) {
                return broken(
                    Rule::NothingGuessed,
                    format!("the device never said {reading:?}"),
                );
            }
        }
        self.judge_times(sweep)?;
        for point in points {
            *self.tally.readings.entry(point).or_default() += 1;
            self.tally.total += 1;
        }
        if sweep.readings.iter().any(|r| !r.quality.is_bad()) {
            self.good_sweeps += 1;
            let answered = self.seen().answered;
            if let Some(answered) = answered
                && self.good_sweeps > answered
            {
                let saw = format!(
                    "{} sweeps with values although the device answered {answered} times: {sweep:?}",
                    self.good_sweeps
                );
                return broken(Rule::NothingGuessed, saw);
            }
        }
        Ok(())
    }

    fn judge_times(&self, sweep: &Sweep) -> Verdict {
        let stamps: BTreeSet<_> = sweep.readings.iter().map(|r| r.sampled).collect();
        let Some(&stamp) = stamps.first() else {
            return Ok(());
        };
        if stamps.len() > 1 {
            let saw = format!("{} timestamps in the readings of one request", stamps.len());
            return broken(Rule::OneTimestamp, saw);
        }
        let now = self.clock.monotonic();
        // The wall clock as it went since it was started, or since a step.
        let fits = |(wall, since): &(Timestamp, Duration)| {
            stamp >= *wall && stamp <= wall.plus(now.0.saturating_sub(*since))
        };
        if !self.walls.iter().any(fits) {
            let saw = format!("sampled at {stamp:?}, which the wall clock never showed");
            return broken(Rule::OneTimestamp, saw);
        }
        if sweep.taken > now {
            let saw = format!("taken at {:?}, and it is {now:?} only", sweep.taken);
            return broken(Rule::OneTimestamp, saw);
        }
        Ok(())
    }
}

fn panicked(error: JoinError) -> String {
    let what = error.try_into_panic().ok();
    let text = what.as_ref().and_then(|what| {
        let text = what.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| what.downcast_ref::<&str>().copied())
    });
    format!("it panicked: {}", text.unwrap_or("without a message"))
}

//! The smallest driver that keeps every rule, and with a [`Defect`] one that breaks one of them.
//!
//! Without a defect this is a driver to learn from; the places where a defect takes hold are marked by
//! its name.

use crate::echo_device::{PERIOD, TIMEOUT, UNITS, Wire, points, unit_name};
use protocols_driver::{
    BusStatus, CancellationToken, Driver, DriverContext, LinkState, Next, PROBE_SHARE, Stopped,
    Sweep, WriteError, WriteOrder, Written,
};
use protocols_model::{Clock as _, Instant, Reading, Reason, SystemClock, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

/// What is wrong with a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    None,
    LeavesTaskBehind,
    IgnoresStop,
    ReturnsOnLostLink,
    DropsWhenFull,
    QueuesMissedPolls,
    NoReadingOnFailure,
    StallsInMidTransaction,
    SkipsPolls,
    NoQuality,
    RepeatsLastValue,
    TakesLateAnswers,
    StampsEachPoint,
    OwnWallClock,
    SchedulesByWallClock,
    HammersDeadDevices,
    WritesTwice,
    NeverAnswersOrders,
    WritesExpiredOrders,
    RepeatsUnconfirmed,
    PollsAheadOfOrders,
    Leaks,
    KeepsLinksToItself,
    Miscounts,
    Blocks,
    BlocksElsewhere,
    Spins,
    Panics,
}

/// Failures in a row after which a unit counts as dead.
const FAILS: u32 = 2;

pub(crate) struct Echo {
    wire: Wire,
    status: Arc<BusStatus>,
    defect: Defect,
}

impl Echo {
    pub(crate) fn new(wire: Wire, defect: Defect) -> Self {
        let status = Arc::new(BusStatus::new("echo".into(), (0..UNITS).map(unit_name)));
        Self {
            wire,
            status,
            defect,
        }
    }
}

#[async_trait::async_trait]
impl Driver for Echo {
    fn name(&self) -> &str {
        self.status.bus()
    }

    fn status(&self) -> Arc<BusStatus> {
        Arc::clone(&self.status)
    }

    async fn run(self: Box<Self>, mut ctx: DriverContext) {
        let defect = self.defect;
        if defect == Defect::IgnoresStop {
            ctx.stop = CancellationToken::new();
        }
        let wire = self.wire.clone();
        let mut task = Task {
            driver: *self,
            next: Instant::default(),
            ctx: Arc::new(ctx),
            link: None,
            fails: [0; UNITS],
            probe_at: Instant::default(),
            last: [0; UNITS],
            kept: Vec::new(),
            orders: Vec::new(),
        };
        task.next = task.now();
        while task.turn().await.is_ok() {}
        if defect == Defect::LeavesTaskBehind {
            tokio::spawn(async move {
                tokio::time::sleep(PERIOD).await;
                while let Ok(mut link) = wire.dial().await {
                    drop(link.write_all(b"r 1\n").await);
                    tokio::time::sleep(PERIOD).await;
                }
            });
        }
    }
}

struct Task {
    driver: Echo,
    ctx: Arc<DriverContext>,
    /// When the next poll is due.
    next: Instant,
    link: Option<BufReader<DuplexStream>>,
    fails: [u32; UNITS],
    /// No dead unit is probed before.
    probe_at: Instant,
    last: [u64; UNITS],
    kept: Vec<Sweep>,
    orders: Vec<WriteOrder>,
}

impl Task {
    fn has(&self, defect: Defect) -> bool {
        self.driver.defect == defect
    }

    /// The clock of the schedule.
    fn now(&self) -> Instant {
        if self.has(Defect::SchedulesByWallClock) {
            let wall = u64::try_from(self.ctx.clock.wall().0).unwrap();
            return Instant(Duration::from_nanos(wall));
        }
        self.ctx.clock.monotonic()
    }

    /// Waits for a poll or an order and does it.
    async fn turn(&mut self) -> Result<(), Stopped> {
        let ctx = Arc::clone(&self.ctx);
        let pause = self.next.since(self.now());
        let orders = async {
            if self.has(Defect::PollsAheadOfOrders) {
                return std::future::pending().await;
            }
            ctx.orders.next().await
        };
        tokio::select! {
            biased;
            () = ctx.stop.cancelled() => return Err(Stopped),
            order = orders => {
                self.carry_out(order).await;
                return Ok(());
            }
            () = tokio::time::sleep(pause) => {}
        }
        if self.has(Defect::Spins) {
            while ctx.clock.monotonic() < self.next.plus(PERIOD / 2) {
                tokio::task::yield_now().await;
            }
        }
        if self.has(Defect::Blocks) {
            block(Duration::from_secs(1));
        }
        for unit in 0..UNITS {
            self.poll(unit).await?;
        }
        self.schedule();
        if self.has(Defect::PollsAheadOfOrders)
            && let Some(order) = ctx.orders.try_next()
        {
            self.carry_out(order).await;
        }
        Ok(())
    }

    /// The next poll lies on the grid of the period; what was passed over is counted as missed.
    fn schedule(&mut self) {
        self.next = self.next.plus(PERIOD);
        if self.has(Defect::SkipsPolls) {
            self.next = self.next.plus(PERIOD);
        }
        let now = self.now();
        while self.next <= now && !self.has(Defect::QueuesMissedPolls) {
            self.next = self.next.plus(PERIOD);
            self.driver.status.counters.missed_polls.add(UNITS as u64);
        }
    }

    /// Reads one unit: room first, question second.
    async fn poll(&mut self, unit: usize) -> Result<(), Stopped> {
        let ctx = Arc::clone(&self.ctx);
        let room = loop {
            if self.has(Defect::DropsWhenFull) {
                break ctx.try_room()?;
            }
            if self.has(Defect::PollsAheadOfOrders) {
                break Some(ctx.room().await?);
            }
            match ctx.turn().await? {
                Next::Order(order) => self.carry_out(order).await,
                Next::Room(room) => break Some(room),
            }
        };
        let answer = self.read(unit).await?;
        if answer == Err(Reason::LinkDown) && self.has(Defect::ReturnsOnLostLink) {
            return Err(Stopped);
        }
        if answer.is_err() && self.has(Defect::NoReadingOnFailure) {
            return Ok(());
        }
        let readings = self.readings(unit, answer);
        let sweep = Sweep {
            bus: Arc::clone(self.driver.status.bus()),
            device: unit_name(unit),
            taken: ctx.clock.monotonic(),
            readings,
        };
        if self.has(Defect::Leaks) {
            self.kept.push(sweep.clone());
        }
        if let Some(room) = room {
            if !self.has(Defect::Miscounts) {
                let count = sweep.readings.len() as u64;
                self.driver.status.counters.readings.add(count);
            }
            room.send(sweep);
        }
        Ok(())
    }

    fn readings(&mut self, unit: usize, answer: Result<u64, Reason>) -> Vec<Reading> {
        let at = if self.has(Defect::OwnWallClock) {
            SystemClock::start().wall()
        } else {
            self.ctx.clock.wall()
        };
        let mut readings: Vec<_> = points(unit)
            .into_iter()
            .map(|point| match answer {
                Ok(value) => Reading::good(point, at, Value::U64(value)),
                Err(_) if self.has(Defect::RepeatsLastValue) => {
                    Reading::good(point, at, Value::U64(self.last[unit]))
                }
                Err(reason) => Reading::bad(point, at, reason),
            })
            .collect();
        if self.has(Defect::StampsEachPoint) {
            readings[1].sampled = at.plus(Duration::from_nanos(1));
        }
        if self.has(Defect::NoQuality) {
            readings[0].quality = protocols_model::Quality::Good;
        }
        readings
    }

    /// What the unit says, or why it is not asked; keeps health and link state.
    async fn read(&mut self, unit: usize) -> Result<Result<u64, Reason>, Stopped> {
        let began = self.ctx.clock.monotonic();
        let dead = self.fails[unit] >= FAILS;
        if dead && began < self.probe_at && !self.has(Defect::HammersDeadDevices) {
            return Ok(Err(Reason::NotAsked));
        }
        let answer = self.ask(&format!("r {unit}\n"), true).await?;
        let answer = answer.and_then(|line| value_of(&line, self.has(Defect::Panics)));
        let (now, wall) = (self.ctx.clock.monotonic(), self.ctx.clock.wall());
        let state = match answer {
            Ok(value) => {
                self.last[unit] = value;
                self.fails[unit] = 0;
                LinkState::Up
            }
            // A refusal is an answer.
            Err(Reason::DeviceError) => {
                if self.has(Defect::BlocksElsewhere) {
                    tokio::spawn(async { block(Duration::from_secs(6)) });
                }
                LinkState::Up
            }
            Err(reason) => {
                self.fails[unit] += 1;
                if dead {
                    self.probe_at = now.plus(now.since(began) * PROBE_SHARE);
                }
                LinkState::Down(reason)
            }
        };
        if state == LinkState::Up || self.fails[unit] >= FAILS {
            let state = match state {
                LinkState::Down(_) if self.has(Defect::KeepsLinksToItself) => LinkState::Up,
                state => state,
            };
            self.driver.status.set_link(unit, state, wall);
        }
        Ok(answer)
    }

    /// One question. After any failure the connection is given up, and a late answer with it.
    async fn ask(&mut self, line: &str, read: bool) -> Result<Result<String, Reason>, Stopped> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => match self.driver.wire.dial().await {
                Ok(stream) => BufReader::new(stream),
                Err(_) => return Ok(Err(Reason::LinkDown)),
            },
        };
        let mut answer = String::new();
        let exchange = async {
            link.write_all(line.as_bytes()).await?;
            link.read_line(&mut answer).await
        };
        let got = if read && self.has(Defect::StallsInMidTransaction) {
            let until_stop = self.ctx.stop.run_until_cancelled(exchange);
            Ok(until_stop.await.ok_or(Stopped)?)
        } else {
            tokio::time::timeout(TIMEOUT, exchange).await
        };
        Ok(match got {
            Ok(Ok(1..)) if answer.ends_with('\n') => {
                self.link = Some(link);
                Ok(answer)
            }
            Err(_elapsed) => {
                if self.has(Defect::TakesLateAnswers) {
                    self.link = Some(link);
                }
                Err(Reason::Timeout)
            }
            Ok(_) => Err(Reason::LinkDown),
        })
    }

    /// One order: at most once on the wire, answered in any case.
    async fn carry_out(&mut self, order: WriteOrder) {
        if self.has(Defect::NeverAnswersOrders) {
            self.orders.push(order);
            return;
        }
        let outcome = self.outcome(&order).await;
        order.answer(outcome);
    }

    async fn outcome(&mut self, order: &WriteOrder) -> Result<Written, WriteError> {
        if order.point != points(0)[0] {
            return Err(WriteError::UnknownPoint);
        }
        let Value::U64(value) = order.value else {
            return Err(WriteError::BadValue("a whole number is needed".to_owned()));
        };
        let now = self.ctx.clock.monotonic();
        if now >= order.begin_before && !self.has(Defect::WritesExpiredOrders) {
            return Err(WriteError::Expired);
        }
        if self.link.is_none() {
            self.link = self.driver.wire.dial().await.ok().map(BufReader::new);
        }
        if self.link.is_none() {
            return Err(WriteError::Unreachable);
        }
        let line = format!("w {value}\n");
        let mut answer = self.ask(&line, false).await;
        let unconfirmed = !matches!(answer, Ok(Ok(_)));
        if self.has(Defect::WritesTwice) || (unconfirmed && self.has(Defect::RepeatsUnconfirmed)) {
            answer = self.ask(&line, false).await;
        }
        match answer {
            Ok(Ok(line)) if line == "ok\n" => Ok(Written {
                at: self.ctx.clock.wall(),
                read_back: None,
            }),
            Ok(Ok(line)) if line == "e\n" => Err(WriteError::Refused("e".to_owned())),
            _ => Err(WriteError::Unknown),
        }
    }
}

/// Keeps the thread.
fn block(span: Duration) {
    let began = std::time::Instant::now();
    while began.elapsed() < span {
        std::hint::spin_loop();
    }
}

fn value_of(line: &str, panics: bool) -> Result<u64, Reason> {
    if line == "e\n" {
        return Err(Reason::DeviceError);
    }
    let value = line
        .strip_prefix("v ")
        .and_then(|rest| rest.split(' ').next());
    let value = value.and_then(|value| value.parse().ok());
    assert!(value.is_some() || !panics, "rubbish: {line:?}");
    value.ok_or(Reason::BadAnswer)
}

//! The task that owns the radio.
//!
//! Invariants: 1. at most one operation on the radio is under way (a step of the ladder or a heartbeat);
//! 2. whatever is under way, advertisements are heard and silence is noticed; 3. while there is no radio,
//! devices are `Down(LinkDown)` and their readings `Bad(LinkDown)`.

mod heard;

use super::beat::{self, Beat};
use super::repair::{Repaired, repair};
use super::worker::Worker;
use super::{FAREWELL, STOP_GRACE, Shared, sleep_until};
use crate::config::{Bus, Kind};
use crate::ladder::{Act, Cause, Ladder};
use crate::listener::Listener;
use crate::outbox::Outbox;
use crate::radio::{Central, Opened, Radio, RadioError};
use crate::strangers::Strangers;
use heard::hear;
use protocols_driver::{LinkState, ORDER_CAPACITY, Stopped, WriteError, WriteOrder};
use protocols_model::{Instant, PointKey, Reason};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// What is under way on the radio.
type Operation = Pin<Box<dyn Future<Output = Done> + Send>>;

enum Done {
    Repaired(Repaired),
    Beat(Result<bool, RadioError>),
}

/// Where orders for a point go.
enum Route {
    Worker(mpsc::Sender<WriteOrder>),
    ReadOnly,
}

/// See the module.
pub(super) struct Task {
    shared: Arc<Shared>,
    radio: Arc<dyn Radio>,
    opened: Option<Opened>,
    /// The radio for the workers; `None` while there is none.
    central: watch::Sender<Option<Arc<dyn Central>>>,
    operation: Option<Operation>,
    ladder: Ladder,
    beat: Beat,
    beat_at: Instant,
    listener: Listener,
    strangers: Strangers,
    outbox: Outbox,
    routes: HashMap<PointKey, Route>,
    workers: JoinSet<()>,
    overrun: u64,
    /// Devices of which it was told that an advertisement was refused.
    told: Vec<bool>,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, radio: Arc<dyn Radio>) -> Self {
        let now = shared.now();
        let bus = &shared.bus;
        let report = bus.report_strangers.then_some(Bus::REPORT_PAUSE);
        let (central, _) = watch::channel(None);
        let mut task = Self {
            ladder: Ladder::new(bus.silence(), now),
            listener: Listener::new(bus, now),
            strangers: Strangers::new(bus.allow.clone(), bus.max_strangers, report),
            told: vec![false; bus.devices.len()],
            radio,
            opened: None,
            central,
            operation: None,
            beat: Beat::default(),
            beat_at: now,
            outbox: Outbox::default(),
            routes: HashMap::new(),
            workers: JoinSet::new(),
            overrun: 0,
            shared,
        };
        task.start_workers();
        task
    }

    fn start_workers(&mut self) {
        for (index, device) in self.shared.bus.devices.iter().enumerate() {
            match &device.kind {
                Kind::Adverts(adverts) => {
                    for point in &adverts.points {
                        self.routes.insert(point.key, Route::ReadOnly);
                    }
                }
                Kind::Gatt(gatt) => {
                    let (orders, receiver) = mpsc::channel(ORDER_CAPACITY);
                    for point in &gatt.points {
                        self.routes.insert(point.key, Route::Worker(orders.clone()));
                    }
                    let shared = Arc::clone(&self.shared);
                    let central = self.central.subscribe();
                    let worker = Worker::new(shared, index, gatt, receiver, central);
                    self.workers.extend(worker.map(Worker::run));
                }
            }
        }
    }

    pub(super) async fn run(&mut self) -> Stopped {
        loop {
            if let Err(stopped) = self.step().await {
                return stopped;
            }
        }
    }

    /// Says good-bye: workers end by themselves, the adapter stops listening.
    pub(super) async fn end(&mut self) {
        self.operation = None;
        self.shared.ctx.stop.cancel();
        let all = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE + FAREWELL, all)
            .await
            .is_err()
        {
            self.workers.abort_all();
        }
        if let Some(opened) = self.opened.take() {
            // An adapter that does not answer now is left as it is: its service notices that we are gone.
            drop(tokio::time::timeout(FAREWELL, opened.central.stop_scan()).await);
        }
    }

    async fn step(&mut self) -> Result<(), Stopped> {
        let shared = Arc::clone(&self.shared);
        let now = shared.now();
        self.begin_operation(now);
        self.tell_silence(now);
        shared.flush(&mut self.outbox)?;
        let until = self.next(now);
        let waiting = !self.outbox.is_empty();
        let operation = async {
            match &mut self.operation {
                Some(operation) => operation.await,
                None => std::future::pending().await,
            }
        };
        let heard = async {
            match &mut self.opened {
                Some(opened) => hear(opened).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shared.ctx.stop.cancelled() => return Err(Stopped),
            () = shared.ctx.sweeps.closed() => return Err(Stopped),
            order = shared.ctx.orders.next() => self.dispatch(order),
            done = operation => {
                self.operation = None;
                self.done(done);
            }
            () = shared.scan_lost.notified() => {
                let lost = RadioError::Failed("after a connection".to_owned());
                self.ladder.wrong(Cause::Failed("starting the scan again", lost), now);
            }
            heard = heard => self.heard(heard),
            room = shared.ctx.room(), if waiting => drop(room?),
            ended = self.workers.join_next(), if !self.workers.is_empty() => {
                if let Some(Err(error)) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            () = sleep_until(until, now) => {}
        }
        Ok(())
    }

    /// When there is something to do although nothing happens.
    fn next(&self, now: Instant) -> Option<Instant> {
        let idle = self.operation.is_none();
        let ladder = idle.then(|| self.ladder.due()).flatten();
        let beat = (idle && self.may_beat()).then_some(self.beat_at);
        let next = [ladder, beat, self.listener.next_silence()];
        // A clock that stands still must not make this spin.
        let soonest = now.plus(std::time::Duration::from_millis(1));
        next.into_iter().flatten().min().map(|at| at.max(soonest))
    }

    fn may_beat(&self) -> bool {
        self.opened.is_some() && !self.ladder.in_trouble()
    }

    /// Begins what is due on the radio, if nothing is under way.
    fn begin_operation(&mut self, now: Instant) {
        if self.operation.is_some() {
            return;
        }
        if self.shared.air.try_lock().is_err() {
            self.ladder.paused(now);
        }
        match self.ladder.act(now) {
            Some(Act::Take(step, text)) => {
                if let Some(text) = text {
                    self.shared.tell(text);
                }
                let central = self.central.borrow().clone();
                if step == crate::ladder::Step::Rebuild {
                    self.close();
                }
                let shared = Arc::clone(&self.shared);
                let repair = repair(step, shared, Arc::clone(&self.radio), central);
                self.operation = Some(Box::pin(async { Done::Repaired(repair.await) }));
                return;
            }
            Some(Act::Report(text)) => self.shared.tell(text),
            None => {}
        }
        if self.may_beat()
            && self.beat_at <= now
            && let Some(opened) = &self.opened
        {
            self.beat_at = now.plus(beat::PERIOD);
            let central = Arc::clone(&opened.central);
            self.operation = Some(Box::pin(async move {
                let answer = tokio::time::timeout(beat::TIMEOUT, central.is_powered()).await;
                Done::Beat(answer.unwrap_or(Err(RadioError::TimedOut)))
            }));
        }
    }

    /// Lets go of the radio. From now on all devices are away.
    fn close(&mut self) {
        if self.opened.take().is_some() {
            self.shared.status.counters.disconnects.inc();
        }
        self.central.send_replace(None);
        self.all_down();
    }

    fn all_down(&self) {
        let wall = self.shared.wall();
        for (index, device) in self.shared.bus.devices.iter().enumerate() {
            if matches!(device.kind, Kind::Adverts(_)) {
                let down = LinkState::Down(Reason::LinkDown);
                self.shared.status.set_link(index, down, wall);
            }
        }
    }

    fn done(&mut self, done: Done) {
        let now = self.shared.now();
        match done {
            Done::Repaired(Repaired { opened, result }) => {
                if let Some(opened) = opened {
                    self.shared.status.counters.connects.inc();
                    self.central.send_replace(Some(Arc::clone(&opened.central)));
                    self.opened = Some(opened);
                    self.beat.reset();
                    self.overrun = 0;
                }
                self.beat_at = now.plus(beat::PERIOD);
                if self.opened.is_none() {
                    // The first failure makes the absence known at once.
                    self.all_down();
                }
                if let Some(text) = self.ladder.took(result, now) {
                    self.shared.tell(text);
                }
                // What was lost while a step was being taken was not looked at then.
                let health = self.opened.as_ref().map(|opened| *opened.health.borrow());
                if let Some(health) = health {
                    self.looked(health, now);
                }
            }
            Done::Beat(answer) => {
                let Some(opened) = &self.opened else { return };
                let health = *opened.health.borrow();
                let air = self.shared.air.try_lock();
                let paused = air.map_or(true, |air| !air.scanning);
                if let Some(cause) = self.beat.answered(answer, health, paused) {
                    self.ladder.wrong(cause, now);
                }
            }
        }
    }

    fn dispatch(&self, order: WriteOrder) {
        match self.routes.get(&order.point) {
            Some(Route::Worker(worker)) => match worker.try_send(order) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(order)) => order.answer(Err(WriteError::Busy)),
                Err(mpsc::error::TrySendError::Closed(order)) => {
                    order.answer(Err(WriteError::Unreachable));
                }
            },
            Some(Route::ReadOnly) => order.answer(Err(WriteError::ReadOnly)),
            None => order.answer(Err(WriteError::UnknownPoint)),
        }
    }
}

//! One connection, from the attempt to its end.
//!
//! Live data goes out as soon as the broker accepted the connection; hello follows the subscription.
//! Cancel-safe throughout: every branch of the select is either an owned future that survives, or
//! holds nothing.

use crate::engine::{Ask, Confirm, Fetched};
use crate::link::{LinkError, LinkEvent, MqttLink};
use crate::run::{Outcome, Uplink};
use crate::tls_time::VerificationTime;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use gateway_spool::failpoint;
use gateway_spool::{
    Cursor, FetchLimit, SettleOutcome, Settlement, SpoolHandle, SpoolState, SpoolStopped,
    SpooledRecord,
};
use protocols_model::{DictionaryHash, Instant, Lane};
use protocols_wire::Topic;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Quantiles are computed again after so long.
const QUANTILES_EVERY: Duration = Duration::from_secs(1);
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);

mod say;

/// What the spool was asked for.
enum Work {
    Records(Ask, Vec<SpooledRecord>),
    Dictionaries(Ask, Vec<Fetched>, Vec<(DictionaryHash, Bytes)>),
}

type Working = BoxFuture<'static, Result<Work, SpoolStopped>>;
type Settling = BoxFuture<'static, Result<SettleOutcome, SpoolStopped>>;

/// One connection.
pub(crate) struct Session<'a, L> {
    up: &'a mut Uplink,
    link: L,
    time: VerificationTime,
    spool: watch::Receiver<Arc<SpoolState>>,
    work: Option<Working>,
    settling: Option<Settling>,
    started: Instant,
    connected: Option<Instant>,
    subscribed: bool,
    /// The task has been asked to stop: empty the spool, then end.
    drain: bool,
}

/// Ends the session from within.
type Step = Result<(), Outcome>;

impl<'a, L: MqttLink> Session<'a, L> {
    pub(crate) fn new(up: &'a mut Uplink, link: L, time: VerificationTime) -> Self {
        let started = up.now();
        Self {
            spool: up.spool.state(),
            up,
            link,
            time,
            work: None,
            settling: None,
            started,
            connected: None,
            subscribed: false,
            drain: false,
        }
    }

    pub(crate) async fn run(mut self) -> Outcome {
        let outcome = loop {
            if let Err(outcome) = self.step().await {
                break outcome;
            }
        };
        if matches!(outcome, Outcome::Stop) && self.connected.is_some() {
            self.goodbye().await;
        }
        // A settlement once taken from the core has to reach the spool: the core counts on it.
        if let Some(settling) = self.settling.take() {
            match settling.await {
                Ok(settled) => self.settled(settled),
                Err(SpoolStopped) => return Outcome::SpoolStopped,
            }
        }
        outcome
    }

    /// Does what can be done now, then waits for the next thing to happen.
    async fn step(&mut self) -> Step {
        self.advance().await?;
        let (wake, drain) = self.deadlines();
        tokio::select! {
            biased;
            handle_lives = asked_to_stop(&mut self.up.stopping), if !self.drain => {
                if !handle_lives || self.connected.is_none() {
                    return Err(Outcome::Stop);
                }
                self.drain = true;
            }
            () = tokio::time::sleep_until(drain), if self.drain => return Err(Outcome::Stop),
            event = self.link.next() => {
                let event = event.map_err(|error| self.end(error))?;
                self.event(event)?;
            }
            done = under_way(&mut self.settling) => {
                self.settling = None;
                self.settled(done.map_err(|_| Outcome::SpoolStopped)?);
            }
            done = under_way(&mut self.work) => {
                self.work = None;
                self.worked(done.map_err(|_| Outcome::SpoolStopped)?)?;
            }
            changed = self.spool.changed() => {
                changed.map_err(|_| Outcome::SpoolStopped)?;
                self.spool_changed();
            }
            () = tokio::time::sleep_until(wake) => self.check()?,
        }
        Ok(())
    }

    /// When to wake although nothing happens, and when a drain has to end.
    fn deadlines(&self) -> (tokio::time::Instant, tokio::time::Instant) {
        let now = self.up.now();
        let patience = self.up.patience;
        let next = match self.connected {
            None => Some(self.started.plus(patience)),
            Some(at) if !self.subscribed => {
                let limit = at.plus(patience);
                Some(self.up.engine.deadline(now).map_or(limit, |d| d.min(limit)))
            }
            Some(_) => self.up.engine.deadline(now),
        };
        let far = Duration::from_secs(3600);
        let wait = next.map_or(far, |at| at.since(now));
        let start = tokio::time::Instant::now();
        let drain = self.up.stopping.borrow().unwrap_or(start + far);
        (start + wait, drain)
    }

    /// A deadline has passed.
    fn check(&mut self) -> Step {
        let now = self.up.now();
        let patience = self.up.patience;
        let end = match self.connected {
            None if now.since(self.started) >= patience => "no answer from the broker in time",
            Some(at) if !self.subscribed && now.since(at) >= patience => {
                "the broker does not answer the subscription"
            }
            Some(_) if self.up.engine.stalled(now) => {
                "the broker takes messages but sends no PUBACK"
            }
            _ => return Ok(()),
        };
        Err(self.end(LinkError::lost(end)))
    }

    fn end(&self, error: LinkError) -> Outcome {
        let up = self.connected.map(|at| self.up.now().since(at));
        Outcome::Link(error, up.unwrap_or_default())
    }

    fn event(&mut self, event: LinkEvent) -> Step {
        let now = self.up.now();
        match event {
            LinkEvent::Connected => return self.on_connected(now),
            LinkEvent::Subscribed => {
                self.subscribed = true;
                self.up.engine.subscribed(now, fastrand::f64());
            }
            LinkEvent::Sent(packet) => {
                let paired = self.up.engine.sent(packet);
                paired.map_err(|error| self.end(LinkError::lost(error.to_string())))?;
            }
            LinkEvent::Taken(packet) => {
                failpoint::hit("uplink.puback");
                self.up.engine.puback(packet, now);
            }
            LinkEvent::Message { topic, payload } => {
                if topic == Topic::Ack(self.up.options.gateway.clone()).to_mqtt() {
                    failpoint::hit("uplink.ack");
                    self.up.engine.down(&payload, now);
                } else {
                    tracing::debug!(topic, "message on a topic that was not asked for");
                }
            }
            LinkEvent::Other => {}
        }
        Ok(())
    }

    fn on_connected(&mut self, now: Instant) -> Step {
        self.connected = Some(now);
        self.up.handshake_done(self.time);
        if self.up.options.confirm == Confirm::Broker {
            self.subscribed = true;
        } else {
            let topic = Topic::Ack(self.up.options.gateway.clone()).to_mqtt();
            let asked = self.link.subscribe(&topic);
            asked.map_err(|full| self.end(LinkError::lost(full.to_string())))?;
        }
        self.spool_changed();
        self.up.engine.connected(now);
        let wall = self.up.clock.wall();
        self.up.publish(|state| {
            state.connected = true;
            state.since = wall;
        });
        let server = self.up.state.borrow().server.clone();
        tracing::info!(?server, "uplink connected");
        Ok(())
    }

    fn spool_changed(&mut self) {
        let state = Arc::clone(&self.spool.borrow_and_update());
        let now = self.up.now();
        self.up.engine.spool(&state.held, now);
        self.up.engine.let_go(&state.gone);
    }

    /// Starts everything that can be started, and shows what changed.
    async fn advance(&mut self) -> Step {
        let now = self.up.now();
        if self.settling.is_none()
            && let Some(generation) = self.up.engine.take_generation()
        {
            let told = self.up.spool.store_generation(generation).await;
            told.map_err(|_| Outcome::SpoolStopped)?;
        }
        if self.settling.is_none()
            && let Some((stream, settled)) = self.up.engine.take_settled()
        {
            let settlement = Settlement {
                epoch: stream.epoch,
                lane: stream.lane,
                stored: settled.stored,
                refused: settled.refused,
            };
            let spool = self.up.spool.clone();
            let settling = async move { spool.settle(settlement).await };
            self.settling = Some(settling.boxed());
            let wall = self.up.clock.wall();
            self.up.publish(|state| state.last_settled = Some(wall));
        }
        if self.connected.is_some() {
            if self.up.engine.hello_due(now) {
                self.hello(now)?;
            }
            if self.up.engine.store_away_now(now) {
                self.store_away().await?;
            }
            self.identity(now).await?;
            if self.work.is_none()
                && let Some(ask) = self.up.engine.ask(now)
            {
                self.fetch(ask);
            }
        }
        self.show(now);
        if self.drain && self.drained().await? {
            return Err(Outcome::Stop);
        }
        Ok(())
    }

    /// Whether nothing is left to send or to settle. The spool's state may lag behind its last append
    /// by a moment; a fetch never does.
    async fn drained(&mut self) -> Result<bool, Outcome> {
        let quiet = self.settling.is_none() && self.work.is_none();
        let empty = self.up.engine.window().is_empty() && self.spool.borrow().records == 0;
        if !quiet || !empty {
            return Ok(false);
        }
        let one = FetchLimit {
            max_bytes: 0,
            max_records: 1,
        };
        for lane in Lane::ALL {
            let found = self.up.spool.fetch(lane, Cursor::START, one).await;
            if !found.map_err(|_| Outcome::SpoolStopped)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fetch(&mut self, ask: Ask) {
        let streams = self.up.engine.streams_of(ask.stream.lane);
        let (stream, first) = (ask.stream, ask.range.first());
        let cursor = self.up.cursors.before(stream, first, streams);
        let spool = self.up.spool.clone();
        let limit = FetchLimit {
            max_bytes: ask.max_bytes,
            max_records: ask.max_records,
        };
        let work = async move {
            let records = spool.fetch(ask.stream.lane, cursor, limit).await?;
            Ok(Work::Records(ask, records))
        };
        self.work = Some(work.boxed());
    }

    fn worked(&mut self, work: Work) -> Step {
        match work {
            Work::Records(ask, records) => {
                let found = records.iter().any(|r| r.key.epoch == ask.stream.epoch);
                if self.up.cursors.learn(&records) && !found {
                    // The way to this epoch was not known yet: now it is one epoch shorter.
                    self.fetch(ask);
                    return Ok(());
                }
                let records: Vec<Fetched> = records.into_iter().map(fetched).collect();
                let lacking = self.up.engine.lacking(&records);
                if lacking.is_empty() {
                    return self.send(&ask, &records, &[]);
                }
                let spool = self.up.spool.clone();
                let work = async move { with_dictionaries(&spool, ask, records, lacking).await };
                self.work = Some(work.boxed());
                Ok(())
            }
            Work::Dictionaries(ask, records, dictionaries) => {
                self.send(&ask, &records, &dictionaries)
            }
        }
    }

    fn send(
        &mut self,
        ask: &Ask,
        records: &[Fetched],
        dictionaries: &[(DictionaryHash, Bytes)],
    ) -> Step {
        let now = self.up.now();
        let Some(publish) = self.up.engine.pack(ask, records, dictionaries, now) else {
            return Ok(());
        };
        failpoint::hit("uplink.publish");
        let handed = self.link.publish(&publish.topic, true, publish.payload);
        handed.map_err(|full| self.end(LinkError::lost(full.to_string())))
    }

    fn settled(&mut self, outcome: SettleOutcome) {
        if outcome.unknown > 0 {
            self.up.engine.identity_alarm();
        }
    }

    fn show(&mut self, now: Instant) {
        let engine = &self.up.engine;
        let window = engine.window();
        let spool = self.spool.borrow();
        let as_u64 = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let due = self
            .up
            .quantiles_at
            .is_none_or(|at| now.since(at) >= QUANTILES_EVERY);
        let mut next = (**self.up.state.borrow()).clone();
        if due && let Some(quantiles) = engine.delays() {
            next.settling = Some(quantiles);
            self.up.quantiles_at = Some(now);
        }
        next.in_flight_bytes = as_u64(window.under_way());
        next.unsettled_records = window.records();
        next.unsettled_bytes = as_u64(window.bytes());
        next.backlog_records = spool.records.saturating_sub(next.unsettled_records);
        next.backlog_bytes = spool.live_bytes.saturating_sub(next.unsettled_bytes);
        next.counters = engine.counters();
        (next.slowed_to, next.hints) = engine.slowed(now);
        next.history_window = as_u64(engine.history_window());
        next.link_bytes_per_second = engine.link_bytes_per_second();
        next.store_away = engine.store_away();
        drop(spool);
        self.up.state.send_if_modified(|state| {
            let changed = **state != next;
            if changed {
                *Arc::make_mut(state) = next;
            }
            changed
        });
    }

    async fn goodbye(&mut self) {
        self.link.disconnect();
        let ended = async { while self.link.next().await.is_ok() {} };
        if tokio::time::timeout(GOODBYE, ended).await.is_err() {
            tracing::debug!("the broker did not close the connection after the goodbye");
        }
    }
}

/// Waits until the handle asks for the stop; `false` when the handle is gone.
async fn asked_to_stop(stopping: &mut watch::Receiver<Option<tokio::time::Instant>>) -> bool {
    stopping.wait_for(Option::is_some).await.is_ok()
}

/// The future if there is one; waits for ever otherwise. Dropping this loses nothing.
async fn under_way<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

fn fetched(record: SpooledRecord) -> Fetched {
    Fetched {
        key: record.key,
        body: record.body,
        dictionaries: record.dictionaries,
    }
}

async fn with_dictionaries(
    spool: &SpoolHandle,
    ask: Ask,
    records: Vec<Fetched>,
    lacking: Vec<DictionaryHash>,
) -> Result<Work, SpoolStopped> {
    let found = spool.dictionaries(lacking).await?;
    let found = found.iter().map(|d| (d.hash(), d.encoded().clone()));
    Ok(Work::Dictionaries(ask, records, found.collect()))
}

/// Tells the spool everything that is settled; at the end of a connection.
pub(crate) async fn settle_all(up: &mut Uplink) -> Result<(), SpoolStopped> {
    if let Some(generation) = up.engine.take_generation() {
        up.spool.store_generation(generation).await?;
    }
    while let Some((stream, settled)) = up.engine.take_settled() {
        let outcome = up.spool.settle(Settlement {
            epoch: stream.epoch,
            lane: stream.lane,
            stored: settled.stored,
            refused: settled.refused,
        });
        if outcome.await?.unknown > 0 {
            up.engine.identity_alarm();
        }
    }
    Ok(())
}

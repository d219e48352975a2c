//! The uplink's task: connects, moves bytes, and asks the core what to do.
//!
//! One task owns the link, the core and everything about them. It never waits for the spool or the
//! network while the other has something to say: a fetch, a settlement and the link's next event are
//! awaited together. There is no polling timer; it wakes for events and the core's deadlines.
//! Whatever goes wrong ends the connection and starts the next attempt; only the spool's end or
//! [`UplinkHandle::stop`] end the task.

use crate::backoff::{Backoff, Ended};
use crate::engine::{Engine, EngineOptions};
use crate::link::{LinkError, Server};
use crate::rumqtt::{LinkOptions, RumqttLink};
use crate::session::Session;
use crate::state::{UplinkOptions, UplinkState};
use crate::tls_time::{TlsTime, VerificationTime};
use gateway_spool::SpoolHandle;
use protocols_model::{Clock, Instant};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a quick attempt may take while there are other servers; enough for TLS over a slow line.
const QUICK_PATIENCE: Duration = Duration::from_secs(3);
/// What the stop waits beyond its deadline for the task to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why the task ended without having been asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UplinkEnded {
    /// The spool's thread has ended: the process must exit non-zero.
    #[error("the uplink ended because the spool has stopped")]
    SpoolStopped,
    /// A bug.
    #[error("the uplink's task has panicked")]
    Panicked,
}

/// The running uplink.
#[derive(Debug)]
pub struct UplinkHandle {
    state: watch::Receiver<Arc<UplinkState>>,
    stop: watch::Sender<Option<tokio::time::Instant>>,
    task: JoinHandle<Result<(), UplinkEnded>>,
}

impl UplinkHandle {
    /// What the uplink tells about itself; changes wake the receiver.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<Arc<UplinkState>> {
        self.state.clone()
    }

    /// Waits until the task ends by itself, which it does not unless something is broken.
    ///
    /// # Errors
    /// [`UplinkEnded`] says what.
    pub async fn ended(&mut self) -> Result<(), UplinkEnded> {
        (&mut self.task).await.unwrap_or(Err(UplinkEnded::Panicked))
    }

    /// Ends the task. While a connection stands, first sends what the spool holds and waits until it
    /// is settled, for `deadline` at most. Returns whether nothing was left.
    pub async fn stop(mut self, deadline: Duration) -> bool {
        let until = tokio::time::Instant::now() + deadline;
        self.stop.send_replace(Some(until));
        if tokio::time::timeout(deadline + GOODBYE, &mut self.task)
            .await
            .is_err()
        {
            tracing::warn!("the uplink did not end in time");
            self.task.abort();
        }
        let state = self.state.borrow();
        state.backlog_records == 0 && state.unsettled_records == 0
    }
}

/// Starts the uplink on the current runtime.
#[must_use]
pub fn start(options: UplinkOptions, spool: SpoolHandle, clock: Arc<dyn Clock>) -> UplinkHandle {
    let (state_sender, state) = watch::channel(Arc::new(UplinkState {
        since: clock.wall(),
        ..UplinkState::default()
    }));
    let (stop, stopping) = watch::channel(None);
    let uplink = Uplink::new(options, spool, clock, state_sender, stopping);
    UplinkHandle {
        state,
        stop,
        task: tokio::spawn(uplink.run()),
    }
}

/// Why a connection, or the attempt, ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The link is gone; it had been up for so long.
    Link(LinkError, Duration),
    /// The task has to end.
    Stop,
    /// The spool has stopped.
    SpoolStopped,
}

/// The task's state across connections.
pub(crate) struct Uplink {
    pub(crate) options: UplinkOptions,
    pub(crate) spool: SpoolHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) engine: Engine,
    pub(crate) cursors: crate::cursors::Cursors,
    pub(crate) state: watch::Sender<Arc<UplinkState>>,
    pub(crate) stopping: watch::Receiver<Option<tokio::time::Instant>>,
    pub(crate) identity_reported: Option<Instant>,
    pub(crate) quantiles_at: Option<Instant>,
    /// How long the attempt at hand may take.
    pub(crate) patience: Duration,
    time: TlsTime,
    backoff: Backoff,
    attempts: u64,
}

impl Uplink {
    fn new(
        options: UplinkOptions,
        spool: SpoolHandle,
        clock: Arc<dyn Clock>,
        state: watch::Sender<Arc<UplinkState>>,
        stopping: watch::Receiver<Option<tokio::time::Instant>>,
    ) -> Self {
        let engine = Engine::new(EngineOptions {
            gateway: options.gateway.clone(),
            epoch: spool.epoch(),
            confirm: options.confirm,
            window: options.window,
            hello: options.timings.hello,
            inherits: options.inherits,
            puback_timeout: options.timings.puback,
        });
        Self {
            cursors: crate::cursors::Cursors::new(spool.epoch(), spool.epoch_start()),
            time: TlsTime::load(options.last_good_time.clone()),
            backoff: Backoff::new(options.servers.len()),
            identity_reported: None,
            quantiles_at: None,
            attempts: 0,
            patience: options.timings.connect,
            options,
            spool,
            clock,
            engine,
            state,
            stopping,
        }
    }

    async fn run(mut self) -> Result<(), UplinkEnded> {
        loop {
            let outcome = self.connect().await;
            self.engine.disconnected(self.now());
            if crate::session::settle_all(&mut self).await.is_err() {
                return Err(UplinkEnded::SpoolStopped);
            }
            let (error, up) = match outcome {
                Outcome::Stop => {
                    self.publish(|state| state.connected = false);
                    return Ok(());
                }
                Outcome::SpoolStopped => return Err(UplinkEnded::SpoolStopped),
                Outcome::Link(error, up) => (error, up),
            };
            let changed = error.expired && self.time.looked_expired(self.clock.wall());
            let ended = if changed {
                Ended::Unreachable
            } else {
                error.ended
            };
            let pause = self.backoff.ended(ended, up, fastrand::f64());
            self.report(&error, pause);
            if self.pause(pause).await {
                return Ok(());
            }
        }
    }

    /// Waits before the next attempt. Returns whether the task has to stop.
    async fn pause(&mut self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            _ = self.stopping.wait_for(Option::is_some) => true,
            () = tokio::time::sleep(pause) => false,
        }
    }

    fn report(&self, error: &LinkError, pause: Duration) {
        let text: Arc<str> = error.text.as_str().into();
        let server = self.server().map(|server| server.to_string());
        let news = self.state.borrow().last_error.as_deref() != Some(&*text);
        // The same failure again and again is one line in the log, and a counter.
        if news {
            tracing::warn!(server, ?pause, "uplink: {text}");
        } else {
            tracing::debug!(server, ?pause, "uplink, again: {text}");
        }
        let wall = self.clock.wall();
        self.publish(|state| {
            if state.connected {
                state.connected = false;
                state.since = wall;
            }
            state.last_error = Some(text);
        });
    }

    fn server(&self) -> Option<&Server> {
        self.options.servers.get(self.backoff.server())
    }

    async fn connect(&mut self) -> Outcome {
        let Some(server) = self.server().cloned() else {
            return self.no_link(LinkError::refused("no broker is configured"));
        };
        let reconnects = self.attempts;
        self.attempts = self.attempts.saturating_add(1);
        self.publish(|state| {
            state.server = Some(server.clone());
            state.reconnects = reconnects;
        });
        self.patience = self.options.timings.connect;
        if self.backoff.is_quick() {
            self.patience = self.patience.min(QUICK_PATIENCE);
        }
        let time = self.time.verification_time(self.clock.wall());
        let tls = self.options.tls.clone();
        let built = tokio::task::spawn_blocking(move || tls.client_config(time)).await;
        let tls = match built {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map(|c| format!(": {c}"));
                let text = format!("{error}{}", cause.unwrap_or_default());
                return self.no_link(LinkError::refused(text));
            }
            Err(_) => return self.no_link(LinkError::lost("reading the certificates failed")),
        };
        let options = LinkOptions {
            client: self.options.gateway.as_str().to_owned(),
            keep_alive: self.options.timings.keep_alive,
            stall: self
                .options
                .timings
                .puback
                .max(self.options.timings.connect),
            send_buffer: self.engine.send_buffer(),
        };
        let link = RumqttLink::start(&options, &server, tls);
        Session::new(self, link, time).run().await
    }

    fn no_link(&self, error: LinkError) -> Outcome {
        Outcome::Link(error, Duration::ZERO)
    }

    /// A handshake succeeded by `time`.
    pub(crate) fn handshake_done(&mut self, time: VerificationTime) {
        self.time.good(time);
    }

    /// Monotonic time.
    pub(crate) fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    /// Changes the published state.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut UplinkState)) {
        self.state.send_modify(|state| change(Arc::make_mut(state)));
    }
}

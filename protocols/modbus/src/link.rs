//! The link of one bus: opens it, asks one question at a time, and heals after every error.
//!
//! Every call has a time-out. After any error the client context is thrown away: over TCP with its
//! connection; on a serial line after one response time-out of silence, so that a late answer dies
//! there. An exception is an answer, not an error of the link.
//!
//! Opening is a future of its own ([`crate::connect`]), so that the driver goes on reporting while a
//! connection takes its time.

use crate::command::Command;
use crate::config::{BROADCAST_PAUSE, Device, LineSettings, Space, Transport};
use crate::connect::Connection;
use crate::frame::{Body, Expected};
use crate::guard::LineGuard;
use crate::plan::Request;
use crate::timing::{ANSWER_CHARACTERS, REQUEST_CHARACTERS};
use protocols_driver::{Backoff, BusStatus};
use protocols_line::FineTimer;
use protocols_model::{Clock, Instant};
use std::sync::Arc;
use std::time::Duration;
use tokio::time;
use tokio_modbus::client::{Client as _, Context, rtu, tcp};
use tokio_modbus::prelude::SlaveContext as _;
use tokio_modbus::{Request as Pdu, Response, Slave};

/// Waits between attempts to open a bus. The first is short: many devices accept one connection and
/// need a moment to notice that the old one is gone.
const REOPEN_MIN: Duration = Duration::from_millis(100);
const REOPEN_MAX: Duration = Duration::from_secs(30);
/// A server for a serial line is connected to anew after so many requests in a row without an answer.
const SILENT_SERVER: u32 = 4;

/// The data of an answer.
#[derive(Debug)]
pub(crate) enum Data {
    Words(Vec<u16>),
    Bits(Vec<bool>),
}

/// Why there is no data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The device refused, with this exception code. The link is well.
    Exception(u8),
    /// Nothing came in time.
    Timeout,
    /// What came is not the answer.
    BadAnswer,
    /// The other end was gone before the request went out: nobody was asked.
    NotAsked,
    /// The link broke during the request.
    Closed,
}

struct Session {
    context: Context,
    wire: LineGuard,
    /// When the line was last busy.
    busy_until: time::Instant,
    /// When the port was opened or the connection made.
    opened: time::Instant,
    /// Whether anything was answered since the port was opened.
    served: bool,
    /// Requests in a row that nobody answered.
    unanswered: u32,
}

/// How a device wants to be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) unit: u8,
    pub(crate) timeout: Duration,
    /// Silence before the request, at least.
    pub(crate) pause: Duration,
    /// Left alone for so long after the bus was opened.
    pub(crate) after_connect: Duration,
}

impl Terms {
    pub(crate) const fn of(device: &Device) -> Self {
        Self {
            unit: device.unit,
            timeout: device.timeout,
            pause: device.quirks.pause,
            after_connect: device.quirks.after_connect,
        }
    }
}

/// The link of one bus. Down until [`Link::attach`].
pub(crate) struct Link {
    serial: Option<LineSettings>,
    /// A serial port of this machine.
    is_port: bool,
    gap: Duration,
    /// Exact waits, on a real serial port.
    timer: Option<FineTimer>,
    status: Arc<BusStatus>,
    clock: Arc<dyn Clock>,
    session: Option<Session>,
    backoff: Backoff,
    reopen_at: Instant,
}

impl Link {
    pub(crate) fn new(
        transport: &Transport,
        gap: Duration,
        status: Arc<BusStatus>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let frame_gap = match transport {
            Transport::Rtu { line, .. } => line.frame_gap(),
            // The server at the other end keeps the gaps of its line.
            Transport::Tcp { .. } | Transport::RtuOverTcp { .. } => Duration::ZERO,
        };
        Self {
            serial: transport.line(),
            is_port: matches!(transport, Transport::Rtu { .. }),
            gap: gap.max(frame_gap),
            timer: None,
            status,
            reopen_at: clock.monotonic(),
            clock,
            session: None,
            backoff: Backoff::new(REOPEN_MIN, REOPEN_MAX),
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.session.is_some()
    }

    /// The port is there again: no need to wait any longer.
    pub(crate) fn reopen_now(&mut self) {
        self.reopen_at = self.clock.monotonic();
    }

    /// When to try to open again.
    pub(crate) const fn reopen_at(&self) -> Instant {
        self.reopen_at
    }

    /// The bus is open.
    pub(crate) fn attach(&mut self, connection: Connection) {
        self.status.counters.connects.inc();
        let wire = LineGuard::new(connection.stream, Arc::clone(&self.status));
        self.timer = connection.timer;
        self.session = Some(self.start(wire, false, time::Instant::now()));
    }

    /// Opening failed.
    pub(crate) fn not_opened(&mut self) {
        let now = self.clock.monotonic();
        self.reopen_at = now.plus(self.backoff.failed(now));
    }

    fn start(&self, wire: LineGuard, served: bool, opened: time::Instant) -> Session {
        let context = match self.serial {
            Some(_) => rtu::attach(wire.clone()),
            None => tcp::attach(wire.clone()),
        };
        Session {
            context,
            wire,
            busy_until: time::Instant::now(),
            opened,
            served,
            unanswered: 0,
        }
    }

    /// Closes at once: a dead port that stays open makes an adapter come back under another name.
    fn close(&mut self, session: Session) {
        let served = session.served;
        drop(session);
        self.status.counters.disconnects.inc();
        let now = self.clock.monotonic();
        let wait = if served && !self.is_port {
            // A connection that served well is made again at once.
            Duration::ZERO
        } else {
            self.backoff.failed(now)
        };
        self.reopen_at = now.plus(wait);
    }

    /// Reads; the answer matches the request in unit, function and length. With it comes the
    /// turnaround: how long the answer took beside what its characters take.
    ///
    /// Not cancel-safe: a link whose question was cut off must not be used again.
    pub(crate) async fn ask(
        &mut self,
        terms: Terms,
        request: &Request,
    ) -> Result<(Data, Duration), Fault> {
        let shape = request.shape();
        let expected = Expected {
            unit: terms.unit,
            function: shape.function,
            body: Body::Data(u8::try_from(shape.bytes).unwrap_or(u8::MAX)),
        };
        let characters = REQUEST_CHARACTERS + ANSWER_CHARACTERS + u32::from(shape.bytes);
        self.call(terms, pdu(request), expected, characters, |response| {
            matching(response, request)
        })
        .await
    }

    /// Writes; the answer confirms the command. What it says of the registers' contents comes with it.
    /// Like [`Link::ask`] otherwise. [`Fault::NotAsked`] means that nothing was sent.
    pub(crate) async fn write(
        &mut self,
        terms: Terms,
        command: &Command,
    ) -> Result<Option<Vec<u16>>, Fault> {
        let (expected, characters) = (command.expected(terms.unit), command.characters());
        let confirmed = |response| command.confirmed(response);
        self.call(terms, command.pdu(), expected, characters, confirmed)
            .await
            .map(|(read, _)| read)
    }

    /// Sends to all units of a serial line, which answer nothing, and leaves them the time to carry it
    /// out. An error means that it may not have been sent.
    pub(crate) async fn broadcast(&mut self, terms: Terms, command: &Command) -> Result<(), Fault> {
        let Some(mut session) = self.ready(&terms).await else {
            return Err(Fault::NotAsked);
        };
        if session.wire.arm(Some(command.expected(terms.unit))).closed {
            self.close(session);
            return Err(Fault::NotAsked);
        }
        self.status.counters.requests.inc();
        session.context.set_slave(Slave(terms.unit));
        let span = self.on_wire(command.characters()) + BROADCAST_PAUSE;
        let answered = time::timeout(span, session.context.call(command.pdu())).await;
        if answered.is_ok() && session.wire.seen().closed {
            self.close(session);
            return Err(Fault::Closed);
        }
        // Somebody who answered a broadcast has said nothing of worth.
        self.session = Some(self.start(session.wire, session.served, session.opened));
        Ok(())
    }

    /// The session, when the line was silent for long enough; `None` while the link is down.
    async fn ready(&mut self, terms: &Terms) -> Option<Session> {
        let session = self.session.take()?;
        let silent = session.busy_until + self.gap.max(terms.pause);
        self.wait_until(silent.max(session.opened + terms.after_connect))
            .await;
        Some(session)
    }

    async fn call<T>(
        &mut self,
        terms: Terms,
        pdu: Pdu<'_>,
        expected: Expected,
        characters: u32,
        matching: impl FnOnce(Response) -> Option<T>,
    ) -> Result<(T, Duration), Fault> {
        let Some(mut session) = self.ready(&terms).await else {
            return Err(Fault::NotAsked);
        };
        let expected = self.serial.map(|_| expected);
        if session.wire.arm(expected).closed {
            self.close(session);
            return Err(Fault::NotAsked);
        }
        self.status.counters.requests.inc();
        session.context.set_slave(Slave(terms.unit));
        let on_wire = self.on_wire(characters);
        let begun = time::Instant::now();
        let call = session.context.call(pdu);
        let result = time::timeout(terms.timeout + on_wire, call).await;
        session.busy_until = time::Instant::now();
        let took = session.busy_until.saturating_duration_since(begun);
        self.status.counters.busy_microseconds.add_span(took);
        let fault = match result {
            Ok(Ok(Ok(response))) => match matching(response) {
                Some(data) => {
                    self.status.counters.answers.inc();
                    self.well(session);
                    return Ok((data, took.saturating_sub(on_wire)));
                }
                None => Fault::BadAnswer,
            },
            Ok(Ok(Err(exception))) => {
                self.status.counters.exceptions.inc();
                self.well(session);
                return Err(Fault::Exception(exception.into()));
            }
            _ if session.wire.seen().closed => Fault::Closed,
            Ok(Err(_)) => Fault::BadAnswer,
            // A part of an answer is no silence.
            Err(_elapsed) if session.wire.seen().bytes => Fault::BadAnswer,
            Err(_elapsed) => Fault::Timeout,
        };
        match fault {
            Fault::Timeout => self.status.counters.timeouts.inc(),
            Fault::BadAnswer => self.status.counters.bad_answers.inc(),
            _ => {}
        }
        let ended = session.busy_until;
        self.heal(session, fault, terms.timeout).await;
        self.status
            .counters
            .busy_microseconds
            .add_span(ended.elapsed());
        Err(fault)
    }

    async fn wait_until(&mut self, at: time::Instant) {
        let span = at.saturating_duration_since(time::Instant::now());
        if span.is_zero() {
            return;
        }
        let exact = match &mut self.timer {
            Some(timer) => timer.sleep(span).await.is_ok(),
            None => false,
        };
        if !exact {
            time::sleep_until(at).await;
        }
    }

    fn well(&mut self, mut session: Session) {
        session.unanswered = 0;
        if !session.served {
            session.served = true;
            self.backoff.succeeded(self.clock.monotonic());
        }
        self.session = Some(session);
    }

    /// On a serial line the characters take their time.
    fn on_wire(&self, characters: u32) -> Duration {
        let time = |line: LineSettings| line.characters(characters);
        self.serial.map_or(Duration::ZERO, time)
    }

    /// Ends when the port is pulled while nobody is asked, and closes it at once; for ever on
    /// connections, which a server may close as it likes, and while the link is down. Cancel-safe.
    pub(crate) async fn pulled(&mut self) {
        let idle = self.session.as_ref().filter(|_| self.is_port);
        match idle.map(|session| session.wire.clone()) {
            Some(wire) => wire.discard().await,
            None => std::future::pending().await,
        }
        if let Some(session) = self.session.take() {
            self.close(session);
        }
    }

    /// After an error: nothing that belongs to the failed request may reach the next one.
    async fn heal(&mut self, session: Session, fault: Fault, timeout: Duration) {
        if self.serial.is_none() || fault == Fault::Closed {
            self.close(session);
            return;
        }
        let gone = time::timeout(timeout, session.wire.discard()).await.is_ok();
        let unanswered = session.unanswered + 1;
        // A connection may be dead without a word, when the server was switched off; a port says so.
        if gone || !self.is_port && unanswered >= SILENT_SERVER {
            self.close(session);
            return;
        }
        let fresh = self.start(session.wire, session.served, session.opened);
        self.session = Some(Session {
            unanswered,
            ..fresh
        });
    }
}

fn pdu(request: &Request) -> Pdu<'static> {
    let (start, count) = (request.start, request.count);
    match request.space {
        Space::Coil => Pdu::ReadCoils(start, count),
        Space::Discrete => Pdu::ReadDiscreteInputs(start, count),
        Space::Holding => Pdu::ReadHoldingRegisters(start, count),
        Space::Input => Pdu::ReadInputRegisters(start, count),
    }
}

/// The data, when it is as much as was asked for. Unit and function were compared before.
fn matching(response: Response, request: &Request) -> Option<Data> {
    let data = match (response, request.space) {
        (Response::ReadCoils(bits), Space::Coil)
        | (Response::ReadDiscreteInputs(bits), Space::Discrete) => Data::Bits(bits),
        (Response::ReadHoldingRegisters(words), Space::Holding)
        | (Response::ReadInputRegisters(words), Space::Input) => Data::Words(words),
        _ => return None,
    };
    let bytes = match &data {
        Data::Words(words) => words.len() * 2,
        // The client unpacks whole bytes.
        Data::Bits(bits) => bits.len() / 8,
    };
    (bytes == usize::from(request.shape().bytes)).then_some(data)
}

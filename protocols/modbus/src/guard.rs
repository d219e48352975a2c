//! The transport that tokio-modbus sees: the port behind a guard of ours.
//!
//! tokio-modbus clears only its own buffer before a request and, on a serial line, takes whatever
//! fits for the answer. The guard owns the port, so that a client context can be thrown away without
//! closing it; it throws away what arrives unasked; and on a serial line it lets exactly one complete,
//! matching, intact frame through ([`crate::frame`]). It counts bytes and keeps what it saw of a
//! failed answer, so that the link can say why. On a line that echoes what is sent it takes its own
//! request out of what comes back.
//!
//! `flush` is not passed on: on a serial port it is `tcdrain`, which blocks the thread.

use crate::connect::Stream;
use crate::frame::{self, Body, Expected, Found};
use protocols_driver::BusStatus;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What may come in for one request: a frame and as much noise.
const INBOX: usize = 2 * frame::MAX_FRAME;

/// What the guard saw of the answer to the last request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Some bytes came, whatever they were.
    pub(crate) bytes: bool,
    /// The port or connection is gone.
    pub(crate) closed: bool,
}

struct Wire {
    port: Box<dyn Stream>,
    status: Arc<BusStatus>,
    /// Set on serial lines while an answer is awaited.
    expected: Option<Expected>,
    inbox: Vec<u8>,
    /// The last request as it went out: some two-wire adapters let us hear ourselves.
    sent: Vec<u8>,
    /// Whether the line echoes what we send; unknown until a read was answered. A read's echo cannot be
    /// taken for its answer, that of a write of one register is the same as its answer.
    echo: Option<bool>,
    /// Whether the echo of the last request is still in the inbox, or to come.
    echo_due: bool,
    /// Part of the inbox that goes to the client: the rest of the answer.
    hand_out: std::ops::Range<usize>,
    seen: Seen,
}

impl Wire {
    /// Reads into `buf`; an end or an error marks the port as closed.
    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.port).poll_read(cx, buf));
        let got = buf.filled().len() - before;
        self.status.counters.bytes_received.add(got as u64);
        self.seen.bytes |= got > 0;
        self.seen.closed |= got == 0;
        Poll::Ready(result.map(|()| got))
    }

    /// Reads what is there into the inbox, up to its bound.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; INBOX];
        let room = INBOX.saturating_sub(self.inbox.len());
        let mut buf = ReadBuf::new(chunk.get_mut(..room).unwrap_or_default());
        let got = ready!(self.read(cx, &mut buf))?;
        self.inbox.extend_from_slice(buf.filled());
        Poll::Ready(Ok(got))
    }

    /// Serial: reads until the answer is complete, then hands it out.
    fn read_answer(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        expected: Expected,
    ) -> Poll<io::Result<()>> {
        while self.hand_out.is_empty() {
            if self.inbox.len() >= INBOX {
                return Poll::Ready(Err(damaged("too many bytes without an answer")));
            }
            if ready!(self.fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.take_echo(expected) {
                continue;
            }
            let counters = &self.status.counters;
            match expected.find(&self.inbox) {
                Found::Partial => {}
                Found::Answer { start, len } => {
                    if matches!(expected.body, Body::Data(_)) && self.echo_due {
                        self.echo = Some(false);
                    }
                    let before = self.inbox.get(..start).unwrap_or_default();
                    if frame::any_answer(before).is_some() {
                        counters.late_answers.inc();
                    }
                    counters.stray_bytes.add((self.inbox.len() - len) as u64);
                    self.hand_out = start..start + len;
                }
                Found::Damaged => {
                    counters.crc_errors.inc();
                    self.inbox.clear();
                    return Poll::Ready(Err(damaged("wrong checksum")));
                }
                Found::Foreign => {
                    counters.late_answers.inc();
                    self.inbox.clear();
                    return Poll::Ready(Err(damaged("answer to another request")));
                }
            }
        }
        let ready = self.inbox.get(self.hand_out.clone()).unwrap_or_default();
        let now = ready.len().min(buf.remaining());
        buf.put_slice(ready.get(..now).unwrap_or_default());
        self.hand_out.start += now;
        Poll::Ready(Ok(()))
    }
}

impl Wire {
    /// Takes our own request out of the inbox. True while the rest of it is still to come.
    fn take_echo(&mut self, expected: Expected) -> bool {
        let is_read = matches!(expected.body, Body::Data(_));
        if !self.echo_due || self.echo == Some(false) || !is_read && self.echo.is_none() {
            return false;
        }
        if self.inbox.starts_with(&self.sent) {
            self.inbox.drain(..self.sent.len());
            (self.echo, self.echo_due) = (Some(true), false);
            // Hearing ourselves is no sign of a device.
            self.seen.bytes = !self.inbox.is_empty();
            return self.inbox.is_empty();
        }
        self.sent.starts_with(&self.inbox)
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A handle on the wire: one for the client context, one for the link.
#[derive(Clone)]
pub(crate) struct LineGuard(Arc<Mutex<Wire>>);

impl LineGuard {
    pub(crate) fn new(port: Box<dyn Stream>, status: Arc<BusStatus>) -> Self {
        Self(Arc::new(Mutex::new(Wire {
            port,
            status,
            expected: None,
            inbox: Vec::with_capacity(INBOX),
            sent: Vec::with_capacity(frame::MAX_FRAME),
            echo: None,
            echo_due: false,
            hand_out: 0..0,
            seen: Seen::default(),
        })))
    }

    /// One task uses the wire; the lock only makes the handles shareable.
    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a request: forgets the last answer, throws away what waits unread, and on a serial line
    /// lets through only `expected` from now on. `closed` in the result: the other end is gone.
    pub(crate) fn arm(&self, expected: Option<Expected>) -> Seen {
        let mut wire = self.wire();
        wire.seen = Seen::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // Ready only when there is nothing more to come.
        let closed = wire.discard(&mut cx).is_ready();
        wire.seen.closed |= closed;
        wire.inbox.clear();
        wire.sent.clear();
        wire.echo_due = true;
        wire.expected = expected;
        let seen = wire.seen;
        wire.seen.bytes = false;
        seen
    }

    /// What came for the last request.
    pub(crate) fn seen(&self) -> Seen {
        self.wire().seen
    }

    /// Throws away what arrives, for ever; ends only when the port is gone. Cancel-safe.
    pub(crate) async fn discard(&self) {
        std::future::poll_fn(|cx| self.wire().discard(cx)).await;
    }
}

impl Wire {
    /// Throws away what is there. Ready when the port is closed, else pending.
    fn discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.hand_out = 0..0;
        loop {
            if self.inbox.len() >= INBOX {
                self.inbox.clear();
            }
            match self.fill(cx) {
                Poll::Ready(Ok(got)) if got > 0 => {
                    self.status.counters.stray_bytes.add(got as u64);
                    // Together with what came in time: an answer cut by its time-out is a late one.
                    if frame::any_answer(&self.inbox).is_some() {
                        self.status.counters.late_answers.inc();
                        self.inbox.clear();
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl AsyncRead for LineGuard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.wire();
        match wire.expected {
            Some(expected) => wire.read_answer(cx, buf, expected),
            None => wire.read(cx, buf).map_ok(|_| ()),
        }
    }
}

impl AsyncWrite for LineGuard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.wire();
        let result = ready!(Pin::new(&mut wire.port).poll_write(cx, bytes));
        match result {
            Ok(sent) => {
                wire.status.counters.bytes_sent.add(sent as u64);
                if wire.expected.is_some() {
                    let sent = bytes.get(..sent).unwrap_or_default();
                    wire.sent.extend_from_slice(sent);
                }
            }
            Err(_) => wire.seen.closed = true,
        }
        Poll::Ready(result)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for LineGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineGuard").finish_non_exhaustive()
    }
}

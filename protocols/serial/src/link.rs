//! The port of a line over time: opened, lost, opened again; bytes counted both ways.
//!
//! Opening is a future that the driver polls, so that it goes on reporting meanwhile. A port that fails
//! is closed in that moment: an adapter whose old descriptor stays open comes back under another name.

use crate::wire::{Opener, Wire};
use protocols_driver::{Backoff, BusStatus};
use protocols_line::PortConfig;
use protocols_model::{Clock, Instant};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};

/// Waits between attempts to open a port. A port that somebody holds may be free within a moment; one
/// that stays away is looked for twice a second besides.
const REOPEN_MIN: Duration = Duration::from_millis(100);
const REOPEN_MAX: Duration = Duration::from_secs(10);
/// Bytes read at once: what an adapter hands over in one go at any usual speed.
pub(crate) const CHUNK: usize = 512;

type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send>>;

/// What a port does by itself.
pub(crate) enum LinkEvent {
    /// Bytes came.
    Bytes(Vec<u8>),
    /// It is gone; close it.
    Gone,
    /// An attempt to open it ended.
    Opened(io::Result<()>),
}

/// The port of one line. Down until an attempt to open it succeeds.
pub(crate) struct Link {
    opener: Arc<dyn Opener>,
    port: PortConfig,
    status: Arc<BusStatus>,
    clock: Arc<dyn Clock>,
    wire: Option<Box<dyn Wire>>,
    opening: Option<(Opening, Instant)>,
    backoff: Backoff,
    reopen_at: Instant,
    /// Nothing stands at the path: worth a look before the back-off is over.
    missing: bool,
    chunk: Box<[u8; CHUNK]>,
}

impl Link {
    pub(crate) fn new(
        opener: Arc<dyn Opener>,
        port: PortConfig,
        status: Arc<BusStatus>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            opener,
            port,
            status,
            reopen_at: clock.monotonic(),
            clock,
            wire: None,
            opening: None,
            backoff: Backoff::new(REOPEN_MIN, REOPEN_MAX),
            missing: false,
            chunk: Box::new([0; CHUNK]),
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.wire.is_some()
    }

    /// Since when an attempt to open is under way.
    pub(crate) fn opening_since(&self) -> Option<Instant> {
        self.opening.as_ref().map(|(_, since)| *since)
    }

    /// Begins an attempt to open the port, if it is down and it is time for one.
    pub(crate) fn open_if_due(&mut self, now: Instant) {
        if self.wire.is_none() && self.opening.is_none() && self.reopen_at <= now {
            self.begin();
        }
    }

    fn begin(&mut self) {
        let (opener, port) = (Arc::clone(&self.opener), self.port.clone());
        let attempt = async move { opener.open(&port).await };
        self.opening = Some((Box::pin(attempt), self.clock.monotonic()));
    }

    /// Waits for bytes while the port is open, else for the end of an attempt to open it. Cancel-safe.
    pub(crate) async fn event(&mut self) -> LinkEvent {
        if self.wire.is_some() {
            self.read().await.map_or(LinkEvent::Gone, LinkEvent::Bytes)
        } else {
            LinkEvent::Opened(self.opened().await)
        }
    }

    /// Ends when an attempt to open the port ended; makes one when it is time. Cancel-safe.
    async fn opened(&mut self) -> io::Result<()> {
        if self.opening.is_none() {
            let wait = self.reopen_at.since(self.clock.monotonic());
            if self.missing {
                // What comes and goes at once is not opened in a circle.
                let soon = wait.min(REOPEN_MIN);
                tokio::time::sleep(soon).await;
                let wait = self.reopen_at.since(self.clock.monotonic());
                tokio::select! {
                    biased;
                    () = self.opener.appeared(&self.port) => {}
                    () = tokio::time::sleep(wait) => {}
                }
            } else {
                tokio::time::sleep(wait).await;
            }
            self.begin();
        }
        let Some((attempt, _)) = &mut self.opening else {
            return std::future::pending().await;
        };
        let result = attempt.as_mut().await;
        self.opening = None;
        match result {
            Ok(wire) => {
                self.status.counters.connects.inc();
                self.wire = Some(wire);
                self.missing = false;
                Ok(())
            }
            Err(error) => {
                self.wait_before_next();
                self.missing = error.kind() == io::ErrorKind::NotFound;
                Err(error)
            }
        }
    }

    fn wait_before_next(&mut self) {
        let now = self.clock.monotonic();
        self.reopen_at = now.plus(self.backoff.failed(now));
    }

    /// The port does what it should: the next failure is a new one.
    pub(crate) fn is_well(&mut self) {
        self.backoff.succeeded(self.clock.monotonic());
    }

    /// Closes the port at once.
    pub(crate) fn close(&mut self) {
        if self.wire.take().is_some() {
            self.status.counters.disconnects.inc();
            self.wait_before_next();
        }
    }

    /// Waits for bytes, for ever while the port is down. `None`: the port is gone; close it.
    /// Cancel-safe.
    pub(crate) async fn read(&mut self) -> Option<Vec<u8>> {
        let Some(wire) = &mut self.wire else {
            return std::future::pending().await;
        };
        let got = wire.read(self.chunk.as_mut_slice()).await.unwrap_or(0);
        self.received(got)
    }

    /// Bytes that are there now. `Pending`: none. `None`: the port is gone; close it.
    pub(crate) fn try_read(&mut self) -> Poll<Option<Vec<u8>>> {
        let Some(wire) = &mut self.wire else {
            return Poll::Ready(None);
        };
        let mut buf = ReadBuf::new(self.chunk.as_mut_slice());
        let mut cx = Context::from_waker(Waker::noop());
        let result = Pin::new(wire).poll_read(&mut cx, &mut buf);
        let got = buf.filled().len();
        match result {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(self.received(got)),
            Poll::Ready(Err(_)) => Poll::Ready(None),
        }
    }

    fn received(&self, got: usize) -> Option<Vec<u8>> {
        self.status.counters.bytes_received.add(got as u64);
        let bytes = self.chunk.get(..got).unwrap_or_default();
        (!bytes.is_empty()).then(|| bytes.to_vec())
    }

    /// Sends all bytes to the kernel. Not cancel-safe: a port whose writing was cut off has to be
    /// closed.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(wire) = &mut self.wire else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        wire.write_all(bytes).await?;
        wire.flush().await?;
        self.status.counters.bytes_sent.add(bytes.len() as u64);
        Ok(())
    }

    /// How long so many bytes are on the wire.
    pub(crate) fn on_wire(&self, bytes: usize) -> Duration {
        self.port
            .line
            .characters(u32::try_from(bytes).unwrap_or(u32::MAX))
    }
}

//! One question and its answer on an open port.
//!
//! Rules: what waits unread is thrown away before a question goes out. After a failure the line stays
//! quiet for one time-out, and what arrives then is counted as late. A frame that does not fit the
//! question is no answer to it. Two frames that both fit are none either: one of them is late, and
//! nobody knows which.

use super::{Task, WRITE_TIMEOUT};
use crate::framer::{Event, Frame, Lost};
use crate::message;
use protocols_model::Reason;
use std::io;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Frames that come while a confirmation is awaited on a line that speaks by itself; more are dropped.
const MAX_OTHERS: usize = 64;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing came in time.
    Timeout,
    /// What came is not the answer.
    BadAnswer,
    /// The port is gone.
    Closed,
}

impl Fault {
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Timeout => Reason::Timeout,
            Self::BadAnswer => Reason::BadAnswer,
            Self::Closed => Reason::LinkDown,
        }
    }
}

/// Takes back what we sent, byte by byte, from what comes in.
struct Echo<'a>(&'a [u8]);

impl Echo<'_> {
    /// What stands behind the echo; `None` when it is not the echo.
    fn strip<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let len = self.0.len().min(bytes.len());
        let (own, rest) = (self.0.get(..len)?, self.0.get(len..)?);
        let (theirs, behind) = (bytes.get(..len)?, bytes.get(len..)?);
        self.0 = rest;
        (own == theirs).then_some(behind)
    }
}

impl Task {
    /// Sends bytes, with the bus' silence before them; ends when they are on the wire, as far as can be
    /// known.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        sleep_until(self.busy_until + self.bus.gap).await;
        let limit = WRITE_TIMEOUT + self.link.on_wire(bytes.len());
        timeout(limit, self.link.write(bytes)).await??;
        self.busy_until = Instant::now() + self.link.on_wire(bytes.len());
        Ok(())
    }

    /// Throws away what waits unread. `false`: the port is gone.
    fn drain(&mut self) -> bool {
        loop {
            match self.link.try_read() {
                Poll::Pending => return true,
                Poll::Ready(None) => return false,
                Poll::Ready(Some(bytes)) => {
                    let bytes = bytes.len() as u64;
                    self.status.counters.stray_bytes.add(bytes);
                }
            }
        }
    }

    /// Keeps quiet for `span`; what comes meanwhile is late or noise. On a line that speaks by itself it
    /// stays unread for a moment instead.
    pub(super) async fn quiet(&mut self, span: Duration) {
        let until = Instant::now() + span;
        if !self.bus.is_asked() {
            return sleep_until(until).await;
        }
        let now = self.now();
        self.framer.reset(true, now);
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = self.link.read() => chunk,
                () = sleep_until(until) => break,
            };
            let Some(chunk) = chunk else {
                self.lost();
                // The caller goes on as after any silence; the port is down.
                return;
            };
            let (now, mut events) = (self.now(), Vec::new());
            self.framer.push(&chunk, now, &mut events);
            for frame in self.frames(events) {
                self.count_unexpected(&frame);
            }
        }
        let now = self.now();
        let held = self.framer.reset(true, now);
        self.status.counters.stray_bytes.add(held as u64);
        self.busy_until = Instant::now();
    }

    /// A good frame that nobody waits for: the answer to an earlier question, or somebody else's.
    fn count_unexpected(&self, frame: &Frame) {
        let mut messages = self.bus.devices.iter().flat_map(|device| {
            device
                .messages
                .iter()
                .enumerate()
                .map(move |(index, message)| {
                    let points = device
                        .points
                        .iter()
                        .filter_map(move |point| match &point.read {
                            Some((of, field)) if *of == index => Some((field, &point.value)),
                            _ => None,
                        });
                    message::read(message, points, frame.payload()).is_some()
                })
        });
        if messages.any(|fits| fits) {
            self.status.counters.late_answers.inc();
        }
        self.status
            .counters
            .stray_bytes
            .add(frame.bytes().len() as u64);
    }

    /// Asks, and waits for a frame that `fits`. On a line that speaks by itself the other frames are kept
    /// in `others`.
    ///
    /// Not cancel-safe: a port whose question was cut off must not be used again.
    pub(super) async fn exchange<T>(
        &mut self,
        question: &[u8],
        patience: Duration,
        mut fits: impl FnMut(&Frame) -> Option<T>,
        others: &mut Vec<Frame>,
    ) -> Result<T, Fault> {
        let asked = self.bus.is_asked();
        if asked {
            if !self.drain() {
                return Err(Fault::Closed);
            }
            let now = self.now();
            self.framer.reset(true, now);
        }
        self.status.counters.requests.inc();
        if self.send(question).await.is_err() {
            return Err(Fault::Closed);
        }
        let deadline = self.busy_until + patience;
        let mut echo = Echo(if self.bus.echo { question } else { &[] });
        let (mut some, mut answer) = (false, None);
        loop {
            let events = match self.receive(deadline, &mut echo).await? {
                Some(events) => events,
                None if some || !echo.0.is_empty() && echo.0.len() < question.len() => {
                    return Err(Fault::BadAnswer);
                }
                None => return Err(Fault::Timeout),
            };
            some |= !events.is_empty();
            for frame in self.frames(events) {
                if is_echo(&frame, question) {
                    self.status
                        .counters
                        .stray_bytes
                        .add(frame.bytes().len() as u64);
                } else if let Some(found) = fits(&frame) {
                    if answer.is_some() && asked {
                        self.status.counters.late_answers.inc();
                        return Err(Fault::BadAnswer);
                    }
                    answer.get_or_insert(found);
                } else if asked {
                    self.count_unexpected(&frame);
                } else if others.len() < MAX_OTHERS {
                    others.push(frame);
                }
            }
            let more = asked && answer.is_some() && self.has_more();
            if let Some(answer) = answer.take_if(|_| !more) {
                self.busy_until = Instant::now();
                self.status.counters.answers.inc();
                return Ok(answer);
            }
        }
    }

    /// Whether bytes wait that could be a second answer; they are kept.
    fn has_more(&mut self) -> bool {
        let Poll::Ready(Some(bytes)) = self.link.try_read() else {
            return false;
        };
        let (now, mut events) = (self.now(), Vec::new());
        self.framer.push(&bytes, now, &mut events);
        self.pending.append(&mut events);
        true
    }

    /// What comes before `deadline`; `None` when nothing did.
    async fn receive(
        &mut self,
        deadline: Instant,
        echo: &mut Echo<'_>,
    ) -> Result<Option<Vec<Event>>, Fault> {
        if !self.pending.is_empty() {
            return Ok(Some(std::mem::take(&mut self.pending)));
        }
        loop {
            let now = self.now();
            let silence = self
                .framer
                .deadline()
                .map(|at| Instant::now() + at.since(now));
            let until = silence.map_or(deadline, |silence| silence.min(deadline));
            let chunk = tokio::select! {
                biased;
                chunk = self.link.read() => Some(chunk),
                () = sleep_until(until) => None,
            };
            let (now, mut events) = (self.now(), Vec::new());
            let waited = chunk.is_none();
            match chunk {
                Some(None) => return Err(Fault::Closed),
                Some(Some(chunk)) => {
                    let Some(behind) = echo.strip(&chunk) else {
                        self.count_lost(chunk.len(), Lost::Noise);
                        return Err(Fault::BadAnswer);
                    };
                    self.framer.push(behind, now, &mut events);
                }
                None => self.framer.tick(now, &mut events),
            }
            if !events.is_empty() {
                return Ok(Some(events));
            }
            if waited && Instant::now() >= deadline {
                // A part of an answer is no silence.
                let held = self.framer.reset(true, now);
                self.count_lost(held, Lost::Cut);
                return if held > 0 {
                    Err(Fault::BadAnswer)
                } else {
                    Ok(None)
                };
            }
        }
    }
}

/// Whether a frame is our own question, from a device or an adapter that sends it back.
fn is_echo(frame: &Frame, question: &[u8]) -> bool {
    let plain = |bytes: &[u8]| bytes.trim_ascii().to_vec();
    let question = plain(question);
    !question.is_empty() && (plain(frame.bytes()) == question || plain(frame.payload()) == question)
}

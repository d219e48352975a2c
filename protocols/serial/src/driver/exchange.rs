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
/// Bytes thrown away before a question; a line that has more at once is not silent anyway.
const MAX_DRAIN: usize = 1 << 16;

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

/// An answer awaited.
struct Wait<'a> {
    deadline: Instant,
    /// What is still missing of the echo of our own bytes.
    echo: &'a [u8],
    /// Bytes that may still come after the deadline: they may have waited for us. A line that never
    /// pauses ends with them.
    overtime: usize,
}

impl Wait<'_> {
    /// What stands behind the echo; `None` when it is not the echo.
    fn strip<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let len = self.echo.len().min(bytes.len());
        let (own, rest) = (self.echo.get(..len)?, self.echo.get(len..)?);
        let (theirs, behind) = (bytes.get(..len)?, bytes.get(len..)?);
        self.echo = rest;
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
        let mut drained = 0;
        while drained < MAX_DRAIN {
            match self.link.try_read() {
                Poll::Pending => break,
                Poll::Ready(None) => return false,
                Poll::Ready(Some(bytes)) => {
                    drained += bytes.len();
                    self.status.counters.stray_bytes.add(bytes.len() as u64);
                }
            }
        }
        true
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
        // A line that never pauses is not waited for.
        while Instant::now() < until {
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
        let mut wait = Wait {
            deadline: self.busy_until + patience,
            echo: if self.bus.echo { question } else { &[] },
            overtime: 2 * self.bus.max_frame,
        };
        let (mut some, mut answer) = (false, None);
        loop {
            let events = match self.receive(&mut wait).await? {
                Some(events) => events,
                None if some => return Err(Fault::BadAnswer),
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

    /// What comes before the deadline; `None` when nothing did.
    async fn receive(&mut self, wait: &mut Wait<'_>) -> Result<Option<Vec<Event>>, Fault> {
        if !self.pending.is_empty() {
            return Ok(Some(std::mem::take(&mut self.pending)));
        }
        loop {
            let now = self.now();
            let silence = self
                .framer
                .deadline()
                .map(|at| Instant::now() + at.since(now));
            let until = silence.map_or(wait.deadline, |silence| silence.min(wait.deadline));
            let chunk = tokio::select! {
                biased;
                chunk = self.link.read() => Some(chunk),
                () = sleep_until(until) => None,
            };
            let late = Instant::now() >= wait.deadline;
            let (now, mut events) = (self.now(), Vec::new());
            let over = match chunk {
                Some(None) => return Err(Fault::Closed),
                Some(Some(chunk)) => {
                    let Some(behind) = wait.strip(&chunk) else {
                        self.count_lost(chunk.len(), Lost::Noise);
                        return Err(Fault::BadAnswer);
                    };
                    self.framer.push(behind, now, &mut events);
                    let len = if late { chunk.len() } else { 0 };
                    wait.overtime = wait.overtime.saturating_sub(len);
                    wait.overtime == 0
                }
                None => {
                    self.framer.tick(now, &mut events);
                    late
                }
            };
            if !events.is_empty() {
                return if over && wait.overtime == 0 {
                    Err(Fault::BadAnswer)
                } else {
                    Ok(Some(events))
                };
            }
            if over {
                // A part of an answer is no silence.
                let part = self.framer.deadline().is_some();
                if self.bus.is_asked() {
                    let held = self.framer.reset(true, now);
                    self.count_lost(held, Lost::Cut);
                }
                return if part {
                    Err(Fault::BadAnswer)
                } else {
                    Ok(None)
                };
            }
        }
    }
}

/// Whether a frame is our own question, from a device or an adapter that sends it back.
pub(super) fn is_echo(frame: &Frame, question: &[u8]) -> bool {
    let plain = |bytes: &[u8]| bytes.trim_ascii().to_vec();
    let question = plain(question);
    !question.is_empty() && (plain(frame.bytes()) == question || plain(frame.payload()) == question)
}

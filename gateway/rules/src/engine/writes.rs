//! What a rule wants written: one set of writes at a time, that of its last change.
//!
//! A write goes out when the interlock allows it and the limit has room; one that could not begin is
//! tried again while the rule still wants it; one whose outcome is unknown, or that the device refused, is
//! not. Each kind of trouble is told once until something else happens.

use crate::engine::{Outcome, RETRY};
use crate::image::LatestImage;
use crate::rule::{WriteAction, WriteLimit, WriteValue};
use gateway_expr::{Outcome as Evaluated, Scratch};
use protocols_driver::WriteError;
use protocols_model::{Instant, PointKey, Value};
use std::collections::VecDeque;

/// Why something is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Fired,
    Ended,
    Unsafe,
}

/// What comes of working off.
pub(super) enum Done {
    Write {
        number: u64,
        point: PointKey,
        value: Value,
        begin_before: Instant,
    },
    Tell(String),
}

#[derive(Debug)]
enum State {
    /// To be sent at this moment or later.
    Waiting(Instant),
    Sent(u64),
    /// Done, or never to be tried again.
    Over,
}

#[derive(Debug)]
struct Wanted {
    action: WriteAction,
    state: State,
}

#[derive(Debug)]
pub(super) struct Desk {
    limit: WriteLimit,
    /// When the last writes went out, at most as many as the limit counts.
    recent: VecDeque<Instant>,
    wanted: Vec<Wanted>,
    next: u64,
    /// The interlock keeps what waits: looked at again with the next evaluation, not by time.
    locked: bool,
    told: Option<String>,
}

impl Desk {
    pub(super) const fn new(limit: WriteLimit) -> Self {
        Self {
            limit,
            recent: VecDeque::new(),
            wanted: Vec::new(),
            next: 0,
            locked: false,
            told: None,
        }
    }

    /// From now on this is wanted and nothing else. Safe values that were wanted stay wanted when the
    /// same moment also fires or ends the rule, unless that writes the same point.
    pub(super) fn want(&mut self, cause: Cause, writes: Vec<WriteAction>) {
        if cause == Cause::Unsafe || writes.iter().any(|write| self.wants(write.point)) {
            self.wanted.clear();
        } else {
            self.wanted
                .retain(|wanted| !matches!(wanted.state, State::Over));
        }
        let waiting = |action| Wanted {
            action,
            state: State::Waiting(Instant::default()),
        };
        self.wanted.extend(writes.into_iter().map(waiting));
        self.locked = false;
        self.told = None;
    }

    fn wants(&self, point: PointKey) -> bool {
        self.wanted
            .iter()
            .any(|wanted| wanted.action.point == point)
    }

    pub(super) fn has_work(&self, now: Instant) -> bool {
        let waits = |wanted: &Wanted| matches!(wanted.state, State::Waiting(at) if at <= now);
        self.wanted.iter().any(waits)
    }

    /// When there is work although nothing arrives.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.locked {
            return None;
        }
        let waits = self.wanted.iter().filter_map(|wanted| match wanted.state {
            State::Waiting(at) => Some(at),
            State::Sent(_) | State::Over => None,
        });
        waits.min().map(|at| at.max(self.room_at()))
    }

    /// When the limit has room for one more.
    fn room_at(&self) -> Instant {
        let count = usize::try_from(self.limit.count).unwrap_or(usize::MAX);
        match self.recent.front() {
            Some(oldest) if self.recent.len() >= count => oldest.plus(self.limit.per),
            _ => Instant::default(),
        }
    }

    pub(super) fn work(
        &mut self,
        now: Instant,
        locked: bool,
        image: &LatestImage,
        scratch: &mut Scratch,
        mut out: impl FnMut(Done),
    ) {
        self.locked = locked;
        if locked {
            let text = "its interlock keeps it from writing".to_owned();
            return self.tell(text, &mut out);
        }
        for place in 0..self.wanted.len() {
            if self.room_at() > now {
                let WriteLimit { count, per } = self.limit;
                let text = format!("it may write {count} times in {per:?} and has to wait");
                return self.tell(text, &mut out);
            }
            let Some(wanted) = self.wanted.get_mut(place) else {
                return;
            };
            if !matches!(wanted.state, State::Waiting(at) if at <= now) {
                continue;
            }
            let value = match &wanted.action.value {
                WriteValue::Constant(value) => Ok(value.clone()),
                WriteValue::Computed(program, wanted) => match program.eval(image, scratch) {
                    Evaluated::Good(value) | Evaluated::Uncertain(value, _) => {
                        value.to_value(*wanted)
                    }
                    Evaluated::Bad(reason) => Err(reason),
                },
            };
            let value = match value {
                Ok(value) => value,
                Err(reason) => {
                    wanted.state = State::Waiting(now.plus(RETRY));
                    let text =
                        format!("the value to write cannot be computed: {}", reason.as_str());
                    self.tell(text, &mut out);
                    continue;
                }
            };
            self.next += 1;
            wanted.state = State::Sent(self.next);
            let done = Done::Write {
                number: self.next,
                point: wanted.action.point,
                value,
                begin_before: now.plus(wanted.action.ttl),
            };
            self.recent.push_back(now);
            while self.recent.len() > usize::try_from(self.limit.count).unwrap_or(usize::MAX) {
                self.recent.pop_front();
            }
            out(done);
        }
    }

    fn tell(&mut self, text: String, out: &mut impl FnMut(Done)) {
        if self.told.as_deref() != Some(&text) {
            self.told = Some(text.clone());
            out(Done::Tell(text));
        }
    }

    /// What became of write `number`; what people should know of it.
    pub(super) fn done(&mut self, now: Instant, number: u64, outcome: &Outcome) -> Option<String> {
        let of = |wanted: &&mut Wanted| matches!(wanted.state, State::Sent(n) if n == number);
        // A rule that wants something else by now still tells what happened.
        let wanted = self.wanted.iter_mut().find(of);
        let unsent = matches!(
            outcome,
            Err(WriteError::Expired | WriteError::Unreachable | WriteError::Busy)
        );
        if let Some(wanted) = wanted {
            wanted.state = if unsent {
                State::Waiting(now.plus(RETRY))
            } else {
                State::Over
            };
        }
        let text = match outcome {
            Ok(_) => {
                self.told = None;
                return Some("written".to_owned());
            }
            // What the device holds may be private; whoever is at the site can read it there.
            Err(WriteError::BadValue(_)) => {
                "not written: the value does not fit the point".to_owned()
            }
            Err(WriteError::NotVerified(_)) => {
                "written, but reading back gave something else".to_owned()
            }
            Err(error) => format!("not written: {error}"),
        };
        if self.told.as_deref() == Some(&text) {
            return None;
        }
        self.told = Some(text.clone());
        Some(text)
    }
}

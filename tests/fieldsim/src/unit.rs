//! One unit: answers read requests from its points, counts the polls of each, keeps its silences.

use crate::answer_log::PolledPoint;
use crate::signal;
use crate::site::{Space, UnitSite};
use protocols_sim::modbus::{self as wire, Range, Request};
use std::collections::HashMap;
use std::time::Duration;

/// A unit and how often each of its points was read.
#[derive(Debug)]
pub struct Unit {
    site: UnitSite,
    polls: HashMap<usize, u64>,
}

/// What a unit answers, and which polls the answer carries.
#[derive(Debug)]
pub struct Answer {
    /// The answer body.
    pub pdu: Vec<u8>,
    /// Every point that lies wholly inside the request and whose value carries its poll number.
    pub polls: Vec<PolledPoint>,
}

impl Unit {
    /// A unit whose points were never read.
    #[must_use]
    pub fn new(site: UnitSite) -> Self {
        Self {
            site,
            polls: HashMap::new(),
        }
    }

    /// The unit's place in the site.
    #[must_use]
    pub const fn site(&self) -> &UnitSite {
        &self.site
    }

    /// Whether the unit is in one of its silences, `uptime` after the simulator's start. The first
    /// period is never silent, so that a start shows data.
    #[must_use]
    pub fn is_silent(&self, uptime: Duration) -> bool {
        let every = u64::from(self.site.silent_every_s);
        every > 0
            && uptime.as_secs() >= every
            && uptime.as_secs() % every < u64::from(self.site.silent_s)
    }

    /// Answers one request body. A register between points reads as 0; one behind the last point is
    /// an illegal address.
    pub fn answer(&mut self, pdu: &[u8]) -> Answer {
        let function = pdu.first().copied().unwrap_or(0);
        let refuse = |code| Answer {
            pdu: wire::exception(function, code),
            polls: Vec::new(),
        };
        let request = match wire::parse(pdu) {
            Ok(Request::Read(request)) => request,
            // What the oracle judges is read only.
            Ok(_) => return refuse(wire::ILLEGAL_FUNCTION),
            Err(code) => return refuse(code),
        };
        match self.read(request) {
            Some((words, polls)) => Answer {
                pdu: wire::read_answer(request, &words),
                polls,
            },
            None => refuse(wire::ILLEGAL_ADDRESS),
        }
    }

    fn read(&mut self, request: Range) -> Option<(Vec<u16>, Vec<PolledPoint>)> {
        let first = u32::from(request.address);
        let end = first + u32::from(request.count);
        let mut words = vec![0u16; usize::from(request.count)];
        let mut polls = Vec::new();
        let mut highest = 0;
        for (place, point) in self.site.points.iter().enumerate() {
            if wire_space(point.space) != request.space {
                continue;
            }
            let start = u32::from(point.address);
            let stop = start + u32::from(point.kind.width());
            highest = highest.max(stop);
            let whole = start >= first && stop <= end;
            let touched = start < end && stop > first;
            if !touched {
                continue;
            }
            let n = self.polls.entry(place).or_insert(0);
            let raw = signal::raw_at(point, *n);
            for (offset, word) in (start..).zip(signal::words(point.kind, raw)) {
                let slot = offset
                    .checked_sub(first)
                    .and_then(|i| usize::try_from(i).ok());
                if let Some(target) = slot.and_then(|i| words.get_mut(i)) {
                    *target = word;
                }
            }
            if whole {
                // What a judge could not count by is not logged: it would cost more than the answer.
                if point.shape.carries_poll_number() {
                    polls.push(PolledPoint {
                        point: point.id.clone(),
                        n: *n,
                        raw,
                    });
                }
                *n += 1;
            }
        }
        // Some slack behind the last point: a gateway may vary the quantity after an error.
        (end <= highest + 8).then_some((words, polls))
    }
}

const fn wire_space(space: Space) -> wire::Space {
    match space {
        Space::Coil => wire::Space::Coil,
        Space::Discrete => wire::Space::Discrete,
        Space::Holding => wire::Space::Holding,
        Space::Input => wire::Space::Input,
    }
}

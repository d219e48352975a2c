//! Drives behind one Modbus TCP endpoint of this process: when each value came to be written, and when
//! the value was given that a rule answers. Both moments on this process' clock.
//!
//! Where pulses are wanted, register 0 of each drive is 0 at one poll and at the next a value that no
//! other poll of any drive ever has, above [`HIGH`].

use anyhow::Context as _;
use protocols_sim::modbus::{
    Carrier, LineTrouble, Reply, Request, Station, TcpFraming, TcpServer, parse, read_answer,
    write_answer,
};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Drives behind the endpoint.
pub(crate) const DRIVES: u8 = 20;
/// The register that is written.
const SET: u16 = 100;
/// Pulses are above.
pub(crate) const HIGH: u16 = 1000;

/// What the drives saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// When each value was asked to be written.
    pub written: HashMap<u16, Instant>,
    /// When each pulse was given.
    pub given: HashMap<u16, Instant>,
    /// Drives whose last poll was a pulse.
    high: HashSet<u8>,
    pulses: u16,
}

/// The drives, and their server, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Drives {
    /// Where they are.
    pub at: SocketAddr,
    seen: Arc<Units>,
    _stop: DropGuard,
}

impl Drives {
    /// Serves drives that think so long before they answer.
    pub(crate) async fn start(thinks: Duration, pulses: bool) -> anyhow::Result<Self> {
        let units = Arc::new(Units {
            thinks,
            pulses,
            seen: Mutex::default(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let at = listener.local_addr().context("no address")?;
        let stop = CancellationToken::new();
        let server = TcpServer::new(Arc::clone(&units) as _, TcpFraming::Mbap);
        tokio::spawn(Arc::new(server).serve(listener, stop.clone()));
        Ok(Self {
            at,
            seen: units,
            _stop: stop.drop_guard(),
        })
    }

    /// What they saw so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.seen()
    }
}

#[derive(Debug)]
struct Units {
    thinks: Duration,
    pulses: bool,
    seen: Mutex<Seen>,
}

impl Units {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next value of register 0.
    fn pulse(&self, unit: u8) -> u16 {
        let mut seen = self.seen();
        if !self.pulses || seen.high.remove(&unit) {
            return 0;
        }
        let Some(value) = (HIGH + 1).checked_add(seen.pulses) else {
            // All values are used up: no more pulses.
            return 0;
        };
        seen.pulses += 1;
        seen.high.insert(unit);
        seen.given.insert(value, Instant::now());
        value
    }
}

impl Station for Units {
    fn ask(&self, unit: u8, pdu: &[u8]) -> Carrier {
        let now = Instant::now();
        let answer = match parse(pdu) {
            Ok(Request::Read(range)) => {
                let mut words = vec![0; usize::from(range.count)];
                if let (0, Some(first)) = (range.address, words.first_mut()) {
                    *first = self.pulse(unit);
                }
                read_answer(range, &words)
            }
            Ok(_write) => {
                if let [_, high, low, .., value_high, value_low] = *pdu
                    && u16::from_be_bytes([high, low]) == SET
                {
                    let value = u16::from_be_bytes([value_high, value_low]);
                    self.seen().written.insert(value, now);
                }
                write_answer(pdu)
            }
            Err(_) => return Carrier::Silence,
        };
        Carrier::Answer(Reply::good(unit, self.thinks, answer))
    }

    fn trouble(&self, _trouble: LineTrouble) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(pulses: bool) -> Units {
        Units {
            thinks: Duration::ZERO,
            pulses,
            seen: Mutex::default(),
        }
    }

    #[test]
    fn a_drive_notes_what_it_is_asked_to_write_whatever_the_function() {
        let units = units(false);
        let single = [6, 0, 100, 0x12, 0x34];
        let multiple = [16, 0, 100, 0, 1, 2, 0x56, 0x78];
        let elsewhere = [6, 0, 7, 0, 9];
        for pdu in [&single[..], &multiple, &elsewhere] {
            assert!(matches!(units.ask(3, pdu), Carrier::Answer(_)));
        }
        let mut noted: Vec<u16> = units.seen().written.keys().copied().collect();
        noted.sort_unstable();
        assert_eq!(noted, [0x1234, 0x5678]);
    }

    #[test]
    fn every_pulse_has_a_value_of_its_own_and_falls_before_the_next() {
        let units = units(true);
        let polled: Vec<u16> = [1, 2, 1, 2, 1].map(|unit| units.pulse(unit)).into();
        assert_eq!(polled, [HIGH + 1, HIGH + 2, 0, 0, HIGH + 3]);
        assert_eq!(units.seen().given.len(), 3);
    }
}

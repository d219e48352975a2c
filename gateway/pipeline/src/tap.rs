//! A tap: readings as drivers made them, for whoever listens for a while, say to record them.
//!
//! Stands before everything else, so what it hears is raw: it holds what privacy keeps from leaving. A
//! listener that is too slow never holds up readings: what it misses is counted, and told with what it
//! hears next.

use protocols_driver::Sweep;
use protocols_model::{Instant, Reading};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Sweeps that may wait for a listener: what comes while it writes to a slow disk.
pub const TAP_CAPACITY: usize = 256;

/// Readings of one sweep.
#[derive(Debug)]
pub struct Heard {
    /// When they arrived.
    pub taken: Instant,
    /// The readings.
    pub readings: Vec<Reading>,
    /// Readings before them that the listener missed.
    pub missed: u64,
}

/// Where the listener is told.
#[derive(Debug)]
pub(crate) struct Tap {
    listener: mpsc::Sender<Heard>,
    missed: u64,
}

impl Tap {
    pub(crate) const fn new(listener: mpsc::Sender<Heard>) -> Self {
        Self {
            listener,
            missed: 0,
        }
    }

    /// Tells the listener; whether there still is one.
    pub(crate) fn tell(&mut self, sweep: &Sweep) -> bool {
        match self.listener.try_reserve() {
            Ok(room) => {
                room.send(Heard {
                    taken: sweep.taken,
                    readings: sweep.readings.clone(),
                    missed: std::mem::take(&mut self.missed),
                });
                true
            }
            Err(TrySendError::Full(())) => {
                self.missed = self.missed.saturating_add(sweep.readings.len() as u64);
                true
            }
            Err(TrySendError::Closed(())) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::{DeviceId, PointKey, Timestamp, Value};

    fn sweep(value: i64) -> Sweep {
        Sweep {
            bus: "plc".into(),
            device: DeviceId::try_new("m1").unwrap(),
            taken: Instant::default(),
            readings: vec![Reading::good(PointKey(0), Timestamp(0), Value::I64(value))],
        }
    }

    #[test]
    fn a_slow_listener_misses_readings_and_knows_how_many() {
        let (listener, mut heard) = mpsc::channel(1);
        let mut tap = Tap::new(listener);
        for value in 0..3 {
            assert!(tap.tell(&sweep(value)));
        }
        let first = heard.try_recv().unwrap();
        assert_eq!((first.readings.len(), first.missed), (1, 0));
        assert!(tap.tell(&sweep(3)));
        let next = heard.try_recv().unwrap();
        assert_eq!(next.readings[0].value, Some(Value::I64(3)));
        assert_eq!(next.missed, 2);
        drop(heard);
        assert!(!tap.tell(&sweep(4)));
    }
}

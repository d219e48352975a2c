//! What a bus counts: cheap to count on the hot path, read by `/metrics` and `status`.
//!
//! Counters only grow and start at zero with the driver. Relaxed order: each stands for itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// One growing number.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds a span, in microseconds.
    pub fn add_span(&self, span: std::time::Duration) {
        self.add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One counter as metrics and status show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterValue {
    /// Name in snake case, without prefix or suffix.
    pub name: &'static str,
    /// What is counted, for people.
    pub help: &'static str,
    /// The count.
    pub value: u64,
}

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident,)+) => {
        /// Everything one bus counts.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $help])+ pub $name: Counter,)+
        }

        impl Counters {
            /// All counters with name and help, in a fixed order.
            #[must_use]
            pub fn values(&self) -> Vec<CounterValue> {
                vec![$(CounterValue {
                    name: stringify!($name),
                    help: concat!($($help),+).trim_ascii(),
                    value: self.$name.get(),
                },)+]
            }
        }
    };
}

counters! {
    /// Requests put on the wire
    requests,
    /// Requests answered with data
    answers,
    /// Requests answered with an exception
    exceptions,
    /// Requests nobody answered in time
    timeouts,
    /// Answers that broke the protocol or did not match the request
    bad_answers,
    /// Complete answers that came too late or belonged to another request, dropped
    late_answers,
    /// Frames whose checksum was wrong
    crc_errors,
    /// Bytes that belonged to no answer, dropped
    stray_bytes,
    /// Polls skipped because their time had passed
    missed_polls,
    /// Sweeps heard unasked that made way for newer ones while there was no room
    overrun,
    /// Polls answered by "not asked" because the device is dead
    unasked_polls,
    /// Probes of dead devices
    probes,
    /// Connections made or ports opened
    connects,
    /// Connections or ports lost, or given up after an error
    disconnects,
    /// Bytes sent
    bytes_sent,
    /// Bytes received
    bytes_received,
    /// Readings handed over
    readings,
    /// Microseconds the bus was taken by requests, their answers and the silence after faults
    busy_microseconds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_listed_under_its_own_name() {
        let counters = Counters::default();
        counters.crc_errors.inc();
        counters.bytes_sent.add(7);
        let values = counters.values();
        let get = |name| values.iter().find(|v| v.name == name).unwrap();
        assert_eq!(get("crc_errors").value, 1);
        assert_eq!(get("bytes_sent").value, 7);
        assert_eq!(get("bytes_sent").help, "Bytes sent");
        assert_eq!(values.iter().map(|v| v.value).sum::<u64>(), 8);
    }
}

//! What the uplink tells about itself, and what it is told at the start.

use crate::engine::{Confirm, Counters};
use crate::hello::HelloTimes;
use crate::link::Server;
use crate::tls::TlsIdentity;
use crate::window::WindowLimits;
use protocols_model::{BootId, GatewayId, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Spans of the uplink. The defaults are those of the design; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// Hello rules.
    pub hello: HelloTimes,
    /// A PUBACK later than this ends the connection. At least 20 s against a cluster: an election of
    /// its leader stalls publishers 5 to 11 s.
    pub puback: Duration,
    /// Longest time for name resolution, TCP, TLS and CONNACK, and then for the subscription.
    pub connect: Duration,
    /// Pause between pings; whole seconds.
    pub keep_alive: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            hello: HelloTimes::default(),
            puback: Duration::from_secs(20),
            connect: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// What the uplink is told at the start.
#[derive(Debug, Clone)]
pub struct UplinkOptions {
    /// The gateway's id: MQTT client id and topic level.
    pub gateway: GatewayId,
    /// Brokers, tried in turn; at least one.
    pub servers: Vec<Server>,
    /// Authority, certificate and key; read at each connect.
    pub tls: TlsIdentity,
    /// Where the last good time is kept; `None` keeps it in memory alone.
    pub last_good_time: Option<PathBuf>,
    /// What makes records leave the spool.
    pub confirm: Confirm,
    /// Bounds of what is under way.
    pub window: WindowLimits,
    /// Spans.
    pub timings: Timings,
    /// This boot.
    pub boot: BootId,
    /// Program version, for people.
    pub software: String,
    /// Digest of the running configuration, for people.
    pub config_revision: String,
    /// Whether an uplink before this one has sent records of the running process.
    pub inherits: bool,
    /// Whether a time source has confirmed the wall clock; whoever watches the clock sets it.
    pub clock_synced: Arc<AtomicBool>,
}

impl UplinkOptions {
    /// Options with every default, for a gateway that talks to `servers`.
    #[must_use]
    pub fn new(gateway: GatewayId, servers: Vec<Server>, tls: TlsIdentity, boot: BootId) -> Self {
        Self {
            gateway,
            servers,
            tls,
            last_good_time: None,
            confirm: Confirm::Store,
            window: WindowLimits::default(),
            timings: Timings::default(),
            boot,
            software: String::new(),
            config_revision: String::new(),
            inherits: false,
            clock_synced: Arc::new(AtomicBool::new(false)),
        }
    }
}

/// A snapshot of the uplink.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UplinkState {
    /// Whether a connection stands.
    pub connected: bool,
    /// The server that is or was last tried.
    pub server: Option<Server>,
    /// Since when `connected` is what it is.
    pub since: Timestamp,
    /// Why the last attempt or connection ended, for people.
    pub last_error: Option<Arc<str>>,
    /// When something was last settled.
    pub last_settled: Option<Timestamp>,
    /// Bytes that wait for their PUBACK.
    pub in_flight_bytes: u64,
    /// Records handed over and not settled.
    pub unsettled_records: u64,
    /// Bytes of envelopes that are not settled.
    pub unsettled_bytes: u64,
    /// Records in the spool that are not under way; an estimate.
    pub backlog_records: u64,
    /// Their bytes; an estimate.
    pub backlog_bytes: u64,
    /// Median and 99th percentile of the last settling delays.
    pub settling: Option<(Duration, Duration)>,
    /// What happened so far.
    pub counters: Counters,
    /// Bytes of backlog a second that the cloud allows now, as far as that is obeyed; `None` for no limit.
    pub slowed_to: Option<u64>,
    /// Hints of the cloud to slow backlog down.
    pub hints: u64,
    /// Bytes of backlog that may be unsettled: grows and shrinks with the acknowledgement delay.
    pub history_window: u64,
    /// What the link is thought to carry.
    pub link_bytes_per_second: u64,
    /// Connection attempts after the first.
    pub reconnects: u64,
    /// The broker takes messages but the cloud behind it settles nothing.
    pub store_away: bool,
}

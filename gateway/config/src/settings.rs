//! The parts of the configuration that are about the gateway itself: identity, spool, uplink, HTTP,
//! log. Each section is declared and read here, and nowhere else.

mod spool;
mod uplink;

use crate::key::kinds::{Inner, Pairs, Parsed, Sizes, Text, Whole, Words};
use crate::key::{Key, Section};
use crate::modbus::level;
use crate::poll::POLL;
use crate::walk::Table;
use protocols_model::{GatewayId, PointKey};
pub(crate) use spool::{SPOOL, read as read_spool};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub(crate) use uplink::{UPLINK, read as read_uplink};

/// Who this gateway is and where it keeps its state.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// Also MQTT client id and certificate common name; never changes.
    pub id: GatewayId,
    /// Free labels for people and metrics.
    pub labels: BTreeMap<String, String>,
    /// Where everything that must survive a restart is kept.
    pub state_dir: PathBuf,
    /// Memory this process may use, where the configuration says so.
    pub memory: Option<u64>,
    /// A file that is there while the wall clock is right, of a time service that the gateway does not
    /// know by itself.
    pub clock_file: Option<PathBuf>,
    /// The point that carries the time of a GNSS receiver, milliseconds since 1970 UTC.
    pub gnss: Option<PointKey>,
}

/// What frees a record (design.md C2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confirm {
    /// The cloud's store acknowledgement.
    #[default]
    Store,
    /// The broker's PUBACK: only for foreign brokers without our ingest.
    Broker,
}

/// How the uplink proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The identity file that `fogline-cloud gateway add` wrote; it also names the servers.
    Identity(PathBuf),
    /// Single files and a list of servers.
    Files {
        /// `mqtts://host:port`, tried in turn.
        servers: Vec<String>,
        /// PEM: who may sign the server's certificate.
        ca: PathBuf,
        /// PEM: our certificate chain.
        certificate: PathBuf,
        /// PEM: our key.
        key: PathBuf,
    },
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its name in the configuration.
    pub name: String,
    /// How it proves who it is.
    pub credentials: Credentials,
    /// What frees a record.
    pub confirm: Confirm,
    /// Age at which a batch is sealed while live.
    pub batch_live: Duration,
    /// Age at which a batch is sealed while offline.
    pub batch_offline: Duration,
}

/// The local HTTP endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Http {
    /// Port on 127.0.0.1; 0 lets the system choose, and the choice is written to the state directory.
    pub port: u16,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// How.
    pub format: LogFormat,
}

pub(crate) const DEFAULT_STATE_DIR: &str = "/var/lib/fogline";

/// Resolves a path of the configuration against the directory of its file.
pub(crate) fn resolve(base: &Path, path: &str) -> PathBuf {
    base.join(path.strip_prefix("file:").unwrap_or(path))
}

const ID: Key<Parsed<GatewayId>> = Key::new(
    "id",
    Parsed {
        allowed: "1 to 63 characters of a-z, 0-9 and '-'",
        parse: |text| GatewayId::try_new(text).map_err(|error| error.to_string()),
    },
    "who the gateway is: also MQTT client id and certificate name; never changes",
)
.required();
const LABELS: Key<Pairs> = Key::new(
    "labels",
    Pairs("a text"),
    "free texts for people and metrics",
);
pub(crate) const STATE_DIR: Key<Text> = Key::new(
    "state_dir",
    Text("a path"),
    "where everything is kept that must survive a restart",
)
.default(DEFAULT_STATE_DIR);
const MEMORY: Key<Sizes> = Key::new(
    "memory",
    Sizes(16 << 20, 1 << 40),
    "memory this process may use; the bound of the spool is checked against it",
)
.otherwise("what the machine has");
const CLOCK_FILE: Key<Text> = Key::new(
    "clock_file",
    Text("a path"),
    "a file that is there while the clock is right, of a time service that is not found by itself; then it alone is believed",
)
.otherwise("systemd-timesyncd, chrony and NTP servers on this machine are found");
pub(crate) const GNSS: Key<Text> = Key::new(
    "gnss",
    Text("a point"),
    "point with the time of a GNSS receiver (`RMC.utc`): readings are placed by it while no time service is there",
);
pub(crate) const DEFAULTS: Key<Inner> = Key::new(
    "defaults",
    Inner(const { &[&LEVELS] }),
    "settings that hold wherever nothing else is said",
);
const PORT: Key<Whole> = Key::new(
    "port",
    Whole(0, 65_535),
    "port on 127.0.0.1; 0: the system chooses, and the choice stands in state_dir/http.addr",
)
.default(0);
const LEVEL: Key<Words<&str>> = Key::new(
    "level",
    Words(&[
        ("error", "error"),
        ("warn", "warn"),
        ("info", "info"),
        ("debug", "debug"),
        ("trace", "trace"),
    ]),
    "how much is logged",
)
.default("info");
const FORMAT: Key<Words<LogFormat>> = Key::new(
    "format",
    Words(&[("human", LogFormat::Human), ("json", LogFormat::Json)]),
    "for people, or one JSON object a line",
)
.default("human");

pub(crate) static GATEWAY: Section = Section::new(
    "[gateway]",
    "Who this gateway is and where it keeps its state.",
    &[
        &ID,
        &LABELS,
        &STATE_DIR,
        &MEMORY,
        &CLOCK_FILE,
        &GNSS,
        &DEFAULTS,
    ],
);
static LEVELS: Section = Section::new(
    "[gateway.defaults]",
    "Settings that hold wherever nothing else is said.",
    &[],
)
.with(&[&POLL, &level::LEVEL]);
pub(crate) static HTTP: Section = Section::new(
    "[http]",
    "The local endpoint: /health, /metrics, /status on 127.0.0.1.",
    &[&PORT],
);
pub(crate) static LOG: Section = Section::new(
    "[log]",
    "What is logged, to standard error.",
    &[&LEVEL, &FORMAT],
);

/// Reads `[gateway]`; its defaults are read by the field side.
pub(crate) fn read_gateway(table: &Table<'_>, base: &Path) -> Option<Gateway> {
    let id = table.get(&ID);
    let labels = table.get(&LABELS).map(|labels| labels.value);
    let labels = labels.unwrap_or_default().into_iter();
    let labels = labels
        .map(|(name, text)| (name.value, text.value))
        .collect();
    let state_dir = STATE_DIR.value(table.get(&STATE_DIR));
    let memory = table.get(&MEMORY);
    let clock_file = table.get(&CLOCK_FILE);
    Some(Gateway {
        id: id?.value,
        labels,
        state_dir: resolve(base, &state_dir),
        memory: memory.map(|m| m.value),
        clock_file: clock_file.map(|file| resolve(base, &file.value)),
        // Resolved when the points are known.
        gnss: None,
    })
}

pub(crate) fn read_http(table: Option<Table<'_>>) -> Http {
    let port = table.as_ref().and_then(|table| table.get(&PORT));
    if let Some(table) = table {
        table.finish();
    }
    // The key allows nothing larger.
    let port = u16::try_from(PORT.value(port)).unwrap_or_default();
    Http { port }
}

pub(crate) fn read_log(table: Option<Table<'_>>) -> Log {
    let level = table.as_ref().and_then(|table| table.get(&LEVEL));
    let format = table.as_ref().and_then(|table| table.get(&FORMAT));
    if let Some(table) = table {
        table.finish();
    }
    Log {
        level: LEVEL.value(level).to_owned(),
        format: FORMAT.value(format),
    }
}

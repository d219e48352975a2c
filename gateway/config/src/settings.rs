//! The parts of the configuration that are about the gateway itself: identity, spool, uplink, HTTP,
//! log. Each section is read with its defaults and limits here, and nowhere else.

use crate::problem::Problem;
use crate::source::{Located, Place};
use crate::units;
use crate::walk::Table;
use gateway_spool::{MIN_DISK_QUOTA_BYTES, SpoolConfig, SpoolConfigError};
use protocols_model::GatewayId;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

pub(crate) fn read_gateway(table: &Table<'_>, base: &Path) -> Option<Gateway> {
    const ID: &str = "1 to 63 characters of a-z, 0-9 and '-'";
    let id = table.parse("id", ID, GatewayId::try_new);
    let id = table.require("id", id, ID);
    let labels = table.table("labels").map(|labels| {
        let pairs = labels.pairs("a text").into_iter();
        pairs.map(|(name, text)| (name.value, text.value)).collect()
    });
    let state_dir = table.text("state_dir");
    let memory = table.size("memory", (16 << 20)..=(1 << 40));
    Some(Gateway {
        id: id?.value,
        labels: labels.unwrap_or_default(),
        state_dir: resolve(
            base,
            state_dir.as_ref().map_or(DEFAULT_STATE_DIR, |d| &d.value),
        ),
        memory: memory.map(|m| m.value),
    })
}

/// Reads `[spool]`; `memory` is what the process may use, as far as known.
pub(crate) fn read_spool(
    table: Option<Table<'_>>,
    root: &Table<'_>,
    base: &Path,
    state_dir: &Path,
    memory: Option<u64>,
    batch_age: Duration,
) -> SpoolConfig {
    const RATE: &str = "a size a day: \"256MiB/day\"";
    let longest = Duration::from_secs(300);
    let mut spool = SpoolConfig::new(state_dir.join("spool"));
    spool.memory_limit_bytes = memory;
    spool.batch_age = batch_age;
    let Some(table) = table else {
        note_bounds(&spool, &root.place(), &root.place(), root);
        return spool;
    };
    if let Some(dir) = table.text("dir") {
        spool.dir = resolve(base, &dir.value);
    }
    let max = table.size("max", MIN_DISK_QUOTA_BYTES..=(1 << 40));
    let commit = table.duration("commit", Duration::from_millis(10)..=longest);
    let ceiling = table.duration("commit_ceiling", Duration::from_millis(10)..=longest);
    let max_write = table.parse("max_write", RATE, |text| {
        let size = text.strip_suffix("/day").and_then(units::parse_size);
        size.filter(|size| *size > 0).ok_or("not a size a day")
    });
    let set = |target: &mut u64, found: Option<Located<u64>>| {
        if let Some(found) = found {
            *target = found.value;
        }
    };
    set(
        &mut spool.keep_free_bytes,
        table.size("keep_free", 0..=(1 << 40)),
    );
    set(
        &mut spool.memory_buffer_bytes,
        table.size("memory_buffer", (64 << 10)..=(1 << 30)),
    );
    set(
        &mut spool.quarantine_bytes,
        table.size("quarantine", 0..=(1 << 40)),
    );
    set(
        &mut spool.rotate_above_bytes,
        table.size("rotate_above", (128 << 10)..=(1 << 40)),
    );
    set(&mut spool.disk_quota_bytes, max.clone());
    spool.max_write_per_day = max_write.map(|rate| rate.value);
    if let Some(commit) = &commit {
        spool.commit_interval = commit.value;
        // A longer interval alone is meant; only a ceiling that was written can contradict it.
        spool.max_commit_interval = spool.max_commit_interval.max(commit.value);
    }
    if let Some(ceiling) = &ceiling {
        spool.max_commit_interval = ceiling.value;
    }
    let quota = max.map_or_else(|| table.place(), |max| max.place);
    let pace = ceiling
        .or(commit)
        .map_or_else(|| table.place(), |found| found.place);
    note_bounds(&spool, &quota, &pace, &table);
    table.finish();
    spool
}

/// Notes what the spool's own check finds: only that knows what a full spool takes.
fn note_bounds(spool: &SpoolConfig, quota: &Place, pace: &Place, table: &Table<'_>) {
    for error in spool.validate().err().unwrap_or_default() {
        let problem = match error {
            SpoolConfigError::QuotaExceedsMemory {
                needed,
                limit,
                allowed,
                ..
            } => {
                let message = format!(
                    "a full spool of {}MiB takes about {}MiB of memory, the limit is {}MiB",
                    spool.disk_quota_bytes >> 20,
                    needed >> 20,
                    limit >> 20
                );
                let allowed = format!(
                    "max = \"{}MiB\" or less, or more gateway.memory",
                    allowed >> 20
                );
                Problem::error(quota, message, allowed)
            }
            SpoolConfigError::QuotaTooSmall { .. } => {
                let allowed = format!("at least {}", units::show_size(MIN_DISK_QUOTA_BYTES));
                Problem::error(quota, error.to_string(), allowed)
            }
            SpoolConfigError::IntervalsCrossed { interval, max } => {
                let message = format!(
                    "commit_ceiling {} is shorter than commit {}",
                    units::show_duration(max),
                    units::show_duration(interval)
                );
                Problem::error(pace, message, "commit_ceiling of at least commit")
            }
            SpoolConfigError::NoInterval => {
                Problem::error(pace, error.to_string(), "commit of at least 10ms")
            }
        };
        table.notes().push(problem);
    }
}

pub(crate) fn read_uplink(
    name: &Located<String>,
    table: &Table<'_>,
    base: &Path,
) -> Option<Uplink> {
    let path = |found: Located<String>| resolve(base, &found.value);
    let shortest = Duration::from_millis(50);
    let identity = table.text("identity");
    let servers = read_servers(table);
    let tls = table.table("tls");
    let confirm = table.word(
        "confirm",
        &[("store", Confirm::Store), ("broker", Confirm::Broker)],
    );
    let age = table.table("batch_age").map(|age| {
        let live = age.duration("live", shortest..=Duration::from_secs(60));
        let offline = age.duration("offline", shortest..=Duration::from_secs(600));
        age.finish();
        (live, offline)
    });
    let (live, offline) = age.unwrap_or_default();
    let credentials = match (identity, servers, tls) {
        (Some(identity), None, None) => Some(Credentials::Identity(path(identity))),
        (Some(identity), _, _) => {
            let message = "`identity` already names servers and certificates";
            let allowed = "either identity, or servers and tls";
            table
                .notes()
                .push(Problem::error(&identity.place, message, allowed));
            None
        }
        (None, servers, Some(tls)) => {
            const PEM: &str = "the path of a PEM file";
            let file = |key| tls.require(key, tls.text(key), PEM).map(path);
            let (ca, certificate, key) = (file("ca"), file("cert"), file("key"));
            tls.finish();
            let servers = table.require("servers", servers, "a list: [\"mqtts://host:8883\"]");
            (|| {
                Some(Credentials::Files {
                    servers: servers?.value,
                    ca: ca?,
                    certificate: certificate?,
                    key: key?,
                })
            })()
        }
        (None, _, None) => {
            if !table.has("identity") {
                let message = "no way to prove who this gateway is";
                let allowed = "identity = \"<file>\", or servers and tls = { ca, cert, key }";
                table
                    .notes()
                    .push(Problem::error(&table.place(), message, allowed));
            }
            None
        }
    };
    Some(Uplink {
        name: name.value.clone(),
        credentials: credentials?,
        confirm: confirm.map_or(Confirm::Store, |confirm| confirm.value),
        batch_live: live.map_or(Duration::from_secs(1), |age| age.value),
        batch_offline: offline.map_or(Duration::from_secs(10), |age| age.value),
    })
}

fn read_servers(table: &Table<'_>) -> Option<Located<Vec<String>>> {
    const FORM: &str = "a list: [\"mqtts://host:8883\"]";
    let servers = table.texts("servers", FORM)?;
    let empty = servers.value.is_empty();
    let mut good = Vec::new();
    for server in servers.value {
        match crate::identity::check_server(&server.value) {
            Ok(()) => good.push(server.value),
            Err(why) => {
                let message = format!("{:?}: {why}", server.value);
                table
                    .notes()
                    .push(Problem::error(&server.place, message, FORM));
            }
        }
    }
    if empty {
        let message = "no server is named";
        table
            .notes()
            .push(Problem::error(&servers.place, message, FORM));
    }
    Some(Located {
        value: good,
        place: servers.place,
    })
}

pub(crate) fn read_http(table: Table<'_>) -> Http {
    let port = table.integer("port", 0..=65_535);
    table.finish();
    let port = port.and_then(|port| u16::try_from(port.value).ok());
    Http {
        port: port.unwrap_or(0),
    }
}

pub(crate) fn read_log(table: Option<Table<'_>>) -> Log {
    let levels = ["error", "warn", "info", "debug", "trace"].map(|level| (level, level));
    let formats = [("human", LogFormat::Human), ("json", LogFormat::Json)];
    let level = table.as_ref().and_then(|t| t.word("level", &levels));
    let format = table.as_ref().and_then(|t| t.word("format", &formats));
    if let Some(table) = table {
        table.finish();
    }
    Log {
        level: level.map_or("info", |level| level.value).to_owned(),
        format: format.map_or(LogFormat::Human, |format| format.value),
    }
}

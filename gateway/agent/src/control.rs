//! A door for people at the machine: a Unix socket in the state directory, mode 0600, by which a running
//! gateway is asked to write a point, or about its alarms. Whoever may read the state directory of the
//! gateway may do so; nobody else can reach it.
//!
//! One line of JSON each way: `{"device":"meter1","point":"relay","value":"true"}` and
//! `{"read_back":true,"error":null}`; `{"alarms":"list"}` and what `fogline-gateway alarms --json`
//! prints; `{"watch":{…}}` and what `fogline-gateway watch` shows; `{"record":{"millis":3600000}}`, which is
//! answered by a line and then by the frames of a recording. Bounded in size, in time and in number.

mod alarms;
pub(crate) mod record;
mod watch;

use crate::field::Desks;
use crate::find::parse_value;
use crate::generation::Generation;
use crate::point_names::PointNames;
use crate::snapshot::Source;
pub(crate) use alarms::{AlarmNow, AlarmsNow, What, alarms};
use anyhow::Context;
use gateway_pipeline::Ask;
use protocols_model::Clock;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;
pub(crate) use watch::{Page, PointNow, WatchNow, watch};

/// Its name in the state directory.
const FILE: &str = "control.sock";
/// Longest line.
const MOST_BYTES: u64 = 16 * 1024;
/// People at the machine at one time.
const MOST_CALLERS: usize = 4;
/// A caller that says nothing is let go.
const PATIENCE: Duration = Duration::from_secs(5);
/// A write that cannot begin within this time is not begun.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// The caller waits a little longer than the write may take.
const CALLER_PATIENCE: Duration = Duration::from_secs(60);

/// What may be asked at the door.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum Asked {
    Write(Order),
    Alarms(alarms::Order),
    Watch(watch::Order),
    Record(record::Order),
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Order {
    device: String,
    point: String,
    value: String,
}

/// How a write went.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Outcome {
    /// What reading back gave, for points that are verified.
    pub(crate) read_back: Option<serde_json::Value>,
    /// Why it is not, or perhaps not, written.
    pub(crate) error: Option<String>,
}

impl Outcome {
    fn failed(error: impl Into<String>) -> Self {
        Self {
            read_back: None,
            error: Some(error.into()),
        }
    }
}

/// What can be reached of the running generation.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    desks: Desks,
    asks: mpsc::Sender<Ask>,
    names: Arc<PointNames>,
    /// The revision of its configuration.
    revision: String,
}

impl Reach {
    pub(crate) fn of(generation: &Generation, revision: &str) -> Self {
        Self {
            desks: generation.desks(),
            asks: generation.asks(),
            names: generation.names(),
            revision: revision.to_owned(),
        }
    }
}

/// What callers reach, and how.
struct Door {
    reach: CurrentReach,
    source: Arc<Source>,
    state_dir: PathBuf,
    /// One recording at a time: each costs a little of everything.
    recording: Semaphore,
}

impl Door {
    fn reach(&self) -> Reach {
        let current = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

/// The running generation; a reload puts its own in.
pub(crate) type CurrentReach = Arc<Mutex<Reach>>;

/// Opens the door; the handle closes it. A state directory that cannot be written has none, and the
/// gateway goes on without.
pub(crate) fn start(
    state_dir: &Path,
    reach: CurrentReach,
    source: Arc<Source>,
) -> Option<AbortOnDropHandle<()>> {
    let path = state_dir.join(FILE);
    // Ours: the lock of the state directory was taken before. What stands there is of a dead process.
    let _absent = std::fs::remove_file(&path);
    let opened = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match opened {
        Ok(listener) => {
            let door = Door {
                reach,
                source,
                state_dir: state_dir.to_owned(),
                recording: Semaphore::new(1),
            };
            Some(AbortOnDropHandle::new(tokio::spawn(serve(listener, door))))
        }
        Err(error) => {
            tracing::warn!(%error, "no door for `fogline-gateway write` at {}", path.display());
            None
        }
    }
}

async fn serve(listener: UnixListener, door: Door) {
    let door = Arc::new(door);
    let seats = Arc::new(Semaphore::new(MOST_CALLERS));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, as a rule: whoever called may call again.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let door = Arc::clone(&door);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &door).await {
                tracing::debug!(%error, "a caller at the door went away");
            }
            drop(seat);
        });
    }
}

async fn answer(mut stream: UnixStream, door: &Door) -> anyhow::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut read = AsyncBufReader::new(read.take(MOST_BYTES));
    tokio::time::timeout(PATIENCE, read.read_line(&mut line)).await??;
    let Reach {
        desks, asks, names, ..
    } = door.reach();
    let source = &door.source;
    let clock = source.clock.as_ref();
    let mut text = match serde_json::from_str::<Asked>(&line) {
        Ok(Asked::Write(order)) => serde_json::to_string(&carry_out(order, &desks, clock).await)?,
        Ok(Asked::Alarms(order)) => {
            let answer = alarms::carry_out(order, &asks, clock).await;
            serde_json::to_string(&answer)?
        }
        Ok(Asked::Watch(order)) => {
            let answer = watch::carry_out(order, &asks, &names, source).await;
            serde_json::to_string(&answer)?
        }
        Ok(Asked::Record(order)) => return record::carry_out(order, door, stream).await,
        Err(error) => serde_json::to_string(&Outcome::failed(format!("not an order: {error}")))?,
    };
    text.push('\n');
    tokio::time::timeout(PATIENCE, write.write_all(text.as_bytes())).await??;
    Ok(())
}

async fn carry_out(order: Order, desks: &Desks, clock: &dyn Clock) -> Outcome {
    let name = format!("{}/{}", order.device, order.point);
    let Some((key, value_type)) = desks.find(&order.device, &order.point) else {
        return Outcome::failed(format!(
            "the running configuration has no point {name}; was the file changed since? SIGHUP reads it anew"
        ));
    };
    let value = match parse_value(&order.value, value_type) {
        Ok(value) => value,
        Err(error) => return Outcome::failed(error.to_string()),
    };
    tracing::info!(point = name, "a person at the machine writes");
    let until = clock.monotonic().plus(BEGIN_WITHIN);
    desks.write(key, value, until).await.into()
}

/// The door of the gateway that runs on `state_dir`, for what takes longer than a question.
///
/// # Errors
/// When it is not open.
pub(crate) async fn connect(state_dir: &Path) -> anyhow::Result<UnixStream> {
    let path = state_dir.join(FILE);
    let stream = UnixStream::connect(&path).await;
    stream.with_context(|| closed(&path))
}

fn closed(path: &Path) -> String {
    let path = path.display();
    format!("the gateway that runs does not open its door {path}")
}

/// Asks the gateway that runs on `state_dir` to write.
///
/// # Errors
/// When it does not answer; then nobody knows whether it was written.
pub(crate) fn write(
    state_dir: &Path,
    (device, point): (&str, &str),
    value: &str,
) -> anyhow::Result<Outcome> {
    let order = Order {
        device: device.to_owned(),
        point: point.to_owned(),
        value: value.to_owned(),
    };
    ask(state_dir, &order, CALLER_PATIENCE)?
        .context("the gateway did not answer: the point may or may not be written")
}

/// Asks the gateway that runs on `state_dir`; the inner result is what became of an order that was sent.
fn ask<T: serde::de::DeserializeOwned>(
    state_dir: &Path,
    order: &impl serde::Serialize,
    patience: Duration,
) -> anyhow::Result<anyhow::Result<T>> {
    let path = state_dir.join(FILE);
    let mut stream = Blocking::connect(&path).with_context(|| closed(&path))?;
    stream.set_read_timeout(Some(patience))?;
    writeln!(stream, "{}", serde_json::to_string(order)?)?;
    let mut line = String::new();
    let read = BufReader::new(stream).read_line(&mut line);
    let answer = read.map_err(anyhow::Error::from);
    Ok(answer.and_then(|_| Ok(serde_json::from_str(&line)?)))
}

//! A recording at the door: raw readings of the pipeline as the frames of a tape, for the caller to keep.
//!
//! Nothing is written here: whoever asks keeps the file, under its own name and rights, and a gateway with
//! a read-only or full disk can be recorded too. A configuration that is swapped meanwhile brings its own
//! points; a caller that goes away, or takes nothing for a while, ends the recording.

use super::{Door, PATIENCE};
use crate::cli::record::MAX_SPAN;
use crate::last_good;
use crate::reload::revision;
use anyhow::Context;
use gateway_config::{Options, Severity};
use gateway_pipeline::{Ask, Heard, TAP_CAPACITY};
use gateway_recorder::Recorder;
use gateway_recorder::frame::Frame;
use protocols_model::{BootId, PointDescriptor};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A configuration that was just swapped in is kept within this.
const KEPT_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) record: Span,
}

/// For how long.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) millis: u64,
}

/// The line before the frames.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Begins {
    /// Why nothing follows.
    pub(crate) error: Option<String>,
    /// Points of the configuration.
    pub(crate) points: usize,
    /// Of these, points that privacy treats or keeps: their raw values are in the recording.
    pub(crate) private: usize,
}

/// The points of the configuration that runs.
struct Points {
    all: Vec<PointDescriptor>,
    private: usize,
}

pub(super) async fn carry_out(
    order: Order,
    door: &Door,
    mut stream: UnixStream,
) -> anyhow::Result<()> {
    let refuse = |error: String| Begins {
        error: Some(error),
        ..Begins::default()
    };
    let Ok(_seat) = door.recording.try_acquire() else {
        let begins = refuse("somebody records already; one recording at a time".to_owned());
        return say(&mut stream, &begins).await;
    };
    let (mut heard, points) = match listen(door).await {
        Ok(listening) => listening,
        Err(error) => return say(&mut stream, &refuse(format!("{error:#}"))).await,
    };
    let begins = Begins {
        error: None,
        points: points.all.len(),
        private: points.private,
    };
    say(&mut stream, &begins).await?;
    tracing::info!("a person at the machine records raw readings");
    let span = Duration::from_millis(order.record.millis).min(MAX_SPAN);
    let end = Instant::now() + span;
    let (mut gone, mut to) = stream.split();
    let mut points = points.all;
    loop {
        let ended = tokio::select! {
            biased;
            // The caller says nothing more: what can be read is its end.
            _ = gone.read_u8() => return Ok(()),
            ended = follow(door, points, &mut heard, &mut to, end) => ended?,
        };
        if matches!(ended, Ended::Time) {
            break;
        }
        // Another configuration runs, or will in a moment.
        let (again, others) = listen(door).await?;
        (heard, points) = (again, others.all);
    }
    send(&mut to, &[Frame::end()]).await?;
    tracing::info!("the recording has ended");
    Ok(())
}

enum Ended {
    /// Its time is over.
    Time,
    /// The pipeline that was listened to has ended.
    Pipeline,
}

/// Records one configuration.
async fn follow(
    door: &Door,
    points: Vec<PointDescriptor>,
    heard: &mut mpsc::Receiver<Heard>,
    to: &mut (impl AsyncWriteExt + Unpin),
    end: Instant,
) -> anyhow::Result<Ended> {
    let mut recorder = Recorder::new(points, BootId(0))?;
    send(to, &recorder.beginning()).await?;
    loop {
        let now = door.source.clock.monotonic();
        let due = recorder.due();
        let wait = due.map_or(Duration::MAX, |due| due.since(now));
        let (ended, missed) = tokio::select! {
            biased;
            () = tokio::time::sleep_until(end) => (Some(Ended::Time), 0),
            came = heard.recv() => match came {
                Some(Heard { taken, readings, missed }) => {
                    recorder.take(taken, &readings);
                    (None, missed)
                }
                None => (Some(Ended::Pipeline), 0),
            },
            () = tokio::time::sleep(wait), if due.is_some() => (None, 0),
        };
        let now = door.source.clock.monotonic();
        let mut frames = Vec::new();
        if missed > 0 {
            frames.push(Frame::missed(missed));
        }
        if ended.is_some() || recorder.due().is_some_and(|due| due <= now) {
            frames.extend(recorder.seal(now, door.source.clock.wall()));
        }
        send(to, &frames).await?;
        if let Some(ended) = ended {
            return Ok(ended);
        }
    }
}

/// Listens to the pipeline that runs. Its points are read from the configuration as it was kept: a gateway
/// has no other copy of their names, and must not carry one for this.
async fn listen(door: &Door) -> anyhow::Result<(mpsc::Receiver<Heard>, Points)> {
    let until = Instant::now() + KEPT_WITHIN;
    loop {
        let reach = door.reach();
        let state_dir = door.state_dir.clone();
        let kept = tokio::task::spawn_blocking(move || points(state_dir)).await?;
        if let Some((_, points)) = kept.filter(|(kept, _)| *kept == reach.revision) {
            let (listener, heard) = mpsc::channel(TAP_CAPACITY);
            if reach.asks.send(Ask::Listen(listener)).await.is_ok() {
                return Ok((heard, points));
            }
        }
        anyhow::ensure!(
            Instant::now() < until,
            "the configuration that runs is not kept in the state directory, which says the names of its points"
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// Revision and points of the kept configuration.
fn points(state_dir: PathBuf) -> Option<(String, Points)> {
    let options = Options {
        unknown_keys: Severity::Warning,
        overload: Severity::Warning,
        memory: None,
    };
    let loaded = last_good::load(&state_dir, options)?;
    let config = loaded.config?;
    let points = Points {
        private: config.fog.privacy.len(),
        all: config.points.into_iter().map(|p| p.descriptor).collect(),
    };
    Some((revision(&loaded.files), points))
}

async fn say(stream: &mut UnixStream, begins: &Begins) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(begins)?;
    line.push(b'\n');
    write(stream, &line).await
}

async fn send(to: &mut (impl AsyncWriteExt + Unpin), frames: &[Frame]) -> anyhow::Result<()> {
    let encoded = frames.iter().filter_map(Frame::encode);
    let bytes = encoded.collect::<Vec<_>>().concat();
    write(to, &bytes).await
}

async fn write(to: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> anyhow::Result<()> {
    let written = tokio::time::timeout(PATIENCE, to.write_all(bytes)).await;
    written.context("whoever records takes nothing")??;
    Ok(())
}

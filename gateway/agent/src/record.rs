//! `record`: raw readings of the gateway that runs, kept for a while in a folder of the caller's.
//!
//! The gateway tells, this process writes. What came until Ctrl-C, until the gateway ended or until the
//! disk was full is kept.

use crate::cli::record::RecordArgs;
use crate::console::{say, warn};
use crate::control::record::{Begins, Order, Span};
use crate::exit::Exit;
use crate::explain::size;
use crate::{alarms, control, lock};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use gateway_config::units::show_duration;
use gateway_recorder::frame::{Frame, Kind, MAX_BODY_BYTES};
use gateway_recorder::{Tape, TapeLimits};
use protocols_wire::Record;
use serde_json::json;
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

/// How often the terminal is told.
const TOLD: Duration = Duration::from_secs(1);
/// The gateway reads its configuration before it answers.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(args: &RecordArgs) -> anyhow::Result<Exit> {
    let state_dir = alarms::state_dir(&args.config);
    if lock::owner(&state_dir).is_none() {
        bail!(
            "no gateway runs on {}: a recording is made of what one reads",
            state_dir.display()
        );
    }
    let there = Tape::is_there(&args.out).with_context(|| args.out.display().to_string())?;
    ensure!(
        args.append || !there,
        "{} holds a recording already: name another folder, or go on in it with --append",
        args.out.display()
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting")?;
    runtime.block_on(record(args, &state_dir))
}

/// How far it is.
#[derive(Default)]
struct Sum {
    readings: u64,
    missed: u64,
    bytes: u64,
}

async fn record(args: &RecordArgs, state_dir: &Path) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut stream = control::connect(state_dir).await?;
    let millis = u64::try_from(args.span.as_millis()).unwrap_or(u64::MAX);
    let order = Order {
        record: Span { millis },
    };
    let mut buffer = Vec::new();
    let begins = ask(&mut stream, &order, &mut buffer);
    let begins = tokio::time::timeout(PATIENCE, begins);
    let begins = begins.await.context("the gateway did not answer")??;
    if let Some(error) = begins.error {
        bail!("{error}");
    }
    let max_bytes = args.max;
    let mut tape = Tape::open(&args.out, TapeLimits { max_bytes })
        .with_context(|| format!("making {}", args.out.display()))?;
    tell_begin(args, &begins);
    let started = Instant::now();
    let mut told = started;
    let mut sum = Sum::default();
    let why = loop {
        let ended = drain(&mut buffer, &mut tape, &mut sum);
        let ended = ended.with_context(|| {
            let out = args.out.display();
            format!("writing {out}; what came until now is kept")
        })?;
        if ended {
            break Why::Time;
        }
        if std::io::stderr().is_terminal() && told.elapsed() >= TOLD {
            told = Instant::now();
            warn(format_args!("\r{}\x1b[K", show(&sum, started.elapsed())));
        }
        let read = tokio::select! {
            biased;
            _ = interrupt.recv() => break Why::Person,
            _ = terminate.recv() => break Why::Person,
            read = stream.read_buf(&mut buffer) => read.context("listening to the gateway")?,
        };
        if read == 0 {
            break Why::Gateway;
        }
    };
    tell_end(args, &sum, started.elapsed(), why);
    Ok(match why {
        Why::Time | Why::Person => Exit::Done,
        Why::Gateway => Exit::Failed,
    })
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Time,
    Person,
    Gateway,
}

impl Why {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Person => "interrupted",
            Self::Gateway => "gateway ended",
        }
    }
}

/// Asks for a recording; what came behind the answer is left in `buffer`.
async fn ask(
    stream: &mut UnixStream,
    order: &Order,
    buffer: &mut Vec<u8>,
) -> anyhow::Result<Begins> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            return serde_json::from_slice(&line).context("the gateway speaks of something else");
        }
        let read = stream.read_buf(buffer).await?;
        ensure!(read > 0, "the gateway went away before it answered");
    }
}

/// Writes the frames that are whole; whether the recording is over.
fn drain(buffer: &mut Vec<u8>, tape: &mut Tape, sum: &mut Sum) -> anyhow::Result<bool> {
    let mut bytes = Bytes::from(std::mem::take(buffer));
    let mut frames = Vec::new();
    let mut ended = false;
    while let Some(length) = Frame::length(&bytes) {
        ensure!(
            length <= 2 * MAX_BODY_BYTES,
            "what the gateway tells is no recording: both must be of one version"
        );
        if bytes.len() < length {
            break;
        }
        let (frame, rest) = Frame::split(&bytes)
            .context("what the gateway tells is no recording: both must be of one version")?;
        bytes = rest;
        sum.missed = sum.missed.saturating_add(frame.missing());
        match frame.kind {
            Kind::Record => {
                let (summary, _) = Record::losses(&frame.body)?;
                sum.readings = sum.readings.saturating_add(summary.readings);
            }
            Kind::End => ended = true,
            Kind::Dictionary | Kind::Missed => {}
        }
        frames.push(frame);
    }
    buffer.extend_from_slice(&bytes);
    tape.write(&frames)?;
    sum.bytes = tape.written();
    Ok(ended)
}

fn tell_begin(args: &RecordArgs, begins: &Begins) {
    if args.json {
        return;
    }
    let (out, span, points) = (args.out.display(), show_duration(args.span), begins.points);
    warn(format_args!(
        "recording {points} points for {span} in {out}; Ctrl-C ends it earlier\n"
    ));
    let raw = match begins.private {
        0 => "it is raw".to_owned(),
        1 => "it is raw: 1 point has values that must not leave this site".to_owned(),
        n => format!("it is raw: {n} points have values that must not leave this site"),
    };
    warn(format_args!(
        "{raw}; readable by you alone, sent to nobody\n"
    ));
}

fn tell_end(args: &RecordArgs, sum: &Sum, lasted: Duration, why: Why) {
    let out = args.out.display();
    if args.json {
        let about = json!({
            "recording": args.out, "ended": why.as_str(), "seconds": lasted.as_secs(),
            "readings": sum.readings, "missed": sum.missed, "bytes": sum.bytes,
        });
        say(format_args!("{about}\n"));
        return;
    }
    if std::io::stderr().is_terminal() {
        warn("\r\x1b[K");
    }
    if why == Why::Gateway {
        warn("the gateway has ended; what came until then is kept\n");
    }
    say(format_args!("{}\n", show(sum, lasted)));
    say(format_args!(
        "try a configuration on it: fogline-gateway replay --config new.toml --data {out} --against\n"
    ));
}

fn show(sum: &Sum, lasted: Duration) -> String {
    let lasted = show_duration(Duration::from_secs(lasted.as_secs()));
    let missed = match sum.missed {
        0 => String::new(),
        missed => format!(", {missed} missed because it could not keep up"),
    };
    let size = size(sum.bytes as f64);
    format!("{lasted}: {} readings, {size}{missed}", sum.readings)
}

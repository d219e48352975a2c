//! Serial devices on lines of their own: a scale that sends by itself, an instrument that is asked.
//!
//! A frame of the scale is logged if the port was open when it began. Whether a gateway that had just
//! opened it, or was about to close it, took the frame, nobody here can know: the log says when that was
//! ([`OPENED`], [`CLOSED`]), and the judge allows for it.

use crate::answer_log::{
    ANSWER, AnswerLine, AnswerLog, CLOSED, OPENED, PolledPoint, SILENT, wall_ns,
};
use crate::signal;
use crate::site::{BusKind, BusSite, PointSite, UnitSite, WordKind};
use anyhow::Context as _;
use protocols_sim::event::{Event, Hook, What};
use protocols_sim::fault::{Board, Fault, Kind};
use protocols_sim::line::{LineSettings, Parity, Port};
use protocols_sim::script::{Signal, Value};
use protocols_sim::serial::{Answer, Device, DeviceSetup, Frame, Say, Terminal};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time an instrument takes to think before it answers.
const THINKS: Duration = Duration::from_millis(10);

/// A serial device that is served; its line ends when dropped.
#[derive(Debug)]
pub struct SerialDevice {
    device: Arc<Device>,
    _port: Port,
    stopped: Arc<AtomicBool>,
}

impl SerialDevice {
    /// Serves the device of `bus`, whose link is `link`, at `baud`.
    ///
    /// # Errors
    /// Where the line cannot be made, or the bus has not exactly one device.
    pub fn serve(bus: &BusSite, log: &Arc<AnswerLog>) -> anyhow::Result<Self> {
        let [unit] = bus.units.as_slice() else {
            anyhow::bail!(
                "a serial line has one device, {} has {}",
                bus.name,
                bus.units.len()
            );
        };
        let (link, baud, says, answers) = match &bus.kind {
            BusKind::Scale {
                link,
                baud,
                every_ms,
            } => {
                let every = Duration::from_millis(u64::from(*every_ms));
                let frame = frame(&weighed(unit))?;
                (link, *baud, vec![Say { every, frame }], Vec::new())
            }
            BusKind::Scpi { link, baud } => {
                let answers: anyhow::Result<_> = unit.points.iter().map(measured).collect();
                (link, *baud, Vec::new(), answers?)
            }
            BusKind::Tcp { .. } | BusKind::Rtu { .. } | BusKind::Radio { .. } => {
                anyhow::bail!("{} is no serial line", bus.name)
            }
        };
        let values = unit.points.iter().cloned().map(|point| {
            let (id, kind) = (point.id.as_str().into(), point.kind);
            let value = move |moment: protocols_sim::script::Moment| {
                Value::Float(signal::value(kind, signal::raw_at(&point, moment.poll)))
            };
            (id, Signal::computed(value))
        });
        let setup = DeviceSetup {
            name: unit.device.as_str().into(),
            values: values.collect(),
            says,
            answers,
            end: b'\n',
            faults: Board::new(&silences(unit))?,
        };
        let stopped = Arc::new(AtomicBool::new(false));
        let hook = hook(bus, unit, Arc::clone(log), Arc::clone(&stopped));
        let device = Device::new(setup, hook, Instant::now(), Duration::ZERO);
        let device = Arc::new(device);
        let line = LineSettings::new(baud, Parity::None, 1);
        let core = Box::new(Terminal::new(line, Arc::clone(&device)));
        let port = Port::start(Path::new(link), core, None)
            .with_context(|| format!("making the line of {}", bus.name))?;
        Ok(Self {
            device,
            _port: port,
            stopped,
        })
    }

    /// From now on it says nothing, and nothing is logged.
    pub fn fall_silent(&self) {
        let silence = Fault {
            kind: Kind::Silent,
            time: None,
            every: None,
            share: 1.0,
        };
        // Refused only where it has sixteen faults already; it has at most one.
        let _armed = self.device.arm(silence);
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Decimals that show a value of this kind whole.
const fn decimals(kind: WordKind) -> usize {
    match kind {
        WordKind::Centi => 2,
        WordKind::I32 => 4,
        WordKind::I64 => 9,
        WordKind::Bit | WordKind::U16 | WordKind::U32 | WordKind::F32 => 0,
    }
}

fn frame(template: &str) -> anyhow::Result<Frame> {
    Ok(Frame::Text(template.parse()?))
}

/// `ST,GS,{weight:+12.4},kg*{xor}`
fn weighed(unit: &UnitSite) -> String {
    let value = |point: &PointSite| format!("{{{}:+12.{}}}", point.id, decimals(point.kind));
    let values: Vec<String> = unit.points.iter().map(value).collect();
    format!("ST,GS,{},kg*{{xor}}\r\n", values.join(","))
}

/// `MEAS:VOLT?` is answered with the value of the point `volt`.
fn measured(point: &PointSite) -> anyhow::Result<Answer> {
    let template = format!("{{{}:+.{}}}\n", point.id, decimals(point.kind));
    Ok(Answer {
        to: question(&point.id).into_bytes(),
        after: THINKS,
        frame: frame(&template)?,
    })
}

/// What the instrument is asked for a point.
#[must_use]
pub fn question(point: &str) -> String {
    format!("MEAS:{}?", point.to_uppercase())
}

fn silences(unit: &UnitSite) -> Vec<Fault> {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let silence = Fault {
        kind: Kind::Silent,
        time: Some(seconds(unit.silent_s)),
        every: Some(seconds(unit.silent_every_s)),
        share: 1.0,
    };
    let silent = unit.silent_every_s > 0 && unit.silent_s > 0;
    silent.then_some(silence).into_iter().collect()
}

fn hook(bus: &BusSite, unit: &UnitSite, log: Arc<AnswerLog>, stopped: Arc<AtomicBool>) -> Hook {
    let (gateway, device) = (bus.gateway.clone(), unit.device.clone());
    let points: HashMap<String, PointSite> = unit
        .points
        .iter()
        .map(|point| (point.id.clone(), point.clone()))
        .collect();
    Arc::new(move |event: &Event<'_>| {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        let (kind, shown) = match event.what {
            What::Said {
                shown, heard: true, ..
            } => (ANSWER, shown),
            What::Faulted(_) => (SILENT, &[][..]),
            What::Port { open: true } => (OPENED, &[][..]),
            What::Port { open: false } => (CLOSED, &[][..]),
            _ => return,
        };
        let polls = shown.iter().filter_map(|shown| {
            let point = points.get(&*shown.point)?;
            Some(PolledPoint {
                point: point.id.clone(),
                n: shown.poll,
                raw: signal::raw_at(point, shown.poll),
            })
        });
        log.write_or_end(&AnswerLine {
            t: wall_ns(),
            gateway: gateway.clone(),
            device: device.clone(),
            polls: polls.collect(),
            kind: kind.to_owned(),
        });
    })
}

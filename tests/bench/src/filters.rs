//! `filters`: what the pipeline spends on a reading, with and without a filter on each point.
//!
//! The pipeline alone, on one thread, with the committed signals of the field: no driver, no spool, no
//! link. Time is the thread's own CPU time; making the readings is outside of it.

use crate::field;
use crate::figures::{Figure, Limit};
use crate::measure::float;
use crate::report::row;
use gateway_filter::{Band, Stage};
use gateway_pipeline::{BatchAge, Pipeline, PointSetup, Setup};
use gateway_rules::Engine;
use protocols_model::{
    BootId, DeviceId, Instant, PointDescriptor, PointId, PointKey, Reading, Timestamp, Value,
    ValueType,
};
use protocols_wire::RecordStamp;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tests_fieldsim::{PointSite, UnitSite, signal};

/// Seconds of field time in a round.
const SECONDS: u64 = 30;
/// Steps by which a value may move before it is sent, and how long it may stay unsaid.
const BAND: f64 = 2.0;
const BEAT: Duration = Duration::from_mins(5);
/// The same as a configuration says it.
pub(crate) const REPORT: &str = ", report = { abs = 2, beat = \"5m\" }";
/// The begin of field time: any.
const BEGIN: Timestamp = Timestamp(1_700_000_000_000_000_000);

/// What one round gave: CPU seconds for a million readings, and the share of them that was sent.
#[derive(Debug)]
struct Round {
    cpu_s_per_million: f64,
    sent_pct: f64,
}

/// The figures of the pipeline alone.
pub(crate) fn figures(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let units = field::units();
    let stage = || vec![Stage::deadband(Band::Absolute(BAND), Some(BEAT))];
    let (mut bare, mut filtered) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(round(&units, Vec::new)?.cpu_s_per_million);
        filtered.push(round(&units, stage)?);
    }
    let sent = filtered.iter().map(|round| round.sent_pct).collect();
    let filtered = filtered
        .iter()
        .map(|round| round.cpu_s_per_million)
        .collect();
    #[rustfmt::skip]
    let figures = vec![
        row("pipeline_cpu_s_per_million", "pipeline alone, no filter: CPU s per million readings", Limit::None, bare, 0, rounds),
        row("pipeline_filtered_cpu_s_per_million", "pipeline alone, deadbands: CPU s per million readings", Limit::None, filtered, 0, rounds),
        row("filter_sent_pct", "deadbands of 2 steps: percent of the readings sent", Limit::None, sent, 0, rounds),
    ];
    Ok(figures)
}

fn round(units: &[UnitSite], stages: impl Fn() -> Vec<Stage>) -> anyhow::Result<Round> {
    let mut points = Vec::new();
    for unit in units {
        for point in &unit.points {
            points.push(PointSetup {
                stages: stages(),
                ..PointSetup::open(descriptor(unit, point)?)
            });
        }
    }
    let setup = Setup {
        points,
        ..Setup::default()
    };
    let zero = (Instant::default(), BEGIN);
    let engine = Engine::new(Vec::new(), BTreeMap::new(), zero.0);
    let stats = Arc::default();
    let mut pipeline =
        Pipeline::try_new(setup, engine, BatchAge::default(), Arc::clone(&stats), zero)?;
    pipeline.set_live(true);
    let (mut spent, mut effects) = (Duration::ZERO, Vec::new());
    for second in 0..SECONDS {
        for (number, unit) in (0u32..).zip(units) {
            let elapsed = Duration::from_secs(second) + Duration::from_millis(10) * number;
            let (now, wall) = (Instant(elapsed), BEGIN.plus(elapsed));
            let sweep = sweep(unit, number, second, wall);
            let begun = cpu();
            pipeline.take(now, wall, sweep, &mut effects);
            if pipeline.is_due(now) {
                let stamp = RecordStamp {
                    boot: BootId(1),
                    mono: now,
                    wall,
                };
                std::hint::black_box(pipeline.seal(stamp));
            }
            spent += cpu().saturating_sub(begun);
        }
    }
    let totals = stats.totals();
    Ok(Round {
        cpu_s_per_million: spent.as_secs_f64() * 1e6 / float(totals.taken),
        sent_pct: float(totals.kept) * 100.0 / float(totals.taken),
    })
}

fn sweep(unit: &UnitSite, number: u32, poll: u64, wall: Timestamp) -> Vec<Reading> {
    let registers = u32::from(field::REGISTERS);
    let reading = |(place, point): (u32, &PointSite)| {
        let raw = u64::try_from(signal::raw_at(point, poll)).unwrap_or(0);
        Reading::good(PointKey(number * registers + place), wall, Value::U64(raw))
    };
    (0u32..).zip(&unit.points).map(reading).collect()
}

fn descriptor(unit: &UnitSite, point: &PointSite) -> anyhow::Result<PointDescriptor> {
    Ok(PointDescriptor {
        device: DeviceId::try_new(&unit.device)?,
        point: PointId::try_new(&point.id)?,
        value_type: ValueType::U64,
        unit: String::new(),
        scale: 1.0,
    })
}

/// CPU time of this thread.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

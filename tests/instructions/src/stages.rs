//! The hot stages, each on made-up signals that are the same everywhere. A round is a second of 200
//! points, or one record.

use anyhow::Context as _;
use gateway_expr::{Names, compile};
use gateway_filter::{Band, Stage as Filter};
use gateway_pipeline::{BatchAge, Pipeline, PointSetup, Setup};
use gateway_rules::{Action, Engine, OnBad, Rule, WriteLimit};
use protocols_modbus::codec::Codec;
use protocols_modbus::config::{Point, Scale};
use protocols_model::{
    AlarmLevel, BootId, DeviceId, Epoch, Instant, Lane, PointDescriptor, PointId, PointKey,
    Quality, Reading, RecordKey, Timestamp, Value, ValueType,
};
use protocols_wire::{
    Column, Dictionary, EnvelopeEncoder, Record, RecordStamp, Sample, SealedRecord, Telemetry,
};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// A stage that is counted.
pub(crate) struct Stage {
    /// Its name in the table.
    pub name: &'static str,
    /// Rounds of the shorter run.
    pub rounds: u64,
    /// Items a round.
    pub items: u64,
    run: fn(u64) -> anyhow::Result<()>,
}

const POINTS: u32 = 200;
/// Points that one rule looks at are neighbours.
const RULES: u32 = 20;
/// Columns and samples of a record.
const COLUMNS: u32 = 100;
const SAMPLES: u32 = 10;
const READINGS: u64 = COLUMNS as u64 * SAMPLES as u64;
const REGISTERS: u16 = 120;
/// The begin of field time: any.
const BEGIN: Timestamp = Timestamp(1_700_000_000_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

/// All of them. An item is a reading, for the envelope and the spool a record.
#[rustfmt::skip]
pub(crate) const ALL: &[Stage] = &[
    Stage { name: "pipeline", rounds: 100, items: POINTS as u64, run: |rounds| pipeline(rounds, None, 0) },
    Stage { name: "pipeline_deadband", rounds: 100, items: POINTS as u64, run: |rounds| pipeline(rounds, Some(deadband), 0) },
    Stage { name: "pipeline_swing", rounds: 100, items: POINTS as u64, run: |rounds| pipeline(rounds, Some(swing), 0) },
    Stage { name: "pipeline_rules", rounds: 100, items: POINTS as u64, run: |rounds| pipeline(rounds, Some(deadband), RULES) },
    Stage { name: "wire_encode", rounds: 30, items: READINGS, run: wire_encode },
    Stage { name: "wire_decode", rounds: 30, items: READINGS, run: wire_decode },
    Stage { name: "wire_envelope", rounds: 30, items: 4, run: wire_envelope },
    Stage { name: "spool_encode", rounds: 30, items: 1, run: spool_encode },
    Stage { name: "modbus_decode", rounds: 2000, items: REGISTERS as u64, run: modbus_decode },
];

/// Runs a stage.
pub(crate) fn run(name: &str, rounds: u64) -> anyhow::Result<()> {
    let stage = ALL.iter().find(|stage| stage.name == name);
    let stage = stage.with_context(|| format!("no stage is called {name}"))?;
    (stage.run)(rounds)
}

fn deadband() -> Filter {
    Filter::deadband(Band::Absolute(2.0), Some(Duration::from_mins(5)))
}

fn swing() -> Filter {
    Filter::swing(2.0, Some(Duration::from_mins(5)))
}

/// A value that wanders: 3 of 10 seconds move it by up to 3 steps.
fn signal(point: u32, second: u64) -> u64 {
    let slow = second / 3 * u64::from(point % 7 + 1) % 40;
    let seed =
        second.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(point).wrapping_mul(0xff51_afd7);
    let noise = (seed >> 33) % 10;
    1000 + u64::from(point) * 10 + slow + if noise < 3 { noise } else { 0 }
}

fn descriptor(point: u32) -> anyhow::Result<PointDescriptor> {
    Ok(PointDescriptor {
        device: DeviceId::try_new(&format!("meter-{:02}", point / 100))?,
        point: PointId::try_new(&format!("r{:02}", point % 100))?,
        value_type: ValueType::U64,
        unit: String::new(),
        scale: 1.0,
    })
}

/// Points by their place: `p17`.
struct Site;

impl Names for Site {
    fn find(&self, name: &str) -> Option<(PointKey, ValueType)> {
        let place = name.strip_prefix("m.p")?.parse().ok()?;
        Some((PointKey(place), ValueType::U64))
    }

    fn all(&self) -> Vec<String> {
        (0..POINTS).map(|place| format!("m.p{place}")).collect()
    }
}

fn rule(number: u32) -> anyhow::Result<Rule> {
    let (one, other) = (number * 10, number * 10 + 1);
    let program = |source: String| {
        compile(&source, &Site).map_err(|error| anyhow::anyhow!("{}", error.marked(&source)))
    };
    Ok(Rule {
        name: format!("watch-{number}"),
        when: program(format!("m.p{one} > 60000 && m.p{other} > 100"))?,
        hold: Duration::from_secs(20),
        clear: Some(program(format!("m.p{one} < 50000"))?),
        clear_hold: Duration::ZERO,
        on_bad: OnBad::Hold,
        bad_after: Duration::from_secs(10),
        stale: Some(Duration::from_secs(30)),
        never: None,
        limit: WriteLimit::default(),
        actions: vec![Action::Alarm {
            level: AlarmLevel::High,
            text: "too high".to_owned(),
            latch: false,
        }],
        on_clear: Vec::new(),
        safe: Vec::new(),
    })
}

fn stamp(second: u64) -> RecordStamp {
    let elapsed = Duration::from_secs(second);
    RecordStamp {
        boot: BootId(1),
        mono: Instant(elapsed),
        wall: BEGIN.plus(elapsed),
    }
}

fn pipeline(rounds: u64, filter: Option<fn() -> Filter>, rules: u32) -> anyhow::Result<()> {
    let points = (0..POINTS).map(|point| {
        Ok(PointSetup {
            stages: filter.map(|make| make()).into_iter().collect(),
            ..PointSetup::open(descriptor(point)?)
        })
    });
    let setup = Setup {
        points: points.collect::<anyhow::Result<_>>()?,
        ..Setup::default()
    };
    let zero = (Instant::default(), BEGIN);
    let rules = (0..rules).map(rule).collect::<anyhow::Result<_>>()?;
    let engine = Engine::new(rules, BTreeMap::new(), zero.0);
    let stats = Arc::default();
    let mut pipeline = Pipeline::try_new(setup, engine, BatchAge::default(), stats, zero)?;
    pipeline.set_live(true);
    let mut effects = Vec::new();
    for second in 0..rounds {
        let elapsed = SECOND * u32::try_from(second)?;
        let (now, wall) = (Instant(elapsed), BEGIN.plus(elapsed));
        let reading =
            |point| Reading::good(PointKey(point), wall, Value::U64(signal(point, second)));
        pipeline.take(now, wall, (0..POINTS).map(reading).collect(), &mut effects);
        if pipeline.is_due(now) {
            black_box(pipeline.seal(stamp(second)));
        }
        effects.clear();
    }
    Ok(())
}

/// Ten seconds of 100 points.
fn telemetry() -> anyhow::Result<(Vec<Dictionary>, Telemetry)> {
    let points = (0..COLUMNS)
        .map(descriptor)
        .collect::<anyhow::Result<_>>()?;
    let dictionaries = Dictionary::chunk(points)?;
    let places = dictionaries
        .iter()
        .zip(0u32..)
        .flat_map(|(dictionary, place)| {
            let indexes = (0u32..).take(dictionary.entries().len());
            indexes.map(move |index| (place, index))
        });
    let columns = places
        .zip(0u32..)
        .map(|((dictionary, index), point)| Column {
            dictionary,
            index,
            filtered: 0,
            samples: (0..SAMPLES)
                .map(|second| Sample {
                    time: BEGIN.plus(SECOND * second),
                    value: Some(Value::U64(signal(point, second.into()))),
                    quality: Quality::Good,
                })
                .collect(),
        });
    let telemetry = Telemetry {
        columns: columns.collect(),
        unchanged: Vec::new(),
        dictionaries: dictionaries.iter().map(Dictionary::hash).collect(),
    };
    Ok((dictionaries, telemetry))
}

fn sealed() -> anyhow::Result<(Vec<Dictionary>, SealedRecord)> {
    let (dictionaries, telemetry) = telemetry()?;
    let mut sealed = Record::seal_telemetry(stamp(10), telemetry)?;
    Ok((dictionaries, sealed.pop().context("no record")?))
}

fn wire_encode(rounds: u64) -> anyhow::Result<()> {
    let (_, telemetry) = telemetry()?;
    for second in 0..rounds {
        black_box(Record::seal_telemetry(stamp(second), telemetry.clone())?);
    }
    Ok(())
}

fn wire_decode(rounds: u64) -> anyhow::Result<()> {
    let (_, record) = sealed()?;
    for _ in 0..rounds {
        black_box(Record::decode(black_box(&record.body))?);
    }
    Ok(())
}

fn wire_envelope(rounds: u64) -> anyhow::Result<()> {
    let (_, record) = sealed()?;
    let keyed = |seq| {
        let key = RecordKey {
            epoch: Epoch(7),
            lane: Lane::Telemetry,
            seq,
        };
        (key, record.body.clone())
    };
    let records: Vec<_> = (1..=4).map(keyed).collect();
    let mut packer = EnvelopeEncoder::new();
    for _ in 0..rounds {
        black_box(packer.encode(black_box(&records), &[])?);
    }
    Ok(())
}

fn spool_encode(rounds: u64) -> anyhow::Result<()> {
    let (dictionaries, record) = sealed()?;
    let names: Vec<_> = dictionaries.iter().map(Dictionary::hash).collect();
    for seq in 1..=rounds {
        let key = RecordKey {
            epoch: Epoch(7),
            lane: Lane::Telemetry,
            seq,
        };
        black_box(gateway_spool::stored_form(key, black_box(&record), &names));
    }
    Ok(())
}

fn modbus_decode(rounds: u64) -> anyhow::Result<()> {
    // As devices have them: whole words, scaled words, pairs of words, floats.
    let kinds = [
        ("u16", 1.0, 1),
        ("i16", 0.1, 1),
        ("u32", 1.0, 2),
        ("f32", 1.0, 2),
    ];
    let codec = |&(raw, factor, words): &(&str, f64, u16)| {
        let order = if words == 2 { "CDAB" } else { "AB" };
        let point = Point {
            key: PointKey(0),
            id: PointId::try_new("p")?,
            address: "hr:0".parse().map_err(wrong)?,
            raw: raw.parse().map_err(wrong)?,
            order: order.parse().map_err(wrong)?,
            scale: Scale::new(factor, 0.0).context("a scale")?,
            period: SECOND,
            range: None,
            names: None,
            write: None,
        };
        Ok((Codec::new(&point), usize::from(words)))
    };
    let codecs = kinds
        .iter()
        .map(codec)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let registers: Vec<u16> = (0..REGISTERS)
        .map(|place| place.wrapping_mul(547))
        .collect();
    for _ in 0..rounds {
        let mut rest = black_box(registers.as_slice());
        for (codec, words) in codecs.iter().cycle() {
            let Some((own, behind)) = rest.split_at_checked(*words) else {
                break;
            };
            black_box(codec.decode(own)).ok();
            rest = behind;
        }
    }
    Ok(())
}

fn wrong(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_runs_and_has_a_name_of_its_own() {
        let mut names: Vec<&str> = ALL.iter().map(|stage| stage.name).collect();
        for name in &names {
            run(name, 2).unwrap();
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(run("nonsense", 1).is_err());
    }
}

//! Prints what a reading costs on the wire and in CPU, on a synthetic set of signals that never
//! changes: meters of 100 registers, as plausible as one page allows. Run it in release:
//! `cargo run --release -p protocols-wire --example bytes_per_reading`.
//!
//! The signals: scaled measurements that keep their value in 70 % of the seconds and else move by 1
//! to 3 steps, energy counters, constants, states, and three noisy floats in a hundred. Units are
//! alike but not in step; each is read by two requests a second with some jitter.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "an example prints, and ends where it fails"
)]

use protocols_model::{
    BootId, DictionaryHash, Epoch, Instant, Lane, Quality, RecordKey, Timestamp, Value,
};
use protocols_wire::{
    Body, Column, EnvelopeEncoder, Record, RecordStamp, Sample, Telemetry, decode_envelope,
};
use std::time::Duration;

const REGISTERS: u32 = 100;
/// Points that share a dictionary: about what fits its 8 KiB.
const PER_DICTIONARY: u32 = 500;

/// Xorshift: the same signals on every machine, for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn signed(&mut self, span: i64) -> i64 {
        let wide = (2 * span + 1).unsigned_abs();
        self.below(wide).cast_signed() - span
    }

    fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

enum Signal {
    /// Integer in steps of 10^-digits.
    Scaled {
        raw: i64,
        digits: i32,
    },
    /// Only grows.
    Counter {
        raw: u64,
    },
    Energy {
        raw: i64,
    },
    Constant(Value),
    Single {
        about: f64,
    },
    Double {
        about: f64,
    },
}

impl Signal {
    fn new(register: u32, random: &mut Random) -> Self {
        let scaled = |raw, digits| Self::Scaled { raw, digits };
        match register {
            0..3 => scaled(2310 + random.signed(60), 1),
            3..6 => scaled(4000 + random.signed(100), 1),
            6..10 => scaled(random.signed(1600) + 1700, 2),
            10..22 => scaled(random.signed(30_000) + 20_000, 0),
            22..26 => scaled(950 + random.signed(49), 3),
            26 => scaled(5000 + random.signed(3), 2),
            27..39 => Self::Energy {
                raw: random.below(50_000_000).cast_signed(),
            },
            39..75 => scaled(random.signed(60) + 61, 1),
            75..81 => scaled(300 + random.signed(120), 1),
            81..85 => scaled(random.signed(15_000) + 20_000, 0),
            85..89 => Self::Counter {
                raw: random.below(10_000_000),
            },
            89..94 => Self::Constant(Value::U64(u64::from(register) % 4)),
            94..97 => Self::Constant(Value::Bool(register == 94)),
            97..99 => Self::Single { about: 20.0 },
            _ => Self::Double { about: 1.0 },
        }
    }

    /// The value now, then one second on.
    fn read(&mut self, random: &mut Random) -> Value {
        let moves = random.below(10) < 3;
        let step = (1 + random.below(3)).cast_signed();
        let sign = if random.below(2) == 0 { 1 } else { -1 };
        match self {
            Self::Scaled { raw, digits } => {
                *raw += if moves { step * sign } else { 0 };
                Value::F64(decimal(*raw, *digits))
            }
            Self::Energy { raw } => {
                *raw += if moves { step } else { 0 };
                Value::F64(decimal(*raw, 2))
            }
            Self::Counter { raw } => {
                *raw += 1;
                Value::U64(*raw)
            }
            Self::Constant(value) => value.clone(),
            #[expect(clippy::cast_possible_truncation, reason = "a device's f32")]
            Self::Single { about } => Value::F64(f64::from((*about + random.unit()) as f32)),
            Self::Double { about } => Value::F64(*about + random.unit()),
        }
    }
}

fn decimal(raw: i64, digits: i32) -> f64 {
    let raw = i32::try_from(raw).unwrap();
    f64::from(raw) / 10_f64.powi(digits)
}

struct Plant {
    random: Random,
    signals: Vec<Signal>,
    last: Vec<Option<Value>>,
    now: Timestamp,
}

impl Plant {
    fn new(units: u32) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let signals: Vec<_> = (0..units * REGISTERS)
            .map(|point| Signal::new(point % REGISTERS, &mut random))
            .collect();
        Self {
            last: vec![None; signals.len()],
            signals,
            random,
            now: Timestamp::from_millis(1_800_000_000_000),
        }
    }

    /// One batch of so many seconds. With `filter`, readings that did not change are only counted.
    fn batch(&mut self, seconds: u32, filter: bool) -> Telemetry {
        let points = u32::try_from(self.signals.len()).unwrap();
        let mut columns: Vec<_> = (0..points)
            .map(|point| Column {
                dictionary: point / PER_DICTIONARY,
                index: point % PER_DICTIONARY,
                filtered: 0,
                samples: Vec::new(),
            })
            .collect();
        for _ in 0..seconds {
            let mut time = self.now;
            for (point, signal) in self.signals.iter_mut().enumerate() {
                if point.is_multiple_of(50) {
                    // The next request: about 10 ms after the one before, in ten parallel lines.
                    let after = 500 / u64::from(points).max(100) + self.random.below(7);
                    time = time.plus(Duration::from_millis(after));
                }
                let value = signal.read(&mut self.random);
                let column = columns.get_mut(point).unwrap();
                let last = self.last.get_mut(point).unwrap();
                if filter && last.as_ref() == Some(&value) {
                    column.filtered += 1;
                    continue;
                }
                *last = Some(value.clone());
                column.samples.push(Sample {
                    time,
                    value: Some(value),
                    quality: Quality::Good,
                });
            }
            self.now = self.now.plus(Duration::from_secs(1));
        }
        let dictionaries = (0..points.div_ceil(PER_DICTIONARY))
            .map(|_| DictionaryHash(std::array::from_fn(|_| self.random.next().to_le_bytes()[0])))
            .collect();
        Telemetry {
            dictionaries,
            columns,
            unchanged: Vec::new(),
        }
    }
}

#[derive(Default)]
struct Sums {
    readings: u64,
    kept: u64,
    records: u64,
    plain: usize,
    wire: usize,
    seal: Duration,
    pack: Duration,
    unpack: Duration,
    decode: Duration,
    losses: Duration,
}

fn measure(units: u32, seconds: u32, filter: bool) -> Sums {
    let mut plant = Plant::new(units);
    let mut encoder = EnvelopeEncoder::new();
    let mut sums = Sums::default();
    plant.batch(1, filter);
    let batches = (200_000 / (units * REGISTERS * seconds)).clamp(3, 300);
    for seq in 1..=batches {
        let telemetry = plant.batch(seconds, filter);
        let stamp = RecordStamp {
            boot: BootId(1),
            mono: Instant(Duration::from_secs(seq.into())),
            wall: plant.now,
        };
        let given = telemetry.clone();
        let clock = std::time::Instant::now();
        let sealed = Record::seal_telemetry(stamp, given).unwrap();
        sums.seal += clock.elapsed();

        let records: Vec<_> = (1..)
            .zip(&sealed)
            .map(|(seq, record)| {
                let (epoch, lane) = (Epoch(1), Lane::Telemetry);
                (RecordKey { epoch, lane, seq }, record.body.clone())
            })
            .collect();
        let clock = std::time::Instant::now();
        let mut envelopes = Vec::new();
        for some in records.chunks(16) {
            envelopes.push(encoder.encode(some, &[]).unwrap());
        }
        sums.pack += clock.elapsed();

        let clock = std::time::Instant::now();
        for envelope in &envelopes {
            decode_envelope(envelope).unwrap();
        }
        sums.unpack += clock.elapsed();

        let clock = std::time::Instant::now();
        let mut back = Vec::new();
        for record in &sealed {
            back.push(Record::decode(&record.body).unwrap());
        }
        sums.decode += clock.elapsed();

        let clock = std::time::Instant::now();
        for record in &sealed {
            Record::losses(&record.body).unwrap();
        }
        sums.losses += clock.elapsed();

        let samples = |columns: &[Column]| -> Vec<Sample> {
            columns.iter().flat_map(|c| c.samples.clone()).collect()
        };
        let back = back.iter().flat_map(|record| match &record.body {
            Body::Telemetry(telemetry) => samples(&telemetry.columns),
            _ => Vec::new(),
        });
        assert!(back.eq(samples(&telemetry.columns)), "values changed");
        sums.readings += sealed
            .iter()
            .map(|r| r.summary.readings + r.summary.filtered)
            .sum::<u64>();
        sums.kept += sealed.iter().map(|r| r.summary.readings).sum::<u64>();
        sums.records += sealed.len() as u64;
        sums.plain += sealed.iter().map(|record| record.body.len()).sum::<usize>();
        sums.wire += envelopes.iter().map(|bytes| bytes.len()).sum::<usize>();
    }
    sums
}

fn main() {
    println!(
        "units batch_s filter | readings   kept | B/reading plain  wire | B/record | ns/reading seal envelope unpack decode losses"
    );
    for (units, seconds, filter) in [
        (100, 1, false),
        (100, 10, false),
        (10, 1, false),
        (10, 10, false),
        (1, 1, false),
        (100, 1, true),
        (100, 10, true),
    ] {
        let sums = measure(units, seconds, filter);
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let per = |what: u128| what as f64 / sums.readings as f64;
        println!(
            "{units:5} {seconds:7} {filter:>6} | {:8} {:6} | {:15.3} {:5.3} | {:8} | {:15.1} {:8.1} {:6.1} {:6.1} {:6.1}",
            sums.readings,
            sums.kept,
            per(sums.plain as u128),
            per(sums.wire as u128),
            sums.plain as u64 / sums.records,
            per(sums.seal.as_nanos()),
            per(sums.pack.as_nanos()),
            per(sums.unpack.as_nanos()),
            per(sums.decode.as_nanos()),
            per(sums.losses.as_nanos()),
        );
    }
}

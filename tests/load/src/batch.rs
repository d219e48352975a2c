//! What every simulated gateway measures: one device with as many points as a batch has readings. All
//! points of the n-th batch have the value n, so that each reading of a gateway is named by point and
//! value and can be counted in an export.

use anyhow::Context as _;
use protocols_model::{BootId, Instant, PointDescriptor, Quality, Timestamp, Value, ValueType};
use protocols_wire::{Column, Dictionary, Record, RecordStamp, Sample, SealedRecord, Telemetry};

/// The device's name.
const DEVICE: &str = "meter";
/// Before the number of a point in its name.
const POINT: &str = "p";

/// The points, and how a batch of them is sealed.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    dictionary: Dictionary,
    points: u32,
}

impl Shape {
    /// So many points.
    pub(crate) fn new(points: u32) -> anyhow::Result<Self> {
        let entries = (0..points).map(|number| {
            Ok(PointDescriptor {
                device: DEVICE.parse()?,
                point: format!("{POINT}{number}").parse()?,
                value_type: ValueType::U64,
                unit: String::new(),
                scale: 1.0,
            })
        });
        let entries = entries.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            dictionary: Dictionary::try_new(entries)?,
            points,
        })
    }

    /// The dictionary of the points.
    pub(crate) const fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// Seals the n-th batch of a gateway.
    pub(crate) fn seal(
        &self,
        boot: BootId,
        mono: Instant,
        wall: Timestamp,
        number: u32,
    ) -> anyhow::Result<SealedRecord> {
        // A dictionary sorts its entries; all have the same value, so their order is no matter.
        let column = |index| Column {
            dictionary: 0,
            index,
            filtered: 0,
            samples: vec![Sample {
                time: wall,
                value: Some(Value::U64(u64::from(number))),
                quality: Quality::Good,
            }],
        };
        let telemetry = Telemetry {
            dictionaries: vec![self.dictionary.hash()],
            columns: (0..self.points).map(column).collect(),
            unchanged: Vec::new(),
        };
        let stamp = RecordStamp { boot, mono, wall };
        let sealed = Record::seal_telemetry(stamp, telemetry)?;
        let mut sealed = sealed.into_iter();
        let record = sealed.next().context("nothing was sealed")?;
        anyhow::ensure!(sealed.next().is_none(), "a batch must fit one record");
        Ok(record)
    }
}

/// The number of a point by its name; `None` for names that are not ours.
pub(crate) fn point_number(device: &str, point: &str) -> Option<u32> {
    (device == DEVICE)
        .then(|| point.strip_prefix(POINT)?.parse().ok())
        .flatten()
}

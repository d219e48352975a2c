//! Signs of life into packed columns and back.
//!
//! They travel beside the telemetry, as columns of the same kind: two samples a point, the reading that was
//! sent last and the same value again at the time it was confirmed. A reader that does not know the field
//! misses nothing but freshness: no sample of it is among the readings.

use super::proto;
use super::telemetry::{pack as pack_columns, unpack_with};
use crate::error::{DecodeError, EncodeError};
use crate::record::{Column, Sample, Unchanged};
use protocols_model::{DictionaryHash, Timestamp};
use std::borrow::Borrow;

/// Packs signs of life; `place` translates the places of dictionaries. `None` where there are none.
pub(super) fn pack(
    wall: Timestamp,
    unchanged: impl Iterator<Item = impl Borrow<Unchanged>>,
    place: impl Fn(u32) -> Option<u32>,
) -> Result<Option<proto::Telemetry>, EncodeError> {
    let columns: Vec<Column> = unchanged.map(|one| column(one.borrow())).collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let views: Vec<_> = columns.iter().map(Column::view).collect();
    let (packed, _) = pack_columns(wall, &[], &views, place)?;
    Ok(Some(packed))
}

fn column(unchanged: &Unchanged) -> Column {
    let again = Sample {
        time: unchanged.confirmed,
        ..unchanged.sample.clone()
    };
    Column {
        dictionary: unchanged.dictionary,
        index: unchanged.index,
        filtered: 0,
        samples: vec![unchanged.sample.clone(), again],
    }
}

/// Unpacks signs of life that stand beside telemetry with these dictionaries.
pub(super) fn unpack(
    packed: &proto::Telemetry,
    dictionaries: &[DictionaryHash],
    wall: Timestamp,
) -> Result<Vec<Unchanged>, DecodeError> {
    const WRONG: DecodeError = DecodeError::Malformed("a sign of life is not a value and a time");
    if !packed.dictionaries.is_empty() {
        return Err(DecodeError::Malformed("signs of life have no dictionaries"));
    }
    let columns = unpack_with(packed, dictionaries.to_vec(), wall)?.columns;
    let mut all = Vec::with_capacity(columns.len());
    for column in columns {
        let Ok([sample, again]) = <[Sample; 2]>::try_from(column.samples) else {
            return Err(WRONG);
        };
        if sample.quality != again.quality || column.filtered > 0 {
            return Err(WRONG);
        }
        all.push(Unchanged {
            dictionary: column.dictionary,
            index: column.index,
            sample,
            confirmed: again.time,
        });
    }
    Ok(all)
}

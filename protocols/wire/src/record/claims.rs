//! Claims into protobuf and back. Points are packed in runs, so that a claim can name every point
//! of the records it covers; where that does not fit a record, the last ones are left out.

use super::proto;
use crate::error::{DecodeError, EncodeError};
use crate::limits::{MAX_RECORD_CLAIMS, MAX_RECORD_COLUMNS};
use crate::pack::{PointReader, PointWriter, RunReader, RunWriter, put_hashes, read_hashes};
use protocols_model::{
    Claim, DictionaryHash, Epoch, Lane, LossReason, PointLoss, SeqRange, Timestamp,
};

/// Packs `claims`.
pub(super) fn pack(claims: &[Claim]) -> Result<proto::Claims, EncodeError> {
    within("claims in a record", claims.len(), MAX_RECORD_CLAIMS)?;
    let points = claims.iter().map(|claim| claim.points.len()).sum();
    within("points of claims in a record", points, MAX_RECORD_COLUMNS)?;
    let claims = claims.iter().map(pack_one).collect::<Result<_, _>>()?;
    Ok(proto::Claims { claims })
}

const fn within(what: &'static str, found: usize, allowed: usize) -> Result<(), EncodeError> {
    if found > allowed {
        return Err(EncodeError::TooLarge {
            what,
            found,
            allowed,
        });
    }
    Ok(())
}

fn pack_one(claim: &Claim) -> Result<proto::Claim, EncodeError> {
    use crate::pack::runs::MAX_RUN_VALUE;
    let mut dictionaries: Vec<DictionaryHash> = Vec::new();
    let mut places = PointWriter::default();
    let mut readings = RunWriter::default();
    let mut filtered = RunWriter::default();
    let mut last = 0;
    for point in &claim.points {
        if point.readings.max(point.filtered) > MAX_RUN_VALUE {
            return Err(EncodeError::Invalid("a count of lost readings is absurd"));
        }
        if dictionaries.get(last) != Some(&point.dictionary) {
            let known = dictionaries
                .iter()
                .position(|hash| *hash == point.dictionary);
            last = known.unwrap_or_else(|| {
                dictionaries.push(point.dictionary);
                dictionaries.len() - 1
            });
        }
        places.push(u32::try_from(last).unwrap_or(u32::MAX), point.index);
        readings.push(point.readings);
        filtered.push(point.filtered);
    }
    Ok(proto::Claim {
        epoch: claim.epoch.0,
        lane: claim.lane.to_index().into(),
        first: claim.range.first(),
        last: claim.range.last(),
        reason: claim.reason.to_index().into(),
        from_ns: claim.from.0,
        to_ns: claim.to.0,
        readings: claim.readings,
        at_most: claim.at_most,
        dictionaries: put_hashes(&dictionaries),
        points: u32::try_from(claim.points.len()).unwrap_or(u32::MAX),
        places: places.into_bytes(),
        point_readings: readings.into_bytes(),
        point_filtered: filtered.into_bytes(),
    })
}

/// Unpacks claims.
pub(super) fn unpack(message: &proto::Claims) -> Result<Vec<Claim>, DecodeError> {
    let too_large = |what, found, allowed| {
        Err(DecodeError::TooLarge {
            what,
            found,
            allowed,
        })
    };
    if message.claims.len() > MAX_RECORD_CLAIMS {
        return too_large(
            "claims in a record",
            message.claims.len(),
            MAX_RECORD_CLAIMS,
        );
    }
    let points = message.claims.iter().fold(0_usize, |sum, claim| {
        sum.saturating_add(claim.points as usize)
    });
    if points > MAX_RECORD_COLUMNS {
        return too_large("points of claims in a record", points, MAX_RECORD_COLUMNS);
    }
    message.claims.iter().map(unpack_one).collect()
}

fn unpack_one(claim: &proto::Claim) -> Result<Claim, DecodeError> {
    let small = |number: u32| u8::try_from(number).ok();
    let dictionaries = read_hashes(&claim.dictionaries)?;
    let mut places = PointReader::new(&claim.places, dictionaries.len());
    let mut readings = RunReader::new(&claim.point_readings, "lost readings");
    let mut filtered = RunReader::new(&claim.point_filtered, "filtered counts");
    let mut points = Vec::with_capacity(claim.points as usize);
    for _ in 0..claim.points {
        let (dictionary, index) = places.point()?;
        points.push(PointLoss {
            dictionary: *dictionaries
                .get(dictionary as usize)
                .ok_or(DecodeError::Malformed("a point without a dictionary"))?,
            index,
            readings: readings.value()?,
            filtered: filtered.value()?,
        });
    }
    places.finish()?;
    readings.finish()?;
    filtered.finish()?;
    Ok(Claim {
        epoch: Epoch(claim.epoch),
        lane: small(claim.lane)
            .and_then(Lane::from_index)
            .ok_or(DecodeError::Malformed("a claim is of an unknown lane"))?,
        range: SeqRange::new(claim.first, claim.last)
            .ok_or(DecodeError::Malformed("a claim covers no seqs"))?,
        reason: small(claim.reason)
            .and_then(LossReason::from_index)
            .ok_or(DecodeError::Malformed("a claim has an unknown reason"))?,
        from: Timestamp(claim.from_ns),
        to: Timestamp(claim.to_ns),
        readings: claim.readings,
        at_most: claim.at_most,
        points,
    })
}

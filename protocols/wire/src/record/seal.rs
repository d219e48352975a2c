//! From contents to bodies that fit the size limit: one record, or as many as it takes.

use super::cut::Cutter;
use super::{claims, event, proto, telemetry, unchanged};
use crate::error::{DecodeError, EncodeError};
use crate::limits::{MAX_RECORD_BYTES, MAX_RECORD_CLAIMS, MAX_RECORD_COLUMNS};
use crate::pack::read_hashes;
use crate::record::{
    Body, Column, NextColumn, Record, RecordStamp, RecordSummary, SealedRecord, Telemetry,
    Unchanged,
};
use prost::Message;
use protocols_model::{BootId, Claim, DictionaryHash, Instant, PointLoss, Timestamp};
use std::borrow::Borrow;
use std::time::Duration;

/// The format that [`Record::encode`] writes.
const VERSION: u32 = 1;

impl Record {
    /// Encodes the record.
    ///
    /// # Errors
    /// [`EncodeError`] where a limit is broken or a column mixes value types.
    pub fn encode(&self) -> Result<SealedRecord, EncodeError> {
        let wall = self.stamp.wall;
        let nothing = RecordSummary {
            first: wall,
            last: wall,
            ..RecordSummary::default()
        };
        let mut beside = None;
        let (body, summary) = match &self.body {
            Body::Telemetry(telemetry) => {
                let known = telemetry.dictionaries.len();
                let place = |place: u32| ((place as usize) < known).then_some(place);
                let columns: Vec<_> = telemetry.columns.iter().map(Column::view).collect();
                let (packed, summary) =
                    telemetry::pack(wall, &telemetry.dictionaries, &columns, place)?;
                beside = unchanged::pack(wall, telemetry.unchanged.iter(), place)?;
                (proto::Body::Telemetry(packed), summary)
            }
            Body::Claims(claims) => (proto::Body::Claims(claims::pack(claims)?), nothing),
            Body::Event(event) => (proto::Body::Event(event::pack(event)?), nothing),
            Body::TimeMap(map) => (proto::Body::TimeMap(event::pack_time_map(*map)), nothing),
        };
        let sealed = seal(self.stamp, body, beside, summary);
        fits(&sealed).map(|()| sealed)
    }

    /// Decodes a record body.
    ///
    /// # Errors
    /// [`DecodeError`]; never panics, whatever the bytes.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let Opened {
            stamp,
            body,
            beside,
        } = open(body)?;
        let body = match body {
            proto::Body::Telemetry(packed) => {
                let mut telemetry = telemetry::unpack(&packed, stamp.wall)?;
                if let Some(beside) = beside {
                    let dictionaries = &telemetry.dictionaries;
                    telemetry.unchanged = unchanged::unpack(&beside, dictionaries, stamp.wall)?;
                }
                Body::Telemetry(telemetry)
            }
            proto::Body::Claims(packed) => Body::Claims(claims::unpack(&packed)?),
            proto::Body::Event(packed) => Body::Event(event::unpack(packed)?),
            proto::Body::TimeMap(packed) => Body::TimeMap(event::unpack_time_map(&packed)),
        };
        Ok(Self { stamp, body })
    }

    /// Encodes telemetry of any size as as many records as the size limit asks for, in order. Each
    /// lists only the dictionaries it uses. A column that alone is too large is continued in the
    /// next record; its filtered count stays with its first part. A sign of life goes with the column of
    /// its point; one whose point has none is left out.
    ///
    /// # Errors
    /// [`EncodeError`] where a column mixes value types, has a value over the limit or names a
    /// dictionary that is not listed.
    pub fn seal_telemetry(
        stamp: RecordStamp,
        telemetry: impl Borrow<Telemetry>,
    ) -> Result<Vec<SealedRecord>, EncodeError> {
        let telemetry = telemetry.borrow();
        let columns: Vec<_> = telemetry.columns.iter().map(Column::view).collect();
        let mut cutter = Cutter::new(stamp, &telemetry.dictionaries, &telemetry.unchanged);
        cutter.cut(&columns)?;
        Ok(cutter.sealed)
    }

    /// The same, of columns that are asked for one after the other: `next` puts the samples of a column
    /// behind those that are there already and tells whose they are. Only what one record may hold
    /// stands in memory as samples at a time, so the caller may keep them in whatever form is small.
    ///
    /// # Errors
    /// As [`Record::seal_telemetry`].
    pub fn seal_columns(
        stamp: RecordStamp,
        dictionaries: &[DictionaryHash],
        unchanged: &[Unchanged],
        next: NextColumn<'_>,
    ) -> Result<Vec<SealedRecord>, EncodeError> {
        let mut cutter = Cutter::new(stamp, dictionaries, unchanged);
        cutter.cut_from(next)?;
        Ok(cutter.sealed)
    }

    /// Encodes any number of claims as as many records as it takes, in order. Where the points of
    /// one claim alone do not fit a record, the last ones are left out: its totals still count them.
    ///
    /// # Errors
    /// [`EncodeError::Invalid`] where a count is absurd.
    pub fn seal_claims(
        stamp: RecordStamp,
        claims: Vec<Claim>,
    ) -> Result<Vec<SealedRecord>, EncodeError> {
        let mut sealed = Vec::new();
        cut_claims(stamp, claims, &mut sealed)?;
        Ok(sealed)
    }

    /// The dictionaries that a record refers to, without unpacking its columns; each once.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are damaged.
    pub fn dictionaries(body: &[u8]) -> Result<Vec<DictionaryHash>, DecodeError> {
        let mut hashes = match open(body)?.body {
            proto::Body::Telemetry(packed) => read_hashes(&packed.dictionaries)?,
            proto::Body::Claims(packed) => {
                let each = packed.claims.iter().map(|c| read_hashes(&c.dictionaries));
                each.collect::<Result<Vec<_>, _>>()?.concat()
            }
            proto::Body::Event(_) | proto::Body::TimeMap(_) => Vec::new(),
        };
        hashes.sort_unstable();
        hashes.dedup();
        Ok(hashes)
    }

    /// The numbers of an encoded record, and how many readings of which point it holds: what a
    /// claim needs when the record has to go. Values are not looked at. There is an entry for each
    /// column, at most [`MAX_RECORD_COLUMNS`]; [`Self::seal_claims`] leaves out what does not fit.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are damaged.
    pub fn losses(body: &[u8]) -> Result<(RecordSummary, Vec<PointLoss>), DecodeError> {
        let Opened { stamp, body, .. } = open(body)?;
        if let proto::Body::Telemetry(packed) = body {
            return telemetry::count(&packed, stamp.wall);
        }
        let nothing = RecordSummary {
            first: stamp.wall,
            last: stamp.wall,
            ..RecordSummary::default()
        };
        Ok((nothing, Vec::new()))
    }
}

pub(super) fn seal(
    stamp: RecordStamp,
    body: proto::Body,
    beside: Option<proto::Telemetry>,
    summary: RecordSummary,
) -> SealedRecord {
    let message = proto::Record {
        version: VERSION,
        boot: stamp.boot.0,
        mono_ns: u64::try_from(stamp.mono.0.as_nanos()).unwrap_or(u64::MAX),
        wall_ns: stamp.wall.0,
        body: Some(body),
        unchanged: beside,
    };
    SealedRecord {
        body: message.encode_to_vec().into(),
        summary,
    }
}

fn fits(sealed: &SealedRecord) -> Result<(), EncodeError> {
    if sealed.body.len() > MAX_RECORD_BYTES {
        return Err(EncodeError::TooLarge {
            what: "record in bytes",
            found: sealed.body.len(),
            allowed: MAX_RECORD_BYTES,
        });
    }
    Ok(())
}

/// A record taken apart.
struct Opened {
    stamp: RecordStamp,
    body: proto::Body,
    /// Signs of life; known beside telemetry only.
    beside: Option<proto::Telemetry>,
}

fn open(body: &[u8]) -> Result<Opened, DecodeError> {
    if body.len() > MAX_RECORD_BYTES {
        return Err(DecodeError::TooLarge {
            what: "record in bytes",
            found: body.len(),
            allowed: MAX_RECORD_BYTES,
        });
    }
    let message = proto::Record::decode(body)
        .map_err(|_| DecodeError::Malformed("the record is not valid protobuf"))?;
    match message.version {
        VERSION => {}
        0 => return Err(DecodeError::Malformed("the record has no version")),
        newer => return Err(DecodeError::UnknownVersion(newer)),
    }
    let stamp = RecordStamp {
        boot: BootId(message.boot),
        mono: Instant(Duration::from_nanos(message.mono_ns)),
        wall: Timestamp(message.wall_ns),
    };
    let body = message
        .body
        .ok_or(DecodeError::Malformed("the record is empty"))?;
    Ok(Opened {
        stamp,
        body,
        beside: message.unchanged,
    })
}

fn cut_claims(
    stamp: RecordStamp,
    mut claims: Vec<Claim>,
    sealed: &mut Vec<SealedRecord>,
) -> Result<(), EncodeError> {
    let few = claims.len() <= MAX_RECORD_CLAIMS;
    let points: usize = claims.iter().map(|claim| claim.points.len()).sum();
    if claims.is_empty() {
        return Ok(());
    }
    if few && points <= MAX_RECORD_COLUMNS {
        let record = Record {
            stamp,
            body: Body::Claims(claims),
        };
        match record.encode() {
            Ok(record) => {
                sealed.push(record);
                return Ok(());
            }
            Err(EncodeError::TooLarge { .. }) => {}
            Err(other) => return Err(other),
        }
        let Body::Claims(back) = record.body else {
            return Ok(());
        };
        claims = back;
    }
    if let [claim] = claims.as_mut_slice() {
        // An eighth less each time; without points a claim always fits.
        let kept = claim.points.len().min(MAX_RECORD_COLUMNS) * 7 / 8;
        claim.points.truncate(kept);
        return cut_claims(stamp, claims, sealed);
    }
    let later = claims.split_off(claims.len() / 2);
    cut_claims(stamp, claims, sealed)?;
    cut_claims(stamp, later, sealed)
}

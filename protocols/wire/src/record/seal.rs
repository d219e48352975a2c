//! From contents to bodies that fit the size limit: one record, or as many as it takes.

use super::{claims, event, proto, telemetry, unchanged};
use crate::error::{DecodeError, EncodeError};
use crate::limits::{MAX_RECORD_BYTES, MAX_RECORD_CLAIMS, MAX_RECORD_COLUMNS, MAX_RECORD_READINGS};
use crate::pack::read_hashes;
use crate::record::{
    Body, Column, Record, RecordStamp, RecordSummary, SealedRecord, Telemetry, Unchanged,
};
use prost::Message;
use protocols_model::{BootId, Claim, DictionaryHash, Instant, PointLoss, Timestamp, Value};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::time::Duration;

/// The format that [`Record::encode`] writes.
const VERSION: u32 = 1;
/// A chunk aims at so much of the limit, so that the next guess seldom fails.
const AIM: usize = MAX_RECORD_BYTES - MAX_RECORD_BYTES / 16;
/// A chunk smaller than this is tried again larger, unless it holds all that is left.
const POOR: usize = MAX_RECORD_BYTES / 2;
/// So many guesses for one chunk.
const MAX_TRIES: u32 = 4;

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
                let (packed, summary) =
                    telemetry::pack(wall, &telemetry.dictionaries, &telemetry.columns, place)?;
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
        let mut cutter = Cutter {
            stamp,
            dictionaries: &telemetry.dictionaries,
            unchanged: telemetry
                .unchanged
                .iter()
                .map(|unchanged| ((unchanged.dictionary, unchanged.index), unchanged))
                .collect(),
            bytes_per_kilo: 1024,
            sealed: Vec::new(),
        };
        cutter.cut(&telemetry.columns)?;
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

fn seal(
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

/// Cuts columns into records: guesses how many fit from how the last ones turned out.
struct Cutter<'a> {
    stamp: RecordStamp,
    dictionaries: &'a [DictionaryHash],
    /// Signs of life by point.
    unchanged: HashMap<(u32, u32), &'a Unchanged>,
    /// Encoded bytes for 1024 units of [`weight`], as last seen.
    bytes_per_kilo: usize,
    sealed: Vec<SealedRecord>,
}

/// A rough measure of what a sign of life adds to a column.
const SIGN: usize = 6;

/// A rough measure of what a column takes.
fn weight(column: &Column) -> usize {
    let long = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Bool(_) | Value::I64(_) | Value::U64(_) | Value::F64(_) => 0,
    };
    match column.samples.first().and_then(|s| s.value.as_ref()) {
        Some(Value::Text(_) | Value::Bytes(_)) => column
            .samples
            .iter()
            .map(|sample| 2 + sample.value.as_ref().map_or(0, long))
            .sum(),
        _ => 1 + 2 * column.samples.len(),
    }
}

impl Cutter<'_> {
    fn weight(&self, column: &Column) -> usize {
        let key = (column.dictionary, column.index);
        let sign = !self.unchanged.is_empty() && self.unchanged.contains_key(&key);
        weight(column) + if sign { SIGN } else { 0 }
    }

    /// How many of `columns` weigh at most `target` and keep the limits of a record; at least one.
    fn prefix(&self, columns: &[Column], target: usize) -> usize {
        let (mut weighed, mut readings) = (0, 0);
        let fitting = columns
            .iter()
            .take(MAX_RECORD_COLUMNS)
            .take_while(|column| {
                weighed += self.weight(column);
                readings += column.samples.len();
                weighed <= target && readings <= MAX_RECORD_READINGS
            });
        fitting.count().max(1)
    }

    fn cut(&mut self, mut columns: &[Column]) -> Result<(), EncodeError> {
        while !columns.is_empty() {
            let (rest, sealed) = self.next(columns)?;
            match sealed {
                Some(sealed) => self.sealed.push(sealed),
                None => self.halve(columns.first())?,
            }
            columns = rest;
        }
        Ok(())
    }

    /// Seals the first of `columns`; `None` when not even one of them fits, which is then skipped.
    fn next<'c>(
        &mut self,
        columns: &'c [Column],
    ) -> Result<(&'c [Column], Option<SealedRecord>), EncodeError> {
        let mut most = self.prefix(columns, usize::MAX);
        let mut best: Option<(usize, SealedRecord)> = None;
        // Ends: each try is shorter than the last that failed or longer than the last that fitted.
        // After some tries the guesses are not trusted any more: halve, and take what fits.
        for tries in 0.. {
            let target = AIM * 1024 / self.bytes_per_kilo.max(1);
            let least = best.as_ref().map_or(1, |(count, _)| count + 1);
            let count = self.prefix(columns, target).clamp(least, most);
            let chunk = columns.get(..count).unwrap_or(columns);
            let weighed: usize = chunk.iter().map(|column| self.weight(column)).sum();
            let sealed = self.seal(chunk)?;
            let size = sealed
                .as_ref()
                .map_or(2 * MAX_RECORD_BYTES, |s| s.body.len());
            self.bytes_per_kilo = (size * 1024).div_ceil(weighed.max(1));
            match sealed {
                Some(sealed) if sealed.body.len() <= MAX_RECORD_BYTES => {
                    let enough = sealed.body.len() >= POOR;
                    best = Some((count, sealed));
                    if enough {
                        break;
                    }
                }
                _ if count == 1 => return Ok((columns.get(1..).unwrap_or_default(), None)),
                _ if tries >= MAX_TRIES => most = count / 2,
                _ => most = count - 1,
            }
            if let Some((count, _)) = &best
                && (*count >= most || tries >= MAX_TRIES)
            {
                break;
            }
        }
        let (count, sealed) = best.ok_or(EncodeError::Invalid("nothing to seal"))?;
        Ok((columns.get(count..).unwrap_or_default(), Some(sealed)))
    }

    /// Continues a column that is too large for one record in the next ones.
    fn halve(&mut self, column: Option<&Column>) -> Result<(), EncodeError> {
        let Some(column) = column else {
            return Ok(());
        };
        let half = column.samples.len() / 2;
        let Some((front @ [_, ..], back)) = column.samples.split_at_checked(half) else {
            return Err(EncodeError::Invalid("one reading does not fit a record"));
        };
        for (samples, filtered) in [(front, column.filtered), (back, 0)] {
            self.cut(&[Column {
                samples: samples.to_vec(),
                filtered,
                ..*column
            }])?;
        }
        Ok(())
    }

    /// `None` where a single column breaks a limit that cutting it cures.
    fn seal(&self, columns: &[Column]) -> Result<Option<SealedRecord>, EncodeError> {
        if let [column] = columns
            && column.samples.len() > MAX_RECORD_READINGS
        {
            return Ok(None);
        }
        let mut used = Vec::new();
        let mut places = vec![None; self.dictionaries.len()];
        for column in columns {
            let place = column.dictionary as usize;
            if let (Some(slot @ None), Some(hash)) =
                (places.get_mut(place), self.dictionaries.get(place))
            {
                *slot = u32::try_from(used.len()).ok();
                used.push(*hash);
            }
        }
        let wall = self.stamp.wall;
        let place = |place: u32| places.get(place as usize).copied().flatten();
        let (packed, summary) = telemetry::pack(wall, &used, columns, place)?;
        let beside = if self.unchanged.is_empty() {
            None
        } else {
            let key = |column: &Column| (column.dictionary, column.index);
            let signs = columns.iter().filter_map(|c| self.unchanged.get(&key(c)));
            unchanged::pack(wall, signs.copied(), place)?
        };
        let body = proto::Body::Telemetry(packed);
        Ok(Some(seal(self.stamp, body, beside, summary)))
    }
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

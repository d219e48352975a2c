//! Dictionaries: immutable ordered lists of points, named by their hash (design.md C6).
//!
//! The encoding is canonical: one list has one encoding and so one hash, on every machine and in
//! every version. [`Dictionary::decode`] refuses any other spelling of a list. Layout: `SPEC.md`.

use crate::error::{DecodeError, EncodeError};
use crate::limits::MAX_DICTIONARY_BYTES;
use crate::pack::{Reader, put_varint};
use bytes::Bytes;
use protocols_model::dictionary::MAX_UNIT_LEN;
use protocols_model::ids::MAX_ID_LEN;
use protocols_model::{DeviceId, DictionaryHash, PointDescriptor, PointId, ValueType};

const FORMAT: u8 = 1;
const SAME_DEVICE: u8 = 0x01;
const SAME_UNIT: u8 = 0x02;
const SAME_SCALE: u8 = 0x04;
/// The value type stands in the upper bits of an entry's first byte.
const TYPE_SHIFT: u32 = 4;
const KNOWN_BITS: u8 = 0x07 | 0xf0;
/// Scale codes up to here are powers of ten, 10^(code - 15); any other scale is written in full.
const SCALE_CODES: [f64; 31] = [
    1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1,
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];
const SCALE_IN_FULL: u8 = 0xff;

/// An immutable ordered list of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Dictionary {
    entries: Vec<PointDescriptor>,
    encoded: Bytes,
    hash: DictionaryHash,
}

impl Dictionary {
    /// Makes a dictionary of `entries`.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] when its encoding would break the limit,
    /// [`EncodeError::Invalid`] for an empty list or a scale that is not finite.
    pub fn try_new(mut entries: Vec<PointDescriptor>) -> Result<Self, EncodeError> {
        // It lives as long as its points do.
        entries.shrink_to_fit();
        let mut encoder = Encoder::default();
        for entry in &entries {
            encoder.push(entry)?;
        }
        let encoded = encoder.finish();
        if encoded.len() > MAX_DICTIONARY_BYTES {
            return Err(EncodeError::TooLarge {
                what: "encoded dictionary in bytes",
                found: encoded.len(),
                allowed: MAX_DICTIONARY_BYTES,
            });
        }
        if entries.is_empty() {
            return Err(EncodeError::Invalid(
                "a dictionary needs at least one point",
            ));
        }
        Ok(Self::of(entries, encoded.into()))
    }

    /// Cuts a list of any length into dictionaries that fit the limit, in order. An empty list
    /// gives none.
    ///
    /// # Errors
    /// [`EncodeError`] where a single entry breaks a rule.
    pub fn chunk(points: Vec<PointDescriptor>) -> Result<Vec<Self>, EncodeError> {
        let mut chunks = Vec::new();
        let mut entries = Vec::new();
        let mut encoder = Encoder::default();
        for point in points {
            encoder.push(&point)?;
            if encoder.len() > MAX_DICTIONARY_BYTES {
                // What front-coding saves depends on the entry before: begin again with this one.
                chunks.push(Self::try_new(std::mem::take(&mut entries))?);
                encoder = Encoder::default();
                encoder.push(&point)?;
            }
            entries.push(point);
        }
        if !entries.is_empty() {
            chunks.push(Self::try_new(entries)?);
        }
        Ok(chunks)
    }

    /// Reads the canonical encoding; the hash is computed, never believed.
    ///
    /// # Errors
    /// [`DecodeError`]; never panics.
    pub fn decode(encoded: Bytes) -> Result<Self, DecodeError> {
        if encoded.len() > MAX_DICTIONARY_BYTES {
            return Err(DecodeError::TooLarge {
                what: "encoded dictionary in bytes",
                found: encoded.len(),
                allowed: MAX_DICTIONARY_BYTES,
            });
        }
        let mut bytes = Reader::new(&encoded, "dictionary");
        match bytes.u8()? {
            FORMAT => {}
            0 => return Err(DecodeError::Malformed("dictionary format 0 does not exist")),
            newer => return Err(DecodeError::UnknownVersion(newer.into())),
        }
        // An entry takes at least four bytes, so the count is bounded before anything is kept.
        let count = bytes.bounded("dictionary entries", encoded.len() / 4)?;
        let mut entries: Vec<PointDescriptor> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = read_entry(&mut bytes, entries.last())?;
            entries.push(entry);
        }
        bytes.finish()?;
        let same = Self::try_new(entries)
            .map_err(|_| DecodeError::Malformed("the dictionary's content breaks a rule"))?;
        if same.encoded != encoded {
            return Err(DecodeError::Malformed("the dictionary is not canonical"));
        }
        Ok(same)
    }

    /// The points, in order.
    #[must_use]
    pub fn entries(&self) -> &[PointDescriptor] {
        &self.entries
    }

    /// The canonical encoding.
    #[must_use]
    pub const fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// The dictionary's name.
    #[must_use]
    pub const fn hash(&self) -> DictionaryHash {
        self.hash
    }

    fn of(entries: Vec<PointDescriptor>, encoded: Bytes) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, &encoded);
        let mut hash = [0; 16];
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self {
            entries,
            encoded,
            hash: DictionaryHash(hash),
        }
    }
}

/// Writes entries, each relative to the one before.
#[derive(Default)]
struct Encoder {
    out: Vec<u8>,
    count: u64,
    last: Option<PointDescriptor>,
}

impl Encoder {
    fn push(&mut self, entry: &PointDescriptor) -> Result<(), EncodeError> {
        if entry.unit.len() > MAX_UNIT_LEN {
            return Err(EncodeError::TooLarge {
                what: "unit in bytes",
                found: entry.unit.len(),
                allowed: MAX_UNIT_LEN,
            });
        }
        if !entry.scale.is_finite() {
            return Err(EncodeError::Invalid("the scale of a point is not finite"));
        }
        let last = self.last.as_ref();
        let same_device = last.is_some_and(|l| l.device == entry.device);
        let same_unit = last.is_some_and(|l| l.unit == entry.unit);
        let same_scale = last.is_some_and(|l| l.scale.to_bits() == entry.scale.to_bits());
        self.out.push(
            (u8::from(same_device) * SAME_DEVICE)
                | (u8::from(same_unit) * SAME_UNIT)
                | (u8::from(same_scale) * SAME_SCALE)
                | (entry.value_type.to_index() << TYPE_SHIFT),
        );
        if !same_device {
            let before = last.map_or("", |l| l.device.as_str());
            put_front_coded(&mut self.out, before, entry.device.as_str());
        }
        let before = last.map_or("", |l| l.point.as_str());
        put_front_coded(&mut self.out, before, entry.point.as_str());
        if !same_unit {
            put_varint(&mut self.out, entry.unit.len() as u64);
            self.out.extend_from_slice(entry.unit.as_bytes());
        }
        if !same_scale {
            put_scale(&mut self.out, entry.scale);
        }
        self.count += 1;
        self.last = Some(entry.clone());
        Ok(())
    }

    /// Length with everything that was pushed.
    fn len(&self) -> usize {
        let mut count = Vec::new();
        put_varint(&mut count, self.count);
        1 + count.len() + self.out.len()
    }

    fn finish(self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.len());
        whole.push(FORMAT);
        put_varint(&mut whole, self.count);
        whole.extend_from_slice(&self.out);
        whole
    }
}

fn put_front_coded(out: &mut Vec<u8>, before: &str, text: &str) {
    let shared = before
        .bytes()
        .zip(text.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    put_varint(out, shared as u64);
    put_varint(out, (text.len() - shared) as u64);
    out.extend(text.bytes().skip(shared));
}

fn put_scale(out: &mut Vec<u8>, scale: f64) {
    let code = SCALE_CODES
        .iter()
        .position(|power| power.to_bits() == scale.to_bits())
        .and_then(|place| u8::try_from(place).ok());
    if let Some(code) = code {
        out.push(code);
    } else {
        out.push(SCALE_IN_FULL);
        out.extend_from_slice(&scale.to_le_bytes());
    }
}

fn read_entry(
    bytes: &mut Reader<'_>,
    last: Option<&PointDescriptor>,
) -> Result<PointDescriptor, DecodeError> {
    let first = bytes.u8()?;
    let same = |bit: u8| {
        if first & bit == 0 {
            Ok(None)
        } else {
            last.map(Some).ok_or(DecodeError::Malformed(
                "the first dictionary entry refers to one before it",
            ))
        }
    };
    let value_type = ValueType::from_index(first >> TYPE_SHIFT)
        .filter(|_| first & !KNOWN_BITS == 0)
        .ok_or(DecodeError::Malformed("unknown value type in a dictionary"))?;
    let device = match same(SAME_DEVICE)? {
        Some(entry) => entry.device.clone(),
        None => {
            let text = read_front_coded(bytes, last.map_or("", |l| l.device.as_str()))?;
            DeviceId::try_new(&text)
                .map_err(|_| DecodeError::Malformed("a device id breaks the rules for ids"))?
        }
    };
    let point = read_front_coded(bytes, last.map_or("", |l| l.point.as_str()))?;
    let point = PointId::try_new(&point)
        .map_err(|_| DecodeError::Malformed("a point id breaks the rules for ids"))?;
    let unit = match same(SAME_UNIT)? {
        Some(entry) => entry.unit.clone(),
        None => {
            let length = bytes.bounded("unit in bytes", MAX_UNIT_LEN)?;
            let text = std::str::from_utf8(bytes.take(length)?)
                .map_err(|_| DecodeError::Malformed("a unit is not UTF-8"))?;
            text.to_owned()
        }
    };
    let scale = match same(SAME_SCALE)? {
        Some(entry) => entry.scale,
        None => match bytes.u8()? {
            SCALE_IN_FULL => f64::from_le_bytes(bytes.array()?),
            code => *SCALE_CODES
                .get(usize::from(code))
                .ok_or(DecodeError::Malformed("unknown scale code"))?,
        },
    };
    Ok(PointDescriptor {
        device,
        point,
        value_type,
        unit,
        scale,
    })
}

fn read_front_coded(bytes: &mut Reader<'_>, before: &str) -> Result<String, DecodeError> {
    let shared = bytes.bounded("shared start of an id", before.len())?;
    let length = bytes.bounded("id in bytes", MAX_ID_LEN)?;
    let tail = std::str::from_utf8(bytes.take(length)?)
        .map_err(|_| DecodeError::Malformed("an id is not UTF-8"))?;
    let head = before
        .get(..shared)
        .ok_or(DecodeError::Malformed("an id is cut inside a character"))?;
    Ok([head, tail].concat())
}

//! Envelopes: what one publish carries.
//!
//! ```text
//! "FG" version flags n m plain-length crc | n record headers {epoch seq lane offset length crc(body) crc(header)} |
//! m dictionary headers {length crc(body) crc(header)} | zstd(bodies … dictionaries …)
//! ```
//! The part before the compressed one is fixed for all versions up to and with the record headers:
//! whatever is wrong behind it, the records can be named. Layout byte by byte: `SPEC.md`.
//!
//! A damaged record leaves its neighbours readable; a damaged dictionary is left out (the cloud then
//! asks for it). Decompression stops at the announced length, which the limits bound.

use crate::dictionary::Dictionary;
use crate::error::{DecodeError, EncodeError, EnvelopeError};
use crate::limits::{
    MAX_DICTIONARY_BYTES, MAX_ENVELOPE_BYTES, MAX_ENVELOPE_DICTIONARIES, MAX_ENVELOPE_PLAIN_BYTES,
    MAX_ENVELOPE_RECORDS, MAX_RECORD_BYTES,
};
use crate::pack::Reader;
use bytes::Bytes;
use protocols_model::{Epoch, Lane, RecordKey};
use std::cell::RefCell;
use std::fmt;

/// The envelope version this program writes; it reads all up to it.
pub const ENVELOPE_VERSION: u8 = 1;

const MAGIC: [u8; 2] = *b"FG";
const HEAD_LEN: usize = 16;
const RECORD_HEADER_LEN: usize = 31;
const DICTIONARY_HEADER_LEN: usize = 10;
const ZSTD_LEVEL: i32 = 1;

/// A decoded envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The records, in the order they were put in; those with an unreadable header are left out.
    pub records: Vec<EnvelopeRecord>,
    /// Dictionaries attached for a cloud that may lack them; damaged ones are left out.
    pub dictionaries: Vec<Dictionary>,
}

/// One record of an envelope: named in any case, readable unless damaged.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvelopeRecord {
    /// Its identity within the gateway.
    pub key: RecordKey,
    /// The body, checksum verified; or what is wrong with it.
    pub body: Result<Bytes, DecodeError>,
}

/// Packs envelopes with buffers and a zstd context that are kept between calls.
pub struct EnvelopeEncoder {
    context: Option<zstd::bulk::Compressor<'static>>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl fmt::Debug for EnvelopeEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvelopeEncoder").finish_non_exhaustive()
    }
}

impl Default for EnvelopeEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl EnvelopeEncoder {
    /// An encoder; memory is taken at the first use (about half a MiB).
    #[must_use]
    pub const fn new() -> Self {
        Self {
            context: None,
            plain: Vec::new(),
            packed: Vec::new(),
        }
    }

    /// Packs records and attached dictionaries for one publish. All records are of one lane.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] where a limit would be broken, [`EncodeError::Invalid`] for mixed
    /// lanes, seq 0 or nothing at all.
    pub fn encode(
        &mut self,
        records: &[(RecordKey, Bytes)],
        dictionaries: &[Bytes],
    ) -> Result<Bytes, EncodeError> {
        check(records, dictionaries)?;
        self.plain.clear();
        for body in records.iter().map(|(_, body)| body).chain(dictionaries) {
            self.plain.extend_from_slice(body);
        }
        within(
            "envelope, unpacked, in bytes",
            self.plain.len(),
            MAX_ENVELOPE_PLAIN_BYTES,
        )?;
        self.compress()?;

        let mut out = Vec::with_capacity(
            HEAD_LEN
                + records.len() * RECORD_HEADER_LEN
                + dictionaries.len() * DICTIONARY_HEADER_LEN
                + self.packed.len(),
        );
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[ENVELOPE_VERSION, 0]);
        out.extend_from_slice(&small(records.len()).to_le_bytes());
        out.extend_from_slice(&small(dictionaries.len()).to_le_bytes());
        out.extend_from_slice(&word(self.plain.len()).to_le_bytes());
        seal(&mut out, 0);
        let mut offset = 0;
        for (key, body) in records {
            let start = out.len();
            out.extend_from_slice(&key.epoch.0.to_le_bytes());
            out.extend_from_slice(&key.seq.to_le_bytes());
            out.push(key.lane.to_index());
            out.extend_from_slice(&word(offset).to_le_bytes());
            out.extend_from_slice(&small(body.len()).to_le_bytes());
            out.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
            seal(&mut out, start);
            offset += body.len();
        }
        for dictionary in dictionaries {
            let start = out.len();
            out.extend_from_slice(&small(dictionary.len()).to_le_bytes());
            out.extend_from_slice(&crc32fast::hash(dictionary).to_le_bytes());
            seal(&mut out, start);
        }
        out.extend_from_slice(&self.packed);
        within("envelope in bytes", out.len(), MAX_ENVELOPE_BYTES)?;
        Ok(out.into())
    }

    fn compress(&mut self) -> Result<(), EncodeError> {
        const FAILED: EncodeError = EncodeError::Invalid("zstd could not compress the envelope");
        let context = match &mut self.context {
            Some(context) => context,
            None => self
                .context
                .insert(zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|_| FAILED)?),
        };
        self.packed.clear();
        self.packed
            .reserve(zstd::zstd_safe::compress_bound(self.plain.len()));
        context
            .compress_to_buffer(&self.plain, &mut self.packed)
            .map_err(|_| FAILED)?;
        Ok(())
    }
}

fn check(records: &[(RecordKey, Bytes)], dictionaries: &[Bytes]) -> Result<(), EncodeError> {
    within(
        "records in an envelope",
        records.len(),
        MAX_ENVELOPE_RECORDS,
    )?;
    within(
        "dictionaries in an envelope",
        dictionaries.len(),
        MAX_ENVELOPE_DICTIONARIES,
    )?;
    if records.is_empty() && dictionaries.is_empty() {
        return Err(EncodeError::Invalid("an envelope of nothing"));
    }
    let lane = records.first().map(|(key, _)| key.lane);
    for (key, body) in records {
        if Some(key.lane) != lane {
            return Err(EncodeError::Invalid("the records are of several lanes"));
        }
        if key.seq == 0 {
            return Err(EncodeError::Invalid("seq 0 names no record"));
        }
        within("record in bytes", body.len(), MAX_RECORD_BYTES)?;
    }
    dictionaries.iter().try_for_each(|dictionary| {
        within(
            "encoded dictionary in bytes",
            dictionary.len(),
            MAX_DICTIONARY_BYTES,
        )
    })
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

/// Appends the checksum of everything from `start`.
fn seal(out: &mut Vec<u8>, start: usize) {
    let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
}

fn small(number: usize) -> u16 {
    u16::try_from(number).expect("invariant: checked against limits below 65536")
}

fn word(number: usize) -> u32 {
    u32::try_from(number).expect("invariant: checked against limits below 4 GiB")
}

/// Packs records and attached dictionaries for one publish. All records are of one lane. Buffers
/// are kept per thread; see [`EnvelopeEncoder`] to own them.
///
/// # Errors
/// [`EncodeError::TooLarge`] where a limit would be broken.
pub fn encode_envelope(
    records: &[(RecordKey, Bytes)],
    dictionaries: &[Bytes],
) -> Result<Bytes, EncodeError> {
    thread_local! {
        static ENCODER: RefCell<EnvelopeEncoder> = const { RefCell::new(EnvelopeEncoder::new()) };
    }
    ENCODER.with_borrow_mut(|encoder| encoder.encode(records, dictionaries))
}

/// Unpacks a publish.
///
/// # Errors
/// [`EnvelopeError`] where the whole cannot be used, with the records that could be named.
pub fn decode_envelope(payload: &[u8]) -> Result<Envelope, EnvelopeError> {
    let headers = payload
        .get(HEAD_LEN..)
        .map(readable_headers)
        .unwrap_or_default();
    open(payload, &headers).map_err(|(why, count)| EnvelopeError {
        why,
        named: headers
            .iter()
            .take(count)
            .flatten()
            .map(|header| header.key)
            .collect(),
    })
}

/// A record header whose checksum holds.
#[derive(Debug, Clone, Copy)]
struct Header {
    key: RecordKey,
    offset: usize,
    length: usize,
    body_crc: u32,
}

/// Reads what may be record headers: up to the limit of them, `None` where the checksum fails.
fn readable_headers(bytes: &[u8]) -> Vec<Option<Header>> {
    let mut headers: Vec<_> = bytes
        .chunks_exact(RECORD_HEADER_LEN)
        .take(MAX_ENVELOPE_RECORDS)
        .map(|chunk| read_header(chunk).ok())
        .collect();
    let readable = headers
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |last| last + 1);
    headers.truncate(readable);
    headers
}

fn read_header(chunk: &[u8]) -> Result<Header, DecodeError> {
    let mut bytes = Reader::new(verified(chunk, "record header")?, "record header");
    let epoch = Epoch(u64::from_le_bytes(bytes.array()?));
    let seq = u64::from_le_bytes(bytes.array()?);
    let lane = Lane::from_index(bytes.u8()?)
        .filter(|_| seq != 0)
        .ok_or(DecodeError::Malformed("a record header names no record"))?;
    Ok(Header {
        key: RecordKey { epoch, lane, seq },
        offset: u32::from_le_bytes(bytes.array()?) as usize,
        length: u16::from_le_bytes(bytes.array()?).into(),
        body_crc: u32::from_le_bytes(bytes.array()?),
    })
}

/// `bytes` without their last four, which must be their checksum.
fn verified<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a [u8], DecodeError> {
    let (content, crc) = bytes
        .split_last_chunk::<4>()
        .ok_or(DecodeError::Truncated(what))?;
    if crc32fast::hash(content) == u32::from_le_bytes(*crc) {
        Ok(content)
    } else {
        Err(DecodeError::Checksum(what))
    }
}

/// Unpacks; an error says how many of the headers belong to the envelope as far as is known.
fn open(payload: &[u8], headers: &[Option<Header>]) -> Result<Envelope, (DecodeError, usize)> {
    // While the head is not known to be right, every header with a right checksum counts.
    let unsure = |why| (why, usize::MAX);
    let mut bytes = Reader::new(payload, "envelope");
    let head = bytes.take(HEAD_LEN).map_err(unsure)?;
    let head = Head::read(head).map_err(unsure)?;
    let named = |why| (why, head.records);
    head.check(payload.len()).map_err(named)?;
    bytes
        .take(head.records * RECORD_HEADER_LEN)
        .map_err(named)?;
    let dictionary_headers = bytes
        .take(head.dictionaries * DICTIONARY_HEADER_LEN)
        .map_err(named)?;
    let plain = unpack(bytes.rest(), head.plain_len).map_err(named)?;
    let headers = headers.iter().take(head.records).flatten();
    let records: Vec<_> = headers.map(|header| cut_record(&plain, header)).collect();
    let dictionaries = cut_dictionaries(&plain, dictionary_headers);
    Ok(Envelope {
        records,
        dictionaries,
    })
}

struct Head {
    version: u8,
    records: usize,
    dictionaries: usize,
    plain_len: usize,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut bytes = Reader::new(verified(bytes, "envelope head")?, "envelope head");
        if bytes.array::<2>()? != MAGIC {
            return Err(DecodeError::Malformed("these bytes are not an envelope"));
        }
        let version = bytes.u8()?;
        // Flags are for later versions; version 1 has none that a reader must know.
        bytes.u8()?;
        Ok(Self {
            version,
            records: u16::from_le_bytes(bytes.array()?).into(),
            dictionaries: u16::from_le_bytes(bytes.array()?).into(),
            plain_len: u32::from_le_bytes(bytes.array()?) as usize,
        })
    }

    fn check(&self, payload_len: usize) -> Result<(), DecodeError> {
        if self.version == 0 {
            return Err(DecodeError::Malformed("envelope version 0 does not exist"));
        }
        if self.version > ENVELOPE_VERSION {
            return Err(DecodeError::UnknownVersion(self.version.into()));
        }
        for (what, found, allowed) in [
            ("envelope in bytes", payload_len, MAX_ENVELOPE_BYTES),
            ("records in an envelope", self.records, MAX_ENVELOPE_RECORDS),
            (
                "dictionaries in an envelope",
                self.dictionaries,
                MAX_ENVELOPE_DICTIONARIES,
            ),
            (
                "envelope, unpacked, in bytes",
                self.plain_len,
                MAX_ENVELOPE_PLAIN_BYTES,
            ),
        ] {
            if found > allowed {
                return Err(DecodeError::TooLarge {
                    what,
                    found,
                    allowed,
                });
            }
        }
        Ok(())
    }
}

/// Decompresses to exactly `plain_len` bytes; whatever the frame says of itself, no more is taken.
fn unpack(packed: &[u8], plain_len: usize) -> Result<Bytes, DecodeError> {
    thread_local! {
        static CONTEXT: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    const DAMAGED: DecodeError = DecodeError::Malformed("the compressed part is damaged");
    CONTEXT.with_borrow_mut(|slot| {
        let context = match slot {
            Some(context) => context,
            None => slot.insert(zstd::bulk::Decompressor::new().map_err(|_| DAMAGED)?),
        };
        let mut plain = Vec::with_capacity(plain_len);
        context
            .decompress_to_buffer(packed, &mut plain)
            .map_err(|_| DAMAGED)?;
        if plain.len() == plain_len {
            Ok(plain.into())
        } else {
            Err(DAMAGED)
        }
    })
}

fn cut_record(plain: &Bytes, header: &Header) -> EnvelopeRecord {
    let end = header.offset.saturating_add(header.length);
    let body = if header.length > MAX_RECORD_BYTES {
        Err(DecodeError::TooLarge {
            what: "record in bytes",
            found: header.length,
            allowed: MAX_RECORD_BYTES,
        })
    } else if end > plain.len() {
        Err(DecodeError::Truncated("record"))
    } else {
        let body = plain.slice(header.offset..end);
        if crc32fast::hash(&body) == header.body_crc {
            Ok(body)
        } else {
            Err(DecodeError::Checksum("record"))
        }
    };
    EnvelopeRecord {
        key: header.key,
        body,
    }
}

/// Dictionaries stand at the end of the plain bytes, so they are found from there: a damaged
/// record header in front does not matter. A damaged one hides those before it.
fn cut_dictionaries(plain: &Bytes, headers: &[u8]) -> Vec<Dictionary> {
    let mut found = Vec::new();
    let mut end = plain.len();
    for chunk in headers.rchunks_exact(DICTIONARY_HEADER_LEN) {
        let Some((start, crc)) = read_dictionary_header(chunk, end) else {
            break;
        };
        let encoded = plain.slice(start..end);
        end = start;
        if crc32fast::hash(&encoded) != crc {
            continue;
        }
        if let Ok(dictionary) = Dictionary::decode(encoded) {
            found.push(dictionary);
        }
    }
    found.reverse();
    found
}

fn read_dictionary_header(chunk: &[u8], end: usize) -> Option<(usize, u32)> {
    let mut bytes = Reader::new(verified(chunk, "dictionary header").ok()?, "dictionary");
    let length = usize::from(u16::from_le_bytes(bytes.array().ok()?));
    let crc = u32::from_le_bytes(bytes.array().ok()?);
    Some((end.checked_sub(length)?, crc))
}

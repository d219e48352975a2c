//! Limits of the format, shared by both ends. A decoder checks each before it allocates.

/// Longest record body, in bytes. Larger leaves become blob files in sled, which it never fsyncs
/// (design.md section 5).
pub const MAX_RECORD_BYTES: usize = 8 * 1024;

/// Longest encoded dictionary, in bytes.
pub const MAX_DICTIONARY_BYTES: usize = 8 * 1024;

/// Longest envelope as published, in bytes; below every broker's default packet limit.
pub const MAX_ENVELOPE_BYTES: usize = 256 * 1024;

/// Most records in one envelope.
pub const MAX_ENVELOPE_RECORDS: usize = 512;

/// Most dictionaries attached to one envelope.
pub const MAX_ENVELOPE_DICTIONARIES: usize = 64;

/// Most bytes an envelope's compressed part may unfold to: a bomb stops here.
pub const MAX_ENVELOPE_PLAIN_BYTES: usize =
    MAX_ENVELOPE_RECORDS * MAX_RECORD_BYTES / 4 + MAX_ENVELOPE_DICTIONARIES * MAX_DICTIONARY_BYTES;

/// Most readings in one record.
pub const MAX_RECORD_READINGS: usize = 16 * 1024;

/// Most columns in one record.
pub const MAX_RECORD_COLUMNS: usize = 8 * 1024;

/// Longest hello, hello answer or acknowledgement, in bytes.
pub const MAX_CONTROL_BYTES: usize = 64 * 1024;

/// Most seq ranges per epoch and lane in an acknowledgement or a hello answer.
pub const MAX_RANGES: usize = 64;

/// Longest text (software version, configuration revision) in a control message, in bytes.
pub const MAX_CONTROL_TEXT_BYTES: usize = 128;

/// Longest subject of an event, in bytes.
pub const MAX_EVENT_SUBJECT_BYTES: usize = 256;

/// Longest text of an event, in bytes.
pub const MAX_EVENT_TEXT_BYTES: usize = 1024;

/// Most points that an event names as those its alarm is about.
pub const MAX_ALARM_POINTS: usize = 4;

/// Most claims in one record.
pub const MAX_RECORD_CLAIMS: usize = 64;

/// Longest text or byte value; the domain's own limit.
pub const MAX_VALUE_BYTES: usize = protocols_model::value::MAX_VALUE_BYTES;

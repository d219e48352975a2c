//! Protobuf of record bodies. Field numbers are for ever; `SPEC.md` describes the packed columns.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Record {
    /// Format that a reader must know to understand the record.
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(fixed64, tag = "2")]
    pub(super) boot: u64,
    #[prost(uint64, tag = "3")]
    pub(super) mono_ns: u64,
    #[prost(sfixed64, tag = "4")]
    pub(super) wall_ns: i64,
    #[prost(oneof = "Body", tags = "5, 6, 7, 8")]
    pub(super) body: Option<Body>,
    /// Beside telemetry: signs of life of points without news. Its dictionaries are those of the
    /// telemetry; each column has two samples.
    #[prost(message, optional, tag = "9")]
    pub(super) unchanged: Option<Telemetry>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, on the stack, and most are the large one"
)]
pub(super) enum Body {
    #[prost(message, tag = "5")]
    Telemetry(Telemetry),
    #[prost(message, tag = "6")]
    Claims(Claims),
    #[prost(message, tag = "7")]
    Event(Event),
    #[prost(message, tag = "8")]
    TimeMap(TimeMap),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Telemetry {
    /// 16 bytes each.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) dictionaries: Vec<u8>,
    /// How many columns.
    #[prost(uint32, tag = "2")]
    pub(super) columns: u32,
    /// Which points: runs of consecutive indices.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) points: Vec<u8>,
    /// A bit a column: 1 where it has no samples. Empty when all have some.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) absent: Vec<u8>,
    /// Runs: filtered readings of the columns with samples.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) filtered_present: Vec<u8>,
    /// Runs: filtered readings of the columns without.
    #[prost(bytes = "vec", tag = "6")]
    pub(super) filtered_absent: Vec<u8>,
    /// Varints: length of each time vector.
    #[prost(bytes = "vec", tag = "7")]
    pub(super) time_lengths: Vec<u8>,
    /// Integers: the time vectors, delta of delta.
    #[prost(bytes = "vec", tag = "8")]
    pub(super) times: Vec<u8>,
    /// Nanoseconds per tick of each time vector; empty when all are 1 ms.
    #[prost(uint32, repeated, tag = "9")]
    pub(super) resolutions: Vec<u32>,
    /// Runs: which time vector a column with samples uses, and whether only a part of it.
    #[prost(bytes = "vec", tag = "10")]
    pub(super) time_places: Vec<u8>,
    /// Bits: which entries of its time vector a partial column has.
    #[prost(bytes = "vec", tag = "11")]
    pub(super) time_masks: Vec<u8>,
    /// Runs: quality of each sample.
    #[prost(bytes = "vec", tag = "12")]
    pub(super) qualities: Vec<u8>,
    /// Runs: how the values of each column with samples are coded.
    #[prost(bytes = "vec", tag = "13")]
    pub(super) layouts: Vec<u8>,
    /// Integers: first value of each numeric column.
    #[prost(bytes = "vec", tag = "14")]
    pub(super) firsts: Vec<u8>,
    /// Integers: how each further value differs from the one before.
    #[prost(bytes = "vec", tag = "15")]
    pub(super) deltas: Vec<u8>,
    /// Bits: bool values.
    #[prost(bytes = "vec", tag = "16")]
    pub(super) bits: Vec<u8>,
    /// Length-prefixed text and byte values.
    #[prost(bytes = "vec", tag = "17")]
    pub(super) blobs: Vec<u8>,
    /// Above 0: the first values are packed in frames of this stride.
    #[prost(uint32, tag = "18")]
    pub(super) stride: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Claims {
    #[prost(message, repeated, tag = "1")]
    pub(super) claims: Vec<Claim>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Claim {
    #[prost(fixed64, tag = "1")]
    pub(super) epoch: u64,
    #[prost(uint32, tag = "2")]
    pub(super) lane: u32,
    #[prost(uint64, tag = "3")]
    pub(super) first: u64,
    #[prost(uint64, tag = "4")]
    pub(super) last: u64,
    #[prost(uint32, tag = "5")]
    pub(super) reason: u32,
    #[prost(sfixed64, tag = "6")]
    pub(super) from_ns: i64,
    #[prost(sfixed64, tag = "7")]
    pub(super) to_ns: i64,
    #[prost(uint64, optional, tag = "8")]
    pub(super) readings: Option<u64>,
    #[prost(uint64, optional, tag = "9")]
    pub(super) at_most: Option<u64>,
    /// 16 bytes each.
    #[prost(bytes = "vec", tag = "10")]
    pub(super) dictionaries: Vec<u8>,
    /// How many points.
    #[prost(uint32, tag = "11")]
    pub(super) points: u32,
    /// Which points: runs of consecutive indices.
    #[prost(bytes = "vec", tag = "12")]
    pub(super) places: Vec<u8>,
    /// Runs: lost readings of each point.
    #[prost(bytes = "vec", tag = "13")]
    pub(super) point_readings: Vec<u8>,
    /// Runs: filtered readings of each point.
    #[prost(bytes = "vec", tag = "14")]
    pub(super) point_filtered: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Event {
    #[prost(sfixed64, tag = "1")]
    pub(super) time_ns: i64,
    #[prost(uint32, tag = "2")]
    pub(super) kind: u32,
    #[prost(string, tag = "3")]
    pub(super) subject: String,
    #[prost(string, tag = "4")]
    pub(super) text: String,
    /// 0: the event is about no alarm.
    #[prost(uint32, tag = "5")]
    pub(super) alarm_level: u32,
    #[prost(uint32, tag = "6")]
    pub(super) alarm_state: u32,
    #[prost(bool, tag = "7")]
    pub(super) alarm_quiet: bool,
    #[prost(string, repeated, tag = "8")]
    pub(super) alarm_points: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TimeMap {
    #[prost(fixed64, tag = "1")]
    pub(super) boot: u64,
    #[prost(sfixed64, tag = "2")]
    pub(super) origin_ns: i64,
    #[prost(uint64, tag = "3")]
    pub(super) uncertainty_ns: u64,
}

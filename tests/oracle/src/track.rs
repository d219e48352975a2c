//! Tracks: one judged quantity each. A point is a track; the bits of a bank that are read together
//! are one track, because only together they name a poll number.

use crate::awake::Awake;
use crate::evidence::{Evidence, StoredRow};
use std::collections::{BTreeMap, HashMap, HashSet};
use tests_fieldsim::answer_log::{AnswerLine, CLOSED, OPENED};
use tests_fieldsim::{BusKind, PointSite, WordKind, signal};

/// One answered reading of a track.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// When the simulator answered.
    pub t: i64,
    /// The gateway may not have taken it: the machine stood still while it was asked or answered, and it
    /// may have given up waiting; or it was sent unasked, see [`Unasked`].
    pub late: bool,
    /// Raw value; for a bank the poll number cut to the bank's bits.
    pub raw: i64,
}

/// One stored row, as far as a track cares.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub epoch: String,
    pub seq: u64,
    /// Its time as stored, by the gateway's clock.
    pub time: i64,
    /// Raw value; none for a bad reading.
    pub raw: Option<i64>,
    /// Which bits of a bank the row holds; 1 for ordinary points.
    pub mask: u32,
}

/// One judged quantity.
#[derive(Debug)]
pub(crate) struct Track {
    pub gateway: String,
    pub device: String,
    /// The point's name, or `bits-<space>` for a bank.
    pub name: String,
    /// Names of the points in the track, for the ledger's per-point counts.
    pub points: Vec<String>,
    /// All bits of a read.
    pub full_mask: u32,
    /// Whether a raw value names a poll for ever, for telling which epoch ran when.
    pub is_wide: bool,
    /// Deadband in raw steps; 0 means that every reading is sent.
    pub deadband_raw: f64,
    /// Longest silence, nanoseconds; 0 means none.
    pub beat_ns: i64,
    /// Its device sends by itself.
    pub is_unasked: bool,
    pub reads: Vec<Read>,
    /// Rows by epoch, in order of seq.
    pub rows: Vec<Row>,
}

/// What a gateway needs at most, on a busy machine, from the decision to ask until its request arrives.
const ASKING_NS: i64 = 500_000_000;
/// What the slowest line needs for an answer, on a busy machine.
const LEAVING_NS: i64 = 400_000_000;

type Key = (String, String, String);

/// Builds the tracks of all evidence.
pub(crate) fn build(evidence: &Evidence, awake: &Awake) -> Vec<Track> {
    let mut tracks: BTreeMap<Key, Track> = BTreeMap::new();
    let mut of_point: BTreeMap<Key, (Key, PointSite)> = BTreeMap::new();
    for bus in &evidence.site.buses {
        for unit in &bus.units {
            for point in &unit.points {
                let is_bit = point.kind == WordKind::Bit;
                let bank = || format!("bits-{:?}", point.space).to_lowercase();
                let name = if is_bit { bank() } else { point.id.clone() };
                let key = (bus.gateway.clone(), unit.device.clone(), name);
                let track = tracks
                    .entry(key.clone())
                    .or_insert_with(|| empty(&key, point, &bus.kind));
                track.points.push(point.id.clone());
                if is_bit {
                    track.full_mask |= 1 << (point.address & 15);
                }
                let point_key = (bus.gateway.clone(), unit.device.clone(), point.id.clone());
                of_point.insert(point_key, (key, point.clone()));
            }
        }
    }
    add_reads(evidence, awake, &of_point, &mut tracks);
    add_rows(evidence, &of_point, &mut tracks);
    tracks.into_values().collect()
}

fn empty(key: &Key, point: &PointSite, bus: &BusKind) -> Track {
    let (gateway, device, name) = key.clone();
    Track {
        gateway,
        device,
        name,
        points: Vec::new(),
        full_mask: u32::from(point.kind != WordKind::Bit),
        is_wide: matches!(point.kind, WordKind::I64 | WordKind::U32),
        deadband_raw: point.deadband * signal::divisor(point.kind),
        beat_ns: i64::from(point.beat_s) * 1_000_000_000,
        is_unasked: matches!(bus, BusKind::Scale { .. } | BusKind::Radio { .. }),
        reads: Vec::new(),
        rows: Vec::new(),
    }
}

fn add_reads(
    evidence: &Evidence,
    awake: &Awake,
    of_point: &BTreeMap<Key, (Key, PointSite)>,
    tracks: &mut BTreeMap<Key, Track>,
) {
    let unasked = Unasked::new(evidence);
    for line in &evidence.answers {
        let mut banks_done = Vec::new();
        let late = may_be_late(line, awake) || unasked.may_be_missed(line, awake);
        for polled in &line.polls {
            let point_key = (
                line.gateway.clone(),
                line.device.clone(),
                polled.point.clone(),
            );
            let Some((key, point)) = of_point.get(&point_key) else {
                continue;
            };
            let Some(track) = tracks.get_mut(key) else {
                continue;
            };
            let raw = if point.kind == WordKind::Bit {
                // All bits of a bank are polled together and share n; one read for the bank.
                if banks_done.contains(key) {
                    continue;
                }
                banks_done.push(key.clone());
                i64::try_from(polled.n & u64::from(track.full_mask)).unwrap_or(0)
            } else {
                polled.raw
            };
            track.reads.push(Read {
                t: line.t,
                late,
                raw,
            });
        }
    }
}

/// What devices send by themselves, a gateway takes only while it listens. When it does, only it knows; a
/// value is held against it only where there is no doubt:
///
/// - on a serial line from [`LISTENING_NS`] after the port was opened until as long before it was closed;
///   what lies between is read by whoever has the port open, however late;
/// - over the air never: reception is not promised. A value that is stored must have been sent, and is
///   stored once.
struct Unasked {
    /// Gateway and device of sensors.
    heard: HashSet<(String, String)>,
    /// When ports were opened or closed, by gateway and device, in order.
    ports: HashMap<(String, String), Vec<i64>>,
}

/// What a gateway needs at most, on a busy machine, to begin to listen once it has opened a port, and what
/// may be unread when it closes one.
const LISTENING_NS: i64 = 3_000_000_000;

impl Unasked {
    fn new(evidence: &Evidence) -> Self {
        let mut unasked = Self {
            heard: HashSet::new(),
            ports: HashMap::new(),
        };
        for bus in &evidence.site.buses {
            for unit in &bus.units {
                let device = (bus.gateway.clone(), unit.device.clone());
                match bus.kind {
                    BusKind::Radio { .. } => {
                        unasked.heard.insert(device);
                    }
                    BusKind::Scale { .. } => {
                        unasked.ports.insert(device, Vec::new());
                    }
                    BusKind::Tcp { .. } | BusKind::Rtu { .. } | BusKind::Scpi { .. } => {}
                }
            }
        }
        let changes = |line: &&AnswerLine| line.kind == OPENED || line.kind == CLOSED;
        for line in evidence.answers.iter().filter(changes) {
            let device = (line.gateway.clone(), line.device.clone());
            if let Some(ports) = unasked.ports.get_mut(&device) {
                ports.push(line.t);
            }
        }
        unasked
    }

    fn may_be_missed(&self, line: &AnswerLine, awake: &Awake) -> bool {
        let device = (line.gateway.clone(), line.device.clone());
        if self.heard.contains(&device) {
            return true;
        }
        let Some(changes) = self.ports.get(&device) else {
            return false;
        };
        let mut away = changes.iter().map(|t| awake.between(*t, line.t).abs());
        away.any(|away| away <= LISTENING_NS)
    }
}

/// A gateway waits so long for an answer and no longer; what comes later is no reading. Only the gateway
/// knows when it asked; but while the machine runs an answer is there within milliseconds, so it can
/// have been late only if the machine stood still on the way: from when the gateway was about to ask
/// until the answer had left.
pub(crate) fn may_be_late(line: &AnswerLine, awake: &Awake) -> bool {
    let (from, to) = (line.t - ASKING_NS, line.t + LEAVING_NS);
    awake.between(from, to) < to - from
}

fn add_rows(
    evidence: &Evidence,
    of_point: &BTreeMap<Key, (Key, PointSite)>,
    tracks: &mut BTreeMap<Key, Track>,
) {
    // Rows of a bank that were read together carry the same time within an epoch.
    let mut banks: BTreeMap<(Key, String, i64, u64), Row> = BTreeMap::new();
    for row in &evidence.stored {
        let point_key = (row.gateway.clone(), row.device.clone(), row.point.clone());
        let Some((key, point)) = of_point.get(&point_key) else {
            continue;
        };
        let raw = raw_of(row, point);
        if point.kind == WordKind::Bit {
            let bit = 1u32 << (point.address & 15);
            let repeat = (0u64..).find(|repeat| {
                let slot = (key.clone(), row.epoch.clone(), row.time_ns, *repeat);
                banks.get(&slot).is_none_or(|held| held.mask & bit == 0)
            });
            let slot = (
                key.clone(),
                row.epoch.clone(),
                row.time_ns,
                repeat.unwrap_or(0),
            );
            let held = banks.entry(slot).or_insert_with(|| Row {
                epoch: row.epoch.clone(),
                seq: row.seq,
                time: row.time_ns,
                raw: raw.map(|_| 0),
                mask: 0,
            });
            held.mask |= bit;
            held.raw = held
                .raw
                .zip(raw)
                .map(|(sum, on)| sum | (i64::from(bit) * on));
        } else if let Some(track) = tracks.get_mut(key) {
            track.rows.push(Row {
                epoch: row.epoch.clone(),
                seq: row.seq,
                time: row.time_ns,
                raw,
                mask: 1,
            });
        }
    }
    for ((key, ..), row) in banks {
        if let Some(track) = tracks.get_mut(&key) {
            track.rows.push(row);
        }
    }
    for track in tracks.values_mut() {
        // Stable: rows of one record keep the export's order, which is the order they were taken in.
        track
            .rows
            .sort_by(|a, b| (&a.epoch, a.seq).cmp(&(&b.epoch, b.seq)));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "raw values are integers below 2^53"
)]
fn raw_of(row: &StoredRow, point: &PointSite) -> Option<i64> {
    let value = row.value.filter(|_| row.quality == "good")?;
    Some((value * signal::divisor(point.kind)).round() as i64)
}

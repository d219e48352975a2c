//! What was learned, kept across restarts.
//!
//! It is a cache: everything in it can be found out again by asking. So a file that is missing, damaged
//! or of another version is ignored with a warning, a fact about a device whose map has changed since is
//! dropped, and writing is rare (the driver's `SAVE_EVERY`) and spares the flash.

use super::{Learned, Length, MAX_HOLES, Spans};
use crate::config::{Device, Space};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version of the form below.
const VERSION: u32 = 1;
/// Larger is not read: 250 devices at their bounds stay below.
const MAX_BYTES: u64 = 4 << 20;

/// Where what a bus has taught is kept. Called rarely, on a thread that may block.
pub trait Memory: Send + Sync + 'static {
    /// What was saved last; `None` when nothing was.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the driver goes on without.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;

    /// Keeps this instead of what was saved before.
    ///
    /// # Errors
    /// Whatever keeps it from being written; the driver tries again later.
    fn save(&self, bytes: &[u8]) -> io::Result<()>;
}

/// A file of its own for each bus.
#[derive(Debug, Clone)]
pub struct FileMemory(PathBuf);

impl FileMemory {
    /// Keeps it at this path; its directory is made when needed.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Forgets everything: delete it before the driver starts.
    ///
    /// # Errors
    /// The file is there and cannot be deleted.
    pub fn forget(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Memory for FileMemory {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        use std::io::Read as _;
        let file = match std::fs::File::open(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn save(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(dir) = self.0.parent().filter(|dir| *dir != Path::new("")) {
            std::fs::create_dir_all(dir)?;
        }
        // Whole or not at all. Without fsync: after a power cut an empty file is as good as none.
        let fresh = self.0.with_extension("new");
        std::fs::write(&fresh, bytes)?;
        std::fs::rename(&fresh, &self.0)
    }
}

/// Why saved facts are not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Damaged, or not ours.
    #[error("what was learned about the devices cannot be read; it is found out again")]
    Damaged(#[source] serde_json::Error),
    /// Of a version that this program does not know, or far too large.
    #[error(
        "what was learned about the devices has version {0}, not {VERSION}; it is found out again"
    )]
    Version(u32),
    /// Too large to be ours.
    #[error(
        "what was learned about the devices is larger than {MAX_BYTES} bytes; it is found out again"
    )]
    Size,
}

/// What is known about the devices of a bus, as it is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    version: u32,
    /// By device id.
    devices: BTreeMap<String, Facts>,
}

/// What is known about one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// [`fingerprint`] of the map it was learned with.
    pub map: u64,
    /// Smoothed turnaround, in microseconds.
    pub turnaround_us: Option<u64>,
    /// Whether it is read without gaps.
    pub without_gaps: bool,
    /// Longest answered and shortest refused request, in registers.
    pub registers: (u16, Option<u16>),
    /// The same in coils or discrete inputs.
    pub bits: (u16, Option<u16>),
    /// Table, first and last address of what is never read along.
    pub holes: Vec<(String, u16, u16)>,
    /// Table, first and last address of what is refused even alone.
    pub alone: Vec<(String, u16, u16)>,
}

/// A number that changes with everything a plan depends on: unit, addresses, widths, limits, quirks.
#[must_use]
pub fn fingerprint(device: &Device) -> u64 {
    let mut points: Vec<(Space, u16, u16)> = device
        .points
        .iter()
        .map(|p| (p.address.space, p.address.register, p.width()))
        .collect();
    points.sort_unstable();
    let text = format!(
        "{} {:?} {:?} {points:?}",
        device.unit, device.limits, device.quirks
    );
    // FNV-1a, 64 bits: the same for every build, unlike the standard library's hasher.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::empty()
    }
}

impl Snapshot {
    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            version: VERSION,
            devices: BTreeMap::new(),
        }
    }

    /// Whether `other` says the same, but for turnarounds that moved a little: not worth a write.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let same = |(id, facts): (&String, &Facts)| {
            let other = other.devices.get(id)?;
            let drift = match (facts.turnaround_us, other.turnaround_us) {
                (Some(now), Some(then)) => now.abs_diff(then) > then / u64::from(super::DRIFT),
                (now, then) => now != then,
            };
            let facts = Facts {
                turnaround_us: other.turnaround_us,
                ..facts.clone()
            };
            (facts == *other && !drift).then_some(())
        };
        self.devices.len() == other.devices.len() && self.devices.iter().all(|d| same(d).is_some())
    }

    /// What the devices have taught.
    pub fn of<'a>(devices: impl IntoIterator<Item = (&'a Device, &'a Learned)>) -> Self {
        let entry = |(device, learned): (&Device, &Learned)| {
            (device.id.to_string(), learned.facts(fingerprint(device)))
        };
        Self {
            version: VERSION,
            devices: devices.into_iter().map(entry).collect(),
        }
    }

    /// Reads saved facts.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(SnapshotError::Size);
        }
        let snapshot: Self = serde_json::from_slice(bytes).map_err(SnapshotError::Damaged)?;
        if snapshot.version != VERSION {
            return Err(SnapshotError::Version(snapshot.version));
        }
        Ok(snapshot)
    }

    /// The bytes to save.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists of them: serialising cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What is known about a device, unless its map has changed since.
    #[must_use]
    pub fn learned(&self, device: &Device) -> Learned {
        let facts = self.devices.get(device.id.as_str());
        let facts = facts.filter(|facts| facts.map == fingerprint(device));
        facts.map(Learned::from).unwrap_or_default()
    }
}

fn save(spans: &BTreeMap<Space, Spans>) -> Vec<(String, u16, u16)> {
    let named = |(space, spans): (&Space, &Spans)| {
        let name = space.as_str().to_owned();
        let all: Vec<_> = spans.iter().map(|(a, b)| (name.clone(), a, b)).collect();
        all
    };
    spans.iter().flat_map(named).collect()
}

fn restore(saved: &[(String, u16, u16)]) -> BTreeMap<Space, Spans> {
    let mut spans = BTreeMap::<Space, Spans>::new();
    for (name, first, last) in saved.iter().take(MAX_HOLES) {
        if let Some(space) = Space::named(name) {
            spans.entry(space).or_default().insert(*first, *last);
        }
    }
    spans
}

impl Learned {
    fn facts(&self, map: u64) -> Facts {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Facts {
            map,
            turnaround_us: self.turnaround.map(micros),
            without_gaps: self.without_gaps,
            registers: (self.registers.good, self.registers.refused),
            bits: (self.bits.good, self.bits.refused),
            holes: save(&self.holes),
            alone: save(&self.alone),
        }
    }
}

impl From<&Facts> for Learned {
    fn from(facts: &Facts) -> Self {
        let length = |(good, refused): (u16, Option<u16>)| Length {
            good,
            refused: refused.filter(|refused| *refused > 1),
        };
        // A minute is the longest time-out there is: more was never measured.
        let micros = facts.turnaround_us.filter(|micros| *micros <= 60_000_000);
        Self {
            holes: restore(&facts.holes),
            alone: restore(&facts.alone),
            registers: length(facts.registers),
            bits: length(facts.bits),
            without_gaps: facts.without_gaps,
            turnaround: micros.map(Duration::from_micros),
            ..Self::default()
        }
    }
}

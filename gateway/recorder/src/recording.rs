//! A folder of segments read back: points, and their readings in the order of time.

use crate::frame::{Frame, Kind};
use crate::tape::{MAGIC, segments};
use bytes::Bytes;
use protocols_model::{DictionaryHash, PointDescriptor, Timestamp};
use protocols_wire::{Body, Dictionary, Record, Sample};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One reading of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Place of its point in [`Recording::points`].
    pub point: usize,
    /// The reading.
    pub sample: Sample,
}

/// A recording.
#[derive(Debug, Default)]
pub struct Recording {
    /// The points, each once, in the order of their first appearance.
    pub points: Vec<PointDescriptor>,
    /// Readings in the order of their stamps; those of one stamp as they were taken.
    pub readings: Vec<Recorded>,
    /// Segments whose end was torn or damaged.
    pub torn: Vec<PathBuf>,
    /// Readings that the recorder could not keep up with.
    pub missed: u64,
}

/// Most readings that are held at once: each takes about fifty bytes.
pub const MAX_READINGS: usize = 5_000_000;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The disk refuses.
    #[error("reading {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// Nothing there.
    #[error("{} holds no recording: `fogline-gateway record` makes one", .0.display())]
    Nothing(PathBuf),
    /// More than may be held.
    #[error(
        "{} holds more than {} million readings: try its end alone, with --last 1h",
        .0.display(), MAX_READINGS / 1_000_000
    )]
    TooMany(PathBuf),
    /// No segment of ours.
    #[error("{} is no recording of this version", .0.display())]
    Foreign(PathBuf),
    /// Segments of ours, of which nothing can be read.
    #[error("{} is damaged from its beginning on: no reading in it can be read", .0.display())]
    Damaged(PathBuf),
}

impl Recording {
    /// Reads all segments of a folder, or what was taken in its `last` so many minutes.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn read(folder: &Path, last: Option<Duration>) -> Result<Self, RecordingError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| RecordingError::Io(path, error)
        };
        let all = segments(folder).map_err(io(folder))?;
        if all.is_empty() {
            return Err(RecordingError::Nothing(folder.to_owned()));
        }
        let mut recording = Self::default();
        let mut places = HashMap::new();
        // The newest first: what is too old, or too much, is known when it comes.
        let mut from = None;
        let mut parts = Vec::with_capacity(all.len());
        for (_, path) in all.into_iter().rev() {
            let Some(bytes) = segment(&path).map_err(io(&path))? else {
                return Err(RecordingError::Foreign(path));
            };
            let mut part = Vec::new();
            if !recording.take_segment(bytes, &mut places, &mut part) {
                recording.torn.push(path);
            }
            let end = part.iter().map(|reading| reading.sample.time).max();
            from = from.or_else(|| Some(end?.minus(last?)));
            let before = part.len();
            part.retain(|reading| from.is_none_or(|from| reading.sample.time >= from));
            let is_whole = part.len() == before;
            parts.push(part);
            if parts.iter().map(Vec::len).sum::<usize>() > MAX_READINGS {
                return Err(RecordingError::TooMany(folder.to_owned()));
            }
            // A clock that was set back may hide newer ones in older segments: those are not looked for.
            if !is_whole {
                break;
            }
        }
        recording.torn.reverse();
        recording.readings = parts.into_iter().rev().flatten().collect();
        // Stable: what was taken at one moment keeps its order.
        recording
            .readings
            .sort_by_key(|reading| reading.sample.time);
        if recording.readings.is_empty() && !recording.torn.is_empty() {
            return Err(RecordingError::Damaged(folder.to_owned()));
        }
        Ok(recording)
    }

    /// From the first stamp to the last.
    #[must_use]
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.readings.first()?.sample.time;
        Some((first, self.readings.last()?.sample.time))
    }

    /// Whether all of it could be read.
    fn take_segment(
        &mut self,
        mut bytes: Bytes,
        places: &mut HashMap<DictionaryHash, Vec<usize>>,
        readings: &mut Vec<Recorded>,
    ) -> bool {
        while !bytes.is_empty() {
            let Some((frame, rest)) = Frame::split(&bytes) else {
                return false;
            };
            bytes = rest;
            let taken = match frame.kind {
                Kind::Dictionary => self.take_dictionary(frame.body, places),
                Kind::Record => take_record(&frame.body, places, readings),
                Kind::Missed => {
                    self.missed = self.missed.saturating_add(frame.missing());
                    Some(())
                }
                Kind::End => Some(()),
            };
            if taken.is_none() {
                return false;
            }
        }
        true
    }

    fn take_dictionary(
        &mut self,
        body: Bytes,
        places: &mut HashMap<DictionaryHash, Vec<usize>>,
    ) -> Option<()> {
        let dictionary = Dictionary::decode(body).ok()?;
        let points = &mut self.points;
        places.entry(dictionary.hash()).or_insert_with(|| {
            let place = |entry: &PointDescriptor| {
                let known = points.iter().position(|point| point == entry);
                known.unwrap_or_else(|| {
                    points.push(entry.clone());
                    points.len() - 1
                })
            };
            dictionary.entries().iter().map(place).collect()
        });
        Some(())
    }
}

/// What follows the first bytes of a segment; `None` where they are not ours. Of a file that is something else
/// no more is read than that.
fn segment(path: &Path) -> io::Result<Option<Bytes>> {
    let mut file = File::open(path)?;
    let mut begin = Vec::with_capacity(MAGIC.len());
    file.by_ref()
        .take(MAGIC.len() as u64)
        .read_to_end(&mut begin)?;
    if begin != MAGIC {
        return Ok(None);
    }
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    Ok(Some(rest.into()))
}

fn take_record(
    body: &[u8],
    places: &HashMap<DictionaryHash, Vec<usize>>,
    readings: &mut Vec<Recorded>,
) -> Option<()> {
    let Body::Telemetry(telemetry) = Record::decode(body).ok()?.body else {
        return None;
    };
    for column in telemetry.columns {
        let dictionary = usize::try_from(column.dictionary).ok()?;
        let points = places.get(telemetry.dictionaries.get(dictionary)?)?;
        let point = *points.get(usize::try_from(column.index).ok()?)?;
        let samples = column.samples.into_iter();
        readings.extend(samples.map(|sample| Recorded { point, sample }));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Recorder, Tape, TapeLimits};
    use protocols_model::{
        BootId, DeviceId, Instant, PointId, PointKey, Reading, Value, ValueType,
    };
    use std::os::unix::fs::PermissionsExt as _;

    fn points() -> Vec<PointDescriptor> {
        let point = |name| PointDescriptor {
            device: DeviceId::try_new("meter").unwrap(),
            point: PointId::try_new(name).unwrap(),
            value_type: ValueType::I64,
            unit: String::new(),
            scale: 1.0,
        };
        vec![point("a"), point("b")]
    }

    fn at(second: u64) -> (Instant, Timestamp) {
        let span = Duration::from_secs(second);
        (
            Instant(span),
            Timestamp::from_millis(1_700_000_000_000).plus(span),
        )
    }

    /// Records two points once a second.
    fn record(folder: &Path, limits: TapeLimits, seconds: std::ops::Range<u64>) {
        let mut recorder = Recorder::new(points(), BootId(1)).unwrap();
        let mut tape = Tape::open(folder, limits).unwrap();
        tape.write(&recorder.beginning()).unwrap();
        for second in seconds {
            let (now, wall) = at(second);
            let value = i64::try_from(second).unwrap();
            let readings = [0, 1].map(|key| Reading::good(PointKey(key), wall, Value::I64(value)));
            recorder.take(now, &readings);
            if recorder.due().is_some_and(|due| due <= now.plus(AGE)) {
                tape.write(&recorder.seal(now, wall)).unwrap();
            }
        }
    }

    const AGE: Duration = Duration::from_secs(1);
    const LARGE: TapeLimits = TapeLimits { max_bytes: 1 << 24 };

    #[test]
    fn what_was_recorded_comes_back_in_the_order_of_time_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rec");
        record(&path, LARGE, 0..100);
        // A second run of the gateway goes on in the same folder.
        record(&path, LARGE, 100..150);
        let recording = Recording::read(&path, None).unwrap();
        assert_eq!(recording.points, points());
        assert_eq!(recording.readings.len(), 300);
        assert!(recording.torn.is_empty());
        let times: Vec<_> = recording.readings.iter().map(|r| r.sample.time).collect();
        assert!(times.is_sorted());
        assert_eq!(recording.span(), Some((at(0).1, at(149).1)));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        for (_, segment) in segments(&path).unwrap() {
            assert_eq!(mode(&segment), 0o600);
        }
    }

    #[test]
    fn the_end_alone_can_be_read_and_what_was_missed_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let limits = TapeLimits { max_bytes: 20_000 };
        assert!(!Tape::is_there(&folder.path().join("none")).unwrap());
        record(folder.path(), limits, 0..500);
        let mut tape = Tape::open(folder.path(), limits).unwrap();
        tape.write(&[Frame::missed(7), Frame::end()]).unwrap();
        assert!(Tape::is_there(folder.path()).unwrap());
        let last = Recording::read(folder.path(), Some(Duration::from_secs(60))).unwrap();
        assert_eq!(last.span(), Some((at(439).1, at(499).1)));
        assert_eq!(last.readings.len(), 2 * 61);
        assert_eq!(last.missed, 7);
    }

    #[test]
    fn a_configuration_that_changes_meanwhile_brings_its_own_points() {
        let folder = tempfile::tempdir().unwrap();
        let mut tape = Tape::open(folder.path(), LARGE).unwrap();
        let mut other = points();
        other.reverse();
        for (points, second) in [(points(), 0), (other, 1)] {
            let mut recorder = Recorder::new(points, BootId(1)).unwrap();
            tape.write(&recorder.beginning()).unwrap();
            let (now, wall) = at(second);
            let value = Value::I64(i64::try_from(second).unwrap());
            recorder.take(now, &[Reading::good(PointKey(0), wall, value)]);
            tape.write(&recorder.seal(now, wall)).unwrap();
        }
        let recording = Recording::read(folder.path(), None).unwrap();
        let read: Vec<_> = recording
            .readings
            .iter()
            .map(|r| {
                (
                    recording.points[r.point].point.as_str(),
                    r.sample.value.clone(),
                )
            })
            .collect();
        assert_eq!(
            read,
            [("a", Some(Value::I64(0))), ("b", Some(Value::I64(1)))]
        );
    }

    #[test]
    fn the_oldest_make_room_and_the_newest_keep() {
        let folder = tempfile::tempdir().unwrap();
        let limits = TapeLimits { max_bytes: 20_000 };
        record(folder.path(), limits, 0..3000);
        let bytes: u64 = segments(folder.path())
            .unwrap()
            .iter()
            .map(|(_, path)| std::fs::metadata(path).unwrap().len())
            .sum();
        assert!(bytes <= 21_000, "{bytes}");
        let recording = Recording::read(folder.path(), None).unwrap();
        let (first, last) = recording.span().unwrap();
        assert!(first > at(1000).1);
        assert_eq!(last, at(2999).1);
    }

    #[test]
    fn a_torn_end_costs_no_more_than_itself_and_other_files_are_told_from_recordings() {
        let folder = tempfile::tempdir().unwrap();
        record(folder.path(), LARGE, 0..50);
        let (_, segment) = segments(folder.path()).unwrap().pop().unwrap();
        let bytes = std::fs::read(&segment).unwrap();
        std::fs::write(&segment, &bytes[..bytes.len() - 7]).unwrap();
        let recording = Recording::read(folder.path(), None).unwrap();
        assert_eq!(recording.torn, std::slice::from_ref(&segment));
        assert_eq!(recording.readings.len(), 98);
        std::fs::write(&segment, &bytes[..MAGIC.len() + 3]).unwrap();
        assert!(matches!(
            Recording::read(folder.path(), None),
            Err(RecordingError::Damaged(_))
        ));
        std::fs::write(&segment, b"something else").unwrap();
        assert!(matches!(
            Recording::read(folder.path(), None),
            Err(RecordingError::Foreign(_))
        ));
        std::fs::remove_file(segment).unwrap();
        assert!(matches!(
            Recording::read(folder.path(), None),
            Err(RecordingError::Nothing(_))
        ));
    }
}

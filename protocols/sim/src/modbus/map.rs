//! Register map of a unit: points with scripted values, what was written over them, and how often each
//! was read. Pure.

use super::pdu::{ILLEGAL_ADDRESS, Range, Space};
use super::raw::Raw;
use crate::event::Shown;
use crate::script::{Moment, Signal, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// One point of a map.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its name.
    pub id: Arc<str>,
    /// Where.
    pub space: Space,
    /// First address, counted from 0.
    pub address: u16,
    /// How the value lies there.
    pub raw: Raw,
    /// The value.
    pub signal: Signal,
    /// A client may not write it.
    pub read_only: bool,
}

impl Point {
    fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.raw.width())
    }
}

/// Two points that claim the same address, or one that ends behind the last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// Two points share an address.
    #[error("points {0:?} and {1:?} both lie at address {2}")]
    Overlap(Arc<str>, Arc<str>, u16),
    /// A point ends behind address 65535.
    #[error("point {0:?} reaches past address 65535")]
    PastEnd(Arc<str>),
    /// Two points have one name.
    #[error("two points are called {0:?}")]
    Name(Arc<str>),
}

/// The map.
#[derive(Debug, Clone)]
pub struct Map {
    /// By space and address; they do not overlap.
    points: BTreeMap<(Space, u16), Entry>,
    written: HashMap<(Space, u16), u16>,
}

#[derive(Debug, Clone)]
struct Entry {
    point: Point,
    polls: u64,
    held: Option<Value>,
}

/// What a read brings.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Registers, or one 0/1 word for each bit.
    pub words: Vec<u16>,
    /// Points that lie wholly inside.
    pub shown: Vec<Shown>,
    /// Whether an address belongs to no point.
    pub has_gap: bool,
}

impl Map {
    /// A map of these points.
    ///
    /// # Errors
    /// Where they do not go together.
    pub fn new(points: Vec<Point>) -> Result<Self, MapError> {
        let mut names = std::collections::HashSet::new();
        for point in &points {
            if point.end() > 1 << 16 {
                return Err(MapError::PastEnd(Arc::clone(&point.id)));
            }
            if !names.insert(Arc::clone(&point.id)) {
                return Err(MapError::Name(Arc::clone(&point.id)));
            }
        }
        let mut sorted = points;
        sorted.sort_by_key(|point| (point.space, point.address));
        for pair in sorted.windows(2) {
            if let [one, other] = pair
                && one.space == other.space
                && one.end() > u32::from(other.address)
            {
                let (one_id, other_id) = (Arc::clone(&one.id), Arc::clone(&other.id));
                return Err(MapError::Overlap(one_id, other_id, other.address));
            }
        }
        let entry = |point: Point| {
            let held = None;
            let place = (point.space, point.address);
            (
                place,
                Entry {
                    point,
                    polls: 0,
                    held,
                },
            )
        };
        Ok(Self {
            points: sorted.into_iter().map(entry).collect(),
            written: HashMap::new(),
        })
    }

    /// Reads a range. Addresses without a point read as 0 where the device does not mind.
    ///
    /// # Errors
    /// The exception code, where nothing at all lies there or the range ends behind the last point.
    pub fn read(&mut self, range: Range, elapsed: Duration) -> Result<Reading, u8> {
        let first = u32::from(range.address);
        let end = first + u32::from(range.count);
        if end > self.end_of(range.space) {
            return Err(ILLEGAL_ADDRESS);
        }
        let mut reading = Reading {
            words: vec![0; usize::from(range.count)],
            ..Reading::default()
        };
        let mut covered = 0;
        // A point that begins before the range may reach into it.
        let before = self
            .points
            .range(..(range.space, range.address))
            .next_back();
        let begin = before
            .filter(|((space, _), entry)| *space == range.space && entry.point.end() > first)
            .map_or((range.space, range.address), |(place, _)| *place);
        for ((space, address), entry) in self.points.range_mut(begin..) {
            if *space != range.space || u32::from(*address) >= end {
                break;
            }
            let moment = Moment {
                elapsed,
                poll: entry.polls,
            };
            let value = entry
                .held
                .clone()
                .unwrap_or_else(|| entry.point.signal.at(moment));
            for (offset, word) in (u32::from(*address)..).zip(entry.point.raw.words(&value)) {
                let slot = offset
                    .checked_sub(first)
                    .and_then(|i| usize::try_from(i).ok());
                if let Some(target) = slot.and_then(|i| reading.words.get_mut(i)) {
                    *target = word;
                    covered += 1;
                }
            }
            if u32::from(*address) >= first && entry.point.end() <= end {
                reading.shown.push(Shown {
                    point: Arc::clone(&entry.point.id),
                    poll: entry.polls,
                    value,
                });
                entry.polls += 1;
            }
        }
        if covered == 0 {
            return Err(ILLEGAL_ADDRESS);
        }
        reading.has_gap = covered < reading.words.len();
        if !self.written.is_empty() {
            for (offset, word) in (range.address..=u16::MAX).zip(&mut reading.words) {
                if let Some(written) = self.written.get(&(range.space, offset)) {
                    *word = *written;
                }
            }
        }
        Ok(reading)
    }

    /// Writes words from an address on; they stay until [`Map::release`].
    ///
    /// # Errors
    /// The exception code where an address belongs to no point or to one that may not be written;
    /// nothing is written then.
    pub fn write(&mut self, range: Range, words: &[u16]) -> Result<(), u8> {
        let addresses = || (range.address..=u16::MAX).zip(words);
        let may = |address: u16| {
            let below = self.points.range(..=(range.space, address)).next_back();
            below.is_some_and(|((space, _), entry)| {
                *space == range.space
                    && entry.point.end() > u32::from(address)
                    && !entry.point.read_only
            })
        };
        let all =
            addresses().count() == words.len() && addresses().all(|(address, _)| may(address));
        if !all {
            return Err(ILLEGAL_ADDRESS);
        }
        let written: Vec<_> = addresses()
            .map(|(address, word)| ((range.space, address), *word))
            .collect();
        self.written.extend(written);
        Ok(())
    }

    /// One word as it stands, without counting as a poll of its point.
    #[must_use]
    pub fn peek(&self, space: Space, address: u16, elapsed: Duration) -> Option<u16> {
        let (_, entry) = self.points.range(..=(space, address)).next_back()?;
        if entry.point.space != space || entry.point.end() <= u32::from(address) {
            return None;
        }
        if let Some(word) = self.written.get(&(space, address)) {
            return Some(*word);
        }
        let moment = Moment {
            elapsed,
            poll: entry.polls,
        };
        let value = entry
            .held
            .clone()
            .unwrap_or_else(|| entry.point.signal.at(moment));
        let offset = usize::from(address - entry.point.address);
        entry.point.raw.words(&value).get(offset).copied()
    }

    /// Holds a point at a value, whatever its script says. Whether there is such a point.
    pub fn hold(&mut self, id: &str, value: Value) -> bool {
        self.change(id, |entry| entry.held = Some(value))
    }

    /// Lets a point follow its script again, also where a client wrote. Whether there is such a point.
    pub fn release(&mut self, id: &str) -> bool {
        self.change(id, |entry| entry.held = None)
    }

    fn change(&mut self, id: &str, how: impl FnOnce(&mut Entry)) -> bool {
        let mut entries = self.points.values_mut();
        let Some(entry) = entries.find(|entry| &*entry.point.id == id) else {
            return false;
        };
        how(entry);
        let (space, first) = (entry.point.space, u32::from(entry.point.address));
        let end = entry.point.end();
        self.written
            .retain(|(of, at), _| *of != space || !(first..end).contains(&u32::from(*at)));
        true
    }

    /// The points, by space and address.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.values().map(|entry| &entry.point)
    }

    fn end_of(&self, space: Space) -> u32 {
        let last = self
            .points
            .range((space, 0)..=(space, u16::MAX))
            .next_back();
        last.map_or(0, |(_, entry)| entry.point.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::raw::{Order, RawKind};

    fn point(id: &str, address: u16, kind: RawKind, value: i64) -> Point {
        Point {
            id: id.into(),
            space: Space::Holding,
            address,
            raw: Raw::new(kind, Order::default()),
            signal: Signal::constant(Value::Int(value)),
            read_only: id == "fixed",
        }
    }

    fn range(address: u16, count: u16) -> Range {
        Range {
            function: 3,
            space: Space::Holding,
            address,
            count,
        }
    }

    fn map() -> Map {
        let points = vec![
            point("c", 10, RawKind::U16, 7),
            point("a", 0, RawKind::U32, 0x0001_0002),
            point("fixed", 2, RawKind::U16, 5),
        ];
        Map::new(points).unwrap()
    }

    fn read(map: &mut Map, address: u16, count: u16) -> Result<Vec<u16>, u8> {
        let reading = map.read(range(address, count), Duration::ZERO)?;
        Ok(reading.words)
    }

    #[test]
    fn a_read_brings_points_gaps_as_zero_and_counts_what_lies_wholly_in_it() {
        let mut map = map();
        let reading = map.read(range(1, 3), Duration::ZERO).unwrap();
        assert_eq!(reading.words, [2, 5, 0]);
        assert!(reading.has_gap);
        let shown: Vec<_> = reading.shown.iter().map(|s| (&*s.point, s.poll)).collect();
        assert_eq!(shown, [("fixed", 0)], "half of a value is no reading");
        let reading = map.read(range(0, 3), Duration::ZERO).unwrap();
        assert_eq!((reading.has_gap, reading.shown.len()), (false, 2));
        assert_eq!(reading.shown[1].poll, 1);
        assert_eq!(read(&mut map, 0, 11).unwrap().len(), 11);
        for (address, count) in [(0, 12), (11, 1), (3, 5)] {
            assert_eq!(read(&mut map, address, count), Err(ILLEGAL_ADDRESS));
        }
    }

    #[test]
    fn what_was_written_is_read_until_it_is_released() {
        let mut map = map();
        map.write(range(0, 2), &[9, 8]).unwrap();
        assert_eq!(read(&mut map, 0, 3).unwrap(), [9, 8, 5]);
        assert_eq!(map.peek(Space::Holding, 1, Duration::ZERO), Some(8));
        for (address, words) in [(1, &[1, 1][..]), (3, &[1]), (65_535, &[1, 1])] {
            assert_eq!(map.write(range(address, 1), words), Err(ILLEGAL_ADDRESS));
        }
        assert_eq!(
            read(&mut map, 0, 3).unwrap(),
            [9, 8, 5],
            "refused writes change nothing"
        );
        assert!(map.release("a"));
        assert_eq!(read(&mut map, 0, 2).unwrap(), [1, 2]);
        assert!(map.hold("c", Value::Int(70)) && !map.hold("d", Value::Int(0)));
        assert_eq!(read(&mut map, 10, 1).unwrap(), [70]);
    }

    #[test]
    fn points_that_do_not_go_together_are_named() {
        let two = |a: Point, b: Point| Map::new(vec![a, b]).unwrap_err().to_string();
        let overlap = two(
            point("a", 0, RawKind::U32, 0),
            point("b", 1, RawKind::U16, 0),
        );
        assert!(
            overlap.contains("\"a\" and \"b\" both lie at address 1"),
            "{overlap}"
        );
        assert!(
            two(
                point("a", 0, RawKind::U16, 0),
                point("a", 1, RawKind::U16, 0)
            )
            .contains("called")
        );
        let past = Map::new(vec![point("a", 65_535, RawKind::U32, 0)]).unwrap_err();
        assert!(past.to_string().contains("65535"));
    }
}

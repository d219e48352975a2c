//! A month without the cloud in a small spool, on the real store: 500 points at 1 Hz, 64 MB of disk, and
//! the power goes in the middle of thinnings.
//!
//! A month of these points is 1.3 billion readings, too many to make in a test. So what is older than
//! the last hours comes in as thinning leaves it at four minutes a bucket; from there on, up to buckets
//! of an hour or more, and for the last hours from the first second on, the spool's own passes run, on
//! sled in a directory. (`outage` takes every second through, for some days and fewer points.) The
//! readings have a closed form, so the truth of every bucket of every point is known.

use super::cut::{Cut, CutStore};
use super::outage::{Left, Reading, START_S, now};
use super::{HASH, config};
use crate::core::Core;
use crate::disk::DiskStore;
use crate::lanes::LaneConfigs;
use crate::thin::bucket;
use protocols_model::{BootId, Epoch, Lane, Quality, Timestamp, Value};
use protocols_wire::{Column, Record, RecordStamp, Sample, SealedRecord, Telemetry};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const POINTS: u32 = 500;
const MONTH: u64 = 30 * 24 * HOUR;
const HOUR: u64 = 3600;
/// So much of the end comes second by second.
const RAW: u64 = 2 * HOUR;
/// An offline gateway seals a batch every so many seconds.
const BATCH: u64 = 10;
const DISK: u64 = 64 << 20;
/// The level of what comes in thinned, and its bucket in seconds.
const LEVEL: u8 = 4;
const WINDOW: u64 = 240;

/// One window of a point: every second of it has a closed form.
struct Window {
    base: i64,
    peak: i64,
    turn: u64,
}

/// Where in the turned window the greatest and the least reading are.
const MOST_AT: u64 = 37;
const LEAST_AT: u64 = 171;

impl Window {
    fn of(point: u32, number: u64) -> Self {
        let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (u64::from(point) << 20);
        mixed ^= mixed >> 29;
        mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        // Slow movement over the day, now and then a spike.
        let slow = ((number + u64::from(point) * 37) % 360) as i64;
        let tooth = if slow < 180 { slow } else { 360 - slow };
        let spike = if (mixed >> 8).is_multiple_of(997) {
            5000
        } else {
            0
        };
        Self {
            base: i64::from(point) * 100 + tooth + (mixed % 21) as i64,
            peak: 40 + spike,
            turn: (mixed >> 40) % WINDOW,
        }
    }

    fn value(&self, offset: u64) -> i64 {
        let place = (offset + self.turn) % WINDOW;
        let ramp = if place < WINDOW / 2 {
            place / 8
        } else {
            (WINDOW - place) / 8
        };
        self.base
            + match place {
                MOST_AT => self.peak,
                LEAST_AT => -40,
                _ => ramp as i64,
            }
    }

    /// When `place` of the turned window is.
    fn offset(&self, place: u64) -> u64 {
        (place + WINDOW - self.turn) % WINDOW
    }
}

fn value(point: u32, second: u64) -> i64 {
    Window::of(point, second / WINDOW).value(second % WINDOW)
}

/// First, last, greatest, least of the window.
fn kept(point: u32, number: u64) -> [Reading; 4] {
    let window = Window::of(point, number);
    let at = |offset| (number * WINDOW + offset, window.value(offset));
    [
        at(0),
        at(WINDOW - 1),
        at(window.offset(MOST_AT)),
        at(window.offset(LEAST_AT)),
    ]
}

/// The same, each reading once, by time.
fn distinct(point: u32, number: u64) -> Vec<Reading> {
    let mut readings = kept(point, number).to_vec();
    readings.sort_unstable();
    readings.dedup();
    readings
}

/// The same of a bucket of whole windows: the first of equals.
fn truth(point: u32, from: u64, to: u64) -> [Reading; 4] {
    let windows = from / WINDOW..to / WINDOW;
    let all = || windows.clone().map(|number| kept(point, number));
    let mut most = all().next().unwrap()[2];
    let mut least = all().next().unwrap()[3];
    for [.., greatest, smallest] in all() {
        if greatest.1 > most.1 {
            most = greatest;
        }
        if smallest.1 < least.1 {
            least = smallest;
        }
    }
    [
        (from, value(point, from)),
        (to - 1, value(point, to - 1)),
        most,
        least,
    ]
}

/// A record of each point's `readings`, taken until `second`.
fn seal(second: u64, readings: impl Fn(u32) -> Vec<Reading>) -> Vec<SealedRecord> {
    let column = |index| Column {
        dictionary: 0,
        index,
        filtered: 1,
        samples: readings(index)
            .into_iter()
            .map(|(second, value)| Sample {
                time: Timestamp::from_millis((START_S + second as i64) * 1000),
                value: Some(Value::I64(value)),
                quality: Quality::Good,
            })
            .collect(),
    };
    let telemetry = Telemetry {
        dictionaries: vec![HASH],
        columns: (0..POINTS).map(column).collect(),
        unchanged: Vec::new(),
    };
    let stamp = RecordStamp {
        boot: BootId(1),
        mono: now(second).mono,
        wall: now(second).wall,
    };
    Record::seal_telemetry(stamp, telemetry).unwrap()
}

/// An hour as thinning leaves it.
fn thinned_hour(second: u64) -> Vec<SealedRecord> {
    seal(second, |point| {
        let windows = (second - HOUR) / WINDOW..second / WINDOW;
        windows.flat_map(|number| distinct(point, number)).collect()
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn bytes_of(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap() {
            kind if kind.is_dir() => bytes_of(&entry.path()),
            // One that sled removed meanwhile takes nothing.
            _ => entry.metadata().map_or(0, |data| data.len()),
        })
        .sum()
}

/// The gateway: processes that follow each other, each on what the power cut left of the directory.
struct Gateway {
    root: tempfile::TempDir,
    dir: PathBuf,
    epoch: u64,
    cut: Arc<Mutex<Cut>>,
    core: Core,
    cuts: u64,
    thinned: u64,
    compactions: u64,
    most_ranges: usize,
    most_bytes: u64,
}

impl Gateway {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("spool-1");
        let cut = Arc::new(Mutex::new(Cut::default()));
        let core = Self::open(&dir, &root.path().join("spool-2"), &cut, 1, 0);
        Self {
            root,
            dir,
            epoch: 1,
            cut,
            core,
            cuts: 0,
            thinned: 0,
            compactions: 0,
            most_ranges: 0,
            most_bytes: 0,
        }
    }

    fn open(dir: &Path, next: &Path, cut: &Arc<Mutex<Cut>>, epoch: u64, second: u64) -> Core {
        let mut config = config(dir, DISK / 5 * 2);
        config.lanes = LaneConfigs::default();
        config.commit_interval = Duration::from_secs(HOUR / 2);
        config.max_commit_interval = config.commit_interval;
        config.batch_age = Duration::from_secs(HOUR);
        let (from, to) = (dir.to_owned(), next.to_owned());
        let store = CutStore {
            inner: DiskStore::new(&config),
            cut: Arc::clone(cut),
            at_cut: Box::new(move || copy(&from, &to)),
        };
        let epoch = Epoch(epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Core::start(config, BootId(1), Box::new(store), epoch, now(second)).0
    }

    /// The next process.
    fn restart(&mut self, second: u64) {
        let counters = self.core.state(now(second)).counters;
        self.thinned += counters.thinned_records;
        self.compactions += counters.compactions;
        self.epoch += 1;
        let place = |epoch| self.root.path().join(format!("spool-{epoch}"));
        let (dir, next) = (place(self.epoch), place(self.epoch + 1));
        self.cut = Arc::new(Mutex::new(Cut::default()));
        // The old one lets go of its directory; what it may write there now nobody reads.
        self.core = Self::open(&dir, &next, &self.cut, self.epoch, second);
        drop(fs::remove_dir_all(std::mem::replace(&mut self.dir, dir)));
    }

    fn passes(&mut self, second: u64) {
        self.core.tick(now(second));
        if self.cut.lock().unwrap().dead {
            self.cuts += 1;
            self.restart(second);
        }
        let state = self.core.state(now(second));
        assert!(state.live_bytes <= state.quota_bytes, "{state:?}");
        let ranges = state.gone[usize::from(Lane::Telemetry.to_index())].ranges();
        self.most_ranges = self.most_ranges.max(ranges.len());
        if second.is_multiple_of(6 * HOUR) {
            self.most_bytes = self.most_bytes.max(bytes_of(&self.dir));
        }
        if second.is_multiple_of(60 * HOUR) {
            println!(
                "day {}: {} KiB live, {} KiB on disk",
                second / 24 / HOUR,
                state.live_bytes >> 10,
                bytes_of(&self.dir) >> 10
            );
        }
    }
}

#[test]
fn a_month_of_500_points_at_1_hz_keeps_its_extremes_in_64_mb() {
    let mut gateway = Gateway::start();
    // Calls behind the decision: the values, their sync, the word that it is done, the deletions.
    let mut cuts = [(7, 1), (14, 2), (21, 4)].into_iter().peekable();
    for second in (HOUR..=MONTH - RAW).step_by(HOUR as usize) {
        if let Some((_, calls)) = cuts.next_if(|&(day, _)| second > day * 24 * HOUR) {
            gateway.cut.lock().unwrap().wanted = Some(calls);
        }
        let hour = thinned_hour(second);
        gateway.core.append_thinned(LEVEL, hour, now(second));
        gateway.passes(second);
    }
    gateway.cut.lock().unwrap().wanted = Some(0);
    for second in (MONTH - RAW + BATCH..=MONTH).step_by(BATCH as usize) {
        let records = seal(second, |point| {
            let seconds = second - BATCH..second;
            seconds
                .map(|second| (second, value(point, second)))
                .collect()
        });
        gateway.core.append(Lane::Telemetry, records, now(second));
        gateway.passes(second);
    }
    assert!(gateway.core.stop(true, now(MONTH)));
    let state = gateway.core.state(now(MONTH));
    let (ranges, bytes) = (gateway.most_ranges, gateway.most_bytes);
    let used = state.lanes[usize::from(Lane::Telemetry.to_index())];
    let coarsest = used.thinned_to.unwrap();
    copy(&gateway.dir, &gateway.root.path().join("spool-99"));
    gateway.epoch = 98;
    gateway.restart(MONTH);
    let compactions = gateway.compactions;
    println!(
        "{compactions} moves to a fresh directory, {} KiB live, at most {} KiB on disk, buckets up to {coarsest:?}, {} records thinned, {} power cuts, \
         at most {ranges} gaps in the running epoch",
        state.live_bytes >> 10,
        bytes >> 10,
        gateway.thinned,
        gateway.cuts,
    );
    assert!(bytes <= DISK, "{bytes} bytes on disk");
    assert!(ranges < 48, "the cloud's cursor holds 64 ranges: {ranges}");
    assert!(gateway.cuts >= 3 && coarsest >= bucket(6));
    let left = Left::of(&mut gateway.core, now(MONTH));
    let taken = |point| {
        let windows = 0..(MONTH - RAW) / WINDOW;
        let thinned: usize = windows.map(|number| distinct(point, number).len()).sum();
        thinned as u64 + RAW
    };
    // What a power cut takes along is what no commit had covered: half an hour of seconds at most.
    let missing = left.tells_all(POINTS, taken, gateway.cuts * HOUR / 2);
    println!(
        "at most {:?} readings of a point went with the power cuts",
        missing.iter().max()
    );
    left.is_true(value);
    left.keeps_extremes(0..POINTS, coarsest, MONTH, truth);
}

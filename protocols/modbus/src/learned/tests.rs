//! What is learned from a simulated device that refuses by its own rules.

use super::*;
use crate::config::tests::bus_of;
use crate::config::{Bus, Device, Space};
use crate::plan::{self, Rules};
use crate::timing::Timing;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A device with these holes that takes requests up to this length.
struct Model {
    holes: BTreeSet<u16>,
    longest: u16,
    /// What it answers to a request that is too long.
    too_long: u8,
}

impl Model {
    fn refusal(&self, request: &Request) -> Option<u8> {
        if request.count > self.longest {
            return Some(self.too_long);
        }
        let mut addresses = request.start..=request.last();
        addresses.any(|a| self.holes.contains(&a)).then_some(2)
    }
}

/// One pass as the driver makes it; refusals, and the requests that were answered.
fn pass(
    model: &Model,
    device: &Device,
    timing: &Timing,
    learned: &mut Learned,
) -> (u32, Vec<Request>) {
    let (mut refused, mut good) = (0, Vec::new());
    let rules = Rules::new(device, timing, learned);
    let mut todo = plan::plan(&plan::polled(device), &rules);
    todo.reverse();
    let fixed = learned.clone();
    let rules = Rules::new(device, timing, &fixed);
    while let Some(request) = todo.pop() {
        match model.refusal(&request) {
            None => {
                learned.answered(&request);
                good.push(request);
            }
            Some(exception) => {
                refused += 1;
                learned.refused(&request, exception);
                todo.extend(plan::smaller(&request, &rules).into_iter().rev());
            }
        }
    }
    learned.pass_done(!good.is_empty());
    (refused, good)
}

fn bus(addresses: impl IntoIterator<Item = u16>) -> Bus {
    let addresses: Vec<String> = addresses.into_iter().map(|a| format!("hr:{a}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    bus_of("19200 8E1", &addresses)
}

/// Passes until one has no refusal; how many had one.
fn settle(model: &Model, bus: &Bus, learned: &mut Learned) -> (usize, Vec<Request>) {
    let timing = Timing::of(bus);
    for passes in 0..20 {
        let (refused, good) = pass(model, &bus.devices[0], &timing, learned);
        if refused == 0 {
            return (passes, good);
        }
    }
    panic!("it never settles: {learned:?}");
}

#[test]
fn the_length_a_device_takes_is_found_by_halves_and_used_in_full() {
    for too_long in [2, 3] {
        let model = Model {
            holes: BTreeSet::new(),
            longest: 30,
            too_long,
        };
        let bus = bus(0..120);
        let mut learned = Learned::default();
        let (passes, good) = settle(&model, &bus, &mut learned);
        assert!(passes <= 8, "{passes}");
        assert_eq!(good.len(), 4, "{good:?}");
        assert_eq!(learned.limits(&bus.devices[0].limits).max_regs, 30);
        assert!(learned.holes(Space::Holding).is_none());
    }
}

#[test]
fn a_hole_is_read_across_once_and_other_gaps_still_are() {
    let model = Model {
        holes: BTreeSet::from([5]),
        longest: 125,
        too_long: 3,
    };
    let bus = bus([0, 1, 2, 8, 9, 20, 22]);
    let mut learned = Learned::default();
    let (passes, good) = settle(&model, &bus, &mut learned);
    assert_eq!(passes, 1);
    let asked: Vec<_> = good.iter().map(|r| (r.start, r.count)).collect();
    assert_eq!(
        asked,
        [(0, 3), (8, 15)],
        "20 to 22 and 9 to 20 hide no hole"
    );
}

#[test]
fn an_address_that_is_not_there_is_asked_alone_and_a_device_that_got_it_is_noticed() {
    let mut model = Model {
        holes: BTreeSet::from([7]),
        longest: 125,
        too_long: 3,
    };
    let bus = bus(0..20);
    let (device, timing) = (&bus.devices[0], Timing::of(&bus));
    let mut learned = Learned::default();
    pass(&model, device, &timing, &mut learned);
    let (refused, good) = pass(&model, device, &timing, &mut learned);
    let asked: Vec<_> = good.iter().map(|r| (r.start, r.count)).collect();
    assert_eq!((refused, asked), (1, vec![(0, 7), (8, 12)]));
    assert_eq!(learned.limits(&device.limits).max_regs, 125);
    model.holes.clear();
    pass(&model, device, &timing, &mut learned);
    let (_, good) = pass(&model, device, &timing, &mut learned);
    assert_eq!(good.len(), 1);
}

#[test]
fn a_device_that_refuses_everything_for_a_while_has_taught_nothing() {
    let model = Model {
        holes: (0..100).collect(),
        longest: 125,
        too_long: 2,
    };
    let bus = bus([0, 1, 4, 5]);
    let mut learned = Learned::default();
    pass(&model, &bus.devices[0], &Timing::of(&bus), &mut learned);
    assert_eq!(learned.revision(), 0);
    assert!(learned.holes(Space::Holding).is_none() && learned.open.is_empty());
}

#[test]
fn turnaround_is_smoothed_and_asks_for_another_plan_only_when_it_moved() {
    let ms = Duration::from_millis;
    let mut learned = Learned::default();
    assert!(!learned.has_drifted(ms(10)), "nothing was measured");
    learned.took(ms(20));
    assert!(learned.has_drifted(ms(10)) && !learned.has_drifted(ms(20)));
    learned.took(ms(50));
    assert!(!learned.has_drifted(ms(20)), "one late answer is none");
    for _ in 0..10 {
        learned.took(ms(50));
    }
    assert!(learned.has_drifted(ms(20)));
    assert!(learned.turnaround().unwrap() < ms(50));
}

#[test]
fn what_was_learned_survives_a_restart_and_not_a_change_of_the_map() {
    let model = Model {
        holes: BTreeSet::from([5, 7]),
        longest: 12,
        too_long: 3,
    };
    let mut bus = bus((0..5).chain([7]).chain(9..60));
    let mut learned = Learned::default();
    settle_alone(&model, &bus, &mut learned);
    learned.took(Duration::from_micros(7123));
    let dir = tempfile::tempdir().unwrap();
    let memory = FileMemory::new(dir.path().join("state").join("line.json"));
    assert!(memory.load().unwrap().is_none());
    let saved = Snapshot::of([(&bus.devices[0], &learned)]);
    memory.save(&saved.to_bytes()).unwrap();
    let bytes = memory.load().unwrap().unwrap();
    let snapshot = Snapshot::from_bytes(&bytes).unwrap();
    assert_eq!(snapshot, saved);
    let back = snapshot.learned(&bus.devices[0]);
    assert_eq!(back.turnaround(), Some(Duration::from_micros(7123)));
    assert_eq!(back.holes(Space::Holding), learned.holes(Space::Holding));
    assert_eq!(back.limits(&bus.devices[0].limits).max_regs, 12);
    // Nothing is refused but what is refused alone.
    let (refused, _) = pass(
        &model,
        &bus.devices[0],
        &Timing::of(&bus),
        &mut back.clone(),
    );
    assert_eq!(refused, 1);
    bus.devices[0].points.pop();
    let changed = snapshot.learned(&bus.devices[0]);
    assert_eq!(changed.turnaround(), None);
    memory.forget().unwrap();
    assert!(memory.load().unwrap().is_none());
    memory.forget().unwrap();
}

/// Passes until only what is refused alone is refused.
fn settle_alone(model: &Model, bus: &Bus, learned: &mut Learned) {
    for _ in 0..20 {
        let (refused, _) = pass(model, &bus.devices[0], &Timing::of(bus), learned);
        if refused <= 1 {
            return;
        }
    }
    panic!("it never settles: {learned:?}");
}

#[test]
fn a_damaged_file_is_named_and_not_used() {
    for bytes in [&b""[..], b"{", b"[]", b"{\"version\":1}", b"\xff\xfe"] {
        let error = Snapshot::from_bytes(bytes).unwrap_err();
        assert!(matches!(error, SnapshotError::Damaged(_)), "{error:?}");
    }
    let newer = Snapshot::from_bytes(b"{\"version\":2,\"devices\":{}}");
    assert!(matches!(newer, Err(SnapshotError::Version(2))));
}

proptest! {
    /// Whatever the device refuses, the search ends, every point that exists is read in every pass, and
    /// in the end only single refused addresses are refused.
    #[test]
    fn the_search_ends_with_every_point_read(
        points in prop::collection::btree_set(0u16..200, 1..60),
        holes in prop::collection::btree_set(0u16..200, 0..12),
        longest in 1u16..126, too_long in 2u8..4,
    ) {
        let model = Model { holes, longest, too_long };
        let bus = bus(points.iter().copied());
        let timing = Timing::of(&bus);
        let absent = points.iter().filter(|p| model.holes.contains(p)).count();
        let present: BTreeSet<u16> = points.iter().copied().filter(|p| !model.holes.contains(p)).collect();
        let mut learned = Learned::default();
        let mut last = (0, Vec::new());
        for _ in 0..24 {
            last = pass(&model, &bus.devices[0], &timing, &mut learned);
            let read: BTreeSet<u16> = last.1.iter()
                .flat_map(|r| r.slots.iter().map(|s| r.start + s.offset)).collect();
            prop_assert_eq!(&read, &present);
        }
        if !present.is_empty() {
            prop_assert!(usize::try_from(last.0).unwrap() <= absent, "{} refused, {absent} absent", last.0);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(Snapshot::from_bytes(&bytes));
    }
}

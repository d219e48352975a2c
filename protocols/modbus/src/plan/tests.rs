//! Properties of the planner, and the cases people ask about.

use super::*;
use crate::config::{Order, RawType, Scale};
use proptest::prelude::*;
use protocols_model::{PointId, PointKey};
use std::collections::BTreeSet;
use std::time::Duration;

fn point(space: Space, register: u16, raw: RawType) -> Point {
    Point {
        key: PointKey(0),
        id: PointId::try_new("p").unwrap(),
        address: crate::config::Address {
            space,
            register,
            bits: None,
        },
        raw,
        order: Order::BIG_ENDIAN,
        scale: Scale::IDENTITY,
        period: Duration::from_secs(1),
        range: None,
        names: None,
        write: None,
    }
}

fn plan_all(points: &[Point], limits: &Limits) -> Vec<Request> {
    let points: Vec<_> = points.iter().enumerate().collect();
    plan(&points, &Rules::of_limits(limits))
}

fn registers(addresses: impl IntoIterator<Item = u16>) -> Vec<Point> {
    let at = |register| point(Space::Holding, register, RawType::U16);
    addresses.into_iter().map(at).collect()
}

fn any_point() -> impl Strategy<Value = Point> {
    let start = prop_oneof![0u16..300, 65_000u16..=65_535];
    (0usize..4, start, 0usize..4).prop_map(|(space, start, raw)| {
        let space = [Space::Coil, Space::Discrete, Space::Holding, Space::Input][space];
        let wide = [
            RawType::U16,
            RawType::F32,
            RawType::I64,
            RawType::Text { registers: 20 },
        ][raw];
        let raw = if space.is_bits() { RawType::Bool } else { wide };
        let width = if space.is_bits() { 1 } else { raw.registers() };
        let last = u16::try_from(65_536 - u32::from(width)).unwrap();
        point(space, start.min(last), raw)
    })
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (0u16..30, 20u16..=125, 1u16..=2000).prop_map(|(max_gap, max_regs, max_bits)| Limits {
        max_gap: Some(max_gap),
        max_regs,
        max_bits,
    })
}

/// All addresses that points ask for.
fn asked(points: &[Point]) -> BTreeSet<(Space, u32)> {
    let of = |p: &Point| {
        let (space, start) = (p.address.space, u32::from(p.address.register));
        (start..start + u32::from(p.width())).map(move |a| (space, a))
    };
    points.iter().flat_map(of).collect()
}

fn check_slots(points: &[Point], requests: &[Request]) {
    let mut seen = Vec::new();
    for request in requests {
        for slot in &request.slots {
            let p = &points[slot.point];
            assert_eq!(p.address.space, request.space);
            assert_eq!(p.address.register, request.start + slot.offset);
            assert_eq!(p.width(), slot.width);
            assert!(
                slot.offset + slot.width <= request.count,
                "torn: {request:?}"
            );
            seen.push(slot.point);
        }
    }
    seen.sort_unstable();
    assert_eq!(
        seen,
        (0..points.len()).collect::<Vec<_>>(),
        "each point exactly once"
    );
}

proptest! {
    #[test]
    fn a_plan_covers_each_point_once_within_the_limits(points in prop::collection::vec(any_point(), 0..60), limits in any_limits()) {
        let requests = plan_all(&points, &limits);
        check_slots(&points, &requests);
        let rules = Rules::of_limits(&limits);
        let asked = asked(&points);
        for request in &requests {
            let most = if request.space.is_bits() { limits.max_bits } else { limits.max_regs };
            prop_assert!(request.count >= 1 && request.count <= most);
            prop_assert!(u32::from(request.start) + u32::from(request.count) <= 65_536);
            let mut gap = 0;
            let mut gaps = false;
            for address in u32::from(request.start)..u32::from(request.start) + u32::from(request.count) {
                gap = if asked.contains(&(request.space, address)) { 0 } else { gap + 1 };
                gaps |= gap > 0;
                prop_assert!(gap <= limits.max_gap.unwrap(), "reads outside: {request:?}");
            }
            prop_assert_eq!(gap, 0, "a request ends with a point");
            prop_assert_eq!(gaps, request.has_gap);
        }
        let mut reversed: Vec<_> = points.iter().enumerate().collect();
        reversed.reverse();
        prop_assert_eq!(plan(&reversed, &rules), requests.clone(), "the order of points does not matter");

        // A device that refuses everything is in the end asked for each point alone.
        let mut refused = requests.clone();
        let mut alone = Vec::new();
        while let Some(request) = refused.pop() {
            let parts = smaller(&request, &rules);
            prop_assert!(parts.iter().all(|p| p.slots.len() < request.slots.len()));
            if parts.is_empty() { alone.push(request) } else { refused.extend(parts) }
        }
        check_slots(&points, &alone);
    }

    /// By cost, on lines of every speed: no request is longer than the device takes, reads across a hole
    /// or takes an address along that is refused alone; and no gap is read that costs more than a request.
    #[test]
    fn a_plan_by_cost_keeps_off_what_was_refused(
        points in prop::collection::vec(any_point(), 1..40),
        holes in prop::collection::vec((0u16..300, 0u16..4), 0..6),
        longest in 20u16..126, speed in 0usize..5, turnaround in 0u64..60, align in 0usize..3,
    ) {
        let line = ["9600 8E1", "19200 8E1", "38400 8N1", "115200 8N1", "1200 8N2"][speed];
        let mut bus = crate::config::tests::bus_of(line, &["hr:0"]);
        let device = &mut bus.devices[0];
        device.points = points.clone();
        device.quirks.bit_align = [1, 8, 16][align];
        let timing = Timing::of(&bus);
        let device = &bus.devices[0];
        let mut learned = Learned::default();
        learned.took(Duration::from_millis(turnaround));
        let refused = |start, count, slots| Request { space: Space::Holding, start, count, slots, has_gap: false };
        let whole = |width| vec![Slot { point: 0, offset: 0, width }];
        // Too long once, and addresses refused alone.
        learned.refused(&refused(0, longest + 1, [whole(1), whole(1)].concat()), 3);
        learned.answered(&refused(0, longest, whole(longest)));
        for (start, more) in &holes {
            learned.refused(&refused(*start, more + 1, whole(more + 1)), 2);
        }
        learned.pass_done(true);
        let rules = Rules::new(device, &timing, &learned);
        let requests = plan(&polled(device), &rules);
        check_slots(&points, &requests);
        let asked = asked(&points);
        let break_even = timing.break_even(device, Duration::from_millis(turnaround));
        for request in &requests {
            let start = u32::from(request.start);
            prop_assert!(!request.space.is_bits() || request.start.is_multiple_of(device.quirks.bit_align));
            if request.space.is_bits() {
                continue;
            }
            let wide = request.slots.iter().any(|slot| slot.width > longest);
            prop_assert!(request.count <= longest || wide);
            let mut gap = 0;
            for address in start..start + u32::from(request.count) {
                let unasked = !asked.contains(&(request.space, address));
                gap = if unasked { gap + 1 } else { 0 };
                prop_assert!(gap <= break_even, "{request:?}");
                let address = u16::try_from(address).unwrap();
                let alone = learned.refused_alone(request.space);
                if alone.is_some_and(|alone| alone.overlaps(address, address)) {
                    prop_assert!(!unasked, "reads a hole: {request:?}");
                    let slots: BTreeSet<_> = request.slots.iter().map(|s| (s.offset, s.width)).collect();
                    prop_assert_eq!(slots.len(), 1, "takes others along: {:?}", request);
                }
            }
        }
    }

    #[test]
    fn a_distinct_request_reads_the_same_points_in_another_shape(points in prop::collection::vec(any_point(), 1..30), limits in any_limits(), other: u8) {
        let rules = Rules::of_limits(&limits);
        for request in plan_all(&points, &limits) {
            let avoid = [request.shape(), Shape { function: request.space.function(), bytes: other.into() }];
            let Some(distinct) = distinct(&request, &avoid, &rules) else {
                // Only where there is nothing to split and no room to grow.
                let most = if request.space.is_bits() { limits.max_bits } else { limits.max_regs };
                let step = if request.space.is_bits() { 8 } else { 1 };
                prop_assert!(request.count + 2 * step > most);
                continue;
            };
            prop_assert!(!avoid.contains(&distinct.requests[0].shape()));
            let mut slots = Vec::new();
            for part in &distinct.requests {
                let most = if part.space.is_bits() { limits.max_bits } else { limits.max_regs };
                prop_assert!(part.count <= most && u32::from(part.start) + u32::from(part.count) <= 65_536);
                prop_assert!(distinct.reaches_out || (part.start >= request.start && part.start - request.start + part.count <= request.count));
                for slot in &part.slots {
                    prop_assert!(slot.end() <= part.count);
                    slots.push((slot.point, part.start + slot.offset, slot.width));
                }
            }
            let original: Vec<_> = request.slots.iter().map(|s| (s.point, request.start + s.offset, s.width)).collect();
            prop_assert_eq!(slots, original);
        }
    }
}

#[test]
fn two_hundred_registers_in_a_row_are_two_requests() {
    let requests = plan_all(&registers(100..300), &Limits::default());
    let spans: Vec<_> = requests.iter().map(|r| (r.start, r.count)).collect();
    assert_eq!(spans, [(100, 125), (225, 75)]);
}

#[test]
fn gaps_are_read_along_up_to_the_limit() {
    let limits = |max_gap| Limits {
        max_gap: Some(max_gap),
        ..Limits::default()
    };
    assert_eq!(plan_all(&registers([0, 9]), &limits(8)).len(), 1);
    assert_eq!(plan_all(&registers([0, 10]), &limits(8)).len(), 2);
    assert_eq!(plan_all(&registers([0, 1, 2]), &limits(0)).len(), 1);
    assert_eq!(plan_all(&registers([0, 2]), &limits(0)).len(), 2);
}

#[test]
fn one_register_is_made_distinct_by_reading_one_more() {
    let request = &plan_all(&registers([7]), &Limits::default())[0];
    let changed = distinct(
        request,
        &[request.shape()],
        &Rules::of_limits(&Limits::default()),
    )
    .unwrap();
    assert!(changed.reaches_out);
    assert_eq!(
        (changed.requests[0].start, changed.requests[0].count),
        (7, 2)
    );
    let request = &plan_all(&registers([65_535]), &Limits::default())[0];
    let changed = distinct(
        request,
        &[request.shape()],
        &Rules::of_limits(&Limits::default()),
    )
    .unwrap();
    assert_eq!(
        (changed.requests[0].start, changed.requests[0].count),
        (65_534, 2)
    );
    assert_eq!(changed.requests[0].slots[0].offset, 1);
}

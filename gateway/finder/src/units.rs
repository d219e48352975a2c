//! In which order unit ids of a line are tried: those that devices leave the factory with first, so that
//! a scan that is stopped early has most likely found what is there.

use std::ops::RangeInclusive;

/// Unit ids that one device can have on a line (Modbus over serial line 1.02, 2.2).
pub const UNITS: RangeInclusive<u8> = 1..=247;
/// Ids that makers ship besides the low ones: last, powers of ten, common second series.
const FACTORY: [u8; 8] = [247, 100, 101, 126, 240, 246, 200, 50];
/// Ids up to here are tried first: devices are numbered from one.
const LOW: u8 = 32;

/// Every unit id of `range` exactly once, the likely ones first.
#[must_use]
pub fn scan_order(range: RangeInclusive<u8>) -> Vec<u8> {
    let likely = (1..=LOW).chain(FACTORY);
    let mut order: Vec<u8> = Vec::new();
    for unit in likely.chain(range.clone()) {
        if range.contains(&unit) && !order.contains(&unit) {
            order.push(unit);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn low_ids_and_factory_settings_come_first() {
        let order = scan_order(UNITS);
        assert_eq!(order.first(), Some(&1));
        let place = |unit| order.iter().position(|tried| *tried == unit);
        assert!(place(247) < place(33) && place(126) < place(33));
    }

    proptest! {
        #[test]
        fn each_unit_of_the_range_is_tried_exactly_once(a: u8, b: u8) {
            let range = a.min(b)..=a.max(b);
            let mut order = scan_order(range.clone());
            order.sort_unstable();
            prop_assert!(order.into_iter().eq(range));
        }
    }
}

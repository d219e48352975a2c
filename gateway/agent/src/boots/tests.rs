//! Runs without a clock find their place between their neighbours: exact under one kernel, estimated otherwise.

use super::*;
use proptest::prelude::*;

const SECOND: i64 = 1_000_000_000;
const HOUR_MS: u64 = 3_600_000;
/// No time of a test is before this.
const FLOOR: Timestamp = Timestamp(1_000_000 * SECOND);

fn run(boot: u64, kernel: &str, begun_ms: u64, ran_ms: u64, map: Option<i64>) -> Run {
    Run {
        boot,
        kernel: kernel.to_owned(),
        begun_ms,
        ran_ms,
        map: map.map(|seconds| (seconds * SECOND, 100_000_000)),
    }
}

fn told(maps: &[TimeMap]) -> Vec<(u64, i64, u64)> {
    let told = |map: &TimeMap| {
        (
            map.boot.0,
            map.origin.0 / SECOND,
            map.uncertainty_ns / 1_000_000_000,
        )
    };
    maps.iter().map(told).collect()
}

#[test]
fn a_run_of_the_same_kernel_is_placed_exactly() {
    let past = vec![
        run(1, "k", 20_000, 40_000, None),
        run(2, "k", 90_000, 10_000, None),
    ];
    let mut runs = Runs(past).begin(run(3, "k", 120_000, 0, None));
    let maps = runs.mapped(Timestamp(2_000_000 * SECOND), 100_000_000, FLOOR);
    assert_eq!(told(&maps), [(1, 1_999_900, 0), (2, 1_999_970, 0)]);
    assert!(maps.iter().all(|map| !map.is_estimate()));
    assert_eq!(
        runs.mapped(Timestamp(2_000_000 * SECOND), 100_000_000, FLOOR),
        []
    );
}

#[test]
fn a_run_without_a_clock_lies_between_its_neighbours() {
    // The one before ended at 2 001 000; this one began 7 200 s later; an hour of it ran without clock.
    let before = run(1, "a", 0, 1_000_000, Some(2_000_000));
    let unset = run(2, "b", 5_000, HOUR_MS, None);
    let mut runs = Runs(vec![before, unset]).begin(run(3, "c", 4_000, 0, None));
    let maps = runs.mapped(Timestamp(2_008_200 * SECOND), 100_000_000, FLOOR);
    assert_eq!(told(&maps), [(2, 2_002_800, 1_800)]);
    assert!(maps[0].is_estimate());
}

#[test]
fn several_runs_share_the_time_between_in_order_and_those_of_one_kernel_stay_together() {
    let before = run(1, "a", 0, 0, Some(2_000_000));
    let past = vec![
        before,
        run(2, "b", 10_000, 20_000, None),
        run(3, "b", 50_000, 10_000, None),
        run(4, "c", 7_000, 50_000, None),
    ];
    let mut runs = Runs(past).begin(run(5, "d", 0, 0, None));
    // 50 s + 50 s of running in 400 s: three pauses of 100 s.
    let maps = runs.mapped(Timestamp(2_000_400 * SECOND), 0, FLOOR);
    let expected = [
        (2, 2_000_100, 200),
        (3, 2_000_140, 200),
        (4, 2_000_250, 200),
    ];
    assert_eq!(told(&maps), expected);
}

#[test]
fn the_first_runs_of_a_gateway_lie_right_before_the_one_that_got_a_clock() {
    let mut runs = Runs(vec![run(1, "a", 9_000, 60_000, None)]).begin(run(2, "b", 0, 0, None));
    let maps = runs.mapped(Timestamp(2_000_000 * SECOND), 0, FLOOR);
    assert_eq!(told(&maps), [(1, 1_999_940, 999_940)]);
}

#[test]
fn a_clock_that_was_wrong_gives_no_time_that_cannot_be_and_no_panic() {
    // By its own map the run before ended after this one began.
    let before = run(1, "a", 0, 9_000_000, Some(2_000_000));
    let mut runs =
        Runs(vec![before, run(2, "b", 0, u64::MAX, None)]).begin(run(3, "c", 0, 0, None));
    let maps = runs.mapped(Timestamp(2_000_100 * SECOND), 0, FLOOR);
    assert_eq!(maps.len(), 1);
    assert!(maps[0].is_estimate());
}

#[test]
fn the_file_outlives_the_run_and_a_damaged_one_costs_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let at = |seconds| Instant(Duration::from_secs(seconds));
    let mut first = Boots::begin(dir.path(), BootId(1), at(0));
    first.note(at(30));
    let mut second = Boots::begin(dir.path(), BootId(2), at(0));
    let maps = second.mapped(at(5), Timestamp(2_000_000_000 * SECOND), 100_000_000);
    assert_eq!(maps.len(), 1, "a run under the same kernel");
    assert_eq!(maps[0].boot, BootId(1));
    assert!(!maps[0].is_estimate());
    let mut third = Boots::begin(dir.path(), BootId(3), at(0));
    assert_eq!(
        third.mapped(at(1), Timestamp(2_000_000_100 * SECOND), 0),
        [],
        "told once"
    );
    std::fs::write(dir.path().join(FILE), "[{").unwrap();
    let fourth = Boots::begin(dir.path(), BootId(4), at(0));
    assert_eq!(fourth.runs.0.len(), 1);
}

proptest! {
    /// However the runs lay: in order, none before the neighbour that is known nor over the one after,
    /// and the truth within the uncertainty that is told.
    #[test]
    fn estimates_keep_their_order_and_their_word(
        spans in proptest::collection::vec((0u64..100_000, 1u64..100_000, any::<bool>()), 1..20),
    ) {
        let mut truth = 2_000_000_000_000u64;
        let mut past = vec![run(1000, "first", 0, 0, Some(2_000_000_000))];
        let mut kernel = 0;
        let mut kernel_begun = truth;
        let mut begins = Vec::new();
        for (boot, (pause, length, new_kernel)) in (1u64..).zip(&spans) {
            truth += pause;
            if *new_kernel {
                kernel += 1;
                kernel_begun = truth;
            }
            begins.push((boot, truth));
            let begun = truth - kernel_begun;
            past.push(run(boot, &format!("k{kernel}"), begun, *length, None));
            truth += length;
        }
        let mut runs = past.into_iter().fold(Runs(Vec::new()), Runs::begin);
        runs = runs.begin(run(999, "last", 0, 0, None));
        let now = i64::try_from(truth + 1_000).unwrap();
        let maps = runs.mapped(Timestamp::from_millis(now), 0, FLOOR);
        prop_assert_eq!(maps.len(), begins.len());
        let mut last = i64::MIN;
        for (map, (boot, begun)) in maps.iter().zip(&begins) {
            prop_assert_eq!(map.boot.0, *boot);
            prop_assert!(map.origin.0 >= last);
            last = map.origin.0;
            let off = Timestamp::from_millis(i64::try_from(*begun).unwrap()).0.abs_diff(map.origin.0);
            prop_assert!(off <= map.uncertainty_ns, "{off} off, {} told", map.uncertainty_ns);
        }
    }
}

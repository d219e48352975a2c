//! Schedule and health together, as the driver uses them: live units keep their rate beside dead ones.

use super::Schedule;
use proptest::prelude::*;
use protocols_driver::{Health, Retry};
use protocols_model::Instant;
use std::time::Duration;

const RETRY: Retry = Retry {
    fails: 2,
    backoff_min: Duration::from_secs(1),
    backoff_max: Duration::from_secs(60),
};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One bus in simulated time: Polls per live unit,
/// and bus time spent on dead ones after they were found dead.
fn simulate(live: usize, dead: usize, cost: u64, timeout: u64, span: u64) -> (Vec<u64>, u64) {
    let units = live + dead;
    let mut health = Health::new(vec![(RETRY, ms(timeout)); units], Instant::default());
    let mut schedule = Schedule::new(&vec![ms(1000); units], Instant::default());
    let (mut polls, mut probing, mut now) = (vec![0; live], 0, 0);
    while now < span {
        let at = Instant(ms(now));
        let turn = match health.probe(at, false) {
            Some(_) => None,
            None => schedule.turn(at),
        };
        if let Some(unit) = turn.is_none().then(|| health.probe(at, true)).flatten() {
            now += timeout;
            probing += timeout;
            health.failed(unit, Instant(ms(now)), ms(timeout));
        } else if let Some(turn) = turn {
            if turn.group < live {
                now += cost;
                polls[turn.group] += 1;
                health.answered(turn.group, Instant(ms(now)));
            } else if !health.is_dead(turn.group) {
                now += timeout;
                health.failed(turn.group, Instant(ms(now)), ms(timeout));
            }
            schedule.finish(turn.group);
        } else {
            let next = [schedule.next_due(), health.next_probe()];
            let next = next.into_iter().flatten().min().unwrap();
            now = u64::try_from(next.0.as_nanos().div_ceil(1_000_000))
                .unwrap()
                .max(now + 1);
        }
    }
    (polls, probing)
}

#[test]
fn an_overloaded_bus_still_finds_a_unit_that_came_back() {
    let (polls, probing) = simulate(20, 1, 100, 500, 600_000);
    assert!(probing >= 10 * 500, "{probing}");
    assert!(probing <= 600_000 / 20 + 1000);
    assert!(polls.iter().all(|n| n * 100 >= 280 * 95), "{polls:?}");
}

proptest! {
    #[test]
    fn dead_units_cost_the_bus_five_percent_and_live_ones_keep_their_rate(
        live in 1usize..10, dead in 1usize..20, cost in 1u64..80, timeout in 50u64..1000,
    ) {
        let span = 600_000;
        let (polls, probing) = simulate(live, dead, cost, timeout, span);
        prop_assert!(probing <= span / 20 + 2 * timeout, "{probing}");
        // Finding the dead ones dead costs two time-outs each, once.
        let finding = 2 * timeout * u64::try_from(dead).unwrap();
        let due = (span - finding) / 1000;
        // Nobody can keep a rate that the bus has no time for.
        prop_assume!(u64::try_from(live).unwrap() * cost < 940);
        // A probe that does not fit beside the live units costs each of them one poll.
        let fits = u64::try_from(live).unwrap() * cost + timeout <= 1000;
        let probes = if fits { 0 } else { probing.div_ceil(timeout) };
        let lost = probes.max((due - 2).div_ceil(20));
        for poll in polls {
            prop_assert!(poll + lost >= due - 2, "{poll} of {due}");
        }
    }
}

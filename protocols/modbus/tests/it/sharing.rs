//! Several devices and groups on one bus: the trouble of one stays its own.

use crate::rig::{Rig, bad, device, good, ms};
use crate::sim::{Framing, Sim};
use protocols_driver::{LinkState, Sweep};
use protocols_model::{Quality, Reason};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(start_paused = true)]
async fn values_of_all_four_tables_arrive_and_close_ones_share_a_request() {
    let sim = Sim::new(Framing::Tcp, |ask| ask.answer());
    let points = [
        "hr:0", "hr:5", "hr:300.4", "ir:7", "co:3", "co:11", "di:0", "di:1999",
    ];
    let mut rig = Rig::start(&sim, vec![device(9, ms(50), &points)]);
    let mut seen = std::collections::HashSet::new();
    rig.until(|sweep| {
        assert!(good(sweep), "{sweep:?}");
        seen.extend(sweep.readings.iter().map(|r| r.point));
        seen.len() == points.len()
    })
    .await;
    let asks = sim.asks();
    let asked = |f, s, c| {
        asks.iter()
            .any(|a| (a.function, a.start, a.count) == (f, s, c))
    };
    assert!(asked(3, 0, 6) && asked(3, 300, 1) && asked(4, 7, 1) && asked(1, 3, 9));
    assert!(asked(2, 0, 1) && asked(2, 1999, 1));
    assert_eq!(rig.status.links()[0].state, LinkState::Up);
    rig.stop().await;
}

fn polls_by_device(sweeps: &[Sweep], wanted: fn(&Sweep) -> bool) -> HashMap<String, usize> {
    let mut polls = HashMap::new();
    for sweep in sweeps.iter().filter(|s| wanted(s)) {
        *polls.entry(sweep.device.to_string()).or_default() += 1;
    }
    polls
}

async fn dead_unit_beside_live_ones(framing: Framing) {
    let alive = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&alive);
    let script = move |ask: &crate::sim::Ask| {
        if ask.unit == 3 && !switch.load(Ordering::Relaxed) {
            Vec::new()
        } else {
            ask.answer()
        }
    };
    let devices = (1..=4).map(|unit| {
        let mut device = device(unit, ms(250), &["hr:0", "hr:1"]);
        device.retry.fails = 2;
        device
    });
    let sim = Sim::new(framing, script);
    let mut rig = Rig::start(&sim, devices.collect());
    let dead = |sweep: &Sweep| sweep.device.as_str() == "unit-3";
    rig.until(|sweep| dead(sweep) && bad(sweep, Reason::NotAsked))
        .await;
    let probes = rig.count("probes");
    let sweeps = rig.during(ms(10_000)).await;
    let polls = polls_by_device(&sweeps, good);
    for unit in ["unit-1", "unit-2", "unit-4"] {
        assert!(
            polls.get(unit).is_some_and(|n| *n >= 38),
            "40 due, got {polls:?}"
        );
    }
    assert!(
        rig.count("probes") > probes,
        "nobody looked for the dead one"
    );
    assert!(matches!(
        rig.status.links()[2].state,
        LinkState::Down(Reason::Timeout)
    ));
    assert!(
        polls_by_device(&sweeps, |s| !good(s))
            .keys()
            .all(|unit| unit == "unit-3")
    );
    alive.store(true, Ordering::Relaxed);
    rig.until(|sweep| dead(sweep) && good(sweep)).await;
    assert_eq!(rig.status.links()[2].state, LinkState::Up);
    rig.stop().await;
    drop(sim);
}

#[tokio::test(start_paused = true)]
async fn a_dead_unit_on_a_serial_line_leaves_the_others_their_rate() {
    dead_unit_beside_live_ones(Framing::Rtu).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_unit_behind_a_tcp_gateway_leaves_the_others_their_rate() {
    dead_unit_beside_live_ones(Framing::Tcp).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_says_the_unit_is_away_makes_it_dead_and_keeps_the_connection() {
    let sim = Sim::new(Framing::Tcp, |ask| {
        if ask.unit == 2 {
            ask.exception(0x0b)
        } else {
            ask.answer()
        }
    });
    let mut away = device(2, ms(40), &["hr:0"]);
    away.retry.fails = 2;
    let mut rig = Rig::start(&sim, vec![device(1, ms(40), &["hr:0"]), away]);
    rig.until(|sweep| bad(sweep, Reason::NotAsked)).await;
    let mut goods = 0;
    rig.until(|sweep| {
        goods += u32::from(good(sweep));
        goods >= 5
    })
    .await;
    assert_eq!(rig.count("connects"), 1);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_exception_for_one_group_leaves_the_others_alone() {
    let sim = Sim::new(Framing::Tcp, |ask| {
        if ask.start >= 100 {
            ask.exception(2)
        } else {
            ask.answer()
        }
    });
    let mut meter = device(1, ms(40), &["hr:0", "hr:1", "hr:100", "ir:200"]);
    meter.points[3].period = ms(60);
    let mut rig = Rig::start(&sim, vec![meter]);
    let mut sweeps = Vec::new();
    while sweeps.len() < 30 {
        sweeps.push(rig.next().await);
    }
    for sweep in &sweeps {
        let broken = sweep.readings.iter().any(|r| r.point.0 >= 2);
        let expected = if broken {
            Quality::Bad(Reason::DeviceError)
        } else {
            Quality::Good
        };
        assert!(
            sweep.readings.iter().all(|r| r.quality == expected),
            "{sweep:?}"
        );
    }
    assert!(sweeps.iter().filter(|s| good(s)).count() >= 8);
    assert_eq!(rig.status.links()[0].state, LinkState::Up, "it answers");
    assert_eq!(rig.count("connects"), 1);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_refuses_to_read_across_a_hole_is_asked_without_holes() {
    let sim = Sim::new(Framing::Tcp, |ask| {
        let hole = ask.start <= 2 && ask.start + ask.count > 2;
        if hole { ask.exception(2) } else { ask.answer() }
    });
    let mut rig = Rig::start(
        &sim,
        vec![device(1, ms(30), &["hr:0", "hr:1", "hr:4", "hr:5"])],
    );
    for _ in 0..20 {
        let sweep = rig.next().await;
        assert!(good(&sweep), "no reading is lost to the search: {sweep:?}");
    }
    let refused = sim
        .asks()
        .iter()
        .filter(|a| a.start == 0 && a.count == 6)
        .count();
    assert_eq!(refused, 1, "the hole is remembered");
    rig.stop().await;
}

fn one_to(last: u16) -> Vec<String> {
    (1..=last)
        .map(|register| format!("hr:{register}"))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn one_address_that_the_device_does_not_have_costs_its_neighbours_nothing() {
    let sim = Sim::new(Framing::Tcp, |ask| {
        let missing = ask.start <= 7 && ask.start + ask.count > 7;
        if missing {
            ask.exception(2)
        } else {
            ask.answer()
        }
    });
    let points = one_to(20);
    let points: Vec<&str> = points.iter().map(String::as_str).collect();
    let mut rig = Rig::start(&sim, vec![device(1, ms(40), &points)]);
    let mut polls = [0; 20];
    while polls.iter().any(|n| *n < 5) {
        for reading in rig.next().await.readings {
            let expected = if reading.point.0 == 6 {
                Quality::Bad(Reason::DeviceError)
            } else {
                Quality::Good
            };
            assert_eq!(reading.quality, expected, "{reading:?}");
            polls[usize::try_from(reading.point.0).unwrap()] += 1;
        }
    }
    let asks = sim.asks();
    let alone = asks.iter().filter(|a| a.start == 7 && a.count == 1).count();
    assert!(alone >= 5, "the rest of the search is done once: {asks:?}");
    assert_eq!(asks.iter().filter(|a| a.count == 20).count(), 1);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_refused_everything_for_a_while_gets_its_plan_back() {
    let refusing = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&refusing);
    let sim = Sim::new(Framing::Tcp, move |ask| {
        if switch.load(Ordering::Relaxed) {
            ask.exception(4)
        } else {
            ask.answer()
        }
    });
    let points = one_to(16);
    let points: Vec<&str> = points.iter().map(String::as_str).collect();
    let mut rig = Rig::start(&sim, vec![device(1, ms(40), &points)]);
    rig.until(|sweep| bad(sweep, Reason::DeviceError) && sweep.readings.len() == 16)
        .await;
    let searched = sim.asks().len();
    assert!(searched <= 40, "{searched}");
    refusing.store(false, Ordering::Relaxed);
    rig.until(|sweep| good(sweep) && sweep.readings.len() == 16)
        .await;
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_room_for_the_answer_the_device_is_not_asked() {
    let sim = Sim::new(Framing::Tcp, |ask| ask.answer());
    let mut rig = Rig::with_room(&sim, vec![device(1, ms(20), &["hr:0"])], 3);
    // Room for three, so three questions; the rest of the time passes without any.
    let end = tokio::time::Instant::now() + ms(500);
    tokio::time::sleep_until(end).await;
    assert_eq!(sim.asks().len(), 3);
    let waiting = rig.take_all();
    assert_eq!(waiting.len(), 3);
    rig.until(|_| true).await;
    rig.until(|_| true).await;
    assert!(
        rig.count("missed_polls") >= 15,
        "{}",
        rig.count("missed_polls")
    );
    assert_eq!(rig.count("requests"), sim.asks().len() as u64);
    rig.stop().await;
}

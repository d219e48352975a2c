//! What devices refuse is found out once, and not again after a restart.

use crate::rig::{Rig, device, good, ms, serial};
use crate::sim::{Framing, Sim};
use protocols_modbus::config::Device;
use protocols_modbus::learned::{FileMemory, Memory, Snapshot};
use std::path::Path;
use std::sync::Arc;

fn meter() -> Device {
    let addresses: Vec<String> = (0..100)
        .filter(|a| !(40..46).contains(a))
        .map(|a| format!("hr:{a}"))
        .collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut meter = device(1, ms(200), &addresses);
    meter.limits.max_gap = None;
    meter
}

/// Takes 30 registers at most and does not have register 43.
fn picky() -> Sim {
    Sim::new(Framing::Rtu, |ask| {
        let hole = ask.start <= 43 && ask.start + ask.count > 43;
        if ask.count > 30 {
            ask.exception(3)
        } else if hole {
            ask.exception(2)
        } else {
            ask.answer()
        }
    })
}

fn start(sim: &Sim, memory: &FileMemory) -> Rig {
    let transport = serial(Path::new("memory"));
    Rig::build(transport, vec![meter()], 64, |driver| {
        let memory = Arc::new(memory.clone());
        driver.over(Arc::new(sim.clone())).remembering(memory)
    })
}

/// Good readings of so many passes.
async fn passes(rig: &mut Rig, count: usize) {
    let mut readings = 0;
    rig.until(|sweep| {
        assert!(good(sweep), "no reading is lost to the search: {sweep:?}");
        readings += sweep.readings.len();
        readings >= count * 94
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn limits_and_holes_are_found_without_losing_a_reading_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let memory = FileMemory::new(dir.path().join("learned").join("bus.json"));
    let sim = picky();
    let mut rig = start(&sim, &memory);
    passes(&mut rig, 12).await;
    let refused = rig.count("exceptions");
    assert!((2..=24).contains(&refused), "{refused}");
    passes(&mut rig, 5).await;
    assert_eq!(rig.count("exceptions"), refused, "it stopped searching");
    rig.stop().await;

    let sim = picky();
    let mut rig = start(&sim, &memory);
    passes(&mut rig, 3).await;
    assert_eq!(rig.count("exceptions"), 0, "{:?}", sim.asks());
    let longest = sim.asks().iter().map(|ask| ask.count).max();
    assert_eq!(longest, Some(30), "as long as the device takes them");
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_memory_is_ignored_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let memory = FileMemory::new(dir.path().join("bus.json"));
    memory.save(b"{\"version\":1,\"dev").unwrap();
    let sim = picky();
    let mut rig = start(&sim, &memory);
    passes(&mut rig, 12).await;
    assert!(rig.count("exceptions") > 0);
    rig.stop().await;
    let bytes = memory.load().unwrap().unwrap();
    let snapshot = Snapshot::from_bytes(&bytes).unwrap();
    assert!(snapshot.learned(&meter()).turnaround().is_some());
}

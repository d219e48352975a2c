//! What the spool costs: memory when open, flash with a healthy uplink, flash per commit without one.

use super::{at, config, record};
use crate::core::Core;
use crate::disk::DiskStore;
use crate::pace::written_bytes;
use crate::record::Settlement;
use protocols_model::{BootId, Epoch, Lane, SeqRange};
use std::process::Command;

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "run by the cost test, in a process of its own"]
fn child_that_is_measured() {
    let Ok(dir) = std::env::var("SPOOL_COST_DIR") else {
        return;
    };
    let before = memory_kib();
    let config = config(std::path::Path::new(&dir), 64 << 20);
    let store = Box::new(DiskStore::new(&config));
    let (mut core, _) = Core::start(config, BootId(1), store, Epoch(1), at(0));
    println!("\nopen_kib {}", memory_kib() - before);
    let settle = |core: &mut Core, first, last, now| {
        let settlement = Settlement {
            epoch: Epoch(1),
            lane: Lane::Telemetry,
            stored: SeqRange::new(first, last).into_iter().collect(),
            refused: Vec::new(),
        };
        core.settle(&settlement, at(now));
    };
    // An hour with a healthy uplink: 4 KiB a second, settled after 300 ms.
    let written = written_bytes().unwrap();
    for id in 1..=3600 {
        let now = id * 1000;
        core.append(Lane::Telemetry, vec![record(id, 4096)], at(now));
        core.tick(at(now));
        settle(&mut core, id, id, now + 300);
        core.tick(at(now + 300));
    }
    println!(
        "healthy_bytes_per_hour {}",
        written_bytes().unwrap() - written
    );
    // Ten minutes without: 4 KiB a second, a commit every two seconds.
    let before = core.state(at(0)).counters;
    for id in 3601..=4200 {
        let now = id * 1000;
        core.append(Lane::Telemetry, vec![record(id, 4096)], at(now));
        core.tick(at(now));
    }
    let after = core.state(at(0)).counters;
    let commits = after.commits - before.commits;
    println!("offline_commits {commits}");
    println!(
        "offline_bytes_per_commit {}",
        (after.flash_bytes - before.flash_bytes) / commits.max(1)
    );
    for id in 4201..=12_000 {
        let now = id * 1000;
        core.append(Lane::Telemetry, vec![record(id, 4096)], at(now));
        if id % 50 == 0 {
            core.tick(at(now));
        }
    }
    core.tick(at(13_000_000));
    println!("full_live_bytes {}", core.state(at(13_000_000)).live_bytes);
    println!("full_kib {}", memory_kib());
    settle(&mut core, 1, 12_000, 13_000_000);
    core.tick(at(13_100_000));
    println!("drained_kib {}", memory_kib());
}

#[test]
fn an_open_spool_takes_little_memory_and_a_healthy_uplink_no_flash() {
    let temp = tempfile::tempdir().unwrap();
    let run = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "tests::cost::child_that_is_measured",
        ])
        .env("SPOOL_COST_DIR", temp.path().join("spool"))
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    println!("{out}");
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let number = |name: &str| -> u64 {
        let line = out.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}"))
            .trim()
            .parse()
            .unwrap()
    };
    // Above 20 MB sled was built without optimisation and fills histograms that nobody reads.
    assert!(number("open_kib") < 12_000);
    // The crash tail's bound is written down at most a few times.
    assert!(number("healthy_bytes_per_hour") < 100_000);
    assert!(number("offline_commits") <= 310);
}

//! kill -9 of a process that commits and compacts: what it said was settled is there, once.

use crate::kit::*;
use cloud_store::Store;
use protocols_model::Lane;
use protocols_wire::Dictionary;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

const PATH: &str = "FOGLINE_STORE_TEST_PATH";
const EPOCH: &str = "FOGLINE_STORE_TEST_EPOCH";
const POINTS: u32 = 3;

fn second_of(epoch: u64, seq: u64) -> i64 {
    NOW_S - 80_000 + i64::try_from(epoch * 400 + seq).unwrap()
}

fn one(dict: &Dictionary, epoch: u64, seq: u64) -> protocols_wire::EnvelopeRecord {
    let time = seconds(second_of(epoch, seq));
    let columns = (0..POINTS).map(|point| (point, vec![good(time, f64::from(point))]));
    record(
        key(epoch, Lane::Telemetry, seq),
        telemetry(dict, columns.collect()),
    )
}

/// Not a test by itself: the process that is killed. It commits groups of records, each group with
/// some of the one before, says what is settled, and compacts all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let (Some(path), Ok(epoch)) = (std::env::var_os(PATH), std::env::var(EPOCH)) else {
        return;
    };
    let epoch: u64 = epoch.parse().unwrap();
    let store = Arc::new(open_when_free(&PathBuf::from(path), eager()));
    let compacting = Arc::clone(&store);
    let compactor = tokio::spawn(async move {
        loop {
            maintain(&*compacting, now()).await;
            tokio::task::yield_now().await;
        }
    });
    let (gw, dict) = (gateway("gw-1"), floats(3));
    for seq in (1..300u64).step_by(3) {
        let group = (seq.saturating_sub(2).max(1)..seq + 3).map(|seq| one(&dict, epoch, seq));
        let settled = send(&*store, &gw, vec![dict.clone()], group.collect()).await;
        println!("settled {}", settled.items[0].stored.last());
    }
    compactor.abort();
}

/// Starts the process, kills it after `lines` commits; returns the last seq it called settled.
fn run_and_kill(path: &std::path::Path, epoch: u64, lines: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_process_that_is_killed", "--nocapture"])
        .env(PATH, path)
        .env(EPOCH, epoch.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut last = 0;
    let mut seen = 0;
    // Lines may still be in the pipe after the kill: they were said, so they count.
    for line in out.lines().map_while(Result::ok) {
        if let Some((_, seq)) = line.split_once("settled ") {
            last = seq.trim().parse().unwrap();
            seen += 1;
            if seen == lines {
                child.kill().unwrap();
            }
        }
    }
    child.wait().unwrap();
    assert!(
        seen >= lines,
        "the process ended by itself after {seen} commits"
    );
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_loses_and_doubles_nothing() {
    let mut kit = SqliteKit::new();
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    drop(store);
    let mut settled = BTreeMap::new();
    for (round, lines) in [1usize, 3, 7, 12, 20, 31].into_iter().enumerate() {
        let epoch = round as u64 + 1;
        // Nobody else may hold the file while the process opens it.
        drop(kit.open(eager()));
        let last = run_and_kill(&kit.path(), epoch, lines);
        settled.insert(epoch, last);
        let store = kit.open(eager());
        check(&*store, &settled).await;
        drop(store);
    }
    // The gateway offers everything again, as it would.
    let store = kit.open(eager());
    let dict = floats(3);
    for (&epoch, &last) in &settled {
        let again = (1..=last + 5).map(|seq| one(&dict, epoch, seq)).collect();
        send(&*store, &gw, vec![dict.clone()], again).await;
    }
    settled.values_mut().for_each(|last| *last += 5);
    check(&*store, &settled).await;
    maintain(&*store, now()).await;
    let expected: u64 = settled.values().sum::<u64>() * u64::from(POINTS);
    assert_eq!(export(&*store).await.len() as u64, expected);
}

/// Everything that was called settled is there once; what is there was sent.
async fn check(store: &dyn Store, settled: &BTreeMap<u64, u64>) {
    let mut seen: BTreeMap<(u64, u64), u32> = BTreeMap::new();
    for sample in export(store).await {
        let (epoch, seq) = (sample.record.epoch.0, sample.record.seq);
        assert_eq!(sample.time, seconds(second_of(epoch, seq)));
        *seen.entry((epoch, seq)).or_default() += 1;
    }
    for (record, samples) in &seen {
        assert_eq!(*samples, POINTS, "record {record:?}");
    }
    for (&epoch, &last) in settled {
        for seq in 1..=last {
            assert!(seen.contains_key(&(epoch, seq)), "{epoch} {seq} is lost");
        }
    }
    let counts = store.counts(&gateway("gw-1")).await.unwrap();
    let stored: u64 = counts.iter().map(|count| count.stored).sum();
    assert_eq!(
        stored,
        seen.len() as u64 * u64::from(POINTS),
        "counts agree with the export"
    );
}

/// Fail points end the process at the places that matter; each must have been hit.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_at_every_fail_point_loses_and_doubles_nothing() {
    let points = ["store.before_commit", "store.after_commit", "store.compact"];
    let mut kit = SqliteKit::new();
    let store = kit.open(eager());
    let gw = enter(&*store, "gw-1").await;
    drop(store);
    let log = kit.path().with_extension("hits");
    let (mut settled, dict) = (BTreeMap::new(), floats(3));
    for (epoch, hit) in (1u64..).zip([1, 2, 5, 9, 14]) {
        for (nth, point) in (0u64..).zip(points) {
            let epoch = epoch * 10 + nth;
            drop(kit.open(eager()));
            let rule = format!("{point}=kill:1:{hit}");
            let last = run_until_it_ends(&kit.path(), epoch, &rule, &log);
            let store = kit.open(eager());
            settled.insert(epoch, last);
            check(&*store, &settled).await;
            let again = (1..=last + 5).map(|seq| one(&dict, epoch, seq)).collect();
            send(&*store, &gw, vec![dict.clone()], again).await;
            settled.insert(epoch, last + 5);
            check(&*store, &settled).await;
        }
    }
    let hits = std::fs::read_to_string(log).unwrap();
    for point in points {
        assert_eq!(hits.matches(point).count(), 5, "{hits}");
    }
}

#[cfg(feature = "failpoints")]
fn run_until_it_ends(path: &std::path::Path, epoch: u64, rule: &str, log: &std::path::Path) -> u64 {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_process_that_is_killed", "--nocapture"])
        .env(PATH, path)
        .env(EPOCH, epoch.to_string())
        .env("FOGLINE_FAILPOINTS", rule)
        .env("FOGLINE_FAILPOINT_LOG", log)
        .output()
        .unwrap();
    assert!(!out.status.success(), "{rule} was never hit");
    let text = String::from_utf8(out.stdout).unwrap();
    let mut said = text.lines().filter_map(|line| line.split_once("settled "));
    said.next_back()
        .map_or(0, |(_, seq)| seq.trim().parse().unwrap())
}

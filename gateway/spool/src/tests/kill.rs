//! A real process, killed with SIGKILL at random times while it appends, commits, settles and
//! evicts; and the handle as others use it.

use super::powercut::claims_in;
use super::{Dice, config, record};
use crate::handle::{SpoolHandle, SpoolStopped};
use crate::record::{Cursor, FetchLimit, Settlement, SpooledRecord};
use crate::report::OpenReport;
use protocols_model::{BootId, Claim, Epoch, Lane, LossReason, SeqRange, SystemClock};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

fn start(dir: &Path) -> (SpoolHandle, OpenReport) {
    let mut config = config(dir, 400_000);
    config.commit_interval = Duration::from_millis(20);
    config.max_commit_interval = Duration::from_millis(20);
    config.rotate_above_bytes = 2 << 20;
    crate::start(config, Arc::new(SystemClock::start()), BootId(7))
}

const LIMIT: FetchLimit = FetchLimit {
    max_bytes: 1 << 20,
    max_records: 64,
};

async fn fetch_all(spool: &SpoolHandle, lane: Lane) -> Vec<SpooledRecord> {
    let mut cursor = Cursor::START;
    let mut all = Vec::new();
    loop {
        let part = spool.fetch(lane, cursor, LIMIT).await.unwrap();
        let Some(last) = part.last() else {
            return all;
        };
        cursor = last.cursor;
        all.extend(part);
    }
}

#[tokio::test]
async fn what_is_appended_comes_back_until_it_is_settled_also_after_a_stop() {
    let temp = tempfile::tempdir().unwrap();
    let (spool, report) = start(temp.path());
    assert_eq!(report, OpenReport::default());
    let mut state = spool.state();
    let records: Vec<_> = (0..100).map(|id| record(id, 300)).collect();
    spool
        .append(Lane::Telemetry, records.clone())
        .await
        .unwrap();
    state.changed().await.unwrap();
    let found = fetch_all(&spool, Lane::Telemetry).await;
    assert_eq!(found.len(), 100);
    assert!(
        found
            .iter()
            .zip(&records)
            .all(|(found, record)| found.body == record.body)
    );
    let behind = spool.epoch_start().behind(98);
    let rest = spool.fetch(Lane::Telemetry, behind, LIMIT).await.unwrap();
    assert_eq!(
        rest.iter().map(|r| r.key.seq).collect::<Vec<_>>(),
        [99, 100]
    );
    let settlement = Settlement {
        epoch: spool.epoch(),
        lane: Lane::Telemetry,
        stored: SeqRange::new(1, 60).into_iter().collect(),
        refused: Vec::new(),
    };
    let outcome = spool.settle(settlement).await.unwrap();
    assert_eq!((outcome.settled, outcome.unknown), (60, 0));
    let epoch = spool.epoch();
    let other = spool.clone();
    spool.stop(Duration::from_secs(30)).await.unwrap();
    assert_eq!(
        other.append(Lane::Bulk, vec![record(0, 10)]).await,
        Err(SpoolStopped)
    );
    let (spool, report) = start(temp.path());
    assert_ne!(spool.epoch(), epoch);
    assert_eq!(report.records, 40);
    assert!(report.epochs[0].clean && report.epochs[0].claimed.is_empty());
    let found = fetch_all(&spool, Lane::Telemetry).await;
    assert_eq!(found.len(), 40);
    assert!(
        found
            .iter()
            .all(|r| r.key.epoch == epoch && r.body == records[r.key.seq as usize - 1].body)
    );
    spool.stop(Duration::from_secs(30)).await.unwrap();
}

#[tokio::test]
async fn a_spool_that_nobody_stops_or_that_is_not_told_all_is_written_but_not_called_complete() {
    let temp = tempfile::tempdir().unwrap();
    for dropped in [true, false] {
        let (spool, before) = start(temp.path());
        let record = vec![record(before.records, 300)];
        spool.append(Lane::Telemetry, record).await.unwrap();
        let epoch = spool.epoch();
        if dropped {
            drop(spool);
        } else {
            let stopped = spool.stop_incomplete(Duration::from_secs(30)).await;
            stopped.unwrap();
        }
        let (spool, report) = start(temp.path());
        let found = report.epochs.iter().find(|found| found.epoch == epoch);
        let found = found.unwrap();
        assert!(!found.clean && found.claimed.contains(&Lane::Telemetry));
        assert_eq!(found.records, 1, "{report:?}");
        spool.stop(Duration::from_secs(30)).await.unwrap();
    }
}

/// The child: appends, settles, and says on its standard output what was promised.
#[test]
#[ignore = "run by the kill test, in a child process"]
fn child_that_gets_killed() {
    let Ok(dir) = std::env::var("SPOOL_KILL_DIR") else {
        return;
    };
    let mut dice = Dice::new(std::env::var("SPOOL_KILL_SEED").unwrap().parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (spool, _) = start(Path::new(&dir));
        let say = |line: String| {
            let whole = format!("\n{line}\n");
            let mut out = std::io::stdout().lock();
            out.write_all(whole.as_bytes()).unwrap();
            out.flush().unwrap();
        };
        let epoch = spool.epoch();
        say(format!("E {epoch}"));
        let mut lasts = [0_u64; 4];
        loop {
            let lane = Lane::ALL[dice.below(4) as usize];
            // Our own claims take seqs of the event lane: it is left to them here.
            if lane != Lane::Event {
                let id = dice.next() >> 1;
                let len = 20 + dice.below(5000) as usize;
                let last = &mut lasts[usize::from(lane.to_index())];
                *last += 1;
                say(format!("A {epoch} {lane} {last} {id} {len}"));
                spool.append(lane, vec![record(id, len)]).await.unwrap();
            }
            if dice.chance(10) {
                let start = Cursor::START;
                for found in spool.fetch(lane, start, LIMIT).await.unwrap() {
                    for claim in claims_in(&found.body) {
                        say(claim_line(&claim));
                    }
                    say(format!("S {} {lane} {}", found.key.epoch, found.key.seq));
                    let settlement = Settlement {
                        epoch: found.key.epoch,
                        lane,
                        stored: SeqRange::one(found.key.seq).into_iter().collect(),
                        refused: Vec::new(),
                    };
                    assert_eq!(spool.settle(settlement).await.unwrap().unknown, 0);
                }
            }
            if dice.chance(5) {
                let pause = Duration::from_millis(dice.below(60));
                tokio::time::sleep(pause).await;
            }
        }
    });
}

fn claim_line(claim: &Claim) -> String {
    let (first, last) = (claim.range.first(), claim.range.last());
    format!(
        "K {} {} {first} {last} {}",
        claim.epoch,
        claim.lane,
        claim.reason.as_str()
    )
}

/// More by `FOGLINE_KILLS`.
fn kills() -> u64 {
    let more = std::env::var("FOGLINE_KILLS").ok();
    more.and_then(|n| n.parse().ok()).unwrap_or(25)
}

type Place = (String, String, u64);

#[test]
fn a_killed_process_loses_nothing_silently() {
    let temp = tempfile::tempdir().unwrap();
    let mut appended: BTreeMap<Place, (u64, usize)> = BTreeMap::new();
    let mut settled: BTreeSet<Place> = BTreeSet::new();
    let mut epochs = BTreeSet::new();
    let mut claims: Vec<(String, String, u64, u64, String)> = Vec::new();
    let mut dice = Dice::new(4711);
    for round in 0..kills() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--ignored",
                "--nocapture",
                "tests::kill::child_that_gets_killed",
            ])
            .env("SPOOL_KILL_DIR", temp.path())
            .env("SPOOL_KILL_SEED", (round + 1).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(said).lines().map_while(Result::ok);
            lines.collect::<Vec<_>>()
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "the point is to kill at a random time"
        )]
        std::thread::sleep(Duration::from_millis(100 + dice.below(500)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap() {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["E", epoch] => assert!(epochs.insert(epoch.to_owned()), "{epoch} twice"),
                ["A", epoch, lane, seq, id, len] => {
                    let place = (epoch.to_owned(), lane.to_owned(), seq.parse().unwrap());
                    let value = (id.parse().unwrap(), len.parse().unwrap());
                    assert_eq!(appended.insert(place, value), None, "given twice: {line}");
                }
                ["S", epoch, lane, seq] => {
                    settled.insert((epoch.to_owned(), lane.to_owned(), seq.parse().unwrap()));
                }
                ["K", epoch, lane, first, last, reason] => claims.push((
                    epoch.to_owned(),
                    lane.to_owned(),
                    first.parse().unwrap(),
                    last.parse().unwrap(),
                    reason.to_owned(),
                )),
                _ => {}
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let held = runtime.block_on(async {
        let (spool, report) = start(temp.path());
        assert_eq!(report.quarantined, None);
        let mut held = Vec::new();
        for lane in Lane::ALL.into_iter().chain(Lane::ALL) {
            held.extend(fetch_all(&spool, lane).await);
        }
        spool.stop(Duration::from_secs(30)).await.unwrap();
        held
    });
    let mut places = BTreeSet::new();
    for found in &held {
        let (epoch, lane) = (found.key.epoch.to_string(), found.key.lane.to_string());
        for claim in claims_in(&found.body) {
            claims.push((
                claim.epoch.to_string(),
                claim.lane.to_string(),
                claim.range.first(),
                claim.range.last(),
                claim.reason.as_str().to_owned(),
            ));
        }
        let place = (epoch, lane, found.key.seq);
        if let Some(&(id, len)) = appended.get(&place) {
            assert_eq!(record(id, len).body, found.body, "{place:?} changed");
        }
        places.insert(place);
    }
    let mut by_reason: BTreeMap<String, u64> = BTreeMap::new();
    for place in appended.keys() {
        if places.contains(place) || settled.contains(place) {
            continue;
        }
        let claim = claims.iter().find(|(epoch, lane, first, last, _)| {
            (epoch, lane) == (&place.0, &place.1) && (first..=last).contains(&&place.2)
        });
        let reason = claim.map(|claim| claim.4.clone());
        let reason = reason.unwrap_or_else(|| panic!("{place:?} is not accounted for"));
        *by_reason.entry(reason).or_default() += 1;
    }
    println!(
        "{} kills, {} appended, {} held, {} settled, claimed {by_reason:?}",
        kills(),
        appended.len(),
        places.len(),
        settled.len()
    );
    let only: BTreeSet<_> = by_reason.keys().map(String::as_str).collect();
    let allowed = BTreeSet::from([LossReason::CrashTail.as_str(), LossReason::Evicted.as_str()]);
    assert!(only.is_subset(&allowed), "{by_reason:?}");
    assert!(appended.len() > 100);
    assert!(Epoch::from_hex(epochs.first().unwrap()).is_some());
}

//! `spool stat|verify|export|plan`: looks into the spool of a stopped gateway, or into a store that was set
//! aside. Changes nothing; works without a valid configuration when the directory is named.

use crate::cli::{ExportArgs, SpoolArgs, SpoolCommand};
use crate::console::say;
use crate::exit::Exit;
use crate::{machine, spool_plan};
use anyhow::Context;
use gateway_config::{Options, Severity, load};
use gateway_spool::offline::{self, EpochStat, OfflineError, Stat, Verification};
use protocols_model::{RecordKey, Timestamp};
use std::fs::File;
use std::io::{BufWriter, ErrorKind};
use std::path::PathBuf;

/// Damaged records that are named one by one; the rest is a number.
const NAMED: usize = 50;

pub(crate) fn run(command: &SpoolCommand) -> anyhow::Result<Exit> {
    match command {
        SpoolCommand::Stat(args) => {
            say(show_stat(&offline::stat(&directory(args))?));
            Ok(Exit::Done)
        }
        SpoolCommand::Verify(args) => {
            let found = offline::verify(&directory(args))?;
            say(show_verification(&found));
            Ok(if found.is_good() {
                Exit::Done
            } else {
                Exit::Failed
            })
        }
        SpoolCommand::Export(args) => export(args),
        SpoolCommand::Plan(args) => spool_plan::run(args),
    }
}

/// The spool's directory: as said, as configured, or where it would be.
fn directory(args: &SpoolArgs) -> PathBuf {
    if let Some(dir) = &args.dir {
        return dir.clone();
    }
    let options = Options {
        unknown_keys: Severity::Warning,
        overload: Severity::Warning,
        memory: machine::memory_limit(),
    };
    let loaded = load(&args.config, options);
    let configured = loaded.config.map(|config| config.spool.dir.clone());
    configured.unwrap_or_else(|| loaded.state_dir.join("spool"))
}

fn export(args: &ExportArgs) -> anyhow::Result<Exit> {
    let dir = directory(&args.spool);
    match &args.output {
        None => match offline::export(&dir, &mut BufWriter::new(std::io::stdout().lock())) {
            // A reader that has enough (`| head`) is no failure.
            Err(OfflineError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
            done => drop(done?),
        },
        Some(path) => {
            let file = File::create_new(path).with_context(|| {
                format!("cannot make {}; an existing file is kept", path.display())
            })?;
            let mut out = BufWriter::new(file);
            offline::export(&dir, &mut out)?;
            let file = out
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
            file.sync_all()
                .with_context(|| format!("cannot finish {}", path.display()))?;
        }
    }
    Ok(Exit::Done)
}

fn show_stat(stat: &Stat) -> String {
    let records: u64 = stat
        .epochs
        .iter()
        .flat_map(|e| &e.lanes)
        .map(|lane| lane.records)
        .sum();
    let mut text = format!(
        "store {}: {records} records, {} dictionaries, {} KiB on disk\n",
        stat.store.display(),
        stat.dictionaries,
        stat.disk_bytes >> 10
    );
    if !stat.tally_readable {
        text += "the list of epochs (tally) cannot be read; the next start claims what it cannot prove\n";
    }
    for epoch in &stat.epochs {
        text += &show_epoch(epoch);
    }
    for store in &stat.quarantined_stores {
        text += &format!("set aside: {}\n", store.display());
    }
    if stat.quarantined_records > 0 {
        text += &format!(
            "set aside: {} records, damaged or refused\n",
            stat.quarantined_records
        );
    }
    text
}

fn show_epoch(epoch: &EpochStat) -> String {
    let about = match epoch.known {
        None => "not listed".to_owned(),
        Some((started, durable, clean)) => {
            let end = if clean {
                "stopped cleanly"
            } else {
                "no clean stop"
            };
            format!("{} to {}, {end}", utc(started), utc(durable))
        }
    };
    let mut text = format!("epoch {}: {about}\n", epoch.epoch);
    for lane in &epoch.lanes {
        let claims = if lane.claims == 0 {
            String::new()
        } else {
            format!(", {} of them claims", lane.claims)
        };
        text += &format!(
            "  {:<9} seq {}..{}, {} records{claims}, {} readings, {} bytes\n",
            lane.lane.as_str(),
            lane.first,
            lane.last,
            lane.records,
            lane.readings,
            lane.bytes
        );
    }
    text
}

fn show_verification(found: &Verification) -> String {
    let verdict = if found.is_good() {
        "all good"
    } else {
        "not good"
    };
    let mut text = format!("{} records: {verdict}\n", found.records);
    let mut list = |what: &str, names: Vec<String>| {
        for name in names.iter().take(NAMED) {
            text += &format!("  {what}: {name}\n");
        }
        if names.len() > NAMED {
            text += &format!("  {what}: {} more\n", names.len() - NAMED);
        }
    };
    list("damaged", names(&found.damaged));
    list("not a record this program knows", names(&found.undecodable));
    list(
        "missing dictionary",
        found
            .missing_dictionaries
            .iter()
            .map(ToString::to_string)
            .collect(),
    );
    if found.alien_keys > 0 {
        text += &format!("  {} entries are no records\n", found.alien_keys);
    }
    text
}

fn names(keys: &[RecordKey]) -> Vec<String> {
    let name = |key: &RecordKey| format!("epoch {} {} seq {}", key.epoch, key.lane, key.seq);
    keys.iter().map(name).collect()
}

/// A moment for people.
fn utc(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.as_millis())
        .map_or_else(|_| format!("{time:?}"), |time| format!("{time:.0}"))
}

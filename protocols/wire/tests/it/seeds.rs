//! The committed seeds of the fuzz targets, as ordinary tests: what a fuzzer once found stays found.
//!
//! Seeds that come from the golden messages are written, where missing, by a run with
//! `WIRE_GOLDEN_NEW=1`; others are added by hand.

#[expect(unreachable_pub, reason = "it is part of a library of its own")]
#[path = "../../../../tests/fuzz/src/wire.rs"]
mod targets;

use crate::golden;
use protocols_wire::encode_envelope;
use std::fs;
use std::path::PathBuf;

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fuzz/seeds")
        .join(target)
}

fn run(target: &str, made: Vec<(String, Vec<u8>)>, check: fn(&[u8])) {
    let folder = folder(target);
    if std::env::var_os("WIRE_GOLDEN_NEW").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in made {
            let path = folder.join(name);
            if !path.exists() {
                fs::write(path, bytes).unwrap();
            }
        }
    }
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let data = fs::read(&path).unwrap();
        check(&data);
        // And everything near it.
        for cut in 0..data.len() {
            check(&data[..cut]);
        }
        for bit in 0..data.len().min(512) * 8 {
            let mut near = data.clone();
            near[bit / 8] ^= 1 << (bit % 8);
            check(&near);
        }
        seeds += 1;
    }
    assert!(seeds > 3, "{target}: no seeds in {}", folder.display());
}

#[test]
fn record_seeds_and_what_is_near_them_keep_the_rules() {
    let made = golden::records()
        .into_iter()
        .map(|(name, record)| (name.to_owned(), record.encode().unwrap().body.to_vec()));
    run("record", made.collect(), targets::record);
}

#[test]
fn envelope_seeds_and_what_is_near_them_keep_the_rules() {
    let (records, dictionary) = golden::envelope_parts();
    let attached = [dictionary.encoded().clone()];
    let made = (0..=records.len())
        .map(|count| {
            let bytes = encode_envelope(&records[..count], &attached).unwrap();
            (format!("envelope-v1-{count}"), bytes.to_vec())
        })
        .collect();
    run("envelope", made, targets::envelope);
}

#[test]
fn control_seeds_and_what_is_near_them_keep_the_rules() {
    let (hello, downs) = golden::control();
    let mut framed = vec![("hello-v1", hello.encode().unwrap())];
    framed.push(("ack-v1", downs[0].encode().unwrap()));
    framed.push(("hello-answer-v1", downs[1].encode().unwrap()));
    let made = framed
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes[1..bytes.len() - 4].to_vec()))
        .chain([("empty".to_owned(), vec![2])]);
    run("control", made.collect(), targets::control);
}

#[test]
fn dictionary_seeds_and_what_is_near_them_keep_the_rules() {
    let entries = golden::dictionary().entries().to_vec();
    let made = (1..=entries.len())
        .map(|count| {
            let some = protocols_wire::Dictionary::try_new(entries[..count].to_vec()).unwrap();
            (format!("dictionary-v1-{count}"), some.encoded().to_vec())
        })
        .collect();
    run("dictionary", made, targets::dictionary);
}

#[test]
fn topic_seeds_and_what_is_near_them_keep_the_rules() {
    let made = [
        "gw/gw1/up/telemetry",
        "gw.gw1.up.alarm.history",
        "gw/a-9/up/hello",
        "gw.x.up.reply",
        "gw/gw1/down/ack",
        "gw/gw1/down/cmd",
    ];
    let made = made
        .iter()
        .enumerate()
        .map(|(at, text)| (format!("topic-{at}"), text.as_bytes().to_vec()));
    run("topic", made.collect(), targets::topic);
}

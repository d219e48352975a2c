//! Recordings: making one, a disk that takes no more of it, and what is no recording, or not a whole one.

use crate::plant::{Plant, cellar};
use crate::rig::{Gateway, Rig};
use gateway_recorder::{Recorder, Tape, TapeLimits};
use protocols_model::{
    BootId, Instant, PointDescriptor, PointKey, Reading, Timestamp, Value, ValueType,
};
use serde_json::Value as Json;
use std::process::Command;
use std::time::Duration;

/// The arguments that record into `out`.
fn arguments(out: &str) -> [&str; 8] {
    [
        "record",
        "--config",
        "gateway.toml",
        "--for",
        "1h",
        "--out",
        out,
        "--json",
    ]
}

/// Begins a recording, and waits until there is something in it.
pub(crate) fn record(rig: &Rig, out: &str) -> Gateway {
    let recorder = rig.spawn(&arguments(out), "record.json");
    rig.wait("it records", || size(rig, out) > 0);
    recorder
}

/// Bytes of a recording.
fn size(rig: &Rig, out: &str) -> u64 {
    let segments = std::fs::read_dir(rig.path(out))
        .into_iter()
        .flatten()
        .flatten();
    segments
        .filter_map(|segment| Some(segment.metadata().ok()?.len()))
        .sum()
}

/// What `record --json` said at its end.
pub(crate) fn told(rig: &Rig) -> Json {
    serde_json::from_slice(&std::fs::read(rig.path("record.json")).unwrap()).unwrap()
}

/// Waits until the plant was read a few times as it is now, and the recording has it.
pub(crate) fn let_it_be_read(rig: &Rig, out: &str) {
    for _ in 0..2 {
        let (taken, bytes) = (rig.number("/pipeline/taken"), size(rig, out));
        rig.wait("it is read", || rig.number("/pipeline/taken") > taken + 10);
        rig.wait("it is recorded", || size(rig, out) > bytes);
    }
}

#[test]
fn a_disk_that_takes_no_more_ends_a_recording_with_words_and_disturbs_nothing_else() {
    let plant = Plant::start();
    plant.set(0, 290);
    let rig = Rig::new(&cellar(plant.port, ""));
    let mut gateway = rig.start();
    // Its files may have a kilobyte at most, whoever runs this.
    let record = rig.command(&arguments("plant.rec"));
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""])
        .arg(record.get_program())
        .args(record.get_args())
        .current_dir(rig.folder.path());
    let mut recorder = rig.spawn_command(limited, "record.json");
    assert_eq!(recorder.end(&rig), Some(1));
    let said = rig.text("record.json.err");
    assert!(
        said.contains("writing plant.rec; what came until now is kept"),
        "{said}"
    );
    // The gateway reads on, and tells whoever records next.
    let taken = rig.number("/pipeline/taken");
    rig.wait("it reads on", || rig.number("/pipeline/taken") > taken + 20);
    let mut other = self::record(&rig, "other.rec");
    other.signal("INT");
    assert_eq!(other.end(&rig), Some(0));
    let replay = [
        "replay",
        "--config",
        "gateway.toml",
        "--data",
        "plant.rec",
        "--json",
    ];
    let replayed = rig.output(&replay);
    let replayed: Json = serde_json::from_slice(&replayed.stdout).unwrap();
    let kept = replayed["recording"]["readings"].as_u64().unwrap();
    assert!(kept > 0, "what came until then is kept: {replayed}");
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());
}

/// A recording of some seconds, made without a gateway.
fn recorded(rig: &Rig, out: &str) -> std::path::PathBuf {
    let point = PointDescriptor {
        device: "cellar".parse().unwrap(),
        point: "temperature".parse().unwrap(),
        value_type: ValueType::F64,
        unit: "°C".to_owned(),
        scale: 0.1,
    };
    let mut recorder = Recorder::new(vec![point], BootId(1)).unwrap();
    let limits = TapeLimits { max_bytes: 1 << 20 };
    let mut tape = Tape::open(&rig.path(out), limits).unwrap();
    tape.write(&recorder.beginning()).unwrap();
    for second in 0..20_u32 {
        let span = Duration::from_secs(second.into());
        let wall = Timestamp::from_millis(1_700_000_000_000).plus(span);
        let value = Value::F64(20.0 + f64::from(second % 7));
        recorder.take(Instant(span), &[Reading::good(PointKey(0), wall, value)]);
        tape.write(&recorder.seal(Instant(span), wall)).unwrap();
    }
    rig.path(out).join("00000001.fgrec")
}

#[test]
fn what_is_no_recording_or_not_a_whole_one_is_told_and_what_can_be_read_is_used() {
    let rig = Rig::new(&cellar(1, ""));
    let replay = |data: &str| {
        let arguments = ["replay", "--config", "gateway.toml", "--data", data];
        rig.output(&arguments)
    };
    let sim = |data: &str| rig.output(&["sim", "recording", data]);
    let whole = std::fs::read(recorded(&rig, "whole.rec")).unwrap();
    std::fs::create_dir(rig.path("empty.rec")).unwrap();
    std::fs::write(recorded(&rig, "foreign.rec"), "a letter to somebody").unwrap();
    let mut unreadable = whole.clone();
    unreadable[20] ^= 1;
    std::fs::write(recorded(&rig, "unreadable.rec"), unreadable).unwrap();
    let refused = [
        ("nowhere.rec", "reading nowhere.rec"),
        ("empty.rec", "empty.rec holds no recording"),
        ("foreign.rec", "is no recording of this version"),
        ("unreadable.rec", "is damaged from its beginning on"),
    ];
    for (data, words) in refused {
        for output in [replay(data), sim(data)] {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{data}: {said}");
            assert!(said.contains(words), "{data}: {said}");
        }
    }

    // Cut off, and damaged in the middle: what stands before is used.
    let cut = whole.get(..whole.len() - 5).unwrap().to_vec();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x40;
    for (data, bytes) in [("cut.rec", cut), ("damaged.rec", damaged)] {
        std::fs::write(recorded(&rig, data), bytes).unwrap();
        let output = replay(data);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            said.contains("damaged or cut off: 1 of its files"),
            "{said}"
        );
        let to = format!("{data}.toml");
        let print = format!("--print-config={to}");
        let _played = rig.spawn(&["sim", "recording", data, &print], "sim.out");
        rig.wait("it is played", || rig.path(&to).exists());
        let said = rig.text("sim.out.err");
        assert!(said.contains("is damaged or cut off"), "{said}");
    }
    // The one beside them is as it was.
    let output = replay("whole.rec");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("damaged"), "{said}");
}

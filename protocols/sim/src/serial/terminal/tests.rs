//! Devices in virtual time.

use super::super::preset::{self, Frames};
use super::super::{DeviceSetup, Sentence};
use super::*;
use crate::event::{Event, Hook, What};
use crate::fault::Board;
use crate::script::Script;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

type Told = Arc<Mutex<Vec<String>>>;

fn terminal(frames: Frames, values: Vec<(&'static str, Script)>) -> (Terminal, Arc<Device>, Told) {
    let values: BTreeMap<_, _> = values
        .into_iter()
        .map(|(name, script)| (name.into(), script.prepare(Path::new("."), 0).unwrap()))
        .collect();
    let setup = DeviceSetup {
        name: "dev".into(),
        values,
        says: frames.says,
        answers: frames.answers,
        end: b'\n',
        faults: Board::default(),
    };
    setup.check().unwrap();
    let told: Told = Arc::default();
    let heard = Arc::clone(&told);
    let hook: Hook = Arc::new(move |event: &Event<'_>| {
        let line = match &event.what {
            What::Said { shown, heard, .. } => format!("said {} {heard}", shown.len()),
            What::Port { open } => format!("open {open}"),
            other => format!("{other:?}"),
        };
        heard.lock().unwrap().push(line);
    });
    let device = Device::new(
        setup,
        hook,
        Instant::now(),
        Duration::from_secs(1_700_000_000),
    );
    let device = Arc::new(device);
    let line = "9600 8N1".parse().unwrap();
    (Terminal::new(line, Arc::clone(&device)), device, told)
}

const SECOND: Duration = Duration::from_secs(1);

fn run(terminal: &mut Terminal, until: Duration) -> String {
    let mut out = Vec::new();
    terminal.advance(until, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn a_scale_says_its_weight_each_interval_to_whoever_has_the_port_open() {
    let (mut terminal, _, told) =
        terminal(preset::scale(Some(SECOND)).unwrap(), preset::scale_values());
    assert_eq!(run(&mut terminal, SECOND * 3 / 2), "");
    terminal.opened(SECOND * 3 / 2);
    // 25 characters at 9600 baud take 26 ms.
    assert_eq!(run(&mut terminal, SECOND * 2), "");
    let frame = run(&mut terminal, SECOND * 2 + Duration::from_millis(27));
    assert!(
        frame.starts_with("ST,GS,   +0.000,kg*") && frame.ends_with("\r\n"),
        "{frame:?}"
    );
    terminal.closed(SECOND * 5 / 2);
    assert_eq!(run(&mut terminal, SECOND * 4), "");
    assert_eq!(
        *told.lock().unwrap(),
        [
            "said 1 false",
            "open true",
            "said 1 true",
            "open false",
            "said 1 false",
            "said 1 false"
        ]
    );
}

#[test]
fn a_request_is_answered_when_it_is_through_and_an_unknown_one_is_told() {
    let (mut terminal, _, told) = terminal(preset::scpi().unwrap(), preset::scpi_values());
    terminal.opened(Duration::ZERO);
    terminal.written(SECOND, b"*IDN?\r\nNONSENSE\nMEAS:VOLT?\n");
    let answer = run(&mut terminal, SECOND * 2);
    assert!(
        answer.starts_with("FOGLINE,SIM-34401,0,1.0\n+12.") && answer.lines().count() == 2,
        "{answer:?}"
    );
    let told = told.lock().unwrap();
    assert!(told[2].starts_with("NotUnderstood"), "{told:?}");
}

#[test]
fn faults_silence_spoil_and_cut_frames_and_end_with_ok() {
    let (mut terminal, device, _) = terminal(preset::scale(None).unwrap(), preset::scale_values());
    terminal.opened(Duration::ZERO);
    let mut now = SECOND;
    let mut ask = |fault: &str| {
        device.heal();
        if !fault.is_empty() {
            device.arm(fault.parse().unwrap()).unwrap();
        }
        terminal.written(now, b"S\r\n");
        now += SECOND * 3;
        run(&mut terminal, now)
    };
    let good = ask("");
    assert_eq!(ask("silent"), "");
    assert_eq!(ask("cut").len(), good.len() / 2);
    let sum = |frame: &str| frame.split('*').next_back().unwrap().to_owned();
    assert_ne!(sum(&ask("wrong-checksum")), sum(&good));
    assert_eq!(ask("stall 1s").len(), good.len());
    assert_eq!(ask("late 5s"), "");
    assert!(device.set(
        "weight",
        Some("7".parse().map(crate::script::Value::Int).unwrap())
    ));
    assert!(!device.set("mass", None));
    assert!(ask("").contains("+7.000"));
}

#[test]
fn a_receiver_says_every_sentence_with_the_time_that_it_is() {
    let frames = preset::nmea(SECOND, &Sentence::ALL);
    let (mut terminal, _, _) = terminal(frames, preset::nmea_values());
    terminal.opened(Duration::ZERO);
    let said = run(&mut terminal, SECOND * 2 - Duration::from_millis(1));
    assert_eq!(said.lines().count(), 5);
    assert!(
        said.contains("$GPZDA,221321.00,14,11,2023,00,00*"),
        "{said}"
    );
    assert!(said.contains("$GPGGA,221321.00,5333."), "{said}");
}

#[test]
fn a_binary_frame_carries_its_number_and_a_checksum() {
    let (mut terminal, _, _) = terminal(preset::binary(SECOND), preset::binary_values());
    terminal.opened(Duration::ZERO);
    let mut out = Vec::new();
    terminal.advance(SECOND * 3, &mut out);
    assert_eq!(out.len(), 24, "two of three: the third is not through");
    assert_eq!(out[..4], [0xaa, 0x55, 0, 0]);
    assert_eq!(out[12..16], [0xaa, 0x55, 0, 1]);
    assert_eq!(crate::modbus::crc16(&out[..10]), out[10..12]);
}

#[test]
fn noise_without_an_end_is_bounded_and_the_next_request_is_heard() {
    let (mut terminal, _, _) = terminal(preset::scpi().unwrap(), preset::scpi_values());
    terminal.opened(Duration::ZERO);
    for _ in 0..100 {
        terminal.written(SECOND, &[b'x'; 4096]);
    }
    assert!(terminal.coming.len() <= 16);
    let later = Duration::from_secs(1000);
    run(&mut terminal, later);
    assert!(terminal.heard.len() <= LONGEST_REQUEST + 1);
    terminal.written(later, b"\n*IDN?\n");
    assert!(run(&mut terminal, later + SECOND).starts_with("FOGLINE"));
}

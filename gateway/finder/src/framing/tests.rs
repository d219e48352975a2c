use super::*;
use proptest::prelude::*;

fn line() -> LineSettings {
    "9600 8N1".parse().unwrap()
}

/// Frames that come one after the other, a pause between them.
fn stream(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<Chunk> {
    let at = |i: usize| Instant(Duration::from_millis(200 * (1 + i as u64)));
    frames
        .into_iter()
        .enumerate()
        .map(|(i, bytes)| Chunk { at: at(i), bytes })
        .collect()
}

fn best(chunks: &[Chunk]) -> Guess {
    guess(chunks, line(), 10).remove(0)
}

#[test]
fn a_gps_is_recognised_by_its_sentences() {
    let sentence = |minute: u8| {
        let body =
            format!("GPRMC,1235{minute:02},A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W");
        let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
        format!("${body}*{sum:02X}\r\n").into_bytes()
    };
    let guess = best(&stream((0..20).map(sentence)));
    assert_eq!((guess.frame.as_str(), guess.check), ("nmea", None));
    assert_eq!(parse_guess(&guess.examples, "nmea").parse, "nmea");
}

#[test]
fn a_scale_that_sends_lines_is_recognised_and_its_number_found() {
    let frames = (0..20).map(|i| format!("ST,GS,+ {i:02}.340kg\r\n").into_bytes());
    let guess = best(&stream(frames));
    assert_eq!((guess.frame.as_str(), guess.check), ("line", None));
    let parse = parse_guess(&guess.examples, &guess.frame);
    assert_eq!(parse.parse, "csv:, *3");
    assert_eq!(
        parse.points[1],
        "{ id = \"column2\", field = \"2\", as = \"text\" },"
    );
    let kg = [b"  12.34 kg".to_vec()];
    assert!(parse_guess(&kg, "line").parse.starts_with("regex:"));
}

#[test]
fn delimiters_with_a_checksum_behind_them_are_recognised_with_the_checksum() {
    let frames = (0..20u8).map(|i| {
        let mut body = format!("W{i:03}.5").into_bytes();
        body.push(3);
        let sum = body.iter().fold(0, |sum, byte| sum ^ byte);
        let mut frame = vec![2];
        frame.extend(body);
        frame.push(sum);
        frame
    });
    let guesses = guess(&stream(frames), line(), 40);
    assert!(
        guesses[0].frame.starts_with("start:\\x02 end:\\x03"),
        "{guesses:#?}"
    );
}

#[test]
fn binary_frames_with_a_crc_between_silences_are_recognised_by_the_crc() {
    let modbus = |data: &[u8]| {
        let crc = data.iter().fold(0xffffu16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
                if crc & 1 == 1 {
                    crc >> 1 ^ 0xa001
                } else {
                    crc >> 1
                }
            })
        });
        [data, &crc.to_le_bytes()].concat()
    };
    let frames =
        (0..20u8).map(|i| modbus(&[0x11, 0x03, 2, i.wrapping_mul(37), i.wrapping_mul(91), i]));
    let guess = best(&stream(frames));
    assert_eq!(
        guess.check.as_deref(),
        Some("crc16/modbus le"),
        "{guess:#?}"
    );
    assert_eq!(
        parse_guess(&[vec![0xff, 0, 0xfe]], &guess.frame).parse,
        "binary"
    );
}

#[test]
fn contents_are_named_by_their_keys() {
    let json = [br#"{"weight": 12.5, "Unit": "kg"}"#.to_vec()];
    let found = parse_guess(&json, "line");
    assert_eq!(found.parse, "json");
    assert!(
        found
            .points
            .contains(&"{ id = \"weight\", field = \"/weight\" },".to_owned())
    );
    let keys = [b"T=21.5;H=40".to_vec()];
    assert_eq!(parse_guess(&keys, "line").parse, "keys:;=");
}

proptest! {
    #[test]
    fn any_bytes_give_parsable_suggestions_in_order_of_their_rank(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..12),
    ) {
        let guesses = guess(&stream(frames), line(), 20);
        for pair in guesses.windows(2) {
            prop_assert!(pair[0].score >= pair[1].score);
        }
        for guess in guesses {
            prop_assert!(guess.frame.parse::<Framing>().is_ok());
            prop_assert!(guess.check.is_none_or(|check| check.parse::<Checksum>().is_ok()));
            prop_assert!((0.0..=1.0).contains(&guess.share));
            let found = parse_guess(&guess.examples, &guess.frame);
            let parser = found.parse.parse::<protocols_serial::config::Parser>();
            prop_assert!(parser.is_ok(), "{found:?}");
            for line in &found.points {
                let field = line.split("field = \"").nth(1).and_then(|rest| rest.split('"').next());
                prop_assert!(parser.as_ref().unwrap().field(field).is_ok(), "{found:?}");
            }
        }
    }
}

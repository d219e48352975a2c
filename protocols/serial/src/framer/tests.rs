//! Each framing on good, cut, merged and endless streams; the same in any chunks.

use super::*;
use proptest::prelude::*;
use protocols_line::PortConfig;

fn bus(frame: &str, check: &str) -> Bus {
    let port = PortConfig::new("/dev/null", "9600 8N1".parse().unwrap());
    let mut bus = Bus::new("b", port, frame.parse().unwrap());
    bus.checksum = (!check.is_empty()).then(|| check.parse().unwrap());
    bus.max_frame = 64;
    bus
}

const fn ms(n: u64) -> Instant {
    Instant(Duration::from_millis(n))
}

/// What comes of pieces that arrive at these milliseconds, each written as its payload or its fate.
/// Time goes on to 10 s, with a tick whenever one is due.
fn fates(frame: &str, check: &str, pieces: &[(u64, &[u8])]) -> Vec<String> {
    let mut framer = Framer::new(&bus(frame, check), ms(0));
    let mut out = Vec::new();
    let end = [(10_000, b"".as_slice())];
    for (at, bytes) in pieces.iter().chain(&end) {
        while let Some(due) = framer.deadline().filter(|due| *due <= ms(*at)) {
            framer.tick(due, &mut out);
        }
        framer.push(bytes, ms(*at), &mut out);
    }
    let fate = |event| match event {
        Event::Frame(frame) => String::from_utf8_lossy(frame.payload()).into_owned(),
        Event::Lost { bytes, why } => format!("{why:?} {bytes}"),
    };
    out.into_iter().map(fate).collect()
}

#[test]
fn the_first_line_is_in_doubt_and_blank_lines_are_delimiters() {
    assert_eq!(
        fates("line", "", &[(0, b"alf\r\none\r\ntwo\n")]),
        ["InDoubt 5", "one", "two"]
    );
    assert_eq!(fates("line", "", &[(0, b"\none\r\n\r\n")]), ["one"]);
    // An endless line without an end is dropped, and so is what comes before the next end.
    let endless = [b'x'; 70];
    let stream = [b"\n".as_slice(), &endless, b"rest\none\n"].concat();
    assert_eq!(
        fates("line", "", &[(0, &stream)]),
        ["TooLong 64", "InDoubt 11", "one"]
    );
    // Silence inside a line: neither half is a line.
    let cut = fates("line", "", &[(0, b"\n12"), (600, b"34\n56\n")]);
    assert_eq!(cut, ["Cut 2", "InDoubt 3", "56"]);
}

#[test]
fn starts_and_ends_are_both_needed() {
    let of = |pieces: &[(u64, &[u8])]| fates("start:\\x02 end:\\x03", "", pieces);
    assert_eq!(
        of(&[(0, b"xx\x02a\x03..\x02b\x03")]),
        ["Noise 2", "InDoubt 3", "Noise 2", "b"]
    );
    // A start inside begins anew: the end of the first was lost.
    assert_eq!(of(&[(0, b"\x02\x03\x02a\x02b\x03")]), ["Cut 2", "b"]);
    assert_eq!(
        of(&[(0, b"\x02\x03\x02a"), (600, b"\x03\x02b\x03\x02c\x03")]),
        ["Cut 2", "Noise 1", "InDoubt 3", "c"]
    );
    // With a checksum the start vouches for the first one.
    assert_eq!(
        fates("start:\\x02 end:\\x03", "sum8", &[(0, b"x\x02aa\x03")]),
        ["Noise 1", "a"]
    );
    let two = fates("start:AB end:YZ", "", &[(0, b"AABYZABxYYZABAyYZ")]);
    assert_eq!(two, ["Noise 1", "xY", "Ay"]);
}

#[test]
fn escaped_delimiters_are_data() {
    let hdlc = "start:\\x7e end:\\x7e escape:\\x7d^0x20";
    assert_eq!(fates(hdlc, "", &[(0, b"~~a}^b~~c~d~")]), ["a~b", "c", "d"]);
    let dle = "start:\\x02 end:\\x03 escape:\\x10 tail:1";
    let stream = b"\x02a\x10\x03b\x03\x10\x02";
    // The sum of `a`, 03 and `b` is C6; here the tail is 02, escaped.
    assert_eq!(fates(dle, "sum8", &[(0, stream)]), ["Checksum 6"]);
    assert_eq!(
        fates(dle, "sum8", &[(0, b"\x02a\x10\x03b\x03\xc6")]),
        ["a\x03b"]
    );
    assert_eq!(
        fates(dle, "xor8 with:end with:start", &[(0, b"\x02a\x03\x60")]),
        ["a"]
    );
}

#[test]
fn checksums_stand_where_they_are_said_to() {
    for (frame, check, stream, payload) in [
        (
            "nmea",
            "xor8 hex after:*",
            b"$GPHDT,1,T*2A\r\n".as_slice(),
            "GPHDT,1,T",
        ),
        ("nmea", "xor8 hex after:*", b"!GPHDT,1,T*2A\n", "GPHDT,1,T"),
        ("start:: end:\\r\\n", "sum8-neg hex", b":12C5A\r\n", "12C"),
        ("start:< end:>", "xor8 at:-2", b"<ab\x03z>", "ab\x03z"),
        ("start:< end:>", "xor8 from:1", b"<aabc\x61>", "Checksum 7"),
        ("start:< end:>", "xor8 from:1", b"<aabc\x60>", "aabc"),
        (
            "start:< end:>",
            "crc16/modbus le",
            b"<123456789\x37\x4b>",
            "123456789",
        ),
        (
            "start:< end:>",
            "crc16/modbus be",
            b"<123456789\x4b\x37>",
            "123456789",
        ),
        (
            "start:< end:>",
            "crc32 hex",
            b"<123456789cbF43926>",
            "123456789",
        ),
        ("start:< end:>", "xor8", b"<a>", "Checksum 3"),
        ("nmea", "xor8 hex after:*", b"$GPHDT,1,T\r\n", "Checksum 12"),
    ] {
        assert_eq!(
            fates(frame, check, &[(0, stream)]),
            [payload],
            "{frame} {check}"
        );
    }
}

#[test]
fn fixed_frames_are_found_by_their_neighbours_or_by_silence() {
    let marked = |stream: &[u8]| fates("fixed:3 start:\\xaa", "", &[(0, stream)]);
    // The first is in doubt; the last is ended by silence.
    assert_eq!(
        marked(b"x\xaaab\xaacd\xaaef"),
        [
            "Noise 1",
            "InDoubt 3",
            "cd".to_owned()
                .as_str()
                .replace("cd", "\u{fffd}cd")
                .as_str(),
            "\u{fffd}ef"
        ]
    );
    // One byte too many, one byte too few: neither frame is believed.
    assert_eq!(
        marked(b"\xaaab\xaacxd\xaaef\xaagh"),
        [
            "InDoubt 3",
            "Malformed 1",
            "Noise 3",
            "InDoubt 3",
            "\u{fffd}gh"
        ]
    );
    let short = marked(b"\xaaab\xaac\xaaef\xaagh");
    assert_eq!(
        short,
        [
            "InDoubt 3",
            "Malformed 1",
            "Noise 1",
            "InDoubt 3",
            "\u{fffd}gh"
        ]
    );

    let spaced = |pieces: &[(u64, &[u8])]| fates("fixed:3 gap:20ms", "", pieces);
    assert_eq!(
        spaced(&[(0, b"abc"), (30, b"def"), (60, b"gh"), (62, b"i")]),
        ["InDoubt 3", "def", "ghi"]
    );
    assert_eq!(
        spaced(&[(30, b"abcd"), (60, b"ab"), (90, b"def")]),
        ["TooLong 4", "Cut 2", "def"]
    );
}

#[test]
fn a_damaged_length_costs_no_more_than_its_neighbours() {
    // AA, length of what follows, data, sum.
    let frame = |data: &[u8]| {
        let mut frame = vec![0xaa, u8::try_from(data.len() + 1).unwrap()];
        frame.extend_from_slice(data);
        frame.push(frame.iter().fold(0, |sum: u8, b| sum.wrapping_add(*b)));
        frame
    };
    let mut stream: Vec<u8> = ["a", "bb", "ccc", "dddd", "ee"]
        .iter()
        .flat_map(|d| frame(d.as_bytes()))
        .collect();
    let of = |stream: &[u8]| -> Vec<String> {
        let fates = fates("length:u8@1+2 start:\\xaa", "sum8", &[(0, stream)]);
        fates
            .into_iter()
            .map(|f| {
                f.trim_start_matches(|c: char| !c.is_ascii_alphabetic())
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(of(&stream), ["InDoubt 4", "bb", "ccc", "dddd", "ee"]);
    // The length of `bb` now reaches far into the next frames, and past the end of everything.
    stream[5] = 40;
    assert_eq!(
        of(&stream),
        ["InDoubt 4", "Noise 5", "InDoubt 6", "dddd", "ee"]
    );
    stream[5] = 5;
    assert_eq!(of(&stream)[..2], ["InDoubt 4", "Checksum 1"]);
    assert_eq!(of(&stream)[3..], ["InDoubt 6", "dddd", "ee"]);
}

#[test]
fn silence_separates_frames_where_nothing_else_does() {
    let of = |pieces: &[(u64, &[u8])]| fates("gap:20ms", "", pieces);
    assert_eq!(
        of(&[(5, b"ab"), (30, b"cd"), (40, b"ef"), (80, b"gh")]),
        ["InDoubt 2", "cdef", "gh"]
    );
    // Silence was seen before the first byte.
    assert_eq!(of(&[(25, b"ab")]), ["ab"]);
    assert_eq!(
        of(&[(25, &[b'x'; 60]), (30, &[b'x'; 60]), (90, b"ab")]),
        ["TooLong 120", "ab"]
    );
}

#[test]
fn slip_and_cobs_are_decoded_between_their_separators() {
    assert_eq!(
        fates(
            "slip",
            "",
            &[(0, b"x\xc0a\xdb\xdcb\xc0\xc0c\xdbd\xc0e\xc0f\xc0")]
        ),
        ["InDoubt 1", "a\u{fffd}b", "Malformed 3", "InDoubt 1", "f"]
    );
    assert_eq!(
        fates("cobs", "", &[(0, b"\x01x\0\x03ab\0\x02c\x02d\0")]),
        ["Malformed 2", "InDoubt 3", "c\0d"]
    );
    assert_eq!(fates("cobs", "sum8", &[(0, b"\0\x03aa\0")]), ["a"]);
}

#[test]
fn after_a_reset_on_a_silent_line_the_first_frame_counts() {
    for (frame, stream, payload) in [
        ("line", b"one\n".as_slice(), b"one".as_slice()),
        ("start:< end:>", b"<one>", b"one"),
        ("cobs", b"\x04one\0", b"one"),
        ("fixed:3 start:o gap:20ms", b"one", b"one"),
        ("gap:20ms", b"one", b"one"),
    ] {
        let mut framer = Framer::new(&bus(frame, ""), ms(0));
        let mut out = Vec::new();
        framer.push(b"o", ms(1), &mut out);
        assert_eq!(
            framer.reset(true, ms(2)),
            if frame.starts_with("start") { 0 } else { 1 },
            "{frame}"
        );
        out.clear();
        framer.push(stream, ms(3), &mut out);
        framer.tick(ms(600), &mut out);
        let payloads: Vec<_> = out
            .iter()
            .map(|event| match event {
                Event::Frame(frame) => frame.payload(),
                Event::Lost { .. } => b"lost",
            })
            .collect();
        assert_eq!(payloads, [payload], "{frame}");
    }
}

/// Framings and checksums, valid together.
const KINDS: [(&str, &str); 14] = [
    ("line", ""),
    ("nmea", "xor8 hex after:*"),
    ("end:ab", "sum8"),
    ("start:a end:b", ""),
    ("start:a end:a escape:c", ""),
    (
        "start:a end:b escape:c^0x20 tail:2",
        "crc16/modbus le with:end",
    ),
    ("fixed:4 start:a", ""),
    ("fixed:4 gap:20ms", "sum8"),
    ("fixed:4", "xor8"),
    ("length:u8@1+2 start:a", "sum8"),
    ("length:u16le@0-2 gap:20ms", ""),
    ("gap:20ms", ""),
    ("slip", ""),
    ("cobs", "sum8"),
];

proptest! {
    #[test]
    fn every_byte_has_one_fate_and_no_more_than_a_frame_is_held(
        kind in 0..KINDS.len(),
        chunks in prop::collection::vec(
            (0u64..40, prop::collection::vec(prop_oneof![
                Just(b'a'), Just(b'b'), Just(b'c'), Just(0), Just(0xc0), Just(b'\n'), Just(b'$'), any::<u8>(),
            ], 0..40)), 0..20),
    ) {
        let (frame, check) = KINDS[kind];
        let mut framer = Framer::new(&bus(frame, check), ms(0));
        let (mut out, mut now, mut sent) = (Vec::new(), 0, 0);
        for (pause, chunk) in chunks {
            now += pause;
            framer.push(&chunk, ms(now), &mut out);
            sent += chunk.len();
            let held = framer.memory();
            prop_assert!(held <= 2 * 64 + 1, "{} held", held);
        }
        framer.tick(ms(now + 1000), &mut out);
        let told: usize = out.iter().map(|event| match event {
            Event::Frame(frame) => frame.bytes().len(),
            Event::Lost { bytes, .. } => *bytes,
        }).sum();
        // One flag between two frames is part of both.
        let shared = if kind == 4 { out.len() } else { 0 };
        prop_assert!(told <= sent + shared, "{} of {}", told, sent);
        for event in &out {
            if let Event::Frame(frame) = event {
                prop_assert!(frame.bytes().len() <= 64);
            }
        }
        prop_assert_eq!(framer.deadline(), None);
    }

    #[test]
    fn chunks_make_no_difference(
        kind in 0..KINDS.len(),
        stream in prop::collection::vec(prop_oneof![
            Just(b'a'), Just(b'b'), Just(b'c'), Just(0), Just(4), Just(0xc0), Just(b'\n'), any::<u8>(),
        ], 0..200),
        cuts in prop::collection::vec(1usize..20, 1..20),
    ) {
        let (frame, check) = KINDS[kind];
        let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut framer = Framer::new(&bus(frame, check), ms(0));
            let mut out = Vec::new();
            for piece in pieces {
                framer.push(piece, ms(1), &mut out);
            }
            framer.tick(ms(1000), &mut out);
            out.retain(|event| matches!(event, Event::Frame(_)));
            out
        };
        let whole = run(&mut std::iter::once(stream.as_slice()));
        let mut rest = stream.as_slice();
        let mut cuts = cuts.iter().cycle();
        let mut pieces = std::iter::from_fn(|| {
            let (piece, behind) = rest.split_at_checked(*cuts.next()?).unwrap_or((rest, &[]));
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        });
        prop_assert_eq!(run(&mut pieces), whole);
    }
}

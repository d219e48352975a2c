//! The codec against a model that works on letters and byte strings, and known registers of devices.

use super::*;
use proptest::prelude::*;
use protocols_model::{PointId, PointKey};
use std::time::Duration;

fn point(raw: &str, order: &str, scale: Scale) -> Point {
    Point {
        key: PointKey(0),
        id: PointId::try_new("p").unwrap(),
        address: "hr:0".parse().unwrap(),
        raw: raw.parse().unwrap(),
        order: order.parse().unwrap(),
        scale,
        period: Duration::from_secs(1),
        range: None,
        names: None,
        write: None,
    }
}

fn codec(raw: &str, order: &str) -> Codec {
    Codec::new(&point(raw, order, Scale::IDENTITY))
}

fn scaled(raw: &str, factor: f64) -> Codec {
    Codec::new(&point(raw, "ABCD", Scale::new(factor, 0.0).unwrap()))
}

/// The model: the device sends byte `letters[i]` of the big-endian value at place i.
fn words_by_letters(big_endian: &[u8], letters: &str) -> Vec<u16> {
    let sent: Vec<u8> = letters
        .bytes()
        .map(|l| big_endian[usize::from(l - b'A')])
        .collect();
    sent.chunks(2)
        .map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]))
        .collect()
}

const ORDERS_32: [&str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];
const ORDERS_64: [&str; 8] = [
    "ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA", "CDABGHEF", "DCBAHGFE", "EFGHABCD", "FEHGBADC",
];

proptest! {
    #[test]
    fn integers_in_any_order_equal_the_model_and_encode_back(n: u64) {
        let n16 = u16::try_from(n & 0xffff).unwrap();
        let n32 = u32::try_from(n >> 32).unwrap();
        let mut cases = Vec::new();
        for order in ["AB", "BA"] {
            let words = words_by_letters(&n16.to_be_bytes(), order);
            cases.push((codec("u16", order), words.clone(), Value::U64(n16.into())));
            cases.push((codec("i16", order), words, Value::I64(n16.cast_signed().into())));
        }
        for order in ORDERS_32 {
            let words = words_by_letters(&n32.to_be_bytes(), order);
            cases.push((codec("u32", order), words.clone(), Value::U64(n32.into())));
            cases.push((codec("i32", order), words, Value::I64(n32.cast_signed().into())));
        }
        for order in ORDERS_64 {
            let words = words_by_letters(&n.to_be_bytes(), order);
            cases.push((codec("u64", order), words.clone(), Value::U64(n)));
            cases.push((codec("i64", order), words, Value::I64(n.cast_signed())));
        }
        for (codec, words, value) in cases {
            prop_assert_eq!(codec.decode(&words), Ok(value.clone()));
            prop_assert_eq!(codec.encode(&value), Ok(Encoded::Words(words)));
        }
    }

    #[test]
    fn floats_in_any_order_are_exact_or_undecodable(bits: u64, pick in 0usize..8) {
        let single = f32::from_bits(u32::try_from(bits >> 32).unwrap());
        let double = f64::from_bits(bits);
        let order = ORDERS_64[pick];
        let words = words_by_letters(&double.to_be_bytes(), order);
        let expected = double.is_finite().then_some(Value::F64(double)).ok_or(Reason::Undecodable);
        prop_assert_eq!(codec("f64", order).decode(&words), expected);
        let order = ORDERS_32[pick % 4];
        let words = words_by_letters(&single.to_be_bytes(), order);
        let expected = single.is_finite().then_some(Value::F64(single.into())).ok_or(Reason::Undecodable);
        prop_assert_eq!(codec("f32", order).decode(&words), expected.clone());
        if let Ok(value) = expected {
            prop_assert_eq!(codec("f32", order).encode(&value), Ok(Encoded::Words(words)));
        }
    }

    #[test]
    fn scaled_integers_survive_the_round_trip(n: i32, places in 0i32..6) {
        let codec = scaled("i32", format!("1e-{places}").parse().unwrap());
        let words = words_by_letters(&n.to_be_bytes(), "ABCD");
        if places > 0 {
            let value = codec.decode(&words).unwrap();
            prop_assert_eq!(value.as_f64().unwrap().to_string().parse::<f64>().unwrap().to_bits(), value.as_f64().unwrap().to_bits());
            prop_assert_eq!(codec.encode(&value), Ok(Encoded::Words(words)));
        }
    }

    #[test]
    fn no_words_make_the_decoder_panic(words in prop::collection::vec(any::<u16>(), 0..130), pick in 0usize..13, swap: bool) {
        let types = ["i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64", "string:1", "string:125", "bits", "bool", "string:4"];
        let mut codec = codec(types[pick], if swap { "DCBA" } else { "ABCD" });
        codec.scale = swap.then(|| Scale::new(1e300, -1e300).unwrap());
        if let Ok(value) = codec.decode(&words) {
            prop_assert!(value.as_f64().is_none_or(f64::is_finite));
        }
    }

    #[test]
    fn bits_of_a_register_are_those_of_its_binary_text(word: u16, first in 0u8..16, last in 0u8..16) {
        prop_assume!(first <= last);
        let binary: Vec<char> = format!("{word:016b}").chars().rev().collect();
        let picked = binary[usize::from(first)..=usize::from(last)].iter().rev().collect::<String>();
        let model = u64::from_str_radix(&picked, 2).unwrap();
        let mut codec = codec("bits", "AB");
        codec.bits = BitRange::new(first, last);
        prop_assert_eq!(codec.decode(&[word]), Ok(Value::U64(model)));
        codec.order = "BA".parse().unwrap();
        prop_assert_eq!(codec.decode(&[word.swap_bytes()]), Ok(Value::U64(model)));
        codec.raw = RawType::Bool;
        codec.bits = BitRange::new(first, first);
        prop_assert_eq!(codec.decode(&[word.swap_bytes()]), Ok(Value::Bool(model & 1 == 1)));
    }
}

#[test]
fn text_ends_at_the_first_nul_and_loses_its_padding() {
    let words = |bytes: &[u8]| -> Vec<u16> {
        bytes
            .chunks(2)
            .map(|p| u16::from_be_bytes([p[0], p[1]]))
            .collect()
    };
    let text = |order: &str, bytes: &[u8]| codec("string:4", order).decode(&words(bytes));
    assert_eq!(text("AB", b"EM24\0\0xx"), Ok(Value::Text("EM24".into())));
    assert_eq!(text("AB", b"EM24    "), Ok(Value::Text("EM24".into())));
    assert_eq!(text("BA", b"ME42A BC"), Ok(Value::Text("EM24 ACB".into())));
    assert_eq!(text("AB", b"\xff\xfe1234ab"), Err(Reason::Undecodable));
    let encoded = codec("string:4", "BA").encode(&Value::Text("EM24".into()));
    assert_eq!(encoded, Ok(Encoded::Words(words(b"ME42\0\0\0\0"))));
    let long = codec("string:1", "AB").encode(&Value::Text("abc".into()));
    assert!(long.unwrap_err().to_string().contains("too long"));
}

#[test]
fn a_value_outside_its_range_is_told_apart_from_one_that_is_none() {
    let mut voltage = scaled("i32", 0.1);
    voltage.range = Some(0.0..=500.0);
    assert_eq!(voltage.decode(&[0, 2301]), Ok(Value::F64(230.1)));
    assert_eq!(voltage.decode(&[0, 5001]), Err(Reason::OutOfRange));
    assert_eq!(voltage.decode(&[0xffff, 0xffff]), Err(Reason::OutOfRange));
    assert_eq!(voltage.decode(&[0, 1, 2]), Err(Reason::Undecodable));
    assert_eq!(
        codec("f32", "ABCD").decode(&[0x7fc0, 0]),
        Err(Reason::Undecodable)
    );
}

/// A codec of this type, with names.
fn named(raw: &str, names: Names) -> Codec {
    let mut codec = codec(raw, "ABCD");
    codec.names = Some(Arc::new(names));
    codec
}

fn words(codec: &Codec, value: &Value) -> Vec<u16> {
    match codec.encode(value) {
        Ok(Encoded::Words(words)) => words,
        other => panic!("{value:?}: {other:?}"),
    }
}

#[test]
fn decimal_digits_fractions_and_times_are_the_numbers_they_stand_for() {
    let cases: [(&str, &[u16], Value); 14] = [
        ("bcd16", &[0x1234], Value::U64(1234)),
        ("bcd16", &[0x9999], Value::U64(9999)),
        ("bcd32", &[0x0123, 0x4567], Value::U64(1_234_567)),
        ("q8.8", &[0x0180], Value::F64(1.5)),
        ("q8.8", &[0xff80], Value::F64(-0.5)),
        ("uq8.8", &[0xff80], Value::F64(255.5)),
        ("q1.15", &[0x8000], Value::F64(-1.0)),
        ("q16.16", &[0xffff, 0x4000], Value::F64(-0.75)),
        ("f16", &[0x3c00], Value::F64(1.0)),
        ("f16", &[0xc900], Value::F64(-10.0)),
        // 2026-01-01T00:00:00Z.
        ("epoch32", &[0x6955, 0xb900], Value::I64(1_767_225_600_000)),
        (
            "epoch64",
            &[0, 0, 0x6955, 0xb900],
            Value::I64(1_767_225_600_000),
        ),
        (
            "epoch64ms",
            &[0, 0x019b, 0x76da, 0xa800],
            Value::I64(1_767_225_600_000),
        ),
        (
            "epoch64",
            &[0xffff, 0xffff, 0xffff, 0xffff],
            Value::I64(-1000),
        ),
    ];
    for (raw, registers, value) in cases {
        let codec = codec(raw, "ABCD");
        assert_eq!(codec.decode(registers), Ok(value.clone()), "{raw}");
        assert_eq!(words(&codec, &value), registers, "{raw}");
    }
    assert_eq!(
        codec("bcd16", "AB").decode(&[0x12a4]),
        Err(Reason::Undecodable)
    );
    let far = codec("epoch64", "ABCD").decode(&[0x7fff, 0, 0, 0]);
    assert_eq!(
        far,
        Err(Reason::Undecodable),
        "beyond what milliseconds can say"
    );
    assert_eq!(
        codec("f16", "AB").decode(&[0x7c00]),
        Err(Reason::Undecodable)
    );
}

#[test]
fn a_line_through_two_points_is_exact_on_its_steps() {
    let scale = Scale::through([0.0, 27648.0], [4.0, 20.0]).unwrap();
    let codec = Codec::new(&point("u16", "AB", scale));
    for (raw, value) in [(0, 4.0), (27648, 20.0), (13824, 12.0), (6912, 8.0)] {
        assert_eq!(codec.decode(&[raw]), Ok(Value::F64(value)));
        assert_eq!(words(&codec, &Value::F64(value)), [raw]);
    }
    let tenths = Scale::through([0.0, 1000.0], [-40.0, 60.0]).unwrap();
    let codec = Codec::new(&point("u16", "AB", tenths));
    assert_eq!(codec.decode(&[633]), Ok(Value::F64(23.3)));
    let falling = Scale::through([819.0, 4095.0], [100.0, 0.0]).unwrap();
    let codec = Codec::new(&point("u16", "AB", falling));
    assert_eq!(codec.decode(&[4095]), Ok(Value::F64(0.0)));
    assert_eq!(codec.decode(&[819]), Ok(Value::F64(100.0)));
    for wrong in [
        ([1.0, 1.0], [0.0, 5.0]),
        ([0.0, 1.0], [5.0, 5.0]),
        ([0.0, f64::NAN], [0.0, 1.0]),
    ] {
        assert!(Scale::through(wrong.0, wrong.1).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_named_number_is_its_name_and_one_without_a_name_its_digits() {
    let names = || {
        let names = [(0, "off"), (1, "heating"), (-3, "fault")];
        Names::Values(
            names
                .into_iter()
                .map(|(n, name)| (n, name.into()))
                .collect(),
        )
    };
    let text = |text: &str| Value::Text(text.into());
    let state = named("i16", names());
    assert_eq!(state.decode(&[1]), Ok(text("heating")));
    assert_eq!(state.decode(&[0xfffd]), Ok(text("fault")));
    assert_eq!(state.decode(&[7]), Ok(text("7")));
    assert_eq!(words(&state, &text("fault")), [0xfffd]);
    assert_eq!(words(&state, &text("7")), [7]);
    assert_eq!(words(&state, &Value::I64(1)), [1]);
    let unknown = state.encode(&text("cooling")).unwrap_err().to_string();
    assert!(unknown.contains("\"heating\""), "{unknown}");
    assert_eq!(
        named("u64", names()).decode(&[u16::MAX; 4]),
        Ok(text("18446744073709551615"))
    );
    let mut flag = named("bool", names());
    flag.is_bit = true;
    assert_eq!(flag.decode_bit(true), text("heating"));
    assert_eq!(flag.encode(&text("off")), Ok(Encoded::Coil(false)));
}

#[test]
fn bits_with_names_stay_a_number_and_are_explained_for_people() {
    let names = [(0, "overtemp"), (3, "door")];
    let names = Names::Bits(
        names
            .into_iter()
            .map(|(n, name)| (n, name.into()))
            .collect(),
    );
    let alarms = named("u16", names.clone());
    let value = alarms.decode(&[0b1_0000_1001]).unwrap();
    assert_eq!(value, Value::U64(0x109));
    assert_eq!(names.explain(&value).unwrap(), "overtemp, door, bit 8");
    assert_eq!(names.explain(&Value::U64(0)).unwrap(), "none");
}

#[test]
fn what_does_not_fit_says_why() {
    let mut limited = scaled("i16", 0.1);
    limited.range = Some(0.0..=50.0);
    let cases = [
        (codec("u16", "AB"), Value::I64(-1), "too large or too small"),
        (codec("u16", "AB"), Value::F64(1.5), "not a whole number"),
        (codec("u16", "AB"), Value::Bool(true), "a number"),
        (codec("bcd16", "AB"), Value::U64(10_000), "too large"),
        (codec("q8.8", "AB"), Value::F64(128.0), "too large"),
        (codec("f16", "AB"), Value::F64(70_000.0), "too large"),
        (codec("f32", "ABCD"), Value::F64(1e39), "too large"),
        (codec("f64", "ABCD"), Value::F64(f64::NAN), "not finite"),
        (
            codec("epoch32", "ABCD"),
            Value::I64(-1000),
            "too large or too small",
        ),
        (
            codec("epoch32", "ABCD"),
            Value::Text("now".into()),
            "milliseconds",
        ),
        (codec("string:2", "AB"), Value::Text("a\0b".into()), "NUL"),
        (codec("string:2", "AB"), Value::U64(1), "a text"),
        (codec("bool", "AB"), Value::U64(1), "true or false"),
        (limited, Value::F64(50.1), "range 0 to 50"),
    ];
    for (codec, value, hint) in cases {
        let error = codec.encode(&value).unwrap_err().to_string();
        assert!(error.contains(hint), "{value:?}: {error}");
    }
}

#[test]
fn what_is_read_back_is_compared_within_the_resolution() {
    let tenths = scaled("u16", 0.1);
    assert!(tenths.is_same(&Value::F64(21.54), &Value::F64(21.5)));
    assert!(!tenths.is_same(&Value::F64(21.54), &Value::F64(21.6)));
    let float = codec("f32", "ABCD");
    assert!(float.is_same(&Value::F64(0.1), &Value::F64(0.1f32.into())));
    assert!(!float.is_same(&Value::F64(0.1), &Value::F64(0.1001)));
    let text = codec("string:4", "AB");
    assert!(text.is_same(&Value::Text("ab ".into()), &Value::Text("ab".into())));
}

proptest! {
    /// Whatever a point reads, writing it back gives the same registers: for every type, order and scale,
    /// as far as `f64` holds the number exactly.
    #[test]
    fn writing_what_was_read_changes_nothing(
        bits: u64, pick in 0usize..19, order in 0usize..8, places in 0i32..4, offset in -100i32..100,
    ) {
        let raw = [
            "i16", "u16", "i32", "u32", "i64", "u64", "f16", "f32", "f64", "bcd16", "bcd32", "q8.8",
            "uq16.16", "q2.62", "epoch32", "epoch64", "epoch64ms", "string:3", "q1.31",
        ][pick];
        let mut plain = codec(raw, ORDERS_64[order]);
        let width = usize::from(plain.raw.registers());
        let registers: Vec<u16> = bits.to_be_bytes().chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]])).take(width).collect();
        let exact = |codec: &Codec| match codec.decode(&registers) {
            Err(_) => Ok(()),
            Ok(Value::Text(text)) => {
                let back = words(codec, &Value::Text(text.clone()));
                prop_assert_eq!(codec.decode(&back), Ok(Value::Text(text)));
                Ok(())
            }
            Ok(value) => {
                // A fraction of 64 bits is more than a float holds.
                if raw == "q2.62" {
                    prop_assert!(codec.is_same(&value, &value));
                } else {
                    prop_assert_eq!(words(codec, &value), registers.clone());
                }
                prop_assert!(codec.is_same(&value, &value));
                Ok(())
            }
        };
        exact(&plain)?;
        if plain.raw.is_integer() && width <= 2 {
            let factor: f64 = format!("1e-{places}").parse().unwrap();
            plain.scale = Some(Scale::new(factor, f64::from(offset) / 10.0).unwrap());
            exact(&plain)?;
        }
    }

    #[test]
    fn writing_bits_leaves_the_others_as_they_are(before: u16, value: u16, first in 0u8..16, last in 0u8..16, swap: bool) {
        prop_assume!(first <= last);
        let range = BitRange::new(first, last).unwrap();
        let mut codec = codec("bits", if swap { "BA" } else { "AB" });
        codec.bits = Some(range);
        let value = Value::U64(range.of(value).into());
        let after = codec.encode(&value).unwrap().over(before).unwrap();
        prop_assert_eq!(codec.decode(&[after]), Ok(value));
        let ordered = |mask: u16| if swap { mask.swap_bytes() } else { mask };
        prop_assert_eq!((before ^ after) & !ordered(range.mask()), 0);
    }

    #[test]
    fn no_value_makes_the_encoder_panic(number: f64, int: i64, text in "\\PC{0,12}", pick in 0usize..19) {
        let raw = [
            "i16", "u16", "i32", "u32", "i64", "u64", "f16", "f32", "f64", "bcd16", "bcd32", "q8.8",
            "uq16.16", "q2.62", "epoch32", "epoch64", "epoch64ms", "string:3", "bool",
        ][pick];
        for scale in [Scale::IDENTITY, Scale::new(1e-300, 1e300).unwrap()] {
            let codec = Codec::new(&point(raw, "CDAB", scale));
            for value in [Value::F64(number), Value::I64(int), Value::Text(text.as_str().into()), Value::F64(f64::INFINITY)] {
                if let Ok(Encoded::Words(words)) = codec.encode(&value) {
                    prop_assert_eq!(words.len(), usize::from(codec.raw.registers()));
                }
            }
        }
    }
}

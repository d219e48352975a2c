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

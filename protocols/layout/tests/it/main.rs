//! Layouts by their public face: texts, values, and what happens to bytes nobody expected.

use proptest::prelude::*;
use protocols_layout::{Field, FieldError, Layout, LayoutError, WriteFieldError};
use protocols_model::{Reason, Value};

fn field(text: &str) -> Field {
    text.parse().expect(text)
}

fn decode(text: &str, payload: &[u8]) -> Result<Value, FieldError> {
    field(text).decode(payload)
}

fn refusal(text: &str) -> String {
    text.parse::<Field>().expect_err(text).to_string()
}

#[test]
fn every_type_reads_its_bytes() {
    let bytes = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0];
    let unsigned = [
        ("u8@1", 0x34),
        ("u16be@0", 0x1234),
        ("u16le@0", 0x3412),
        ("u24be@1", 0x0034_5678),
        ("u24le@1", 0x0078_5634),
        ("u32le@4", 0xf0de_bc9a),
        ("u40be@0", 0x12_3456_789a),
        ("u48le@2", 0xf0de_bc9a_7856),
        ("u64be@0", 0x1234_5678_9abc_def0),
        ("u16be@-2", 0xdef0),
        ("u16be@0.4..7", 0x3),
        ("u8@0.0..3", 2),
        ("bcd4be@0", 1234),
        ("bcd4le@0", 3412),
        ("bcd2@3", 78),
    ];
    for (text, value) in unsigned {
        assert_eq!(decode(text, &bytes), Ok(Value::U64(value)), "{text}");
    }
    for (text, value) in [
        ("i8@4", -102),
        ("i16be@4", -25924),
        ("i24le@5", -0x000f_2144),
        ("i64le@0", i64::from_le_bytes(bytes)),
    ] {
        assert_eq!(decode(text, &bytes), Ok(Value::I64(value)), "{text}");
    }
    assert_eq!(decode("bool@0.1", &bytes), Ok(Value::Bool(true)));
    assert_eq!(decode("bool@0.0", &bytes), Ok(Value::Bool(false)));
    assert_eq!(decode("u16be@0.9", &bytes), Ok(Value::Bool(true)));
    assert_eq!(decode("bool@0", &[0]), Ok(Value::Bool(false)));
    assert_eq!(decode("bool@0", &[7]), Ok(Value::Bool(true)));
    assert_eq!(
        decode("f32be@0", &1.5f32.to_be_bytes()),
        Ok(Value::F64(1.5))
    );
    assert_eq!(
        decode("f64le@0", &0.1f64.to_le_bytes()),
        Ok(Value::F64(0.1))
    );
    // IEEE 754 binary16: 1, -2, the greatest, the least subnormal.
    for (bits, value) in [
        (0x3c00u16, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (1, 2f64.powi(-24)),
    ] {
        assert_eq!(
            decode("f16le@0", &bits.to_le_bytes()),
            Ok(Value::F64(value))
        );
    }
    assert_eq!(
        decode("text8@0", b" kg\0junk"),
        Ok(Value::Text("kg".into()))
    );
    assert_eq!(
        decode("latin@0", b"21 \xb0C"),
        Ok(Value::Text("21 °C".into()))
    );
    assert_eq!(
        decode("bytes@6", &bytes),
        Ok(Value::Bytes([0xde, 0xf0].as_slice().into()))
    );
}

#[test]
fn scaled_values_sit_on_their_decimal_grid() {
    assert_eq!(
        decode("i16be@0*0.01", &2301i16.to_be_bytes()),
        Ok(Value::F64(23.01))
    );
    assert_eq!(decode("u8@0*0.5-40", &[81]), Ok(Value::F64(0.5)));
    assert_eq!(decode("u8@0+20", &[1]), Ok(Value::F64(21.0)));
    assert_eq!(decode("u8@0*1e-2", &[7]), Ok(Value::F64(0.07)));
    assert_eq!(decode("bcd4be@0*0.1", &[0x12, 0x34]), Ok(Value::F64(123.4)));
    assert_eq!(decode("u8@0.4..7*10", &[0x35]), Ok(Value::F64(30.0)));
}

#[test]
fn what_is_no_reading_says_why() {
    let none = decode("i16le@0*0.01!0x8000", &[0, 0x80]).unwrap_err();
    assert_eq!(
        (none, none.reason()),
        (FieldError::NoReading(0x8000), Reason::DeviceError)
    );
    assert_eq!(
        decode("i16le@0!-32768", &[0, 0x80]),
        Err(FieldError::NoReading(0x8000))
    );
    assert_eq!(
        decode("u8@0!255!254", &[254]),
        Err(FieldError::NoReading(254))
    );
    let short = decode("u16le@3", &[0; 4]).unwrap_err();
    assert_eq!(
        (short, short.reason()),
        (FieldError::TooShort { len: 4, end: 5 }, Reason::Undecodable)
    );
    assert_eq!(
        decode("u8@-3", &[0; 2]),
        Err(FieldError::TooShort { len: 2, end: 3 })
    );
    assert_eq!(decode("u8@0?2..", &[1]), Err(FieldError::Absent(1)));
    assert_eq!(
        decode("u8@0?2..3", &[1, 2, 3, 4]),
        Err(FieldError::Absent(4))
    );
    assert_eq!(decode("u8@0?2", &[1, 2]), Ok(Value::U64(1)));
    assert_eq!(decode("bcd2@0", &[0x1a]), Err(FieldError::NotBcd));
    assert_eq!(
        decode("f32le@0", &f32::NAN.to_le_bytes()),
        Err(FieldError::NotFinite)
    );
    assert_eq!(decode("text@0", &[0xff]), Err(FieldError::NotUtf8));
    assert_eq!(
        decode("bytes@0", &[0; 5000]),
        Err(FieldError::TooLong(5000))
    );
}

#[test]
fn a_wrong_text_is_told_what_is_allowed() {
    for (text, says) in [
        ("u16le", "TYPE@OFFSET"),
        ("@4", "TYPE@OFFSET"),
        ("u12@0", "u8 to u64"),
        ("f24le@0", "f16, f32, f64"),
        ("u16@0", "\"u16le\""),
        ("u8be@0", "leave out"),
        ("text8le@0", "leave out"),
        ("text0@0", "1 to 4096"),
        ("bcd3be@0", "even number"),
        ("u8@4096", "0 to 4095"),
        ("u8@-0", "-1 to -4095"),
        ("u8@+1", "0 to 4095"),
        ("u16le@-1", "begins 1 bytes before the end"),
        ("u8@0.8", ".0 to .7"),
        ("u8@0.3..2", ".0..7"),
        ("bool@0.1..2", ".0 to .7"),
        ("i16le@0.3", "unsigned integer"),
        ("u8@0*", "*0.01"),
        ("u8@0*x", "*0.01"),
        ("u8@0*0", "other than 0"),
        ("text@0*2", "cannot be scaled"),
        ("bool@0.2*2", "cannot be scaled"),
        ("u8@0!256", "fits the type"),
        ("u8@0!0x1ff", "fits the type"),
        ("text@0!0", "fits the type"),
        ("u8@0!1!2!3!4!5", "at most 4"),
        ("u8@0?", "?6.."),
        ("u8@0?9..2", "?6.."),
    ] {
        let error = refusal(text);
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn a_value_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut payload = [0xaa; 4];
    let write = |text: &str, value: Value, payload: &mut [u8]| field(text).write(&value, payload);
    let range = write("i8@0*0.5", Value::F64(64.0), &mut payload).unwrap_err();
    assert_eq!(
        range.to_string(),
        "64 does not fit the field; it holds -64 to 63.5"
    );
    for (text, value) in [
        ("u8@0", Value::U64(256)),
        ("u8@0", Value::I64(1)),
        ("u8@0", Value::F64(1.0)),
        ("u8@0*0.5", Value::F64(f64::NAN)),
        ("f32le@0", Value::F64(1e39)),
        ("f16le@0", Value::F64(65520.0)),
        ("bcd2@0", Value::U64(100)),
        ("text2@0", Value::Text("abc".into())),
        ("text4@0", Value::Text(" a".into())),
        ("latin4@0", Value::Text("€".into())),
        ("bytes2@0", Value::Bytes([1].as_slice().into())),
        ("u8@0!7", Value::U64(7)),
        ("u32le@1", Value::U64(1)),
    ] {
        assert!(write(text, value, &mut payload).is_err(), "{text}");
        assert_eq!(payload, [0xaa; 4], "{text}");
    }
    assert!(matches!(
        write("u8@9", Value::U64(1), &mut payload),
        Err(WriteFieldError::Place(FieldError::TooShort { .. }))
    ));
}

#[test]
fn single_bits_are_written_without_their_neighbours() {
    let mut payload = [0b1010_1010, 0xff];
    field("bool@0.0")
        .write(&Value::Bool(true), &mut payload)
        .unwrap();
    field("u16be@0.12..14")
        .write(&Value::U64(0b101), &mut payload)
        .unwrap();
    assert_eq!(payload, [0b1101_1011, 0xff]);
    assert_eq!(
        field("i16le@2*0.1").encode(&Value::F64(21.5)),
        Ok(vec![0, 0, 215, 0])
    );
    assert_eq!(
        field("text@1").encode(&Value::Text("on".into())),
        Ok(b"\0on".to_vec())
    );
}

#[test]
fn a_layout_decodes_each_field_by_itself() {
    let fields = [("t", "i16le@0*0.01"), ("rh", "u8@2"), ("far", "u8@9")];
    let layout = Layout::new(fields.map(|(name, text)| (name, field(text)))).unwrap();
    let values: Vec<_> = layout.decode(&[0x09, 0x09, 55]).collect();
    assert_eq!(values[0], ("t", Ok(Value::F64(23.13))));
    assert_eq!(values[1], ("rh", Ok(Value::U64(55))));
    assert!(values[2].1.is_err());
    let twice = Layout::new([("a", field("u8@0")), ("a", field("u8@1"))]);
    assert_eq!(twice, Err(LayoutError::Twice("a".into())));
}

/// Texts of fields, most of them valid.
fn field_text() -> impl Strategy<Value = String> {
    let integer = prop::sample::select(vec!["8", "16", "24", "32", "40", "48", "64"]);
    let typed = prop_oneof![
        (prop::sample::select(vec!["u", "i"]), integer).prop_map(|(s, w)| format!("{s}{w}")),
        prop::sample::select(vec![
            "f16", "f32", "f64", "bool", "text", "bytes", "latin", "bcd2"
        ])
        .prop_map(str::to_owned),
        (1u16..40).prop_map(|n| format!("text{n}")),
        (1u16..9).prop_map(|n| format!("bcd{}", n * 2)),
    ];
    let order = prop::sample::select(vec!["", "le", "be"]);
    let offset = -12i32..12;
    let bits = prop_oneof![
        4 => Just(String::new()),
        1 => (0u8..16).prop_map(|b| format!(".{b}")),
        1 => (0u8..8, 0u8..16).prop_map(|(a, b)| format!(".{a}..{b}")),
    ];
    let scale = prop::sample::select(vec!["", "", "*0.01", "*-2.5", "*1e-3+20", "-40", "*10+0.5"]);
    let invalid = prop::sample::select(vec!["", "", "!0x80", "!-1", "!0", "!0x7f!5"]);
    let lengths = prop::sample::select(vec!["", "", "?6", "?4..", "?..9", "?2..6"]);
    (typed, order, offset, bits, scale, invalid, lengths)
        .prop_map(|(t, o, at, b, s, i, l)| format!("{t}{o}@{at}{b}{s}{i}{l}"))
}

proptest! {
    #[test]
    fn a_text_that_parses_prints_as_one_that_parses_to_the_same(text in field_text()) {
        if let Ok(field) = text.parse::<Field>() {
            let printed = field.to_string();
            prop_assert_eq!(printed.parse::<Field>(), Ok(field.clone()), "{}", &printed);
            prop_assert_eq!(printed.parse::<Field>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn no_text_and_no_payload_makes_it_panic(
        text in "[ubfi]?[0-9a-z@.*+!?x-]{0,12}", payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        if let Ok(field) = text.parse::<Field>() {
            drop(field.decode(&payload));
        }
    }

    #[test]
    fn a_decoded_value_has_the_type_of_its_field_and_writes_back_as_itself(
        text in field_text(), payload in prop::collection::vec(any::<u8>(), 0..24),
    ) {
        let Ok(field) = text.parse::<Field>() else { return Ok(()) };
        let Ok(value) = field.decode(&payload) else { return Ok(()) };
        prop_assert_eq!(value.value_type(), field.value_type());
        let mut copy = payload.clone();
        match field.write(&value, &mut copy) {
            Ok(()) => {
                let back = field.decode(&copy).unwrap();
                match (&value, &back) {
                    // Scaled 64-bit numbers have more digits than f64.
                    (Value::F64(a), Value::F64(b)) => {
                        prop_assert!((a - b).abs() <= a.abs() * 1e-6 + 1e-9, "{} {}", a, b);
                    }
                    _ => prop_assert_eq!(&back, &value),
                }
            }
            // Only at the rim, where the float of a scaled integer rounds past it.
            Err(e) => prop_assert!(matches!(value, Value::F64(_)), "{} {:?} {}", text, value, e),
        }
        drop(field.encode(&value));
    }

    #[test]
    fn bytes_outside_the_field_stay_as_they_are(
        number: u16, at in 0usize..6, payload in prop::collection::vec(any::<u8>(), 8),
    ) {
        let field = field(&format!("u16le@{at}"));
        let mut copy = payload.clone();
        field.write(&Value::U64(number.into()), &mut copy).unwrap();
        for (i, (before, after)) in payload.iter().zip(&copy).enumerate() {
            prop_assert!((at..at + 2).contains(&i) || before == after);
        }
        prop_assert_eq!(field.decode(&copy), Ok(Value::U64(number.into())));
    }

    #[test]
    fn half_floats_survive_writing(bits: u16) {
        let half = field("f16be@0");
        if let Ok(value) = half.decode(&bits.to_be_bytes()) {
            prop_assert_eq!(half.encode(&value), Ok(bits.to_be_bytes().to_vec()));
        }
    }
}

use super::*;
use proptest::prelude::*;

fn sample(words: &[u16]) -> Sample {
    Sample {
        space: Space::Holding,
        start: 100,
        words: words.to_vec(),
    }
}

fn shown(text: &str) -> Expected {
    text.parse().unwrap()
}

fn words_of(bits: u64, registers: usize, order: Order) -> Vec<u16> {
    let bytes = bits.to_be_bytes();
    let bytes = &bytes[8 - 2 * registers..];
    let sent: Vec<u8> = (0..bytes.len())
        .map(|at| bytes[order.byte_at(at, bytes.len())])
        .collect();
    sent.chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect()
}

#[test]
fn a_display_says_how_exactly_it_means_its_number() {
    for (text, half) in [("231.4", 0.05), ("231,40", 0.005), ("12", 0.5)] {
        assert!((shown(text).half_digit - half).abs() < 1e-12, "{text}");
    }
    assert!("volts".parse::<Expected>().is_err());
    assert!("inf".parse::<Expected>().is_err());
}

#[test]
fn a_word_swapped_float_is_found_among_noise_and_gives_its_line() {
    let word_swapped: Order = "CDAB".parse().unwrap();
    let read = |value: f32| {
        let mut words = vec![7, 40_000, 12_345];
        words.extend(words_of(value.to_bits().into(), 2, word_swapped));
        words.extend([1, 65_535]);
        sample(&words)
    };
    let samples = [read(231.38), read(231.42), read(231.5)];
    let best = rank(&samples, shown("231.4"), 5).remove(0);
    assert!(best.is_hit());
    assert_eq!(
        best.line("voltage"),
        "{ id = \"voltage\", at = \"hr:103\", as = \"f32\", order = \"CDAB\" },"
    );
    assert_eq!(best.values.len(), 3);
}

#[test]
fn a_scaled_integer_is_found_with_its_scale() {
    let best = rank(&[sample(&[0, 2314, 5])], shown("231.4"), 3).remove(0);
    assert_eq!(
        best.line("u"),
        "{ id = \"u\", at = \"hr:101\", as = \"u16\", scale = 0.1 },"
    );
}

#[test]
fn a_steady_place_goes_before_one_that_leaps() {
    let samples = [
        sample(&[2314, 2314]),
        sample(&[60_001, 2313]),
        sample(&[9, 2315]),
    ];
    let best = rank(&samples, shown("231.4"), 1).remove(0);
    assert_eq!(best.address.register, 101);
}

#[test]
fn nothing_near_gives_nothing() {
    assert!(rank(&[sample(&[0, 0, 0])], shown("98765.4"), 9).is_empty());
    assert!(rank(&[], shown("1"), 9).is_empty());
}

proptest! {
    #[test]
    fn what_a_device_holds_is_among_the_best_whatever_its_order(
        value in 1000u32..4_000_000,
        order in prop::sample::select(vec!["ABCD", "CDAB", "BADC", "DCBA"]),
        scale in prop::sample::select(vec![1.0, 0.1, 0.01]),
        before in prop::collection::vec(any::<u16>(), 0..4),
    ) {
        let order: Order = order.parse().unwrap();
        let mut words = before.clone();
        words.extend(words_of(value.into(), 2, order));
        let text = format!("{:.*}", if scale < 0.05 { 2 } else { usize::from(scale < 0.5) }, f64::from(value) * scale);
        let found = rank(&[sample(&words)], shown(&text), 400);
        let at = 100 + u16::try_from(before.len()).unwrap();
        prop_assert!(found.iter().any(|c| c.is_hit()
            && c.address.register == at
            && c.raw == RawType::U32
            && c.order.swap_bytes == order.swap_bytes
            && c.order.swap_words == order.swap_words
            && (c.scale - scale).abs() < 1e-12), "{text} {words:?}");
        for pair in found.windows(2) {
            prop_assert!(pair[0].score <= pair[1].score);
        }
    }

    #[test]
    fn any_registers_rank_without_a_panic(words in prop::collection::vec(any::<u16>(), 0..40), value: f64) {
        let expected = Expected { value, half_digit: 0.05 };
        drop(rank(&[sample(&words), sample(&words)], expected, 10));
        for candidate in side_by_side(&[sample(&words)]) {
            let line = candidate.line("x");
            prop_assert!(line.contains("id = \"x\""), "{}", line);
        }
    }
}

use super::*;
use proptest::prelude::*;

fn sample(seconds: i64, value: Value) -> Sample {
    Sample {
        time: Timestamp::from_millis(seconds * 1000),
        value: Some(value),
        quality: Quality::Good,
    }
}

fn at(seconds: u64) -> Instant {
    Instant(Duration::from_secs(seconds))
}

fn once(treatment: Treatment, value: Value) -> Sample {
    let mut out = Vec::new();
    Guard::new(vec![treatment]).take(at(0), sample(0, value), Some(48.0), &mut |s| {
        out.push(s);
    });
    out.pop().unwrap()
}

#[test]
fn numbers_are_rounded_in_their_own_type() {
    let rounded = |step, value| once(Treatment::Round(step), value).value.unwrap();
    assert_eq!(rounded(0.5, Value::F64(21.3)), Value::F64(21.5));
    assert_eq!(rounded(10.0, Value::I64(-17)), Value::I64(-20));
    assert_eq!(
        rounded(1000.0, Value::U64(u64::MAX - 500)),
        Value::U64(18_446_744_073_709_551_000)
    );
}

#[test]
fn what_cannot_be_treated_does_not_leave_raw() {
    for (treatment, value) in [
        (
            Treatment::Latitude(Grid::new(1000.0).unwrap()),
            Value::F64(95.0),
        ),
        (Treatment::Round(1.0), Value::Text("secret".into())),
        (Treatment::Round(1000.0), Value::U64(u64::MAX)),
        (
            Treatment::Latitude(Grid::new(1000.0).unwrap()),
            Value::Text("secret".into()),
        ),
    ] {
        let left = once(treatment, value);
        assert_eq!(left.value, None);
        assert!(left.quality.is_bad());
    }
    let mut out = Vec::new();
    let mut guard = Guard::new(vec![Treatment::Longitude(Grid::new(1000.0).unwrap())]);
    guard.take(at(0), sample(0, Value::F64(11.0)), None, &mut |s| {
        out.push(s);
    });
    assert_eq!(out[0].value, None, "a longitude without its latitude");
}

#[test]
fn a_bucket_of_time_tells_one_value_when_it_is_over() {
    let mut guard = Guard::new(vec![Treatment::Time(Duration::from_secs(60))]);
    let mut out = Vec::new();
    let mut replaced = 0;
    for second in [10, 30, 50] {
        let value = Value::I64(second);
        let sink = &mut |s: Sample| out.push(s);
        replaced += u32::from(guard.take(
            at(100 + u64::try_from(second).unwrap()),
            sample(second, value),
            None,
            sink,
        ));
    }
    assert_eq!((out.len(), replaced), (0, 2));
    assert_eq!(guard.due(), Some(at(160)));
    guard.tick(at(160), &mut |s| {
        out.push(s);
    });
    assert_eq!(out, [sample(0, Value::I64(50))]);
    assert_eq!(guard.due(), None);
    // What a filter held back of a bucket that was told does not tell it again.
    let late = sample(55, Value::I64(7));
    assert!(guard.take(at(161), late, None, &mut |s| {
        out.push(s);
    }));
    assert_eq!((out.len(), guard.holds()), (1, false));
    // A clock that steps ends the bucket; a stop lets go what waits.
    guard.take(at(170), sample(70, Value::I64(1)), None, &mut |s| {
        out.push(s);
    });
    guard.take(at(171), sample(7000, Value::I64(2)), None, &mut |s| {
        out.push(s);
    });
    assert_eq!(out.len(), 2);
    guard.flush(&mut |s| {
        out.push(s);
    });
    assert_eq!(out.len(), 3);
    assert!(!guard.holds());
}

#[test]
fn treatments_that_do_not_go_with_a_point_are_refused() {
    let key = PseudonymKey::new(&[1; 32], "g", None).unwrap();
    let refused = |treatment: Treatment, of| treatment.check(of).unwrap_err();
    refused(Treatment::Round(1.0), ValueType::Text);
    refused(Treatment::Round(0.0), ValueType::F64);
    refused(Treatment::Round(0.5), ValueType::I64);
    refused(Treatment::Time(Duration::from_millis(5)), ValueType::F64);
    refused(Treatment::Pseudonym(Box::new(key.clone())), ValueType::F64);
    refused(Treatment::Latitude(Grid::new(5.0).unwrap()), ValueType::I64);
    Treatment::Pseudonym(Box::new(key))
        .check(ValueType::Text)
        .unwrap();
}

proptest! {
    #[test]
    fn rounding_tells_no_more_than_its_step(x in any::<i64>(), step in 1u32..1_000_000) {
        let left = once(Treatment::Round(step.into()), Value::I64(x));
        if let Some(Value::I64(rounded)) = left.value {
            prop_assert_eq!(rounded % i64::from(step), 0);
            prop_assert!(rounded.abs_diff(x) <= u64::from(step));
        }
    }
}

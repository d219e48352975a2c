use super::*;
use proptest::prelude::*;

const STEP: Duration = Duration::from_secs(10);

fn spec(size: u64, aggregates: &[Aggregate]) -> WindowSpec {
    WindowSpec {
        size: Duration::from_secs(size),
        step: STEP,
        aggregates: aggregates.to_vec(),
        late: Duration::from_secs(3600),
        min_count: 0,
    }
}

#[test]
fn a_group_that_is_too_small_tells_nothing_not_even_its_size() {
    let (now, wall) = at(0.0);
    let spec = WindowSpec {
        min_count: 3,
        ..spec(10, &[Aggregate::Mean, Aggregate::Count])
    };
    let mut window = Window::new(spec, ValueType::F64, STEP, now, wall).unwrap();
    let samples: Vec<_> = [1.0, 2.0, 3.0, 11.0, 12.0]
        .map(|seconds| (seconds, good(seconds, Value::F64(seconds))))
        .into();
    let results = run(&mut window, &samples, 20.0);
    assert_eq!(floats(&results), [Some(2.0), Some(3.0), None, None]);
    assert!(results[2..].iter().all(|(_, s)| s.quality.is_bad()));
}

#[test]
fn memory_grows_with_panes_and_with_kept_readings() {
    let second = Duration::from_secs(1);
    let plain = spec(600, &[Aggregate::Mean]).bytes(second);
    assert_eq!(plain, spec(600, &[Aggregate::Mean]).bytes(second / 10));
    assert_eq!(spec(1200, &[Aggregate::Mean]).bytes(second), 2 * plain);
    let kept = spec(600, &[Aggregate::Percentile(50.0)]).bytes(second);
    assert_eq!(kept, plain + 600 * 8);
}

fn at(seconds: f64) -> (Instant, Timestamp) {
    let span = Duration::from_secs_f64(seconds);
    (
        Instant(span),
        Timestamp::from_millis(1_700_000_000_000).plus(span),
    )
}

fn window(size: u64, aggregates: &[Aggregate], of: ValueType) -> Window {
    let (now, wall) = at(0.0);
    let spec = spec(size, aggregates);
    Window::new(spec, of, Duration::from_secs(1), now, wall).unwrap()
}

fn good(seconds: f64, value: Value) -> Sample {
    Sample {
        time: at(seconds).1,
        value: Some(value),
        quality: Quality::Good,
    }
}

/// Feeds samples and closes what is due until `end`; results in their order.
fn run(window: &mut Window, samples: &[(f64, Sample)], end: f64) -> Vec<(usize, Sample)> {
    let mut results = Vec::new();
    let mut close = |window: &mut Window, until: f64| {
        // As the task does it: at each border, not long after it.
        while window.due() <= at(until).0 {
            let (now, wall) = at(window.due().0.as_secs_f64());
            window.tick(now, wall, &mut |place, sample| {
                results.push((place, sample));
            });
        }
    };
    for (seconds, sample) in samples {
        close(window, *seconds);
        let (now, wall) = at(*seconds);
        window.take(now, wall, sample);
    }
    close(window, end);
    results
}

fn floats(results: &[(usize, Sample)]) -> Vec<Option<f64>> {
    let value = |(_, sample): &(usize, Sample)| sample.value.as_ref().and_then(Value::as_f64);
    results.iter().map(value).collect()
}

#[test]
fn each_aggregate_says_what_its_name_says() {
    let aggregates = [
        Aggregate::Min,
        Aggregate::Max,
        Aggregate::Mean,
        Aggregate::Last,
        Aggregate::Count,
        Aggregate::Deviation,
        Aggregate::Percentile(50.0),
        Aggregate::TimeMean,
    ];
    let mut window = window(10, &aggregates, ValueType::F64);
    let samples: Vec<_> = [(1.0, 4.0), (2.0, 2.0), (3.0, 9.0), (8.0, 5.0)]
        .map(|(t, v)| (t, good(t, Value::F64(v))))
        .to_vec();
    let results = run(&mut window, &samples, 10.0);
    let mean = 5.0;
    let deviation = ((1.0f64 + 9.0 + 16.0 + 0.0) / 3.0).sqrt();
    let time_mean = (4.0 + 2.0 + 9.0 * 5.0 + 5.0 * 2.0) / 9.0;
    let expected = [2.0, 9.0, mean, 5.0, 4.0, deviation, 4.0, time_mean];
    for ((place, sample), expected) in results.iter().zip(expected) {
        let value = sample.value.as_ref().unwrap().as_f64().unwrap();
        assert!(
            (value - expected).abs() < 1e-9,
            "{:?}: {value}",
            aggregates[*place]
        );
        assert_eq!(sample.time, at(10.0).1, "stamped with the border");
        assert_eq!(sample.quality, Quality::Good);
    }
    assert_eq!(results.len(), aggregates.len());
}

#[test]
fn a_value_holds_over_the_border_and_an_empty_window_has_a_time_mean() {
    let mut window = window(10, &[Aggregate::TimeMean, Aggregate::Mean], ValueType::F64);
    let results = run(&mut window, &[(9.0, good(9.0, Value::F64(7.0)))], 30.0);
    let seven = Some(7.0);
    assert_eq!(floats(&results), [seven, seven, seven, None, seven, None]);
    assert!(results[3].1.quality.is_bad());
}

#[test]
fn time_in_a_state_adds_up_per_state_and_stops_while_bad() {
    let aggregates = [true, false].map(|state| Aggregate::TimeIn(Value::Bool(state)));
    let mut window = window(10, &aggregates, ValueType::Bool);
    let bad = Sample {
        time: at(8.0).1,
        value: None,
        quality: Quality::Bad(Reason::Timeout),
    };
    let samples = [
        (0.0, good(0.0, Value::Bool(true))),
        (3.0, good(3.0, Value::Bool(false))),
        (8.0, bad),
    ];
    let results = run(&mut window, &samples, 10.0);
    assert_eq!(floats(&results), [Some(3.0), Some(5.0)]);
    assert_eq!(results[0].1.quality, Quality::Uncertain(Reason::Timeout));
}

#[test]
fn a_sliding_window_reaches_back_over_its_size() {
    let mut window = window(30, &[Aggregate::Max], ValueType::I64);
    let samples = [
        (5.0, good(5.0, Value::I64(9))),
        (15.0, good(15.0, Value::I64(3))),
    ];
    let results = run(&mut window, &samples, 50.0);
    let values: Vec<_> = results.iter().map(|(_, s)| s.value.clone()).collect();
    let nine = Some(Value::I64(9));
    let three = Some(Value::I64(3));
    assert_eq!(values, [nine.clone(), nine.clone(), nine, three, None]);
}

#[test]
fn a_late_reading_is_left_out_and_counted() {
    let mut window = window(10, &[Aggregate::Count], ValueType::F64);
    window.spec.late = Duration::from_secs(2);
    let mut old = good(1.0, Value::F64(1.0));
    old.time = at(0.0).1;
    let samples = [(1.0, good(1.0, Value::F64(1.0))), (5.0, old)];
    let results = run(&mut window, &samples, 10.0);
    assert_eq!(results[0].1.value, Some(Value::U64(1)));
    assert_eq!(window.late(), 1);
}

#[test]
fn borders_lie_at_whole_steps_of_the_wall_clock_and_do_not_jump_with_it() {
    let (now, wall) = (
        Instant(Duration::from_secs(3)),
        Timestamp::from_millis(1_700_000_004_000),
    );
    let spec = spec(10, &[Aggregate::Count]);
    let mut window = Window::new(spec, ValueType::F64, STEP, now, wall).unwrap();
    assert_eq!(window.due(), Instant(Duration::from_secs(9)));
    let mut stamps = Vec::new();
    let stepped = Timestamp::from_millis(0);
    window.tick(Instant(Duration::from_secs(9)), stepped, &mut |_, s| {
        stamps.push(s.time);
    });
    assert_eq!(stamps, [stepped]);
    assert_eq!(window.due(), Instant(Duration::from_secs(19)));
}

#[test]
fn a_machine_that_slept_does_not_give_a_thousand_results() {
    let mut window = window(30, &[Aggregate::Count], ValueType::F64);
    run(&mut window, &[(1.0, good(1.0, Value::F64(1.0)))], 1.0);
    let (now, wall) = at(1e6 + 5.0);
    let mut counts = Vec::new();
    window.tick(now, wall, &mut |_, sample| {
        counts.push(sample.value.unwrap());
    });
    let counted = counts
        .iter()
        .filter(|count| **count == Value::U64(1))
        .count();
    assert_eq!(
        counted, 3,
        "the reading is in each of the windows it belongs to"
    );
    assert!(counts.len() <= 5, "{}", counts.len());
    assert!(window.due() > now && window.due() <= now.plus(STEP));
}

#[test]
fn windows_that_cannot_be_are_refused_with_the_reason() {
    let check = |change: fn(&mut WindowSpec), of| {
        let mut spec = spec(30, &[Aggregate::Mean]);
        change(&mut spec);
        spec.check(of, Duration::from_secs(1))
    };
    let float = ValueType::F64;
    assert_eq!(check(|_| (), float), Ok(()));
    assert!(matches!(
        check(|s| s.size = Duration::from_secs(35), float),
        Err(WindowError::Uneven(..))
    ));
    assert!(matches!(
        check(|s| s.size = STEP * 601, float),
        Err(WindowError::TooManyPanes(601))
    ));
    assert!(matches!(
        check(|s| s.aggregates.clear(), float),
        Err(WindowError::Empty)
    ));
    assert!(matches!(
        check(|_| (), ValueType::Text),
        Err(WindowError::Type(..))
    ));
    let long = |s: &mut WindowSpec| {
        s.size = Duration::from_secs(86_400);
        s.step = s.size;
        s.aggregates = vec![Aggregate::Percentile(95.0)];
    };
    assert!(matches!(
        check(long, float),
        Err(WindowError::TooManyKept(86_400))
    ));
}

proptest! {
    /// Whatever the panes, the results are those of the plain formulas over the window's readings.
    #[test]
    fn panes_merge_to_what_the_plain_formulas_give(
        values in prop::collection::vec((0u32..60_000, -1e6f64..1e6), 1..60),
        steps in 1u64..6,
    ) {
        let mut values = values;
        values.sort_by_key(|(millis, _)| *millis);
        let aggregates = [Aggregate::Count, Aggregate::Mean, Aggregate::Deviation, Aggregate::Min, Aggregate::Percentile(90.0)];
        let mut window = window(10 * steps, &aggregates, ValueType::F64);
        let samples: Vec<_> = values
            .iter()
            .map(|(millis, v)| (f64::from(*millis) / 1000.0, good(f64::from(*millis) / 1000.0, Value::F64(*v))))
            .collect();
        let results = run(&mut window, &samples, 60.0);
        for (step, chunk) in results.chunks(aggregates.len()).enumerate() {
            let end = (u32::try_from(step).unwrap() + 1) * 10_000;
            let start = end.saturating_sub(u32::try_from(steps).unwrap() * 10_000);
            let mut inside: Vec<f64> = values.iter().filter(|(t, _)| (start..end).contains(t)).map(|(_, v)| *v).collect();
            inside.sort_by(f64::total_cmp);
            let n = inside.len() as f64;
            let rank = (inside.len() * 9).div_ceil(10);
            let mean = inside.iter().sum::<f64>() / n;
            let squares: f64 = inside.iter().map(|v| (v - mean).powi(2)).sum();
            let got = floats(chunk);
            prop_assert_eq!(got[0], Some(n));
            let near = |a: Option<f64>, b: f64| a.is_some_and(|a| (a - b).abs() <= 1e-6 * (1.0 + b.abs()));
            if inside.is_empty() {
                prop_assert_eq!(&got[1..], &[None; 4]);
            } else {
                prop_assert!(near(got[1], mean));
                prop_assert!(inside.len() < 2 || near(got[2], (squares / (n - 1.0)).sqrt()));
                prop_assert_eq!(got[3], inside.first().copied());
                prop_assert_eq!(got[4], inside.get(rank - 1).copied());
            }
        }
    }
}

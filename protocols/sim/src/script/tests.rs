//! Scripts as people write them, and what they show.

use super::*;

fn signal(text: &str) -> Signal {
    script(text).prepare(Path::new("."), 1).unwrap()
}

fn script(text: &str) -> Script {
    #[derive(Deserialize)]
    struct Holder {
        value: Script,
    }
    let holder: Holder = toml::from_str(&format!("value = {text}")).unwrap();
    holder.value
}

fn at(millis: u64, poll: u64) -> Moment {
    Moment {
        elapsed: Duration::from_millis(millis),
        poll,
    }
}

#[test]
fn constants_keep_their_kind() {
    assert_eq!(
        signal("9007199254740993").at(at(0, 0)),
        Value::Int(9_007_199_254_740_993)
    );
    assert_eq!(signal("1.5").at(at(0, 0)), Value::Float(1.5));
    assert_eq!(signal("\"AB\"").at(at(0, 0)), Value::Text("AB".into()));
    assert!(signal("true").at(at(0, 0)).is_on());
}

#[test]
fn shapes_move_with_time_or_with_polls() {
    let ramp = signal("{ ramp = { from = 0, to = 10, over = \"10s\", back = true } }");
    let values = [0, 5000, 10_000, 15_000, 20_000].map(|ms| ramp.at(at(ms, 7)).as_i64());
    assert_eq!(values, [0, 5, 10, 5, 0]);
    let sine = signal("{ sine = { mean = 100, amplitude = 10, period = \"4 polls\" } }");
    let values = [0, 1, 2, 3, 4].map(|poll| sine.at(at(99, poll)).as_i64());
    assert_eq!(values, [100, 110, 100, 90, 100]);
    let square = signal("{ square = { period = \"4 polls\", duty = 0.25 } }");
    assert_eq!(
        [0, 1, 2, 3, 4].map(|poll| square.at(at(0, poll)).is_on()),
        [false, false, false, true, false]
    );
    let counter = signal("{ counter = { from = 65534, wrap = 65536 } }");
    assert_eq!(
        [0, 1, 2, 3].map(|poll| counter.at(at(0, poll)).as_i64()),
        [65_534, 65_535, 0, 1]
    );
    let steps = signal("{ steps = { values = [1, 2.5, \"x\"], every = \"1s\" } }");
    assert_eq!(steps.at(at(1000, 0)), Value::Float(2.5));
    assert_eq!(steps.at(at(2000, 0)), Value::Text("x".into()));
    assert_eq!(steps.at(at(3000, 0)), Value::Int(1));
}

#[test]
fn a_course_shows_each_value_from_its_time_on_and_begins_again() {
    let course =
        signal("{ course = { at = [0, 1.5, 4], values = [1, 2.5, \"x\"], over = \"5s\" } }");
    let values = [0, 1499, 1500, 3999, 4000, 4999, 5000].map(|ms| course.at(at(ms, 7)).to_string());
    assert_eq!(values, ["1", "1", "2.5", "2.5", "x", "x", "1"]);
}

#[test]
fn noise_stays_within_its_spread_and_is_the_same_for_the_same_seed_only() {
    let text = "{ noise = { mean = 20, spread = 0.5, every = \"1 poll\" } }";
    let (noise, other) = (
        signal(text),
        script(text).prepare(Path::new("."), 2).unwrap(),
    );
    let mut differs = 0;
    for poll in 0..100 {
        let value = noise.at(at(0, poll)).as_f64();
        assert!((19.5..=20.5).contains(&value), "{value}");
        assert_eq!(noise.at(at(5, poll)), signal(text).at(at(9, poll)));
        differs += i32::from(other.at(at(0, poll)).as_f64().to_bits() != value.to_bits());
    }
    assert!(differs > 90, "{differs}");
}

#[test]
fn sums_of_whole_numbers_stay_whole() {
    let sum = signal("{ sum = [ 40, { counter = { from = 2 } } ] }");
    assert_eq!(sum.at(at(0, 0)), Value::Int(42));
    let sum = signal("{ sum = [ 40, { sine = { amplitude = 1, period = \"4 polls\" } } ] }");
    assert_eq!(sum.at(at(0, 1)), Value::Float(41.0));
}

#[test]
fn a_script_that_cannot_be_played_is_refused_with_what_is_allowed() {
    let refused = |text: &str| {
        let error = script(text).prepare(Path::new("."), 0).unwrap_err();
        error.to_string()
    };
    assert!(refused("nan").contains("finite"));
    assert!(refused("{ square = { duty = 1.5 } }").contains("0 to 1"));
    assert!(refused("{ counter = { wrap = 0 } }").contains("above 0"));
    assert!(refused("{ steps = { values = [] } }").contains("at least one"));
    assert!(refused("{ sum = [] }").contains("at least one"));
    for wrong in [
        "at = [], values = []",
        "at = [0, 1], values = [1]",
        "at = [1, 2], values = [1, 2]",
        "at = [0, 2, 2], values = [1, 2, 3]",
        "at = [0, 9], values = [1, 2]",
    ] {
        let text = format!("{{ course = {{ {wrong}, over = \"5s\" }} }}");
        assert!(refused(&text).contains("rising"), "{wrong}");
    }
    assert!(refused("{ recording = { file = \"no.csv\", column = \"u\" } }").contains("no.csv"));
    let unknown = toml::from_str::<Script>("saw = {}")
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("ramp") && unknown.contains("recording"),
        "{unknown}"
    );
}

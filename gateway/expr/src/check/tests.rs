use super::*;
use crate::program::{Image, Input, Outcome, Scratch};
use proptest::prelude::*;
use protocols_model::{Quality, Reason, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Points by name, with a reading each.
#[derive(Default)]
struct Site(BTreeMap<&'static str, (u32, Option<Value>, Quality)>);

impl Site {
    fn with(mut self, name: &'static str, value: Value) -> Self {
        let key = u32::try_from(self.0.len()).unwrap();
        self.0.insert(name, (key, Some(value), Quality::Good));
        self
    }

    fn quality(mut self, name: &'static str, quality: Quality) -> Self {
        self.0.get_mut(name).unwrap().2 = quality;
        self
    }
}

impl Names for Site {
    fn find(&self, name: &str) -> Option<(PointKey, ValueType)> {
        let (key, value, _) = self.0.get(name)?;
        Some((PointKey(*key), value.as_ref()?.value_type()))
    }

    fn all(&self) -> Vec<String> {
        self.0.keys().map(|name| (*name).to_owned()).collect()
    }
}

impl Image for Site {
    fn input(&self, point: PointKey) -> Input<'_> {
        let found = self.0.values().find(|(key, ..)| *key == point.0).unwrap();
        Input {
            value: found.1.as_ref().filter(|_| !found.2.is_bad()),
            quality: found.2,
            age: Some(Duration::from_secs(7)),
        }
    }
}

fn site() -> Site {
    Site::default()
        .with("cellar.temperature", Value::F64(21.5))
        .with("meter-1.p_sum", Value::I64(-3000))
        .with("meter-1.energy", Value::U64(u64::MAX))
        .with("pump.running", Value::Bool(true))
        .with("pump.state", Value::Text("idle".into()))
        .with("pump.raw", Value::Bytes(vec![1].into()))
}

fn eval_at(site: &Site, source: &str) -> Outcome {
    let program = compile(source, site).unwrap_or_else(|e| panic!("{}", e.marked(source)));
    program.eval(site, &mut Scratch::default())
}

fn eval(source: &str) -> Outcome {
    eval_at(&site(), source)
}

fn good(source: &str) -> Scalar {
    match eval(source) {
        Outcome::Good(value) => value,
        other => panic!("{source}: {other:?}"),
    }
}

fn refused(source: &str) -> ExprError {
    compile(source, &site()).expect_err(source)
}

#[test]
fn arithmetic_binds_as_people_expect() {
    assert_eq!(good("1 + 2 * 3"), Scalar::Int(7));
    assert_eq!(good("(1 + 2) * 3"), Scalar::Int(9));
    assert_eq!(good("10 - 4 - 3"), Scalar::Int(3));
    assert_eq!(good("-2 * -3"), Scalar::Int(6));
    assert_eq!(good("1 / 2"), Scalar::Float(0.5));
    assert_eq!(good("div(7, 2) + 7 % 2"), Scalar::Int(4));
    assert_eq!(good("meter-1.p_sum / 1000"), Scalar::Float(-3.0));
    assert_eq!(good("meter-1.p_sum - 1"), Scalar::Int(-3001));
    assert_eq!(good("0x1F + 1_000"), Scalar::Int(1031));
    assert_eq!(good("1e3"), Scalar::Float(1000.0));
}

#[test]
fn integers_do_not_pass_through_floats() {
    let expected = i128::from(u64::MAX) * 2 - 1;
    assert_eq!(good("meter-1.energy * 2 - 1"), Scalar::Int(expected));
    assert_eq!(
        good("meter-1.energy - 1 == meter-1.energy"),
        Scalar::Bool(false)
    );
}

#[test]
fn conditions_compare_join_and_choose() {
    assert_eq!(
        good("cellar.temperature > 20 && pump.running"),
        Scalar::Bool(true)
    );
    assert_eq!(
        good("!pump.running || cellar.temperature < 20"),
        Scalar::Bool(false)
    );
    assert_eq!(good("pump.state == 'idle' ? 1 : 2.5"), Scalar::Float(1.0));
    assert_eq!(good("pump.state < \"jdle\""), Scalar::Bool(true));
    assert_eq!(good("true == (1 < 2)"), Scalar::Bool(true));
    assert_eq!(good("false ? 1 : true ? 2 : 3"), Scalar::Int(2));
}

#[test]
fn functions_do_what_their_help_says() {
    assert_eq!(good("max(1, 5, 3)"), Scalar::Int(5));
    assert_eq!(good("min(1, 0.5)"), Scalar::Float(0.5));
    assert_eq!(
        good("clamp(cellar.temperature, 0, 20)"),
        Scalar::Float(20.0)
    );
    assert_eq!(good("round(21.449, 1)"), Scalar::Float(21.4));
    assert_eq!(good("int(-1.9)"), Scalar::Int(-1));
    assert_eq!(good("bit(5, 2) && !bit(5, 1)"), Scalar::Bool(true));
    assert_eq!(
        good("interpolate(5, 0, 0, 10, 100, 20, 0)"),
        Scalar::Float(50.0)
    );
    assert_eq!(good("interpolate(-5, 0, 1, 10, 100)"), Scalar::Float(1.0));
    assert_eq!(good("interpolate(50, 0, 1, 10, 100)"), Scalar::Float(100.0));
    assert_eq!(
        good("size('größe') + int(contains(pump.state, 'dl') ? 1 : 0)"),
        Scalar::Int(6)
    );
    assert_eq!(good("age(pump.running)"), Scalar::Float(7.0));
}

#[test]
fn a_bad_input_makes_bad_only_what_depends_on_it() {
    let site = site().quality("cellar.temperature", Quality::Bad(Reason::Timeout));
    let bad = Outcome::Bad(Reason::Timeout);
    let truth = |t| Outcome::Good(Scalar::Bool(t));
    assert_eq!(eval_at(&site, "cellar.temperature > 20"), bad);
    assert_eq!(
        eval_at(&site, "pump.running && cellar.temperature > 20"),
        bad
    );
    assert_eq!(
        eval_at(&site, "cellar.temperature > 20 && !pump.running"),
        truth(false)
    );
    assert_eq!(
        eval_at(&site, "cellar.temperature > 20 || pump.running"),
        truth(true)
    );
    assert_eq!(eval_at(&site, "cellar.temperature > 20 ? 1 : 2"), bad);
    assert_eq!(eval_at(&site, "good(cellar.temperature)"), truth(false));
    assert_eq!(
        eval_at(&site, "or_else(cellar.temperature, -1)"),
        Outcome::Good(Scalar::Float(-1.0))
    );
    assert_eq!(eval_at(&site, "max(1.5, cellar.temperature)"), bad);
}

#[test]
fn an_uncertain_input_gives_an_uncertain_answer() {
    let site = site().quality("cellar.temperature", Quality::Uncertain(Reason::Stale));
    let outcome = eval_at(&site, "cellar.temperature > 20");
    assert_eq!(
        outcome,
        Outcome::Uncertain(Scalar::Bool(true), Reason::Stale)
    );
}

#[test]
fn arithmetic_without_a_result_is_bad_and_nothing_panics() {
    let out = Outcome::Bad(Reason::OutOfRange);
    for source in [
        "1 / 0",
        "div(1, 0)",
        "1 % 0",
        "sqrt(-1)",
        "ln(0)",
        "int(1e300)",
        "bit(1, 64)",
        "exp(1e9)",
        "meter-1.energy * meter-1.energy * meter-1.energy",
    ] {
        assert_eq!(eval(source), out, "{source}");
    }
}

#[test]
fn mistakes_point_at_their_place_and_say_what_is_allowed() {
    for (source, marked, message) in [
        ("cellar.temprature > 30", "cellar.temprature", "no point"),
        ("cellar.temperature > ", "", "the end"),
        ("cellar.temperature = 30", "=", "single ="),
        (
            "1 < cellar.temperature < 3",
            "<",
            "comparison of a comparison",
        ),
        (
            "pump.running + 1",
            "pump.running",
            "true or false where a number",
        ),
        (
            "pump.running > 1",
            "pump.running > 1",
            "between true or false and an integer",
        ),
        (
            "pump.state && true",
            "pump.state",
            "a text where true or false",
        ),
        ("pump.raw == 1", "pump.raw", "bytes"),
        ("maxx(1, 2)", "maxx", "no function"),
        ("max(1)", "max(1)", "1 arguments"),
        ("sqrt('a')", "'a'", "a text where sqrt"),
        ("30C", "30C", "letters behind"),
        ("'open", "'open", "does not end"),
        ("(1 + 2", "", "a parenthesis must close"),
        ("1 2", "2", "does not belong"),
        ("pump.running and true", "and", "does not belong"),
        ("good(1)", "1", "reading of a point"),
        ("true ? 1 : 'a'", "'a'", "one value of the choice"),
        ("interpolate(1, 2, 3, 2, 4)", "2", "must rise"),
        ("°", "°", "means nothing"),
    ] {
        let error = refused(source);
        assert!(error.message.contains(message), "{source}: {error:?}");
        assert_eq!(
            source.get(error.span.clone()),
            Some(marked),
            "{source}: {error:?}"
        );
        assert!(!error.allowed.is_empty());
    }
    let near = refused("cellar.temprature > 30");
    assert_eq!(near.suggestion.as_deref(), Some("cellar.temperature"));
    assert_eq!(
        near.marked("cellar.temprature > 30").lines().nth(1),
        Some("^^^^^^^^^^^^^^^^^")
    );
    let minus = refused("cellar.temperature-meter-1.p_sum");
    assert!(minus.message.contains("spaces around"), "{minus:?}");
}

#[test]
fn what_is_too_long_or_too_deep_is_refused() {
    let long = format!("1 + {}", "1 + ".repeat(400));
    assert!(refused(&long).message.contains("bytes"));
    let deep = format!("{}1{}", "(".repeat(200), ")".repeat(200));
    assert!(refused(&deep).message.contains("deeply"));
}

#[test]
fn a_program_names_its_inputs_once_and_its_cost() {
    let program = compile("pump.running && pump.running || good(pump.state)", &site()).unwrap();
    assert_eq!(program.inputs().len(), 2);
    assert_eq!(program.result(), Type::Bool);
    assert!(program.cost() >= 5 && program.cost() < 20);
}

#[test]
fn the_reference_lists_every_function_once() {
    let all = function::reference();
    assert_eq!(all.len(), function::names().count());
    for name in function::names() {
        assert_eq!(
            function::names().filter(|n| *n == name).count(),
            1,
            "{name}"
        );
    }
}

fn text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "cellar.temperature",
        "meter-1.p_sum",
        "pump.running",
        "pump.state",
        "max(",
        "or_else(",
        "good(",
        "(",
        ")",
        ",",
        "+",
        "-",
        "*",
        "/",
        "%",
        "<",
        "==",
        "&&",
        "||",
        "!",
        "?",
        ":",
        "1",
        "2.5",
        "'a'",
        "true",
        " ",
        "interpolate(",
        "é",
        "0x",
        "\"",
    ]);
    prop::collection::vec(word, 0..30).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text_compiles_or_names_a_place_in_it(source in prop_oneof![text(), any::<String>()]) {
        match compile(&source, &site()) {
            Ok(program) => {
                let outcome = program.eval(&site(), &mut Scratch::default());
                if let Outcome::Good(Scalar::Float(x)) | Outcome::Uncertain(Scalar::Float(x), _) = outcome {
                    prop_assert!(x.is_finite());
                }
            }
            Err(error) => prop_assert!(source.get(error.span.clone()).is_some()),
        }
    }

    #[test]
    fn the_type_that_was_checked_is_the_type_that_comes_out(source in text()) {
        if let Ok(program) = compile(&source, &site())
            && let Outcome::Good(value) = program.eval(&site(), &mut Scratch::default())
        {
            let found = match value {
                Scalar::Bool(_) => Type::Bool,
                Scalar::Int(_) => Type::Int,
                Scalar::Float(_) => Type::Float,
                Scalar::Text(_) => Type::Text,
            };
            prop_assert_eq!(found, program.result());
        }
    }

    #[test]
    fn sums_and_comparisons_agree_with_rust(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
        prop_assert_eq!(good(&format!("({a}) + ({b})")), Scalar::Int((a + b).into()));
        prop_assert_eq!(good(&format!("({a}) * ({b})")), Scalar::Int((a * b).into()));
        prop_assert_eq!(good(&format!("({a}) < ({b})")), Scalar::Bool(a < b));
        prop_assert_eq!(good(&format!("({a}) + 0.5 < ({b})")), Scalar::Bool(a < b));
    }
}

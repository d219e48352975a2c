//! The engine on given times: conditions held, edges, bad inputs, limits of writing, alarms.

use super::*;
use crate::Rule;
use crate::check::{Points, RuleError, check};
use crate::rule::{OnBad, WriteAction, WriteLimit, WriteValue};
use gateway_expr::{Names, compile};
use protocols_model::{AlarmLevel, AlarmState, Reason, ValueType};
use std::collections::BTreeMap;

const POINTS: [(&str, ValueType); 5] = [
    ("cellar.temperature", ValueType::F64),
    ("tank.level", ValueType::F64),
    ("pump.on", ValueType::Bool),
    ("door.open", ValueType::Bool),
    ("fan.speed", ValueType::I64),
];

struct Site;

impl Names for Site {
    fn find(&self, name: &str) -> Option<(PointKey, ValueType)> {
        let place = POINTS.iter().position(|(known, _)| *known == name)?;
        Some((key(name), POINTS[place].1))
    }

    fn all(&self) -> Vec<String> {
        POINTS.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
}

impl Points for Site {
    fn name(&self, point: PointKey) -> String {
        POINTS[point.0 as usize].0.to_owned()
    }

    fn writable(&self, point: PointKey) -> bool {
        point != key("tank.level")
    }

    fn period(&self, _point: PointKey) -> Duration {
        Duration::from_millis(100)
    }

    fn sources(&self, point: PointKey) -> Vec<PointKey> {
        vec![point]
    }
}

fn key(name: &str) -> PointKey {
    let place = POINTS.iter().position(|(known, _)| *known == name).unwrap();
    PointKey(u32::try_from(place).unwrap())
}

fn program(source: &str) -> Program {
    compile(source, &Site).unwrap_or_else(|error| panic!("{}", error.marked(source)))
}

fn rule(name: &str, when: &str, writes: Vec<(&str, Value)>) -> Rule {
    Rule {
        name: name.to_owned(),
        when: program(when),
        hold: Duration::ZERO,
        clear: None,
        clear_hold: Duration::ZERO,
        on_bad: OnBad::Hold,
        bad_after: Duration::from_secs(10),
        stale: Some(Duration::from_secs(30)),
        never: None,
        limit: WriteLimit::default(),
        actions: writes
            .into_iter()
            .map(|(p, v)| Action::Write(write(p, v)))
            .collect(),
        on_clear: Vec::new(),
        safe: Vec::new(),
    }
}

fn write(point: &str, value: Value) -> WriteAction {
    WriteAction {
        point: key(point),
        value: WriteValue::Constant(value),
        ttl: Duration::from_secs(2),
    }
}

const ON: Value = Value::Bool(true);
const OFF: Value = Value::Bool(false);

/// An engine with a clock that the test moves.
struct Run {
    engine: Engine,
    now: Instant,
}

impl Run {
    fn new(rules: Vec<Rule>) -> Self {
        let now = Instant(Duration::from_secs(100));
        Self {
            engine: Engine::new(rules, BTreeMap::new(), now),
            now,
        }
    }

    /// Time passes; ticks are given when they are due, as the task does it.
    fn pass(&mut self, seconds: u64) -> Vec<Effect> {
        let end = self.now.plus(Duration::from_secs(seconds));
        let mut effects = Vec::new();
        let mut ticks = 0;
        while let Some(due) = self.engine.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.engine.tick(self.now, Timestamp(0), &mut effects);
            ticks += 1;
            assert!(
                ticks < 1000,
                "the engine wants to be called again and again"
            );
        }
        self.now = end;
        effects
    }

    fn read(&mut self, point: &str, value: Value) -> Vec<Effect> {
        self.sweep(&[Reading::good(key(point), Timestamp(0), value)])
    }

    fn fail(&mut self, point: &str) -> Vec<Effect> {
        self.sweep(&[Reading::bad(key(point), Timestamp(0), Reason::Timeout)])
    }

    fn sweep(&mut self, readings: &[Reading]) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.engine
            .take(self.now, Timestamp(0), readings, &mut effects);
        effects
    }

    fn answer(&mut self, effects: &[Effect], outcome: &Outcome) -> Vec<Effect> {
        let mut more = Vec::new();
        for effect in effects {
            if let Effect::Write { ticket, .. } = effect {
                self.engine.wrote(self.now, *ticket, outcome, &mut more);
            }
        }
        more
    }
}

fn written(effects: &[Effect]) -> Vec<(String, Value)> {
    let write = |effect: &Effect| match effect {
        Effect::Write { point, value, .. } => Some((Site.name(*point), value.clone())),
        _ => None,
    };
    effects.iter().filter_map(write).collect()
}

fn told(effects: &[Effect]) -> Vec<String> {
    let text = |effect: &Effect| match effect {
        Effect::Event { text, .. } => Some(text.clone()),
        _ => None,
    };
    effects.iter().filter_map(text).collect()
}

fn done() -> Outcome {
    Ok(Written {
        at: Timestamp(0),
        read_back: None,
    })
}

fn pump(on: Value) -> Vec<(String, Value)> {
    vec![("pump.on".to_owned(), on)]
}

#[test]
fn a_rule_writes_when_it_fires_and_not_again_while_it_holds() {
    let mut run = Run::new(vec![rule("fill", "tank.level < 1", vec![("pump.on", ON)])]);
    assert_eq!(run.read("tank.level", Value::F64(2.0)), []);
    let fired = run.read("tank.level", Value::F64(0.5));
    assert_eq!(written(&fired), pump(ON));
    assert_eq!(told(&run.answer(&fired, &done())), ["written"]);
    assert_eq!(run.read("tank.level", Value::F64(0.4)), []);
    run.read("tank.level", Value::F64(2.0));
    assert_eq!(written(&run.read("tank.level", Value::F64(0.4))), pump(ON));
}

#[test]
fn a_hold_ends_by_time_without_a_further_reading_and_hysteresis_ends_it() {
    let mut hot = rule("hot", "cellar.temperature > 30", vec![]);
    hot.hold = Duration::from_secs(20);
    hot.clear = Some(program("cellar.temperature < 28"));
    hot.on_clear = vec![write("fan.speed", Value::I64(0))];
    hot.stale = None;
    hot.actions = vec![
        Action::Alarm {
            level: AlarmLevel::High,
            text: "cellar hot".to_owned(),
            latch: true,
        },
        Action::Capture {
            points: vec![key("cellar.temperature")],
            span: Duration::from_secs(60),
        },
    ];
    let mut run = Run::new(vec![hot]);
    assert_eq!(run.read("cellar.temperature", Value::F64(31.0)), []);
    assert_eq!(run.pass(19), []);
    let effects = run.pass(1);
    let Effect::Alarm(change) = &effects[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (change.state, change.text.as_str()),
        (AlarmState::Raised, "cellar hot")
    );
    assert!(
        matches!(&effects[1], Effect::Capture { until, .. } if *until == run.now.plus(Duration::from_secs(60)))
    );
    assert_eq!(run.read("cellar.temperature", Value::F64(29.0)), []);
    let effects = run.read("cellar.temperature", Value::F64(27.0));
    assert_eq!(written(&effects).len(), 1);
    assert_eq!(
        run.engine.alarms().get("hot").unwrap().state,
        AlarmState::Returned
    );
}

#[test]
fn inputs_that_go_bad_or_stale_lead_to_the_safe_state_once() {
    for silent in [false, true] {
        let mut fill = rule("fill", "tank.level < 1", vec![("pump.on", ON)]);
        fill.safe = vec![write("pump.on", OFF)];
        let mut run = Run::new(vec![fill]);
        let fired = run.read("tank.level", Value::F64(0.5));
        run.answer(&fired, &done());
        let effects = if silent {
            // 30 s until it is stale, 10 s until that counts.
            assert_eq!(run.pass(39), []);
            run.pass(2)
        } else {
            assert_eq!(run.fail("tank.level"), []);
            assert_eq!(run.pass(9), []);
            run.pass(2)
        };
        assert_eq!(written(&effects), pump(OFF), "silent: {silent}");
        assert_eq!(told(&effects).len(), 1);
        run.answer(&effects, &done());
        assert_eq!(run.pass(1000), []);
    }
}

#[test]
fn points_that_never_answer_are_bad_inputs_from_the_start() {
    let mut fill = rule("fill", "tank.level < 1", vec![]);
    fill.safe = vec![write("pump.on", OFF)];
    let mut run = Run::new(vec![fill]);
    assert_eq!(written(&run.pass(11)), pump(OFF));
}

#[test]
fn an_interlock_keeps_a_rule_from_writing_also_when_it_cannot_be_told() {
    let mut fill = rule("fill", "tank.level < 1", vec![("pump.on", ON)]);
    fill.never = Some(program("door.open"));
    let mut run = Run::new(vec![fill]);
    let effects = run.read("tank.level", Value::F64(0.5));
    assert_eq!(written(&effects), [], "nobody knows of the door");
    assert_eq!(told(&effects).len(), 1);
    assert_eq!(run.read("door.open", ON), []);
    assert_eq!(
        written(&run.read("door.open", OFF)),
        pump(ON),
        "as soon as it may"
    );
}

#[test]
fn a_rule_writes_no_more_often_than_its_limit_and_catches_up_with_its_last_wish() {
    let mut fill = rule("fill", "tank.level < 1", vec![("pump.on", ON)]);
    fill.clear = Some(program("tank.level > 2"));
    fill.on_clear = vec![write("pump.on", OFF)];
    fill.limit = WriteLimit {
        count: 3,
        per: Duration::from_secs(60),
    };
    fill.stale = None;
    let mut run = Run::new(vec![fill]);
    let mut writes = Vec::new();
    for round in 0..10 {
        let level = if round % 2 == 0 { 0.0 } else { 3.0 };
        let effects = run.read("tank.level", Value::F64(level));
        writes.extend(written(&effects));
        run.answer(&effects, &done());
    }
    assert_eq!(writes.len(), 3);
    let later = run.pass(61);
    assert_eq!(written(&later), pump(OFF), "only what is wanted at last");
}

#[test]
fn what_could_not_begin_is_tried_again_and_what_may_have_happened_is_not() {
    for (outcome, again) in [
        (Err(WriteError::Unreachable), true),
        (Err(WriteError::Expired), true),
        (Err(WriteError::Busy), true),
        (Err(WriteError::Unknown), false),
        (Err(WriteError::Refused("2".to_owned())), false),
        (done(), false),
    ] {
        let mut fill = rule("fill", "tank.level < 1", vec![("pump.on", ON)]);
        fill.stale = None;
        let mut run = Run::new(vec![fill]);
        let fired = run.read("tank.level", Value::F64(0.5));
        assert_eq!(told(&run.answer(&fired, &outcome)).len(), 1, "{outcome:?}");
        let retried = run.pass(6);
        assert_eq!(!written(&retried).is_empty(), again, "{outcome:?}");
        assert_eq!(run.answer(&retried, &outcome), [], "told once: {outcome:?}");
    }
}

#[test]
fn a_sweep_is_seen_whole_and_each_rule_once() {
    let both = rule(
        "both",
        "tank.level < 1 && cellar.temperature < 1",
        vec![("pump.on", ON)],
    );
    let mut run = Run::new(vec![both]);
    run.pass(0);
    let before = run.engine.evaluations();
    let readings = ["tank.level", "cellar.temperature"]
        .map(|p| Reading::good(key(p), Timestamp(0), Value::F64(0.0)));
    assert_eq!(written(&run.sweep(&readings)), pump(ON));
    assert_eq!(run.engine.evaluations(), before + 1);
}

#[test]
fn a_computed_value_is_written_in_the_type_of_its_point() {
    let mut cool = rule("cool", "cellar.temperature > 20", vec![]);
    cool.actions = vec![Action::Write(WriteAction {
        point: key("fan.speed"),
        value: WriteValue::Computed(
            program("int(clamp((cellar.temperature - 20) * 100, 0, 1500))"),
            ValueType::I64,
        ),
        ttl: Duration::from_secs(1),
    })];
    let mut run = Run::new(vec![cool]);
    let effects = run.read("cellar.temperature", Value::F64(25.5));
    assert_eq!(
        written(&effects),
        [("fan.speed".to_owned(), Value::I64(550))]
    );
}

#[test]
fn after_a_restart_a_raised_alarm_is_not_raised_again_and_ends_with_its_cause() {
    let hot = || {
        let mut hot = rule("hot", "cellar.temperature > 30", vec![("pump.on", ON)]);
        hot.actions.push(Action::Alarm {
            level: AlarmLevel::Low,
            text: String::new(),
            latch: false,
        });
        hot
    };
    let mut run = Run::new(vec![hot()]);
    assert_eq!(run.read("cellar.temperature", Value::F64(31.0)).len(), 2);
    let kept = run.engine.alarms().snapshot(run.now);
    let mut again = Run::new(Vec::new());
    again.engine = Engine::new(vec![hot()], kept, again.now);
    assert_eq!(again.read("cellar.temperature", Value::F64(31.0)), []);
    let ended = again.read("cellar.temperature", Value::F64(3.0));
    assert!(matches!(&ended[..], [Effect::Alarm(change)] if change.state == AlarmState::Normal));
}

#[test]
fn an_alarm_whose_rule_was_removed_is_cleared_once() {
    let mut hot = rule("hot", "cellar.temperature > 30", Vec::new());
    hot.actions.push(Action::Alarm {
        level: AlarmLevel::Low,
        text: "cellar hot".to_owned(),
        latch: true,
    });
    let mut run = Run::new(vec![hot]);
    assert_eq!(run.read("cellar.temperature", Value::F64(31.0)).len(), 1);
    assert_eq!(run.engine.fired().collect::<Vec<_>>(), [("hot", 1)]);
    let kept = run.engine.alarms().snapshot(run.now);
    // A configuration without any rule: what was told must be taken back all the same.
    let mut none = Run::new(Vec::new());
    none.engine.restore(kept, none.now);
    assert!(none.engine.due().is_some_and(|due| due <= none.now));
    let mut effects = Vec::new();
    none.engine.tick(none.now, Timestamp(0), &mut effects);
    assert!(
        matches!(&effects[..], [Effect::Alarm(change)]
            if change.name == "hot" && change.state == AlarmState::Normal && change.text.contains("cellar hot")),
        "{effects:?}"
    );
    effects.clear();
    none.engine.tick(none.now, Timestamp(0), &mut effects);
    assert_eq!(effects, []);
    assert_eq!(none.engine.due(), None);
}

#[test]
fn loops_unwritable_points_and_too_much_work_are_refused_with_the_reason() {
    let a = || rule("a", "pump.on", vec![("fan.speed", Value::I64(1))]);
    let b = || rule("b", "fan.speed > 0", vec![("door.open", ON)]);
    let c = || rule("c", "door.open", vec![("pump.on", ON)]);
    assert_eq!(check(&[a(), b()], &Site, u64::MAX), []);
    let errors = check(&[a(), b(), c()], &Site, u64::MAX);
    assert_eq!(
        errors,
        [RuleError::Loop(
            ["a", "b", "c", "a"].map(str::to_owned).to_vec()
        )]
    );
    let mut own = rule("own", "tank.level < 1 && !pump.on", vec![("pump.on", ON)]);
    assert_eq!(check(&[own.clone()], &Site, u64::MAX), []);
    own.on_clear = vec![write("pump.on", OFF)];
    assert_eq!(
        check(&[own], &Site, u64::MAX),
        [RuleError::SelfLoop("own".to_owned())]
    );
    let wrong = rule("wrong", "pump.on", vec![("tank.level", Value::F64(1.0))]);
    let errors = check(&[wrong], &Site, u64::MAX);
    assert!(matches!(&errors[..], [RuleError::NotWritable { point, .. }] if point == "tank.level"));
    let errors = check(&[a(), b()], &Site, 100);
    assert!(
        matches!(&errors[..], [RuleError::Budget { needed, allowed: 100, .. }] if *needed > 100),
        "{errors:?}"
    );
}

#[test]
fn an_alarm_that_no_rule_raises_any_more_is_told_as_over_once() {
    let alarm = |name| {
        let mut rule = rule(name, "cellar.temperature > 30", vec![]);
        rule.actions = vec![Action::Alarm {
            level: AlarmLevel::High,
            text: "hot".to_owned(),
            latch: true,
        }];
        rule
    };
    let mut book = AlarmBook::default();
    for name in ["kept", "gone"] {
        book.define(name, AlarmLevel::High, "hot", true);
        book.raise(name, Instant::default(), Timestamp(5));
    }
    let kept = book.snapshot(Instant::default());
    let mut engine = Engine::new(vec![alarm("kept")], BTreeMap::new(), Instant::default());
    engine.restore(kept, Instant::default());
    let now = Instant(Duration::from_secs(1));
    assert!(engine.due().unwrap() <= now);
    let mut effects = Vec::new();
    engine.tick(now, Timestamp(9), &mut effects);
    engine.tick(now, Timestamp(9), &mut effects);
    let told: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Alarm(change) => Some((change.name.as_str(), change.state)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [("gone", AlarmState::Normal)]);
}

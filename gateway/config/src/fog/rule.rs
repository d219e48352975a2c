//! `[rule.NAME]`: what the gateway does by itself.

use crate::fog::derive::STALE;
use crate::fog::expression;
use crate::fog::kinds::{AnyValue, Selectors};
use crate::fog::names::{Catalogue, Known};
use crate::key::kinds::{Durations, Flag, Inner, List, Named, Parsed, Text, Words};
use crate::key::{Key, Section};
use crate::notes::Notes;
use crate::problem::Problem;
use crate::source::{Located, Place};
use crate::units;
use crate::walk::Table;
use gateway_expr::{Program, Type};
use gateway_rules::check::{DEFAULT_BUDGET, RuleError};
use gateway_rules::rule::WriteValue;
use gateway_rules::{Action, OnBad, Rule, WriteAction, WriteLimit, check};
use protocols_model::{AlarmLevel, Value, ValueType};
use std::time::Duration;

const LONGEST: Duration = Duration::from_hours(7 * 24);
/// Longest text of an alarm or an event, in bytes: a line that people read.
const MAX_TEXT: usize = 256;
const CONDITION: &str = "an expression that is true or false: \"cellar.temperature > 30\"";

const WHEN: Key<Text> = Key::new("when", Text(CONDITION), "it fires when this is true").required();
const FOR: Key<Durations> = Key::new(
    "for",
    Durations(Duration::ZERO, LONGEST),
    "… at every look for so long",
)
.default(Duration::ZERO);
const CLEAR: Key<Text> = Key::new("clear", Text(CONDITION), "it ends when this is true")
    .otherwise("when `when` is false");
const CLEAR_FOR: Key<Durations> = Key::new(
    "clear_for",
    Durations(Duration::ZERO, LONGEST),
    "… at every look for so long",
)
.default(Duration::ZERO);
const ON_BAD: Key<Words<OnBad>> = Key::new(
    "on_bad",
    Words(&[
        ("hold", OnBad::Hold),
        ("clear", OnBad::Clear),
        ("fire", OnBad::Fire),
    ]),
    "what it does when its inputs have had no value for `bad_after`: stay as it is, end, or fire",
)
.default("hold");
const BAD_AFTER: Key<Durations> = Key::new(
    "bad_after",
    Durations(Duration::ZERO, LONGEST),
    "so long inputs may have no value; then `safe` is written: one lost poll stops no pump",
)
.default(Duration::from_secs(10));
const NEVER: Key<Text> = Key::new(
    "never",
    Text(CONDITION),
    "interlock: it never writes while this is true, or cannot be told",
)
.otherwise("no interlock");
const MAX_WRITES: Key<Parsed<WriteLimit>> = Key::new(
    "max_writes",
    Parsed {
        allowed: "a number and a time: \"6/1m\", 1 to 1000 in 1s to 1d",
        parse: |text| {
            let parts = text.split_once('/').and_then(|(count, per)| {
                let count: u32 = count.trim().parse().ok()?;
                Some((count, units::parse_duration(per)?))
            });
            let times = Duration::from_secs(1)..=Duration::from_hours(24);
            let fits =
                |(count, per): &(u32, Duration)| (1..=1000).contains(count) && times.contains(per);
            let (count, per) = parts.filter(fits).ok_or("not a limit")?;
            Ok(WriteLimit { count, per })
        },
    },
    "how often it may write; what is more waits for its turn",
)
.default("6/1m");
const ALARM: Key<Inner> = Key::new(
    "alarm",
    Inner(const { &[&ALARMS] }),
    "raises the alarm of the rule's name; the rule's end clears it",
);
const WRITE: Key<List> = Key::new("write", List(const { &[&WRITES] }), "written when it fires");
const ON_CLEAR: Key<List> = Key::new(
    "on_clear",
    List(const { &[&WRITES] }),
    "written when it ends",
);
const SAFE: Key<List> = Key::new(
    "safe",
    List(const { &[&WRITES] }),
    "written when its inputs have had no value for `bad_after`",
);
const EVENT: Key<Text> = Key::new("event", Text("a text"), "told to the cloud when it fires");
const CAPTURE: Key<Inner> = Key::new(
    "capture",
    Inner(const { &[&CAPTURES] }),
    "sends every reading of points for a while, whatever their filters say; privacy stays",
);
static RULE: Section = Section::new(
    "[rule.NAME]",
    "What the gateway does by itself, with or without the cloud.",
    &[
        &WHEN,
        &FOR,
        &CLEAR,
        &CLEAR_FOR,
        &ON_BAD,
        &BAD_AFTER,
        &STALE,
        &NEVER,
        &MAX_WRITES,
        &ALARM,
        &WRITE,
        &ON_CLEAR,
        &SAFE,
        &EVENT,
        &CAPTURE,
    ],
);
pub(crate) const RULES: Key<Named> = Key::new(
    "rule",
    Named(const { &[&RULE] }),
    "what the gateway does by itself",
);

const LEVEL: Key<Words<AlarmLevel>> = Key::new(
    "level",
    Words(&[
        ("low", AlarmLevel::Low),
        ("medium", AlarmLevel::Medium),
        ("high", AlarmLevel::High),
        ("critical", AlarmLevel::Critical),
    ]),
    "how bad it is",
)
.required();
const TEXT: Key<Text> =
    Key::new("text", Text("a text of at most 256 bytes"), "for people").required();
const LATCH: Key<Flag> = Key::new(
    "latch",
    Flag,
    "true: it stays until somebody acknowledges it, also when its cause is gone",
)
.default(false);
static ALARMS: Section = Section::new(
    "[rule.NAME] alarm = { … }",
    "Survives a restart; people acknowledge and shelve it by `fogline-gateway alarms`.",
    &[&LEVEL, &TEXT, &LATCH],
);

const POINT: Key<Text> = Key::new(
    "point",
    Text("device/point of a point with `write = true`"),
    "where",
)
.required();
const VALUE: Key<AnyValue> =
    Key::new("value", AnyValue, "what, of the point's type; or").otherwise("expr");
const EXPR: Key<Text> = Key::new(
    "expr",
    Text("an expression of the point's type"),
    "computed when it is written",
)
.otherwise("value");
const TTL: Key<Durations> = Key::new(
    "ttl",
    Durations(Duration::from_millis(100), Duration::from_hours(1)),
    "not begun after so long, it is not begun",
)
.default(Duration::from_secs(30));
static WRITES: Section = Section::new(
    "[rule.NAME] write, on_clear, safe = [ { … } ]",
    "One value to one point; read back where the point says `verify = true`.",
    &[&POINT, &VALUE, &EXPR, &TTL],
);

const POINTS: Key<Selectors> = Key::new("points", Selectors, "which points").required();
const SPAN: Key<Durations> = Key::new(
    "for",
    Durations(Duration::from_secs(1), Duration::from_hours(24)),
    "for so long",
)
.required();
static CAPTURES: Section = Section::new(
    "[rule.NAME] capture = { … }",
    "Every reading of points for a while.",
    &[&POINTS, &SPAN],
);

pub(super) fn read(root: &Table<'_>, catalogue: &Catalogue) -> Vec<Rule> {
    let notes = root.notes();
    let mut rules = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    for (name, table) in root.named(&RULES) {
        let place = name.place.clone();
        if let Some(rule) = read_rule(name, table, catalogue) {
            rules.push(rule);
            places.push(place);
        }
    }
    let place_of = |name: &str| {
        let at = rules.iter().position(|rule: &Rule| rule.name == name);
        at.and_then(|at| places.get(at))
    };
    for error in check(&rules, catalogue, DEFAULT_BUDGET) {
        let (at, allowed) = match &error {
            RuleError::Loop(names) => (
                names.first().and_then(|name| place_of(name)),
                "rules whose writes lead back to none of their own conditions",
            ),
            RuleError::SelfLoop(name) => (
                place_of(name),
                "a `clear` condition apart from `when`, or no on_clear",
            ),
            RuleError::Budget { rule, .. } => (
                place_of(rule),
                "shorter expressions, fewer rules, or inputs that are read less often",
            ),
            // Told where the point is named.
            RuleError::NotWritable { .. } => continue,
        };
        let root_place = root.place();
        notes.push(Problem::error(
            at.unwrap_or(&root_place),
            error.to_string(),
            allowed,
        ));
    }
    rules
}

fn read_rule(name: Located<String>, table: Table<'_>, catalogue: &Catalogue) -> Option<Rule> {
    let notes = table.notes();
    let condition = |found: Option<Located<String>>| -> Option<Option<Program>> {
        match found {
            None => Some(None),
            Some(text) => expression::read(&text, Some(Type::Bool), catalogue, notes).map(Some),
        }
    };
    let said = table.get(&WHEN);
    let when = condition(said.clone());
    let (clear, never) = (condition(table.get(&CLEAR)), condition(table.get(&NEVER)));
    let actions = read_actions(&table, catalogue);
    let (hold, clear_hold) = (table.get(&FOR), table.get(&CLEAR_FOR));
    let (on_bad, bad_after) = (table.get(&ON_BAD), table.get(&BAD_AFTER));
    let (stale, limit) = (table.get(&STALE), table.get(&MAX_WRITES));
    let (on_clear, safe) = (
        read_writes(&table, &ON_CLEAR, catalogue),
        read_writes(&table, &SAFE, catalogue),
    );
    table.finish();
    let rule = Rule {
        name: name.value,
        when: when.flatten()?,
        hold: FOR.value(hold),
        clear: clear?,
        clear_hold: CLEAR_FOR.value(clear_hold),
        on_bad: ON_BAD.value(on_bad),
        bad_after: BAD_AFTER.value(bad_after),
        stale: stale.map(|stale| stale.value),
        never: never?,
        limit: MAX_WRITES.value(limit),
        actions,
        on_clear,
        safe,
    };
    let idle = rule.actions.is_empty() && rule.on_clear.is_empty() && rule.safe.is_empty();
    if idle {
        let message = format!("rule {} does nothing", rule.name);
        let allowed = "alarm, write, on_clear, safe, event or capture";
        notes.push(Problem::error(&name.place, message, allowed));
    }
    if rule.when.inputs().is_empty()
        && let Some(said) = said
    {
        let message = "nothing is read here: the rule never fires, or at once and for ever";
        notes.push(Problem::error(
            &said.place,
            message,
            "an expression over points",
        ));
    }
    Some(rule)
}

fn read_writes(table: &Table<'_>, key: &Key<List>, catalogue: &Catalogue) -> Vec<WriteAction> {
    let tables = table.list(key).unwrap_or_default();
    tables
        .into_iter()
        .filter_map(|table| read_write(table, catalogue))
        .collect()
}

/// What it does when it fires.
fn read_actions(table: &Table<'_>, catalogue: &Catalogue) -> Vec<Action> {
    let notes = table.notes();
    let mut actions: Vec<Action> = read_writes(table, &WRITE, catalogue)
        .into_iter()
        .map(Action::Write)
        .collect();
    if let Some(alarm) = table.table(&ALARM) {
        let (level, text) = (alarm.get(&LEVEL), alarm.get(&TEXT));
        let latch = LATCH.value(alarm.get(&LATCH));
        alarm.finish();
        if let (Some(level), Some(text)) = (level, text) {
            check_text(&text, notes);
            actions.push(Action::Alarm {
                level: level.value,
                text: text.value,
                latch,
            });
        }
    }
    if let Some(text) = table.get(&EVENT) {
        check_text(&text, notes);
        actions.push(Action::Event { text: text.value });
    }
    if let Some(capture) = table.table(&CAPTURE) {
        let (points, span) = (capture.get(&POINTS), capture.get(&SPAN));
        capture.finish();
        if let (Some(points), Some(span)) = (points, span) {
            let points = catalogue.matching_all(&points.value, notes);
            actions.push(Action::Capture {
                points: points.into_iter().collect(),
                span: span.value,
            });
        }
    }
    actions
}

fn check_text(text: &Located<String>, notes: &Notes<'_>) {
    let (len, place) = (text.value.len(), &text.place);
    if len == 0 || len > MAX_TEXT {
        let message = format!("a text of {len} bytes");
        notes.push(Problem::error(place, message, "1 to 256 bytes"));
    }
}

fn read_write(table: Table<'_>, catalogue: &Catalogue) -> Option<WriteAction> {
    let notes = table.notes();
    let (point, value, expr) = (table.get(&POINT), table.get(&VALUE), table.get(&EXPR));
    let both = (table.has(&VALUE), table.has(&EXPR));
    let ttl = TTL.value(table.get(&TTL));
    let place = table.place();
    table.finish();
    if both.0 == both.1 {
        let message = if both.0 {
            "`value` and `expr` exclude each other"
        } else {
            "nothing to write"
        };
        notes.push(Problem::error(&place, message, "one of value, expr"));
        return None;
    }
    let point = point?;
    let key = catalogue.point(&point, notes)?;
    let known = catalogue.get(key)?;
    if !known.about.may_be_written {
        let message = format!("{} is not writable", known.name());
        let allowed = "a point of a device with `write = true`";
        notes.push(Problem::error(&point.place, message, allowed));
        return None;
    }
    let value = match (value, expr) {
        (Some(value), _) => WriteValue::Constant(constant(value, known, notes)?),
        (None, Some(expr)) => computed(&expr, known, catalogue, notes)?,
        (None, None) => return None,
    };
    Some(WriteAction {
        point: key,
        value,
        ttl,
    })
}

fn computed(
    expr: &Located<String>,
    known: &Known,
    catalogue: &Catalogue,
    notes: &Notes<'_>,
) -> Option<WriteValue> {
    let of = known.descriptor.value_type;
    let program = expression::read(expr, None, catalogue, notes)?;
    let found = program.result();
    let fits = match Type::of(of) {
        Some(Type::Float) => found.is_number(),
        wanted => wanted == Some(found),
    };
    if !fits {
        let message = format!(
            "the expression is {found}; {} is of type {}",
            known.name(),
            of.as_str()
        );
        let allowed = "an expression of the point's type; int(…) makes an integer";
        notes.push(Problem::error(&expr.place, message, allowed));
        return None;
    }
    Some(WriteValue::Computed(program, of))
}

/// The value in the point's type, within its range.
fn constant(found: Located<Value>, known: &Known, notes: &Notes<'_>) -> Option<Value> {
    let of = known.descriptor.value_type;
    let value = match (of, &found.value) {
        (ValueType::F64, Value::I64(number)) => float(*number).map(Value::F64),
        (ValueType::U64, Value::I64(number)) => u64::try_from(*number).ok().map(Value::U64),
        (of, value) if value.value_type() == of => Some(value.clone()),
        _ => None,
    };
    let Some(value) = value else {
        let message = format!(
            "{} is no value of {}, which is of type {}",
            show(&found.value),
            known.name(),
            of.as_str()
        );
        notes.push(Problem::error(&found.place, message, of.as_str()));
        return None;
    };
    if let (Some(range), Some(number)) = (&known.about.range, value.as_f64())
        && of != ValueType::Bool
        && !range.contains(&number)
    {
        let message = format!("{number} is outside the range of {}", known.name());
        let allowed = format!("{} to {}", range.start(), range.end());
        notes.push(Problem::error(&found.place, message, allowed));
        return None;
    }
    if let (Some(words), Value::Text(text)) = (&known.about.words, &value)
        && !words.iter().any(|word| **word == **text)
        && text.parse::<i64>().is_err()
    {
        let message = format!("{} knows no {text:?}", known.name());
        let problem = Problem::error(&found.place, message, words.join(", "));
        notes.push(problem.suggest(text, words.iter().map(String::as_str)));
        return None;
    }
    Some(value)
}

/// An integer as a float, where that is exact.
fn float(number: i64) -> Option<f64> {
    const EXACT: i64 = 1 << 53;
    #[expect(clippy::cast_precision_loss, reason = "within 2^53")]
    let float = number as f64;
    (-EXACT..=EXACT).contains(&number).then_some(float)
}

fn show(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I64(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::Text(text) => format!("the text {text:?}"),
        Value::Bytes(_) => "bytes".to_owned(),
    }
}

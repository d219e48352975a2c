//! `explain --privacy`: every field that leaves the site, and in what form; what stays; what rules tell.

use super::fog::{inputs, name};
use gateway_config::{GatewayConfig, Leaves};
use gateway_privacy::Treatment;
use gateway_rules::{Action, Rule};
use protocols_model::PointKey;
use serde_json::json;

/// What the gateway tells of itself beside its points; none of it holds a value that is not told as a field.
const OF_ITSELF: [&str; 6] = [
    "id, version and boot of the gateway, clock, use of the spool",
    "revision and path of the configuration, numbers of buses, devices and points",
    "names of devices whose link comes or goes, and of buses that skip polls",
    "ranges of records that were lost, with their times and the number of readings",
    "alarms and events of rules, listed above, and whether their writes were done",
    "of points with keep_alive, that they still say what was told of them last, and since when",
];

/// One field.
pub(crate) struct Field {
    pub(crate) point: String,
    value_type: &'static str,
    unit: String,
    /// None: it stays.
    pub(crate) form: Option<Vec<String>>,
    why: &'static str,
}

pub(crate) fn fields(config: &GatewayConfig) -> Vec<Field> {
    let keys = (0..).map(PointKey).zip(&config.points);
    let fields = keys.map(|(key, point)| {
        let (form, why) = match config.fog.privacy.get(&key) {
            None => (Some(Vec::new()), ""),
            Some(Leaves::Nothing(why)) => (None, *why),
            Some(Leaves::Treated { treatments, .. }) => {
                (Some(treatments.iter().map(Treatment::form).collect()), "")
            }
        };
        Field {
            point: name(config, key),
            value_type: point.descriptor.value_type.as_str(),
            unit: point.descriptor.unit.clone(),
            form,
            why,
        }
    });
    fields.collect()
}

/// What a rule tells the cloud, and the private points it looks at.
fn told(config: &GatewayConfig, rule: &Rule) -> Option<(Vec<String>, Vec<String>)> {
    let told = rule.actions.iter().filter_map(|action| match action {
        Action::Alarm { text, .. } => Some(format!("alarm {text:?}")),
        Action::Event { text } => Some(format!("event {text:?}")),
        Action::Write(_) => Some("that it wrote".to_owned()),
        Action::Capture { .. } => None,
    });
    let mut told: Vec<String> = told.collect();
    told.dedup();
    let is_private = |point: &String| {
        let mut private = config.fog.privacy.keys();
        private.any(|key| name(config, *key) == *point)
    };
    let private = inputs(config, rule).into_iter().filter(is_private);
    let private = private.collect();
    (!told.is_empty()).then_some((told, private))
}

pub(super) fn text(config: &GatewayConfig) -> String {
    let fields = fields(config);
    let width = fields.iter().map(|f| f.point.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut text = String::from("leaves the site:\n");
    for field in &fields {
        let Some(form) = &field.form else { continue };
        let form = if form.is_empty() {
            "as it is".to_owned()
        } else {
            form.join(", ")
        };
        let (point, kind, unit) = (&field.point, field.value_type, &field.unit);
        let about = format!("{kind} {unit}");
        text += &format!("  {point:<width$}  {:<10}  {form}\n", about.trim_end());
    }
    text += "stays here, with its name:\n";
    let mut none = true;
    for field in fields.iter().filter(|field| field.form.is_none()) {
        none = false;
        text += &format!("  {:<width$}  {}\n", field.point, field.why);
    }
    if none {
        text += "  nothing\n";
    }
    let mut rules = String::new();
    for rule in &config.fog.rules {
        if let Some((told, private)) = told(config, rule) {
            rules += &format!("  {}: {}", rule.name, told.join(", "));
            if !private.is_empty() {
                rules += &format!(" (which tells something of {})", private.join(" "));
            }
            rules += "\n";
        }
    }
    if !rules.is_empty() {
        text += &format!("told by rules, with their names:\n{rules}");
    }
    text += "told of the gateway itself:\n";
    for line in OF_ITSELF {
        text += &format!("  {line}\n");
    }
    text
}

pub(super) fn json(config: &GatewayConfig) -> serde_json::Value {
    let fields = fields(config);
    let (leaves, stays): (Vec<_>, Vec<_>) = fields.iter().partition(|f| f.form.is_some());
    let rules = config.fog.rules.iter().filter_map(|rule| {
        let (told, private) = told(config, rule)?;
        Some(json!({ "rule": rule.name, "tells": told, "private_inputs": private }))
    });
    json!({
        "leaves": leaves.iter().map(|field| json!({
            "point": field.point, "type": field.value_type, "unit": field.unit, "form": field.form,
        })).collect::<Vec<_>>(),
        "stays": stays.iter().map(|field| json!({ "point": field.point, "why": field.why })).collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "gateway": OF_ITSELF,
    })
}

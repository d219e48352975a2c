//! Rules end to end: a real gateway, devices that are written, no cloud in sight.

use crate::plant::{Plant, cellar};
use crate::rig::Rig;
use serde_json::Value;

/// Two buses: one is looked at, one is written; the uplink has never been there.
pub(crate) fn config(seen: &Plant, done: &Plant, rules: &str) -> String {
    let pump = format!(
        r#"
[bus.done]
kind = "modbus-tcp"
addr = "127.0.0.1:{}"
[device.pump]
bus = "done"
unit = 1
timeout = "3s"
groups = {{ fast = "100ms" }}
points = [
  {{ id = "relay", at = "co:0", write = true, verify = true }},
  {{ id = "speed", at = "hr:10", as = "i16", scale = 0.1, write = true, verify = true, range = [0, 100] }},
]
[uplink.cloud]
identity = "identity.toml"
batch_age = {{ live = "100ms", offline = "200ms" }}
"#,
        done.port
    );
    cellar(seen.port, &(pump + rules))
}

/// What `alarms --json` says, while a gateway runs.
fn alarms(rig: &Rig) -> Option<Value> {
    let output = rig.output(&["alarms", "--config", "gateway.toml", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).ok()?;
    said.get("alarms").is_some().then_some(said)
}

pub(crate) fn state(rig: &Rig) -> Option<String> {
    let said = alarms(rig)?;
    Some(said.pointer("/alarms/0/state")?.as_str()?.to_owned())
}

pub(crate) const OVERTEMP: &str = r#"
[rule.overtemp]
when = "cellar.temperature > 30"
for = "300ms"
clear = "cellar.temperature < 28"
alarm = { level = "high", text = "cellar hot", latch = true }
write = [
  { point = "pump/relay", value = true },
  { point = "pump/speed", expr = "clamp((cellar.temperature - 30) * 10, 20, 100)" },
]
on_clear = [ { point = "pump/relay", value = false } ]
"#;

#[test]
fn a_rule_writes_a_relay_and_takes_it_back_without_any_cloud() {
    let (cellar, pump) = (Plant::start(), Plant::start());
    cellar.set(0, 290);
    let rig = Rig::new(&config(&cellar, &pump, OVERTEMP));
    let mut gateway = rig.start();
    rig.wait("it reads", || rig.number("/pipeline/taken") > 20);
    assert!(
        pump.written().is_empty(),
        "nothing is written while all is well"
    );
    cellar.set(0, 342);
    rig.wait("the relay is on", || pump.coil(0));
    rig.wait("the speed follows", || pump.register(10) == 420);
    rig.wait("the alarm is raised", || {
        state(&rig).as_deref() == Some("raised")
    });
    let status = rig.told();
    assert_eq!(status.pointer("/alarms/0/name").unwrap(), "overtemp");
    assert_eq!(status.pointer("/uplink/connected").unwrap(), false);
    // Between the two thresholds nothing happens.
    cellar.set(0, 291);
    let before = rig.number("/pipeline/taken");
    rig.wait("it goes on", || rig.number("/pipeline/taken") > before + 20);
    assert!(pump.coil(0));
    cellar.set(0, 270);
    rig.wait("the relay is off", || !pump.coil(0));
    assert_eq!(pump.written(), [(0, true), (0, false)], "each once");
    rig.wait("the alarm waits for somebody", || {
        state(&rig).as_deref() == Some("returned")
    });
    let known = rig.output(&["alarms", "ack", "overtemp", "--config", "gateway.toml"]);
    assert!(known.status.success(), "{known:?}");
    assert_eq!(state(&rig).as_deref(), Some("normal"));
    let again = rig.output(&["alarms", "ack", "overtemp", "--config", "gateway.toml"]);
    assert_eq!(again.status.code(), Some(1));
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());
    // All of it waits for the cloud.
    let spooled = rig.output(&["spool", "export", "--config", "gateway.toml"]);
    let spooled = String::from_utf8_lossy(&spooled.stdout).into_owned();
    assert!(spooled.contains("cellar hot"), "{spooled}");
}

#[test]
fn an_interlock_keeps_a_rule_from_writing_until_it_is_gone() {
    let (cellar, pump) = (Plant::start(), Plant::start());
    cellar.set(0, 400);
    cellar.set_coil(0, true);
    let rule = r#"
[rule.overtemp]
when = "cellar.temperature > 30"
never = "cellar.door"
write = [ { point = "pump/relay", value = true } ]
"#;
    let rig = Rig::new(&config(&cellar, &pump, rule));
    let _gateway = rig.start();
    rig.wait("it is told", || {
        rig.log().contains("interlock keeps it from writing")
    });
    let before = rig.number("/pipeline/taken");
    rig.wait("it goes on", || rig.number("/pipeline/taken") > before + 20);
    assert!(pump.written().is_empty());
    cellar.set_coil(0, false);
    rig.wait("the relay is on", || pump.coil(0));
    assert_eq!(pump.written(), [(0, true)]);
}

#[test]
fn when_the_input_goes_silent_the_safe_state_is_written() {
    let (cellar, pump) = (Plant::start(), Plant::start());
    cellar.set(0, 400);
    let rule = r#"
[rule.cool]
when = "cellar.temperature > 30"
bad_after = "2s"
write = [ { point = "pump/relay", value = true } ]
safe = [ { point = "pump/relay", value = false } ]
"#;
    let rig = Rig::new(&config(&cellar, &pump, rule));
    let _gateway = rig.start();
    rig.wait("the relay is on", || pump.coil(0));
    cellar.silence(true);
    rig.wait("the relay is off", || !pump.coil(0));
    // A start that took long was blind too; what came last is what counts.
    assert!(pump.written().ends_with(&[(0, true), (0, false)]));
}

#[test]
fn an_alarm_survives_a_kill_and_a_reload_with_what_people_said_to_it() {
    let (cellar, pump) = (Plant::start(), Plant::start());
    cellar.set(0, 400);
    let text = config(&cellar, &pump, OVERTEMP);
    let rig = Rig::new(&text);
    let mut gateway = rig.start();
    rig.wait("the alarm is raised", || {
        state(&rig).as_deref() == Some("raised")
    });
    rig.wait("its writes are done", || {
        pump.coil(0) && pump.register(10) != 0
    });
    let done = rig.output(&[
        "alarms",
        "ack",
        "overtemp",
        "--by",
        "ada",
        "--config",
        "gateway.toml",
    ]);
    assert!(done.status.success(), "{done:?}");
    let done = rig.output(&[
        "alarms",
        "shelve",
        "overtemp",
        "--for",
        "1h",
        "--config",
        "gateway.toml",
    ]);
    assert!(done.status.success(), "{done:?}");
    let kept = || std::fs::read_to_string(rig.path("state/alarms.json")).unwrap_or_default();
    rig.wait("it is kept", || {
        kept().contains("ada") && kept().contains("shelved_ms\":3")
    });
    gateway.signal("KILL");
    assert_eq!(gateway.end(&rig), None);
    let offline = rig.output(&["alarms", "--config", "gateway.toml"]);
    let offline = String::from_utf8_lossy(&offline.stdout).into_owned();
    assert!(
        offline.contains("acknowledged") && offline.contains("overtemp"),
        "{offline}"
    );

    let writes = pump.written();
    let gateway = rig.start();
    let same = |rig: &Rig| {
        let said = alarms(rig)?;
        let alarm = said.pointer("/alarms/0")?;
        Some((
            alarm.get("state")?.as_str()?.to_owned(),
            alarm.get("by")?.as_str()?.to_owned(),
            alarm.get("shelved_s")?.as_u64()?,
        ))
    };
    let (state, by, left) = same(&rig).unwrap();
    assert_eq!((state.as_str(), by.as_str()), ("acknowledged", "ada"));
    assert!((1..=3600).contains(&left), "{left}");
    // Another configuration with the same rule.
    rig.write(
        "gateway.toml",
        &text.replace("\"cellar hot\"", "\"cellar too hot\""),
    );
    gateway.signal("HUP");
    rig.wait("the new text", || {
        alarms(&rig).is_some_and(|said| said.to_string().contains("too hot"))
    });
    let (state, by, left) = same(&rig).unwrap();
    assert_eq!((state.as_str(), by.as_str()), ("acknowledged", "ada"));
    assert!((1..=3600).contains(&left), "{left}");
    assert_eq!(pump.written(), writes, "what was done is not done again");
}

#[test]
fn an_alarm_whose_rule_is_removed_is_taken_back() {
    let (cellar, pump) = (Plant::start(), Plant::start());
    cellar.set(0, 400);
    let rig = Rig::new(&config(&cellar, &pump, OVERTEMP));
    let mut gateway = rig.start();
    rig.wait("the alarm is raised", || {
        state(&rig).as_deref() == Some("raised")
    });
    rig.write("gateway.toml", &config(&cellar, &pump, ""));
    gateway.signal("HUP");
    rig.wait("it is told", || {
        rig.log()
            .contains("no rule has this alarm any more: cellar hot")
    });
    let kept = || std::fs::read_to_string(rig.path("state/alarms.json")).unwrap_or_default();
    rig.wait("it is forgotten", || kept() == "{}");
    gateway.signal("TERM");
    assert_eq!(gateway.end(&rig), Some(0), "{}", rig.log());
    let spooled = rig.output(&["spool", "export", "--config", "gateway.toml"]);
    let spooled = String::from_utf8_lossy(&spooled.stdout).into_owned();
    assert!(
        spooled.contains("no rule has this alarm any more"),
        "{spooled}"
    );
}

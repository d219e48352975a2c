//! What the routes answer about alarms, and what filters saved.

use crate::feed::{Feed, Point};
use crate::support::{Client, NEW, Stack};
use protocols_model::{AlarmLevel, AlarmState, Value, ValueType};
use protocols_wire::EventKind;
use serde_json::{Value as Json, json};
use std::time::Duration;

const POINTS: [Point<'static>; 2] = [
    ("cellar", "temperature", ValueType::F64, "°C", 0.1),
    ("cellar", "door", ValueType::Bool, "", 1.0),
];

async fn names(client: &Client, path: &str) -> Vec<String> {
    let alarms = client.get(path).await.json();
    let alarms = alarms.as_array().unwrap().iter();
    alarms
        .map(|alarm| alarm["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn an_alarm_is_listed_with_its_point_counted_and_gone_when_it_is_over() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let (store, now) = (stack.store.as_ref(), stack.clock.now());
    let mut feed = Feed::start(store, "gw-1", &POINTS, now).await;
    assert_eq!(client.get("/v1/alarms").await.json(), json!([]));
    feed.readings(store, &[(0, now, Ok(Value::F64(31.5)))], now)
        .await;
    let hot = |state| ("hot", AlarmLevel::High, state, "cellar hot");
    let minute = Duration::from_secs(60);
    feed.alarm(store, hot(AlarmState::Raised), 0, now).await;
    let cold = ("cold", AlarmLevel::Low, AlarmState::Raised, "cellar cold");
    feed.alarm(store, cold, 1, now).await;

    let listed = client.get("/v1/alarms").await.json();
    let series = client.get("/v1/gateways/gw-1/series").await.json();
    let temperature = series.as_array().unwrap().iter();
    let temperature = temperature
        .clone()
        .find(|one| one["point"] == "temperature");
    let alarm = &listed[0];
    assert_eq!(alarm["name"], "hot", "the worst first");
    assert_eq!(alarm["level"], "high");
    assert_eq!(alarm["state"], "raised");
    assert_eq!(alarm["text"], "cellar hot");
    assert_eq!(alarm["raised_ms"], now.as_millis());
    assert_eq!(alarm["points"][0]["point"], "temperature");
    assert_eq!(alarm["points"][0]["series"], temperature.unwrap()["id"]);
    assert_eq!(
        names(&client, "/v1/alarms?gateway=gw-1&limit=1").await,
        ["hot"]
    );
    let counts = client.get("/v1/alarms/counts").await.json();
    assert_eq!(counts["raised"], 2);
    assert_eq!(counts["worst"], "high");

    let later = now.plus(minute);
    feed.alarm(store, hot(AlarmState::Acknowledged), 0, later)
        .await;
    let view = client.get("/v1/gateways/gw-1").await.json();
    assert_eq!(view["alarms"]["raised"], 1);
    assert_eq!(view["alarms"]["acknowledged"], 1);
    feed.alarm(store, hot(AlarmState::Normal), 0, later.plus(minute))
        .await;
    assert_eq!(names(&client, "/v1/alarms").await, ["cold"]);
    assert_eq!(
        names(&client, "/v1/alarms?state=all").await,
        ["cold", "hot"]
    );
    assert_eq!(names(&client, "/v1/alarms?state=normal").await, ["hot"]);
    assert!(names(&client, "/v1/alarms?state=returned").await.is_empty());
}

#[tokio::test]
async fn events_are_found_by_kind_and_subject_and_say_what_became_of_the_alarm() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let (store, now) = (stack.store.as_ref(), stack.clock.now());
    let mut feed = Feed::start(store, "gw-1", &POINTS, now).await;
    feed.event(store, EventKind::Started, "", "started", now)
        .await;
    for state in [AlarmState::Raised, AlarmState::Normal] {
        let word = ("hot", AlarmLevel::Critical, state, "cellar hot");
        feed.alarm(store, word, 0, now).await;
    }
    let events = client.get("/v1/events?kind=alarm&subject=hot").await.json();
    assert_eq!(events.as_array().unwrap().len(), 2);
    assert_eq!(events[0]["alarm"]["state"], "normal");
    assert_eq!(events[1]["alarm"]["level"], "critical");
    assert_eq!(events[1]["alarm"]["points"][0]["device"], "cellar");
    let started = client.get("/v1/events?kind=started").await.json();
    assert_eq!(started[0]["alarm"], Json::Null);
}

#[tokio::test]
async fn a_question_that_makes_no_sense_names_its_field() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    for (path, field) in [
        ("/v1/alarms?state=loud", "state"),
        ("/v1/alarms?limit=0", "limit"),
        ("/v1/alarms?gateway=nobody", "gateway"),
        ("/v1/alarms?order=name", "order"),
        ("/v1/alarms/counts?state=open", "state"),
        ("/v1/events?kind=other", "kind"),
    ] {
        let answer = client.get(path).await;
        assert!(
            [400, 404].contains(&answer.status),
            "{path}: {}",
            answer.status
        );
        assert_eq!(answer.json()["field"], field, "{path}");
    }
}

#[tokio::test]
async fn what_filters_saved_is_told_with_how_it_was_reckoned() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let (store, now) = (stack.store.as_ref(), stack.clock.now());
    let mut feed = Feed::start(store, "gw-1", &POINTS, now).await;
    let none = client.get("/v1/gateways/gw-1/traffic").await.json();
    assert_eq!(none["day"]["taken"], 0);
    assert_eq!(
        none["day"]["bytes_saved"],
        Json::Null,
        "nothing tells a price"
    );
    // Each column says that two readings were left out.
    let takes: Vec<_> = (0..100_u32)
        .map(|n| {
            let time = now.plus(Duration::from_millis(u64::from(n)));
            (0, time, Ok(Value::F64(20.0 + f64::from(n % 9))))
        })
        .collect();
    feed.readings(store, &takes, now).await;
    let told = client.get("/v1/gateways/gw-1/traffic").await.json();
    let day = &told["day"];
    assert_eq!((&day["stored"], &day["filtered"]), (&json!(100), &json!(2)));
    assert_eq!(day["taken"], 102);
    let price = day["bytes_per_reading"].as_f64().unwrap();
    assert!(price > 0.0 && price * 100.0 < day["bytes"].as_f64().unwrap());
    let saved = day["bytes_saved"].as_f64().unwrap();
    assert!((saved - 2.0 * price).abs() <= 0.5, "{saved} at {price}");
    assert_eq!(told["ever"]["taken"], 102);
    assert_eq!(told["ever"]["lost"], 0);
    let view = client.get("/v1/gateways/gw-1").await.json();
    assert_eq!(&view["traffic"], day);
    // After a day nothing of it is recent.
    stack.clock.step(Duration::from_secs(26 * 3600));
    let mut later = stack.client();
    assert_eq!(later.log_in("admin", NEW).await.status, 200);
    let told = later.get("/v1/gateways/gw-1/traffic").await.json();
    assert_eq!(
        (&told["day"]["taken"], &told["ever"]["taken"]),
        (&json!(0), &json!(102))
    );
}

#[tokio::test]
async fn an_open_page_is_told_that_alarms_changed() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let (store, now) = (stack.store.as_ref(), stack.clock.now());
    let mut feed = Feed::start(store, "gw-1", &POINTS, now).await;
    let mut stream = client.stream("/v1/stream", None).await;
    assert_eq!(stream.next().await.unwrap().name, "open");
    let word = ("hot", AlarmLevel::High, AlarmState::Raised, "cellar hot");
    feed.alarm(store, word, 0, now).await;
    let event = stream.next().await.unwrap();
    assert_eq!(event.name, "changed");
    let changed: Json = serde_json::from_str(&event.data).unwrap();
    let expected = json!({ "gateway": "gw-1", "events": true, "alarms": true, "ledger": false });
    assert_eq!(changed, expected);
}

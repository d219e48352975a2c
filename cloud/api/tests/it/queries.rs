//! What the routes answer about gateways, devices, values, history and losses.

use crate::feed::{Feed, Point};
use crate::support::Stack;
use protocols_model::{LossReason, Reason, Timestamp, Value, ValueType};
use protocols_wire::EventKind;
use std::time::Duration;

const POINTS: [Point<'static>; 4] = [
    ("meter-1", "voltage", ValueType::F64, "V", 0.1),
    ("meter-1", "energy", ValueType::U64, "Wh", 1.0),
    ("meter-2", "running", ValueType::Bool, "", 1.0),
    ("meter-2", "model", ValueType::Text, "", 1.0),
];

fn at(base: Timestamp, seconds: u64) -> Timestamp {
    base.plus(Duration::from_secs(seconds))
}

#[tokio::test]
async fn the_four_truths_about_a_gateway_stand_apart() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let now = stack.clock.now();
    let mut feed = Feed::start(stack.store.as_ref(), "gw-1", &POINTS, now).await;
    let first = client.get("/v1/gateways/gw-1").await.json();
    assert_eq!(first["session"]["state"], "unknown");
    assert_eq!(first["hello"], serde_json::Value::Null);
    assert_eq!(first["data"]["newest_sample_ms"], serde_json::Value::Null);

    feed.hello(stack.store.as_ref(), now).await;
    let value = Ok(Value::F64(230.0));
    feed.readings(stack.store.as_ref(), &[(0, now, value)], at(now, 1))
        .await;
    let down = "down (timeout)";
    feed.event(
        stack.store.as_ref(),
        EventKind::DeviceLink,
        "meter-1",
        down,
        now,
    )
    .await;
    stack
        .store
        .set_session(&feed.gateway, false, at(now, 2))
        .await
        .unwrap();

    let view = client.get("/v1/gateways/gw-1").await.json();
    assert_eq!(view["session"]["state"], "disconnected");
    assert_eq!(view["hello"]["clock_synced"], true);
    assert_eq!(view["hello"]["software"], "fogline-gateway 0.1.0");
    assert_eq!(view["devices"]["down"], 1);
    assert_eq!(view["data"]["newest_sample_ms"], now.as_millis());
    assert_eq!(view["data"]["newest_received_ms"], at(now, 1).as_millis());
    assert_eq!(
        client
            .get("/v1/gateways")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let devices = client.get("/v1/gateways/gw-1/devices").await.json();
    let meter = devices
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["id"] == "meter-1")
        .unwrap();
    assert_eq!(meter["link"], "down");
    assert_eq!(meter["link_text"], down);
}

#[tokio::test]
async fn latest_values_are_exact_and_say_why_there_is_none() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let now = stack.clock.now();
    let mut feed = Feed::start(stack.store.as_ref(), "gw-1", &POINTS, now).await;
    let takes = [
        (0, now, Err(Reason::Timeout)),
        (1, now, Ok(Value::U64(u64::MAX))),
        (2, now, Ok(Value::Bool(true))),
        (3, now, Ok(Value::Text("EM24 \"x\" <b>".into()))),
    ];
    feed.readings(stack.store.as_ref(), &takes, now).await;
    let series = client.get("/v1/gateways/gw-1/series").await.json();
    let latest = client.get("/v1/latest?gateway=gw-1").await.json();
    let of = |point: &str| {
        let series = series
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["point"] == point)
            .unwrap();
        latest
            .as_array()
            .unwrap()
            .iter()
            .find(|l| l["series"] == series["id"])
            .unwrap()
            .clone()
    };
    assert_eq!(of("energy")["text"], "18446744073709551615");
    assert_eq!(of("running")["text"], "true");
    assert_eq!(of("model")["text"], "EM24 \"x\" <b>");
    assert_eq!(of("voltage")["quality"], "bad:timeout");
    assert_eq!(of("voltage")["text"], serde_json::Value::Null);
    assert!(of("voltage")["stale_after_ms"].as_i64().unwrap() >= 5000);
    let one = client
        .get("/v1/latest?gateway=gw-1&device=meter-2")
        .await
        .json();
    assert_eq!(one.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn peaks_survive_downsampling_and_gaps_and_losses_are_told() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let start = stack.clock.now();
    let mut feed = Feed::start(stack.store.as_ref(), "gw-1", &POINTS, start).await;
    // 40 minutes at 1 Hz; one reading is a peak; minutes 20 to 25 never arrive and are claimed.
    let mut lost = None;
    for minute in 0..40_u64 {
        let from = at(start, minute * 60);
        if (20..25).contains(&minute) {
            let range = feed.skip(1);
            lost = Some(lost.map_or((range, from), |(first, since)| (first, since)));
            continue;
        }
        let takes: Vec<_> = (0..60)
            .map(|second| {
                let peak = minute == 10 && second == 31;
                let value = if peak {
                    999.5
                } else {
                    230.0 + f64::from(second % 7)
                };
                (0, at(from, u64::from(second as u32)), Ok(Value::F64(value)))
            })
            .collect();
        feed.readings(stack.store.as_ref(), &takes, at(from, 60))
            .await;
    }
    let (first, since) = lost.unwrap();
    let range = protocols_model::SeqRange::new(first.first(), first.first() + 4).unwrap();
    let until = at(start, 25 * 60);
    feed.claim(
        stack.store.as_ref(),
        range,
        LossReason::Evicted,
        (since, until),
        Some(300),
        until,
    )
    .await;

    let series = client.get("/v1/gateways/gw-1/series").await.json();
    let voltage = series
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["point"] == "voltage")
        .unwrap();
    let id = voltage["id"].as_i64().unwrap();
    let (from, to) = (start.as_millis(), at(start, 2400).as_millis());
    let path = format!("/v1/series/{id}/data?from={from}&to={to}&points=50");
    let data = client.get(&path).await.json();
    let buckets = &data["buckets"];
    let largest = buckets["max"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|v| v.as_f64());
    assert_eq!(largest.fold(0.0, f64::max), 999.5);
    let times = buckets["t"].as_array().unwrap();
    assert!(times.len() <= 50, "{}", times.len());
    let counted: u64 = buckets["count"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(serde_json::Value::as_u64)
        .sum();
    assert_eq!(counted, 35 * 60);

    let gaps = data["gaps"].as_array().unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["kind"], "missing");
    let gap = gaps[0]["to_ms"].as_i64().unwrap() - gaps[0]["from_ms"].as_i64().unwrap();
    // Told by buckets of a minute or so, it may be short by one at either end.
    assert!(gap > 170_000, "{gaps:?} of {data}");
    let lost = data["lost"].as_array().unwrap();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0]["reason"], "evicted");
    assert_eq!(lost[0]["readings"], 300);
    assert_eq!(lost[0]["from_ms"], since.as_millis());

    // Near enough, every sample comes, by either spelling of the times.
    let (near, end) = (at(start, 625).as_millis(), "2026-09-21T14:24:00Z");
    assert!(end.parse::<jiff::Timestamp>().unwrap().as_millisecond() > near);
    let near = format!(
        "/v1/series/{id}/data?from={near}&to={}&points=50",
        near + 20_000
    );
    let close = client.get(&near).await.json();
    let numbers = close["samples"]["number"].as_array().unwrap();
    assert!(
        numbers.iter().any(|v| v.as_f64() == Some(999.5)),
        "{numbers:?}"
    );
    assert_eq!(close["buckets"], serde_json::Value::Null);

    let ledger = client.get("/v1/ledger?gateway=gw-1").await.json();
    assert_eq!(ledger.as_array().unwrap().len(), 1);
    let later = ledger[0]["id"].as_i64().unwrap();
    let after = client
        .get(&format!("/v1/ledger?after={later}"))
        .await
        .json();
    assert_eq!(after.as_array().unwrap().len(), 0);
    let stats = client.get("/v1/stats").await.json();
    assert_eq!(
        (&stats["stored"], &stats["lost"]),
        (&2100.into(), &300.into())
    );
}

#[tokio::test]
async fn events_quarantine_and_refusals_are_listed() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let now = stack.clock.now();
    let mut feed = Feed::start(stack.store.as_ref(), "gw-1", &POINTS, now).await;
    for n in 0..5_u64 {
        let text = format!("number {n}");
        feed.event(
            stack.store.as_ref(),
            EventKind::Spool,
            "spool",
            &text,
            at(now, n),
        )
        .await;
    }
    stack
        .store
        .quarantine(cloud_store::QuarantineInput {
            gateway: Some(feed.gateway.clone()),
            topic: "gw/gw-1/up/telemetry".to_owned(),
            payload: vec![0xde, 0xad],
            reason: "not an envelope".to_owned(),
            received: now,
        })
        .await
        .unwrap();
    let events = client.get("/v1/events?gateway=gw-1&limit=2").await.json();
    let texts: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["text"].clone())
        .collect();
    assert_eq!(texts, ["number 4", "number 3"]);
    let before = events[1]["id"].as_i64().unwrap();
    let older = client
        .get(&format!("/v1/events?gateway=gw-1&before={before}"))
        .await
        .json();
    assert_eq!(older.as_array().unwrap().len(), 3);
    let set_aside = client.get("/v1/quarantine").await.json();
    assert_eq!(set_aside[0]["head_hex"], "dead");
    assert_eq!(set_aside[0]["gateway"], "gw-1");
    let refused = client.get("/v1/refusals").await.json();
    assert_eq!(refused[0]["client"], "gw-b");
    assert_eq!(refused[0]["times"], 3);
}

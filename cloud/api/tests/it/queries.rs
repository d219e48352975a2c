//! What the routes answer about gateways, devices, values, history and losses.

use crate::feed::{Feed, Loss, Point};
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

/// 40 minutes of voltage at 1 Hz with one peak; minutes 20 to 25 never arrive and are claimed. Gives
/// the begin of the loss.
async fn forty_minutes(stack: &Stack, feed: &mut Feed) -> Timestamp {
    let start = stack.clock.now();
    for minute in (0..20_u64).chain(25..40) {
        if minute == 25 {
            let loss = Loss {
                range: feed.skip(5),
                reason: LossReason::Evicted,
                from: at(start, 20 * 60),
                to: at(start, 25 * 60),
                readings: Some(300),
            };
            feed.claim(stack.store.as_ref(), loss).await;
        }
        let from = at(start, minute * 60);
        let takes: Vec<_> = (0..60_u32)
            .map(|second| {
                let peak = minute == 10 && second == 31;
                let value = if peak {
                    999.5
                } else {
                    230.0 + f64::from(second % 7)
                };
                (0, at(from, u64::from(second)), Ok(Value::F64(value)))
            })
            .collect();
        feed.readings(stack.store.as_ref(), &takes, at(from, 60))
            .await;
    }
    at(start, 20 * 60)
}

#[tokio::test]
async fn a_gap_is_one_at_every_zoom() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let start = stack.clock.now();
    let mut feed = Feed::start(stack.store.as_ref(), "gw-1", &POINTS, start).await;
    // Once a second, but for a minute of silence.
    for minute in (0..20_u64).chain(21..40) {
        let from = at(start, minute * 60);
        let takes = (0..60).map(|second| (0, at(from, second), Ok(Value::F64(230.0))));
        let takes: Vec<_> = takes.collect();
        let store = stack.store.as_ref();
        feed.readings(store, &takes, at(from, 60)).await;
    }
    let series = client.get("/v1/gateways/gw-1/series").await.json();
    let mut series = series.as_array().unwrap().iter();
    let voltage = series.find(|s| s["point"] == "voltage").unwrap();
    let id = voltage["id"].as_i64().unwrap();
    let gap_at = start.as_millis() + 20 * 60_000;
    // From all of it down to the two readings at its ends, in few points and in many.
    for (before_ms, after_ms) in [(1_200_000, 1_260_000), (60_000, 120_000), (1_500, 60_500)] {
        for points in [200, 10_000] {
            let (from, to) = (gap_at - before_ms, gap_at + after_ms);
            let path = format!("/v1/series/{id}/data?from={from}&to={to}&points={points}");
            let data = client.get(&path).await.json();
            let gaps = data["gaps"].as_array().unwrap();
            assert_eq!(
                gaps.len(),
                1,
                "{before_ms} ms before, {points} points: {gaps:?}"
            );
            let gap = gaps[0]["to_ms"].as_i64().unwrap() - gaps[0]["from_ms"].as_i64().unwrap();
            assert!((40_000..=61_000).contains(&gap), "{gaps:?}");
        }
    }
}

#[tokio::test]
async fn peaks_survive_downsampling_and_gaps_and_losses_are_told() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let start = stack.clock.now();
    let mut feed = Feed::start(stack.store.as_ref(), "gw-1", &POINTS, start).await;
    let lost_from = forty_minutes(&stack, &mut feed).await;
    let series = client.get("/v1/gateways/gw-1/series").await.json();
    let voltage = series
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["point"] == "voltage")
        .unwrap();
    let id = voltage["id"].as_i64().unwrap();
    let (from, to) = (start.as_millis(), at(start, 2400).as_millis());
    let data = client
        .get(&format!(
            "/v1/series/{id}/data?from={from}&to={to}&points=50"
        ))
        .await;
    let data = data.json();
    let buckets = &data["buckets"];
    assert!(
        buckets["max"].as_array().unwrap().contains(&999.5.into()),
        "{buckets}"
    );
    assert!(buckets["t"].as_array().unwrap().len() <= 50, "{buckets}");
    let counts = buckets["count"].as_array().unwrap().iter();
    assert_eq!(
        counts.filter_map(serde_json::Value::as_u64).sum::<u64>(),
        35 * 60
    );

    let gaps = data["gaps"].as_array().unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["kind"], "missing");
    let gap = gaps[0]["to_ms"].as_i64().unwrap() - gaps[0]["from_ms"].as_i64().unwrap();
    // Told by buckets of a minute or so, it may be short by one at either end.
    assert!(gap > 170_000, "{gaps:?}");
    let lost = data["lost"].as_array().unwrap();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(
        (&lost[0]["reason"], &lost[0]["readings"]),
        (&"evicted".into(), &300.into())
    );
    assert_eq!(lost[0]["from_ms"], lost_from.as_millis());

    // Near enough, every sample comes.
    let near = at(start, 625).as_millis();
    let near = format!(
        "/v1/series/{id}/data?from={near}&to={}&points=50",
        near + 20_000
    );
    let close = client.get(&near).await.json();
    let numbers = close["samples"]["number"].as_array().unwrap();
    assert!(numbers.contains(&999.5.into()), "{numbers:?}");
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

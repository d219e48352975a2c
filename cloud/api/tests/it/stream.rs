//! The live stream: values, coalescing, resume, gaps, and its end with the session.

use crate::feed::{Feed, Point};
use crate::support::{Client, PATIENCE, Stack};
use protocols_model::{Timestamp, Value, ValueType};
use protocols_wire::EventKind;
use std::time::Duration;

const POINTS: [Point<'static>; 2] = [
    ("meter-1", "voltage", ValueType::F64, "V", 0.1),
    ("meter-1", "current", ValueType::F64, "A", 0.01),
];

fn at(base: Timestamp, seconds: u64) -> Timestamp {
    base.plus(Duration::from_secs(seconds))
}

async fn set_up(stack: &Stack) -> (Client, Feed) {
    let client = stack.logged_in().await;
    let feed = Feed::start(stack.store.as_ref(), "gw-1", &POINTS, stack.clock.now()).await;
    (client, feed)
}

async fn commit(stack: &Stack, feed: &mut Feed, second: u64, value: f64) {
    let time = at(stack.clock.now(), second);
    feed.readings(
        stack.store.as_ref(),
        &[(0, time, Ok(Value::F64(value)))],
        time,
    )
    .await;
}

fn numbers(data: &str) -> Vec<f64> {
    let values: serde_json::Value = serde_json::from_str(data).unwrap();
    values
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["number"].as_f64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_commit_reaches_an_open_page_and_the_newest_value_wins() {
    let stack = Stack::start().await;
    let (client, mut feed) = set_up(&stack).await;
    let mut stream = client.stream("/v1/stream", None).await;
    assert_eq!(stream.next().await.unwrap().name, "open");
    for second in 0..20 {
        commit(
            &stack,
            &mut feed,
            second,
            f64::from(u32::try_from(second).unwrap()),
        )
        .await;
    }
    let mut events = 0;
    loop {
        let event = stream.next().await.unwrap();
        events += 1;
        let seen = numbers(&event.data);
        assert_eq!(seen.len(), 1, "one value a series: {event:?}");
        if seen == [19.0] {
            break;
        }
    }
    assert!(events <= 20, "{events}");
}

#[tokio::test]
async fn a_page_that_comes_back_gets_what_it_missed() {
    let stack = Stack::start().await;
    let (client, mut feed) = set_up(&stack).await;
    let mut stream = client.stream("/v1/stream", None).await;
    let opened = stream.next().await.unwrap();
    commit(&stack, &mut feed, 1, 1.0).await;
    let first = stream.next().await.unwrap();
    assert_eq!(numbers(&first.data), [1.0]);
    drop(stream);

    commit(&stack, &mut feed, 2, 2.0).await;
    // Wait until the frame exists: another page sees it.
    let mut other = client.stream("/v1/stream", opened.id.as_deref()).await;
    while numbers(&other.next().await.unwrap().data) != [2.0] {}

    let mut back = client.stream("/v1/stream", first.id.as_deref()).await;
    let missed = back.next().await.unwrap();
    assert_eq!(
        (missed.name.as_str(), numbers(&missed.data)),
        ("values", vec![2.0])
    );
    assert_ne!(missed.id, first.id);
}

#[tokio::test]
async fn an_id_of_another_life_is_answered_by_a_gap() {
    let stack = Stack::start().await;
    let (client, mut feed) = set_up(&stack).await;
    for id in ["0000000000000001-5", "garbage", ""] {
        let mut stream = client.stream("/v1/stream", Some(id)).await;
        let event = stream.next().await.unwrap();
        assert_eq!(event.name, "gap", "{id:?}");
        // From there the stream goes on, and its id is good to resume from.
        let mut back = client.stream("/v1/stream", event.id.as_deref()).await;
        assert_eq!(back.next().await.unwrap().name, "open");
    }
    let mut stream = client.stream("/v1/stream", Some("garbage")).await;
    assert_eq!(stream.next().await.unwrap().name, "gap");
    commit(&stack, &mut feed, 1, 1.0).await;
    assert_eq!(stream.next().await.unwrap().name, "values");
}

#[tokio::test]
async fn a_stream_about_one_series_hears_nothing_of_the_others() {
    let stack = Stack::start().await;
    let (client, mut feed) = set_up(&stack).await;
    let time = stack.clock.now();
    let both = [
        (0, time, Ok(Value::F64(1.0))),
        (1, time, Ok(Value::F64(2.0))),
    ];
    feed.readings(stack.store.as_ref(), &both, time).await;
    let series = client.get("/v1/gateways/gw-1/series").await.json();
    let current = series
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["point"] == "current")
        .unwrap();
    let path = format!("/v1/stream?gateway=gw-1&series={}", current["id"]);
    let mut stream = client.stream(&path, None).await;
    assert_eq!(stream.next().await.unwrap().name, "open");
    let later = at(time, 5);
    let both = [
        (0, later, Ok(Value::F64(3.0))),
        (1, later, Ok(Value::F64(4.0))),
    ];
    feed.readings(stack.store.as_ref(), &both, later).await;
    loop {
        // The first frame may still be the one from before the stream was opened.
        let seen = numbers(&stream.next().await.unwrap().data);
        assert_eq!(seen.len(), 1);
        if seen == [4.0] {
            break;
        }
    }
}

#[tokio::test]
async fn events_and_ledger_entries_are_announced() {
    let stack = Stack::start().await;
    let (client, mut feed) = set_up(&stack).await;
    let mut stream = client.stream("/v1/stream", None).await;
    assert_eq!(stream.next().await.unwrap().name, "open");
    let now = stack.clock.now();
    feed.event(stack.store.as_ref(), EventKind::Started, "", "", now)
        .await;
    let event = stream.next().await.unwrap();
    assert_eq!(event.name, "changed");
    let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(
        (&data["gateway"], &data["events"]),
        (&"gw-1".into(), &true.into())
    );
}

#[tokio::test]
async fn a_logout_ends_the_live_stream_too() {
    let stack = Stack::start().await;
    let (client, _feed) = set_up(&stack).await;
    let mut stream = client.stream("/v1/stream", None).await;
    assert_eq!(stream.next().await.unwrap().name, "open");
    let began = tokio::time::Instant::now();
    assert_eq!(client.post("/v1/logout", "{}").await.status, 204);
    assert!(stream.next().await.is_none());
    // "Within a second" on quiet cores; the bound here only has to tell it from the heartbeat.
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_page_that_does_not_read_never_holds_up_commits() {
    let stack = Stack::start().await;
    let (client, mut feed) = set_up(&stack).await;
    let stuck = client.stream("/v1/stream", None).await;
    let commits = async {
        for second in 0..200 {
            commit(&stack, &mut feed, second, 1.0).await;
        }
    };
    tokio::time::timeout(PATIENCE, commits)
        .await
        .expect("commits waited for a page");
    drop(stuck);
}

//! The API and the page with a seeded store and moving values, without broker and gateways: for work
//! on the dashboard, and to look at it.
//!
//! `FOGLINE_DEMO=1 cargo test -p cloud-api --test it serve_a_demo -- --ignored --nocapture`, then open
//! the URL it prints. Its database stands in a temporary folder; it stops at Ctrl-C.

use crate::feed::{Feed, Loss, Point, Take};
use crate::support::write_pair;
use cloud_api::{Alone, ApiConfig, Listen, OneTimeLogin, first_user};
use cloud_store::{SqliteOptions, SqliteStore, Store};
use protocols_model::{
    AlarmLevel, AlarmState, Clock as _, LossReason, Reason, SystemClock, Timestamp, Value,
    ValueType,
};
use protocols_wire::EventKind;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const POINTS: [Point<'static>; 14] = [
    ("meter-1", "u_l1", ValueType::F64, "V", 0.1),
    ("meter-1", "u_l2", ValueType::F64, "V", 0.1),
    ("meter-1", "u_l3", ValueType::F64, "V", 0.1),
    ("meter-1", "i_l1", ValueType::F64, "A", 0.001),
    ("meter-1", "p_total", ValueType::F64, "W", 1.0),
    ("meter-1", "energy", ValueType::U64, "Wh", 1.0),
    ("meter-1", "frequency", ValueType::F64, "Hz", 0.01),
    ("pump-1", "running", ValueType::Bool, "", 1.0),
    ("pump-1", "speed", ValueType::F64, "1/min", 1.0),
    ("pump-1", "pressure", ValueType::F64, "bar", 0.01),
    ("tank-7", "level", ValueType::F64, "%", 0.1),
    ("tank-7", "temperature", ValueType::F64, "°C", 0.1),
    ("tank-7", "firmware", ValueType::Text, "", 1.0),
    ("tank-7", "alarms", ValueType::I64, "", 1.0),
];

/// Values of all points at one time; `tank-7` is silent where `silent` says so.
fn values(time: Timestamp, silent: bool) -> Vec<Take> {
    let seconds = time.as_millis() as f64 / 1000.0;
    let wave = |period: f64, height: f64| (seconds / period).sin() * height;
    let noise = || fastrand::f64() - 0.5;
    let number = |value: f64| Ok(Value::F64(value));
    let spike = if fastrand::u32(..4000) == 0 {
        420.0
    } else {
        0.0
    };
    let mut takes = vec![
        (0, time, number(229.8 + wave(37.0, 2.1) + noise() * 0.6)),
        (1, time, number(230.4 + wave(41.0, 1.7) + noise() * 0.6)),
        (2, time, number(228.9 + wave(53.0, 2.4) + noise() * 0.6)),
        (3, time, number(12.4 + wave(90.0, 3.1) + noise() * 0.2)),
        (
            4,
            time,
            number((2850.0 + wave(90.0, 700.0) + noise() * 60.0 + spike).round()),
        ),
        (
            5,
            time,
            Ok(Value::U64(
                48_211_940 + time.as_millis().unsigned_abs() / 1200 % 90_000_000,
            )),
        ),
        (6, time, number(50.0 + wave(17.0, 0.02) + noise() * 0.01)),
        (
            7,
            time,
            Ok(Value::Bool((time.as_millis() / 47_000) % 3 != 0)),
        ),
        (8, time, number((1450.0 + wave(23.0, 30.0)).round())),
        (9, time, number(3.2 + wave(61.0, 0.4) + noise() * 0.03)),
    ];
    if silent {
        takes.extend((10..14).map(|place| (place, time, Err(Reason::Timeout))));
    } else {
        takes.push((10, time, number(62.0 + wave(600.0, 18.0))));
        takes.push((11, time, number(18.4 + wave(900.0, 1.2) + noise() * 0.1)));
        takes.push((12, time, Ok(Value::Text("TK 2.14".into()))));
        takes.push((13, time, Ok(Value::I64(i64::from(fastrand::u8(..20) == 0)))));
    }
    takes
}

/// Two hours of history with an outage that lost something and one that did not.
async fn seed(store: &dyn Store, feed: &mut Feed, now: Timestamp) {
    let start = now.minus(Duration::from_secs(7200));
    let mut second = 0_u64;
    while second < 7200 {
        let time = start.plus(Duration::from_secs(second));
        if second == 2400 {
            let range = feed.skip(12);
            let until = time.plus(Duration::from_secs(420));
            feed.claim(
                store,
                Loss {
                    range,
                    reason: LossReason::Evicted,
                    from: time,
                    to: until,
                    readings: Some(2940),
                },
            )
            .await;
            second += 420;
            continue;
        }
        if second == 6960 {
            let range = feed.skip(2);
            let until = time.plus(Duration::from_secs(20));
            feed.claim(
                store,
                Loss {
                    range,
                    reason: LossReason::CrashTail,
                    from: time,
                    to: until,
                    readings: None,
                },
            )
            .await;
            second += 60;
            continue;
        }
        let takes: Vec<Take> = (0..60)
            .step_by(2)
            .flat_map(|s| {
                values(
                    time.plus(Duration::from_secs(s)),
                    (4000..4600).contains(&second),
                )
            })
            .collect();
        feed.readings(store, &takes, time.plus(Duration::from_secs(60)))
            .await;
        second += 60;
    }
    say(store, feed, start, now).await;
}

/// Alarms in every state.
async fn alarms(store: &dyn Store, feed: &mut Feed, now: Timestamp) {
    let hour = Duration::from_secs(3600);
    let (fatal, old) = (AlarmLevel::Critical, now.minus(hour * 3));
    let words = [
        (
            "pressure",
            AlarmLevel::High,
            AlarmState::Raised,
            "pump 1: pressure above 3.5 bar",
            9,
            now,
        ),
        (
            "tank-level",
            fatal,
            AlarmState::Raised,
            "tank 7 nearly full",
            10,
            old,
        ),
        (
            "tank-level",
            fatal,
            AlarmState::Acknowledged,
            "tank 7 nearly full",
            10,
            now,
        ),
        (
            "grid",
            AlarmLevel::Medium,
            AlarmState::Raised,
            "grid voltage low",
            0,
            old,
        ),
        (
            "grid",
            AlarmLevel::Medium,
            AlarmState::Returned,
            "grid voltage low",
            0,
            now,
        ),
        (
            "speed",
            AlarmLevel::Low,
            AlarmState::Raised,
            "pump 1 runs slowly",
            8,
            old,
        ),
        (
            "speed",
            AlarmLevel::Low,
            AlarmState::Normal,
            "pump 1 runs slowly",
            8,
            now,
        ),
    ];
    for (name, level, state, text, about, at) in words {
        feed.alarm(store, (name, level, state, text), about, at)
            .await;
    }
    feed.event(
        store,
        EventKind::Rule,
        "pressure",
        "wrote pump-1/speed = 1300",
        now,
    )
    .await;
}

/// What the gateway said of itself meanwhile.
async fn say(store: &dyn Store, feed: &mut Feed, start: Timestamp, now: Timestamp) {
    feed.event(
        store,
        EventKind::Started,
        "",
        "fogline-gateway 0.1.0 started",
        start,
    )
    .await;
    for device in ["meter-1", "pump-1"] {
        feed.event(store, EventKind::DeviceLink, device, "up", start)
            .await;
    }
    feed.event(
        store,
        EventKind::DeviceLink,
        "tank-7",
        "down (timeout)",
        now,
    )
    .await;
    feed.event(
        store,
        EventKind::Spool,
        "telemetry",
        "the bound was reached; the oldest went",
        now,
    )
    .await;
    alarms(store, feed, now).await;
    feed.hello(store, now).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "serves until it is stopped"]
async fn serve_a_demo() {
    // A run of all ignored tests must not hang here.
    if std::env::var_os("FOGLINE_DEMO").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(
        SqliteStore::open(&folder.path().join("fogline.db"), SqliteOptions::default()).unwrap(),
    );
    let clock = SystemClock::start();
    let now = clock.wall();
    let mut north = Feed::start(store.as_ref(), "gw-north", &POINTS, now).await;
    seed(store.as_ref(), &mut north, now).await;
    let south = Feed::start(store.as_ref(), "gw-south", &POINTS[..7], now).await;
    let mut south = south;
    let earlier = now.minus(Duration::from_secs(600));
    south
        .readings(store.as_ref(), &values(earlier, false)[..7], earlier)
        .await;
    store
        .set_session(&south.gateway, false, earlier)
        .await
        .unwrap();

    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut config = ApiConfig::new(Listen::Socket(socket), write_pair(folder.path()));
    config.one_time_login = OneTimeLogin::MaySkip;
    let first = first_user(store.as_ref(), now).await.unwrap().unwrap();
    println!(
        "url=https://localhost:{port} user={} password={}",
        first.name, first.password
    );

    let stop = CancellationToken::new();
    let server = tokio::spawn(cloud_api::serve(
        config,
        Arc::clone(&store),
        Arc::new(Alone),
        stop.clone(),
    ));
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => break,
            _ = tick.tick() => {
                let now = clock.wall();
                north.readings(store.as_ref(), &values(now, true), now).await;
            }
        }
    }
    stop.cancel();
    server.await.unwrap().unwrap();
}

//! Orders: confirmed, refused, read back, lost; never sent twice.

use crate::rig::*;
use protocols_driver::WriteError;
use protocols_model::{Instant, PointKey, Reason, Value};
use protocols_serial::config::{Bus, Confirm, Pattern, Write};
use std::time::Duration;

fn confirmed(expect: &str, refused: Option<&str>) -> Confirm {
    Confirm::Answer {
        expect: Pattern::new(expect).unwrap(),
        refused: refused.map(|text| Pattern::new(text).unwrap()),
    }
}

/// [`asked`], with a point that is written.
fn writable(command: &str, confirm: Confirm) -> Bus {
    let mut bus = asked();
    let point = &mut bus.devices[0].points[0];
    point.value.range = Some(0.0..=30.0);
    point.write = Some(Write {
        command: command.parse().unwrap(),
        confirm,
    });
    bus
}

/// A rig whose first poll was answered, and the device's end.
async fn started(bus: Bus) -> (Rig, tokio::io::DuplexStream) {
    let mut rig = Rig::new(bus);
    let mut port = rig.port().await;
    until(&mut port, b"V?\n").await;
    say(&mut port, b"0\n").await;
    assert_eq!(rig.one().await, good(0.0));
    (rig, port)
}

#[tokio::test(start_paused = true)]
async fn a_write_is_confirmed_or_refused_by_the_device() {
    let (rig, mut port) =
        started(writable("V {value:.2}\\n", confirmed("OK", Some("ERR.*")))).await;
    let placed = rig.place(0, Value::F64(12.5));
    assert_eq!(until(&mut port, b"\n").await, b"V 12.50\n");
    say(&mut port, b"OK\n").await;
    let written = placed.await.unwrap().unwrap();
    assert_eq!(written.read_back, None);

    let placed = rig.place(0, Value::F64(1.0));
    until(&mut port, b"\n").await;
    say(&mut port, b"ERR 222\n").await;
    assert_eq!(
        placed.await.unwrap(),
        Err(WriteError::Refused("ERR 222".into()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_confirms_is_unknown_and_sent_once() {
    let (mut rig, mut port) = started(writable("V {value}\\n", confirmed("OK", None))).await;
    let placed = rig.place(0, Value::F64(5.0));
    assert_eq!(until(&mut port, b"\n").await, b"V 5\n");
    assert_eq!(placed.await.unwrap(), Err(WriteError::Unknown));
    // What comes next on the wire is the poll. A confirmation later than all waiting spoils its answer,
    // and is not taken for it.
    assert_eq!(until(&mut port, b"\n").await, b"V?\n");
    say(&mut port, b"OK\n4\n").await;
    assert_eq!(rig.one().await, bad(Reason::BadAnswer));
    assert_eq!(until(&mut port, b"\n").await, b"V?\n");
    say(&mut port, b"4\n").await;
    assert_eq!(rig.one().await, good(4.0));

    // Lost with the port: unknown too, and not repeated on the new one.
    let placed = rig.place(0, Value::F64(6.0));
    until(&mut port, b"V 6\n").await;
    drop(port);
    assert_eq!(placed.await.unwrap(), Err(WriteError::Unknown));
    let mut port = rig.port().await;
    assert_eq!(until(&mut port, b"\n").await, b"V?\n");
}

#[tokio::test(start_paused = true)]
async fn a_verified_write_is_read_back_within_its_resolution() {
    let (rig, mut port) = started(writable("V {value:.1}\\n", Confirm::ReadBack)).await;
    for (back, expected) in [
        (b"12.3\n".as_slice(), Ok(Some(Value::F64(12.3)))),
        (b"12.9\n", Err(WriteError::NotVerified(Value::F64(12.9)))),
        (b"", Err(WriteError::Unknown)),
    ] {
        let placed = rig.place(0, Value::F64(12.34));
        assert_eq!(until(&mut port, b"\n").await, b"V 12.3\n");
        assert_eq!(until(&mut port, b"\n").await, b"V?\n");
        say(&mut port, back).await;
        assert_eq!(
            placed.await.unwrap().map(|written| written.read_back),
            expected
        );
        // The poll that is due meanwhile is answered too.
        let poll = tokio::time::timeout(Duration::from_millis(2), until(&mut port, b"\n")).await;
        if poll.is_ok() {
            say(&mut port, b"1\n").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_refused_before_anything_is_sent() {
    let (rig, mut port) = started(writable("V {value}\\n", confirmed("OK", None))).await;
    let refused = |outcome: Result<_, WriteError>, says: &str| match outcome {
        Err(WriteError::BadValue(text)) => assert!(text.contains(says), "{text}"),
        other => panic!("{other:?}"),
    };
    refused(
        rig.place(0, Value::U64(1)).await.unwrap(),
        "it takes f64, not u64",
    );
    refused(
        rig.place(0, Value::F64(30.1)).await.unwrap(),
        "its range is 0 to 30",
    );
    refused(rig.place(0, Value::F64(f64::NAN)).await.unwrap(), "range");
    assert_eq!(
        rig.place(7, Value::F64(1.0)).await.unwrap(),
        Err(WriteError::UnknownPoint)
    );
    let late = rig
        .desk
        .place(PointKey(0), Value::F64(1.0), Instant::default())
        .await;
    assert_eq!(late, Err(WriteError::Expired));
    assert_eq!(until(&mut port, b"\n").await, b"V?\n", "nothing was sent");

    let (rig, _port) = started(asked()).await;
    assert_eq!(
        rig.place(0, Value::F64(1.0)).await.unwrap(),
        Err(WriteError::ReadOnly)
    );
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_away_is_not_written() {
    let (mut rig, port) = started(writable("V {value}\\n", confirmed("OK", None))).await;
    rig.ports.set(Plug::Out);
    drop(port);
    assert_eq!(rig.one().await, bad(Reason::LinkDown));
    assert_eq!(
        rig.place(0, Value::F64(1.0)).await.unwrap(),
        Err(WriteError::Unreachable)
    );

    let mut rig = Rig::new(writable("V {value}\\n", confirmed("OK", None)));
    let _port = rig.port().await;
    rig.eventually(bad(Reason::NotAsked)).await;
    assert_eq!(
        rig.place(0, Value::F64(1.0)).await.unwrap(),
        Err(WriteError::Unreachable)
    );
}

#[tokio::test(start_paused = true)]
async fn a_scale_that_sends_by_itself_is_tared_among_its_lines() {
    let mut bus = listening();
    let mut tare = bus.devices[0].points[0].clone();
    (tare.key, tare.read) = (PointKey(1), None);
    tare.write = Some(Write {
        command: "T\\r\\n".parse().unwrap(),
        confirm: confirmed("TARED", None),
    });
    bus.devices[0].points.push(tare);
    let mut rig = Rig::new(bus);
    let mut port = rig.port().await;
    say(&mut port, b"\nST,+ 12.50kg\n").await;
    assert_eq!(rig.one().await, good(12.5));
    let placed = rig.place(1, Value::Bool(true));
    assert_eq!(until(&mut port, b"\n").await, b"T\r\n");
    say(&mut port, b"ST,+ 12.51kg\nTARED\nST,+ 0.00kg\n").await;
    assert!(placed.await.unwrap().is_ok());
    assert_eq!(rig.one().await, good(12.51));
    assert_eq!(rig.one().await, good(0.0));
}

#[tokio::test(start_paused = true)]
async fn orders_go_ahead_of_polls_and_through_a_full_channel() {
    let mut bus = writable("V {value}\\n", confirmed("OK", None));
    bus.devices[0].points[0].value.range = None;
    let mut rig = Rig::with_room(bus, 1);
    let mut port = rig.port().await;
    until(&mut port, b"V?\n").await;
    say(&mut port, b"0\n").await;
    // The channel is full from here on, and polls are due.
    sleep(5000).await;
    let placed = rig.place(0, Value::F64(1.0));
    assert_eq!(until(&mut port, b"\n").await, b"V 1\n");
    say(&mut port, b"OK\n").await;
    assert!(placed.await.unwrap().is_ok());
    assert_eq!(rig.one().await, good(0.0));
}

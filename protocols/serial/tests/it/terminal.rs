//! The driver on a real port: a pseudo-terminal, in real time.

use crate::rig::{TokioClock, listening};
use protocols_driver::{CancellationToken, Driver as _, DriverContext, Orders};
use protocols_line::PortConfig;
use protocols_model::{Reading, Value};
use protocols_serial::SerialDriver;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_serial::{SerialPort as _, SerialStream};

/// A machine that stands still is waited for.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), future).await;
    waited.expect("in time")
}

async fn until_good(sweeps: &mut mpsc::Receiver<protocols_driver::Sweep>) -> Reading {
    loop {
        let sweep = soon(sweeps.recv()).await.expect("the driver lives");
        if let Some(reading) = sweep.readings.into_iter().find(|r| r.quality.is_good()) {
            return reading;
        }
    }
}

#[tokio::test]
async fn a_port_is_read_lost_and_found_again_under_its_name() {
    let dir = std::env::temp_dir().join(format!("fogline-serial-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let link = dir.join("usb-scale-port0");
    let plug = || {
        let (far, near) = SerialStream::pair().unwrap();
        drop(std::fs::remove_file(&link));
        std::os::unix::fs::symlink(near.name().unwrap(), &link).unwrap();
        far
    };
    let mut bus = listening();
    bus.port = PortConfig::new(&link, "9600 8N1".parse().unwrap());
    // A machine that stands still takes no silence for the end of a line.
    bus.pause = Duration::from_secs(30);
    let driver = SerialDriver::new(bus).unwrap();
    let (sender, mut sweeps) = mpsc::channel(64);
    let (stop, status) = (CancellationToken::new(), driver.status());
    let ctx = DriverContext {
        sweeps: sender,
        stop: stop.clone(),
        clock: Arc::new(TokioClock::start()),
        orders: Orders::none(),
    };
    let mut far = plug();
    let task = tokio::spawn(Box::new(driver).run(ctx));
    for (round, weight) in [12.5, 13.5].into_iter().enumerate() {
        // Said until it is heard: nobody knows when the port is open.
        let line = format!("\nST,+ {weight:.2}kg\n");
        let speaking = async {
            loop {
                far.write_all(line.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let reading = tokio::select! {
            reading = until_good(&mut sweeps) => reading,
            () = speaking => unreachable!(),
        };
        assert_eq!(reading.value, Some(Value::F64(weight)));
        if round == 0 {
            drop(far);
            far = plug();
            // What was said before the plug was pulled may still be in the channel.
            soon(async {
                while status.counters.connects.get() < 2 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            while sweeps.try_recv().is_ok() {}
        }
    }
    assert_eq!(status.counters.disconnects.get(), 1);
    stop.cancel();
    soon(task).await.unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}

//! Ports on pseudo-terminals: held, linked, unplugged.

use super::*;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A pseudo-terminal: the far end and the path of the near one.
fn pty() -> (SerialStream, PathBuf) {
    let (far, near) = SerialStream::pair().unwrap();
    let path = PathBuf::from(near.name().unwrap());
    (far, path)
}

fn config(path: &Path) -> PortConfig {
    PortConfig::new(path, "19200 8E1".parse().unwrap())
}

/// A machine that stands still is waited for.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), future).await;
    waited.expect("in time")
}

#[tokio::test]
async fn bytes_go_both_ways_and_an_unplugged_port_is_said_and_closed_at_once() {
    let (mut far, path) = pty();
    let mut port = open(&config(&path)).await.unwrap();
    port.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    soon(far.read_exact(&mut bytes)).await.unwrap();
    far.write_all(b"pong").await.unwrap();
    soon(port.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"pong");

    let reading = tokio::spawn(async move {
        let error = port.read(&mut [0; 8]).await.unwrap_err();
        (port, error)
    });
    tokio::task::yield_now().await;
    drop(far);
    let (mut port, error) = soon(reading).await.unwrap();
    assert!(is_unplugged(&error), "{error:?}");
    assert!(port.stream.is_none(), "the descriptor is closed");
    assert!(port.lock.is_none(), "the lock file is gone");
    assert!(is_unplugged(&port.write(b"x").await.unwrap_err()));
    assert!(is_unplugged(&port.discard_input().unwrap_err()));
}

#[tokio::test]
async fn a_port_that_is_held_names_its_holder_by_whatever_link_it_is_opened() {
    let (_far, path) = pty();
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("usb-A-port0");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let first = open(&config(&link)).await.unwrap();
    for name in [&path, &link] {
        let error = open(&config(name)).await.unwrap_err();
        let OpenError::Held { holder, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(error.to_string().contains("another bus"), "{error}");
    }
    drop(first);
    open(&config(&path)).await.unwrap();
}

#[tokio::test]
async fn a_program_that_only_wrote_a_lock_file_is_respected_while_it_lives() {
    let (_far, path) = pty();
    let locks = tempfile::tempdir().unwrap();
    // A program that has the port without flock, as old terminal programs do.
    let mut other = std::process::Command::new("sleep")
        .arg("600")
        .stdin(std::fs::File::open(&path).unwrap())
        .spawn()
        .unwrap();
    let name = format!("LCK..{}", path.strip_prefix("/dev").unwrap().display());
    let file = locks.path().join(name.replace('/', "_"));
    std::fs::write(&file, format!("{:>10}\n", other.id())).unwrap();
    // The child has exec'ed when its name has changed.
    let told = soon(async {
        loop {
            let error = open_now(&config(&path), locks.path())
                .unwrap_err()
                .to_string();
            if error.contains("sleep") {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(
        told.ends_with(&format!("held by sleep (pid {})", other.id())),
        "{told}"
    );
    other.kill().unwrap();
    other.wait().unwrap();
    let port = open_now(&config(&path), locks.path()).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    drop(port);
    assert!(!file.exists());
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let missing = open(&config(Path::new("/dev/serial/by-id/none"))).await;
    assert!(matches!(missing, Err(OpenError::Missing { .. })));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("no-terminal");
    std::fs::write(&file, "").unwrap();
    let error = open(&config(&file)).await.unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    let (_far, path) = pty();
    let mut wanted = config(&path);
    wanted.rs485 = Some(crate::Rs485::default());
    let error = open(&wanted).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Rs485Unsupported { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("leave out rs485"));
    open(&config(&path)).await.unwrap();
}

//! The entry that is shipped: `HAProxy` takes its configuration, lets gateways through, keeps out who
//! does not speak TLS, and slows one source without touching another.

use anyhow::Context as _;
use cloud_pki::Authority;
use cloud_pki::authority::CA_CERTIFICATE_FILE;
use protocols_model::{Clock as _, SystemClock};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tests_harness::haproxy::{self, Entry, Limits, Server};
use tests_harness::ports;
use tests_harness::process::Process;
use tests_harness::wait::wait_for;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::rustls;

const DEADLINE: Duration = Duration::from_secs(60);
/// Attempts that one source may make in ten seconds here.
const ATTEMPTS: u32 = 20;
/// Attempts of a flood; so many times the bound that a slow machine stays above it.
const FLOOD: usize = 4000;

/// `HAProxy` before a broker that says back whatever it hears.
struct Stand {
    entry: Entry,
    reached: Arc<AtomicUsize>,
    haproxy: Process,
    _dir: TempDir,
}

/// Says why nothing is tested here, unless continuous integration wants it tested.
fn able() -> bool {
    let version = std::process::Command::new(haproxy::program())
        .arg("-v")
        .stdout(Stdio::null())
        .status();
    if version.is_ok_and(|status| status.success()) {
        return true;
    }
    let must = std::env::var_os("FOGLINE_REQUIRE_INTEROP").is_some_and(|value| value == "1");
    assert!(!must, "HAProxy is not installed: apt-get install haproxy");
    eprintln!("not tested: HAProxy is not installed (apt-get install haproxy)");
    false
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn server(name: &str, address: SocketAddr) -> Server {
    Server {
        name: name.to_owned(),
        address,
    }
}

/// `HAProxy` wants one to check the API with.
fn authority(dir: &Path) -> anyhow::Result<PathBuf> {
    Authority::init(dir, "test", SystemClock::start().wall())?;
    Ok(dir.join(CA_CERTIFICATE_FILE))
}

impl Stand {
    async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let listener = TcpListener::bind(loopback(0)).await?;
        let broker = listener.local_addr()?;
        let reached = Arc::new(AtomicUsize::new(0));
        tokio::spawn(echo(listener, Arc::clone(&reached)));
        let [mqtt, api, metrics, nobody] = ports::free()?;
        let entry = Entry {
            mqtt: loopback(mqtt),
            api: loopback(api),
            metrics: loopback(metrics),
            brokers: vec![server("broker-1", broker)],
            monitor_port: None,
            apis: vec![server("api-1", loopback(nobody))],
            ca: authority(dir.path())?,
            limits: Limits {
                connections: 200,
                attempts: ATTEMPTS,
                ..Limits::default()
            },
        };
        let haproxy = entry.start(dir.path(), dir.path())?;
        let stand = Self {
            entry,
            reached,
            haproxy,
            _dir: dir,
        };
        wait_for("HAProxy to answer", DEADLINE, async || {
            haproxy::denied(stand.entry.metrics).await
        })
        .await
        .with_context(|| stand.haproxy.last_words())?;
        Ok(stand)
    }

    /// A connection from an address of its own on loopback.
    async fn from(&self, last: u8) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        socket.bind(SocketAddr::new(source, 0))?;
        Ok(socket.connect(self.entry.mqtt).await?)
    }

    /// Whether what is said in pieces from an address comes back, that is reaches the broker.
    async fn passes(&self, last: u8, pieces: &[&[u8]]) -> anyhow::Result<bool> {
        let exchange = async {
            let mut stream = self.from(last).await?;
            let mut said = 0;
            for piece in pieces {
                stream.write_all(piece).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                said += piece.len();
            }
            let mut back = vec![0; said];
            stream.read_exact(&mut back).await?;
            anyhow::Ok(())
        };
        let exchange = tokio::time::timeout(DEADLINE, exchange).await;
        Ok(exchange.context("neither let through nor refused")?.is_ok())
    }

    async fn stop(mut self) {
        self.haproxy.kill().await.unwrap();
    }
}

async fn echo(listener: TcpListener, reached: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let reached = Arc::clone(&reached);
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            let mut first = true;
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                // A check of `HAProxy` says nothing and is not counted.
                reached.fetch_add(usize::from(std::mem::take(&mut first)), Ordering::Relaxed);
                if stream.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// How a gateway begins.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("mqtt.example.com").unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn haproxy_takes_the_shipped_configuration_with_every_kind_of_check() {
    if !able() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path()).unwrap();
    for monitor_port in [None, Some(8222)] {
        let entry = Entry {
            mqtt: loopback(8883),
            api: loopback(8443),
            metrics: loopback(8405),
            brokers: vec![
                server("broker-1", "192.0.2.1:8883".parse().unwrap()),
                server("broker-2", "[2001:db8::2]:8883".parse().unwrap()),
            ],
            monitor_port,
            apis: vec![server("api-1", "192.0.2.3:8443".parse().unwrap())],
            ca: ca.clone(),
            limits: Limits::default(),
        };
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, entry.render()).unwrap();
        let checked = std::process::Command::new(haproxy::program())
            .args(["-c", "-f"])
            .arg(&file)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{words}");
        assert!(!words.contains("[WARNING]"), "{words}");
    }
}

#[tokio::test]
async fn a_flood_from_one_source_is_limited_and_counted_and_touches_no_other() {
    if !able() {
        return;
    }
    let stand = Stand::start().await.unwrap();
    let hello = client_hello();
    assert!(
        stand.passes(2, &[&hello]).await.unwrap(),
        "before the flood"
    );
    let mut refused = 0;
    for _ in 0..FLOOD {
        refused += u64::from(!stand.passes(3, &[&hello]).await.unwrap());
        if refused >= 20 {
            break;
        }
    }
    assert!(refused >= 20, "only {refused} of {FLOOD} were kept out");
    let denied = haproxy::denied(stand.entry.metrics).await;
    assert!(denied.unwrap() >= 20);
    assert!(stand.passes(2, &[&hello]).await.unwrap(), "another source");
    stand.stop().await;
}

#[tokio::test]
async fn who_does_not_begin_with_tls_never_reaches_the_broker() {
    if !able() {
        return;
    }
    let stand = Stand::start().await.unwrap();
    // CONNECT of MQTT 3.1.1 with the client id "gw-1".
    let plain = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x0f\x00\x04gw-1";
    assert!(!stand.passes(4, &[plain]).await.unwrap());
    assert!(!stand.passes(4, &[b"GET / HTTP/1.1\r\n\r\n"]).await.unwrap());
    assert_eq!(stand.reached.load(Ordering::Relaxed), 0);
    // The same source in its proper language, in two pieces as a bad link may cut it.
    let hello = client_hello();
    let (first, second) = hello.split_at(7);
    assert!(stand.passes(4, &[first, second]).await.unwrap());
    assert_eq!(stand.reached.load(Ordering::Relaxed), 1);
    stand.stop().await;
}

//! One installation in a temporary folder: commands, broker, services; everything ends with it.

use rustls_pki_types::pem::PemObject as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Every wait in these tests ends by then.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) mqtt: SocketAddr,
    api: SocketAddr,
    broker: Option<Child>,
    cloud: Option<Child>,
}

pub(crate) fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "never: {what}");
        std::thread::yield_now();
        #[expect(
            clippy::disallowed_methods,
            reason = "a pause between two looks at a condition"
        )]
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Where the broker's binary is; tells how to get it when it is nowhere.
fn nats_server() -> PathBuf {
    let fetched = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../target/tools/bin/nats-server"
    );
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| {
        let dirs = std::env::split_paths(&path);
        dirs.map(|dir| dir.join("nats-server")).collect::<Vec<_>>()
    });
    std::env::var_os("FOGLINE_NATS_SERVER")
        .map(PathBuf::from)
        .into_iter()
        .chain(on_path)
        .chain([PathBuf::from(fetched)])
        .find(|path| path.is_file())
        .expect("no nats-server found; `cargo xtask tools` installs it")
}

/// A port of loopback that nobody listens on, and that nobody is given while its owner is down: below
/// the range from which the system gives ports to whoever asks for any, and never twice by this process.
pub(crate) fn free_port() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let mut tries = std::iter::repeat_with(|| {
        let turn = std::process::id().wrapping_mul(97) + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + u16::try_from(turn % 20_000).unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    });
    let free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    tries.find(free).unwrap()
}

impl Site {
    /// `init`, broker and services, ready.
    pub(crate) fn start() -> Self {
        let mut site = Self::made();
        site.start_broker();
        site.start_cloud();
        site
    }

    /// `init` alone.
    pub(crate) fn made() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let [mqtt, client, api] = [(); 3].map(|()| free_port());
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
            mqtt,
            api,
            broker: None,
            cloud: None,
        };
        let made = Command::new(env!("CARGO_BIN_EXE_fogline-cloud"))
            .args(["init", "--dir"])
            .arg(site.dir.path().join("f"))
            .args(["--mqtt-port", &mqtt.port().to_string()])
            .args(["--client-port", &client.port().to_string()])
            .args(["--api-port", &api.port().to_string()])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("f").join(name)
    }

    /// Runs a command of the program on this installation.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_fogline-cloud"))
            .args(arguments)
            .arg("--config")
            .arg(self.path("cloud.toml"))
            .output()
            .unwrap()
    }

    /// Its output, which must be a success.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn start_broker(&mut self) {
        let broker = Command::new(nats_server())
            .arg("-c")
            .arg(self.path("broker/nats-server.conf"))
            .stderr(Stdio::null())
            .spawn();
        self.broker = Some(broker.unwrap());
    }

    /// A process of the services, with these arguments of `run`.
    pub(crate) fn spawn_cloud(&self, arguments: &[&str]) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("cloud.log"))
            .unwrap();
        Command::new(env!("CARGO_BIN_EXE_fogline-cloud"))
            .arg("run")
            .args(arguments)
            .arg("--config")
            .arg(self.path("cloud.toml"))
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    pub(crate) fn start_cloud(&mut self) {
        self.cloud = Some(self.spawn_cloud(&[]));
        wait("the services are ready", || {
            self.status("/readyz") == Some(200)
        });
    }

    pub(crate) fn kill_cloud(&mut self) {
        let mut cloud = self.cloud.take().unwrap();
        cloud.kill().unwrap();
        cloud.wait().unwrap();
    }

    pub(crate) fn kill_broker(&mut self) {
        let mut broker = self.broker.take().unwrap();
        broker.kill().unwrap();
        broker.wait().unwrap();
    }

    /// SIGTERM; says how it ended and after how long.
    pub(crate) fn terminate_cloud(&mut self) -> (Option<i32>, Duration) {
        let mut cloud = self.cloud.take().unwrap();
        let begin = Instant::now();
        let pid = cloud.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let status = cloud.wait().unwrap();
        (status.code(), begin.elapsed())
    }

    /// Status of a path of the API; `None` while nobody listens.
    pub(crate) fn status(&self, path: &str) -> Option<u16> {
        let answer = self.get(path, "")?;
        answer.split(' ').nth(1)?.parse().ok()
    }

    /// A whole answer of the API, over HTTPS with the installation's authority.
    pub(crate) fn get(&self, path: &str, header: &str) -> Option<String> {
        let ca = std::fs::read(self.path("pki/ca.pem")).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls_pki_types::CertificateDer::from_pem_slice(&ca).unwrap();
        roots.add(ca).unwrap();
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(self.api).ok()?;
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, socket);
        let ask =
            format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{header}\r\n");
        stream.write_all(ask.as_bytes()).ok()?;
        let mut answer = Vec::new();
        // The end without a TLS farewell is fine: the answer says its length.
        drop(stream.read_to_end(&mut answer));
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Lines of an export.
    pub(crate) fn export(&self, what: &str) -> Vec<serde_json::Value> {
        let text = self.ok(&["export", what]);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for child in [&mut self.cloud, &mut self.broker].into_iter().flatten() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

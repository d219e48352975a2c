//! A running API: the real store in a temporary folder, real HTTPS on a free port of the loopback,
//! a clock that tests may step, and a small client that speaks TLS and HTTP/1.0.

use cloud_api::{
    ApiConfig, Listen, OneTimeLogin, Refusal, SessionLimits, Surroundings, TlsFiles, first_user,
};
use cloud_store::{SqliteOptions, SqliteStore, Store};
use protocols_model::{Clock, Instant, Timestamp};
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// What anything in these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A wall clock that tests step; it starts at a fixed moment.
#[derive(Debug)]
pub(crate) struct Stepped(AtomicI64);

impl Stepped {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_790_000_000_000)))
    }

    pub(crate) fn step(&self, span: Duration) {
        self.0
            .fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for Stepped {
    fn wall(&self) -> Timestamp {
        self.now()
    }

    fn monotonic(&self) -> Instant {
        Instant(Duration::from_millis(
            self.0.load(Ordering::SeqCst).unsigned_abs(),
        ))
    }
}

/// Surroundings with something to tell.
struct Told;

impl Surroundings for Told {
    fn metrics(&self) -> String {
        "fogline_test 1\n# EOF\n".to_owned()
    }

    fn not_ready(&self) -> Vec<String> {
        vec!["the broker's stream is missing".to_owned()]
    }

    fn refusals(&self) -> Vec<Refusal> {
        vec![Refusal {
            at: Timestamp::from_millis(5),
            client: "gw-b".to_owned(),
            peer: "192.0.2.7".to_owned(),
            reason: "the certificate is of gw-a".to_owned(),
            times: 3,
        }]
    }
}

/// What a stack may differ in.
pub(crate) struct Options {
    pub(crate) one_time: OneTimeLogin,
    pub(crate) sessions: SessionLimits,
    pub(crate) max_connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            one_time: OneTimeLogin::MaySkip,
            sessions: SessionLimits::default(),
            max_connections: 64,
        }
    }
}

/// A running API.
pub(crate) struct Stack {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<Stepped>,
    pub(crate) address: SocketAddr,
    /// The first user's one-time password.
    pub(crate) password: String,
    pub(crate) folder: tempfile::TempDir,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<Result<(), cloud_api::ServeError>>,
}

/// Writes a fresh self-signed pair for localhost.
pub(crate) fn write_pair(folder: &Path) -> TlsFiles {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificates: folder.join("server.pem"),
        key: folder.join("server.key"),
    };
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    std::fs::write(&files.certificates, pair.cert.pem()).unwrap();
    files
}

impl Stack {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fogline.db");
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&path, SqliteOptions::default()).unwrap());
        let clock = Stepped::new();
        let first = first_user(store.as_ref(), clock.now())
            .await
            .unwrap()
            .unwrap();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut config = ApiConfig::new(Listen::Socket(socket), write_pair(folder.path()));
        config.one_time_login = options.one_time;
        config.sessions = options.sessions;
        config.max_connections = options.max_connections;
        config.metrics_token = Some("scraper".to_owned());
        config.clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let stop = CancellationToken::new();
        let server = tokio::spawn(cloud_api::serve(
            config,
            Arc::clone(&store),
            Arc::new(Told),
            stop.clone(),
        ));
        Self {
            store,
            clock,
            address,
            password: first.password,
            folder,
            stop,
            server,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client {
            address: self.address,
            cookie: None,
            csrf: None,
            extra: Vec::new(),
        }
    }

    /// A client that is logged in as the first user with a password of their own.
    pub(crate) async fn logged_in(&self) -> Client {
        let mut client = self.client();
        let answer = client.log_in("admin", &self.password).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let set = client
            .post("/v1/me/password", &format!("{{\"new\":\"{NEW}\"}}"))
            .await;
        assert_eq!(set.status, 204, "{set:?}");
        client
    }

    /// Stops the server and says how it ended.
    pub(crate) async fn stop(self) -> Result<(), cloud_api::ServeError> {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.server)
            .await
            .unwrap()
            .unwrap()
    }
}

/// The password that [`Stack::logged_in`] sets.
pub(crate) const NEW: &str = "a password of my own";

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// How long the answer may be kept.
    pub(crate) fn head_of_cache(&self) -> &str {
        self.header("cache-control").unwrap_or_default()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The problem, after checking that it is one.
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert!(problem["request_id"].is_string(), "{problem}");
        problem
    }
}

/// A client: one connection a request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) cookie: Option<String>,
    pub(crate) csrf: Option<String>,
    pub(crate) extra: Vec<(String, String)>,
}

/// Opens TLS to the server, whatever its certificate; gives the certificate it showed too.
pub(crate) async fn connect(
    address: SocketAddr,
) -> std::io::Result<(TlsStream<TcpStream>, Vec<u8>)> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(anyone::Anyone))
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await?;
    let shown = tls.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    Ok((tls, shown))
}

impl Client {
    fn head(&self, method: &str, path: &str, body: Option<&str>) -> String {
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n");
        for (name, value) in &self.extra {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(cookie) = &self.cookie {
            head.push_str(&format!("Cookie: theme=dark; {cookie}\r\n"));
        }
        if let Some(csrf) = &self.csrf {
            head.push_str(&format!("x-fogline-csrf: {csrf}\r\n"));
        }
        if let Some(body) = body {
            let length = body.len();
            head.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {length}\r\n"
            ));
        }
        head.push_str("\r\n");
        head
    }

    async fn send(&self, method: &str, path: &str, body: Option<&str>) -> TlsStream<TcpStream> {
        let (mut tls, _shown) = connect(self.address).await.unwrap();
        let mut request = self.head(method, path, body).into_bytes();
        request.extend_from_slice(body.unwrap_or_default().as_bytes());
        tls.write_all(&request).await.unwrap();
        tls
    }

    pub(crate) async fn request(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let asked = async {
            let mut tls = self.send(method, path, body).await;
            let mut bytes = Vec::new();
            // A server that closes without close_notify still gave its answer.
            let _eof = tls.read_to_end(&mut bytes).await;
            Answer::parse(&bytes)
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, Some(body)).await
    }

    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> Answer {
        let body = serde_json::json!({ "name": name, "password": password }).to_string();
        let answer = self.post("/v1/login", &body).await;
        if answer.status == 200 {
            let cookie = answer
                .header("set-cookie")
                .unwrap()
                .split(';')
                .next()
                .unwrap();
            self.cookie = Some(cookie.to_owned());
            self.csrf = Some(answer.json()["csrf"].as_str().unwrap().to_owned());
        }
        answer
    }

    /// Opens the live stream.
    pub(crate) async fn stream(&self, path: &str, last: Option<&str>) -> Events {
        let mut client = self.clone();
        if let Some(last) = last {
            client
                .extra
                .push(("Last-Event-ID".to_owned(), last.to_owned()));
        }
        let tls = client.send("GET", path, None).await;
        let mut events = Events {
            tls,
            text: String::new(),
        };
        let head = events.until("\r\n\r\n").await.unwrap();
        assert!(head.contains(" 200 "), "{head}");
        assert!(head.contains("text/event-stream"), "{head}");
        events
    }
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentEvent {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// An open live stream.
pub(crate) struct Events {
    tls: TlsStream<TcpStream>,
    text: String,
}

impl Events {
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.text, rest));
            }
            let mut bytes = [0; 4096];
            match tokio::time::timeout(PATIENCE, self.tls.read(&mut bytes))
                .await
                .unwrap()
            {
                Ok(0) | Err(_) => return None,
                Ok(n) => self
                    .text
                    .push_str(std::str::from_utf8(&bytes[..n]).unwrap()),
            }
        }
    }

    /// The next event, comments and settings skipped; `None` when the server ended the stream.
    pub(crate) async fn next(&mut self) -> Option<SentEvent> {
        loop {
            let text = self.until("\n\n").await?;
            let field = |name: &str| {
                text.lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                    .map(str::to_owned)
            };
            if let Some(name) = field("event") {
                let (id, data) = (field("id"), field("data").unwrap_or_default());
                return Some(SentEvent { name, id, data });
            }
        }
    }
}

/// The client looks at what is served, not at who serves it: tests of the certificate look at its
/// bytes.
mod anyone {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(super) struct Anyone;

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _end: &CertificateDer<'_>,
            _chain: &[CertificateDer<'_>],
            _name: &ServerName<'_>,
            _ocsp: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::ring::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
}

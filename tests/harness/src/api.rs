//! The cloud's API as a person's program uses it: HTTPS with the installation's authority, one
//! session, JSON. One connection is kept and made anew when it ends.
//!
//! Reads answers with a `content-length` only, which is all that the API's JSON routes give.

use anyhow::Context as _;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Longest answer that is read.
const MAX_BODY: usize = 64 << 20;

/// A client of the API.
pub struct Api {
    address: SocketAddr,
    tls: TlsConnector,
    cookie: Option<String>,
    connection: Option<BufReader<TlsStream<TcpStream>>>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("address", &self.address)
            .field("logged_in", &self.cookie.is_some())
            .finish_non_exhaustive()
    }
}

/// Status and body of an answer, and the cookie it sets.
struct Answer {
    status: u16,
    body: Vec<u8>,
    cookie: Option<String>,
}

impl Api {
    /// A client that trusts the authority in the file `ca`.
    ///
    /// # Errors
    /// Where the file holds no certificate.
    pub fn new(address: SocketAddr, ca: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(ca).with_context(|| format!("reading {}", ca.display()))?;
        roots.add(CertificateDer::from_pem_slice(&pem)?)?;
        // Named, not installed: the rig is no place for a process-wide choice.
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            tls: TlsConnector::from(Arc::new(config)),
            cookie: None,
            connection: None,
        })
    }

    /// Logs in; what follows is asked in this session.
    ///
    /// # Errors
    /// Where the API refuses.
    pub async fn log_in(&mut self, name: &str, password: &str) -> anyhow::Result<()> {
        let body = serde_json::json!({ "name": name, "password": password }).to_string();
        let head = format!(
            "POST /v1/login HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        let answer = self.exchange(&head, &body).await?;
        anyhow::ensure!(answer.status == 200, "login: {}", text(&answer.body));
        self.cookie = Some(answer.cookie.context("the login sets no cookie")?);
        Ok(())
    }

    /// The JSON at `path`.
    ///
    /// # Errors
    /// Where there is no answer or another status than 200; its body is added.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let answer = self
            .exchange(&format!("GET {path} HTTP/1.1\r\n"), "")
            .await
            .with_context(|| format!("asking for {path}"))?;
        let words = || format!("{path}: {} {}", answer.status, text(&answer.body));
        anyhow::ensure!(answer.status == 200, words());
        serde_json::from_slice(&answer.body).with_context(words)
    }

    async fn exchange(&mut self, head: &str, body: &str) -> anyhow::Result<Answer> {
        let cookie = self.cookie.as_deref();
        let cookie = cookie.map_or_else(String::new, |cookie| format!("cookie: {cookie}\r\n"));
        let host = self.address.ip();
        let request = format!("{head}host: {host}\r\n{cookie}\r\n{body}");
        // A kept connection may have ended meanwhile; a fresh one has not.
        for kept in [true, false] {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None if kept => continue,
                None => self.connect().await?,
            };
            let asked = tokio::time::timeout(ANSWER_LIMIT, ask(connection, &request)).await;
            match asked.context("no answer in time") {
                Ok(Ok((answer, connection))) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Ok(Err(_)) if kept => {}
                Ok(Err(error)) | Err(error) => return Err(error),
            }
        }
        anyhow::bail!("no connection to {}", self.address)
    }

    async fn connect(&self) -> anyhow::Result<BufReader<TlsStream<TcpStream>>> {
        let socket = TcpStream::connect(self.address).await?;
        let name = ServerName::from(self.address.ip());
        let connected = self.tls.connect(name, socket);
        let connected = tokio::time::timeout(ANSWER_LIMIT, connected).await??;
        Ok(BufReader::new(connected))
    }
}

async fn ask(
    mut connection: BufReader<TlsStream<TcpStream>>,
    request: &str,
) -> anyhow::Result<(Answer, BufReader<TlsStream<TcpStream>>)> {
    connection.write_all(request.as_bytes()).await?;
    connection.flush().await?;
    let mut line = String::new();
    connection.read_line(&mut line).await?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut answer = Answer {
        status: status.with_context(|| format!("no HTTP answer: {line:?}"))?,
        body: Vec::new(),
        cookie: None,
    };
    let mut length = 0;
    loop {
        line.clear();
        connection.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse()?;
        } else if name.eq_ignore_ascii_case("set-cookie") {
            let pair = value.split(';').next().unwrap_or_default();
            answer.cookie = Some(pair.trim().to_owned());
        }
    }
    anyhow::ensure!(length <= MAX_BODY, "an answer of {length} bytes");
    answer.body = vec![0; length];
    connection.read_exact(&mut answer.body).await?;
    Ok((answer, connection))
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

//! The server's certificate: read from PEM files, read again when they change.
//!
//! A reload swaps what new handshakes see; open connections keep theirs. A damaged or mismatched
//! pair is logged and the old one stays: a bad renewal never takes the page away. Files are watched
//! by looking at them (modification time and length), which also works on network file systems.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at; two `stat` calls each time.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where certificate chain and private key stand.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// PEM: the server's certificate first, then the chain.
    pub certificates: PathBuf,
    /// PEM: the private key (PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds no PEM of the wanted kind.
    #[error("reading {what} from {path} failed; it must hold PEM")]
    Read {
        /// Certificates or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// No certificate in the file.
    #[error("{path} holds no certificate")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate do not belong together, or the key's kind is not supported.
    #[error("the key in {path} cannot be used with its certificate")]
    Pair {
        /// The key's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// No TLS version in common with ourselves: a build without cipher suites.
    #[error("building the TLS configuration failed")]
    Config(#[source] rustls::Error),
}

fn load(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let read = |what, path: &Path, source| TlsError::Read {
        what,
        path: path.to_owned(),
        source,
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| read("certificates", &files.certificates, source))?;
    if certificates.is_empty() {
        return Err(TlsError::Empty {
            path: files.certificates.clone(),
        });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|source| read("the private key", &files.key, source))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(certificates, key, &provider).map_err(|source| TlsError::Pair {
        path: files.key.clone(),
        source,
    })
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

/// Configuration of the listener and the watcher of its files.
#[derive(Debug)]
pub(crate) struct Reloading {
    files: TlsFiles,
    current: Arc<Current>,
    seen: Option<[FileState; 2]>,
}

type FileState = (Option<std::time::SystemTime>, u64);

fn look(files: &TlsFiles) -> Option<[FileState; 2]> {
    let one = |path: &Path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok(), meta.len()))
    };
    Some([one(&files.certificates)?, one(&files.key)?])
}

impl Reloading {
    /// Loads the pair and makes the server's configuration from it.
    pub(crate) fn start(files: TlsFiles) -> Result<(Arc<rustls::ServerConfig>, Self), TlsError> {
        // Looked at before reading: a change in between is seen as one.
        let seen = look(&files);
        let current = Arc::new(Current(RwLock::new(Arc::new(load(&files)?))));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Config)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok((
            Arc::new(config),
            Self {
                files,
                current,
                seen,
            },
        ))
    }

    /// Looks once; swaps the pair when the files changed and fit.
    pub(crate) fn look_again(&mut self) {
        let now = look(&self.files);
        if now.is_none() || now == self.seen {
            return;
        }
        match load(&self.files) {
            Ok(pair) => {
                *self
                    .current
                    .0
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                self.seen = now;
                tracing::info!(file = %self.files.certificates.display(), "certificate reloaded");
            }
            // Not remembered as seen: key and certificate are replaced one after the other.
            Err(error) => tracing::warn!(
                %error,
                "the changed certificate cannot be used yet; the old one stays"
            ),
        }
    }

    /// Watches until `stop`.
    pub(crate) async fn watch(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            // Two stats and, rarely, two small files: but a network mount may hang.
            let looked = tokio::task::spawn_blocking(move || {
                self.look_again();
                self
            });
            match looked.await {
                Ok(back) => self = back,
                Err(_panicked) => return,
            }
        }
    }
}

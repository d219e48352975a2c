//! TLS of one connection attempt: authority, client certificate and key, read when they are needed.
//!
//! Built anew for every attempt, so a renewed certificate needs no restart. The server's name and
//! chain are always verified. Every failure says which file and what is wrong with it; a failure
//! ends the attempt, never the process.

use crate::tls_time::VerificationTime;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// PEM text: a file, read again at each connect, or the text itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// Read from here.
    File(PathBuf),
    /// This.
    Inline(Arc<str>),
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.write_str("Inline(..)"),
        }
    }
}

/// What a gateway shows and trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// Certificates of the authority that signed the broker's.
    pub ca: Pem,
    /// The gateway's certificate, leaf first.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {what} from {path}")]
    Read {
        /// Which one.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text holds no such PEM section, or a broken one.
    #[error("the {what} holds no usable PEM section: {why}")]
    Pem {
        /// Which one.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// A certificate of the authority is not one.
    #[error("the CA certificate is not usable")]
    Authority(#[source] rustls::Error),
    /// Certificate and key are not a pair.
    #[error("the gateway's private key does not belong to its certificate")]
    KeyMismatch,
    /// Certificate or key are of a kind that TLS does not take.
    #[error("the gateway's certificate or key is not usable")]
    Identity(#[source] rustls::Error),
}

impl TlsIdentity {
    /// Reads everything and builds the configuration of one attempt. Blocks on small files.
    ///
    /// # Errors
    /// [`TlsError`] names the part and what is wrong with it.
    pub fn client_config(&self, time: VerificationTime) -> Result<ClientConfig, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("CA certificate", &self.ca)? {
            roots.add(certificate).map_err(TlsError::Authority)?;
        }
        let chain = certificates("gateway's certificate", &self.certificate)?;
        let what = "gateway's private key";
        let key = PrivateKeyDer::from_pem_slice(read(what, &self.key)?.as_bytes())
            .map_err(|why| pem_error(what, &why))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_details(provider, Arc::new(time))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Identity)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    TlsError::KeyMismatch
                }
                other => TlsError::Identity(other),
            })
    }
}

fn read(what: &'static str, pem: &Pem) -> Result<String, TlsError> {
    match pem {
        Pem::Inline(text) => Ok(text.as_ref().to_owned()),
        Pem::File(path) => std::fs::read_to_string(path).map_err(|source| TlsError::Read {
            what,
            path: path.clone(),
            source,
        }),
    }
}

fn certificates(what: &'static str, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(what, pem)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(TlsError::Pem {
            what,
            why: "no certificate found".to_owned(),
        }),
        Err(why) => Err(pem_error(what, &why)),
    }
}

fn pem_error(what: &'static str, why: &rustls_pki_types::pem::Error) -> TlsError {
    TlsError::Pem {
        what,
        why: why.to_string(),
    }
}

//! What a certificate says: common name, serial, expiry, fingerprint. Says nothing about trust.

use crate::error::PkiError;
use protocols_model::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long before the end of a certificate to warn.
pub const WARN_BEFORE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Facts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The one common name; `None` when there is none or more than one.
    pub common_name: Option<String>,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the DER bytes, lower-case hexadecimal.
    pub fingerprint: String,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
}

impl CertificateFacts {
    /// Time left at `now`; zero when expired.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Duration {
        self.not_after.since(now)
    }

    /// Whether the end is near enough to tell somebody.
    #[must_use]
    pub fn expires_soon(&self, now: Timestamp) -> bool {
        self.left(now) < WARN_BEFORE
    }
}

/// Reads the first certificate of a PEM text.
///
/// # Errors
/// [`PkiError::Unusable`].
pub fn inspect_pem(pem: &str) -> Result<CertificateFacts, PkiError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| unusable(&e))?;
    inspect_der(&der)
}

/// Reads a certificate from its DER bytes.
///
/// # Errors
/// [`PkiError::Unusable`].
pub fn inspect_der(der: &[u8]) -> Result<CertificateFacts, PkiError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|e| unusable(&e))?;
    let mut names = certificate.subject().iter_common_name();
    let common_name = match (names.next(), names.next()) {
        (Some(name), None) => name.as_str().ok().map(str::to_owned),
        _ => None,
    };
    let validity = certificate.validity();
    let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
    Ok(CertificateFacts {
        common_name,
        serial: hex(certificate.raw_serial()),
        fingerprint: fingerprint(der),
        not_before: moment(validity.not_before.timestamp()),
        not_after: moment(validity.not_after.timestamp()),
    })
}

/// SHA-256 of DER bytes in lower-case hexadecimal: how the registry names a certificate.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, der).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn unusable(why: &dyn std::fmt::Display) -> PkiError {
    PkiError::Unusable {
        what: "the certificate".to_owned(),
        why: why.to_string(),
    }
}

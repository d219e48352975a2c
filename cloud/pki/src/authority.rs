//! The installation's certificate authority and what it issues.
//!
//! One self-signed P-256 authority, path length 0. Serial numbers are random. All certificates
//! are valid from before the first release on: a gateway without a real-time clock checks its
//! broker at its build time (design.md C9), which lies before the day the certificate was made.

use crate::error::PkiError;
use crate::files;
use crate::identity::Identity;
use crate::secret;
use protocols_model::{GatewayId, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Whoever holds the authority outlives every gateway it signs for.
const CA_DAYS: u32 = 30 * 365;
/// No renewal endpoint exists yet: long enough that no gateway is lost to a date (design.md C11).
const GATEWAY_DAYS: u32 = 10 * 365;
/// Servers are renewed by running the same command again.
const SERVER_DAYS: u32 = 2 * 365;

/// File of the authority's certificate within its folder.
pub const CA_CERTIFICATE_FILE: &str = "ca.pem";
/// File of the authority's key within its folder, mode 0600.
pub const CA_KEY_FILE: &str = "ca.key";

/// The authority: its certificate and the key that signs.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A server's certificate and key, PEM.
#[derive(Clone)]
pub struct ServerCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its key, PKCS #8.
    pub key: String,
}

impl Authority {
    /// Makes a new authority.
    ///
    /// # Errors
    /// [`PkiError::Make`], [`PkiError::Random`].
    pub fn create(name: &str, now: Timestamp) -> Result<(Self, String), PkiError> {
        let key = new_key("the authority's key")?;
        let mut params = params(name, now, CA_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .map_err(make("the authority's certificate"))?;
        let key_pem = key.serialize_pem();
        let authority = Self {
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        };
        Ok((authority, key_pem))
    }

    /// Makes a new authority and writes it into `dir`; refuses to replace one.
    ///
    /// # Errors
    /// [`PkiError::Exists`], [`PkiError::File`] and those of [`Authority::create`].
    pub fn init(dir: &Path, name: &str, now: Timestamp) -> Result<Self, PkiError> {
        let (certificate, key) = (dir.join(CA_CERTIFICATE_FILE), dir.join(CA_KEY_FILE));
        files::refuse_existing(&certificate)?;
        files::refuse_existing(&key)?;
        let (authority, key_pem) = Self::create(name, now)?;
        files::write_secret(&key, &key_pem)?;
        files::write_public(&certificate, &authority.certificate_pem)?;
        Ok(authority)
    }

    /// Reads the authority in `dir`.
    ///
    /// # Errors
    /// [`PkiError::File`], [`PkiError::Unusable`].
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let path = dir.join(CA_KEY_FILE);
        let unusable = |what: &Path, e: &rcgen::Error| PkiError::Unusable {
            what: what.display().to_string(),
            why: e.to_string(),
        };
        let key = KeyPair::from_pem(&files::read(&path)?).map_err(|e| unusable(&path, &e))?;
        let path = dir.join(CA_CERTIFICATE_FILE);
        let certificate_pem = files::read(&path)?;
        let issuer =
            Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(|e| unusable(&path, &e))?;
        Ok(Self {
            certificate_pem,
            issuer,
        })
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A server certificate for DNS names and IP addresses.
    ///
    /// # Errors
    /// [`PkiError::Name`] for a name that is neither; [`PkiError::Make`], [`PkiError::Random`].
    pub fn issue_server(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<ServerCertificate, PkiError> {
        self.issue(&server_params(names, now)?, "a server certificate")
    }

    /// A certificate for a node that other nodes reach under `names`, and that reaches them itself:
    /// good for both ends of a connection.
    ///
    /// # Errors
    /// Those of [`Authority::issue_server`].
    pub fn issue_peer(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<ServerCertificate, PkiError> {
        let mut params = server_params(names, now)?;
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth);
        self.issue(&params, "a node's certificate")
    }

    /// A certificate that one of our own services shows to a broker.
    ///
    /// # Errors
    /// [`PkiError::Make`], [`PkiError::Random`].
    pub fn issue_client(&self, name: &str, now: Timestamp) -> Result<ServerCertificate, PkiError> {
        self.issue(
            &client_params(name, now, SERVER_DAYS)?,
            "a client certificate",
        )
    }

    /// A gateway's identity; the key is made here and exists nowhere else afterwards.
    ///
    /// # Errors
    /// [`PkiError::Make`], [`PkiError::Random`].
    pub fn issue_gateway(
        &self,
        gateway: &GatewayId,
        servers: Vec<String>,
        now: Timestamp,
    ) -> Result<Identity, PkiError> {
        let params = client_params(gateway.as_str(), now, GATEWAY_DAYS)?;
        let issued = self.issue(&params, "a gateway certificate")?;
        Ok(Identity {
            gateway: gateway.clone(),
            servers,
            ca: self.certificate_pem.clone(),
            certificate: issued.certificate,
            key: issued.key,
        })
    }

    fn issue(
        &self,
        params: &CertificateParams,
        what: &'static str,
    ) -> Result<ServerCertificate, PkiError> {
        let key = new_key(what)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(make(what))?;
        Ok(ServerCertificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl ServerCertificate {
    /// Writes `{name}.pem` and `{name}.key` (0600) into `dir`, replacing what is there.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn write(&self, dir: &Path, name: &str) -> Result<(), PkiError> {
        files::write_secret(&dir.join(format!("{name}.key")), &self.key)?;
        files::write_public(&dir.join(format!("{name}.pem")), &self.certificate)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificate").finish_non_exhaustive()
    }
}

fn server_params(names: &[String], now: Timestamp) -> Result<CertificateParams, PkiError> {
    let first = names.first().map_or("fogline", String::as_str);
    let mut params = params(first, now, SERVER_DAYS)?;
    params.subject_alt_names = names
        .iter()
        .map(|name| server_name(name))
        .collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn params(name: &str, now: Timestamp, days: u32) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    let end = now.plus(DAY * days).since(Timestamp(0));
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(end.as_secs());
    let mut serial: [u8; 16] = secret::random()?;
    // A serial is a positive integer: the top bit stays clear, the one below is set so that none is
    // shorter than the others.
    if let Some(top) = serial.first_mut() {
        *top = (*top & 0x7f) | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, name.to_owned());
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn client_params(name: &str, now: Timestamp, days: u32) -> Result<CertificateParams, PkiError> {
    let mut params = params(name, now, days)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn server_name(name: &str) -> Result<SanType, PkiError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if name.is_empty() || name.len() > 253 || !name.chars().all(fits) {
        return Err(PkiError::Name(name.to_owned()));
    }
    let dns = name
        .to_owned()
        .try_into()
        .map_err(|_| PkiError::Name(name.to_owned()))?;
    Ok(SanType::DnsName(dns))
}

fn new_key(what: &'static str) -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(make(what))
}

fn make(what: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Make {
        what,
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::inspect_pem;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: Timestamp = Timestamp(1_795_000_000_000_000_000);

    #[test]
    fn a_gateway_certificate_names_the_gateway_and_lives_ten_years() {
        let dir = tempfile::tempdir().unwrap();
        Authority::init(dir.path(), "Fogline test", NOW).unwrap();
        let authority = Authority::load(dir.path()).unwrap();
        let id = GatewayId::try_new("gw-1").unwrap();
        let servers = vec!["mqtts://127.0.0.1:8883".to_owned()];
        let identity = authority.issue_gateway(&id, servers, NOW).unwrap();
        let path = dir.path().join("gw-1.toml");
        identity.write(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(identity.write(&path), Err(PkiError::Exists(_))));
        let back = Identity::read(&path).unwrap();
        assert_eq!(back.certificate, identity.certificate);
        assert!(!format!("{back:?}").contains("PRIVATE"));

        let facts = inspect_pem(&back.certificate).unwrap();
        assert_eq!(facts.common_name.as_deref(), Some("gw-1"));
        assert_eq!(facts.fingerprint.len(), 64);
        assert_eq!(facts.left(NOW).as_secs() / 86_400, 3650);
        assert!(!facts.expires_soon(NOW));
        assert!(facts.expires_soon(NOW.plus(DAY * 3561)));
        assert!(facts.left(NOW.plus(DAY * 3700)).is_zero());
    }

    #[test]
    fn an_authority_is_never_replaced_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        Authority::init(dir.path(), "one", NOW).unwrap();
        assert!(matches!(
            Authority::init(dir.path(), "two", NOW),
            Err(PkiError::Exists(_))
        ));
        let key = dir.path().join(CA_KEY_FILE);
        let mode = std::fs::metadata(key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_server_certificate_takes_names_and_addresses_and_refuses_others() {
        let (authority, _) = Authority::create("t", NOW).unwrap();
        let good = ["localhost", "127.0.0.1", "::1", "mqtt.example.com"].map(str::to_owned);
        assert!(authority.issue_server(&good, NOW).is_ok());
        for bad in ["", "no spaces", "umläut"] {
            assert!(matches!(
                authority.issue_server(&[bad.to_owned()], NOW),
                Err(PkiError::Name(_))
            ));
        }
    }
}

//! Authority, broker and gateway certificates for the tests.

use gateway_uplink::{Pem, TlsIdentity};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Year, month, day.
pub(crate) type Day = (i32, u8, u8);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { issuer }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn leaf(
        &self,
        name: &str,
        purpose: ExtendedKeyUsagePurpose,
        valid: (Day, Day),
    ) -> (String, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        params.subject_alt_names = vec![
            SanType::IpAddress("127.0.0.1".parse().unwrap()),
            SanType::DnsName("localhost".try_into().unwrap()),
        ];
        let ((y, m, d), (y2, m2, d2)) = valid;
        params.not_before = rcgen::date_time_ymd(y, m, d);
        params.not_after = rcgen::date_time_ymd(y2, m2, d2);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// What a gateway called `name` has.
    pub(crate) fn identity(&self, name: &str) -> TlsIdentity {
        let (certificate, key) = self.gateway_pems(name);
        TlsIdentity {
            ca: Pem::Inline(self.pem().into()),
            certificate: Pem::Inline(certificate.into()),
            key: Pem::Inline(key.into()),
        }
    }

    pub(crate) fn gateway_pems(&self, name: &str) -> (String, String) {
        self.leaf(
            name,
            ExtendedKeyUsagePurpose::ClientAuth,
            ((2020, 1, 1), (2090, 1, 1)),
        )
    }

    /// A broker's TLS: its certificate is valid in `valid`, clients must show one of ours.
    pub(crate) fn server(&self, valid: (Day, Day)) -> Arc<ServerConfig> {
        let (certificate, key) = self.leaf("broker", ExtendedKeyUsagePurpose::ServerAuth, valid);
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        Arc::new(config)
    }
}

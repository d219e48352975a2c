//! TLS to the server: rustls with ring, the server's certificate verified with its name.

use super::options::PostgresOptions;
use crate::error::StoreError;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Makes TLS sessions.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// From the certificates that the options name.
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, StoreError> {
        let Some(root) = &options.root_certificate else {
            let why = "TLS needs the authority of the server's certificate (`root_certificate`)";
            return Err(options.wrong(why, None));
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(options, root)? {
            roots.add(certificate).map_err(|why| {
                let what = format!("{} holds no authority", root.display());
                options.wrong(what, Some(Box::new(why)))
            })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let failed =
            |why: rustls::Error| options.wrong("TLS cannot be set up", Some(Box::new(why)));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(roots);
        let config = match &options.client_certificate {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(options, certificate)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|why| {
                    let what = format!("the key {} cannot be read", key.display());
                    options.wrong(what, Some(Box::new(why)))
                })?;
                config.with_client_auth_cert(chain, key).map_err(failed)?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

fn certificates(
    options: &PostgresOptions,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|why| {
            let what = format!("the certificate {} cannot be read", path.display());
            options.wrong(what, Some(Box::new(why)))
        })
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Session<S>;
    type TlsConnect = Handshake;
    type Error = rustls_pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, Self::Error> {
        Ok(Handshake {
            connector: self.0.clone(),
            name: ServerName::try_from(domain.to_owned())?,
        })
    }
}

/// One session about to begin.
pub(super) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Session<S>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Session<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let session = self.connector.connect(self.name, stream).await?;
            Ok(Session(Box::new(session)))
        })
    }
}

/// A TLS session.
pub(super) struct Session<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Session<S> {
    /// The server is known by its certificate; SCRAM is not bound to the channel beside that.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Session<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Session<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

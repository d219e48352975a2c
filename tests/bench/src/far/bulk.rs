//! The bare sender: a TLS stream that is always full, and who swallows it. What it gets through is what a
//! link allows.

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Written at once: a few packets.
const CHUNK: usize = 4096;

/// Sends without end.
#[derive(Debug, clap::Args)]
pub(crate) struct Bulk {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// Who signed the other side's certificate.
    #[arg(long)]
    ca: PathBuf,
}

/// Swallows what one sender sends.
#[derive(Debug, clap::Args)]
pub(crate) struct Sink {
    /// Where.
    #[arg(long)]
    listen: SocketAddr,
    /// The certificate shown.
    #[arg(long)]
    certificate: PathBuf,
    /// Its key.
    #[arg(long)]
    key: PathBuf,
}

impl Bulk {
    /// Until it is ended from outside, or the other side ends.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca)?)?;
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::from(self.to.ip());
        let connection = ClientConnection::new(Arc::new(tls), name)?;
        let socket = TcpStream::connect(self.to).context("connecting")?;
        let mut stream = StreamOwned::new(connection, socket);
        let chunk = [0x5a; CHUNK];
        loop {
            stream.write_all(&chunk).context("sending")?;
        }
    }
}

impl Sink {
    /// Until the sender ends.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let chain = CertificateDer::pem_file_iter(&self.certificate)?;
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let listener = TcpListener::bind(self.listen).context("listening")?;
        let (socket, _) = listener.accept()?;
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(tls))?, socket);
        let mut buffer = [0; CHUNK];
        // An end without a word is how senders end.
        while matches!(stream.read(&mut buffer), Ok(read) if read > 0) {}
        Ok(ExitCode::SUCCESS)
    }
}

//! How a server is set up.

use std::path::PathBuf;

/// A server certificate with its key, PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Authority whose client certificates are believed, if clients may show one.
    pub client_authority: Option<String>,
}

/// How to set a server up. The default is made for tests that end processes, not machines.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where its folder is made; the system's temporary folder otherwise.
    pub below: Option<PathBuf>,
    /// Whether commits are synced to disk. Without it a test is several times faster, and a killed
    /// server still loses nothing: the kernel has every write. Figures need it.
    pub durable: bool,
    /// Serves TLS beside plain connections.
    pub tls: Option<Tls>,
    /// Lines added to `postgresql.conf`; later ones win.
    pub lines: Vec<String>,
}

impl Settings {
    /// `postgresql.conf` of a server in `folder` that listens on `port`.
    pub(crate) fn render(&self, folder: &std::path::Path, port: u16) -> String {
        let mut lines = vec![
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("port = {port}"),
            format!("unix_socket_directories = '{}'", folder.display()),
            "max_connections = 200".to_owned(),
            "shared_buffers = '64MB'".to_owned(),
            // A replica can follow any server, and any replica can be promoted.
            "wal_level = replica".to_owned(),
            "max_wal_senders = 8".to_owned(),
            "hot_standby = on".to_owned(),
            "password_encryption = 'scram-sha-256'".to_owned(),
            "timezone = 'UTC'".to_owned(),
            "log_line_prefix = '%m [%p] %u@%d '".to_owned(),
        ];
        if !self.durable {
            lines.push("fsync = off".to_owned());
            lines.push("full_page_writes = off".to_owned());
        }
        if let Some(tls) = &self.tls {
            lines.push("ssl = on".to_owned());
            lines.push("ssl_cert_file = 'server.pem'".to_owned());
            lines.push("ssl_key_file = 'server.key'".to_owned());
            if tls.client_authority.is_some() {
                lines.push("ssl_ca_file = 'client-authority.pem'".to_owned());
            }
        }
        lines.extend(self.lines.iter().cloned());
        lines.push(String::new());
        lines.join("\n")
    }
}

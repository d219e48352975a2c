//! The identity file: one TOML file that `fogline-cloud gateway add` writes and a gateway reads.
//!
//! ```toml
//! gateway = "hall2-gw3"
//! servers = ["mqtts://b1.example:8883"]
//! ca = """-----BEGIN CERTIFICATE-----…"""
//! certificate = """-----BEGIN CERTIFICATE-----…"""
//! key = """-----BEGIN PRIVATE KEY-----…"""
//! ```
//!
//! It holds a private key: mode 0600, never printed (`Debug` leaves key and certificates out), and
//! errors name the key of the file that is wrong, never its content.

use protocols_model::GatewayId;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Who a gateway is and where it reports to.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id: certificate common name and MQTT client id.
    pub gateway: GatewayId,
    /// `mqtts://host:port`, tried in turn.
    pub servers: Vec<String>,
    /// PEM: who may sign a server's certificate.
    pub ca: String,
    /// PEM: the gateway's certificate chain.
    pub certificate: String,
    /// PEM: the gateway's private key.
    pub key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("gateway", &self.gateway)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// Why an identity file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read.
    #[error("cannot read the identity file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than an identity can be.
    #[error("the identity file has more than {MAX_IDENTITY_BYTES} bytes")]
    TooLarge,
    /// The file is not TOML.
    #[error("the identity file is not TOML (line {line})")]
    Syntax {
        /// Where it breaks; the content is not shown.
        line: usize,
    },
    /// A key is missing or holds something else than it should.
    #[error("`{key}` of the identity file: {why}; run `fogline-cloud gateway add` for a new file")]
    Key {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// Largest identity file, in bytes: three PEM blocks with chains stay far below.
pub const MAX_IDENTITY_BYTES: u64 = 256 * 1024;

/// Reads an identity file.
///
/// # Errors
/// [`IdentityError`] says what is wrong with it.
pub fn read_identity(path: &Path) -> Result<Identity, IdentityError> {
    let failed = |source| IdentityError::Read {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_IDENTITY_BYTES {
        return Err(IdentityError::TooLarge);
    }
    parse_identity(&std::fs::read_to_string(path).map_err(failed)?)
}

/// Whether nobody but its owner can read an identity file; `false` also when it is not there.
#[must_use]
pub fn is_private(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.mode() & 0o077 == 0)
}

/// Reads the content of an identity file.
///
/// # Errors
/// [`IdentityError`] says what is wrong with it, without showing it.
pub fn parse_identity(text: &str) -> Result<Identity, IdentityError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        let before = text.get(..offset).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        IdentityError::Syntax { line }
    })?;
    let wrong = |key, why: String| IdentityError::Key { key, why };
    let text = |key: &'static str| {
        let value = table.get(key).ok_or_else(|| wrong(key, "missing".into()))?;
        let text = value.as_str();
        text.ok_or_else(|| wrong(key, "not a text".into()))
    };
    let pem = |key: &'static str, label: &str| {
        let content = text(key)?;
        let marked = |edge: &str| {
            let mut lines = content.lines();
            lines.any(|line| {
                line.starts_with(edge) && line.trim_end().ends_with(&format!("{label}-----"))
            })
        };
        if marked("-----BEGIN ") && marked("-----END ") {
            Ok(content.to_owned())
        } else {
            Err(wrong(
                key,
                format!("holds no complete PEM block of a {}", label.to_lowercase()),
            ))
        }
    };
    let gateway = GatewayId::try_new(text("gateway")?)
        .map_err(|error| wrong("gateway", error.to_string()))?;
    let list = table.get("servers").and_then(toml::Value::as_array);
    let list = list.ok_or_else(|| wrong("servers", "not a list".into()))?;
    let mut servers = Vec::new();
    for server in list {
        let name = server.as_str().unwrap_or_default();
        check_server(name).map_err(|why| wrong("servers", format!("{name:?}: {why}")))?;
        servers.push(name.to_owned());
    }
    if servers.is_empty() {
        return Err(wrong("servers", "names no server".into()));
    }
    Ok(Identity {
        gateway,
        servers,
        ca: pem("ca", "CERTIFICATE")?,
        certificate: pem("certificate", "CERTIFICATE")?,
        key: pem("key", "PRIVATE KEY")?,
    })
}

/// Whether a server is named as `mqtts://host:port`.
pub(crate) fn check_server(text: &str) -> Result<(), &'static str> {
    let rest = text
        .strip_prefix("mqtts://")
        .ok_or("a server starts with mqtts:// (TLS is not optional)")?;
    let (host, port) = rest.rsplit_once(':').ok_or("the port is missing")?;
    if host.is_empty() || host.contains(['/', '@', ' ']) {
        return Err("the host is not a host name");
    }
    match port.parse::<u16>() {
        Ok(0) | Err(_) => Err("the port is not 1..65535"),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str) -> String {
        let pem = |label: &str| {
            format!("\"\"\"\n-----BEGIN {label}-----\nc2VjcmV0\n-----END {label}-----\n\"\"\"")
        };
        let certificate = pem("CERTIFICATE");
        format!(
            "gateway = \"gw-1\"\nservers = [\"mqtts://b1.example:8883\", \"mqtts://[::1]:1\"]\nca = {certificate}\ncertificate = {certificate}\nkey = {}\n",
            pem(key)
        )
    }

    #[test]
    fn an_identity_file_is_read_and_never_shows_its_key() {
        let identity = parse_identity(&file("EC PRIVATE KEY")).unwrap();
        assert_eq!(identity.gateway.as_str(), "gw-1");
        assert_eq!(identity.servers.len(), 2);
        assert!(!format!("{identity:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn what_is_wrong_is_named_by_key_without_showing_content() {
        let good = file("PRIVATE KEY");
        for (text, expected) in [
            (good.replace("gw-1", "GW"), "gateway"),
            (good.replace("mqtts://b1", "mqtt://b1"), "servers"),
            (good.replace(":8883", ""), "servers"),
            (good.replace("-----END PRIVATE KEY-----", ""), "key"),
            (good.replace("certificate =", "cert ="), "certificate"),
        ] {
            let error = parse_identity(&text).unwrap_err();
            assert!(
                matches!(&error, IdentityError::Key { key, .. } if *key == expected),
                "{error}"
            );
            assert!(!format!("{error} {error:?}").contains("c2VjcmV0"));
        }
        let broken = good.replace("key = \"\"\"", "key = \"\"\"\"\"\" x");
        let error = parse_identity(&broken).unwrap_err();
        assert!(matches!(error, IdentityError::Syntax { .. }));
        assert!(!format!("{error:?}").contains("c2VjcmV0"));
    }
}

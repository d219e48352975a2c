//! The one file a gateway needs to be somebody: id, servers, CA, certificate and key.
//!
//! The file is TOML with exactly the keys `gateway`, `servers`, `ca`, `certificate`, `key`; the
//! gateway's parser refuses anything else. It holds a private key: mode 0600.

use crate::error::PkiError;
use crate::files;
use protocols_model::GatewayId;
use std::path::Path;

/// What a gateway is given when it is added.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Gateway id = MQTT client id = common name of the certificate.
    pub gateway: GatewayId,
    /// Brokers to try, `mqtts://host:port`.
    pub servers: Vec<String>,
    /// PEM: the authority that vouches for the brokers.
    pub ca: String,
    /// PEM: the gateway's certificate.
    pub certificate: String,
    /// PEM: its private key (PKCS #8).
    pub key: String,
}

impl Identity {
    /// The file's text.
    ///
    /// # Errors
    /// [`PkiError::Unusable`]; only if the toml encoder refuses, which these types do not provoke.
    pub fn to_toml(&self) -> Result<String, PkiError> {
        let body = toml::to_string_pretty(self).map_err(|e| PkiError::Unusable {
            what: "the identity".to_owned(),
            why: e.to_string(),
        })?;
        Ok(format!(
            "# Identity of one Fogline gateway. Holds a private key: keep it at mode 0600, one copy.\n{body}"
        ))
    }

    /// Writes the file; refuses to overwrite one.
    ///
    /// # Errors
    /// [`PkiError::Exists`], [`PkiError::File`].
    pub fn write(&self, path: &Path) -> Result<(), PkiError> {
        files::refuse_existing(path)?;
        files::write_secret(path, &self.to_toml()?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`PkiError::File`], [`PkiError::Unusable`].
    pub fn read(path: &Path) -> Result<Self, PkiError> {
        toml::from_str(&files::read(path)?).map_err(|e| PkiError::Unusable {
            what: path.display().to_string(),
            why: e.to_string(),
        })
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Identity")
            .field("gateway", &self.gateway)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

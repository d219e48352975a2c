//! What can go wrong with keys, certificates and the files they live in.

use std::path::PathBuf;

/// Why a certificate or key could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A key or certificate could not be made.
    #[error("could not make {what}")]
    Make {
        /// What was to be made.
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<rcgen::Error>,
    },
    /// A certificate or key cannot be read.
    #[error("{what} is not usable: {why}")]
    Unusable {
        /// What was read.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
    /// A file that must not be overwritten exists.
    #[error("{0} exists already; remove it by hand if it is really to be replaced")]
    Exists(PathBuf),
    /// A file could not be read or written.
    #[error("could not {doing} {path}")]
    File {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The system's random source failed.
    #[error("the system gives no random bytes")]
    Random,
}

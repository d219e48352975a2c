//! Certificates of a Fogline installation: its own authority, server certificates, and one identity
//! per gateway (design.md C11).
//!
//! ```text
//! ca init ─▶ Authority (ca.pem, ca.key 0600)
//!               ├─▶ ServerCertificate   broker and API names, IP addresses included
//!               └─▶ Identity            one TOML file a gateway: id, servers, CA, certificate, key
//! ```
//!
//! Guarantees: P-256 throughout; every file with a key in it is born with mode 0600 and appears
//! whole or not at all; a certificate only says who someone is, whether they may connect is the
//! registry's decision.

#![forbid(unsafe_code)]

pub mod authority;
pub mod error;
pub mod files;
pub mod identity;
pub mod inspect;
pub mod secret;

pub use authority::{Authority, ServerCertificate};
pub use error::PkiError;
pub use identity::Identity;
pub use inspect::{CertificateFacts, inspect_der, inspect_pem};

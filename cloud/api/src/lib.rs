//! The API and the page: what people and programs see of Fogline.
//!
//! ```text
//! store ─▶ routes ─▶ gate (session) ─▶ layers (ids, headers, problems) ─▶ HTTPS listener ─▶ browser
//!   └─ commits ─▶ live ring ─▶ server-sent events ──────────────────────────────┘
//! ```
//!
//! Guarantees: HTTPS only; nothing but login, probes and the page's files is answered without a
//! session (deny by default, tested against the OpenAPI document); a session that ended stops
//! working at once, in live streams within a second; no default password exists; every error is
//! problem+json that names the field or permission; a slow page never slows ingest; connections,
//! bodies, streams, hashes and the live memory are bounded.
//!
//! | room | holds |
//! |---|---|
//! | [`config`] | what [`serve`] is given |
//! | `serve`, `stall`, `tls` | the listener, its limits and its certificate |
//! | `layers`, `problem`, `input` | what surrounds every request |
//! | `auth` | passwords, lockout, sessions, the gate |
//! | `app`, `routes`, `views` | the routes and what they answer |
//! | `live` | the live stream |
//! | `assets` | the embedded dashboard |

#![forbid(unsafe_code)]

mod app;
mod assets;
mod auth;
pub mod config;
mod input;
mod layers;
mod live;
mod problem;
mod routes;
mod serve;
mod silence;
mod stall;
mod tls;
mod views;

pub use app::openapi;
pub use auth::password::PasswordError;
pub use auth::users::{BootstrapError, FIRST_USER, OneTimePassword, first_user, reset_password};
pub use config::{Alone, ApiConfig, Listen, OneTimeLogin, Refusal, SessionLimits, Surroundings};
pub use serve::{ServeError, serve};
pub use tls::{TlsError, TlsFiles};

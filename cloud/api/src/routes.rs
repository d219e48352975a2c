//! The handlers, one file per kind of resource. They translate; the rules stand elsewhere.

pub(crate) mod alarms;
pub(crate) mod gateways;
pub(crate) mod health;
pub(crate) mod records;
pub(crate) mod series;
pub(crate) mod session;
pub(crate) mod stream;

//! Who is asking: passwords, lockout, session tokens, and the gate in front of every route.
//!
//! Deny by default: the gate wraps the whole closed router, so a new route is closed unless it is
//! added to the open one on purpose. Every request asks the database for its session, so a logout
//! or a new password elsewhere holds at once; live streams ask again every second (design.md P2).

pub(crate) mod gate;
pub(crate) mod lockout;
pub(crate) mod password;
pub(crate) mod token;
pub(crate) mod users;

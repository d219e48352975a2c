//! A bus for a person: one question at a time, answered with registers or the reason why not. The tools
//! that find out what a device is stand on this; the driver has its own way.
//!
//! It heals after an error as the driver does (see the crate's page), so that a late answer of one unit
//! is not taken for that of the next.

use crate::config::{Space, Transport};
use crate::connect::{Connect, System};
use crate::link::{Data, Fault, Link, Terms};
use crate::plan::Request;
use protocols_driver::BusStatus;
use protocols_model::SystemClock;
use std::sync::Arc;
use std::time::Duration;

/// A bus that is asked by hand. Opened with the first question, and again after each loss.
pub struct Session {
    transport: Transport,
    connect: Arc<dyn Connect>,
    link: Link,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// Why there is no data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The bus cannot be opened.
    #[error("the bus cannot be opened")]
    Open(#[source] std::io::Error),
    /// The device refused. It is there.
    #[error("the device refused with exception {0}")]
    Exception(u8),
    /// Nothing came in time.
    #[error("no answer in time")]
    Timeout,
    /// What came is not the answer.
    #[error("what came is not the answer")]
    BadAnswer,
    /// The connection was lost.
    #[error("the connection was lost")]
    Closed,
}

impl Session {
    /// A session on the machine's own network and ports; nothing is opened yet.
    #[must_use]
    pub fn new(transport: Transport) -> Self {
        Self::over(transport, Arc::new(System))
    }

    /// The same, opened in another way.
    #[must_use]
    pub fn over(transport: Transport, connect: Arc<dyn Connect>) -> Self {
        let status = Arc::new(BusStatus::new("session".into(), []));
        let clock = Arc::new(SystemClock::start());
        let link = Link::new(&transport, Duration::ZERO, status, clock);
        Self {
            transport,
            connect,
            link,
        }
    }

    /// Reads `count` registers, or coils and discrete inputs as 0 and 1, from `start` of `unit`.
    ///
    /// Not cancel-safe: a session whose question was cut off must not be used again.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn read(
        &mut self,
        unit: u8,
        (space, start, count): (Space, u16, u16),
        timeout: Duration,
    ) -> Result<Vec<u16>, AskError> {
        if !self.link.is_up() {
            let connection = self.connect.connect(&self.transport).await;
            self.link.attach(connection.map_err(AskError::Open)?);
        }
        let request = Request {
            space,
            start,
            count,
            slots: Vec::new(),
            has_gap: false,
        };
        let terms = Terms {
            unit,
            timeout,
            pause: Duration::ZERO,
            after_connect: Duration::ZERO,
        };
        let answer = self.link.ask(terms, &request).await;
        match answer {
            Ok((Data::Words(words), _)) => Ok(words),
            Ok((Data::Bits(bits), _)) => {
                let bits = bits.into_iter().take(count.into());
                Ok(bits.map(u16::from).collect())
            }
            Err(Fault::Exception(code)) => Err(AskError::Exception(code)),
            Err(Fault::Timeout) => Err(AskError::Timeout),
            Err(Fault::BadAnswer) => Err(AskError::BadAnswer),
            Err(Fault::NotAsked | Fault::Closed) => Err(AskError::Closed),
        }
    }
}

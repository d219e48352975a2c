//! The driver trait and what a driver is given to run with.
//!
//! The back-pressure rule lives here: room first, question second (rule 3 of the crate's contract).

use crate::{BusStatus, Orders, Sweep, WriteOrder};
use protocols_model::Clock;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// After `stop` is cancelled a driver has returned within this span. Longer than one transaction's
/// grace, shorter than any supervisor's patience.
pub const STOP_BOUND: Duration = Duration::from_secs(3);

/// Reads the devices of one bus. See the crate's rules.
#[async_trait::async_trait]
pub trait Driver: Send + 'static {
    /// Name of the bus, unique within the gateway; for logs, metrics and status.
    fn name(&self) -> &str;

    /// Links and counters of the bus; stays readable while the driver runs and after it returned.
    fn status(&self) -> Arc<BusStatus>;

    /// Runs until `ctx.stop` is cancelled or the receiver of the sweeps is gone.
    async fn run(self: Box<Self>, ctx: DriverContext);
}

/// What a driver runs with.
#[derive(Clone)]
pub struct DriverContext {
    /// Where sweeps go; bounded by whoever made it. Use [`DriverContext::room`].
    pub sweeps: mpsc::Sender<Sweep>,
    /// Cancelled when the driver shall stop.
    pub stop: CancellationToken,
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Values to write.
    pub orders: Orders,
}

/// The driver shall end: it was told to stop, or nobody takes its sweeps any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// A place in the channel for exactly one sweep; given back when dropped unused.
#[derive(Debug)]
pub struct Room<'a>(mpsc::Permit<'a, Sweep>);

impl Room<'_> {
    /// Hands the sweep over. Cannot fail and does not wait: the place was taken before.
    pub fn send(self, sweep: Sweep) {
        self.0.send(sweep);
    }
}

/// What a driver may do next, see [`DriverContext::turn`].
#[derive(Debug)]
pub enum Next<'a> {
    /// Carry out this order: it goes ahead of every poll.
    Order(WriteOrder),
    /// Ask the device: there is room for the answer.
    Room(Room<'a>),
}

impl DriverContext {
    /// What to do now that a poll is due: an order if there is one, the poll when there is room for its
    /// sweep. Orders come also while there is no room: a pipeline that stands still must not keep
    /// anybody from switching something off.
    ///
    /// Cancel-safe: an order that was not returned is still in the queue.
    ///
    /// # Errors
    /// [`Stopped`] when the driver shall end.
    pub async fn turn(&self) -> Result<Next<'_>, Stopped> {
        if self.stop.is_cancelled() {
            return Err(Stopped);
        }
        if let Some(order) = self.orders.try_next() {
            return Ok(Next::Order(order));
        }
        tokio::select! {
            biased;
            room = self.room() => room.map(Next::Room),
            order = self.orders.next() => Ok(Next::Order(order)),
        }
    }

    /// A place in the channel if there is one now: for drivers of devices that speak unasked, which
    /// cannot wait before they listen.
    ///
    /// # Errors
    /// [`Stopped`] when the driver shall end.
    pub fn try_room(&self) -> Result<Option<Room<'_>>, Stopped> {
        if self.stop.is_cancelled() {
            return Err(Stopped);
        }
        match self.sweeps.try_reserve() {
            Ok(permit) => Ok(Some(Room(permit))),
            Err(mpsc::error::TrySendError::Full(())) => Ok(None),
            Err(mpsc::error::TrySendError::Closed(())) => Err(Stopped),
        }
    }

    /// Waits for a place in the channel. Take it before asking the device, so that no answer is
    /// ever without a place to go.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Stopped`] when the driver shall end.
    pub async fn room(&self) -> Result<Room<'_>, Stopped> {
        // The common case costs no registration with the token.
        if let Some(room) = self.try_room()? {
            return Ok(room);
        }
        self.stop
            .run_until_cancelled(self.sweeps.reserve())
            .await
            .ok_or(Stopped)?
            .map(Room)
            .map_err(|_closed| Stopped)
    }
}

impl fmt::Debug for DriverContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverContext")
            .field("room", &self.sweeps.capacity())
            .field("stopped", &self.stop.is_cancelled())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols_model::{DeviceId, Instant, PointKey, SystemClock, Value};

    fn sweep() -> Sweep {
        Sweep {
            bus: "b".into(),
            device: DeviceId::try_new("d").unwrap(),
            taken: Instant::default(),
            readings: Vec::new(),
        }
    }

    fn context(capacity: usize) -> (DriverContext, mpsc::Receiver<Sweep>) {
        let (sweeps, receiver) = mpsc::channel(capacity);
        let stop = CancellationToken::new();
        let clock = Arc::new(SystemClock::start());
        let ctx = DriverContext {
            sweeps,
            stop,
            clock,
            orders: Orders::none(),
        };
        (ctx, receiver)
    }

    #[tokio::test]
    async fn a_full_channel_makes_the_driver_wait_and_stop_ends_the_wait() {
        let (ctx, mut receiver) = context(1);
        ctx.room().await.unwrap().send(sweep());
        let waiting = tokio::spawn({
            let ctx = ctx.clone();
            async move { ctx.room().await.map(|room| room.send(sweep())) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(receiver.recv().await.is_some());
        assert_eq!(waiting.await.unwrap(), Ok(()));

        let waiting = tokio::spawn({
            let ctx = ctx.clone();
            async move { ctx.room().await.map(drop) }
        });
        tokio::task::yield_now().await;
        ctx.stop.cancel();
        assert_eq!(waiting.await.unwrap(), Err(Stopped));
    }

    #[tokio::test]
    async fn an_order_comes_first_and_also_while_there_is_no_room() {
        let (mut ctx, mut receiver) = context(1);
        let (desk, orders) = crate::order_queue();
        ctx.orders = orders;
        let place = || {
            let desk = desk.clone();
            tokio::spawn(async move {
                let forever = Instant(Duration::MAX);
                desk.place(PointKey(1), Value::Bool(true), forever).await
            })
        };
        let first = place();
        tokio::task::yield_now().await;
        let Ok(Next::Order(order)) = ctx.turn().await else {
            panic!("the order did not come first");
        };
        order.answer(Err(crate::WriteError::ReadOnly));
        assert_eq!(first.await.unwrap(), Err(crate::WriteError::ReadOnly));

        let Ok(Next::Room(room)) = ctx.turn().await else {
            panic!("no room");
        };
        room.send(sweep());
        assert!(ctx.try_room().unwrap().is_none());
        let second = place();
        let Ok(Next::Order(order)) = ctx.turn().await else {
            panic!("a full channel held up the order");
        };
        drop(order);
        assert_eq!(second.await.unwrap(), Err(crate::WriteError::Unknown));

        receiver.close();
        assert!(matches!(ctx.turn().await, Err(Stopped)));
        assert!(receiver.recv().await.is_some());
        assert!(ctx.try_room().is_err());
    }

    #[tokio::test]
    async fn a_gone_receiver_ends_the_driver() {
        let (ctx, receiver) = context(1);
        drop(receiver);
        assert!(ctx.room().await.is_err());
    }
}

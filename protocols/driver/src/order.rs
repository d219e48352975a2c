//! Orders to write: how a rule, a command or a person has a point written by the one task that owns
//! its bus.
//!
//! ```text
//! OrderDesk::place ─▶ bounded queue ─▶ Orders::next in the driver ─▶ wire ─▶ WriteOutcome by oneshot
//! ```
//!
//! Guarantees: an order is carried out at most once. It is answered exactly once; an order that is
//! dropped unanswered (its driver panicked after it was taken) reads as [`WriteError::Unknown`], because
//! it may have reached the wire. The queue is bounded and survives a restart of the driver.

use protocols_model::{Instant, PointKey, Timestamp, Value};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait for one bus. A bus that cannot keep up with so many is not steered by more.
pub const ORDER_CAPACITY: usize = 64;

/// One value for one point.
#[derive(Debug)]
pub struct WriteOrder {
    /// Which point.
    pub point: PointKey,
    /// The value in engineering units, of the type the point's readings have.
    pub value: Value,
    /// Not begun at this moment, it is not begun at all: [`WriteError::Expired`].
    pub begin_before: Instant,
    answer: oneshot::Sender<Result<Written, WriteError>>,
}

/// A write that the device has confirmed.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// When the confirmation was complete.
    pub at: Timestamp,
    /// What reading back gave, for points that are verified; equal to what was written within the
    /// point's resolution.
    pub read_back: Option<Value>,
}

/// Why a value is not, or perhaps not, written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// The point is not declared writable.
    #[error("the point is not writable: `write = true` is missing in its configuration")]
    ReadOnly,
    /// No device of this bus has the point.
    #[error("no device of this bus has the point")]
    UnknownPoint,
    /// The value has another type, lies outside the point's range or does not fit its registers.
    #[error("the value does not fit the point: {0}")]
    BadValue(String),
    /// It could not begin in time. Nothing was sent.
    #[error("it could not begin in time; nothing was sent")]
    Expired,
    /// The link is down or the device counts as dead. Nothing was sent.
    #[error("the device cannot be reached; nothing was sent")]
    Unreachable,
    /// The queue of the bus is full. Nothing was sent.
    #[error("{ORDER_CAPACITY} orders wait for the bus already; nothing was sent")]
    Busy,
    /// The device refused, with the code of its protocol.
    #[error("the device refused: {0}")]
    Refused(String),
    /// It was sent and nobody confirmed it: written or not. It is never repeated blindly.
    #[error("it was sent and not confirmed: the point may or may not be written")]
    Unknown,
    /// It was sent to all devices of a line at once, which none of them confirms. Not repeated either.
    #[error("it was sent to all devices of the line; nobody confirms that")]
    Unconfirmed,
    /// Confirmed, but reading back gave something else.
    #[error("written, but reading back gave {0:?}")]
    NotVerified(Value),
}

impl WriteOrder {
    /// Tells whoever placed the order how it went.
    pub fn answer(self, outcome: Result<Written, WriteError>) {
        // Whoever does not wait any more does not want to know.
        drop(self.answer.send(outcome));
    }
}

/// Where orders for one bus are placed; cheap to clone.
#[derive(Debug, Clone)]
pub struct OrderDesk(mpsc::Sender<WriteOrder>);

/// The driver's end. Clones share one queue: a restarted driver goes on where the last one was.
#[derive(Debug, Clone)]
pub struct Orders(Arc<Mutex<mpsc::Receiver<WriteOrder>>>);

/// A queue for the orders of one bus.
#[must_use]
pub fn order_queue() -> (OrderDesk, Orders) {
    let (sender, receiver) = mpsc::channel(ORDER_CAPACITY);
    (OrderDesk(sender), Orders(Arc::new(Mutex::new(receiver))))
}

impl OrderDesk {
    /// Places an order and waits for its outcome. Dropping the future does not take the order back.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn place(
        &self,
        point: PointKey,
        value: Value,
        begin_before: Instant,
    ) -> Result<Written, WriteError> {
        let (answer, outcome) = oneshot::channel();
        let order = WriteOrder {
            point,
            value,
            begin_before,
            answer,
        };
        self.0.try_send(order).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
            mpsc::error::TrySendError::Closed(_) => WriteError::Unreachable,
        })?;
        outcome.await.unwrap_or(Err(WriteError::Unknown))
    }
}

impl Orders {
    /// An end that never has an order, for drivers of devices that cannot be written, and for tests.
    #[must_use]
    pub fn none() -> Self {
        order_queue().1
    }

    /// The next order, without waiting. Call it before each transaction: orders go ahead of polls.
    #[must_use]
    pub fn try_next(&self) -> Option<WriteOrder> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.try_recv().ok()
    }

    /// Waits for an order; for ever when nobody can place one. Cancel-safe. One driver waits at a time.
    pub async fn next(&self) -> WriteOrder {
        std::future::poll_fn(|cx| {
            let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match queue.poll_recv(cx) {
                std::task::Poll::Ready(Some(order)) => std::task::Poll::Ready(order),
                // Without a desk no order will come: the driver has its schedule to wait for.
                std::task::Poll::Ready(None) | std::task::Poll::Pending => std::task::Poll::Pending,
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn place(desk: &OrderDesk) -> tokio::task::JoinHandle<Result<Written, WriteError>> {
        let desk = desk.clone();
        tokio::spawn(async move {
            desk.place(PointKey(3), Value::U64(7), Instant(Duration::MAX))
                .await
        })
    }

    #[tokio::test]
    async fn an_order_reaches_the_driver_and_its_outcome_comes_back() {
        let (desk, orders) = order_queue();
        let placed = place(&desk);
        let order = orders.next().await;
        assert_eq!((order.point, &order.value), (PointKey(3), &Value::U64(7)));
        order.answer(Err(WriteError::ReadOnly));
        assert_eq!(placed.await.unwrap(), Err(WriteError::ReadOnly));
    }

    #[tokio::test]
    async fn an_order_that_went_down_with_its_driver_is_unknown_and_the_next_driver_goes_on() {
        let (desk, orders) = order_queue();
        let (first, second) = (place(&desk), place(&desk));
        drop(orders.next().await);
        assert_eq!(first.await.unwrap(), Err(WriteError::Unknown));
        orders.clone().next().await.answer(Err(WriteError::Expired));
        assert_eq!(second.await.unwrap(), Err(WriteError::Expired));
    }

    #[tokio::test]
    async fn a_full_queue_and_a_gone_bus_refuse_at_once() {
        let (desk, orders) = order_queue();
        let waiting: Vec<_> = (0..ORDER_CAPACITY).map(|_| place(&desk)).collect();
        tokio::task::yield_now().await;
        assert_eq!(place(&desk).await.unwrap(), Err(WriteError::Busy));
        drop(orders);
        for order in waiting {
            assert_eq!(order.await.unwrap(), Err(WriteError::Unknown));
        }
        assert_eq!(place(&desk).await.unwrap(), Err(WriteError::Unreachable));
    }
}

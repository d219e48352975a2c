//! The thread on which everything of one opened radio lives and with which it ends.
//!
//! Its runtime is dropped on the thread itself, tasks and all, so that what may only be dropped inside a
//! runtime is. Nobody waits for that: the one that lets go is the driver's task.

use crate::radio::RadioError;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// See the module.
#[derive(Debug)]
pub(super) struct RadioThread {
    handle: Handle,
    /// Dropped with this: the thread's sign to end.
    _end: oneshot::Sender<()>,
}

impl RadioThread {
    pub(super) fn start() -> Result<Self, RadioError> {
        let failed = |error: std::io::Error| RadioError::Failed(format!("its thread: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("bluetooth".to_owned());
        let thread = thread.spawn(move || {
            // Ends by the sender being dropped, never by a value.
            drop(runtime.block_on(ended));
        });
        thread.map_err(failed)?;
        Ok(Self { handle, _end: end })
    }

    /// Runs `work` on the thread. Given up when this future is dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, RadioError>> + Send + 'static,
    ) -> Result<T, RadioError> {
        let mut task = self.spawn(work);
        match (&mut task.0).await {
            Ok(result) => result,
            Err(error) => Err(RadioError::Failed(format!("its task: {error}"))),
        }
    }

    /// Begins `work` on the thread; it ends with the returned value.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Work<T> {
        Work(self.handle.spawn(work))
    }
}

/// Something under way on the radio's thread; ended when dropped.
#[derive(Debug)]
pub(super) struct Work<T>(JoinHandle<T>);

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

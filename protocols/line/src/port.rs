//! The open port: bytes in, bytes out, and the end when the adapter is pulled.

use crate::lock::{self, LockFile};
use crate::{DataBits, FlowControl, Holder, Parity, PortConfig, rs485};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};

/// Farthest that the speed an adapter chose may lie from the wanted one, in percent. A receiver
/// samples in the middle of ten to eleven bits and loses the last one at 5 %, both ends together.
const SPEED_TOLERANCE: u64 = 2;

/// Why a port is not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing stands at the path.
    #[error("{path}: no such port; is the adapter plugged in?")]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Not allowed to open it.
    #[error(
        "{path}: may not be opened; add the user of this service to the group that owns it (usually \"dialout\")"
    )]
    Permission {
        /// The path.
        path: PathBuf,
    },
    /// Somebody has it.
    #[error("{path}: held by {holder}")]
    Held {
        /// The path.
        path: PathBuf,
        /// Who.
        holder: Holder,
    },
    /// It does not take speed or format.
    #[error("{path}: does not take {settings}: {found}")]
    Settings {
        /// The path.
        path: PathBuf,
        /// What was wanted.
        settings: String,
        /// What came of it.
        found: String,
    },
    /// The kernel's driver cannot switch direction.
    #[error(
        "{path}: the driver of this adapter does not support RS-485 direction control; leave out rs485 if the adapter switches by itself, as most USB adapters do"
    )]
    Rs485Unsupported {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("{path}: cannot be opened")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        let kind = match &error {
            OpenError::Missing { .. } => io::ErrorKind::NotFound,
            OpenError::Permission { .. } => io::ErrorKind::PermissionDenied,
            OpenError::Held { .. } => io::ErrorKind::ResourceBusy,
            OpenError::Settings { .. } => io::ErrorKind::InvalidInput,
            OpenError::Rs485Unsupported { .. } => io::ErrorKind::Unsupported,
            OpenError::Io { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}

/// The adapter is gone, or the other end of a pseudo-terminal is. The port is closed; open it again
/// when it is back ([`crate::appeared`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the serial port was unplugged")]
pub struct Unplugged;

/// Whether an error of a [`Port`] is [`Unplugged`].
#[must_use]
pub fn is_unplugged(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Unplugged>())
}

fn unplugged() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, Unplugged)
}

/// An open serial port. Nobody else has it while this value lives.
///
/// Reading never ends with zero bytes: a port that hung up gives [`Unplugged`]. Any error of the
/// system closes the descriptor at once; from then on every call gives [`Unplugged`].
#[derive(Debug)]
pub struct Port {
    /// `None` once the port is gone.
    stream: Option<SerialStream>,
    /// Let go after the stream.
    lock: Option<LockFile>,
}

/// Opens a port exclusively and throws away what it had received before.
///
/// # Errors
/// [`OpenError`]; each says what to do.
pub async fn open(config: &PortConfig) -> Result<Port, OpenError> {
    let wanted = config.clone();
    let opened = tokio::task::spawn_blocking(move || open_now(&wanted, Path::new(lock::LOCK_DIR)));
    opened.await.unwrap_or_else(|ended| {
        Err(OpenError::Io {
            path: config.path.clone(),
            source: ended.into(),
        })
    })
}

fn open_now(config: &PortConfig, lock_dir: &Path) -> Result<Port, OpenError> {
    let path = || config.path.clone();
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => OpenError::Missing { path: path() },
        io::ErrorKind::PermissionDenied => OpenError::Permission { path: path() },
        _ => OpenError::Io {
            path: path(),
            source,
        },
    };
    // Locks go by the device, whatever link it is opened by.
    let device = config.path.canonicalize().map_err(io_error)?;
    // Asked first: opening alone already moves the control lines under a program that has the port.
    if let Some(holder) = lock::named_by_file(lock_dir, &device) {
        return Err(OpenError::Held {
            path: path(),
            holder,
        });
    }
    let stream =
        SerialStream::open(&builder(config, &device)).map_err(|error| match error.kind {
            tokio_serial::ErrorKind::NoDevice => OpenError::Held {
                path: path(),
                holder: lock::find(lock_dir, &device),
            },
            tokio_serial::ErrorKind::InvalidInput => OpenError::Settings {
                path: path(),
                settings: config.line.to_string(),
                found: error.to_string(),
            },
            _ => io_error(error.into()),
        })?;
    check_speed(config, &stream)?;
    if let Some(wanted) = config.rs485 {
        rs485::enable(&stream, wanted).map_err(|source| OpenError::Rs485Unsupported {
            path: path(),
            source,
        })?;
    }
    // Garbage from before the settings took hold. A port that cannot do it is no worse for it.
    drop(stream.clear(ClearBuffer::All));
    let lock = LockFile::write(lock_dir, &device)
        .inspect_err(|error| tracing::debug!(port = %device.display(), %error, "no lock file"))
        .ok();
    Ok(Port {
        stream: Some(stream),
        lock,
    })
}

fn builder(config: &PortConfig, device: &Path) -> tokio_serial::SerialPortBuilder {
    let line = config.line;
    tokio_serial::new(device.to_string_lossy(), line.baud)
        .data_bits(match line.data_bits {
            DataBits::Seven => tokio_serial::DataBits::Seven,
            DataBits::Eight => tokio_serial::DataBits::Eight,
        })
        .parity(match line.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .stop_bits(if line.two_stop_bits {
            tokio_serial::StopBits::Two
        } else {
            tokio_serial::StopBits::One
        })
        .flow_control(match config.flow {
            FlowControl::None => tokio_serial::FlowControl::None,
            FlowControl::RtsCts => tokio_serial::FlowControl::Hardware,
            FlowControl::XonXoff => tokio_serial::FlowControl::Software,
        })
}

/// Adapters round a speed they do not have, without a word.
fn check_speed(config: &PortConfig, stream: &SerialStream) -> Result<(), OpenError> {
    let Ok(found) = stream.baud_rate() else {
        return Ok(());
    };
    let wanted = config.line.baud;
    if u64::from(found.abs_diff(wanted)) * 100 <= u64::from(wanted) * SPEED_TOLERANCE {
        return Ok(());
    }
    Err(OpenError::Settings {
        path: config.path.clone(),
        settings: config.line.to_string(),
        found: format!("it runs at {found} baud"),
    })
}

impl Port {
    /// Throws away what was received and not read.
    ///
    /// # Errors
    /// [`Unplugged`].
    pub fn discard_input(&mut self) -> io::Result<()> {
        let stream = self.stream.as_ref().ok_or_else(unplugged)?;
        stream.clear(ClearBuffer::Input).map_err(|_gone| self.end())
    }

    /// Closes at once.
    fn end(&mut self) -> io::Error {
        if let Some(stream) = self.stream.take() {
            // Else closing would wait for characters that nobody will take any more.
            drop(stream.clear(ClearBuffer::Output));
        }
        self.lock = None;
        unplugged()
    }

    fn settle<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        match result {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                tracing::debug!(%error, "serial port ended");
                Err(self.end())
            }
            other => other,
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        drop(self.end());
    }
}

impl AsyncRead for Port {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(unplugged()));
        };
        let before = buf.filled().len();
        let result = ready!(Pin::new(stream).poll_read(cx, buf));
        let hung_up = result.is_ok() && buf.filled().len() == before && buf.remaining() > 0;
        Poll::Ready(if hung_up {
            Err(self.end())
        } else {
            self.settle(result)
        })
    }
}

impl AsyncWrite for Port {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(unplugged()));
        };
        let result = ready!(Pin::new(stream).poll_write(cx, bytes));
        Poll::Ready(self.settle(result))
    }

    /// Does nothing: what was written is with the kernel, and waiting for the wire would block.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing: drop the port to close it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;

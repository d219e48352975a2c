//! RS-485 direction control by the kernel: `TIOCSRS485`.
//!
//! The one module with unsafe code: neither tokio-serial nor rustix nor nix wraps this request. The
//! structure is the kernel's `struct serial_rs485` (`include/uapi/linux/serial.h`), 32 bytes since
//! Linux 2.6.29; newer kernels only gave names to parts of its padding. The kernel writes back what it
//! really set, so it gets a structure that it may write to.
#![expect(
    unsafe_code,
    reason = "an ioctl that no library wraps; see the module's documentation"
)]

use crate::Rs485;
use rustix::ioctl::{Opcode, Updater, ioctl};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `asm-generic/ioctls.h`: the number on x86, ARM, RISC-V and every other target we build for.
const TIOCSRS485: Opcode = 0x542f;

const ENABLED: u32 = 1 << 0;
const RTS_ON_SEND: u32 = 1 << 1;
const RTS_AFTER_SEND: u32 = 1 << 2;
const RX_DURING_TX: u32 = 1 << 4;

/// `struct serial_rs485`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SerialRs485 {
    flags: u32,
    /// Milliseconds.
    delay_rts_before_send: u32,
    /// Milliseconds.
    delay_rts_after_send: u32,
    padding: [u32; 5],
}

const _: () = assert!(size_of::<SerialRs485>() == 32, "as the kernel has it");

impl From<Rs485> for SerialRs485 {
    fn from(wanted: Rs485) -> Self {
        let flag = |on, bit| if on { bit } else { 0 };
        let millis = |span: std::time::Duration| u32::try_from(span.as_millis()).unwrap_or(0);
        Self {
            flags: ENABLED
                | flag(wanted.rts_on_send, RTS_ON_SEND)
                | flag(wanted.rts_after_send, RTS_AFTER_SEND)
                | flag(wanted.rx_during_tx, RX_DURING_TX),
            delay_rts_before_send: millis(wanted.delay_before),
            delay_rts_after_send: millis(wanted.delay_after),
            padding: [0; 5],
        }
    }
}

/// Switches direction control on.
///
/// # Errors
/// What the kernel says; a driver without it answers `ENOTTY`, an older one `EINVAL`. `Unsupported`
/// when it accepted the request and then did not switch it on.
pub(crate) fn enable(port: &impl AsRawFd, wanted: Rs485) -> io::Result<()> {
    let mut settings = SerialRs485::from(wanted);
    // SAFETY: `port` owns the descriptor and is borrowed for the whole call, so it stays open.
    let fd = unsafe { BorrowedFd::borrow_raw(port.as_raw_fd()) };
    // SAFETY: the request takes a pointer to a `struct serial_rs485`, which `SerialRs485` is (layout
    // asserted above), and reads and writes nothing beyond it.
    unsafe { ioctl(fd, Updater::<TIOCSRS485, _>::new(&mut settings)) }?;
    if settings.flags & ENABLED == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn settings_become_the_kernels_flags_and_milliseconds() {
        let settings = SerialRs485::from(Rs485 {
            delay_after: Duration::from_millis(3),
            rx_during_tx: true,
            ..Rs485::default()
        });
        assert_eq!(settings.flags, ENABLED | RTS_ON_SEND | RX_DURING_TX);
        assert_eq!(settings.delay_rts_before_send, 0);
        assert_eq!(settings.delay_rts_after_send, 3);
    }

    #[test]
    fn a_terminal_that_is_no_uart_refuses() {
        let pty = rustix::fs::open(
            "/dev/ptmx",
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY,
            rustix::fs::Mode::empty(),
        );
        assert!(enable(&pty.unwrap(), Rs485::default()).is_err());
    }
}

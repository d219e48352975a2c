//! What differs between boards.

use clap::ValueEnum;

/// For which machines an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Board {
    /// Virtual machines with virtio, USB serial adapters and Bluetooth; boots by UEFI.
    Virt,
    /// Boards that boot by UEFI.
    Uefi,
}

/// Hardware that virtual machines do not have.
const NOT_VIRTUAL: [&str; 17] = [
    "drivers/gpio/",
    "drivers/hid/",
    "drivers/i2c/",
    "drivers/mfd/",
    "drivers/mmc/",
    "drivers/net/mdio",
    "drivers/net/phy/",
    "drivers/net/usb/",
    "drivers/nvme/",
    "drivers/nvmem/",
    "drivers/phy/",
    "drivers/rtc/",
    "drivers/tty/",
    "drivers/firmware/",
    "drivers/crypto/",
    "drivers/watchdog/",
    "drivers/usb/typec/",
];

impl Board {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Virt => "virt",
            Self::Uefi => "uefi",
        }
    }

    /// Whether a module below `kernel/` serves it.
    #[must_use]
    pub fn serves(self, module: &str) -> bool {
        match self {
            Self::Virt => !NOT_VIRTUAL.iter().any(|folder| module.starts_with(folder)),
            Self::Uefi => true,
        }
    }

    /// Where the kernel and the gateway's own words go.
    #[must_use]
    pub const fn console(self) -> &'static str {
        match self {
            Self::Virt => "console=ttyAMA0",
            Self::Uefi => "console=ttyAMA0 console=tty0",
        }
    }
}

//! The processors we build for, and what each tool calls them.

use clap::ValueEnum;

/// A processor family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Arch {
    /// 64-bit ARM: Raspberry Pi 3 and later, most gateways.
    Aarch64,
    /// 32-bit ARM with hardware floating point.
    Armv7,
    /// PCs, and this machine's own tests.
    Amd64,
}

/// Oldest glibc that a binary of ours may ask for: Debian 11, Ubuntu 20.04.
pub const GLIBC: (u32, u32) = (2, 31);

impl Arch {
    /// The target as Rust names it.
    #[must_use]
    pub const fn triple(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
            Self::Armv7 => "armv7-unknown-linux-gnueabihf",
            Self::Amd64 => "x86_64-unknown-linux-gnu",
        }
    }

    /// The architecture as Debian names it.
    #[must_use]
    pub const fn debian(self) -> &'static str {
        match self {
            Self::Aarch64 => "arm64",
            Self::Armv7 => "armhf",
            Self::Amd64 => "amd64",
        }
    }

    /// The machine type in an ELF header.
    #[must_use]
    pub const fn elf_machine(self) -> u16 {
        match self {
            Self::Aarch64 => 183,
            Self::Armv7 => 40,
            Self::Amd64 => 62,
        }
    }

    /// The emulator that runs its programs here.
    #[must_use]
    pub const fn emulator(self) -> &'static str {
        match self {
            Self::Aarch64 => "qemu-aarch64-static",
            Self::Armv7 => "qemu-arm-static",
            Self::Amd64 => "qemu-x86_64-static",
        }
    }

    /// The name that the lock file and the command line use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::Armv7 => "armv7",
            Self::Amd64 => "amd64",
        }
    }

    /// The triple in the form that cargo's environment variables take.
    #[must_use]
    pub fn variable(self) -> String {
        self.triple().to_uppercase().replace('-', "_")
    }
}

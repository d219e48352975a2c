//! Images for devices: Debian's packages and ours as a read-only root, twice, beside a boot partition
//! and a data partition that grows. And writing them, with a site's identity, to a card.
//!
//! Nothing is mounted, no loop device is used, no foreign program runs, nobody needs to be root. Package
//! versions are pinned in `cross/lock.toml`; the same pins, gateway package and commit give the same bytes.

mod accounts;
mod board;
pub mod cpio;
mod disk;
mod flash;
mod gpt;
mod image;
mod kernel;
mod root;
mod sbom;
mod tree;

pub use board::Board;
pub use disk::{DATA_NAME, ESP_NAME};
pub use flash::{Flash, flash, partition};
pub use image::{Order, build};

//! Which boot this is. The monotonic clock of this program starts with the process, so a boot is one
//! start of the process: 64 random bits, never given twice.

use protocols_model::BootId;
use ring::rand::{SecureRandom, SystemRandom};

/// Draws the id of this boot.
///
/// # Errors
/// When the system has no randomness to give; nothing sensible can be done without.
pub(crate) fn draw() -> anyhow::Result<BootId> {
    let mut bytes = [0; 8];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(BootId(u64::from_le_bytes(bytes)))
}

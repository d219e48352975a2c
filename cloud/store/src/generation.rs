//! The store's generation: which life of the database this is.

use crate::error::StoreError;

/// 64 random bits: no two databases, and no two restores of one, share a generation.
pub(crate) fn draw() -> Result<u64, StoreError> {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| StoreError::Database {
            doing: "drawing a generation",
            source: "the system gives no random bytes".into(),
        })?;
    Ok(u64::from_le_bytes(bytes))
}

//! AES-CCM of BTHome: a tag of 4 bytes, a nonce of 13, no associated data.

use super::DecodeError;
use crate::address::Address;
use crate::config::BindKey;
use aes::Aes128;
use ccm::Ccm;
use ccm::aead::{AeadInOut, KeyInit};
use ccm::consts::{U4, U13};
use std::fmt;

const TAG: usize = 4;
const COUNTER: usize = 4;
/// The service UUID as it stands in the nonce.
const UUID: [u8; 2] = [0xd2, 0xfc];

/// The decryption of one device, made once from its key.
#[derive(Clone)]
pub struct Cipher(Ccm<Aes128, U4, U13>);

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(…)")
    }
}

impl Cipher {
    /// The decryption for this key.
    #[must_use]
    pub fn new(key: &BindKey) -> Self {
        Self(Ccm::new(&(*key.bytes()).into()))
    }

    /// The plain objects and the counter of `sealed`: ciphertext, counter, tag.
    pub(super) fn open(
        &self,
        from: Address,
        info: u8,
        sealed: &[u8],
    ) -> Result<(Vec<u8>, u32), DecodeError> {
        let cut = DecodeError::Length(sealed.len() + 1);
        let (rest, tag) = sealed.split_last_chunk::<TAG>().ok_or(cut)?;
        let (text, counter) = rest.split_last_chunk::<COUNTER>().ok_or(cut)?;
        if text.is_empty() {
            return Err(cut);
        }
        let mut nonce = [0; 13];
        let parts = from.0.into_iter().chain(UUID).chain([info]);
        for (to, byte) in nonce.iter_mut().zip(parts.chain(*counter)) {
            *to = byte;
        }
        let mut plain = text.to_vec();
        self.0
            .decrypt_inout_detached(
                &nonce.into(),
                &[],
                plain.as_mut_slice().into(),
                &(*tag).into(),
            )
            .map_err(|_| DecodeError::Forged)?;
        Ok((plain, u32::from_le_bytes(*counter)))
    }
}

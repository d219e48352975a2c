//! AES-128-CCM with a 13-byte nonce, a 4-byte tag and no associated data (RFC 3610), as `BTHome` uses it.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};

/// Bytes of the tag.
pub(super) const TAG: usize = 4;

/// Encrypts `plain`; the tag comes separately. At most 65535 bytes, of which an advertisement has a few.
pub(super) fn seal(key: &[u8; 16], nonce: &[u8; 13], plain: &[u8]) -> (Vec<u8>, [u8; TAG]) {
    let cipher = Aes128::new(&Array::from(*key));
    let encrypt = |block: [u8; 16]| -> [u8; 16] {
        let mut block = Array::from(block);
        cipher.encrypt_block(&mut block);
        block.into()
    };
    let block = |first: u8, count: u16| {
        let mut block = [0; 16];
        let [flags, middle @ .., high, low] = &mut block;
        *flags = first;
        middle.copy_from_slice(nonce);
        [*high, *low] = count.to_be_bytes();
        block
    };

    // RFC 3610 2.2: flags = 8 * ((tag - 2) / 2) + (length field - 1), the length in two bytes.
    let length = u16::try_from(plain.len()).unwrap_or(u16::MAX);
    let mut mac = encrypt(block(8 + 1, length));
    for chunk in plain.chunks(16) {
        for (sum, byte) in mac.iter_mut().zip(chunk) {
            *sum ^= byte;
        }
        mac = encrypt(mac);
    }

    // RFC 3610 2.3: the key stream counts from 0, whose block hides the tag.
    let mut sealed = Vec::with_capacity(plain.len());
    for (count, chunk) in (1_u16..).zip(plain.chunks(16)) {
        let stream = encrypt(block(1, count));
        sealed.extend(chunk.iter().zip(stream).map(|(byte, key)| byte ^ key));
    }
    let mut tag = [0; TAG];
    for ((out, sum), key) in tag.iter_mut().zip(mac).zip(encrypt(block(1, 0))) {
        *out = sum ^ key;
    }
    (sealed, tag)
}

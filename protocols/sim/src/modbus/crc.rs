//! CRC-16/MODBUS. Source: Modbus over Serial Line V1.02, 2.5.1.2 and appendix B.

/// The checksum of a frame, low byte first as on the line.
#[must_use]
pub fn crc16(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xffffu16;
    for &byte in bytes {
        crc ^= u16::from(byte);
        for _ in 0..8 {
            let carry = crc & 1 == 1;
            crc >>= 1;
            if carry {
                crc ^= 0xa001;
            }
        }
    }
    crc.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_checksum_of_the_specification() {
        // Appendix B of the specification: 02 07 is followed by 41 12.
        assert_eq!(crc16(&[2, 7]), [0x41, 0x12]);
    }
}

//! Modbus request and answer bodies (function codes 1 to 4), and the RTU checksum. Pure.
//!
//! Source: Modbus Application Protocol V1.1b3, sections 6.1 to 6.4 and 7; Modbus over Serial Line
//! V1.02, section 2.5.1.2 (CRC).

use crate::site::Space;

/// A read request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// Which space; 1:1 with the function code.
    pub space: Space,
    /// First address.
    pub address: u16,
    /// How many bits or registers.
    pub count: u16,
}

/// Exception: the function code is not known.
pub const ILLEGAL_FUNCTION: u8 = 1;
/// Exception: an address is not there.
pub const ILLEGAL_ADDRESS: u8 = 2;
/// Exception: the count is out of range.
pub const ILLEGAL_VALUE: u8 = 3;

/// Function code of a space.
#[must_use]
pub const fn function_code(space: Space) -> u8 {
    match space {
        Space::Coil => 1,
        Space::Discrete => 2,
        Space::Holding => 3,
        Space::Input => 4,
    }
}

/// Reads a request body.
///
/// # Errors
/// The exception code to answer with.
pub fn parse(pdu: &[u8]) -> Result<ReadRequest, u8> {
    let &[code, address_high, address_low, count_high, count_low] = pdu else {
        return Err(ILLEGAL_FUNCTION);
    };
    let (space, most) = match code {
        1 => (Space::Coil, 2000),
        2 => (Space::Discrete, 2000),
        3 => (Space::Holding, 125),
        4 => (Space::Input, 125),
        _ => return Err(ILLEGAL_FUNCTION),
    };
    let address = u16::from_be_bytes([address_high, address_low]);
    let count = u16::from_be_bytes([count_high, count_low]);
    if count == 0 || count > most {
        return Err(ILLEGAL_VALUE);
    }
    Ok(ReadRequest {
        space,
        address,
        count,
    })
}

/// The answer body that carries `words`: registers, or one 0/1 word per bit.
#[must_use]
pub fn answer(request: ReadRequest, words: &[u16]) -> Vec<u8> {
    let data: Vec<u8> = match request.space {
        Space::Holding | Space::Input => words.iter().flat_map(|w| w.to_be_bytes()).collect(),
        Space::Coil | Space::Discrete => words
            .chunks(8)
            .map(|bits| {
                bits.iter()
                    .rev()
                    .fold(0u8, |byte, &bit| (byte << 1) | u8::from(bit != 0))
            })
            .collect(),
    };
    // `parse` keeps counts so low that the length always fits.
    let length = u8::try_from(data.len()).unwrap_or(u8::MAX);
    [&[function_code(request.space), length], data.as_slice()].concat()
}

/// The answer body that refuses a request.
#[must_use]
pub fn exception(function: u8, code: u8) -> Vec<u8> {
    vec![function | 0x80, code]
}

/// CRC-16/MODBUS, low byte first on the line.
#[must_use]
pub fn crc16(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xffffu16;
    for &byte in bytes {
        crc ^= u16::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xa001
            } else {
                crc >> 1
            };
        }
    }
    crc.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_and_bit_packing_match_the_examples_of_the_specification() {
        // Serial line specification, appendix B example: 02 07 gives 41 12 on the line.
        assert_eq!(crc16(&[0x02, 0x07]), [0x41, 0x12]);
        // Application protocol 6.1: coils 20-38 read as CD 6B 05.
        let bits = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1];
        let request = parse(&[1, 0, 0x13, 0, 0x13]).unwrap();
        assert_eq!(answer(request, &bits), [1, 3, 0xcd, 0x6b, 0x05]);
        assert_eq!(parse(&[3, 0, 0, 0, 126]), Err(ILLEGAL_VALUE));
        assert_eq!(parse(&[6, 0, 0, 0, 1]), Err(ILLEGAL_FUNCTION));
    }
}

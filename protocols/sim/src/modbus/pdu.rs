//! Request and answer bodies as a device sees them: function codes 1 to 6, 15, 16, 22 and 23. Pure.
//!
//! Source: Modbus Application Protocol V1.1b3, chapters 6 and 7.

/// Exception: the function code is not known.
pub const ILLEGAL_FUNCTION: u8 = 1;
/// Exception: an address is not there or may not be written.
pub const ILLEGAL_ADDRESS: u8 = 2;
/// Exception: a count or value is out of range.
pub const ILLEGAL_VALUE: u8 = 3;

/// Which address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Coils: bits that may be written.
    Coil,
    /// Discrete inputs: bits.
    Discrete,
    /// Holding registers: words that may be written.
    Holding,
    /// Input registers: words.
    Input,
}

impl Space {
    /// Whether its addresses are bits.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Functions 1 to 4.
    Read(Range),
    /// Functions 5, 6, 15, 16: words, or one 0/1 word for each coil.
    Write(Range, Vec<u16>),
    /// Function 22: `current & and | or & !and`.
    Mask {
        /// The register.
        address: u16,
        /// Bits that stay.
        and: u16,
        /// Bits that replace the others.
        or: u16,
    },
    /// Function 23: writes, then reads.
    WriteRead(Range, Vec<u16>, Range),
}

/// Addresses of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Function code.
    pub function: u8,
    /// Address space.
    pub space: Space,
    /// First address.
    pub address: u16,
    /// Addresses.
    pub count: u16,
}

/// A request body behind its function code.
struct Body<'a> {
    function: u8,
    space: Space,
    bytes: &'a [u8],
}

impl Body<'_> {
    fn word(&self, at: usize) -> Result<u16, u8> {
        self.bytes.get(at..at + 2).map(big).ok_or(ILLEGAL_VALUE)
    }

    fn words(&self, at: usize) -> Vec<u16> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.chunks(2).map(big).collect()
    }

    fn exactly(&self, length: usize) -> Result<(), u8> {
        let fits = self.bytes.len() == length;
        fits.then_some(()).ok_or(ILLEGAL_VALUE)
    }

    /// Address and count as they stand at two places.
    fn range(&self, address_at: usize, count: u16, most: u16) -> Result<Range, u8> {
        let range = Range {
            function: self.function,
            space: self.space,
            address: self.word(address_at)?,
            count,
        };
        let fits = (1..=most).contains(&count);
        fits.then_some(range).ok_or(ILLEGAL_VALUE)
    }

    fn coils(&self) -> Result<Request, u8> {
        let range = self.range(0, self.word(2)?, 1968)?;
        self.exactly(5 + usize::from(range.count).div_ceil(8))?;
        let bit = |place: u16| {
            let byte = self.bytes.get(5 + usize::from(place / 8));
            u16::from(byte.copied().unwrap_or(0) >> (place % 8) & 1)
        };
        Ok(Request::Write(range, (0..range.count).map(bit).collect()))
    }

    fn write_and_read(&self) -> Result<Request, u8> {
        let read = self.range(0, self.word(2)?, 125)?;
        let write = self.range(4, self.word(6)?, 121)?;
        self.exactly(9 + 2 * usize::from(write.count))?;
        Ok(Request::WriteRead(write, self.words(9), read))
    }
}

/// Reads a request body.
///
/// # Errors
/// The exception code that a device answers with.
pub fn parse(pdu: &[u8]) -> Result<Request, u8> {
    let (&function, bytes) = pdu.split_first().ok_or(ILLEGAL_FUNCTION)?;
    let space = match function {
        1 | 5 | 15 => Space::Coil,
        2 => Space::Discrete,
        3 | 6 | 16 | 22 | 23 => Space::Holding,
        4 => Space::Input,
        _ => return Err(ILLEGAL_FUNCTION),
    };
    let body = Body {
        function,
        space,
        bytes,
    };
    match function {
        1..=4 => {
            body.exactly(4)?;
            let most = if space.is_bits() { 2000 } else { 125 };
            Ok(Request::Read(body.range(0, body.word(2)?, most)?))
        }
        5 | 6 => {
            body.exactly(4)?;
            let word = match (function, body.word(2)?) {
                (5, 0xff00) => 1,
                (6, word) => word,
                (_, 0) => 0,
                _ => return Err(ILLEGAL_VALUE),
            };
            Ok(Request::Write(body.range(0, 1, 1)?, vec![word]))
        }
        15 => body.coils(),
        16 => {
            let range = body.range(0, body.word(2)?, 123)?;
            body.exactly(5 + 2 * usize::from(range.count))?;
            Ok(Request::Write(range, body.words(5)))
        }
        22 => {
            body.exactly(6)?;
            Ok(Request::Mask {
                address: body.word(0)?,
                and: body.word(2)?,
                or: body.word(4)?,
            })
        }
        _ => body.write_and_read(),
    }
}

fn big(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0, |word, byte| word << 8 | u16::from(*byte))
}

/// The body that answers a read with `words`: registers, or one 0/1 word for each bit.
#[must_use]
pub fn read_answer(range: Range, words: &[u16]) -> Vec<u8> {
    let data: Vec<u8> = if range.space.is_bits() {
        let byte = |bits: &[u16]| {
            let bits = bits.iter().rev();
            bits.fold(0u8, |byte, bit| byte << 1 | u8::from(*bit != 0))
        };
        words.chunks(8).map(byte).collect()
    } else {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    };
    // Counts are bounded by `parse`: the length always fits.
    let length = u8::try_from(data.len()).unwrap_or(u8::MAX);
    [&[range.function, length], data.as_slice()].concat()
}

/// The body that confirms a write: the first five bytes of the request, or all seven of function 22.
#[must_use]
pub fn write_answer(pdu: &[u8]) -> Vec<u8> {
    let length = if pdu.first() == Some(&22) { 7 } else { 5 };
    pdu.iter().take(length).copied().collect()
}

/// The body that refuses a request.
#[must_use]
pub fn exception(function: u8, code: u8) -> Vec<u8> {
    vec![function | 0x80, code]
}

/// Length of a request frame on a line, from its first bytes; `None` while that is not certain, an error
/// where the function is not known. For RTU over TCP, where no silence ends a frame.
///
/// # Errors
/// Where no length can be known: the connection has lost its place.
pub(super) fn frame_length(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let Some(function) = bytes.get(1) else {
        return Ok(None);
    };
    let counted = |at: usize, rest: usize| {
        let count = bytes.get(at).copied();
        Ok(count.map(|count| at + 1 + usize::from(count) + rest))
    };
    match function {
        1..=6 => Ok(Some(8)),
        15 | 16 => counted(6, 2),
        22 => Ok(Some(10)),
        23 => counted(10, 2),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of chapter 6, request and answer.
    #[test]
    fn bodies_are_those_of_the_specification() {
        let range = |function, space, address, count| Range {
            function,
            space,
            address,
            count,
        };
        let coils = range(1, Space::Coil, 0x13, 0x13);
        assert_eq!(parse(&[1, 0, 0x13, 0, 0x13]), Ok(Request::Read(coils)));
        let bits = [1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1];
        assert_eq!(read_answer(coils, &bits), [1, 3, 0xcd, 0x6b, 5]);
        let holding = range(3, Space::Holding, 0x6b, 3);
        assert_eq!(parse(&[3, 0, 0x6b, 0, 3]), Ok(Request::Read(holding)));
        assert_eq!(
            read_answer(holding, &[0x22b, 0, 0x64]),
            [3, 6, 2, 0x2b, 0, 0, 0, 0x64]
        );
        let coil = [5, 0, 0xac, 0xff, 0];
        assert_eq!(
            parse(&coil),
            Ok(Request::Write(range(5, Space::Coil, 0xac, 1), vec![1]))
        );
        assert_eq!(write_answer(&coil), coil);
        let register = [6, 0, 1, 0, 3];
        assert_eq!(
            parse(&register),
            Ok(Request::Write(range(6, Space::Holding, 1, 1), vec![3]))
        );
        let coils = [15, 0, 0x13, 0, 0x0a, 2, 0xcd, 1];
        let written = vec![1, 0, 1, 1, 0, 0, 1, 1, 1, 0];
        assert_eq!(
            parse(&coils),
            Ok(Request::Write(range(15, Space::Coil, 0x13, 10), written))
        );
        assert_eq!(write_answer(&coils), [15, 0, 0x13, 0, 0x0a]);
        let registers = [16, 0, 1, 0, 2, 4, 0, 0x0a, 1, 2];
        let written = vec![0x0a, 0x102];
        assert_eq!(
            parse(&registers),
            Ok(Request::Write(range(16, Space::Holding, 1, 2), written))
        );
        let mask = [22, 0, 4, 0, 0xf2, 0, 0x25];
        let parsed = Request::Mask {
            address: 4,
            and: 0xf2,
            or: 0x25,
        };
        assert_eq!(parse(&mask), Ok(parsed));
        assert_eq!(write_answer(&mask), mask);
        let both = [23, 0, 3, 0, 6, 0, 0x0e, 0, 3, 6, 0, 0xff, 0, 0xff, 0, 0xff];
        let (write, read) = (
            range(23, Space::Holding, 0x0e, 3),
            range(23, Space::Holding, 3, 6),
        );
        assert_eq!(
            parse(&both),
            Ok(Request::WriteRead(write, vec![0xff; 3], read))
        );
        assert_eq!(exception(1, 2), [0x81, 2]);
    }

    #[test]
    fn a_request_out_of_range_is_refused_and_none_makes_it_panic() {
        for (pdu, code) in [
            (&[][..], ILLEGAL_FUNCTION),
            (&[7], ILLEGAL_FUNCTION),
            (&[3, 0, 0, 0, 126], ILLEGAL_VALUE),
            (&[3, 0, 0, 0, 0], ILLEGAL_VALUE),
            (&[3, 0, 0, 0], ILLEGAL_VALUE),
            (&[3, 0, 0, 0, 1, 0], ILLEGAL_VALUE),
            (&[5, 0, 0, 1, 0], ILLEGAL_VALUE),
            (&[16, 0, 0, 0, 2, 4, 0, 0], ILLEGAL_VALUE),
            (&[15, 0, 0, 0xff, 0xff, 1, 0], ILLEGAL_VALUE),
        ] {
            assert_eq!(parse(pdu), Err(code), "{pdu:?}");
        }
        for function in 0..=255 {
            for length in 0..40 {
                let mut pdu = vec![0xffu8; length];
                if let Some(first) = pdu.first_mut() {
                    *first = function;
                }
                let _any = parse(&pdu);
            }
        }
    }
}

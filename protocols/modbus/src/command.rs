//! What is written, as requests on the wire: pure.

use crate::codec::Encoded;
use crate::config::{Address, BitWrites, WriteWith};
use crate::frame::{Body, Expected};
use std::borrow::Cow;
use tokio_modbus::{Request as Pdu, Response};

/// One write request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Function 5.
    Coil(u16, bool),
    /// Function 15, for one coil.
    Coils(u16, bool),
    /// Function 6.
    Register(u16, u16),
    /// Function 16.
    Registers(u16, Vec<u16>),
    /// Function 22: and-mask, or-mask.
    Mask(u16, u16, u16),
    /// Function 23: written, then the same registers read back.
    ReadWrite(u16, Vec<u16>),
}

/// What has to be done for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Steps {
    /// These requests, in this order.
    Commands(Vec<Command>),
    /// Read the register, put these bits in, write it with this function.
    ReadModifyWrite {
        register: u16,
        bits: Encoded,
        with: WriteWith,
    },
}

/// One or several whole registers.
fn registers(at: u16, words: Vec<u16>, with: WriteWith) -> Vec<Command> {
    match (with, words.as_slice()) {
        (WriteWith::ReadWrite, _) => vec![Command::ReadWrite(at, words)],
        (WriteWith::Auto, [word]) => vec![Command::Register(at, *word)],
        (WriteWith::Single, _) => (at..)
            .zip(words)
            .map(|(at, word)| Command::Register(at, word))
            .collect(),
        (WriteWith::Auto | WriteWith::Multiple, _) => vec![Command::Registers(at, words)],
    }
}

/// How a value is written at an address.
pub(crate) fn steps(
    address: Address,
    value: Encoded,
    with: WriteWith,
    bit_writes: BitWrites,
) -> Steps {
    let at = address.register;
    Steps::Commands(match value {
        Encoded::Coil(on) if with == WriteWith::Multiple => vec![Command::Coils(at, on)],
        Encoded::Coil(on) => vec![Command::Coil(at, on)],
        Encoded::Words(words) => registers(at, words, with),
        Encoded::Mask { and, or } if bit_writes == BitWrites::Mask => {
            vec![Command::Mask(at, and, or)]
        }
        bits @ Encoded::Mask { .. } => {
            return Steps::ReadModifyWrite {
                register: at,
                bits,
                with,
            };
        }
    })
}

/// The requests that write one register whole.
pub(crate) fn whole_register(at: u16, word: u16, with: WriteWith) -> Vec<Command> {
    registers(at, vec![word], with)
}

/// The first four bytes of an echo.
fn echo4(a: u16, b: u16) -> Body {
    let ([a0, a1], [b0, b1]) = (a.to_be_bytes(), b.to_be_bytes());
    Body::Echo([a0, a1, b0, b1, 0, 0], 4)
}

fn count(words: &[u16]) -> u16 {
    u16::try_from(words.len()).unwrap_or(u16::MAX)
}

impl Command {
    pub(crate) const fn function(&self) -> u8 {
        match self {
            Self::Coil(..) => 5,
            Self::Register(..) => 6,
            Self::Coils(..) => 15,
            Self::Registers(..) => 16,
            Self::Mask(..) => 22,
            Self::ReadWrite(..) => 23,
        }
    }

    pub(crate) fn pdu(&self) -> Pdu<'_> {
        match self {
            Self::Coil(at, on) => Pdu::WriteSingleCoil(*at, *on),
            Self::Coils(at, on) => Pdu::WriteMultipleCoils(*at, Cow::Owned(vec![*on])),
            Self::Register(at, word) => Pdu::WriteSingleRegister(*at, *word),
            Self::Registers(at, words) => Pdu::WriteMultipleRegisters(*at, Cow::Borrowed(words)),
            Self::Mask(at, and, or) => Pdu::MaskWriteRegister(*at, *and, *or),
            Self::ReadWrite(at, words) => {
                Pdu::ReadWriteMultipleRegisters(*at, count(words), *at, Cow::Borrowed(words))
            }
        }
    }

    pub(crate) fn expected(&self, unit: u8) -> Expected {
        let body = match self {
            Self::Coil(at, on) => echo4(*at, if *on { 0xff00 } else { 0 }),
            Self::Coils(at, _) => echo4(*at, 1),
            Self::Register(at, word) => echo4(*at, *word),
            Self::Registers(at, words) => echo4(*at, count(words)),
            Self::Mask(at, and, or) => {
                let ([a0, a1], [b0, b1], [c0, c1]) =
                    (at.to_be_bytes(), and.to_be_bytes(), or.to_be_bytes());
                Body::Echo([a0, a1, b0, b1, c0, c1], 6)
            }
            Self::ReadWrite(_, words) => {
                Body::Data(u8::try_from(2 * words.len()).unwrap_or(u8::MAX))
            }
        };
        let function = self.function();
        Expected {
            unit,
            function,
            body,
        }
    }

    /// Characters of request and answer on a serial line.
    pub(crate) fn characters(&self) -> u32 {
        match self {
            Self::Coil(..) | Self::Register(..) => 8 + 8,
            Self::Coils(..) => 10 + 8,
            Self::Registers(_, words) => 9 + 2 * u32::from(count(words)) + 8,
            Self::Mask(..) => 10 + 10,
            Self::ReadWrite(_, words) => 13 + 4 * u32::from(count(words)) + 5,
        }
    }

    /// What the device holds now, if its answer says so (function 23); `None` when the answer does not
    /// confirm this command.
    pub(crate) fn confirmed(&self, response: Response) -> Option<Option<Vec<u16>>> {
        let echoed = match (self, response) {
            (Self::ReadWrite(_, words), Response::ReadWriteMultipleRegisters(read)) => {
                return (read.len() == words.len()).then_some(Some(read));
            }
            (Self::Coil(at, on), Response::WriteSingleCoil(a, b)) => (*at, *on) == (a, b),
            (Self::Coils(at, _), Response::WriteMultipleCoils(a, n)) => (*at, 1) == (a, n),
            (Self::Register(at, word), Response::WriteSingleRegister(a, w)) => {
                (*at, *word) == (a, w)
            }
            (Self::Registers(at, words), Response::WriteMultipleRegisters(a, n)) => {
                (*at, count(words)) == (a, n)
            }
            (Self::Mask(at, and, or), Response::MaskWriteRegister(a, b, c)) => {
                (*at, *and, *or) == (a, b, c)
            }
            _ => false,
        };
        echoed.then_some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_by_the_function_that_was_chosen() {
        use Command::{Coil, Coils, Mask, ReadWrite, Register, Registers};
        let hr: Address = "hr:10".parse().unwrap();
        let co: Address = "co:3".parse().unwrap();
        let done =
            |address, value: Encoded, with| match steps(address, value, with, BitWrites::Mask) {
                Steps::Commands(commands) => commands,
                Steps::ReadModifyWrite { .. } => panic!("not asked for"),
            };
        let words = |words: &[u16]| Encoded::Words(words.to_vec());
        assert_eq!(done(hr, words(&[7]), WriteWith::Auto), [Register(10, 7)]);
        assert_eq!(
            done(hr, words(&[7, 8]), WriteWith::Auto),
            [Registers(10, vec![7, 8])]
        );
        assert_eq!(
            done(hr, words(&[7, 8]), WriteWith::Single),
            [Register(10, 7), Register(11, 8)]
        );
        assert_eq!(
            done(hr, words(&[7]), WriteWith::Multiple),
            [Registers(10, vec![7])]
        );
        assert_eq!(
            done(hr, words(&[7]), WriteWith::ReadWrite),
            [ReadWrite(10, vec![7])]
        );
        assert_eq!(
            done(co, Encoded::Coil(true), WriteWith::Auto),
            [Coil(3, true)]
        );
        assert_eq!(
            done(co, Encoded::Coil(true), WriteWith::Multiple),
            [Coils(3, true)]
        );
        let bits = Encoded::Mask {
            and: 0xff0f,
            or: 0x50,
        };
        assert_eq!(
            done(hr, bits.clone(), WriteWith::Auto),
            [Mask(10, 0xff0f, 0x50)]
        );
        assert_eq!(
            steps(
                hr,
                bits.clone(),
                WriteWith::Auto,
                BitWrites::ReadModifyWrite
            ),
            Steps::ReadModifyWrite {
                register: 10,
                bits,
                with: WriteWith::Auto
            }
        );
    }

    #[test]
    fn only_the_answer_that_repeats_a_command_confirms_it() {
        let command = Command::Registers(10, vec![1, 2]);
        let confirmed = |at, n| command.confirmed(Response::WriteMultipleRegisters(at, n));
        assert_eq!(confirmed(10, 2), Some(None));
        assert_eq!(confirmed(10, 1), None);
        assert_eq!(confirmed(11, 2), None);
        assert_eq!(
            command.confirmed(Response::WriteSingleRegister(10, 2)),
            None
        );
        let both = Command::ReadWrite(10, vec![1, 2]);
        let read =
            |words: &[u16]| both.confirmed(Response::ReadWriteMultipleRegisters(words.to_vec()));
        assert_eq!(read(&[1, 3]), Some(Some(vec![1, 3])));
        assert_eq!(read(&[1]), None);
    }
}

//! One unit: what it makes of a request. Pure; the bus above it knows of faults that concern the wire.

use super::map::Map;
use super::pdu::{self, ILLEGAL_ADDRESS, ILLEGAL_VALUE, Range, Request};
use crate::event::Shown;
use std::time::Duration;

/// What a unit refuses although it could.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Exception 3 above so many registers in a request.
    pub max_registers: Option<u16>,
    /// Exception 2 for a request that spans addresses without a point.
    pub refuse_gaps: bool,
}

/// What a unit did.
#[derive(Debug, Clone)]
pub enum Done {
    /// It was read.
    Read(Range, Vec<Shown>),
    /// It was written.
    Wrote(Range),
    /// It refused.
    Refused {
        /// Function code of the request.
        function: u8,
        /// Exception code.
        code: u8,
    },
}

/// Answers a request body: what the unit did, and the answer's body.
pub(super) fn answer(
    map: &mut Map,
    limits: Limits,
    pdu: &[u8],
    elapsed: Duration,
) -> (Done, Vec<u8>) {
    let function = pdu.first().copied().unwrap_or(0);
    let done = pdu::parse(pdu).and_then(|request| handle(map, limits, request, pdu, elapsed));
    done.unwrap_or_else(|code| {
        let refused = Done::Refused { function, code };
        (refused, pdu::exception(function, code))
    })
}

fn handle(
    map: &mut Map,
    limits: Limits,
    request: Request,
    pdu: &[u8],
    elapsed: Duration,
) -> Result<(Done, Vec<u8>), u8> {
    match request {
        Request::Read(range) => {
            let reading = read(map, limits, range, elapsed)?;
            let body = pdu::read_answer(range, &reading.words);
            Ok((Done::Read(range, reading.shown), body))
        }
        Request::Write(range, words) => {
            within(limits, range)?;
            map.write(range, &words)?;
            Ok((Done::Wrote(range), pdu::write_answer(pdu)))
        }
        Request::Mask { address, and, or } => {
            let range = Range {
                function: 22,
                space: pdu::Space::Holding,
                address,
                count: 1,
            };
            let current = map.peek(range.space, address, elapsed);
            let current = current.ok_or(ILLEGAL_ADDRESS)?;
            map.write(range, &[(current & and) | (or & !and)])?;
            Ok((Done::Wrote(range), pdu::write_answer(pdu)))
        }
        Request::WriteRead(write, words, range) => {
            within(limits, write)?;
            within(limits, range)?;
            map.write(write, &words)?;
            let reading = read(map, limits, range, elapsed)?;
            Ok((Done::Wrote(write), pdu::read_answer(range, &reading.words)))
        }
    }
}

fn read(
    map: &mut Map,
    limits: Limits,
    range: Range,
    elapsed: Duration,
) -> Result<super::map::Reading, u8> {
    within(limits, range)?;
    // Refused before it is read: a refused poll is no poll.
    if limits.refuse_gaps {
        let addresses = u32::from(range.address)..u32::from(range.address) + u32::from(range.count);
        let known = |address: u32| {
            let address = u16::try_from(address).ok();
            address.is_some_and(|at| map.peek(range.space, at, elapsed).is_some())
        };
        if !addresses.into_iter().all(known) {
            return Err(ILLEGAL_ADDRESS);
        }
    }
    map.read(range, elapsed)
}

fn within(limits: Limits, range: Range) -> Result<(), u8> {
    let most = limits.max_registers.filter(|_| !range.space.is_bits());
    let fits = most.is_none_or(|most| range.count <= most);
    fits.then_some(()).ok_or(ILLEGAL_VALUE)
}

//! BTHome version 2: objects in service data 0xFCD2, plain or encrypted.
//!
//! First byte: bit 0 encrypted, bit 1 the sender's address follows (reversed), bit 2 sends on events only,
//! bits 5 to 7 the version. Then objects, an id and a value each, little-endian; an object that is not
//! known ends the payload, because its length is not known either: what stood before it is taken (newer
//! sensors speak to older receivers; the format has ids in growing order for that). A cut object is an
//! error and nothing of the advertisement is taken. Source: bthome.io/format and bthome.io/encryption.
//!
//! # Encryption
//! AES-CCM with a tag of 4 bytes; the nonce is address, UUID, first byte and counter. The counter must
//! grow from one advertisement to the next: what is not newer is a replay and refused ([`Counter::Growing`]
//! and `heard`, which keeps the last counter of a device). A device with a key that is heard in plain is
//! refused too: anyone can send plain advertisements under its address.

mod crypt;
mod objects;

pub use crypt::Cipher;
pub(super) use objects::FIELDS;

use super::reader::Reader;
use super::{Counter, DecodeError, Packet, Values};
use crate::address::{Address, Uuid};
use crate::advert::Advert;

const SERVICE: Uuid = Uuid::short(0xfcd2);
const VERSION: u8 = 2;
const ENCRYPTED: u8 = 1;
const NAMES_ADDRESS: u8 = 1 << 1;
const ON_EVENT: u8 = 1 << 2;

pub(super) fn decode(
    advert: &Advert,
    cipher: Option<&Cipher>,
    out: &mut Values,
) -> Option<Result<Packet, DecodeError>> {
    let data = advert.of_service(SERVICE)?;
    let mut reader = Reader::new(data);
    let Some(info) = reader.u8() else {
        return Some(Err(DecodeError::Length(0)));
    };
    Some(frame(info, reader, advert.address, cipher, out))
}

fn frame(
    info: u8,
    mut data: Reader<'_>,
    from: Address,
    cipher: Option<&Cipher>,
    out: &mut Values,
) -> Result<Packet, DecodeError> {
    let len = data.rest().len() + 1;
    if info >> 5 != VERSION {
        return Err(DecodeError::Version(info));
    }
    if info & NAMES_ADDRESS != 0 {
        let reversed = data.array().ok_or(DecodeError::Length(len))?;
        let [a, b, c, d, e, f] = reversed;
        let named = Address([f, e, d, c, b, a]);
        if named != from {
            return Err(DecodeError::OtherDevice(named));
        }
    }
    let on_event = info & ON_EVENT != 0;
    if info & ENCRYPTED == 0 {
        if cipher.is_some() {
            return Err(DecodeError::Plain);
        }
        let counter = objects::read(data, out)?.map(Counter::Packet);
        return Ok(Packet { counter, on_event });
    }
    let cipher = cipher.ok_or(DecodeError::NoKey)?;
    let (plain, counter) = cipher.open(from, info, data.rest())?;
    objects::read(Reader::new(&plain), out)?;
    let counter = Some(Counter::Growing(counter));
    Ok(Packet { counter, on_event })
}

//! The sandbox protocol, as `docs/protocol.md` has it: frames, seals and messages.
//!
//! Pure: bytes in, values out. Knows no streams, no time and no processes. The daemon's half is written
//! in Python; `tests/corpus/frames.json` holds both to the same bytes.

pub mod frames;
pub mod messages;
pub mod seal;

#[cfg(test)]
mod corpus;

/// The version of the protocol that this controller speaks.
pub const PROTOCOL: u64 = 1;

/// Numbers on the wire are below this, so that every JSON implementation reads them alike.
pub const NUMBER_LIMIT: u64 = 1 << 53;

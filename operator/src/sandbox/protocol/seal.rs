//! Keys, proofs and tags: who may speak, and that what was said came whole, once and in order.
//!
//! Pure. Must not know what the sealed bytes say. Nothing in here shows a key in `Debug`.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;
use tokio_util::codec::Encoder;

use super::frames::{FrameError, Frames};

/// The bytes of a tag.
pub const TAG_BYTES: usize = 16;

const KEY_BYTES: usize = 32;

type HmacSha256 = Hmac<Sha256>;

#[expect(
    clippy::expect_used,
    reason = "HMAC takes keys of any length, zero included (RFC 2104)"
)]
fn hmac(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// What keys of sandboxes are derived from; one per installation.
#[derive(Clone)]
pub struct InstallationSecret(Arc<SecretSlice<u8>>);

impl InstallationSecret {
    /// Takes a secret that was stored. Its strength is the caller's care: 32 random bytes are right.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(Arc::new(SecretBox::new(bytes.into())))
    }

    /// Makes a secret that nobody else has, for sandboxes that no other process takes over.
    pub fn random() -> Self {
        Self::new(rand::random::<[u8; KEY_BYTES]>())
    }
}

impl fmt::Debug for InstallationSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InstallationSecret([redacted])")
    }
}

/// 32 hex digits in lower case: a boot id, or the nonce of one side.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HexId(String);

/// What the daemon calls itself from its start to its end.
pub type BootId = HexId;

/// What makes one connection's keys unlike those of any other.
pub type Nonce = HexId;

/// Text that is not 32 hex digits in lower case.
#[derive(Debug, Error)]
#[error("not 32 hex digits in lower case")]
pub struct NotHexId;

impl HexId {
    /// A new one, that nobody can guess.
    pub fn random() -> Self {
        Self(hex::encode(rand::random::<[u8; 16]>()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HexId {
    type Error = NotHexId;

    fn try_from(text: String) -> Result<Self, NotHexId> {
        let right = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if right { Ok(Self(text)) } else { Err(NotHexId) }
    }
}

impl From<HexId> for String {
    fn from(id: HexId) -> Self {
        id.0
    }
}

impl fmt::Display for HexId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A sandbox's key: who has it may speak to the daemon.
pub struct Key(SecretBox<[u8; KEY_BYTES]>);

impl Key {
    /// Derives the key for the sandbox of a run, as it was booted.
    ///
    /// Whoever takes over derives the same; whoever poses as a daemon, with a boot id of its own, gets
    /// one that opens nothing.
    pub fn derive(secret: &InstallationSecret, run: &str, boot: &BootId) -> Self {
        let mut mac = hmac(secret.0.expose_secret());
        for part in ["cataloger/1 sandbox|", run, "|", boot.as_str()] {
            mac.update(part.as_bytes());
        }
        Self::from_bytes(mac.finalize().into_bytes().into())
    }

    /// Takes the key as bytes.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }

    /// The key as it goes into a claim.
    pub fn to_hex(&self) -> SecretString {
        hex::encode(self.0.expose_secret()).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key([redacted])")
    }
}

/// What the proof and the keys of one connection are bound to.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Which daemon.
    pub boot: BootId,
    /// The daemon's nonce.
    pub daemon: Nonce,
    /// The controller's nonce.
    pub controller: Nonce,
    /// The controller's epoch.
    pub epoch: u64,
}

impl Binding {
    fn mac(&self, key: &Key, purpose: &str) -> [u8; KEY_BYTES] {
        let Self {
            boot,
            daemon,
            controller,
            epoch,
        } = self;
        let mut mac = hmac(key.0.expose_secret());
        mac.update(format!("cataloger/1 {purpose}|{boot}|{daemon}|{controller}|{epoch}").as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The controller's proof that it has the key.
    pub fn proof(&self, key: &Key) -> String {
        hex::encode(self.mac(key, "hello"))
    }

    /// The key of what the controller sends.
    pub fn controller_key(&self, key: &Key) -> DirectionKey {
        DirectionKey(self.mac(key, "controller"))
    }

    /// The key of what the daemon sends.
    pub fn daemon_key(&self, key: &Key) -> DirectionKey {
        DirectionKey(self.mac(key, "daemon"))
    }
}

/// The key of one direction of one connection.
pub struct DirectionKey([u8; KEY_BYTES]);

#[cfg(test)]
impl DirectionKey {
    pub(super) fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for DirectionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DirectionKey([redacted])")
    }
}

/// A tag that does not belong where it stands.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the tag of frame {number} is wrong: it was altered, repeated, or made by somebody without the key")]
pub struct WrongTag {
    /// The number that the frame should have had.
    pub number: u64,
}

/// One direction: counts its frames.
struct Direction {
    // Keyed once: cloning its state is cheaper than hashing the key for every frame.
    keyed: HmacSha256,
    number: u64,
}

impl Direction {
    fn new(key: &DirectionKey, number: u64) -> Self {
        Self {
            keyed: hmac(&key.0),
            number,
        }
    }

    fn mac(&self, body: &[u8]) -> HmacSha256 {
        let mut mac = self.keyed.clone();
        mac.update(&self.number.to_be_bytes());
        mac.update(body);
        mac
    }
}

/// Seals what goes out, in order.
pub struct Sealer(Direction);

impl Sealer {
    /// For a direction whose next frame has `number` (0 after the handshake).
    pub fn new(key: &DirectionKey, number: u64) -> Self {
        Self(Direction::new(key, number))
    }

    /// Appends the frame of `body` to `target`. On an error nothing was written and no number was spent.
    pub fn seal(&mut self, body: &[u8], target: &mut BytesMut) -> Result<(), FrameError> {
        let tag = self.0.mac(body).finalize().into_bytes();
        Frames.encode([&tag[..TAG_BYTES], body], target)?;
        self.0.number = self.0.number.wrapping_add(1);
        Ok(())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sealer({})", self.0.number)
    }
}

/// Opens what comes in, in order.
pub struct Opener(Direction);

impl Opener {
    /// For a direction whose next frame has `number` (0 after the handshake).
    pub fn new(key: &DirectionKey, number: u64) -> Self {
        Self(Direction::new(key, number))
    }

    /// The body of a frame with the right tag. A wrong one spends no number.
    pub fn open(&mut self, mut frame: Bytes) -> Result<Bytes, WrongTag> {
        let wrong = WrongTag {
            number: self.0.number,
        };
        let Some((tag, body)) = frame.split_at_checked(TAG_BYTES) else {
            return Err(wrong);
        };
        // Constant in time, whatever the tag.
        self.0.mac(body).verify_truncated_left(tag).map_err(|_| wrong)?;
        self.0.number = self.0.number.wrapping_add(1);
        frame.advance(TAG_BYTES);
        Ok(frame)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Opener({})", self.0.number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_util::codec::Decoder;

    use super::*;

    fn pair() -> (Sealer, Opener) {
        let key = DirectionKey([7; KEY_BYTES]);
        (Sealer::new(&key, 0), Opener::new(&key, 0))
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = InstallationSecret::new(*b"very secret");
        let key = Key::derive(&secret, "run", &BootId::random());
        let hex = key.to_hex();
        let shown = format!("{secret:?} {key:?} {hex:?} {:?}", DirectionKey([7; 32]));
        assert!(!shown.contains(hex.expose_secret()) && !shown.contains("very") && !shown.contains('7'));
    }

    #[test]
    fn ids_are_lower_hex() {
        for bad in [
            "",
            "0",
            &"A".repeat(32),
            &"g".repeat(32),
            &"0".repeat(33),
            &"é".repeat(16),
        ] {
            assert!(HexId::try_from(bad.to_owned()).is_err(), "{bad}");
        }
        assert!(HexId::try_from(HexId::random().to_string()).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_once(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6)) {
            let (mut sealer, mut opener) = pair();
            let mut stream = BytesMut::new();
            for body in &bodies {
                sealer.seal(body, &mut stream).unwrap();
            }
            for body in &bodies {
                let frame = Frames.decode(&mut stream).unwrap().unwrap();
                prop_assert_eq!(&opener.open(frame.clone()).unwrap()[..], &body[..]);
                prop_assert!(opener.open(frame).is_err(), "a repeated frame was taken");
            }
        }

        #[test]
        fn any_flipped_bit_is_seen(body in prop::collection::vec(any::<u8>(), 0..100), at in any::<prop::sample::Index>(), bit in 0..8) {
            let (mut sealer, mut opener) = pair();
            let mut stream = BytesMut::new();
            sealer.seal(&body, &mut stream).unwrap();
            let mut frame = Frames.decode(&mut stream).unwrap().unwrap().to_vec();
            let at = at.index(frame.len());
            frame[at] ^= 1_u8 << bit;
            prop_assert!(opener.open(frame.into()).is_err());
        }

        #[test]
        fn garbage_is_refused(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(pair().1.open(garbage.into()).is_err());
        }
    }
}

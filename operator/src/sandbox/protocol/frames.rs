//! Frames: a length of 4 bytes, big endian, and that many bytes.
//!
//! Must not know what is in a frame, sealed or plain.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

/// The largest length that a frame may have.
pub const MAX_FRAME: usize = 16 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;

/// How far the buffer grows ahead of what has come: a length alone must not cost 16 MiB.
const READ_AHEAD: usize = 256 * 1024;

/// What can't be a frame, or the end of one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A length over the limit.
    #[error("a frame of {length} bytes is over the limit of {MAX_FRAME} bytes")]
    Oversize {
        /// The length that was announced, or asked for.
        length: usize,
    },
    /// The stream ended within a frame.
    #[error("the stream ended in the middle of a frame")]
    Incomplete,
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] std::io::Error),
}

/// Cuts a stream into frames and puts lengths before them.
#[derive(Debug, Default, Clone, Copy)]
pub struct Frames;

impl Decoder for Frames {
    type Item = Bytes;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(head) = source.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*head) as usize;
        if length > MAX_FRAME {
            return Err(FrameError::Oversize { length });
        }
        let missing = (LENGTH_BYTES + length).saturating_sub(source.len());
        if missing > 0 {
            source.reserve(missing.min(READ_AHEAD));
            return Ok(None);
        }
        source.advance(LENGTH_BYTES);
        Ok(Some(source.split_to(length).freeze()))
    }

    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        match self.decode(source)? {
            None if !source.is_empty() => Err(FrameError::Incomplete),
            frame => Ok(frame),
        }
    }
}

/// A frame is written from its parts, so that a tag needs no copy of what it seals.
impl<const PARTS: usize> Encoder<[&[u8]; PARTS]> for Frames {
    type Error = FrameError;

    fn encode(&mut self, parts: [&[u8]; PARTS], target: &mut BytesMut) -> Result<(), FrameError> {
        let length = parts.iter().map(|part| part.len()).sum();
        let head = match u32::try_from(length) {
            Ok(head) if length <= MAX_FRAME => head,
            _ => return Err(FrameError::Oversize { length }),
        };
        target.reserve(LENGTH_BYTES + length);
        target.put_u32(head);
        for part in parts {
            target.put_slice(part);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(frames: &[Vec<u8>]) -> BytesMut {
        let mut stream = BytesMut::new();
        for frame in frames {
            Frames.encode([frame.as_slice()], &mut stream).unwrap();
        }
        stream
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        let whole = vec![b'x'; MAX_FRAME];
        let mut stream = encoded(std::slice::from_ref(&whole));
        assert_eq!(Frames.decode(&mut stream).unwrap().unwrap(), whole);
        let mut target = BytesMut::new();
        let error = Frames.encode([b"x".as_slice(), &whole], &mut target).unwrap_err();
        assert!(matches!(error, FrameError::Oversize { length } if length == MAX_FRAME + 1));
        assert!(target.is_empty());
    }

    #[test]
    fn a_length_alone_takes_no_memory() {
        let mut stream = BytesMut::from(&0x00ff_ffff_u32.to_be_bytes()[..]);
        assert!(Frames.decode(&mut stream).unwrap().is_none());
        assert!(stream.capacity() <= 2 * READ_AHEAD);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_frames(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..8),
            pieces in prop::collection::vec(1_usize..200, 1..64),
        ) {
            let mut rest = encoded(&frames);
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            for size in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let piece = rest.split_to((*size).min(rest.len()));
                buffer.extend_from_slice(&piece);
                while let Some(frame) = Frames.decode(&mut buffer).unwrap() {
                    got.push(frame.to_vec());
                }
            }
            prop_assert!(Frames.decode_eof(&mut buffer).unwrap().is_none());
            prop_assert_eq!(got, frames);
        }

        #[test]
        fn a_cut_stream_is_incomplete(frame in prop::collection::vec(any::<u8>(), 0..64), at in 0_usize..68) {
            let mut stream = encoded(std::slice::from_ref(&frame));
            let at = at.min(stream.len());
            stream.truncate(at);
            match Frames.decode_eof(&mut stream) {
                Ok(None) => prop_assert_eq!(at, 0),
                Ok(Some(whole)) => prop_assert_eq!(whole.to_vec(), frame),
                Err(error) => prop_assert!(matches!(error, FrameError::Incomplete)),
            }
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut stream = BytesMut::from(garbage.as_slice());
            while let Ok(Some(_)) = Frames.decode_eof(&mut stream) {}
        }
    }
}

//! What goes over an exec: a websocket's frames, and the sandbox protocol's within them. Pure, and only as much as
//! it takes to tell what is asked; every byte is passed on as it came.

use bytes::{Buf as _, Bytes, BytesMut};
use serde_json::Value;

/// Standard input and output, as the API server numbers them.
pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
/// The tag before what is sealed.
const TAG: usize = 16;

/// A frame of a websocket.
#[derive(Debug)]
pub(super) struct Frame {
    /// As it came.
    pub(super) raw: Bytes,
    /// What it has for which stream, if it is about one.
    pub(super) data: Option<(u8, Bytes)>,
}

/// One direction of a websocket.
#[derive(Debug, Default)]
pub(super) struct Socket {
    pub(super) buffer: BytesMut,
    /// The stream of the message that is under way.
    channel: Option<u8>,
}

impl Socket {
    /// The next frame that is whole.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let head = &self.buffer[..];
        let (first, second) = (*head.first()?, *head.get(1)?);
        let (mut at, mut length) = (2, usize::from(second & 0x7f));
        let more = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if more > 0 {
            length = head
                .get(at..at + more)?
                .iter()
                .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
            at += more;
        }
        let mask = if second & 0x80 == 0 {
            [0; 4]
        } else {
            let mask = head.get(at..at + 4)?.try_into().ok()?;
            at += 4;
            mask
        };
        head.get(at..at + length)?;
        let raw = self.buffer.split_to(at + length).freeze();
        let plain = raw[at..].iter().zip(mask.iter().cycle());
        let mut payload: Bytes = plain.map(|(byte, mask)| byte ^ mask).collect();
        let data = match first & 0x0f {
            BINARY if !payload.is_empty() => {
                self.channel = Some(payload.get_u8());
                self.channel.map(|channel| (channel, payload))
            }
            CONTINUATION => self.channel.map(|channel| (channel, payload)),
            _ => None,
        };
        Some(Frame { raw, data })
    }
}

/// One direction of the sandbox protocol.
#[derive(Debug, Default)]
pub(super) struct Talk(BytesMut);

impl Talk {
    /// The messages that are whole with these bytes.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<Value> {
        self.0.extend_from_slice(bytes);
        let mut messages = Vec::new();
        while let Some(length) = self.0.get(..4) {
            let length = length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
            if self.0.len() < 4 + length {
                break;
            }
            self.0.advance(4);
            let body = self.0.split_to(length);
            // Plain in the handshake, and sealed after it.
            let message = serde_json::from_slice(&body)
                .ok()
                .or_else(|| serde_json::from_slice(body.get(TAG..)?).ok());
            messages.extend(message);
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn frame(channel: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let all: Vec<u8> = [&[channel], payload].concat();
        let mut raw = vec![0x82, 0xfe];
        raw.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
        raw.extend(mask);
        raw.extend(
            all.iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        raw
    }

    #[test]
    fn frames_are_found_wherever_they_are_cut() {
        let body = [&[7; TAG][..], br#"{"type":"execute","id":3}"#].concat();
        let mut said = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        said.extend(&body);
        let (one, two) = said.split_at(9);
        let raw = [frame(STDIN, one, [1, 2, 3, 4]), frame(STDIN, two, [9, 8, 7, 6])].concat();
        let (mut socket, mut talk) = (Socket::default(), Talk::default());
        let (mut passed, mut heard) = (Vec::new(), Vec::new());
        for byte in &raw {
            socket.buffer.extend_from_slice(&[*byte]);
            while let Some(frame) = socket.next() {
                passed.extend_from_slice(&frame.raw);
                let (channel, data) = frame.data.unwrap();
                assert_eq!(channel, STDIN);
                heard.extend(talk.hear(&data));
            }
        }
        assert_eq!(passed, raw);
        assert_eq!(heard, [json!({"type": "execute", "id": 3})]);
    }
}

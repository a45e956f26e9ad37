//! Holds this implementation to the shared corpus, which the daemon's tests read too.

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use tokio_util::codec::{Decoder, Encoder};

use super::frames::{FrameError, Frames, MAX_FRAME};
use super::messages::{ControllerMessage, DaemonMessage, Message, Parsed, Unreadable, parse};
use super::seal::{Binding, BootId, DirectionKey, InstallationSecret, Key, Nonce, Opener, Sealer};

#[derive(Deserialize)]
struct Corpus {
    limit: usize,
    derivation: Vec<Derivation>,
    handshakes: Vec<Handshake>,
    plain: Vec<Frame>,
    sealed: Vec<Frame>,
    streams: Vec<Stream>,
    messages: Vec<Taken>,
}

#[derive(Deserialize)]
struct Derivation {
    secret: String,
    run: String,
    boot: BootId,
    key: String,
}

#[derive(Deserialize)]
struct Handshake {
    key: String,
    boot: BootId,
    daemon_nonce: Nonce,
    controller_nonce: Nonce,
    epoch: u64,
    proof: String,
    controller_key: String,
    daemon_key: String,
}

#[derive(Deserialize)]
struct Frame {
    name: String,
    from: Side,
    #[serde(default)]
    number: u64,
    text: String,
    bytes: Vec<Part>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "named as in the file")]
struct Stream {
    name: String,
    mode: Mode,
    from: Side,
    #[serde(default)]
    start: u64,
    stream: Vec<Part>,
    read: Vec<String>,
    end: String,
}

#[derive(Deserialize)]
struct Taken {
    name: String,
    text: String,
    take: String,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Side {
    Controller,
    Daemon,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Plain,
    Sealed,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Once(String),
    Repeated { hex: String, times: usize },
}

fn corpus() -> Corpus {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/frames.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(parts: &[Part]) -> BytesMut {
    let mut all = BytesMut::new();
    for part in parts {
        match part {
            Part::Once(text) => all.extend(hex::decode(text).unwrap()),
            Part::Repeated { hex: text, times } => all.extend(hex::decode(text).unwrap().repeat(*times)),
        }
    }
    all
}

fn key(text: &str) -> Key {
    Key::from_bytes(hex::decode(text).unwrap().try_into().unwrap())
}

impl Handshake {
    fn binding(&self) -> Binding {
        Binding {
            boot: self.boot.clone(),
            daemon: self.daemon_nonce.clone(),
            controller: self.controller_nonce.clone(),
            epoch: self.epoch,
        }
    }

    fn direction(&self, side: Side) -> DirectionKey {
        match side {
            Side::Controller => self.binding().controller_key(&key(&self.key)),
            Side::Daemon => self.binding().daemon_key(&key(&self.key)),
        }
    }
}

fn known<M: Message>(text: &[u8]) -> Result<(), &'static str> {
    match parse::<M>(text) {
        Ok(Parsed::Known(_)) => Ok(()),
        Ok(Parsed::Unknown(_)) => Err("unknown"),
        Ok(Parsed::Invalid { .. }) => Err("invalid"),
        Err(Unreadable::Json(_)) => Err("json"),
        Err(Unreadable::Object) => Err("object"),
    }
}

#[test]
fn keys_and_proofs() {
    use secrecy::ExposeSecret;
    let corpus = corpus();
    for case in corpus.derivation {
        let secret = InstallationSecret::new(hex::decode(case.secret).unwrap());
        assert_eq!(
            Key::derive(&secret, &case.run, &case.boot)
                .to_hex()
                .expose_secret(),
            case.key
        );
    }
    for case in corpus.handshakes {
        assert_eq!(case.binding().proof(&key(&case.key)), case.proof);
        // The keys of a direction stay inside: what they seal shows whether they are right.
        let expected = [
            (Side::Controller, &case.controller_key),
            (Side::Daemon, &case.daemon_key),
        ];
        for (side, expected) in expected {
            let (mut left, mut right) = (BytesMut::new(), BytesMut::new());
            Sealer::new(&case.direction(side), 5)
                .seal(b"{}", &mut left)
                .unwrap();
            let expected = DirectionKey::from_bytes(hex::decode(expected).unwrap().try_into().unwrap());
            Sealer::new(&expected, 5).seal(b"{}", &mut right).unwrap();
            assert_eq!(left, right);
        }
    }
}

#[test]
fn frames() {
    let corpus = corpus();
    assert_eq!(corpus.limit, MAX_FRAME);
    for case in &corpus.plain {
        let mut made = BytesMut::new();
        Frames.encode([case.text.as_bytes()], &mut made).unwrap();
        assert_eq!(made, bytes(&case.bytes), "{}", case.name);
    }
    for case in &corpus.sealed {
        let mut made = BytesMut::new();
        let direction = corpus.handshakes[0].direction(case.from);
        Sealer::new(&direction, case.number)
            .seal(case.text.as_bytes(), &mut made)
            .unwrap();
        assert_eq!(made, bytes(&case.bytes), "{}", case.name);
        let frame = Frames.decode(&mut made).unwrap().unwrap();
        assert_eq!(
            Opener::new(&direction, case.number).open(frame).unwrap(),
            case.text,
            "{}",
            case.name
        );
    }
    for case in corpus.plain.iter().chain(&corpus.sealed) {
        let taken = match case.from {
            Side::Controller => known::<ControllerMessage>(case.text.as_bytes()),
            Side::Daemon => known::<DaemonMessage>(case.text.as_bytes()),
        };
        assert_eq!(taken, Ok(()), "{}", case.name);
    }
}

#[test]
fn streams() {
    let corpus = corpus();
    for case in &corpus.streams {
        let mut buffer = bytes(&case.stream);
        let mut opener = Opener::new(&corpus.handshakes[0].direction(case.from), case.start);
        let mut read = Vec::new();
        let end = loop {
            match one(&mut buffer, &mut opener, case) {
                Ok(body) => read.push(String::from_utf8(body.to_vec()).unwrap()),
                Err(end) => break end,
            }
        };
        assert_eq!((&read, end), (&case.read, case.end.as_str()), "{}", case.name);
    }
}

fn one(buffer: &mut BytesMut, opener: &mut Opener, case: &Stream) -> Result<Bytes, &'static str> {
    let frame = match Frames.decode_eof(buffer) {
        Ok(frame) => frame.ok_or("closed")?,
        Err(FrameError::Incomplete) => return Err("incomplete"),
        Err(FrameError::Oversize { .. }) => return Err("oversize"),
        Err(FrameError::Io(error)) => panic!("{error}"),
    };
    let body = if case.mode == Mode::Sealed {
        opener.open(frame).map_err(|_| "tag")?
    } else {
        frame
    };
    let taken = match case.from {
        Side::Controller => known::<ControllerMessage>(&body),
        Side::Daemon => known::<DaemonMessage>(&body),
    };
    match taken {
        Err(end @ ("json" | "object")) => Err(end),
        _ => Ok(body),
    }
}

#[test]
fn messages() {
    for case in corpus().messages {
        let taken = known::<ControllerMessage>(case.text.as_bytes());
        assert_eq!(taken.err().unwrap_or("ok"), case.take, "{}", case.name);
    }
}

//! What frames say: one type for each direction.
//!
//! Pure. Must not know who sends when; that is the link's and the client's business. The environment of a
//! session holds secrets: it is written out only here, into frames that are sealed or are a claim.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use thiserror::Error;

use super::seal::{BootId, Nonce};
use crate::sandbox::{CallId, DaemonStatus, Variables};

/// What a controller says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControllerMessage {
    /// The controller's half of the handshake (plain).
    Hello(Hello),
    /// Run code.
    Execute(Execute),
    /// Start over.
    Reset(Reset),
    /// Write a file.
    PutFile(PutFile),
    /// Answers up to `through` are not needed any more.
    Ack {
        /// The last of them.
        through: CallId,
    },
    /// As Ctrl-C would, if that call runs.
    Interrupt {
        /// The call.
        id: CallId,
    },
    /// Ask for the status.
    Status,
    /// End everything.
    Shutdown,
    /// I am here.
    Beat,
}

/// The controller's half of the handshake.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The version that the controller chose.
    pub protocol: u64,
    /// The controller's epoch.
    pub epoch: u64,
    /// The controller's nonce.
    pub nonce: Nonce,
    /// The proof that it has the key.
    pub proof: String,
    /// The key and the first environment, for a daemon that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
}

/// What a new daemon takes its key and its first session's environment from.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claim {
    /// 32 bytes in hex.
    #[serde(serialize_with = "expose")]
    pub key: SecretString,
    /// The first session's environment.
    #[serde(serialize_with = "expose_all")]
    pub env: Variables,
}

/// Run code.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in docs/protocol.md")]
pub struct Execute {
    pub id: CallId,
    pub code: String,
    pub timeout_ms: u64,
    pub grace_ms: u64,
    pub max_rows: u64,
    pub output_limit: u64,
}

/// Start over.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in docs/protocol.md")]
pub struct Reset {
    pub id: CallId,
    #[serde(serialize_with = "expose_all")]
    pub env: Variables,
}

/// Write a file.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as in docs/protocol.md")]
pub struct PutFile {
    pub id: CallId,
    pub path: String,
    pub data: FileData,
    pub append: bool,
}

/// The bytes of a file, base64 on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct FileData(pub Bytes);

impl fmt::Debug for FileData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FileData({} bytes)", self.0.len())
    }
}

impl Serialize for FileData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for FileData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let data = BASE64.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(data.into()))
    }
}

/// What the daemon says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DaemonMessage {
    /// The daemon's half of the handshake (plain).
    Welcome(Welcome),
    /// The handshake failed (plain).
    Refused(Refused),
    /// The handshake is done.
    Ready(Ready),
    /// Output of a running call.
    Output(Output),
    /// A call has ended.
    Result(Answer),
    /// A call was not run.
    Refusal(Refusal),
    /// The daemon's status.
    Status(DaemonStatus),
    /// About a frame, or the connection.
    Error(DaemonError),
    /// The daemon exits.
    Bye,
    /// I am here.
    Beat,
}

/// The daemon's half of the handshake.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// The versions that the daemon speaks.
    pub protocols: Vec<u64>,
    /// Which daemon this is.
    pub boot: BootId,
    /// The daemon's nonce.
    pub nonce: Nonce,
    /// Whether it has a key.
    pub claimed: bool,
}

/// Why a handshake failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refused {
    /// One of the codes in `docs/protocol.md`.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The epoch that has been here, with the code `epoch`.
    #[serde(default)]
    pub epoch: Option<u64>,
}

/// Where the daemon stands at the begin of a connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// The epoch that counts.
    pub epoch: u64,
    /// The highest id of a call that was seen.
    pub last: CallId,
    /// The call that runs.
    pub running: Option<CallId>,
    /// The calls whose answers are kept.
    pub kept: Vec<CallId>,
    /// The number of the session.
    pub generation: u64,
    /// How often the daemon beats, in milliseconds.
    pub beat_ms: u64,
}

/// Output of a running call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Output {
    /// The call.
    pub id: CallId,
    /// Where `data` begins, in characters.
    pub offset: u64,
    /// The text.
    pub data: String,
}

/// A call has ended. What `body` has depends on what the call was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The call.
    pub id: CallId,
    /// Everything else.
    #[serde(flatten)]
    pub body: Map<String, Value>,
}

/// A call was not run and its id is not spent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// The call.
    pub id: CallId,
    /// One of the codes in `docs/protocol.md`.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The call that runs, with the code `busy`.
    #[serde(default)]
    pub running: Option<CallId>,
}

/// About a frame, or the connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DaemonError {
    /// One of the codes in `docs/protocol.md`.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The epoch that has taken over, with the code `superseded`.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// The call that the frame was about, where it can be told.
    #[serde(default)]
    pub id: Option<CallId>,
}

fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

fn expose_all<S: Serializer>(variables: &Variables, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        variables
            .iter()
            .map(|(name, value)| (name, value.expose_secret())),
    )
}

/// One direction's messages.
pub trait Message: Serialize + DeserializeOwned {
    /// The types that this direction knows.
    const TYPES: &'static [&'static str];
}

impl Message for ControllerMessage {
    const TYPES: &'static [&'static str] = &[
        "hello",
        "execute",
        "reset",
        "put_file",
        "ack",
        "interrupt",
        "status",
        "shutdown",
        "beat",
    ];
}

impl Message for DaemonMessage {
    const TYPES: &'static [&'static str] = &[
        "welcome", "refused", "ready", "output", "result", "refusal", "status", "error", "bye", "beat",
    ];
}

/// A frame that can't be read, which ends the connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// Not UTF-8, not JSON, or nested too deep.
    #[error("a frame is not JSON: {0}")]
    Json(serde_json::Error),
    /// JSON, but not what a frame has.
    #[error("a frame is no JSON object with a type")]
    Object,
}

/// A frame that can be read.
#[derive(Debug)]
pub enum Parsed<M> {
    /// A message.
    Known(M),
    /// A type that this side doesn't know; a later version may.
    Unknown(String),
    /// A known type with members that it can't have.
    Invalid {
        /// The type.
        kind: String,
        /// What is wrong, without any value from the frame.
        message: String,
    },
}

/// Reads the JSON of a frame.
pub fn parse<M: Message>(body: &[u8]) -> Result<Parsed<M>, Unreadable> {
    let value: Value = serde_json::from_slice(body).map_err(Unreadable::Json)?;
    let Some(kind) = value
        .as_object()
        .and_then(|object| object.get("type"))
        .and_then(Value::as_str)
    else {
        return Err(Unreadable::Object);
    };
    let kind = kind.to_owned();
    if !M::TYPES.contains(&kind.as_str()) {
        return Ok(Parsed::Unknown(kind));
    }
    Ok(match serde_json::from_value(value) {
        Ok(message) => Parsed::Known(message),
        Err(error) => Parsed::Invalid {
            kind,
            message: error.to_string(),
        },
    })
}

/// Writes the JSON of a frame.
pub fn render<M: Message>(message: &M) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_type_that_is_written_is_known() {
        let messages = [
            ControllerMessage::Status,
            ControllerMessage::Shutdown,
            ControllerMessage::Beat,
            ControllerMessage::Ack { through: CallId(1) },
            ControllerMessage::Interrupt { id: CallId(2) },
            ControllerMessage::PutFile(PutFile {
                id: CallId(3),
                path: "a".into(),
                data: FileData(Bytes::from_static(b"\0\xff")),
                append: true,
            }),
        ];
        for message in messages {
            let bytes = render(&message).unwrap();
            let Parsed::Known(again) = parse::<ControllerMessage>(&bytes).unwrap() else {
                panic!("{message:?}")
            };
            assert_eq!(format!("{again:?}"), format!("{message:?}"));
        }
    }

    #[test]
    fn environments_are_written_but_not_shown() {
        let env = Variables::from_iter([("DATABASE_URL", "postgresql://reader:hunter2@db")]);
        let message = ControllerMessage::Reset(Reset { id: CallId(1), env });
        assert!(
            String::from_utf8(render(&message).unwrap())
                .unwrap()
                .contains("hunter2")
        );
        assert!(!format!("{message:?}").contains("hunter2"));
        assert!(format!("{message:?}").contains("DATABASE_URL"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(parse::<DaemonMessage>(&garbage));
        }

        #[test]
        fn odd_members_never_panic(
            kind in prop::sample::select(DaemonMessage::TYPES),
            member in "[a-z_]{1,10}",
            value in prop_oneof![Just("null"), Just("-1"), Just("1e300"), Just("\"x\""), Just("[]"), Just("{}"), Just("true")],
        ) {
            let text = format!(r#"{{"type":"{kind}","{member}":{value},"id":{value},"offset":{value},"code":{value}}}"#);
            drop(parse::<DaemonMessage>(text.as_bytes()));
        }
    }
}

//! One connection to a daemon: the handshake, seals and beats, until the stream breaks or falls silent.
//!
//! Must not know what calls are waiting, nor how to get another connection: that is the client's business.

use std::fmt;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::protocol::PROTOCOL;
use super::protocol::frames::{FrameError, Frames};
use super::protocol::messages::{
    Claim, ControllerMessage, DaemonMessage, Hello, Parsed, Ready, Refused, Unreadable, Welcome, parse,
    render,
};
use super::protocol::seal::{Binding, InstallationSecret, Key, Nonce, Opener, Sealer, WrongTag};
use super::{Loss, SandboxError, Variables};

/// So many beats without a byte: the stream is dead.
const SILENT_BEATS: u32 = 3;

/// What a daemon may ask for; anything else would make a link that is never dead, or always.
const BEATS_MS: std::ops::RangeInclusive<u64> = 100..=60_000;

const READ_BYTES: usize = 64 * 1024;

/// A pair of byte streams to a daemon.
pub struct Connection {
    /// What the daemon says.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What the daemon hears.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What must live as long as the streams, and may know why they ended.
    pub guard: Box<dyn Guard>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connection")
    }
}

/// What must live as long as a connection's streams. Dropping it ends whatever carries them.
#[async_trait]
pub trait Guard: Send {
    /// Why the streams ended, if something is known beyond that they did. Takes little time.
    async fn explain(&mut self) -> Option<String>;
}

/// For streams that have nothing behind them.
#[async_trait]
impl Guard for () {
    async fn explain(&mut self) -> Option<String> {
        None
    }
}

/// Who a controller is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// What the sandbox's key is derived from.
    pub secret: InstallationSecret,
    /// The run that the sandbox belongs to.
    pub run: String,
    /// The controller's epoch. A higher one shuts out all lower ones for good.
    pub epoch: u64,
}

/// Why a connection failed or ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The stream ended between two frames.
    #[error("the stream ended")]
    Ended,
    /// The stream broke, or what came was no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame came that the daemon did not send here and now.
    #[error(transparent)]
    Tag(#[from] WrongTag),
    /// The handshake took too long.
    #[error("no handshake within {} s", .0.as_secs_f32())]
    Slow(Duration),
    /// Nothing came for three beats.
    #[error("nothing was heard for {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// What came before the handshake was done could not be read.
    #[error("not a daemon: {0}")]
    NoDaemon(Unreadable),
    /// The daemon did not want the connection.
    #[error("the daemon refused the connection ({code}: {message})")]
    Refused {
        /// The daemon's code.
        code: String,
        /// The daemon's message.
        message: String,
    },
    /// The daemon did not like a frame.
    #[error("the daemon ended the connection ({code}: {message})")]
    Broken {
        /// The daemon's code.
        code: String,
        /// The daemon's message.
        message: String,
    },
    /// The daemon ends, and nobody here has told it to.
    #[error("the daemon was told to end, and said goodbye")]
    Goodbye,
    /// A connection of another controller counts now.
    #[error("another connection (epoch {epoch}) has taken the place of this one")]
    Superseded {
        /// Its epoch.
        epoch: u64,
    },
    /// Another connection can't help.
    #[error(transparent)]
    Final(SandboxError),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Frame(error.into())
    }
}

/// What came over a link.
#[derive(Debug)]
pub enum Incoming {
    /// A message.
    Message(DaemonMessage),
    /// A type that this version doesn't know.
    Unknown(String),
}

/// One connection, after its handshake.
pub struct Link {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    guard: Box<dyn Guard>,
    inbox: BytesMut,
    outbox: BytesMut,
    unflushed: bool,
    opener: Opener,
    sealer: Sealer,
    beat: Duration,
    next_beat: Instant,
    heard: Instant,
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Link")
            .field("outbox", &self.outbox.len())
            .finish_non_exhaustive()
    }
}

/// The plain half of a handshake.
struct Greeting {
    connection: Connection,
    inbox: BytesMut,
}

impl Greeting {
    async fn frame(&mut self) -> Result<bytes::Bytes, LinkError> {
        loop {
            if let Some(frame) = Frames.decode(&mut self.inbox)? {
                return Ok(frame);
            }
            self.inbox.reserve(READ_BYTES);
            if self.connection.reader.read_buf(&mut self.inbox).await? == 0 {
                return Err(Frames
                    .decode_eof(&mut self.inbox)
                    .map_or_else(LinkError::from, |_| LinkError::Ended));
            }
        }
    }

    fn plain(frame: &[u8]) -> Result<DaemonMessage, LinkError> {
        match parse::<DaemonMessage>(frame).map_err(LinkError::NoDaemon)? {
            Parsed::Known(message) => Ok(message),
            Parsed::Unknown(kind) => Err(out_of_order(&kind)),
            Parsed::Invalid { kind, message } => Err(invalid(&kind, &message)),
        }
    }
}

fn out_of_order(kind: &str) -> LinkError {
    // Nothing is authenticated before the handshake is done, so this may be the fault of the stream.
    LinkError::Refused {
        code: "order".into(),
        message: format!("unexpected {kind:?} in the handshake"),
    }
}

fn invalid(kind: &str, message: &str) -> LinkError {
    LinkError::Final(SandboxError::protocol(format!("{kind:?}: {message}")))
}

impl Link {
    /// Shakes hands over a new connection.
    ///
    /// `offer` decides, by what the daemon is, whether to go on, and what to claim it with. When this
    /// fails, the message says what the connection's guard knows about it.
    pub async fn open(
        connection: Connection,
        identity: &Identity,
        within: Duration,
        offer: impl FnOnce(&Welcome) -> Result<Option<Variables>, SandboxError> + Send,
    ) -> Result<(Self, Welcome, Ready), (LinkError, Option<String>)> {
        let mut greeting = Greeting {
            connection,
            inbox: BytesMut::new(),
        };
        let outcome = match timeout(within, shake_hands(&mut greeting, identity, offer)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(LinkError::Slow(within)),
        };
        match outcome {
            Ok((opener, sealer, welcome, ready)) => {
                let now = Instant::now();
                let beat = Duration::from_millis(ready.beat_ms);
                let Greeting {
                    connection:
                        Connection {
                            reader,
                            writer,
                            guard,
                        },
                    inbox,
                } = greeting;
                let outbox = BytesMut::new();
                let next_beat = now + beat;
                let link = Self {
                    reader,
                    writer,
                    guard,
                    inbox,
                    outbox,
                    unflushed: false,
                    opener,
                    sealer,
                    beat,
                    next_beat,
                    heard: now,
                };
                Ok((link, welcome, ready))
            }
            Err(error) => {
                let told = if matches!(error, LinkError::Final(_)) {
                    None
                } else {
                    greeting.connection.guard.explain().await
                };
                Err((error, told))
            }
        }
    }

    /// Queues a message. It is on its way while [`Self::next`] is awaited.
    pub fn send(&mut self, message: &ControllerMessage) -> Result<(), LinkError> {
        let body =
            render(message).map_err(|error| LinkError::Final(SandboxError::invalid(error.to_string())))?;
        self.send_rendered(&body)
    }

    /// Queues a message whose JSON is at hand.
    pub fn send_rendered(&mut self, body: &[u8]) -> Result<(), LinkError> {
        Ok(self.sealer.seal(body, &mut self.outbox)?)
    }

    /// The next message. Writes what is queued, and beats, while it waits.
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Incoming, LinkError> {
        loop {
            if let Some(frame) = Frames.decode(&mut self.inbox)? {
                return self.read(frame);
            }
            let silence = self.beat * SILENT_BEATS;
            self.inbox.reserve(READ_BYTES);
            tokio::select! {
                read = self.reader.read_buf(&mut self.inbox) => {
                    if read? == 0 {
                        Frames.decode_eof(&mut self.inbox)?;
                        return Err(LinkError::Ended);
                    }
                    self.heard = Instant::now();
                }
                pushed = push(&mut self.writer, &mut self.outbox, &mut self.unflushed),
                    if self.unflushed || !self.outbox.is_empty() => pushed?,
                () = sleep_until(self.next_beat) => {
                    self.next_beat = Instant::now() + self.beat;
                    // When something waits to be written, either it tells that we are here, or nothing would.
                    if self.outbox.is_empty() {
                        self.send(&ControllerMessage::Beat)?;
                    }
                }
                () = sleep_until(self.heard + silence) => {
                    // This task itself may have been held up: what has come meanwhile counts.
                    match timeout(Duration::ZERO, self.reader.read_buf(&mut self.inbox)).await {
                        Ok(read) => {
                            if read? == 0 {
                                return Err(LinkError::Ended);
                            }
                            self.heard = Instant::now();
                        }
                        Err(_) => return Err(LinkError::Silent(silence)),
                    }
                }
            }
        }
    }

    fn read(&mut self, frame: bytes::Bytes) -> Result<Incoming, LinkError> {
        let body = self.opener.open(frame)?;
        // The tag was right, so the stream is not at fault, and asking again would bring the same frame.
        let parsed = parse::<DaemonMessage>(&body)
            .map_err(|error| LinkError::Final(SandboxError::protocol(error.to_string())))?;
        match parsed {
            Parsed::Known(DaemonMessage::Error(error)) if error.code == "superseded" => {
                Err(LinkError::Superseded {
                    epoch: error.epoch.unwrap_or_default(),
                })
            }
            Parsed::Known(DaemonMessage::Error(error)) if error.code == "frame" => Err(LinkError::Broken {
                code: error.code,
                message: error.message,
            }),
            Parsed::Known(message) => Ok(Incoming::Message(message)),
            Parsed::Unknown(kind) => Ok(Incoming::Unknown(kind)),
            Parsed::Invalid { kind, message } => Err(invalid(&kind, &message)),
        }
    }

    /// Why the streams ended, if something is known beyond that they did.
    pub async fn explain(&mut self) -> Option<String> {
        self.guard.explain().await
    }
}

/// Takes one step with what is queued. Nothing is lost when the future is dropped.
async fn push(
    writer: &mut (dyn AsyncWrite + Send + Unpin),
    outbox: &mut BytesMut,
    unflushed: &mut bool,
) -> io::Result<()> {
    if outbox.is_empty() {
        writer.flush().await?;
        *unflushed = false;
    } else {
        let written = writer.write(outbox).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        outbox.advance(written);
        *unflushed = true;
        if outbox.is_empty() {
            // A large frame must not leave its buffer behind for the life of the link.
            *outbox = BytesMut::new();
        }
    }
    Ok(())
}

async fn shake_hands(
    greeting: &mut Greeting,
    identity: &Identity,
    offer: impl FnOnce(&Welcome) -> Result<Option<Variables>, SandboxError> + Send,
) -> Result<(Opener, Sealer, Welcome, Ready), LinkError> {
    let epoch = identity.epoch;
    let frame = greeting.frame().await?;
    let welcome = match Greeting::plain(&frame)? {
        DaemonMessage::Welcome(welcome) => welcome,
        DaemonMessage::Refused(refused) => return Err(judge(refused, epoch)),
        _ => return Err(out_of_order("message")),
    };
    if !welcome.protocols.contains(&PROTOCOL) {
        let message = format!(
            "it knows the protocols {:?}, this controller {PROTOCOL}",
            welcome.protocols
        );
        return Err(LinkError::Final(SandboxError::protocol(message)));
    }
    let claim = offer(&welcome).map_err(LinkError::Final)?;
    let key = Key::derive(&identity.secret, &identity.run, &welcome.boot);
    let binding = Binding {
        boot: welcome.boot.clone(),
        daemon: welcome.nonce.clone(),
        controller: Nonce::random(),
        epoch,
    };
    let hello = ControllerMessage::Hello(Hello {
        protocol: PROTOCOL,
        epoch,
        nonce: binding.controller.clone(),
        proof: binding.proof(&key),
        claim: claim.map(|env| Claim {
            key: key.to_hex(),
            env,
        }),
    });
    let body = render(&hello).map_err(|error| LinkError::Final(SandboxError::invalid(error.to_string())))?;
    let mut outbox = BytesMut::new();
    Frames.encode([body.as_slice()], &mut outbox)?;
    greeting.connection.writer.write_all_buf(&mut outbox).await?;
    greeting.connection.writer.flush().await?;

    let frame = greeting.frame().await?;
    let mut opener = Opener::new(&binding.daemon_key(&key), 0);
    let Ok(body) = opener.open(frame.clone()) else {
        // Only the daemon with our key can seal; all others may say is that they refuse.
        return Err(match Greeting::plain(&frame) {
            Ok(DaemonMessage::Refused(refused)) => judge(refused, epoch),
            Ok(_) => out_of_order("message"),
            Err(_) => LinkError::Tag(WrongTag { number: 0 }),
        });
    };
    match parse::<DaemonMessage>(&body) {
        Ok(Parsed::Known(DaemonMessage::Ready(ready))) if BEATS_MS.contains(&ready.beat_ms) => {
            let sealer = Sealer::new(&binding.controller_key(&key), 0);
            Ok((opener, sealer, welcome, ready))
        }
        _ => Err(LinkError::Final(SandboxError::protocol(
            "the daemon's ready is not as expected",
        ))),
    }
}

fn judge(refused: Refused, ours: u64) -> LinkError {
    let Refused { code, message, epoch } = refused;
    match code.as_str() {
        "epoch" => LinkError::Final(SandboxError::Superseded {
            ours,
            theirs: epoch.unwrap_or(ours.saturating_add(1)),
        }),
        "proof" => LinkError::Final(SandboxError::ProofRefused),
        "protocol" => LinkError::Final(SandboxError::protocol(message)),
        // `claimed`: claimed between our welcome and our hello; the next welcome says so. `unclaimed` can't
        // be, after a welcome that said the opposite. `frame` and `late`: the stream's fault.
        _ => LinkError::Refused { code, message },
    }
}

/// That a stream could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// Another try may help.
    #[error("{0}")]
    Unreachable(String),
    /// There is nothing to reach any more.
    #[error("{0}")]
    Gone(String),
}

impl From<DialError> for LinkError {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Unreachable(message) => Self::Frame(io::Error::other(message).into()),
            DialError::Gone(message) => Self::Final(Loss::Gone { message }.into()),
        }
    }
}

/// How to get a stream to a daemon.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// Opens a stream. May take its time, within reason: the client has a deadline of its own.
    async fn dial(&self) -> Result<Connection, DialError>;

    /// Why there is no daemon any more, if that can be known. It is asked once the daemon has said goodbye.
    async fn epitaph(&self) -> Option<String> {
        None
    }
}

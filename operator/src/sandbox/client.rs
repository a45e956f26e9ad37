//! [`Client`]: a [`Sandbox`] over any stream that can be dialled again.
//!
//! An actor owns the connection. When it breaks, the actor dials at once, then ever more slowly, and asks
//! again, with the same ids, for every answer that is still waited for. It gives up when a deadline has
//! passed, or when it learns that the sandbox is gone, has restarted, or belongs to a later controller.
//!
//! Must not know what carries the streams.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

pub use super::link::{Connection, Dial, DialError, Guard, Identity};
use super::link::{Incoming, Link, LinkError};
use super::protocol::NUMBER_LIMIT;
use super::protocol::frames::MAX_FRAME;
use super::protocol::messages::{
    ControllerMessage, DaemonMessage, Execute, FileData, Output, PutFile, Ready, Refusal, Reset, Welcome,
    render,
};
use super::protocol::seal::TAG_BYTES;
use super::{
    BootId, CallId, Cell, Chunk, DaemonStatus, Executed, FilePut, Loss, MAX_FILE_PART, Sandbox, SandboxError,
    Variables, WasReset,
};

/// How a client comes to a sandbox.
#[derive(Debug)]
pub enum Attach {
    /// The caller has just made it, and nothing has run in it: an unclaimed daemon gets its key, and the
    /// first session this environment. Once the handshake is done, no claim is sent ever again.
    New {
        /// The first session's environment.
        env: Variables,
    },
    /// Somebody (an earlier leader, say) has claimed it. It gets no claim, whatever it says.
    Existing {
        /// Which daemon it was, if that is known: another one is a loss.
        boot: Option<BootId>,
    },
}

/// How patient a client is.
#[derive(Debug, Clone)]
pub struct Timing {
    /// For dialling and shaking hands, each time.
    pub handshake: Duration,
    /// How long the sandbox may be out of reach before it counts as lost.
    pub outage: Duration,
    /// The first wait between two tries (the very first retry waits for nothing).
    pub backoff: Duration,
    /// The longest.
    pub backoff_limit: Duration,
    /// How long after its timeout and its grace an `execute` may take to be answered; also how long any
    /// other call may take. Only time with a connection counts. The daemon answers in time by itself, but
    /// may have to start a session first, and three times in vain: so this is minutes.
    pub slack: Duration,
    /// How long the daemon may take to end everything.
    pub close: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            outage: Duration::from_mins(1),
            backoff: Duration::from_millis(20),
            backoff_limit: Duration::from_secs(2),
            slack: Duration::from_mins(7),
            close: Duration::from_secs(10),
        }
    }
}

/// A sandbox over streams that may break.
///
/// Dropping the client ends its connection; the sandbox, and the call that runs in it, live on.
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
    boot: BootId,
    patience: Duration,
    _actor: AbortOnDropHandle<()>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

/// What actor and callers both see.
#[derive(Default)]
struct Shared {
    last: AtomicU64,
    /// Why the actor has ended.
    end: OnceLock<SandboxError>,
}

type Answer = Result<Map<String, Value>, SandboxError>;

enum Command {
    Call(Request),
    Interrupt(CallId),
    Acknowledge(CallId),
    Status(oneshot::Sender<DaemonStatus>),
    Close(oneshot::Sender<Result<(), SandboxError>>),
}

struct Request {
    id: CallId,
    kind: &'static str,
    body: Bytes,
    budget: Duration,
    waiter: Waiter,
}

struct Waiter {
    chunks: Option<mpsc::UnboundedSender<Chunk>>,
    /// How many characters of output this waiter has seen.
    seen: u64,
    reply: oneshot::Sender<Answer>,
}

impl Client {
    /// Connects, and waits until the daemon is ready.
    pub async fn connect(
        dial: impl Dial,
        identity: Identity,
        attach: Attach,
        timing: Timing,
    ) -> Result<Self, SandboxError> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (ready, first) = oneshot::channel();
        let shared = Arc::new(Shared::default());
        let (claim, boot) = match attach {
            Attach::New { env } => (Some(env), None),
            Attach::Existing { boot } => (None, boot),
        };
        let patience = timing.outage + timing.slack;
        let actor = Actor {
            dial: Arc::new(dial),
            identity,
            timing,
            shared: Arc::clone(&shared),
            inbox,
            claim,
            boot,
            ready: Some(ready),
            calls: BTreeMap::new(),
            interrupts: BTreeSet::new(),
            statuses: VecDeque::new(),
            acknowledged: None,
            closing: None,
            displaced: 0,
        };
        let actor = AbortOnDropHandle::new(tokio::spawn(actor.run()));
        match first.await {
            Ok(boot) => Ok(Self {
                commands,
                shared,
                boot,
                patience,
                _actor: actor,
            }),
            Err(_) => Err(shared.end()),
        }
    }

    fn command(&self, command: Command) -> Result<(), SandboxError> {
        self.commands.send(command).map_err(|_| self.shared.end())
    }

    /// Asks for a call, and has `output` see its output until the answer is there.
    async fn call<T: DeserializeOwned>(
        &self,
        id: CallId,
        kind: &'static str,
        message: &ControllerMessage,
        budget: Duration,
        output: Option<&mut (dyn FnMut(Chunk) + Send)>,
    ) -> Result<T, SandboxError> {
        if id.0 == 0 || id.0 >= NUMBER_LIMIT {
            return Err(SandboxError::invalid(format!(
                "{id} can't be the id of a call: they go from 1 to 2^53 - 1"
            )));
        }
        let body = render(message).map_err(|error| SandboxError::invalid(error.to_string()))?;
        if body.len() + TAG_BYTES > MAX_FRAME {
            let message = format!(
                "{kind} of {} bytes is over the protocol's limit of {MAX_FRAME} bytes",
                body.len()
            );
            return Err(SandboxError::Invalid { message });
        }
        let (chunks, mut incoming) = mpsc::unbounded_channel();
        let (reply, mut answer) = oneshot::channel();
        let chunks = output.is_some().then_some(chunks);
        let waiter = Waiter {
            chunks,
            seen: 0,
            reply,
        };
        self.command(Command::Call(Request {
            id,
            kind,
            body: body.into(),
            budget,
            waiter,
        }))?;
        self.shared.last.fetch_max(id.0, Ordering::Relaxed);

        let mut ignored = |_: Chunk| {};
        let output = output.unwrap_or(&mut ignored);
        let answer = loop {
            tokio::select! {
                biased;
                Some(chunk) = incoming.recv() => output(chunk),
                answer = &mut answer => break answer,
            }
        };
        while let Ok(chunk) = incoming.try_recv() {
            output(chunk);
        }
        let body = answer.map_err(|_| self.shared.end())??;
        serde_json::from_value(Value::Object(body))
            .map_err(|_| SandboxError::protocol(format!("the answer to {kind} {id} is not as expected")))
    }
}

impl Shared {
    fn end(&self) -> SandboxError {
        self.end.get().cloned().unwrap_or(SandboxError::Closed)
    }
}

/// Durations on the wire are whole milliseconds, and a limit that is not zero must not become zero.
fn milliseconds(duration: Duration) -> u64 {
    let rounded = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(rounded).unwrap_or(u64::MAX).min(NUMBER_LIMIT - 1)
}

#[async_trait]
impl Sandbox for Client {
    async fn execute(
        &self,
        id: CallId,
        cell: &Cell,
        output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<Executed, SandboxError> {
        let message = ControllerMessage::Execute(Execute {
            id,
            code: cell.code.clone(),
            timeout_ms: milliseconds(cell.timeout),
            grace_ms: milliseconds(cell.grace),
            max_rows: cell.max_rows.into(),
            output_limit: cell.output_limit.into(),
        });
        let budget = cell.timeout + cell.grace;
        self.call(id, "execute", &message, budget, Some(output)).await
    }

    async fn reset(&self, id: CallId, env: &Variables) -> Result<WasReset, SandboxError> {
        let message = ControllerMessage::Reset(Reset { id, env: env.clone() });
        self.call(id, "reset", &message, Duration::ZERO, None).await
    }

    async fn put_file(
        &self,
        id: CallId,
        path: &str,
        content: Bytes,
        append: bool,
    ) -> Result<FilePut, SandboxError> {
        if content.len() > MAX_FILE_PART {
            return Err(SandboxError::invalid(format!(
                "{path}: {} bytes are too many for one put_file: send parts of at most {MAX_FILE_PART} bytes, each after the first with append",
                content.len()
            )));
        }
        let data = FileData(content);
        let message = ControllerMessage::PutFile(PutFile {
            id,
            path: path.to_owned(),
            data,
            append,
        });
        self.call(id, "put_file", &message, Duration::ZERO, None).await
    }

    async fn interrupt(&self, id: CallId) -> Result<(), SandboxError> {
        self.command(Command::Interrupt(id))
    }

    async fn acknowledge(&self, through: CallId) -> Result<(), SandboxError> {
        self.command(Command::Acknowledge(through))
    }

    async fn status(&self) -> Result<DaemonStatus, SandboxError> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Status(reply))?;
        // An outage ends in a loss by itself; what is bounded here is a daemon that is there and silent.
        let after = self.patience;
        match tokio::time::timeout(after, answer).await {
            Ok(answer) => answer.map_err(|_| self.shared.end()),
            Err(_) => Err(SandboxError::Timeout {
                what: "status".into(),
                after,
            }),
        }
    }

    async fn close(&self) -> Result<(), SandboxError> {
        let (reply, done) = oneshot::channel();
        match self.command(Command::Close(reply)) {
            Ok(()) => done.await.unwrap_or_else(|_| closed(&self.shared.end())),
            Err(end) => closed(&end),
        }
    }

    fn last_call(&self) -> CallId {
        CallId(self.shared.last.load(Ordering::Relaxed))
    }

    fn boot(&self) -> BootId {
        self.boot.clone()
    }
}

/// What `close` says of a client that has ended already.
fn closed(end: &SandboxError) -> Result<(), SandboxError> {
    match end {
        SandboxError::Closed | SandboxError::Lost(Loss::Gone { .. } | Loss::Restarted { .. }) => Ok(()),
        other => Err(other.clone()),
    }
}

/// A call that is waited for.
struct Call {
    kind: &'static str,
    body: Bytes,
    waiters: Vec<Waiter>,
    /// How long the daemon may take, in all.
    budget: Duration,
    /// What is left of that. Time without a connection does not count: the outage has its own deadline.
    left: Duration,
    /// When nothing is left, while there is a connection.
    until: Option<Instant>,
}

impl Call {
    fn answer(self, answer: &Answer) {
        for waiter in self.waiters {
            // Whoever dropped the future of the call does not want the answer.
            drop(waiter.reply.send(answer.clone()));
        }
    }
}

struct Closing {
    replies: Vec<oneshot::Sender<Result<(), SandboxError>>>,
    until: Instant,
}

/// A time without a connection that is good for anything.
struct Outage {
    since: Instant,
    tries: u32,
    message: String,
}

impl Outage {
    fn begin(message: impl Into<String>) -> Self {
        Self {
            since: Instant::now(),
            tries: 0,
            message: message.into(),
        }
    }

    fn wait(&self, timing: &Timing) -> Duration {
        let Some(doublings) = self.tries.checked_sub(1) else {
            return Duration::ZERO;
        };
        let longest = timing
            .backoff
            .saturating_mul(1 << doublings.min(16))
            .min(timing.backoff_limit);
        // Jitter, so that a hundred clients don't come back in step.
        longest.mul_f64(rand::random_range(0.5..=1.0))
    }
}

struct Actor<D> {
    dial: Arc<D>,
    identity: Identity,
    timing: Timing,
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<Command>,
    /// What a new daemon is claimed with; gone as soon as code could have run.
    claim: Option<Variables>,
    boot: Option<BootId>,
    ready: Option<oneshot::Sender<BootId>>,
    calls: BTreeMap<CallId, Call>,
    interrupts: BTreeSet<CallId>,
    statuses: VecDeque<oneshot::Sender<DaemonStatus>>,
    acknowledged: Option<CallId>,
    closing: Option<Closing>,
    /// How often another connection of the same epoch has taken the place of ours.
    displaced: u32,
}

impl<D: Dial> Actor<D> {
    async fn run(mut self) {
        let end = self.drive().await;
        debug!(run = self.identity.run, %end, "the connection to the sandbox has ended for good");
        // First the reason, then whatever makes callers look for it.
        let end = self.shared.end.get_or_init(|| end).clone();
        for (_, call) in std::mem::take(&mut self.calls) {
            call.answer(&Err(end.clone()));
        }
        for reply in self
            .closing
            .take()
            .map(|closing| closing.replies)
            .unwrap_or_default()
        {
            drop(reply.send(closed(&end)));
        }
    }

    async fn drive(&mut self) -> SandboxError {
        let mut outage = Outage::begin("no answer yet");
        loop {
            let mut link = match self.reach(&mut outage).await {
                Ok(link) => link,
                Err(end) => return end,
            };
            let mut proved = false;
            let error = self.serve(&mut link, &mut proved).await;
            self.pause();
            let message = match error {
                LinkError::Final(end) => return end,
                LinkError::Superseded { epoch: theirs } => {
                    // Of the same epoch, it may have been a connection of our own that came late. Not twice.
                    self.displaced += 1;
                    let ours = self.identity.epoch;
                    if theirs > ours || self.displaced > 1 {
                        return SandboxError::Superseded {
                            ours,
                            theirs: theirs.max(ours),
                        };
                    }
                    LinkError::Superseded { epoch: theirs }.to_string()
                }
                error => explained(&error, link.explain().await),
            };
            info!(
                run = self.identity.run,
                reason = message,
                "the connection to the sandbox broke"
            );
            if proved {
                outage = Outage::begin(message);
            } else {
                // A connection that never said anything is part of the same outage.
                outage.tries += 1;
                outage.message = message;
            }
        }
    }

    /// Dials until there is a connection, or no hope of one.
    async fn reach(&mut self, outage: &mut Outage) -> Result<Link, SandboxError> {
        loop {
            let wait = outage.wait(&self.timing);
            let mut attempt = pin!(self.attempt(wait));
            let outcome = loop {
                let mut until = outage.since + self.timing.outage;
                if let Some(closing) = &self.closing {
                    until = until.min(closing.until);
                }
                tokio::select! {
                    outcome = &mut attempt => break outcome,
                    command = self.inbox.recv() => match command {
                        // No link, so nothing can go wrong with one.
                        Some(command) => drop(self.accept(command, None)),
                        None => return Err(SandboxError::Closed),
                    },
                    () = sleep_until(until) => {
                        let after = outage.since.elapsed();
                        return Err(Loss::Unreachable { after, message: outage.message.clone() }.into());
                    }
                }
            };
            match outcome {
                Ok((link, welcome, ready)) => {
                    debug!(run = self.identity.run, boot = %welcome.boot, tries = outage.tries, "connected to the sandbox");
                    self.welcomed(welcome, &ready);
                    return Ok(link);
                }
                Err((LinkError::Final(end), _)) => return Err(end),
                Err((error, told)) => {
                    outage.message = explained(&error, told);
                    outage.tries += 1;
                    debug!(
                        run = self.identity.run,
                        reason = outage.message,
                        tries = outage.tries,
                        "no connection to the sandbox"
                    );
                }
            }
        }
    }

    /// One try. Borrows nothing, so that commands can be taken meanwhile.
    fn attempt(
        &self,
        wait: Duration,
    ) -> impl Future<Output = Result<(Link, Welcome, Ready), (LinkError, Option<String>)>> + use<D> {
        let (dial, identity, within) = (
            Arc::clone(&self.dial),
            self.identity.clone(),
            self.timing.handshake,
        );
        let (boot, claim) = (self.boot.clone(), self.claim.clone());
        async move {
            sleep(wait).await;
            let connection = match tokio::time::timeout(within, dial.dial()).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => return Err((error.into(), None)),
                Err(_) => return Err((LinkError::Slow(within), None)),
            };
            Link::open(connection, &identity, within, |welcome| {
                offer(welcome, boot, claim)
            })
            .await
        }
    }

    fn welcomed(&mut self, welcome: Welcome, ready: &Ready) {
        self.shared.last.fetch_max(ready.last.0, Ordering::Relaxed);
        // From here on calls can be sent, so whatever has no key now is not what was claimed.
        self.claim = None;
        if let Some(first) = self.ready.take() {
            drop(first.send(welcome.boot.clone()));
        }
        self.boot = Some(welcome.boot);
    }

    /// Serves a connection until it breaks.
    async fn serve(&mut self, link: &mut Link, proved: &mut bool) -> LinkError {
        if let Err(error) = self.resume(link) {
            return error;
        }
        loop {
            let call = self.calls.values().filter_map(|call| call.until).min();
            let until = call
                .into_iter()
                .chain(self.closing.as_ref().map(|closing| closing.until))
                .min();
            let done = tokio::select! {
                incoming = link.next() => match incoming {
                    Ok(Incoming::Message(message)) => {
                        *proved |= !matches!(message, DaemonMessage::Error(_));
                        self.hear(message)
                    }
                    Ok(Incoming::Unknown(kind)) => {
                        warn!(run = self.identity.run, kind, "the daemon sent a frame of a type that is not known here; it was ignored");
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                command = self.inbox.recv() => match command {
                    Some(command) => self.accept(command, Some(link)),
                    None => Err(LinkError::Final(SandboxError::Closed)),
                },
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => self.expire(),
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    /// Says everything again that has no answer.
    fn resume(&mut self, link: &mut Link) -> Result<(), LinkError> {
        if let Some(through) = self.acknowledged {
            link.send(&ControllerMessage::Ack { through })?;
        }
        self.calls.retain(|_, call| {
            call.waiters.retain(|waiter| !waiter.reply.is_closed());
            !call.waiters.is_empty()
        });
        // In the order of their ids: the daemon takes no id below one that it has seen.
        for call in self.calls.values_mut() {
            call.until = Some(Instant::now() + call.left);
            link.send_rendered(&call.body)?;
        }
        for id in &self.interrupts {
            link.send(&ControllerMessage::Interrupt { id: *id })?;
        }
        let calls = &self.calls;
        self.interrupts.retain(|id| calls.contains_key(id));
        for _ in &self.statuses {
            link.send(&ControllerMessage::Status)?;
        }
        if self.closing.is_some() {
            link.send(&ControllerMessage::Shutdown)?;
        }
        Ok(())
    }

    /// Stops the clocks of the calls.
    fn pause(&mut self) {
        let now = Instant::now();
        for call in self.calls.values_mut() {
            if let Some(until) = call.until.take() {
                call.left = until.saturating_duration_since(now);
            }
        }
    }

    fn accept(&mut self, command: Command, link: Option<&mut Link>) -> Result<(), LinkError> {
        let message = match command {
            Command::Call(request) => return self.ask(request, link),
            Command::Interrupt(id) => {
                // To be said again after a reconnect, if it can still matter then.
                if link.is_none() || self.calls.contains_key(&id) {
                    self.interrupts.insert(id);
                }
                ControllerMessage::Interrupt { id }
            }
            Command::Acknowledge(through) => {
                self.acknowledged = self.acknowledged.max(Some(through));
                ControllerMessage::Ack { through }
            }
            Command::Status(reply) => {
                self.statuses.push_back(reply);
                ControllerMessage::Status
            }
            Command::Close(reply) => {
                let until = Instant::now() + self.timing.close;
                self.closing
                    .get_or_insert(Closing {
                        replies: Vec::new(),
                        until,
                    })
                    .replies
                    .push(reply);
                ControllerMessage::Shutdown
            }
        };
        link.map_or(Ok(()), |link| link.send(&message))
    }

    fn ask(&mut self, request: Request, link: Option<&mut Link>) -> Result<(), LinkError> {
        let Request {
            id,
            kind,
            body,
            budget,
            waiter,
        } = request;
        let budget = budget + self.timing.slack;
        let call = self.calls.entry(id).or_insert_with(|| Call {
            kind,
            body: body.clone(),
            waiters: Vec::new(),
            budget,
            left: budget,
            until: None,
        });
        if call.body != body {
            drop(waiter.reply.send(Err(SandboxError::Conflict { id })));
            return Ok(());
        }
        call.waiters.push(waiter);
        // Asked again, it gets its time again.
        call.left = budget;
        if let Some(link) = link {
            call.until = Some(Instant::now() + budget);
            // Also for a call that is waited for already: only so the new waiter sees the output from its begin.
            link.send_rendered(&body)?;
        }
        Ok(())
    }

    fn expire(&mut self) -> Result<(), LinkError> {
        let now = Instant::now();
        for (id, call) in self
            .calls
            .extract_if(.., |_, call| call.until.is_some_and(|until| until <= now))
        {
            warn!(run = self.identity.run, %id, kind = call.kind, "the sandbox did not answer in time");
            let error = SandboxError::Timeout {
                what: format!("{} {id}", call.kind),
                after: call.budget,
            };
            call.answer(&Err(error));
        }
        match &self.closing {
            Some(closing) if closing.until <= now => {
                let message = "it did not say goodbye".to_owned();
                Err(LinkError::Final(
                    Loss::Unreachable {
                        after: self.timing.close,
                        message,
                    }
                    .into(),
                ))
            }
            _ => Ok(()),
        }
    }

    fn hear(&mut self, message: DaemonMessage) -> Result<(), LinkError> {
        match message {
            DaemonMessage::Beat => {}
            DaemonMessage::Output(output) => {
                if let Some(call) = self.calls.get_mut(&output.id) {
                    call.waiters.iter_mut().for_each(|waiter| waiter.show(&output));
                }
            }
            DaemonMessage::Result(answer) => self.answer(answer.id, &Ok(answer.body)),
            DaemonMessage::Refusal(refusal) => self.answer(refusal.id, &Err(refused(refusal))),
            DaemonMessage::Status(status) => {
                if let Some(reply) = self.statuses.pop_front() {
                    drop(reply.send(status));
                }
            }
            DaemonMessage::Error(error) => {
                warn!(
                    run = self.identity.run,
                    code = error.code,
                    message = error.message,
                    "the daemon did not like a frame"
                );
                if let Some(id) = error.id {
                    self.answer(
                        id,
                        &Err(SandboxError::Invalid {
                            message: error.message,
                        }),
                    );
                }
            }
            DaemonMessage::Bye if self.closing.is_some() => {
                return Err(LinkError::Final(SandboxError::Closed));
            }
            DaemonMessage::Bye => {
                let message = "it was told to end, and said goodbye".to_owned();
                return Err(LinkError::Final(Loss::Gone { message }.into()));
            }
            DaemonMessage::Welcome(_) | DaemonMessage::Refused(_) | DaemonMessage::Ready(_) => {
                let error = SandboxError::protocol("a frame of the handshake came after it");
                return Err(LinkError::Final(error));
            }
        }
        Ok(())
    }

    fn answer(&mut self, id: CallId, answer: &Answer) {
        self.interrupts.remove(&id);
        if let Some(call) = self.calls.remove(&id) {
            call.answer(answer);
        } else {
            // Of a call whose future was dropped before a reconnect, or the second answer to a call that
            // was asked for twice.
            debug!(run = self.identity.run, %id, "an answer that nobody waits for");
        }
    }
}

impl Waiter {
    /// Passes on what of `output` this waiter has not seen: after a reconnect it comes from its begin.
    fn show(&mut self, output: &Output) {
        let Some(chunks) = &self.chunks else {
            return;
        };
        let known = self.seen.saturating_sub(output.offset);
        let skip = usize::try_from(known).unwrap_or(usize::MAX);
        let begin = output
            .data
            .char_indices()
            .nth(skip)
            .map_or(output.data.len(), |(at, _)| at);
        let text = &output.data[begin..];
        if text.is_empty() {
            return;
        }
        let offset = output.offset + known;
        self.seen = offset + text.chars().count() as u64;
        // The receiver is gone when the future of the call was dropped.
        drop(chunks.send(Chunk {
            offset,
            text: text.to_owned(),
        }));
    }
}

/// Whether to go on with a daemon, and what to claim it with.
fn offer(
    welcome: &Welcome,
    boot: Option<BootId>,
    claim: Option<Variables>,
) -> Result<Option<Variables>, SandboxError> {
    match boot {
        Some(expected) if expected != welcome.boot => Err(Loss::Restarted {
            expected,
            found: welcome.boot.clone(),
        }
        .into()),
        _ if welcome.claimed => Ok(None),
        _ => claim.map(Some).ok_or(SandboxError::NotClaimed),
    }
}

fn refused(refusal: Refusal) -> SandboxError {
    let Refusal {
        id,
        code,
        message,
        running,
    } = refusal;
    match code.as_str() {
        "busy" => SandboxError::Busy { id, running },
        "full" => SandboxError::Full { id },
        "forgotten" => SandboxError::Forgotten { id },
        "conflict" => SandboxError::Conflict { id },
        _ => SandboxError::Invalid { message },
    }
}

fn explained(error: &LinkError, told: Option<String>) -> String {
    match told {
        Some(told) => format!("{error}: {told}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;

//! The task behind a client: owns the connection, and everything that waits for it.
//!
//! Must not know what calls mean: their bodies are made, and their answers read, by the client.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::{Attach, Timing};
use crate::sandbox::link::{Dial, Identity, Incoming, Link, LinkError};
use crate::sandbox::protocol::messages::{ControllerMessage, DaemonMessage, Output, Ready, Refusal, Welcome};
use crate::sandbox::{BootId, CallId, Chunk, DaemonStatus, Loss, SandboxError, Variables};

/// How often a connection of this process that broke was made anew.
pub(super) static RECONNECTS: AtomicU64 = AtomicU64::new(0);

/// What actor and callers both see.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) last: AtomicU64,
    /// Why the actor has ended.
    pub(super) end: OnceLock<SandboxError>,
}

pub(super) type Answer = Result<Map<String, Value>, SandboxError>;

pub(super) enum Command {
    Call(Request),
    Interrupt(CallId),
    Acknowledge(CallId),
    Status(oneshot::Sender<DaemonStatus>),
    Close(oneshot::Sender<Result<(), SandboxError>>),
}

pub(super) struct Request {
    pub(super) id: CallId,
    pub(super) kind: &'static str,
    pub(super) body: Bytes,
    pub(super) budget: Duration,
    pub(super) waiter: Waiter,
}

pub(super) struct Waiter {
    pub(super) chunks: Option<mpsc::UnboundedSender<Chunk>>,
    /// How many characters of output this waiter has seen.
    pub(super) seen: u64,
    pub(super) reply: oneshot::Sender<Answer>,
}

impl Shared {
    /// Why there are no more answers.
    pub(super) fn end(&self) -> SandboxError {
        self.end.get().cloned().unwrap_or(SandboxError::Closed)
    }
}

/// What `close` says of a client that has ended already.
pub(super) fn closed(end: &SandboxError) -> Result<(), SandboxError> {
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

pub(super) struct Actor<D> {
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
    /// `ready` hears which daemon it is, once the first handshake is done.
    pub(super) fn new(
        dial: D,
        identity: Identity,
        attach: Attach,
        timing: Timing,
        shared: Arc<Shared>,
        inbox: mpsc::UnboundedReceiver<Command>,
        ready: oneshot::Sender<BootId>,
    ) -> Self {
        let (claim, boot) = match attach {
            Attach::New { env } => (Some(env), None),
            Attach::Existing { boot } => (None, boot),
        };
        Self {
            dial: Arc::new(dial),
            identity,
            timing,
            shared,
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
        }
    }

    pub(super) async fn run(mut self) {
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
                LinkError::Goodbye => {
                    let told = timeout(self.timing.handshake, self.dial.epitaph()).await;
                    let message = told
                        .ok()
                        .flatten()
                        .unwrap_or_else(|| LinkError::Goodbye.to_string());
                    return Loss::Gone { message }.into();
                }
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
            let connection = match timeout(within, dial.dial()).await {
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
        match self.ready.take() {
            Some(first) => drop(first.send(welcome.boot.clone())),
            None => drop(RECONNECTS.fetch_add(1, Ordering::Relaxed)),
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
            DaemonMessage::Bye => return Err(LinkError::Goodbye),
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

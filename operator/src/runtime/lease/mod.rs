//! Which of several replicas leads: the one that holds a Lease.
//!
//! A lease is taken and renewed by `replace` with the version that was seen, so of two who try at once one is
//! refused. How often it has gone from one holder to another is the epoch, by which a later leader is told from an
//! earlier one. A holder gives up before anybody else may take it, by clocks that are never compared.
//!
//! It must not know what a leader does.

mod calls;
mod held;
#[cfg(test)]
mod tests;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::ObjectMeta;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::calls::{Calls, Cluster, Refusal};
pub use self::held::Holding;
use self::held::{Holder, Lost};
use self::watched::{Record, Step, Watched};

/// Which lease, and how patient its holders are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who wants it: the name of a Pod. No two that run at the same time may have the same: one of this name takes
    /// the lease from its earlier life without waiting.
    pub identity: String,
    /// How long a holder may be silent before another one takes it.
    pub duration: Duration,
    /// How often its holder renews it.
    pub renew: Duration,
}

/// No lease is shorter: one that is renewed by a busy process would be lost again and again.
const SHORTEST: Duration = Duration::from_secs(1);

/// Nobody waits longer for the answer to a call, nor between two looks at a lease that another one holds.
const LOOK: Duration = Duration::from_millis(800);

impl LeaseOptions {
    /// How long it is held, if nothing else is said.
    pub const DURATION: Duration = Duration::from_secs(12);

    /// With the usual patience.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Self::DURATION,
            renew: Self::DURATION / 3,
        }
    }

    /// Held so long at a time, and renewed three times as often.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self.renew = duration / 3;
        self
    }

    fn check(&self) -> Result<(), LeaseError> {
        let wrong = |what| {
            Err(LeaseError::Options {
                lease: self.lease(),
                what,
            })
        };
        if self.identity.is_empty() {
            return wrong("nobody is named who wants it: set --identity");
        }
        if self.duration < SHORTEST {
            return wrong("it would last less than a second: set --lease-duration to more");
        }
        if self.renew.is_zero() || self.renew > self.duration / 2 {
            return wrong("it has to be renewed at least twice while it lasts");
        }
        Ok(())
    }

    fn lease(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// How long after the last renewal its holder counts it as lost. Another one may take it only after the whole
    /// duration, counted from a later moment.
    fn deadline(&self) -> Duration {
        self.duration * 2 / 3
    }

    /// How long a call may take: what is left of the deadline is enough for another one.
    fn call(&self) -> Duration {
        self.duration / 5
    }

    /// How long to wait before it is looked at again.
    fn look(&self) -> Duration {
        LOOK.min(self.duration / 5)
    }
}

/// Why a lease can't be had, nor by waiting, or was not given back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LeaseError {
    /// The options can't be right.
    #[error("the lease {lease} can't be had: {what}")]
    Options {
        /// Which lease.
        lease: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The operator may not have it.
    #[error(
        "the operator may not use the lease {lease} ({message}): give it the role that it is installed with"
    )]
    Forbidden {
        /// Which lease.
        lease: String,
        /// What the API server said.
        message: String,
    },
    /// There is no such namespace.
    #[error(
        "there is no namespace for the lease {lease}: create it, or name another one with --operator-namespace"
    )]
    NoNamespace {
        /// Which lease.
        lease: String,
    },
    /// It could not be given back: the next one has to wait until it is over.
    #[error("the lease {lease} could not be given back ({message}): the next one takes it once it is over")]
    NotReleased {
        /// Which lease.
        lease: String,
        /// Why not.
        message: String,
    },
}

/// Waits until the lease is held, or until `stop`; then there is none. `answered` is called whenever the API server
/// has said who holds it.
pub async fn acquire(
    client: Client,
    options: &LeaseOptions,
    stop: &CancellationToken,
    answered: &(dyn Fn() + Sync),
) -> Result<Option<Leadership>, LeaseError> {
    let cluster = Cluster::new(client, &options.namespace, &options.name);
    acquire_by(cluster, options, stop, answered).await
}

async fn acquire_by(
    calls: impl Calls,
    options: &LeaseOptions,
    stop: &CancellationToken,
    answered: &(dyn Fn() + Sync),
) -> Result<Option<Leadership>, LeaseError> {
    options.check()?;
    let mut candidate = Candidate {
        watched: Watched::new(options.identity.clone(), options.duration),
        calls: Arc::new(calls),
        options,
        answered,
        said: None,
    };
    while !stop.is_cancelled() {
        // Not cut off by a stop: it might be ours then, and nobody would know.
        if let Some((lease, sent)) = candidate.look().await? {
            let holder = Holder::new(candidate.calls, options.clone(), lease, sent);
            let leadership = Leadership::begin(holder);
            if !stop.is_cancelled() {
                return Ok(Some(leadership));
            }
            leadership.release().await?;
            break;
        }
        // Not all at the same time.
        let wait = options.look().mul_f64(rand::random_range(0.75..=1.0));
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(None)
}

struct Candidate<'a, C> {
    calls: Arc<C>,
    options: &'a LeaseOptions,
    answered: &'a (dyn Fn() + Sync),
    watched: Watched,
    /// What was said last of why it is waited.
    said: Option<String>,
}

impl<C: Calls> Candidate<'_, C> {
    /// One try. The lease, if it is ours, and when that was asked for.
    async fn look(&mut self) -> Result<Option<(Lease, Instant)>, LeaseError> {
        let found = match bounded(self.options, self.calls.get()).await {
            Ok(lease) => Some(lease),
            Err(Refusal::Missing) => None,
            Err(refusal) => return self.refused(refusal),
        };
        (self.answered)();
        self.watched.see(found.as_ref().map(Record::from), Instant::now());
        let sent = Instant::now();
        let (transitions, new) = match self.watched.step(sent) {
            Step::Wait => {
                let holder = self.watched.holder().unwrap_or("another one").to_owned();
                self.say(format!("{holder} holds it"));
                return Ok(None);
            }
            Step::Create { transitions } => (transitions, true),
            Step::Take { transitions } => (transitions, false),
        };
        let mut lease = found.unwrap_or_default();
        write(
            &mut lease,
            self.options,
            Some(&self.options.identity),
            transitions,
        );
        let answer = if new {
            bounded(self.options, self.calls.create(&lease)).await
        } else {
            bounded(self.options, self.calls.replace(&lease)).await
        };
        match answer {
            Ok(lease) => Ok(Some((lease, sent))),
            Err(Refusal::Missing) if new => Err(LeaseError::NoNamespace {
                lease: self.options.lease(),
            }),
            Err(refusal) => self.refused(refusal),
        }
    }

    fn refused<T>(&mut self, refusal: Refusal) -> Result<Option<T>, LeaseError> {
        match refusal {
            Refusal::Forbidden(message) => {
                return Err(LeaseError::Forbidden {
                    lease: self.options.lease(),
                    message,
                });
            }
            Refusal::Conflict | Refusal::Missing => self.say("another one was first".to_owned()),
            Refusal::Failed(message) => {
                if self.said.as_ref() != Some(&message) {
                    warn!(
                        lease = self.options.lease(),
                        message, "the lease could not be looked at"
                    );
                    self.said = Some(message);
                }
            }
        }
        Ok(None)
    }

    /// Once for each reason.
    fn say(&mut self, why: String) {
        if self.said.as_ref() != Some(&why) {
            info!(
                lease = self.options.lease(),
                identity = self.options.identity,
                why,
                "waiting for the lease"
            );
            self.said = Some(why);
        }
    }
}

/// Each call has its time: kube would try again for longer than a lease lasts.
async fn bounded<T>(
    options: &LeaseOptions,
    call: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let within = options.call();
    let slow = || Refusal::Failed(format!("no answer within {} ms", within.as_millis()));
    timeout(within, call).await.unwrap_or_else(|_| Err(slow()))
}

/// Makes a lease say whose it is from now on. What else it says stays.
fn write(lease: &mut Lease, options: &LeaseOptions, holder: Option<&str>, transitions: u32) {
    let now = MicroTime(jiff::Timestamp::now());
    let metadata = &mut lease.metadata;
    if metadata.name.is_none() {
        *metadata = ObjectMeta {
            name: Some(options.name.clone()),
            namespace: Some(options.namespace.clone()),
            ..ObjectMeta::default()
        };
    }
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    let transitions = i32::try_from(transitions).unwrap_or(i32::MAX);
    if spec.holder_identity.as_deref() != holder || spec.lease_transitions != Some(transitions) {
        spec.acquire_time = Some(now.clone());
    }
    spec.holder_identity = holder.map(str::to_owned);
    spec.lease_transitions = Some(transitions);
    spec.renew_time = Some(now);
    // Whole seconds, and no fewer than it lasts.
    let seconds = options.duration.as_millis().div_ceil(1000);
    spec.lease_duration_seconds = Some(i32::try_from(seconds).unwrap_or(i32::MAX));
}

/// That this replica leads. It ends when it is lost, released or dropped; only who releases it spares the next one
/// the wait.
#[derive(Debug)]
pub struct Leadership {
    holding: Holding,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), Lost>>>,
}

impl Leadership {
    fn begin<C: Calls>(mut holder: Holder<C>) -> Self {
        let (holding, stop) = (holder.holding(), CancellationToken::new());
        info!(
            lease = holder.lease(),
            epoch = holding.epoch(),
            "this replica leads"
        );
        let stopped = stop.clone();
        let task = async move {
            holder.keep(&stopped).await?;
            holder.give_back().await
        };
        Self {
            holding,
            stop,
            task: Some(tokio::spawn(task)),
        }
    }

    /// Higher than that of each leader before.
    pub fn epoch(&self) -> u64 {
        self.holding.epoch()
    }

    /// Fires when this replica leads no more: before another one can.
    pub fn lost(&self) -> CancellationToken {
        self.holding.lost()
    }

    /// Whether it leads at this very moment: also where `lost` had no time to fire, because the process was stopped.
    pub fn is_held_now(&self) -> bool {
        self.holding.is_held_now()
    }

    /// For who asks before it writes.
    pub fn holding(&self) -> Holding {
        self.holding.clone()
    }

    /// Gives it back, so that the next one need not wait. `lost` fires first.
    pub async fn release(mut self) -> Result<(), LeaseError> {
        self.holding.lose();
        self.stop.cancel();
        let Some(task) = self.task.take() else {
            return Ok(());
        };
        match task.await {
            Ok(Err(Lost::NotGivenBack(error))) => Err(error),
            // What was lost already is not ours to give back.
            _ => Ok(()),
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.holding.lose();
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

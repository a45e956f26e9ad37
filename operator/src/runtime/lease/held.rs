//! A lease that is held: renewed in time, or lost.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::calls::{Calls, Refusal};
use super::watched::Record;
use super::{LeaseError, LeaseOptions, bounded, write};

/// Whether a lease is held, for who asks before it writes. Clones are the same.
#[derive(Debug, Clone)]
pub struct Holding(Arc<Held>);

#[derive(Debug)]
struct Held {
    epoch: u64,
    /// When it is over, if it is not renewed.
    until: watch::Sender<Instant>,
    lost: CancellationToken,
}

impl Holding {
    /// Higher than that of each leader before.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// Whether it is held at this very moment.
    pub fn is_held_now(&self) -> bool {
        !self.0.lost.is_cancelled() && Instant::now() < self.until()
    }

    /// Fires when it is not held any more.
    pub fn lost(&self) -> CancellationToken {
        self.0.lost.clone()
    }

    /// Returns while it is held, and never once it is lost. Whoever was stopped for a while may find it over, and then
    /// renewed after all.
    pub async fn held(&self) {
        let mut until = self.0.until.subscribe();
        // Its sender is here.
        let _ = until.wait_for(|until| Instant::now() < *until).await;
        if self.0.lost.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// It is held no more.
    pub(in crate::runtime) fn lose(&self) {
        self.0.lost.cancel();
    }

    fn until(&self) -> Instant {
        *self.0.until.borrow()
    }

    /// It is held until then.
    pub(in crate::runtime) fn renew(&self, until: Instant) {
        self.0.until.send_replace(until);
    }

    fn new(epoch: u64, until: Instant) -> Self {
        Self(Arc::new(Held {
            epoch,
            until: watch::Sender::new(until),
            lost: CancellationToken::new(),
        }))
    }

    /// One that is held until then, if nobody renews it.
    #[cfg(test)]
    pub(in crate::runtime) fn until_then(until: Instant) -> Self {
        Self::new(1, until)
    }
}

/// Why a lease is held no more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Lost {
    /// It was not renewed in time.
    #[error("it could not be renewed in time")]
    Over,
    /// Another one has it.
    #[error("another one has taken it")]
    Taken,
    /// It is ours, and should not be.
    #[error(transparent)]
    NotGivenBack(LeaseError),
}

/// Who renews a lease.
pub(super) struct Holder<C> {
    calls: Arc<C>,
    options: LeaseOptions,
    /// As the API server has it, as far as that is known.
    lease: Lease,
    record: Record,
    holding: Holding,
}

/// Why a lease was not renewed.
enum NotRenewed {
    Taken,
    Failed(String),
}

impl<C: Calls> Holder<C> {
    /// Of a lease that became ours by a call that began then.
    pub(super) fn new(calls: Arc<C>, options: LeaseOptions, lease: Lease, sent: Instant) -> Self {
        let record = Record::from(&lease);
        let epoch = u64::from(record.transitions()) + 1;
        let holding = Holding::new(epoch, sent + options.deadline());
        Self {
            calls,
            options,
            lease,
            record,
            holding,
        }
    }

    pub(super) fn holding(&self) -> Holding {
        self.holding.clone()
    }

    pub(super) fn lease(&self) -> String {
        self.options.lease()
    }

    /// Renews it until `stop`.
    pub(super) async fn keep(&mut self, stop: &CancellationToken) -> Result<(), Lost> {
        let result = self.renew_until(stop).await;
        if let Err(why) = &result {
            self.holding.lose();
            error!(lease = self.lease(), epoch = self.holding.epoch(), %why, "the lease is lost");
        }
        result
    }

    async fn renew_until(&mut self, stop: &CancellationToken) -> Result<(), Lost> {
        let mut next = Instant::now() + self.options.renew;
        loop {
            let until = self.holding.until();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = sleep_until(next.min(until)) => {}
            }
            // The process may have been stopped meanwhile, for however long.
            let sent = Instant::now();
            if sent >= until {
                return Err(Lost::Over);
            }
            match timeout_at(until, self.renew()).await {
                Ok(Ok(())) => {
                    // Counted from before it was asked for: nobody can have seen it earlier.
                    self.holding.renew(sent + self.options.deadline());
                    next = sent + self.options.renew;
                }
                Ok(Err(NotRenewed::Taken)) => return Err(Lost::Taken),
                Ok(Err(NotRenewed::Failed(message))) => {
                    warn!(lease = self.lease(), message, "the lease was not renewed");
                    next = Instant::now() + self.options.look();
                }
                Err(_) => return Err(Lost::Over),
            }
        }
    }

    async fn renew(&mut self) -> Result<(), NotRenewed> {
        match self.replace(true).await {
            // Perhaps by ourselves: the answer to an earlier call may have been lost.
            Err(Refusal::Conflict) => {
                self.look_again().await?;
                self.replace(true).await.map_err(NotRenewed::from)
            }
            // Somebody has deleted it. Whoever knew it waits as if it were there.
            Err(Refusal::Missing) => self.make_again().await,
            other => other.map_err(NotRenewed::from),
        }
    }

    /// Writes it anew, if it is still the version that is known: as ours, or as nobody's.
    async fn replace(&mut self, ours: bool) -> Result<(), Refusal> {
        if ours && Instant::now() >= self.holding.until() {
            return Err(Refusal::Failed("it is over".to_owned()));
        }
        let mut lease = self.lease.clone();
        let holder = self.record.holder().filter(|_| ours);
        write(&mut lease, &self.options, holder, self.record.transitions());
        self.lease = bounded(&self.options, self.calls.replace(&lease)).await?;
        Ok(())
    }

    /// Learns of the version that there is, which has to be ours.
    async fn look_again(&mut self) -> Result<(), NotRenewed> {
        let found = bounded(&self.options, self.calls.get()).await?;
        let (now, ours) = (Record::from(&found), &self.record);
        if now.holder() != ours.holder() || now.transitions() != ours.transitions() {
            info!(
                lease = self.lease(),
                holder = now.holder(),
                "the lease has another holder"
            );
            return Err(NotRenewed::Taken);
        }
        self.lease = found;
        Ok(())
    }

    async fn make_again(&mut self) -> Result<(), NotRenewed> {
        warn!(lease = self.lease(), "the lease was deleted; it is made again");
        let mut lease = Lease::default();
        write(
            &mut lease,
            &self.options,
            self.record.holder(),
            self.record.transitions(),
        );
        match bounded(&self.options, self.calls.create(&lease)).await {
            Ok(lease) => {
                self.lease = lease;
                Ok(())
            }
            Err(Refusal::Conflict) => {
                self.look_again().await?;
                self.replace(true).await.map_err(NotRenewed::from)
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Makes it nobody's.
    pub(super) async fn give_back(&mut self) -> Result<(), Lost> {
        let mut given = self.replace(false).await;
        if given == Err(Refusal::Conflict) {
            given = match self.look_again().await {
                Ok(()) => self.replace(false).await,
                Err(NotRenewed::Taken) => return Err(Lost::Taken),
                Err(NotRenewed::Failed(message)) => Err(Refusal::Failed(message)),
            };
        }
        match given {
            Ok(()) => {
                info!(lease = self.lease(), "the lease was given back");
                Ok(())
            }
            // One that is not there is nobody's.
            Err(Refusal::Missing) => Ok(()),
            Err(refusal) => Err(Lost::NotGivenBack(LeaseError::NotReleased {
                lease: self.lease(),
                message: NotRenewed::from(refusal).to_string(),
            })),
        }
    }
}

impl std::fmt::Display for NotRenewed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Taken => "another one has taken it",
            Self::Failed(message) => message,
        })
    }
}

impl From<Refusal> for NotRenewed {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict => Self::Failed("somebody else writes it at the same time".to_owned()),
            Refusal::Missing => Self::Failed("it is not there".to_owned()),
            Refusal::Forbidden(message) | Refusal::Failed(message) => Self::Failed(message),
        }
    }
}

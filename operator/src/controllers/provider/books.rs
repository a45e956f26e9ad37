//! The status of one provider, and its only writer: what is known of the provider and what was spent stand in the
//! same object, and each write has all of it.
//!
//! A write is fenced by the version of the object that was seen last. Whoever is not up to date is refused, looks,
//! and counts what others have written there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::debug;

use super::money;
use super::object::{self, Object};
use super::reason::{Reason, Standing};
use super::status::{Known, standing, status};
use crate::api::model_provider::Spending;
use crate::api::{MANAGER, ModelProviderStatus};
use crate::controllers::apply::answered;
use crate::llm::account::{Books, Budget, Figures, Ledger, NotKept};
use crate::llm::prices::Cost;

/// How long what was spent may stand there before it is written anew, where nothing demands that.
const TIDY: Duration = Duration::from_secs(30);
/// How often a write is tried that somebody else was before.
const TRIES: usize = 4;
/// What is said if that does not help.
const OUTRUN: &str = "others write it all the time";

/// The status of one provider.
pub(super) struct Status {
    api: Api<DynamicObject>,
    namespace: String,
    name: String,
    uid: String,
    /// By whom what is written here is signed.
    holder: String,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    known: Mutex<Known>,
    written: tokio::sync::Mutex<Written>,
    wake: Notify,
}

/// What stands there.
struct Written {
    version: Option<String>,
    status: ModelProviderStatus,
    at: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Status {
    /// Goes on with what stands there.
    pub(super) fn new(client: &Client, object: &Object, budget: Option<Budget>) -> Self {
        let now = Timestamp::now();
        let found = found(object, budget, now);
        // Until it was looked at, what was known of the same spec holds.
        let checked_at = object.status.checked_at.as_ref().map(|time| time.0);
        Self {
            api: Api::namespaced_with(client.clone(), &object.namespace, &object::resource()),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
            holder: format!("{:016x}", rand::random::<u64>()),
            ledger: Arc::new(Mutex::new(Ledger::open(budget, found, now))),
            known: Mutex::new(Known {
                generation: object.generation,
                standing: Standing::new(Reason::Checking, "it is being looked at"),
                checked_at,
            }),
            written: tokio::sync::Mutex::new(Written {
                version: object.version.clone(),
                status: object.status.clone(),
                at: Instant::now(),
            }),
            wake: Notify::new(),
        }
    }

    /// Which object it is.
    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    /// Waits until something has changed.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Has whoever looks after it look now.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Changes what may be spent.
    pub(super) fn set_budget(&self, budget: Option<Budget>) {
        lock(&self.ledger).set_budget(budget, Timestamp::now());
    }

    /// Whether it was found to work when it was looked at last.
    pub(super) fn works(&self) -> bool {
        lock(&self.known).standing.reason == Reason::Ready
    }

    /// Takes down what is known now; `proved`, if the key was just seen to work.
    pub(super) fn know(&self, generation: Option<i64>, found: Standing, proved: bool) {
        let mut known = lock(&self.known);
        known.generation = generation;
        known.standing = found;
        if proved {
            known.checked_at = Some(Timestamp::now());
        }
    }

    /// How it stands, and, if only its budget is in the way, when that opens.
    pub(super) fn standing(&self) -> (Standing, Option<Timestamp>) {
        let now = Timestamp::now();
        let ledger = lock(&self.ledger);
        let (figures, closed) = (ledger.figures(now), ledger.closed_until(now));
        let standing = standing(&lock(&self.known), ledger.budget(), &figures, closed);
        let closed = closed.filter(|_| standing.reason == Reason::BudgetUsedUp);
        (standing, closed)
    }

    /// Whether there is a condition to be seen.
    pub(super) async fn has_been_seen(&self) -> bool {
        let written = self.written.lock().await;
        written.status.conditions.iter().any(|it| it.type_ == "Ready")
    }

    /// Writes down that so much more is set aside.
    async fn reserve(&self, more: Cost) -> Result<(), NotKept> {
        let mut written = self.written.lock().await;
        for _ in 0..TRIES {
            let figures = lock(&self.ledger).write(Some(more), Timestamp::now());
            if self.put(&mut written, &figures).await? {
                return Ok(());
            }
        }
        Err(NotKept(OUTRUN.to_owned()))
    }

    /// Writes the status, if it is not what it should be; figures alone may wait, but not at the end. Says when to
    /// look again for their sake.
    pub(super) async fn tend(&self, end: bool) -> Result<Option<Instant>, NotKept> {
        let mut written = self.written.lock().await;
        for _ in 0..TRIES {
            let now = Timestamp::now();
            let figures = lock(&self.ledger).figures(now);
            let there = &written.status;
            let wanted = self.wanted(&figures, there, now);
            let fresh = same_but_figures(&wanted, there);
            let counted = !differ(there.spending.as_ref(), wanted.spending.as_ref());
            if fresh && counted {
                return Ok(None);
            }
            let due = written.at + TIDY;
            if fresh && !end && Instant::now() < due {
                return Ok(Some(due));
            }
            let figures = lock(&self.ledger).write(None, now);
            self.put(&mut written, &figures).await?;
        }
        Err(NotKept(OUTRUN.to_owned()))
    }

    /// Writes the status with these figures. If somebody else was before, it only looks what stands there.
    async fn put(&self, written: &mut Written, figures: &Figures) -> Result<bool, NotKept> {
        let wanted = self.wanted(figures, &written.status, Timestamp::now());
        let kind = object::resource();
        let body = json!({
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"resourceVersion": written.version},
            "status": wanted,
        });
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&body);
        match answered(self.api.patch_status(&self.name, &params, &patch)).await {
            Ok(patched) => {
                lock(&self.ledger).written(figures);
                *written = Written {
                    version: patched.metadata.resource_version,
                    status: wanted,
                    at: Instant::now(),
                };
                Ok(true)
            }
            Err(refusal) if refusal.code == Some(409) => {
                self.catch_up(written).await?;
                Ok(false)
            }
            Err(refusal) => Err(NotKept(refusal.message)),
        }
    }

    fn wanted(&self, figures: &Figures, before: &ModelProviderStatus, now: Timestamp) -> ModelProviderStatus {
        let (budget, closed) = {
            let ledger = lock(&self.ledger);
            (ledger.budget(), ledger.closed_until(now))
        };
        let known = lock(&self.known).clone();
        let standing = standing(&known, budget, figures, closed);
        // Where nothing is limited, and nothing was used yet, nothing is said.
        let counts = budget.is_some() || before.spending.is_some() || figures.spent > Cost::default();
        let spending = counts.then(|| money::spending(figures, &self.holder));
        status(&known, &standing, spending, before, now)
    }

    /// Somebody else was before: looks what stands there.
    async fn catch_up(&self, written: &mut Written) -> Result<(), NotKept> {
        let answer = answered(self.api.get(&self.name)).await;
        let object = Object::read(answer.map_err(|refusal| NotKept(refusal.message))?);
        if object.uid != self.uid {
            return Err(NotKept("there is another one of this name".to_owned()));
        }
        let now = Timestamp::now();
        let mut ledger = lock(&self.ledger);
        let found = found(&object, ledger.budget(), now);
        let signed = object
            .spending
            .as_ref()
            .is_ok_and(|it| it.as_ref().and_then(|it| it.holder.as_ref()) == Some(&self.holder));
        if !ledger.find(found, signed, now) {
            debug!(
                namespace = self.namespace,
                name = self.name,
                "somebody else wrote what was spent"
            );
        }
        written.version = object.version;
        written.status = object.status;
        Ok(())
    }
}

/// What was spent, as it stands there.
fn found(object: &Object, budget: Option<Budget>, now: Timestamp) -> Option<Figures> {
    match &object.spending {
        Ok(spending) => spending.as_ref().map(money::figures),
        Err(()) => Some(money::nothing_left(budget, now)),
    }
}

fn same_but_figures(one: &ModelProviderStatus, other: &ModelProviderStatus) -> bool {
    (one.observed_generation, &one.conditions, &one.checked_at)
        == (other.observed_generation, &other.conditions, &other.checked_at)
}

/// Whether what stands there is to be written anew. What is set aside may be more than is needed just now.
fn differ(there: Option<&Spending>, mine: Option<&Spending>) -> bool {
    let (Some(there), Some(mine)) = (there, mine) else {
        return there.is_some() != mine.is_some();
    };
    let (there, mine) = (money::figures(there), money::figures(mine));
    let nothing = Cost::default();
    // That a period has passed in which nothing was spent is no news.
    there.spent != mine.spent
        || (there.reserved > nothing && mine.reserved == nothing)
        || (there.since != mine.since && there.spent > nothing)
}

#[async_trait]
impl Books for Status {
    async fn keep(&self, more: Cost) -> Result<(), NotKept> {
        self.reserve(more).await
    }

    fn moved(&self) {
        self.wake();
    }
}

#[cfg(test)]
mod tests;

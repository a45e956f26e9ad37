//! Looks after one provider: whether its key is there and works, now and then, and that its status says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::books::Status;
use super::check::{check, objection};
use super::money;
use super::object::Object;
use super::reason::{Reason, Standing};
use super::{ProviderKey, Verdict};
use crate::api::{ModelProvider, ModelProviderSpec};
use crate::llm::account::{Books, Desk};
use crate::llm::{Http, Timeouts};
use crate::runtime::metrics::Metrics;
use crate::runtime::metrics::labels::{Kind, Reconciled};

/// How often a key that works is looked at.
const USUAL: Duration = Duration::from_hours(1);
/// The first and the longest wait before one is looked at again that is missing or does not work.
const AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(5));
/// How often a provider may be out of reach at the usual look before that is said.
const PATIENCE: u32 = 3;
/// The longest sleep: periods end by a clock that may be set.
const NAP: Duration = Duration::from_mins(5);
/// How long after a status could not be written.
const REWRITE: Duration = Duration::from_secs(15);

/// What all keepers need.
pub(super) struct Tools {
    pub(super) client: Client,
    pub(super) http: Http,
    pub(super) timeouts: Timeouts,
    pub(super) allowed: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// Hears of a provider that can be used now, or not any more.
    pub(super) tell: Box<dyn Fn(ProviderKey) + Send + Sync>,
    pub(super) metrics: Metrics,
}

/// One provider.
pub(super) struct Provider {
    pub(super) key: ProviderKey,
    pub(super) status: Arc<Status>,
    pub(super) desk: Desk,
    facts: Mutex<Facts>,
}

struct Facts {
    generation: Option<i64>,
    provider: Result<Arc<ModelProvider>, String>,
    /// A run says that the key is refused.
    refused: Option<String>,
    /// What was found of this generation.
    looked: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Provider {
    pub(super) fn new(client: &Client, object: Object) -> Self {
        let spec = object.provider.as_ref().ok().map(|provider| &provider.spec);
        let status = Arc::new(Status::new(client, &object, spec.and_then(money::budget)));
        let desk = Desk::new(
            format!("ModelProvider {}/{}", object.namespace, object.name),
            spec.map(money::limits).unwrap_or_default(),
            Arc::clone(&status.ledger),
            Arc::clone(&status) as Arc<dyn Books>,
        );
        Self {
            key: ProviderKey::named(&object.namespace, &object.name),
            status,
            desk,
            facts: Mutex::new(Facts {
                generation: object.generation,
                provider: object.provider.map(Arc::new),
                refused: None,
                looked: false,
            }),
        }
    }

    /// Takes over what the API server says of it, and says whether it was news. Its own status is none.
    pub(super) fn update(&self, object: Object) -> bool {
        let mut facts = lock(&self.facts);
        if facts.generation == object.generation {
            return false;
        }
        facts.generation = object.generation;
        facts.looked = false;
        // While a spec is not understood, what was said before limits those who are under way.
        if let Ok(provider) = &object.provider {
            self.desk.limit(money::limits(&provider.spec));
            self.status.set_budget(money::budget(&provider.spec));
            self.desk.look_again();
        }
        facts.provider = object.provider.map(Arc::new);
        drop(facts);
        self.status.wake();
        true
    }

    /// What it says, if that is understood.
    pub(super) fn provider(&self) -> Option<Arc<ModelProvider>> {
        lock(&self.facts).provider.as_ref().ok().cloned()
    }

    /// A run says that its key is refused.
    pub(super) fn refused(&self, message: String) {
        lock(&self.facts).refused = Some(message);
        self.status.wake();
    }

    /// Whether it can be used.
    pub(super) fn verdict(&self) -> Verdict {
        let facts = lock(&self.facts);
        if let Some(message) = &facts.refused {
            return Verdict::NotReady {
                reason: Reason::KeyRefused,
                message: message.clone(),
            };
        }
        if !facts.looked {
            return Verdict::Unknown {
                message: "it is being looked at".to_owned(),
            };
        }
        drop(facts);
        let (Standing { reason, message }, until) = self.status.standing();
        match (until, reason.ready()) {
            (Some(until), _) => Verdict::Closed { until, message },
            (None, "True") => Verdict::Usable,
            (None, "Unknown") => Verdict::Unknown { message },
            (None, _) => Verdict::NotReady { reason, message },
        }
    }
}

/// When a key is looked at next.
struct Looks {
    next: Instant,
    generation: Option<i64>,
    wait: Duration,
    away: u32,
}

/// Looks after a provider until this is dropped.
pub(super) async fn keep(provider: Arc<Provider>, tools: Arc<Tools>) {
    let mut looks = Looks {
        next: Instant::now(),
        generation: None,
        wait: AGAIN.0,
        away: 0,
    };
    let mut told = None;
    if !provider.status.has_been_seen().await {
        write(&provider).await;
    }
    loop {
        look(&provider, &tools, &mut looks).await;
        let verdict = provider.verdict().kind();
        if told != Some(verdict) {
            told = Some(verdict);
            (tools.tell)(provider.key.clone());
        }
        let next = write(&provider).await.min(looks.next);
        tokio::select! {
            () = provider.status.woken() => {}
            () = sleep_until(next) => {}
        }
    }
}

/// When to look again for the sake of the status.
async fn write(provider: &Provider) -> Instant {
    let nap = Instant::now() + NAP;
    match provider.status.tend(false).await {
        Ok(next) => {
            let opens = provider.status.standing().1.map_or(nap, instant);
            next.unwrap_or(nap).min(opens).min(nap)
        }
        Err(why) => {
            warn!(provider = %provider.key, %why, "the status can't be written");
            Instant::now() + REWRITE
        }
    }
}

/// When a clock of the wall will say so, if nobody sets it.
fn instant(time: Timestamp) -> Instant {
    let left = time.duration_since(Timestamp::now());
    Instant::now() + Duration::try_from(left).unwrap_or_default()
}

/// Looks at the key, if it is time.
async fn look(provider: &Provider, tools: &Tools, looks: &mut Looks) {
    let (generation, found, looked, refused) = {
        let mut facts = lock(&provider.facts);
        (
            facts.generation,
            facts.provider.clone(),
            facts.looked,
            facts.refused.take(),
        )
    };
    if let Some(message) = refused {
        provider
            .status
            .know(generation, Standing::new(Reason::KeyRefused, message), false);
        looks.wait = AGAIN.0;
        looks.next = Instant::now() + looks.wait;
        return;
    }
    if looks.generation != generation || !looked {
        looks.next = Instant::now();
        looks.wait = AGAIN.0;
        looks.away = 0;
    }
    if Instant::now() < looks.next {
        return;
    }
    let began = Instant::now();
    let (standing, proved) = match &found {
        Err(problem) => {
            let message = format!("{problem}: this operator can't make sense of it");
            (Standing::new(Reason::NotUnderstood, message), false)
        }
        Ok(found) => of(&found.spec, provider, tools).await,
    };
    tools
        .metrics
        .reconciled(Kind::Provider, outcome(standing.reason), began.elapsed());
    settle(provider, generation, standing, proved, looks);
}

/// For who counts.
fn outcome(reason: Reason) -> Reconciled {
    match reason {
        Reason::Unreachable => Reconciled::Retry,
        _ if reason.is_stalled() => Reconciled::Stalled,
        _ if reason.waits() => Reconciled::Waiting,
        _ => Reconciled::Ok,
    }
}

async fn of(spec: &ModelProviderSpec, provider: &Provider, tools: &Tools) -> (Standing, bool) {
    if let Some(objection) = objection(spec, &*tools.allowed) {
        return (objection, false);
    }
    let namespace = provider.key.namespace().unwrap_or_default();
    check(&tools.client, &tools.http, tools.timeouts, namespace, spec).await
}

/// Takes down what was found, and when to look again.
fn settle(provider: &Provider, generation: Option<i64>, standing: Standing, proved: bool, looks: &mut Looks) {
    let works = standing.reason == Reason::Ready;
    looks.generation = generation;
    looks.next = Instant::now() + if works { USUAL } else { looks.wait };
    looks.wait = if works {
        AGAIN.0
    } else {
        (looks.wait * 2).min(AGAIN.1)
    };
    let away = standing.reason == Reason::Unreachable;
    looks.away = if away { looks.away + 1 } else { 0 };
    let mut facts = lock(&provider.facts);
    // One that worked an hour ago may be out of reach for a moment.
    let was_fine = facts.looked && provider.status.works();
    let hushed = away && was_fine && looks.away < PATIENCE;
    // The spec may have changed meanwhile: then this is about the old one.
    facts.looked = facts.generation == generation;
    drop(facts);
    if !hushed {
        info!(provider = %provider.key, reason = %standing.reason, message = standing.message, "looked at a provider");
        provider.status.know(generation, standing, proved);
    }
}

#[cfg(test)]
mod tests;

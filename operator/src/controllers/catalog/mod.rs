//! The controller of Catalogs: dereference, validate, decide what is next, build, write the status, and only then act.
//!
//! A run's session is a task of its own; a reconcile starts it, observes it and never waits for it. All that must
//! survive is in the status and in the bucket, so the operator may die between any two lines.

mod build;
mod conditions;
mod decide;
mod dereference;
mod due;
mod events;
mod lifecycle;
#[cfg(test)]
mod machine;
mod reason;
mod sandboxes;
mod sweep;
mod validate;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kube::core::DeserializeGuard;
use kube::{Client, Resource as _, ResourceExt as _};
use kube_runtime::controller::Action;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tracing::{Instrument as _, info_span, warn};

use self::decide::{decide, rest};
use self::due::{FOLLOW, Next, is_under_way};
use self::reason::Reason;
use self::watch::key_of;
pub use self::watch::run;
use super::announce::Announcer;
use super::apply::{self, ApplyError};
use super::provider::Accounts;
use super::settings::Settings;
use super::unread::{self, Verdict};
use crate::agent::prompts::Prompts;
use crate::api::Catalog;
use crate::api::catalog::CatalogStatus;
use crate::llm::Http;
use crate::runtime::fence::Fence;
use crate::runtime::lease::Holding;
use crate::runtime::metrics::Metrics;
use crate::runtime::metrics::labels::{Kind, Reconciled};
use crate::sandbox::InstallationSecret;
use crate::sessions::{Key, OwnStore, Sessions, View};

/// What the controller works with.
pub struct Context {
    /// The cluster.
    pub client: Client,
    /// The operator's configuration.
    pub settings: Settings,
    /// The runs that are under way.
    pub sessions: Sessions,
    /// The providers.
    pub accounts: Accounts,
    /// What agents are told.
    pub prompts: Receiver<Arc<Prompts>>,
    /// Connections to models.
    pub http: Http,
    /// The operator's own bucket.
    pub store: Option<OwnStore>,
    /// The operator's own secrets, to be hidden.
    pub secrets: Vec<SecretString>,
    /// What the keys of sandboxes are derived from.
    pub installation: InstallationSecret,
    /// Which leader this is.
    pub epoch: u64,
    /// Whether it still is.
    pub holding: Holding,
    /// Where writes ask that.
    pub fence: Fence,
    /// Tells people.
    pub announcer: Announcer,
    /// Who counts.
    pub metrics: Metrics,
    /// When statuses were last written: what changes all the time is not written all the time.
    pub written: Mutex<BTreeMap<String, Instant>>,
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Context")
    }
}

/// Looks at a Catalog once.
async fn reconcile(
    object: Arc<DeserializeGuard<Catalog>>,
    context: Arc<Context>,
) -> Result<Action, ApplyError> {
    let began = Instant::now();
    let result = match &object.0 {
        Ok(catalog) => {
            let span = info_span!("reconcile", catalog = %apply::full_name(catalog));
            Box::pin(look(catalog, &context)).instrument(span).await
        }
        Err(unreadable) => {
            // What it asks for now is not known, so nothing of it may go on, nor stand in the way of others.
            context.sessions.give_up(&key_of(&object));
            unread::tell::<Catalog>(&context.client, &context.announcer, unreadable, unreadable_one)
                .await
                .map(|again| (Action::requeue(again), Reconciled::Stalled))
        }
    };
    let outcome = match &result {
        Ok((_, outcome)) => *outcome,
        Err(error) => error.outcome(),
    };
    context
        .metrics
        .reconciled(Kind::Catalog, outcome, began.elapsed());
    result.map(|(action, _)| action)
}

/// What the status of one says that can't be read. What is published stays so.
fn unreadable_one(status: &Value) -> Verdict {
    Verdict {
        reason: Reason::NotUnderstood.to_string(),
        conditions: vec![
            ("Ready", !status["artifacts"].is_null()),
            ("Reconciling", false),
            ("Stalled", true),
        ],
        members: json!({"phase": "Failed"}),
    }
}

async fn look(catalog: &Catalog, context: &Context) -> Result<(Action, Reconciled), ApplyError> {
    let Some(uid) = catalog.uid() else {
        return Ok((Action::await_change(), Reconciled::Ok));
    };
    let key = Key {
        uid,
        namespace: catalog.namespace().unwrap_or_default(),
        name: catalog.name_any(),
    };
    if catalog.meta().deletion_timestamp.is_some() {
        context.sessions.abandon(&key);
        return Ok((Action::await_change(), Reconciled::Ok));
    }
    let old = catalog.status.clone().unwrap_or_default();
    let view = context.sessions.view(&key.uid);
    let over = matches!(view, View::Over { .. });
    let decision = Box::pin(decide(catalog, &key, &old, &view, context)).await;
    if decision.status != old && (over || may_write(&key, &old, &decision.status, context)) {
        let written = if context.holding.is_held_now() {
            apply::status(&context.client, catalog, &decision.status).await
        } else {
            // It was away for a while: somebody else may lead.
            Err(ApplyError::Stale {
                object: key.to_string(),
            })
        };
        context.metrics.status_written(apply::outcome(&written));
        // Who was to begin keeps its place: the next look, which comes soon, takes it or gives it back.
        written?;
        remember(&key, context);
        for news in events::events(&old, &decision.status) {
            context.announcer.tell(catalog.object_ref(&()), news.into());
        }
    }
    let rest = rest(catalog);
    if let View::Over { ended, stopped, .. } = &view {
        let outcome = lifecycle::counted(ended, *stopped, &decision.status);
        context.sessions.forget(&key, outcome);
        context.sessions.look_at(key);
        return Ok((Action::requeue(rest), Reconciled::Ok));
    }
    match decision.next {
        Next::Stop(why) => context.sessions.stop(&key.uid, why),
        Next::Expire => {
            apply::delete(&context.client, catalog).await?;
            tracing::info!("its time to live is over: deleted");
        }
        _ => {}
    }
    if let Some(assignment) = decision.start {
        context.sessions.start(*assignment);
    }
    Ok((Action::requeue(decision.again), decision.outcome))
}

/// Whether a change is worth a write now. What a run is at changes with each turn; that is written now and then.
fn may_write(key: &Key, old: &CatalogStatus, new: &CatalogStatus, context: &Context) -> bool {
    if quiet(old) != quiet(new) {
        return true;
    }
    let written = context.written.lock().unwrap_or_else(PoisonError::into_inner);
    written.get(&key.uid).is_none_or(|at| at.elapsed() >= FOLLOW)
}

fn remember(key: &Key, context: &Context) {
    let mut written = context.written.lock().unwrap_or_else(PoisonError::into_inner);
    written.retain(|_, at| at.elapsed() < FOLLOW);
    written.insert(key.uid.clone(), Instant::now());
}

/// A status without what changes with each turn.
fn quiet(status: &CatalogStatus) -> CatalogStatus {
    let mut quiet = status.clone();
    if let Some(run) = quiet.run.as_mut().filter(|run| is_under_way(run)) {
        run.message = None;
        run.usage = None;
        run.iteration = 0;
        run.model = None;
    }
    for condition in &mut quiet.conditions {
        condition.message.clear();
    }
    quiet
}

/// When to look again after a failure to write.
#[expect(clippy::needless_pass_by_value, reason = "kube gives it so")]
fn after_error(object: Arc<DeserializeGuard<Catalog>>, error: &ApplyError, _context: Arc<Context>) -> Action {
    if let ApplyError::Api { .. } = error {
        warn!(catalog = object.name_any(), %error, "a Catalog could not be looked after");
    }
    Action::requeue(error.again())
}

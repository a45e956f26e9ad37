//! `ModelProvider`s: whether each can be used, what was spent of it, and the accounts of those who ask its models.
//!
//! One keeper for each provider, and one writer of its status. This must not know what is asked of a model, nor
//! which Catalogs there are; whoever does hears of [`Accounts::changes`].

mod books;
mod check;
#[cfg(test)]
mod fake;
mod keeper;
mod money;
mod object;
mod reason;
mod status;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::{Stream, unfold};
use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch as switch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tracing::warn;

use self::keeper::{Provider, Tools, keep};
use self::object::Object;
use self::watch::{News, watch};
use super::settings::Settings;
use crate::api::ModelProvider;
use crate::llm::account::{Account, Refused, Ticket, Unlimited, Worst};
use crate::llm::{Http, ModelError};
use crate::runtime::metrics::Metrics;
use crate::runtime::metrics::labels::Leave;

pub use money::unpriced;
pub use reason::Reason;

/// How long the last write of a status may take.
const LAST: Duration = Duration::from_secs(5);

/// Which provider pays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProviderKey {
    /// The operator's own, by its configuration. It has no limits.
    Default,
    /// A `ModelProvider`.
    Named {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl ProviderKey {
    /// Of a `ModelProvider`.
    pub fn named(namespace: &str, name: &str) -> Self {
        Self::Named {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn namespace(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Named { namespace, .. } => Some(namespace),
        }
    }
}

impl fmt::Display for ProviderKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("the operator's own provider"),
            Self::Named { namespace, name } => write!(formatter, "ModelProvider {namespace}/{name}"),
        }
    }
}

/// Whether a run may begin with a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Usable,
    /// Nobody knows yet, or just now.
    Unknown {
        /// Why not.
        message: String,
    },
    /// There is no such provider.
    Missing,
    /// No.
    NotReady {
        /// Why not, for machines.
        reason: Reason,
        /// Why not, and what to do.
        message: String,
    },
    /// Not before the budget opens again.
    Closed {
        /// When it does.
        until: Timestamp,
        /// Which budget.
        message: String,
    },
}

impl Verdict {
    /// What of it makes others look again.
    fn kind(&self) -> (u8, Option<Reason>) {
        match self {
            Self::Usable => (0, None),
            Self::Unknown { .. } => (1, None),
            Self::Missing => (2, None),
            Self::NotReady { reason, .. } => (3, Some(*reason)),
            Self::Closed { .. } => (4, None),
        }
    }
}

/// Whether Catalogs of a namespace may use a provider: its own, and those that it names.
pub fn may_use(provider: &ModelProvider, from: &str) -> bool {
    provider.metadata.namespace.as_deref() == Some(from)
        || provider
            .spec
            .allowed_namespaces
            .iter()
            .any(|allowed| allowed == "*" || allowed == from)
}

/// All providers, and their accounts. Cloning it is cheap, and shares them.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    tools: Arc<Tools>,
    namespaces: BTreeSet<String>,
    providers: Mutex<BTreeMap<ProviderKey, Kept>>,
    /// The namespaces whose providers may not be seen.
    refused: Mutex<BTreeSet<String>>,
    complete: switch::Sender<bool>,
    ears: Arc<Ears>,
}

struct Kept {
    provider: Arc<Provider>,
    keeper: AbortHandle,
}

/// Those who want to hear of changes.
#[derive(Default)]
struct Ears(Mutex<Vec<UnboundedSender<ProviderKey>>>);

impl Ears {
    fn tell(&self, key: &ProviderKey) {
        lock(&self.0).retain(|ear| ear.send(key.clone()).is_ok());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Accounts {
    /// Of no provider yet: see [`Accounts::run`].
    pub fn new(client: Client, settings: &Settings, metrics: Metrics) -> Result<Self, ModelError> {
        let timeouts = settings.model.providers.timeouts;
        let ears = Arc::new(Ears::default());
        let (allowed, tell) = (settings.allowed.base_urls.clone(), Arc::clone(&ears));
        let tools = Tools {
            client,
            http: Http::new(&timeouts)?,
            timeouts,
            allowed: Box::new(move |url| allowed.allow(url)),
            tell: Box::new(move |key| tell.tell(&key)),
            metrics,
        };
        let mut namespaces = settings.namespaces.clone();
        if let Some((namespace, _)) = &settings.model.provider
            && !namespaces.is_empty()
        {
            namespaces.insert(namespace.clone());
        }
        Ok(Self(Arc::new(Inner {
            tools: Arc::new(tools),
            namespaces,
            providers: Mutex::default(),
            refused: Mutex::default(),
            complete: switch::channel(false).0,
            ears,
        })))
    }

    /// Looks after all providers, for ever. Dropping it ends that at once, with nothing written any more; whoever
    /// ends in order calls [`Accounts::close`] afterwards.
    pub async fn run(&self) {
        let inner = &self.0;
        let mut keepers = JoinSet::new();
        watch(&inner.tools.client, &inner.namespaces, |news| match news {
            News::There(object) => {
                // Those that are gone have ended.
                while keepers.try_join_next().is_some() {}
                inner.there(*object, &mut keepers);
            }
            News::Gone(key) => inner.gone(&key),
            News::Refused(namespace) => {
                lock(&inner.refused).insert(namespace);
            }
            News::Told(namespace) => {
                lock(&inner.refused).remove(&namespace);
            }
            News::Complete => {
                inner
                    .complete
                    .send_if_modified(|complete| !std::mem::replace(complete, true));
            }
        })
        .await;
    }

    /// Waits until all providers that there are have been seen.
    pub async fn complete(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.complete.subscribe().wait_for(|complete| *complete).await;
    }

    /// Writes down what was spent, for whoever comes next. After it no request should be sent.
    pub async fn close(&self) {
        let providers: Vec<_> = lock(&self.0.providers)
            .values()
            .map(|kept| {
                kept.keeper.abort();
                Arc::clone(&kept.provider)
            })
            .collect();
        let last = |provider: Arc<Provider>| async move {
            match timeout(LAST, provider.status.tend(true)).await {
                Ok(Ok(_)) => {}
                Ok(Err(why)) => warn!(provider = %provider.key, %why, "what was spent can't be written"),
                Err(_) => warn!(provider = %provider.key, "what was spent could not be written in time"),
            }
        };
        join_all(providers.into_iter().map(last)).await;
    }

    /// The account that pays. It may be asked for before the provider is seen, and outlives it.
    pub fn account(&self, key: &ProviderKey) -> Arc<dyn Account> {
        match key {
            ProviderKey::Default => Arc::new(Unlimited),
            ProviderKey::Named { .. } => Arc::new(Payer {
                accounts: self.clone(),
                key: key.clone(),
            }),
        }
    }

    /// Whether a run may begin with it.
    pub fn verdict(&self, key: &ProviderKey) -> Verdict {
        if *key == ProviderKey::Default {
            return Verdict::Usable;
        }
        match self.find(key) {
            Some(provider) => provider.verdict(),
            None if self.is_refused(key) => Verdict::Unknown {
                message: "the operator may not see those of its namespace: is that there, and has the operator its \
                          role in it?"
                    .to_owned(),
            },
            None if *self.0.complete.borrow() => Verdict::Missing,
            None => Verdict::Unknown {
                message: "the providers have not been read yet".to_owned(),
            },
        }
    }

    /// What a provider says; nothing, if there is none, or if that can't be understood.
    pub fn get(&self, key: &ProviderKey) -> Option<Arc<ModelProvider>> {
        self.find(key)?.provider()
    }

    /// A run was told that the key of a provider is refused.
    fn key_refused(&self, key: &ProviderKey, message: &str) {
        if let Some(provider) = self.find(key) {
            provider.refused(message.to_owned());
            self.0.ears.tell(key);
        }
    }

    /// Those that came, went, changed, or can be used now and could not before, or the other way round.
    pub fn changes(&self) -> impl Stream<Item = ProviderKey> + Send + use<> {
        let (ear, heard) = unbounded_channel();
        lock(&self.0.ears.0).push(ear);
        unfold(heard, async |mut heard| {
            let key = heard.recv().await?;
            Some((key, heard))
        })
    }

    fn is_refused(&self, key: &ProviderKey) -> bool {
        match key {
            ProviderKey::Default => false,
            ProviderKey::Named { namespace, .. } => lock(&self.0.refused).contains(namespace),
        }
    }

    fn find(&self, key: &ProviderKey) -> Option<Arc<Provider>> {
        lock(&self.0.providers)
            .get(key)
            .map(|kept| Arc::clone(&kept.provider))
    }
}

impl Inner {
    fn there(&self, object: Object, keepers: &mut JoinSet<()>) {
        let key = ProviderKey::named(&object.namespace, &object.name);
        let known = lock(&self.providers)
            .get(&key)
            .map(|kept| Arc::clone(&kept.provider));
        match known {
            Some(known) if known.status.uid() == object.uid => {
                if known.update(object) {
                    self.ears.tell(&key);
                }
                return;
            }
            // One of the same name: nothing of the old one holds for it.
            Some(_) => self.gone(&key),
            None => {}
        }
        let provider = Arc::new(Provider::new(&self.tools.client, object));
        let keeper = keepers.spawn(keep(Arc::clone(&provider), Arc::clone(&self.tools)));
        lock(&self.providers).insert(key, Kept { provider, keeper });
    }

    fn gone(&self, key: &ProviderKey) {
        if let Some(kept) = lock(&self.providers).remove(key) {
            kept.keeper.abort();
            kept.provider.desk.close();
        }
        self.ears.tell(key);
    }
}

/// Pays by whatever provider has this name.
struct Payer {
    accounts: Accounts,
    key: ProviderKey,
}

#[async_trait]
impl Account for Payer {
    async fn admit(
        &self,
        worst: &Worst,
        deadline: Option<Instant>,
        waits: &mut (dyn FnMut(String) + Send),
    ) -> Result<Ticket, Refused> {
        let metrics = &self.accounts.0.tools.metrics;
        let Some(provider) = self.accounts.find(&self.key) else {
            metrics.leave_asked(Leave::Refused);
            return Err(Refused::Gone {
                message: format!("{} is not there: create it, or name another one", self.key),
            });
        };
        let mut waited = false;
        let answer = {
            let mut waits = |what| {
                waited = true;
                waits(what);
            };
            provider.desk.admit(worst, deadline, &mut waits).await
        };
        metrics.leave_asked(match &answer {
            Ok(_) if waited => Leave::Waited,
            Ok(_) => Leave::Given,
            Err(Refused::UsedUp { .. }) => Leave::UsedUp,
            Err(_) => Leave::Refused,
        });
        answer
    }

    fn key_refused(&self, message: &str) {
        self.accounts.key_refused(&self.key, message);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn other_namespaces_need_leave() {
        let provider = |allowed| -> ModelProvider {
            serde_json::from_value(json!({
                "apiVersion": "cataloger.dev/v1alpha1", "kind": "ModelProvider",
                "metadata": {"name": "claude", "namespace": "models"},
                "spec": {"builtin": {}, "allowedNamespaces": allowed},
            }))
            .unwrap()
        };
        for (allowed, from, may) in [
            (json!([]), "models", true),
            (json!([]), "sales", false),
            (json!(["sales"]), "sales", true),
            (json!(["sales"]), "sales-2", false),
            (json!(["sales", "*"]), "else", true),
            (json!(["*"]), "models", true),
        ] {
            assert_eq!(may_use(&provider(allowed.clone()), from), may, "{allowed} {from}");
        }
    }
}

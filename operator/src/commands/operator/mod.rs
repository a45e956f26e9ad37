//! `cataloger operator`: looks after the Catalogs of a cluster, as long as it leads.
//!
//! Wiring: what is made here is used elsewhere. The first signal hands all runs over, the second ends the process.

pub mod arguments;

use std::sync::Arc;

use kube::{Client, Config};
use secrecy::SecretString;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::arguments::{ConfigurationError, OperatorArguments};
use super::exit;
use crate::agent::prompts::PromptError;
use crate::controllers::announce::{Announcement, Announcer};
use crate::controllers::catalog::{self, Context};
use crate::controllers::installation::{self, InstallationError};
use crate::controllers::provider::Accounts;
use crate::controllers::schedule;
use crate::controllers::settings::Settings;
use crate::llm::{Http, ModelError};
use crate::logs;
use crate::redact::Redactor;
use crate::runtime::api_calls;
use crate::runtime::fence::Fence;
use crate::runtime::health::Health;
use crate::runtime::http::{self, HttpError};
use crate::runtime::lease::{self, LeaseError, LeaseOptions};
use crate::runtime::metrics::Metrics;
use crate::runtime::prompts::{self, Mounted};
use crate::sessions::{OwnStore, Sessions};
use crate::store::{S3Store, StoreError};

/// Why the operator can't go on.
#[derive(Debug, Error)]
enum OperatorError {
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error(transparent)]
    Prompts(#[from] PromptError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the operator's bucket can't be opened: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error("the cluster can't be reached: {0}; run it in a Pod, or set KUBECONFIG")]
    Cluster(String),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Installation(#[from] InstallationError),
    #[error("the lease was lost: another replica may lead now; this one starts anew")]
    Lost,
    #[error("signals can't be heard: {0}")]
    Signals(#[from] std::io::Error),
}

impl OperatorError {
    fn code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Prompts(_) | Self::Http(_) | Self::Model(_) => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}

/// Runs the subcommand; its exit code.
pub async fn run(arguments: OperatorArguments) -> u8 {
    match Box::pin(operate(arguments)).await {
        Ok(()) => exit::DONE,
        Err(error) => {
            error!(%error, "the operator ends");
            eprintln!("cataloger: {}", logs::redact(&error.to_string()));
            error.code()
        }
    }
}

async fn operate(arguments: OperatorArguments) -> Result<(), OperatorError> {
    let variable = |name: &str| std::env::var(name).ok();
    let settings = arguments.settings(variable)?;
    let secrets = secrets(&settings);
    logs::hide(redactor(&secrets));
    let stop = heed_signals()?;
    let metrics = Metrics::new();
    let health = Health::default();
    let fence = Fence::default();
    let (client, leases) = connect(&metrics, &fence).await?;
    let identity = identity(&arguments);
    let announcer = Announcer::new(client.clone(), identity.clone());
    let mounted = match &arguments.prompts {
        None => Mounted::built_in()?,
        Some(directory) => {
            let (announcer, pod) = (announcer.clone(), this_pod(&settings, &identity));
            let tell = move |error: &PromptError| {
                announcer.tell(
                    pod.clone(),
                    Announcement {
                        warning: true,
                        reason: "PromptsInvalid".to_owned(),
                        action: "Reload".to_owned(),
                        message: format!("the prompts stay as they were: {error}"),
                    },
                );
            };
            Mounted::watch(directory.clone(), prompts::EVERY, metrics.clone(), tell).await?
        }
    };
    let store = match &settings.bucket {
        Some(own) => Some(OwnStore {
            store: Arc::new(S3Store::open(own.options.clone()).await?),
            proven: Arc::default(),
        }),
        None => None,
    };
    let models = Http::new(&settings.model.providers.timeouts)?;
    let listener = http::bind(arguments.listen).await?;
    let served = tokio::spawn(http::serve(
        listener,
        health.clone(),
        metrics.clone(),
        stop.ended.clone(),
    ));
    info!(
        version = env!("CARGO_PKG_VERSION"),
        identity, "the operator is there; it waits for the lease"
    );
    let led = Box::pin(lead(
        Parts {
            arguments,
            settings,
            secrets,
            metrics,
            health,
            client,
            leases,
            fence,
            announcer,
            identity,
            mounted,
            store,
            models,
        },
        &stop.asked,
    ))
    .await;
    stop.ended.cancel();
    if served.await.is_err() {
        warn!("the server of metrics ended in a panic");
    }
    led
}

struct Parts {
    arguments: OperatorArguments,
    settings: Settings,
    secrets: Vec<SecretString>,
    metrics: Metrics,
    health: Health,
    client: Client,
    leases: Client,
    fence: Fence,
    announcer: Announcer,
    identity: String,
    mounted: Mounted,
    store: Option<OwnStore>,
    models: Http,
}

/// Waits for the lease, and does the work as long as it is held.
async fn lead(parts: Parts, stop: &CancellationToken) -> Result<(), OperatorError> {
    let options = LeaseOptions::new(
        &parts.settings.home,
        &parts.settings.installation,
        &parts.identity,
    )
    .lasting(parts.arguments.lease_duration());
    let reached = parts.health.condition("the API server");
    let answered = || reached.set(true);
    let Some(leadership) = lease::acquire(parts.leases, &options, stop, &answered).await? else {
        return Ok(());
    };
    parts.fence.guard(leadership.holding());
    let epoch = leadership.epoch();
    info!(epoch, "this replica leads");
    parts.metrics.leads(true);
    let name = format!("{}-installation", parts.settings.installation);
    let installation = installation::secret(&parts.client, &parts.settings.home, &name).await?;
    let (sessions, looks) = Sessions::new(parts.settings.most_runs, parts.metrics.clone());
    let accounts = Accounts::new(parts.client.clone(), &parts.settings, parts.metrics.clone())?;
    let grace = parts.settings.grace;
    let schedules = Arc::new(schedule::Context::new(
        parts.client.clone(),
        parts.settings.clone(),
        leadership.holding(),
        parts.announcer.clone(),
        parts.metrics.clone(),
    ));
    let context = Arc::new(Context {
        client: parts.client,
        settings: parts.settings,
        sessions: sessions.clone(),
        accounts: accounts.clone(),
        prompts: parts.mounted.changes(),
        http: parts.models,
        store: parts.store,
        secrets: parts.secrets,
        installation,
        epoch,
        holding: leadership.holding(),
        fence: parts.fence,
        announcer: parts.announcer.clone(),
        metrics: parts.metrics.clone(),
        written: std::sync::Mutex::default(),
    });
    let work = async {
        let catalogs = catalog::run(context, looks, &parts.health);
        tokio::join!(accounts.run(), catalogs, schedule::run(schedules, &parts.health));
    };
    let lost = leadership.lost();
    let ended = tokio::select! {
        () = work => Err(OperatorError::Cluster("the watches have ended".to_owned())),
        () = lost.cancelled() => Err(OperatorError::Lost),
        () = stop.cancelled() => {
            info!("stopping: runs are handed over");
            sessions.hand_over(grace).await;
            accounts.close().await;
            Ok(())
        }
    };
    parts.metrics.leads(false);
    if ended.is_ok() {
        // The next one need not wait.
        if let Err(error) = leadership.release().await {
            warn!(%error, "the lease could not be given back; it runs out by itself");
        }
    }
    ended
}

/// A client for all that is done while this replica leads, and one for the lease.
async fn connect(metrics: &Metrics, fence: &Fence) -> Result<(Client, Client), OperatorError> {
    let wrong = |error: &dyn std::fmt::Display| OperatorError::Cluster(error.to_string());
    let config = Config::infer().await.map_err(|error| wrong(&error))?;
    let client = api_calls::fenced(config.clone(), metrics, fence).map_err(|error| wrong(&error))?;
    let leases = api_calls::client(config, metrics).map_err(|error| wrong(&error))?;
    Ok((client, leases))
}

fn identity(arguments: &OperatorArguments) -> String {
    arguments.identity.clone().unwrap_or_else(|| {
        let system = rustix::system::uname();
        // Two on one host are two.
        format!(
            "{}-{:08x}",
            system.nodename().to_string_lossy(),
            rand::random::<u32>()
        )
    })
}

fn this_pod(settings: &Settings, identity: &str) -> k8s_openapi::api::core::v1::ObjectReference {
    k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(identity.to_owned()),
        namespace: Some(settings.home.clone()),
        ..Default::default()
    }
}

/// All that must not be shown of the operator's own.
fn secrets(settings: &Settings) -> Vec<SecretString> {
    let providers = &settings.model.providers;
    let bucket = settings
        .bucket
        .as_ref()
        .and_then(|own| own.options.credentials.clone());
    [
        providers.anthropic.api_key.clone(),
        providers.openai.api_key.clone(),
        bucket.as_ref().map(|keys| keys.secret_access_key.clone()),
        bucket.and_then(|keys| keys.session_token),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn redactor(secrets: &[SecretString]) -> Redactor {
    secrets
        .iter()
        .fold(Redactor::builder(), |builder, secret| {
            builder.secret("a key of the operator", secret)
        })
        .build()
}

struct Stop {
    /// It was asked to stop.
    asked: CancellationToken,
    /// All is over.
    ended: CancellationToken,
}

/// The first signal asks to stop, the second ends the process.
fn heed_signals() -> std::io::Result<Stop> {
    let (mut interrupts, mut terminations) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = Stop {
        asked: CancellationToken::new(),
        ended: CancellationToken::new(),
    };
    let asked = stop.asked.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if asked.is_cancelled() {
                std::process::exit(exit::INTERRUPTED.into());
            }
            asked.cancel();
        }
    });
    Ok(stop)
}

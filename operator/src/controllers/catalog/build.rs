//! The assignment of a session, out of a valid Catalog and the secrets that it needs, which are read here and nowhere
//! else.
//!
//! Must not know whether a run is due.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tracing::warn;

use super::Context;
use super::conditions::Problem;
use super::reason::Reason;
use super::sandboxes::PodSandboxes;
use super::validate::{Bucket, Valid};
use crate::api::Catalog;
use crate::api::catalog::RunStatus;
use crate::controllers::secrets::{self, SecretError};
use crate::llm::account::Accounted;
use crate::llm::prices::Prices;
use crate::models;
use crate::redact::Redactor;
use crate::run::{Claimant, Database, Plan, Sandboxes, Subject};
use crate::runtime::fence::FencedModel;
use crate::sandbox::pod::{self, manifest::Owner};
use crate::sessions::{Assignment, CleanUp, Key, StoreAt, Tell};
use crate::store::Layout;
use crate::store::s3::S3Credentials;

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        let reason = match &error {
            SecretError::Missing { .. } => Reason::SecretMissing,
            SecretError::NoKey { .. } => Reason::SecretKeyMissing,
            SecretError::Unusable { .. } => Reason::SecretUnusable,
            SecretError::Forbidden { .. } => Reason::SecretForbidden,
            SecretError::Unavailable { .. } => Reason::ClusterUnavailable,
        };
        Self {
            reason,
            message: error.to_string(),
            // Whoever mends a Secret does not touch the Catalog.
            passes: true,
        }
    }
}

/// What a run is for, for people and for whoever comes after it.
pub(super) struct Due<'a> {
    /// As the status has it.
    pub run: &'a RunStatus,
    /// Whether a good run that is there may stand for it.
    pub adopt: bool,
}

/// All that a run's session needs.
pub(super) async fn assignment(
    context: &Context,
    catalog: &Catalog,
    key: &Key,
    valid: &Valid,
    due: Due<'_>,
) -> Result<Assignment, Problem> {
    let spec = &catalog.spec;
    let client = &context.client;
    let settings = &context.settings;
    let reference = &spec.database.secret_ref;
    let url = secrets::get(
        client,
        &key.namespace,
        &reference.name,
        "spec.database.secretRef",
        &reference.key,
    )
    .await?;
    let database = Database::new(&url).map_err(|error| Problem {
        reason: Reason::DatabaseUrlInvalid,
        message: format!(
            "the key {} of the Secret {}/{}: {error}",
            reference.key, key.namespace, reference.name
        ),
        passes: true,
    })?;
    let (store, bucket_keys) = store(context, key, valid).await?;
    let (model, prices, model_key) = model(context, valid, spec).await?;
    let words = spec.tables.iter().flat_map(|table| table.split('.'));
    let mut redactor = Redactor::builder().database_url(&url).words(words);
    for secret in bucket_keys {
        redactor = redactor.secret("the bucket's key", &secret);
    }
    for secret in model_key.into_iter().chain(context.secrets.iter().cloned()) {
        redactor = redactor.secret("a key of the operator", &secret);
    }
    let redactor = redactor.build();
    let sandboxes = sandboxes(context, key, valid, &database);
    let subject = Subject {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        fingerprint: valid.wanted.fingerprint.clone(),
        requested_at: due.run.requested_at.clone(),
    };
    let plan = Plan {
        database,
        tables: spec.tables.clone(),
        allow_writable: spec.database.allow_writable,
        intent: spec.intent.clone(),
        model: valid.models.model.clone(),
        fallbacks: valid.models.fallbacks.clone(),
        limits: valid.limits,
        cell: valid.cell,
        claimant: Claimant {
            installation: settings.installation.clone(),
            catalog: Some(key.uid.clone()),
            order: Some(order(&key.uid, due.run)),
            subject: Some(subject),
        },
        manifest: manifest(catalog),
    };
    Ok(Assignment {
        key: key.clone(),
        plan,
        store,
        layout: Layout::new(valid.prefix.clone()),
        model,
        sandboxes: Box::new(sandboxes),
        clean_up: clean_up(context, key, valid),
        prompts: valid.prompts.clone(),
        prices,
        redactor,
        run: due.run.id.as_deref().and_then(|id| id.parse().ok()),
        adopt: due.adopt,
        keep: spec.retention.as_ref().and_then(|retention| retention.runs),
        metrics: context.metrics.clone(),
        fence: context.fence.clone(),
    })
}

/// What bought a run: the same order is never begun twice.
fn order(uid: &str, run: &RunStatus) -> String {
    let mut hash = Sha256::new();
    for part in [Some(uid), run.fingerprint.as_deref(), run.requested_at.as_deref()] {
        hash.update(part.unwrap_or_default());
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

/// What the user wrote: without the status, and what the API server and others have added.
fn manifest(catalog: &Catalog) -> Value {
    let mut plain = catalog.clone();
    plain.status = None;
    let metadata = std::mem::take(&mut plain.metadata);
    plain.metadata.name = metadata.name;
    plain.metadata.namespace = metadata.namespace;
    serde_json::to_value(&plain).unwrap_or_default()
}

async fn store(context: &Context, key: &Key, valid: &Valid) -> Result<(StoreAt, Vec<SecretString>), Problem> {
    let (options, secret) = match &valid.bucket {
        Bucket::Own => {
            let own = context.store.as_ref().ok_or_else(|| Problem {
                reason: Reason::NotConfigured,
                message: "the operator has no bucket of its own".to_owned(),
                passes: false,
            })?;
            return Ok((StoreAt::Own(own.clone()), Vec::new()));
        }
        Bucket::Theirs { options, secret } => (options, secret),
    };
    let asker = "spec.storage.s3.credentialsSecretRef";
    let read = secrets::read(
        &context.client,
        &key.namespace,
        secret,
        asker,
        "AWS_ACCESS_KEY_ID",
    )
    .await?;
    let id = read.value("AWS_ACCESS_KEY_ID")?;
    let secret_access_key = read.value("AWS_SECRET_ACCESS_KEY")?;
    let session_token = read.optional("AWS_SESSION_TOKEN")?;
    let hidden = std::iter::once(secret_access_key.clone())
        .chain(session_token.clone())
        .collect();
    let mut options = options.clone();
    options.credentials = Some(S3Credentials {
        access_key_id: id.expose_secret().to_owned(),
        secret_access_key,
        session_token,
    });
    Ok((StoreAt::Theirs(options), hidden))
}

async fn model(
    context: &Context,
    valid: &Valid,
    spec: &crate::api::CatalogSpec,
) -> Result<(Arc<dyn crate::llm::Model>, Prices, Option<SecretString>), Problem> {
    let refused = |error: &dyn std::fmt::Display| Problem {
        reason: Reason::NotConfigured,
        message: error.to_string(),
        passes: false,
    };
    let mut prices = Prices::bundled().clone();
    prices.override_with(&valid.models.prices);
    let Some(provider) = &valid.provider else {
        let models = &valid.models;
        let chain = models
            .providers
            .chain_of(&context.http, &models.model, &models.fallbacks, |model| {
                Arc::new(FencedModel::new(model, context.fence.clone()))
            })
            .map_err(|error| refused(&error))?;
        return Ok((Arc::new(chain), prices, None));
    };
    let Some(resource) = context.accounts.get(provider) else {
        return Err(Problem {
            reason: Reason::ProviderMissing,
            message: format!("the {provider} is gone: create it, or name another one"),
            passes: true,
        });
    };
    let api_key = match models::key_ref(&resource.spec) {
        None => None,
        Some(reference) => Some(
            secrets::get(
                &context.client,
                resource.metadata.namespace.as_deref().unwrap_or_default(),
                &reference.name,
                &format!("{} of the {provider}", models::key_field(&resource.spec)),
                &reference.key,
            )
            .await?,
        ),
    };
    let usual = models::Usual {
        model: context.settings.model.model.as_ref(),
        fallbacks: &context.settings.model.fallbacks,
    };
    let with_key = Some((&resource.spec, api_key.clone()));
    let models = models::resolve(
        spec.model.as_ref(),
        with_key,
        usual,
        &context.settings.model.providers,
    )
    .map_err(|error| refused(&error))?;
    let account = context.accounts.account(provider);
    let shared = Arc::new(prices.clone());
    let chain = models
        .providers
        .chain_of(&context.http, &models.model, &models.fallbacks, |model| {
            // Within the account: leave may be waited for.
            let model = Arc::new(FencedModel::new(model, context.fence.clone()));
            Arc::new(Accounted::new(model, Arc::clone(&account), Arc::clone(&shared)))
        })
        .map_err(|error| refused(&error))?;
    Ok((Arc::new(chain), prices, api_key))
}

/// Where the sandboxes of a Catalog are.
fn namespace(context: &Context, key: &Key, valid: &Valid) -> String {
    if valid.at_home {
        key.namespace.clone()
    } else {
        context.settings.sandboxes.clone()
    }
}

fn clean_up(context: &Context, key: &Key, valid: &Valid) -> CleanUp {
    let (client, uid) = (context.client.clone(), key.uid.clone());
    let namespace = namespace(context, key, valid);
    let installation = context.settings.installation.clone();
    Box::new(move |run| {
        Box::pin(async move {
            let run = run.to_string();
            let lives = |of: &str, named: &str| of != uid || named != run;
            let patience = pod::Patience::default();
            if let Err(error) = pod::sweep(&client, &namespace, &installation, &patience, lives).await {
                warn!(run, %error, "what is left of a sandbox is removed later");
            }
        })
    })
}

fn sandboxes(
    context: &Context,
    key: &Key,
    valid: &Valid,
    database: &Database,
) -> impl FnOnce(Tell) -> Arc<dyn Sandboxes> + Send + 'static {
    let settings = &context.settings;
    let client = context.client.clone();
    let namespace = namespace(context, key, valid);
    let owner = Owner {
        installation: settings.installation.clone(),
        namespace: key.namespace.clone(),
        catalog: key.name.clone(),
        uid: key.uid.clone(),
        run: String::new(),
    };
    let (secret, epoch) = (context.installation.clone(), context.epoch);
    let (shape, egress, domain) = (valid.shape.clone(), valid.egress.clone(), settings.domain.clone());
    let database = database.endpoints();
    move |tell| {
        Arc::new(PodSandboxes {
            client,
            namespace,
            owner,
            secret,
            epoch,
            shape,
            egress,
            database,
            domain,
            tell,
        })
    }
}

//! Whether what a Catalog asks for can be, and may be: a pure function of it, what it refers to and the operator's
//! configuration.
//!
//! Tenants are kept apart here: what nobody has allowed is refused. Must not know a client.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::conditions::Problem;
use super::dereference::Found;
use super::due::Wanted;
use super::reason::Reason;
use crate::agent::budget::Limits;
use crate::agent::prompts::Prompts;
use crate::api::catalog::{Catalog, SandboxOptions, Volume};
use crate::api::validate::validate as rules;
use crate::api::{CatalogSpec, REQUESTED_AT};
use crate::controllers::provider::{ProviderKey, may_use};
use crate::controllers::settings::Settings;
use crate::llm::Providers;
use crate::models::{self, Models, Usual};
use crate::run::CellLimits;
use crate::sandbox::pod::manifest::{Shape, Volume as Mounted, VolumeSource};
use crate::sandbox::pod::policy::{Destination, Peer, Port};
use crate::store::{Prefix, S3Options};

/// Where the pages go.
#[derive(Debug, Clone)]
pub(super) enum Bucket {
    /// The operator's own.
    Own,
    /// One that the Catalog brings the keys of: this Secret has them.
    Theirs {
        /// Without keys.
        options: Box<S3Options>,
        /// The Secret's name.
        secret: String,
    },
}

/// A Catalog that can be run.
#[derive(Debug, Clone)]
pub(super) struct Valid {
    /// What decides when.
    pub wanted: Wanted,
    /// Where the pages go.
    pub bucket: Bucket,
    /// What all keys begin with there.
    pub prefix: Prefix,
    /// Which models write, without the key of their provider.
    pub models: Models,
    /// The provider, if it is a resource.
    pub provider: Option<ProviderKey>,
    /// What agents are told.
    pub prompts: Prompts,
    /// What the run may use.
    pub limits: Limits,
    /// Bounds of each piece of code.
    pub cell: CellLimits,
    /// What the sandbox may use.
    pub shape: Shape,
    /// Whether the sandbox has to be in the Catalog's namespace.
    pub at_home: bool,
    /// What the sandbox may reach besides the database.
    pub egress: Vec<Destination>,
}

fn refuse(reason: Reason, message: impl Into<String>) -> Problem {
    Problem {
        reason,
        message: message.into(),
        passes: false,
    }
}

/// What nobody has allowed.
fn forbid(field: &str, value: &str, flag: &str) -> Problem {
    refuse(
        Reason::NotAllowed,
        format!(
            "{field} {value:?} is not allowed by the operator's configuration: leave it out, or have who runs the operator allow it by {flag}"
        ),
    )
}

/// How long a Catalog lives after its run.
pub(super) fn ttl(spec: &CatalogSpec) -> Option<Duration> {
    spec.ttl_seconds_after_finished
        .map(|seconds| Duration::from_secs(seconds.into()))
}

/// Checks a Catalog.
pub(super) fn validate(
    catalog: &Catalog,
    found: &Found,
    settings: &Settings,
    prompts: &Prompts,
) -> Result<Valid, Problem> {
    let spec = &catalog.spec;
    // Also what an API server without our rules has let through.
    if let Some(violation) = rules(spec).first() {
        let message = format!("{}: {}", violation.path, violation.message);
        return Err(refuse(Reason::Invalid, message));
    }
    let namespace = catalog.metadata.namespace.as_deref().unwrap_or_default();
    let prompts = own_prompts(spec, found, prompts)?;
    let models = chosen(spec, found, settings, namespace)?;
    let (bucket, prefix) = place(spec, settings, namespace)?;
    let shape = shape(spec, settings)?;
    let egress = egress(spec, settings)?;
    let at_home = shape
        .volumes
        .iter()
        .any(|volume| matches!(volume.source, VolumeSource::Claim(_)));
    let limits = limits(spec)?;
    let wanted = Wanted {
        fingerprint: fingerprint(spec, &bucket, &prefix, settings, &models, &prompts),
        settings: hash(&json!({
            "limits": spec.limits, "sandbox": spec.sandbox, "backoffLimit": spec.backoff_limit,
        })),
        requested_at: catalog
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(REQUESTED_AT))
            .filter(|value| !value.is_empty())
            .cloned(),
        suspend: spec.suspend,
        timeout: limits.time,
        ttl: ttl(spec),
    };
    Ok(Valid {
        wanted,
        bucket,
        prefix,
        models,
        provider: found.provider.as_ref().map(|(key, _)| key.clone()),
        prompts,
        limits,
        cell: CellLimits {
            timeout: spec.limits.execute_timeout.into(),
            max_rows: spec.limits.max_rows,
        },
        shape,
        at_home,
        egress,
    })
}

fn own_prompts(spec: &CatalogSpec, found: &Found, usual: &Prompts) -> Result<Prompts, Problem> {
    let (Some(choice), Some(texts)) = (&spec.prompts, &found.prompts) else {
        return Ok(usual.clone());
    };
    let name = &choice.config_map_ref.name;
    let texts = texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    Prompts::of_texts(texts, &format!("ConfigMap {name}"), usual).map_err(|error| Problem {
        reason: Reason::PromptsInvalid,
        message: error.to_string(),
        // The ConfigMap may be mended, and nobody tells of that.
        passes: true,
    })
}

fn chosen(
    spec: &CatalogSpec,
    found: &Found,
    settings: &Settings,
    namespace: &str,
) -> Result<Models, Problem> {
    let provider = found.provider.as_ref();
    if let Some((key, provider)) = provider {
        // The operator's default is for everybody: who configured it has said so.
        let named = spec
            .model
            .as_ref()
            .is_some_and(|model| model.provider_ref.is_some());
        if named && !may_use(provider, namespace) {
            return Err(refuse(
                Reason::NotAllowed,
                format!(
                    "the {key} does not allow Catalogs of the namespace {namespace}: have its owner add {namespace} to its spec.allowedNamespaces"
                ),
            ));
        }
    }
    let usual = Usual {
        model: settings.model.model.as_ref(),
        fallbacks: &settings.model.fallbacks,
    };
    let provider = provider.map(|(_, provider)| (&provider.spec, None));
    models::resolve(spec.model.as_ref(), provider, usual, &settings.model.providers)
        .map_err(|error| refuse(Reason::NotConfigured, error.to_string()))
}

fn place(spec: &CatalogSpec, settings: &Settings, namespace: &str) -> Result<(Bucket, Prefix), Problem> {
    let s3 = &spec.storage.s3;
    let prefix_of = |parts: &[&str]| {
        let joined: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
        joined
            .join("/")
            .parse::<Prefix>()
            .map_err(|error| refuse(Reason::Invalid, format!("spec.storage.s3.prefix: {error}")))
    };
    if let Some(credentials) = &s3.credentials_secret_ref {
        let bucket = s3.bucket.as_deref().ok_or_else(|| {
            refuse(
                Reason::Invalid,
                "spec.storage.s3.credentialsSecretRef opens a bucket of yours: name it by spec.storage.s3.bucket",
            )
        })?;
        if let Some(endpoint) = &s3.endpoint
            && !settings.allowed.endpoints.allow(endpoint)
        {
            return Err(forbid("spec.storage.s3.endpoint", endpoint, "--allow-endpoint"));
        }
        // Of another server than AWS's a region is but a word.
        let usual = settings.bucket.as_ref().map(|own| &own.options);
        let usual = usual.filter(|own| own.endpoint.is_none() && s3.endpoint.is_none());
        let options = S3Options {
            region: s3.region.clone().or_else(|| usual?.region.clone()),
            endpoint: s3.endpoint.clone(),
            path_style: s3.force_path_style,
            ..S3Options::new(bucket)
        };
        let bucket = Bucket::Theirs {
            options: Box::new(options),
            secret: credentials.name.clone(),
        };
        return Ok((bucket, prefix_of(&[&s3.prefix])?));
    }
    let own = settings.bucket.as_ref().ok_or_else(|| {
        refuse(
            Reason::NotConfigured,
            "the operator has no bucket of its own: name yours by spec.storage.s3.bucket, and its keys by spec.storage.s3.credentialsSecretRef",
        )
    })?;
    // The operator's keys open nothing but the operator's bucket.
    let differs = |field: &str, theirs: Option<&String>, ours: Option<&str>| match theirs {
        Some(theirs) if ours != Some(theirs) => Err(refuse(
            Reason::NotAllowed,
            format!(
                "spec.storage.s3.{field} {theirs:?} is not the operator's own: leave it out, or give the keys of yours by spec.storage.s3.credentialsSecretRef"
            ),
        )),
        _ => Ok(()),
    };
    differs("bucket", s3.bucket.as_ref(), Some(&own.options.bucket))?;
    differs("endpoint", s3.endpoint.as_ref(), own.options.endpoint.as_deref())?;
    differs("region", s3.region.as_ref(), own.options.region.as_deref())?;
    Ok((
        Bucket::Own,
        prefix_of(&[own.prefix.as_str(), namespace, &s3.prefix])?,
    ))
}

fn limits(spec: &CatalogSpec) -> Result<Limits, Problem> {
    let limits = &spec.limits;
    let cost = limits.max_cost.map(|dollars| dollars.to_string().parse());
    Ok(Limits {
        tokens: limits.max_tokens,
        cost: cost
            .transpose()
            .map_err(|error| refuse(Reason::Invalid, format!("spec.limits.maxCost: {error}")))?,
        turns: limits.max_iterations,
        time: limits.timeout.into(),
    })
}

fn shape(spec: &CatalogSpec, settings: &Settings) -> Result<Shape, Problem> {
    let mut shape = settings.shape.clone();
    // What a run may take, and some time to begin and to end: nobody else may be left to end it.
    let timeout: Duration = spec.limits.timeout.into();
    shape.deadline = timeout + Duration::from_mins(30);
    let Some(sandbox) = &spec.sandbox else {
        return Ok(shape);
    };
    let allowed = &settings.allowed;
    if let Some(image) = &sandbox.image {
        if !allowed.images.allow(image) {
            return Err(forbid("spec.sandbox.image", image, "--allow-image"));
        }
        shape.image.clone_from(image);
    }
    if let Some(class) = &sandbox.runtime_class_name {
        if !allowed.runtime_classes.allow(class) {
            return Err(forbid(
                "spec.sandbox.runtimeClassName",
                class,
                "--allow-runtime-class",
            ));
        }
        shape.runtime_class = Some(class.clone());
    }
    for (name, value) in &sandbox.node_selector {
        let label = format!("{name}={value}");
        if !allowed.node_selectors.allow(&label) {
            return Err(forbid(
                "spec.sandbox.nodeSelector",
                &label,
                "--allow-node-selector",
            ));
        }
    }
    shape.node_selector.extend(sandbox.node_selector.clone());
    for toleration in &sandbox.tolerations {
        // Without a key it tolerates all.
        let key = toleration.key.as_deref().unwrap_or("*");
        if !allowed.tolerations.allow(key) {
            return Err(forbid("spec.sandbox.tolerations", key, "--allow-toleration"));
        }
    }
    shape.tolerations.extend(sandbox.tolerations.iter().cloned());
    if let Some(resources) = &sandbox.resources {
        let merge = |ours: &mut Option<_>, theirs: &Option<std::collections::BTreeMap<_, _>>| {
            ours.get_or_insert_with(std::collections::BTreeMap::new).extend(
                theirs
                    .iter()
                    .flatten()
                    .map(|(name, amount): (&String, &_)| (name.clone(), Clone::clone(amount))),
            );
        };
        merge(&mut shape.resources.requests, &resources.requests);
        merge(&mut shape.resources.limits, &resources.limits);
    }
    shape.volumes = sandbox
        .volumes
        .iter()
        .map(|volume| mounted(volume, sandbox))
        .collect();
    Ok(shape)
}

fn mounted(volume: &Volume, sandbox: &SandboxOptions) -> Mounted {
    let source = match (&volume.persistent_volume_claim, &volume.empty_dir) {
        (Some(claim), _) => VolumeSource::Claim(claim.claim_name.clone()),
        (None, Some(empty)) => VolumeSource::Empty(empty.size_limit.clone()),
        // The rules say that it is one of both.
        (None, None) => VolumeSource::Empty(k8s_openapi::apimachinery::pkg::api::resource::Quantity(
            "1Mi".into(),
        )),
    };
    Mounted {
        name: volume.name.clone(),
        source,
        mounts: sandbox
            .volume_mounts
            .iter()
            .filter(|mount| mount.name == volume.name)
            .map(|mount| (mount.mount_path.clone(), mount.sub_path.clone()))
            .collect(),
    }
}

fn egress(spec: &CatalogSpec, settings: &Settings) -> Result<Vec<Destination>, Problem> {
    let mut destinations = Vec::new();
    for egress in spec.sandbox.iter().flat_map(|sandbox| &sandbox.egress) {
        let network: IpNet = egress
            .cidr
            .parse()
            .or_else(|_| egress.cidr.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| {
                refuse(
                    Reason::Invalid,
                    format!(
                        "spec.sandbox.egress: {:?} is no network: write it as 10.1.0.0/16",
                        egress.cidr
                    ),
                )
            })?;
        if !settings.allowed.egress(&network) {
            return Err(forbid("spec.sandbox.egress", &egress.cidr, "--allow-egress"));
        }
        destinations.push(Destination {
            peer: Peer::Blocks(vec![network.trunc().to_string()]),
            port: Port::Number(egress.port),
        });
    }
    Ok(destinations)
}

/// A hash of all that can change the result. No secret is read for it, so a key that is renewed buys no run.
fn fingerprint(
    spec: &CatalogSpec,
    bucket: &Bucket,
    prefix: &Prefix,
    settings: &Settings,
    models: &Models,
    prompts: &Prompts,
) -> String {
    let mut tables = spec.tables.clone();
    tables.sort();
    let options = match bucket {
        Bucket::Own => settings.bucket.as_ref().map(|own| &own.options),
        Bucket::Theirs { options, .. } => Some(&**options),
    };
    hash(&json!({
        "version": 1,
        "database": spec.database,
        "tables": tables,
        "storage": {
            "bucket": options.map(|options| &options.bucket),
            "endpoint": options.and_then(|options| options.endpoint.as_deref()),
            "prefix": prefix.as_str(),
        },
        "model": {
            "model": models.model.to_string(),
            "fallbacks": models.fallbacks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "at": base_url(&models.providers, models.model.provider),
        },
        "intent": spec.intent,
        // Those in the binary change with it, and an upgrade must buy no run.
        "prompts": prompts.custom_sha256(),
    }))
}

fn base_url(providers: &Providers, provider: crate::llm::Provider) -> Option<&str> {
    match provider {
        crate::llm::Provider::Anthropic => providers.anthropic.base_url.as_deref(),
        crate::llm::Provider::OpenAi => providers.openai.base_url.as_deref(),
        crate::llm::Provider::Builtin => None,
    }
}

fn hash(value: &Value) -> String {
    hex::encode(Sha256::digest(value.to_string()))
}

#[cfg(test)]
mod tests;

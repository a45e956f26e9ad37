//! The arguments of `cataloger operator`, each of which is also a variable of the environment, and the settings that
//! they make.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use thiserror::Error;

use crate::api::duration::Duration as Written;
use crate::controllers::settings::{Allowed, DefaultModel, OwnBucket, Settings};
use crate::llm::{ModelSpec, Providers};
use crate::logs::Format;
use crate::sandbox::pod::manifest::{PullPolicy, Shape};
use crate::store::location::check_bucket;
use crate::store::{Prefix, S3Options};

/// Look after the Catalogs of a cluster.
///
/// Each option is also a variable, which the help names; lists are separated by commas. Keys come from the usual
/// variables: `ANTHROPIC_API_KEY`, `OPENAI_API_KEY`, `AWS_ACCESS_KEY_ID` and so on.
///
/// Exit codes: 1 the lease was lost or something failed, 2 wrong usage or configuration.
#[derive(Debug, Args)]
pub struct OperatorArguments {
    /// A namespace whose Catalogs are looked after; all, if not said
    #[arg(
        long = "namespace",
        value_name = "NAME",
        env = "CATALOGER_NAMESPACE",
        value_delimiter = ','
    )]
    namespaces: Vec<String>,
    /// The namespace of the operator itself
    #[arg(
        long,
        value_name = "NAME",
        env = "POD_NAMESPACE",
        default_value = "cataloger-system"
    )]
    operator_namespace: String,
    /// What this replica is called, among those that want the lease; the host's name, if not said
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub(super) identity: Option<String>,
    /// The name of the lease, and what sandboxes are labelled with
    #[arg(
        long,
        value_name = "NAME",
        env = "CATALOGER_INSTALLATION",
        default_value = "cataloger"
    )]
    installation: String,
    /// The namespace of sandboxes
    #[arg(
        long,
        value_name = "NAME",
        env = "CATALOGER_SANDBOX_NAMESPACE",
        default_value = "cataloger-sandboxes"
    )]
    sandbox_namespace: String,
    /// The image of sandboxes
    #[arg(long, value_name = "IMAGE", env = "CATALOGER_SANDBOX_IMAGE")]
    sandbox_image: String,
    /// When a node fetches it
    #[arg(
        long,
        value_name = "WHEN",
        env = "CATALOGER_SANDBOX_PULL_POLICY",
        default_value = "if-not-present"
    )]
    sandbox_pull_policy: Pull,
    /// A Secret in the namespace of sandboxes to fetch it with
    #[arg(
        long = "sandbox-pull-secret",
        value_name = "NAME",
        env = "CATALOGER_SANDBOX_PULL_SECRET",
        value_delimiter = ','
    )]
    sandbox_pull_secrets: Vec<String>,
    /// The runtime class of sandboxes that choose none
    #[arg(long, value_name = "NAME", env = "CATALOGER_SANDBOX_RUNTIME_CLASS")]
    sandbox_runtime_class: Option<String>,
    /// The cluster's domain
    #[arg(
        long,
        value_name = "DOMAIN",
        env = "CATALOGER_CLUSTER_DOMAIN",
        default_value = "cluster.local"
    )]
    cluster_domain: String,
    /// How many runs may be under way at once
    #[arg(long, value_name = "RUNS", env = "CATALOGER_MAX_RUNS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    max_runs: u16,
    /// The bucket of Catalogs that name none
    #[arg(long, value_name = "NAME", env = "CATALOGER_BUCKET")]
    bucket: Option<String>,
    /// What all keys begin with there, before the Catalog's namespace
    #[arg(long, value_name = "PREFIX", env = "CATALOGER_BUCKET_PREFIX")]
    bucket_prefix: Option<String>,
    /// The bucket's region
    #[arg(long, value_name = "REGION", env = "CATALOGER_BUCKET_REGION")]
    bucket_region: Option<String>,
    /// The URL of its server, if it is not AWS's
    #[arg(long, value_name = "URL", env = "CATALOGER_BUCKET_ENDPOINT")]
    bucket_endpoint: Option<String>,
    /// Whether the bucket is named in the path and not in the host's name
    #[arg(long, value_name = "BOOL", env = "CATALOGER_BUCKET_PATH_STYLE")]
    bucket_path_style: Option<bool>,
    /// The model of Catalogs that name none: builtin, anthropic/NAME or openai/NAME
    #[arg(long, value_name = "MODEL", env = "CATALOGER_MODEL")]
    // As text: an overlay of the manifests, which name one, can only set it to nothing.
    model: Option<String>,
    /// A model to go on with when that one can't; may be repeated
    #[arg(
        long = "fallback",
        value_name = "MODEL",
        env = "CATALOGER_FALLBACK",
        value_delimiter = ','
    )]
    fallbacks: Vec<ModelSpec>,
    /// The `ModelProvider` of Catalogs that name none, as NAMESPACE/NAME
    #[arg(long, value_name = "PROVIDER", env = "CATALOGER_DEFAULT_PROVIDER")]
    default_provider: Option<String>,
    /// Prompts of your own: a directory, such as a mounted ConfigMap; a change is heeded within seconds
    #[arg(long, value_name = "DIRECTORY", env = "CATALOGER_PROMPTS")]
    pub(super) prompts: Option<PathBuf>,
    /// An image that a Catalog may choose for its sandbox; this and the others may end in *
    #[arg(
        long = "allow-image",
        value_name = "PATTERN",
        env = "CATALOGER_ALLOW_IMAGE",
        value_delimiter = ','
    )]
    allow_images: Vec<String>,
    /// A runtime class that a Catalog may choose
    #[arg(
        long = "allow-runtime-class",
        value_name = "PATTERN",
        env = "CATALOGER_ALLOW_RUNTIME_CLASS",
        value_delimiter = ','
    )]
    allow_runtime_classes: Vec<String>,
    /// An endpoint that a Catalog may choose for a bucket of its own
    #[arg(
        long = "allow-endpoint",
        value_name = "PATTERN",
        env = "CATALOGER_ALLOW_ENDPOINT",
        value_delimiter = ','
    )]
    allow_endpoints: Vec<String>,
    /// A base URL that a `ModelProvider` may choose
    #[arg(
        long = "allow-base-url",
        value_name = "PATTERN",
        env = "CATALOGER_ALLOW_BASE_URL",
        value_delimiter = ','
    )]
    allow_base_urls: Vec<String>,
    /// A label of nodes that a Catalog may choose, as KEY=VALUE
    #[arg(
        long = "allow-node-selector",
        value_name = "PATTERN",
        env = "CATALOGER_ALLOW_NODE_SELECTOR",
        value_delimiter = ','
    )]
    allow_node_selectors: Vec<String>,
    /// The key of a taint that a Catalog may tolerate
    #[arg(
        long = "allow-toleration",
        value_name = "PATTERN",
        env = "CATALOGER_ALLOW_TOLERATION",
        value_delimiter = ','
    )]
    allow_tolerations: Vec<String>,
    /// A network that a Catalog's sandbox may reach besides its database, as a CIDR
    #[arg(
        long = "allow-egress",
        value_name = "CIDR",
        env = "CATALOGER_ALLOW_EGRESS",
        value_delimiter = ','
    )]
    allow_egress: Vec<IpNet>,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "CATALOGER_LISTEN",
        default_value = "0.0.0.0:8080"
    )]
    pub(super) listen: SocketAddr,
    /// How logs are written
    #[arg(
        long,
        value_name = "FORMAT",
        env = "CATALOGER_LOG_FORMAT",
        default_value = "json"
    )]
    log_format: LogFormat,
    /// How long a leader that is not heard of stays the leader
    #[arg(
        long,
        value_name = "TIME",
        env = "CATALOGER_LEASE_DURATION",
        default_value = "12s"
    )]
    pub(super) lease_duration: Written,
    /// How long a stop waits for answers of models that are under way; below the Pod's own grace period
    #[arg(
        long,
        value_name = "TIME",
        env = "CATALOGER_GRACE_PERIOD",
        default_value = "45s"
    )]
    grace_period: Written,
}

/// When a node fetches an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pull {
    /// If it has none of that name
    IfNotPresent,
    /// Each time
    Always,
    /// Never: it has to be there
    Never,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line of JSON each
    Json,
    /// As text
    Text,
}

/// What is wrong with the configuration.
#[derive(Debug, Error)]
pub(super) enum ConfigurationError {
    #[error("--{flag}: {message}")]
    Wrong { flag: &'static str, message: String },
}

fn wrong(flag: &'static str) -> impl Fn(&dyn std::fmt::Display) -> ConfigurationError {
    move |message| ConfigurationError::Wrong {
        flag,
        message: message.to_string(),
    }
}

impl OperatorArguments {
    /// What the arguments and the environment say.
    pub(super) fn settings(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, ConfigurationError> {
        let label = |text: &str| {
            let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=63).contains(&text.len())
                && text.bytes().all(inner)
                && !text.starts_with('-')
                && !text.ends_with('-')
        };
        if !label(&self.installation) {
            return Err(wrong("installation")(
                &"write small letters, digits and '-', at most 63 of them",
            ));
        }
        let mut shape = Shape::new(&self.sandbox_image);
        shape.pull = match self.sandbox_pull_policy {
            Pull::IfNotPresent => PullPolicy::IfNotPresent,
            Pull::Always => PullPolicy::Always,
            Pull::Never => PullPolicy::Never,
        };
        shape.pull_secrets.clone_from(&self.sandbox_pull_secrets);
        shape.runtime_class.clone_from(&self.sandbox_runtime_class);
        Ok(Settings {
            installation: self.installation.clone(),
            namespaces: given(&self.namespaces).collect(),
            home: self.operator_namespace.clone(),
            sandboxes: self.sandbox_namespace.clone(),
            domain: self.cluster_domain.clone(),
            shape,
            most_runs: self.max_runs.into(),
            bucket: self.bucket(&variable)?,
            model: self.model(&variable)?,
            allowed: Allowed {
                images: given(&self.allow_images).collect(),
                runtime_classes: given(&self.allow_runtime_classes).collect(),
                endpoints: given(&self.allow_endpoints).collect(),
                base_urls: given(&self.allow_base_urls).collect(),
                node_selectors: given(&self.allow_node_selectors).collect(),
                tolerations: given(&self.allow_tolerations).collect(),
                egress: self.allow_egress.clone(),
            },
            grace: self.grace_period.into(),
        })
    }

    fn bucket(
        &self,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<OwnBucket>, ConfigurationError> {
        let Some(name) = self.bucket.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        check_bucket(name).map_err(|error| wrong("bucket")(&error))?;
        let prefix: Prefix = self
            .bucket_prefix
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(|error| wrong("bucket-prefix")(&error))?;
        let options = S3Options {
            region: self.bucket_region.clone(),
            endpoint: self.bucket_endpoint.clone(),
            path_style: self.bucket_path_style,
            ..S3Options::new(name)
        };
        Ok(Some(OwnBucket {
            options: options.or_from(variable),
            prefix,
        }))
    }

    fn model(&self, variable: &impl Fn(&str) -> Option<String>) -> Result<DefaultModel, ConfigurationError> {
        let provider = self.default_provider.as_deref().filter(|it| !it.is_empty());
        let provider = match provider.map(|text| text.split_once('/')) {
            None => None,
            Some(Some((namespace, name))) if !namespace.is_empty() && !name.is_empty() => {
                Some((namespace.to_owned(), name.to_owned()))
            }
            Some(_) => return Err(wrong("default-provider")(&"write it as NAMESPACE/NAME")),
        };
        let model = self.model.as_deref().filter(|it| !it.is_empty());
        let model: Option<ModelSpec> = model
            .map(str::parse)
            .transpose()
            .map_err(|error| wrong("model")(&error))?;
        if let (Some(model), Some(_)) = (&model, &provider) {
            return Err(wrong("default-provider")(&format!(
                "it stands in place of --model, which is {model}: leave one of them out, or set CATALOGER_MODEL to nothing"
            )));
        }
        Ok(DefaultModel {
            model,
            fallbacks: self.fallbacks.clone(),
            providers: Providers::from_env(variable),
            provider,
        })
    }

    /// How logs are written.
    pub fn log_format(&self) -> Format {
        match self.log_format {
            LogFormat::Json => Format::Json,
            LogFormat::Text => Format::Text,
        }
    }

    /// How long a leader that is not heard of stays the leader.
    pub(super) fn lease_duration(&self) -> Duration {
        self.lease_duration.into()
    }
}

/// Without those that are empty: a variable that is set to nothing is a list of one empty text.
fn given(list: &[String]) -> impl Iterator<Item = String> + '_ {
    list.iter().filter(|text| !text.is_empty()).cloned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: OperatorArguments,
    }

    fn settings(more: &[&str]) -> Result<Settings, ConfigurationError> {
        let line = ["x", "--sandbox-image", "sandbox:1"].iter().chain(more);
        let arguments = Line::try_parse_from(line).unwrap().arguments;
        arguments.settings(|name| (name == "AWS_REGION").then(|| "eu-central-1".to_owned()))
    }

    #[test]
    fn nothing_is_allowed_and_nothing_is_assumed() {
        let settings = settings(&[]).unwrap();
        assert!(settings.bucket.is_none() && settings.model.model.is_none());
        assert!(settings.namespaces.is_empty() && settings.allowed.egress.is_empty());
        assert!(!settings.allowed.images.allow("x") && settings.most_runs == 10);
    }

    #[test]
    fn lists_and_places_are_read() {
        let settings = settings(&[
            "--namespace",
            "a,b",
            "--bucket",
            "pages",
            "--bucket-prefix",
            "docs",
            "--allow-egress",
            "10.0.0.0/8",
            "--default-provider",
            "team/claude",
            "--allow-image",
            "",
        ])
        .unwrap();
        assert_eq!(settings.namespaces.len(), 2);
        let bucket = settings.bucket.unwrap();
        assert_eq!(
            (bucket.options.region.as_deref(), bucket.prefix.as_str()),
            (Some("eu-central-1"), "docs")
        );
        assert_eq!(settings.model.provider, Some(("team".into(), "claude".into())));
        assert!(!settings.allowed.images.allow(""));
    }

    #[test]
    fn a_provider_stands_in_place_of_a_model() {
        let both = settings(&["--model", "builtin", "--default-provider", "team/claude"]);
        let error = both.unwrap_err().to_string();
        assert!(error.contains("set CATALOGER_MODEL to nothing"), "{error}");
        let model = settings(&["--model", "", "--default-provider", "team/claude"]).unwrap();
        assert!(model.model.model.is_none() && model.model.provider.is_some());
        let model = settings(&["--model", "openai/gpt", "--default-provider", ""]).unwrap();
        assert!(model.model.model.is_some() && model.model.provider.is_none());
    }

    #[test]
    fn what_is_wrong_names_its_flag() {
        for (line, flag) in [
            (&["--bucket", "No Such"][..], "--bucket: "),
            (
                &["--bucket", "pages", "--bucket-prefix", "../x"],
                "--bucket-prefix: ",
            ),
            (&["--default-provider", "claude"], "--default-provider: "),
            (&["--model", "claude"], "--model: "),
            (&["--installation", "A b"], "--installation: "),
        ] {
            let error = settings(line).unwrap_err().to_string();
            assert!(error.starts_with(flag), "{error}");
        }
    }
}

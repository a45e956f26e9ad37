//! What a user of `cataloger run` wants, out of a manifest, arguments and the environment. It opens nothing but
//! the manifest.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use thiserror::Error;

use super::arguments::RunArguments;
use crate::agent::budget::Limits;
use crate::api::CatalogSpec;
use crate::api::catalog::Limits as Written;
use crate::llm::prices::Prices;
use crate::llm::{ModelError, ModelSpec, Providers};
use crate::manifest::{self, Manifest, ManifestError, PromptTexts};
use crate::store::{Location, S3Options};

/// What is wanted.
pub(super) struct Wish {
    pub(super) database: SecretString,
    pub(super) tables: Vec<String>,
    pub(super) allow_writable: bool,
    pub(super) intent: Option<String>,
    pub(super) location: Location,
    pub(super) bucket: Option<S3Options>,
    pub(super) model: ModelSpec,
    pub(super) fallbacks: Vec<ModelSpec>,
    pub(super) providers: Providers,
    pub(super) prices: Prices,
    pub(super) limits: Limits,
    pub(super) execute_timeout: Duration,
    pub(super) max_rows: u32,
    /// Of the manifest.
    pub(super) prompts: Option<PromptTexts>,
    /// For the record.
    pub(super) manifest: Value,
    /// All secrets but the database's, with names for people.
    pub(super) secrets: Vec<(String, SecretString)>,
    /// What the user should know.
    pub(super) notes: Vec<String>,
}

/// What is missing or wrong.
#[derive(Debug, Error)]
pub(super) enum WishError {
    #[error("{0}")]
    Missing(&'static str),
    #[error("{0}")]
    Wrong(String),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

const NO_TABLES: WishError =
    WishError::Missing("say which tables: --table, once for each, or a manifest by -f");
const NO_OUTPUT: WishError =
    WishError::Missing("say where the pages go: --output DIRECTORY, or --output s3://BUCKET/PREFIX");
const NO_DATABASE: WishError =
    WishError::Missing("say which database: set DATABASE_URL, or give --database-url");
const NO_MODEL: WishError = WishError::Missing(
    "say which model: --model builtin (it needs no key), --model anthropic/NAME, or --model openai/NAME for any compatible endpoint",
);

impl Wish {
    /// Puts together what arguments, the manifest that they name, and the environment say.
    pub(super) fn read(
        arguments: &RunArguments,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, WishError> {
        let output = arguments
            .output
            .as_deref()
            .map(str::parse::<Location>)
            .transpose();
        let output = output.map_err(|error| WishError::Wrong(format!("--output: {error}")))?;
        let providers = Providers::from_env(&variable);
        let usual = variable("CATALOGER_MODEL").filter(|model| !model.is_empty());
        let usual = usual.map(|model| model.parse()).transpose();
        let usual =
            usual.map_err(|error: ModelError| WishError::Wrong(format!("CATALOGER_MODEL: {error}")))?;
        let mut wish = match &arguments.file {
            Some(file) => Self::of_manifest(
                &read(file, arguments.catalog.as_deref())?,
                arguments,
                &providers,
                output,
                usual,
            )?,
            None => Self::of_arguments(arguments, providers, output, usual)?,
        };
        wish.gather_secrets(variable);
        Ok(wish)
    }

    fn of_arguments(
        arguments: &RunArguments,
        providers: Providers,
        output: Option<Location>,
        usual: Option<ModelSpec>,
    ) -> Result<Self, WishError> {
        if arguments.tables.is_empty() {
            return Err(NO_TABLES);
        }
        let location = output.ok_or(NO_OUTPUT)?;
        let database = arguments.database.clone().ok_or(NO_DATABASE)?;
        let model = arguments.model.clone().or(usual).ok_or(NO_MODEL)?;
        let written = written(Written::default(), arguments);
        let manifest = json!({
            "tables": arguments.tables,
            "allowWritable": arguments.allow_writable,
            "intent": arguments.intent,
            "output": location.to_string(),
            "model": model,
            "fallbacks": arguments.fallbacks,
            "limits": serde_json::to_value(&written).unwrap_or_default(),
        });
        Ok(Self {
            database,
            tables: arguments.tables.clone(),
            allow_writable: arguments.allow_writable,
            intent: arguments.intent.clone(),
            location,
            bucket: None,
            model,
            fallbacks: arguments.fallbacks.clone(),
            providers,
            prices: Prices::bundled().clone(),
            limits: limits(&written, arguments)?,
            execute_timeout: written.execute_timeout.into(),
            max_rows: written.max_rows,
            prompts: None,
            manifest,
            secrets: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Arguments count more than the manifest: it is tried out before it is committed.
    fn of_manifest(
        manifest: &Manifest,
        arguments: &RunArguments,
        providers: &Providers,
        output: Option<Location>,
        usual: Option<ModelSpec>,
    ) -> Result<Self, WishError> {
        let spec = &manifest.catalog.spec;
        let database = match &arguments.database {
            Some(given) => given.clone(),
            None => manifest.database_url()?.ok_or_else(|| {
                WishError::Wrong(format!(
                    "the Secret {:?} of spec.database.secretRef is not in the manifest: add it, set DATABASE_URL, or give --database-url",
                    spec.database.secret_ref.name
                ))
            })?,
        };
        let held = manifest.database_url()?.is_some();
        let instead = (held && arguments.database.is_some()).then(|| {
            let name = &spec.database.secret_ref.name;
            format!("the database is that of DATABASE_URL or --database-url, not that of the Secret {name:?}")
        });
        let (location, bucket) = match output {
            Some(location) => (location, None),
            None => {
                let bucket = manifest.storage(None)?;
                let location = Location::S3 {
                    bucket: bucket.options.bucket.clone(),
                    prefix: bucket.prefix,
                };
                (location, Some(bucket.options))
            }
        };
        let models = match &arguments.model {
            Some(model) => manifest.models_of(model, providers)?,
            None => match manifest.models(providers, None)? {
                Some(models) => models,
                None => manifest.models_of(&usual.ok_or(NO_MODEL)?, providers)?,
            },
        };
        // Arguments come before the manifest, which then need not hold them.
        let prompts = match &arguments.prompts {
            Some(_) => None,
            None => manifest.prompts()?,
        };
        let mut prices = Prices::bundled().clone();
        prices.override_with(&models.prices);
        let fallbacks = if arguments.fallbacks.is_empty() {
            models.fallbacks
        } else {
            arguments.fallbacks.clone()
        };
        let written = written(spec.limits.clone(), arguments);
        Ok(Self {
            database,
            tables: spec.tables.clone(),
            allow_writable: spec.database.allow_writable || arguments.allow_writable,
            intent: spec.intent.clone(),
            location,
            bucket,
            model: models.model,
            fallbacks,
            providers: models.providers,
            prices,
            limits: limits(&written, arguments)?,
            execute_timeout: written.execute_timeout.into(),
            max_rows: written.max_rows,
            prompts,
            manifest: serde_json::to_value(&manifest.catalog).unwrap_or_default(),
            secrets: Vec::new(),
            notes: manifest
                .notes
                .iter()
                .cloned()
                .chain(of_no_use_here(spec))
                .chain(instead)
                .collect(),
        })
    }

    /// All that must not be shown, besides the database's URL.
    fn gather_secrets(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for (name, key) in [
            ("the key of Anthropic's API", &self.providers.anthropic.api_key),
            ("the key of OpenAI's API", &self.providers.openai.api_key),
        ] {
            self.secrets.extend(key.clone().map(|key| (name.to_owned(), key)));
        }
        let given = self.bucket.as_ref().and_then(|bucket| bucket.credentials.clone());
        let of_bucket = [
            given.as_ref().map(|given| given.secret_access_key.clone()),
            given.and_then(|given| given.session_token),
            variable("AWS_SECRET_ACCESS_KEY").map(SecretString::from),
            variable("AWS_SESSION_TOKEN").map(SecretString::from),
        ];
        self.secrets.extend(
            of_bucket
                .into_iter()
                .flatten()
                .map(|key| ("the bucket's key".to_owned(), key)),
        );
    }
}

/// What a manifest says that only a cluster heeds.
fn of_no_use_here(spec: &CatalogSpec) -> Option<String> {
    let said = [
        ("suspend", spec.suspend),
        ("sandbox", spec.sandbox.is_some()),
        ("retention", spec.retention.is_some()),
        (
            "ttlSecondsAfterFinished",
            spec.ttl_seconds_after_finished.is_some(),
        ),
    ];
    let said: Vec<&str> = said
        .iter()
        .filter(|(_, said)| *said)
        .map(|(name, _)| *name)
        .collect();
    (!said.is_empty()).then(|| {
        format!(
            "only a cluster heeds {} of the spec: not used here",
            said.join(", ")
        )
    })
}

fn read(file: &Path, name: Option<&str>) -> Result<Manifest, WishError> {
    let (origin, text) = if file == Path::new("-") {
        (
            "standard input".to_owned(),
            std::io::read_to_string(std::io::stdin()),
        )
    } else {
        (file.display().to_string(), std::fs::read_to_string(file))
    };
    let text = text.map_err(|error| WishError::Wrong(format!("{origin} can't be read: {error}")))?;
    Ok(manifest::read(&text, &origin, name)?)
}

/// Arguments count more than what is written.
fn written(mut written: Written, arguments: &RunArguments) -> Written {
    let set = |value: &mut u32, given: Option<u32>| *value = given.unwrap_or(*value);
    written.max_tokens = arguments.max_tokens.unwrap_or(written.max_tokens);
    set(&mut written.max_iterations, arguments.max_turns);
    set(&mut written.max_rows, arguments.max_rows);
    written.timeout = arguments.timeout.unwrap_or(written.timeout);
    written.execute_timeout = arguments.execute_timeout.unwrap_or(written.execute_timeout);
    written
}

fn limits(written: &Written, arguments: &RunArguments) -> Result<Limits, WishError> {
    let cost = match (arguments.max_cost, written.max_cost) {
        (Some(cost), _) => Some(cost),
        // As text it is what was written.
        (None, Some(dollars)) => Some(
            dollars
                .to_string()
                .parse()
                .map_err(|error| WishError::Wrong(format!("limits.maxCost: {error}")))?,
        ),
        (None, None) => None,
    };
    Ok(Limits {
        tokens: written.max_tokens,
        cost,
        turns: written.max_iterations,
        time: written.timeout.into(),
    })
}

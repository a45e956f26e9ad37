//! What a user of `cataloger run` wants, out of a manifest, arguments and the environment. It opens nothing but
//! the manifest.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use thiserror::Error;

use super::run::{RunArguments, time};
use crate::agent::budget::Limits;
use crate::api::catalog::Limits as Written;
use crate::llm::prices::Prices;
use crate::llm::{ModelSpec, Providers};
use crate::store::{Location, S3Options};

/// What is wanted.
pub(super) struct Wish {
    pub(super) database: SecretString,
    pub(super) tables: Vec<String>,
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
}

impl Wish {
    /// Puts together what arguments, the manifest that they name, and the environment say.
    pub(super) fn read(
        arguments: &RunArguments,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, WishError> {
        let wrong = |message: String| WishError::Wrong(message);
        if arguments.tables.is_empty() {
            return Err(WishError::Missing(
                "say which tables: --table, once for each, or a manifest by -f",
            ));
        }
        let output = arguments.output.as_deref().ok_or(WishError::Missing(
            "say where the pages go: --output DIRECTORY, or --output s3://BUCKET/PREFIX",
        ))?;
        let location: Location = output
            .parse()
            .map_err(|error| wrong(format!("--output: {error}")))?;
        let database = arguments.database.clone().ok_or(WishError::Missing(
            "say which database: set DATABASE_URL, or give --database-url",
        ))?;
        let model = arguments.model.clone().ok_or(WishError::Missing(
            "say which model: --model anthropic/NAME, or --model openai/NAME for any compatible endpoint",
        ))?;
        let written = written(Written::default(), arguments);
        let manifest = json!({
            "tables": arguments.tables,
            "intent": arguments.intent,
            "output": location.to_string(),
            "model": model,
            "fallbacks": arguments.fallbacks,
            "limits": serde_json::to_value(&written).unwrap_or_default(),
        });
        let providers = Providers::from_env(&variable);
        let mut secrets = Vec::new();
        for (name, key) in [
            ("the key of Anthropic's API", &providers.anthropic.api_key),
            ("the key of OpenAI's API", &providers.openai.api_key),
        ] {
            secrets.extend(key.clone().map(|key| (name.to_owned(), key)));
        }
        for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            secrets.extend(variable(name).map(|value| (name.to_owned(), SecretString::from(value))));
        }
        Ok(Self {
            database,
            tables: arguments.tables.clone(),
            intent: arguments.intent.clone(),
            location,
            bucket: None,
            model,
            fallbacks: arguments.fallbacks.clone(),
            providers,
            prices: Prices::bundled().clone(),
            limits: limits(&written, arguments)?,
            execute_timeout: time(written.execute_timeout),
            max_rows: written.max_rows,
            manifest,
            secrets,
            notes: Vec::new(),
        })
    }
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
        time: time(written.timeout),
    })
}

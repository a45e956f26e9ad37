//! Whether a provider takes our key, found out without asking a model anything: its list of models costs nothing.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;

use super::anthropic::Messages;
use super::client::introduced;
use super::config::{Http, ModelSpec, Provider, Providers};
use super::{ModelError, openai};

/// How long a provider may take to say what models it has.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a provider says of our key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// It takes it.
    Works,
    /// It does not.
    Refused {
        /// What it says.
        message: String,
    },
    /// It has no list of models, so that nobody knows before a model is asked.
    NoList {
        /// What it has instead.
        message: String,
    },
    /// It does not answer, or is in trouble.
    Away {
        /// What is wrong.
        message: String,
    },
}

impl Providers {
    /// Asks a provider for its list of models.
    pub async fn probe(&self, http: &Http, provider: Provider) -> Result<Probed, ModelError> {
        // The error's words are about the provider, whatever its models are called.
        let spec = ModelSpec {
            provider,
            name: String::new(),
        };
        let mut endpoint = match provider {
            Provider::Anthropic => introduced::<Messages>(self.at_anthropic(http, &spec, "models")?)?,
            Provider::OpenAi => introduced::<openai::Chat>(self.at_openai(http, &spec, "models")?)?,
            Provider::Builtin => return Ok(Probed::Works),
        };
        endpoint.header("accept", "application/json");
        Ok(match endpoint.get(PATIENCE).await {
            Ok(headers) => {
                let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                match kind {
                    Some(kind) if kind.contains("json") => Probed::Works,
                    kind => Probed::NoList {
                        message: format!(
                            "{provider} answered with {}",
                            endpoint.shown(kind.unwrap_or("nothing said"))
                        ),
                    },
                }
            }
            Err(error) => judge(&error),
        })
    }
}

fn judge(error: &ModelError) -> Probed {
    let message = error.to_string();
    match error {
        ModelError::Status { status, .. } => match status {
            401 | 403 => Probed::Refused { message },
            // Gateways that only pass on what models are asked.
            400 | 404 | 405 | 406 | 410 | 422 | 501 => Probed::NoList { message },
            _ => Probed::Away { message },
        },
        _ => Probed::Away { message },
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::tests::status;
    use super::*;

    #[test]
    fn only_what_is_about_the_key_is_held_against_it() {
        let of = |code| judge(&status(code, None));
        for code in [401, 403] {
            assert!(matches!(of(code), Probed::Refused { .. }), "{code}");
        }
        for code in [404, 405, 501] {
            assert!(matches!(of(code), Probed::NoList { .. }), "{code}");
        }
        for code in [301, 408, 429, 500, 503, 529] {
            assert!(matches!(of(code), Probed::Away { .. }), "{code}");
        }
    }
}

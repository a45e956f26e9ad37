//! Which models there are, and how to reach them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::anthropic::Messages;
use super::client::Client;
use super::http::Endpoint;
use super::openai;
use super::retry::{Chain, RetryPolicy};
use super::{Builtin, Model, ModelError};

/// Who serves a model, or rather how it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Anthropic's API.
    Anthropic,
    /// OpenAI's API, or a compatible one.
    OpenAi,
    /// A model that Cataloger brings along.
    Builtin,
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Builtin => "builtin",
        })
    }
}

/// Names a model: `anthropic/NAME`, `openai/NAME` (the name may have slashes), `builtin` or `builtin/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelSpec {
    /// Who serves it.
    pub provider: Provider,
    /// Its name there; empty for the builtin one.
    pub name: String,
}

impl FromStr for ModelSpec {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let (provider, name) = text.split_once('/').unwrap_or((text, ""));
        let provider = match provider {
            "anthropic" => Provider::Anthropic,
            "openai" => Provider::OpenAi,
            "builtin" => Provider::Builtin,
            _ => {
                return Err(ModelError::setup(format!(
                    "{text:?} names no model: write anthropic/NAME, openai/NAME (for any compatible endpoint) or builtin"
                )));
            }
        };
        let valid = name
            .chars()
            .all(|letter| !letter.is_control() && !letter.is_whitespace());
        if !valid || (name.is_empty() && (provider != Provider::Builtin || text.contains('/'))) {
            return Err(ModelError::setup(format!(
                "{text:?} names no model: write {provider}/ and the name that the model has there"
            )));
        }
        Ok(Self {
            provider,
            name: name.to_owned(),
        })
    }
}

impl TryFrom<String> for ModelSpec {
    type Error = ModelError;

    fn try_from(text: String) -> Result<Self, ModelError> {
        text.parse()
    }
}

impl From<ModelSpec> for String {
    fn from(spec: ModelSpec) -> Self {
        spec.to_string()
    }
}

impl fmt::Display for ModelSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            write!(formatter, "{}", self.provider)
        } else {
            write!(formatter, "{}/{}", self.provider, self.name)
        }
    }
}

/// How long a provider may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To a connection.
    pub connect: Duration,
    /// To the begin of a streamed answer.
    pub first: Duration,
    /// From one event of a stream to the next, and within the body of an answer that is not streamed.
    pub silence: Duration,
    /// To the end of an answer; to the begin of one that is not streamed.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first: Duration::from_mins(2),
            silence: Duration::from_secs(90),
            answer: Duration::from_mins(15),
        }
    }
}

/// Connections to providers, shared by all models. Cloning it is cheap, and shares them.
#[derive(Debug, Clone)]
pub struct Http(pub(super) reqwest::Client);

impl Http {
    /// With the certificates of the machine, and the proxies that the environment names.
    pub fn new(timeouts: &Timeouts) -> Result<Self, ModelError> {
        reqwest::Client::builder()
            .user_agent(concat!("cataloger/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .tcp_keepalive(Duration::from_secs(30))
            // A key in a header of our own would follow to wherever a redirect leads.
            .redirect(reqwest::redirect::Policy::none())
            // What is asked again is decided, and counted, in one place.
            .retry(reqwest::retry::never())
            .build()
            .map(Self)
            .map_err(|error| {
                ModelError::setup(format!(
                    "HTTPS can't be used ({}): check that the machine has CA certificates",
                    super::http::reasons(&error)
                ))
            })
    }
}

/// Anthropic's Messages.
#[derive(Debug, Clone, Default)]
pub struct Anthropic {
    /// The key. Not needed with a base URL of one's own.
    pub api_key: Option<SecretString>,
    /// `https://api.anthropic.com` if not given; `/v1/messages` is added.
    pub base_url: Option<String>,
}

/// OpenAI's API, or a compatible one.
#[derive(Debug, Clone, Default)]
pub struct OpenAi {
    /// The key. Not needed with a base URL of one's own.
    pub api_key: Option<SecretString>,
    /// `https://api.openai.com/v1` if not given; `/chat/completions` or `/responses` is added.
    pub base_url: Option<String>,
    /// Which API. They can't be told apart by probing.
    pub api: OpenAiApi,
    /// Whether to stream. If not given, only where there are no tools: some servers lose calls in a stream.
    pub stream: Option<bool>,
    /// What the limit of the answer is called in Chat Completions.
    pub max_tokens_field: MaxTokensField,
    /// Whether to ask Responses for the thoughts of the model, encrypted, so that they can be sent back. A
    /// model that does not think may refuse that.
    pub omit_encrypted_reasoning: bool,
}

/// Which of OpenAI's APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OpenAiApi {
    /// Chat Completions.
    #[default]
    ChatCompletions,
    /// Responses.
    Responses,
}

/// What the limit of an answer is called in Chat Completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// The new name at OpenAI, which refuses the old one; the old name elsewhere.
    #[default]
    Auto,
    /// The old name.
    MaxTokens,
    /// The new name.
    MaxCompletionTokens,
}

/// All that is needed to reach models.
#[derive(Debug, Clone, Default)]
pub struct Providers {
    /// For `anthropic/…`.
    pub anthropic: Anthropic,
    /// For `openai/…`.
    pub openai: OpenAi,
    /// For all.
    pub timeouts: Timeouts,
}

impl Providers {
    /// Reads `ANTHROPIC_API_KEY`, `ANTHROPIC_BASE_URL`, `OPENAI_API_KEY` and `OPENAI_BASE_URL`. An empty one
    /// counts as not set.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name| {
            lookup(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        Self {
            anthropic: Anthropic {
                api_key: get("ANTHROPIC_API_KEY").map(SecretString::from),
                base_url: get("ANTHROPIC_BASE_URL"),
            },
            openai: OpenAi {
                api_key: get("OPENAI_API_KEY").map(SecretString::from),
                base_url: get("OPENAI_BASE_URL"),
                ..OpenAi::default()
            },
            timeouts: Timeouts::default(),
        }
    }

    /// A model, asked once for each request. See [`Providers::chain`].
    pub fn model(&self, http: &Http, spec: &ModelSpec) -> Result<Arc<dyn Model>, ModelError> {
        match spec.provider {
            Provider::Anthropic => {
                let endpoint = self.at_anthropic(http, spec, "messages")?;
                Ok(Arc::new(Client::new(endpoint, Messages)?))
            }
            Provider::OpenAi => {
                let config = &self.openai;
                match config.api {
                    OpenAiApi::ChatCompletions => {
                        let endpoint = self.at_openai(http, spec, "chat/completions")?;
                        let format = openai::Chat::new(config, &endpoint.url);
                        Ok(Arc::new(Client::new(endpoint, format)?))
                    }
                    OpenAiApi::Responses => {
                        let format = openai::Responses::new(config);
                        let endpoint = self.at_openai(http, spec, "responses")?;
                        Ok(Arc::new(Client::new(endpoint, format)?))
                    }
                }
            }
            Provider::Builtin => Ok(Arc::new(Builtin::new(spec.clone()))),
        }
    }

    /// Something of Anthropic's API. People write its base URL with and without the version.
    pub(super) fn at_anthropic(
        &self,
        http: &Http,
        spec: &ModelSpec,
        path: &str,
    ) -> Result<Endpoint, ModelError> {
        let config = &self.anthropic;
        let own = config.base_url.is_some();
        let base = config.base_url.as_deref().unwrap_or("https://api.anthropic.com");
        let base = base_url(base, "ANTHROPIC_BASE_URL")?;
        need_key(spec, config.api_key.as_ref(), own, "ANTHROPIC_API_KEY")?;
        let version = if base.path().ends_with("/v1/") { "" } else { "v1/" };
        let url = join(&base, &format!("{version}{path}"))?;
        Ok(Endpoint::new(
            http,
            spec,
            url,
            config.api_key.clone(),
            self.timeouts,
        ))
    }

    /// Something of OpenAI's API, or of a compatible one.
    pub(super) fn at_openai(
        &self,
        http: &Http,
        spec: &ModelSpec,
        path: &str,
    ) -> Result<Endpoint, ModelError> {
        let config = &self.openai;
        let own = config.base_url.is_some();
        let base = config.base_url.as_deref().unwrap_or("https://api.openai.com/v1");
        let base = base_url(base, "OPENAI_BASE_URL")?;
        need_key(spec, config.api_key.as_ref(), own, "OPENAI_API_KEY")?;
        let url = join(&base, path)?;
        Ok(Endpoint::new(
            http,
            spec,
            url,
            config.api_key.clone(),
            self.timeouts,
        ))
    }

    /// A model that is asked again where that helps, with others to fall back to.
    pub fn chain(
        &self,
        http: &Http,
        model: &ModelSpec,
        fallbacks: &[ModelSpec],
    ) -> Result<Chain, ModelError> {
        self.chain_of(http, model, fallbacks, |model| model)
    }

    /// The same, of models that are wrapped into something, such as [`super::account::Accounted`]: each of them by
    /// itself, so that each try and each fallback passes there.
    pub fn chain_of(
        &self,
        http: &Http,
        model: &ModelSpec,
        fallbacks: &[ModelSpec],
        wrap: impl Fn(Arc<dyn Model>) -> Arc<dyn Model>,
    ) -> Result<Chain, ModelError> {
        let policy = if fallbacks.is_empty() {
            RetryPolicy::ALONE
        } else {
            RetryPolicy::WITH_FALLBACK
        };
        let first = Chain::new(wrap(self.model(http, model)?), policy);
        fallbacks.iter().try_fold(first, |chain, spec| {
            Ok(chain.or(wrap(self.model(http, spec)?), policy))
        })
    }
}

/// A base URL that ends in a slash. What is wrong with one does not show it: it may hold a password.
fn base_url(text: &str, name: &str) -> Result<Url, ModelError> {
    let wrong = |what: &str| Err(ModelError::setup(format!("the base URL ({name}) {what}")));
    let Ok(mut url) = Url::parse(text) else {
        return wrong("is not a URL: write it as https://HOST/PATH");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return wrong("must begin with https:// (or http://) and a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("must not hold a user or password: give the key by itself");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("must not have a query or a fragment");
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn join(base: &Url, path: &str) -> Result<Url, ModelError> {
    base.join(path)
        .map_err(|error| ModelError::setup(format!("the base URL can't be used: {error}")))
}

fn need_key(spec: &ModelSpec, key: Option<&SecretString>, own: bool, name: &str) -> Result<(), ModelError> {
    if key.is_none() && !own {
        return Err(ModelError::setup(format!("{spec} needs an API key: set {name}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_read_and_written() {
        for text in [
            "anthropic/claude-sonnet-5-5",
            "openai/meta/llama:70b",
            "builtin",
            "builtin/small",
        ] {
            let spec: ModelSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<ModelSpec>(&json).unwrap(), spec);
        }
        assert_eq!("openai/a/b".parse::<ModelSpec>().unwrap().name, "a/b");
        for text in [
            "",
            "claude-sonnet-5-5",
            "anthropic",
            "anthropic/",
            "openai/a b",
            "builtin/",
            "gemini/x",
        ] {
            let error = text.parse::<ModelSpec>().unwrap_err().to_string();
            assert!(error.contains("names no model"), "{error}");
        }
    }

    fn providers(pairs: &[(&str, &str)]) -> Providers {
        Providers::from_env(|name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn error(pairs: &[(&str, &str)], spec: &str) -> String {
        let http = Http::new(&Timeouts::default()).unwrap();
        match providers(pairs).model(&http, &spec.parse().unwrap()) {
            Ok(_) => panic!("{spec} with {pairs:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_usual_variables_are_read() {
        let http = Http::new(&Timeouts::default()).unwrap();
        let all = providers(&[
            ("ANTHROPIC_API_KEY", "sk-a\n"),
            ("OPENAI_API_KEY", ""),
            ("OPENAI_BASE_URL", "http://localhost:11434/v1"),
        ]);
        let fallback: ModelSpec = "openai/llama".parse().unwrap();
        let chain = all
            .chain(&http, &"anthropic/a".parse().unwrap(), &[fallback])
            .unwrap();
        assert_eq!(chain.spec().to_string(), "anthropic/a");
        assert!(!format!("{all:?}").contains("sk-a"));
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(
            error(&[], "anthropic/a"),
            "anthropic/a needs an API key: set ANTHROPIC_API_KEY"
        );
        assert!(error(&[("OPENAI_API_KEY", " ")], "openai/a").contains("set OPENAI_API_KEY"));
        assert!(error(&[("OPENAI_API_KEY", "a\u{7f}b")], "openai/a").contains("API key"));
    }

    #[test]
    fn bad_urls_are_refused_without_showing_them() {
        for url in [
            "nonsense",
            "ftp://h/",
            "https://u:hunter2@h/",
            "https://h/?key=hunter2",
            "https://h/#x",
        ] {
            let error = error(
                &[("ANTHROPIC_BASE_URL", url), ("ANTHROPIC_API_KEY", "k")],
                "anthropic/a",
            );
            assert!(
                error.contains("ANTHROPIC_BASE_URL") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn paths_are_added_to_base_urls() {
        for (base, path, url) in [
            ("https://h", "v1/messages", "https://h/v1/messages"),
            (
                "https://h/gateway/",
                "v1/messages",
                "https://h/gateway/v1/messages",
            ),
            (
                "http://h:1/v1",
                "chat/completions",
                "http://h:1/v1/chat/completions",
            ),
            ("http://h:1/v1//", "responses", "http://h:1/v1/responses"),
        ] {
            assert_eq!(join(&base_url(base, "X").unwrap(), path).unwrap().as_str(), url);
        }
    }
}

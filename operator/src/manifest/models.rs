//! What a `ModelProvider` and a Catalog say of models, as `llm` wants it. Nothing is asked of a model here.

use secrecy::SecretString;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::F64Deserializer;

use super::names::full_name;
use super::{Manifest, ManifestError};
use crate::api::field::FieldPath;
use crate::api::model_provider::{self as api, Price};
use crate::api::{ModelProvider, ModelProviderSpec, SecretKeyRef};
use crate::llm::prices::{ModelPrice, Prices, Rate};
use crate::llm::{Anthropic, ModelSpec, OpenAi, OpenAiApi, Provider, Providers};

/// Which models are to be asked, how, and what they cost.
#[derive(Debug, Clone)]
pub struct Models {
    /// The one to ask first.
    pub model: ModelSpec,
    /// Those to go on with.
    pub fallbacks: Vec<ModelSpec>,
    /// How to reach them.
    pub providers: Providers,
    /// The rates that the file sets, and no others.
    pub prices: Prices,
}

/// Where a provider's key is.
pub(super) fn key_of(spec: &ModelProviderSpec) -> Option<&SecretKeyRef> {
    let anthropic = spec.anthropic.as_ref().map(|it| &it.api_key_secret_ref);
    anthropic.or_else(|| spec.openai.as_ref()?.api_key_secret_ref.as_ref())
}

fn kind_of(spec: &ModelProviderSpec) -> Provider {
    if spec.anthropic.is_some() {
        Provider::Anthropic
    } else if spec.openai.is_some() {
        Provider::OpenAi
    } else {
        Provider::Builtin
    }
}

impl Manifest {
    /// The models that the Catalog names; nothing if it names neither a model nor a provider.
    ///
    /// `known` is what the caller has: keys that the file lacks are taken from there, timeouts too, but no
    /// base URL where the file describes the provider. `usual` is whose models those of a Catalog are that
    /// names no provider.
    pub fn models(
        &self,
        known: &Providers,
        usual: Option<Provider>,
    ) -> Result<Option<Models>, ManifestError> {
        let Some(choice) = &self.catalog.spec.model else {
            return Ok(None);
        };
        let provider = self.provider()?;
        if provider.is_none() && choice.name.is_none() && choice.fallbacks.is_empty() {
            return Ok(None);
        }
        let spec = provider.map(|it| &it.spec);
        let kind = spec.map(kind_of).or(usual).ok_or_else(|| {
            self.incomplete(
                "spec.model names a model, but no providerRef",
                "add a ModelProvider to the file and name it, or give --model PROVIDER/NAME",
            )
        })?;
        let model = match choice
            .name
            .as_deref()
            .or(spec.and_then(|it| it.default_model.as_deref()))
        {
            Some(name) => self.model(kind, name)?,
            None if kind == Provider::Builtin => ModelSpec {
                provider: kind,
                name: String::new(),
            },
            None => {
                return Err(self.incomplete(
                    "neither spec.model.name of the Catalog nor spec.defaultModel of its ModelProvider names a model",
                    "add one of them, or give --model",
                ));
            }
        };
        let others = match spec {
            Some(spec) if choice.fallbacks.is_empty() => &spec.fallbacks,
            _ => &choice.fallbacks,
        };
        let mut fallbacks = Vec::new();
        for name in others {
            let fallback = self.model(kind, name)?;
            if fallback != model && !fallbacks.contains(&fallback) {
                fallbacks.push(fallback);
            }
        }
        self.reached(provider, model, fallbacks, known).map(Some)
    }

    /// A model that somebody asks for in place of those that the Catalog names. Of the file counts how its
    /// provider is reached, if the Catalog names one of the same kind.
    pub fn models_of(&self, model: &ModelSpec, known: &Providers) -> Result<Models, ManifestError> {
        // That it is not there does not matter any more.
        let provider = self.provider().ok().flatten();
        let provider = provider.filter(|it| kind_of(&it.spec) == model.provider);
        self.reached(provider, model.clone(), Vec::new(), known)
    }

    fn reached(
        &self,
        provider: Option<&ModelProvider>,
        model: ModelSpec,
        fallbacks: Vec<ModelSpec>,
        known: &Providers,
    ) -> Result<Models, ManifestError> {
        let mut providers = known.clone();
        let mut prices = Prices::default();
        if let Some(provider) = provider {
            self.reach(provider, &mut providers)?;
            for (name, price) in &provider.spec.prices {
                prices.set(&self.model(model.provider, name)?, self.price(name, price)?);
            }
        }
        Ok(Models {
            model,
            fallbacks,
            providers,
            prices,
        })
    }

    fn model(&self, provider: Provider, name: &str) -> Result<ModelSpec, ManifestError> {
        format!("{provider}/{name}").parse().map_err(|_| {
            self.incomplete(
                format!("{name:?} is no model's name"),
                "write it as the provider does, without spaces",
            )
        })
    }

    /// Replaces what is known of a provider by what the file says.
    fn reach(&self, provider: &ModelProvider, providers: &mut Providers) -> Result<(), ManifestError> {
        let spec = &provider.spec;
        if let Some(anthropic) = &spec.anthropic {
            let reference = &anthropic.api_key_secret_ref;
            let asker = "spec.anthropic.apiKeySecretRef";
            let key = self.key(provider, asker, reference)?;
            let api_key = key.or_else(|| providers.anthropic.api_key.clone());
            if api_key.is_none() {
                return Err(self.no_key(provider, asker, reference, "ANTHROPIC_API_KEY"));
            }
            providers.anthropic = Anthropic {
                api_key,
                base_url: anthropic.base_url.clone(),
            };
        }
        if let Some(openai) = &spec.openai {
            let asker = "spec.openai.apiKeySecretRef";
            let api_key = match &openai.api_key_secret_ref {
                Some(reference) => {
                    let key = self.key(provider, asker, reference)?;
                    let known = key.or_else(|| providers.openai.api_key.clone());
                    Some(known.ok_or_else(|| self.no_key(provider, asker, reference, "OPENAI_API_KEY"))?)
                }
                None if openai.base_url.is_none() => {
                    return Err(self.incomplete(
                        format!("the ModelProvider {} has no API key", full_name(provider)),
                        format!("add {asker}, or spec.openai.baseURL of a server that needs none"),
                    ));
                }
                None => None,
            };
            providers.openai = OpenAi {
                api_key,
                base_url: openai.base_url.clone(),
                api: match openai.api {
                    api::OpenAiApi::ChatCompletions => OpenAiApi::ChatCompletions,
                    api::OpenAiApi::Responses => OpenAiApi::Responses,
                },
                ..providers.openai.clone()
            };
        }
        Ok(())
    }

    fn key(
        &self,
        provider: &ModelProvider,
        asker: &str,
        reference: &SecretKeyRef,
    ) -> Result<Option<SecretString>, ManifestError> {
        let asker = format!("{asker} of the ModelProvider {}", full_name(provider));
        self.trimmed(
            self.namespace_of(provider),
            &asker,
            &reference.name,
            &reference.key,
        )
    }

    fn no_key(
        &self,
        provider: &ModelProvider,
        asker: &str,
        reference: &SecretKeyRef,
        variable: &str,
    ) -> ManifestError {
        let SecretKeyRef { name, key } = reference;
        self.incomplete(
            format!(
                "{asker} of the ModelProvider {} names the Secret {name}, which the file does not hold",
                full_name(provider)
            ),
            format!("add the Secret with the key {key}, or set {variable}"),
        )
    }

    fn price(&self, model: &str, price: &Price) -> Result<ModelPrice, ManifestError> {
        let path = FieldPath::of(["spec", "prices", model]);
        let wrong = |field: &str, error: &serde::de::value::Error| {
            self.incomplete(path.key(field).to_string(), error.to_string())
        };
        let rate = |field: &str, dollars: f64| exact(dollars).map_err(|error| wrong(field, &error));
        let optional = |field: &str, dollars: Option<f64>| dollars.map(|it| rate(field, it)).transpose();
        Ok(ModelPrice {
            input: rate("input", price.input)?,
            output: rate("output", price.output)?,
            cache_write: optional("cacheWrite", price.cache_write)?,
            cache_read: optional("cacheRead", price.cache_read)?,
            above: Vec::new(),
        })
    }
}

/// What was written: the shortest decimal that gives the same float.
fn exact(dollars: f64) -> Result<Rate, serde::de::value::Error> {
    let deserializer: F64Deserializer<serde::de::value::Error> = dollars.into_deserializer();
    Rate::deserialize(deserializer)
}

//! Which models a Catalog and its `ModelProvider` name, how they are reached and what they cost, as `llm` wants it.
//!
//! Pure: nothing is read or asked here. It must not know where the resources come from, a file or a cluster, nor
//! where a key was found.

use secrecy::SecretString;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::F64Deserializer;
use thiserror::Error;

use crate::api::catalog::ModelChoice;
use crate::api::field::FieldPath;
use crate::api::model_provider::{self as api, Price};
use crate::api::{ModelProviderSpec, SecretKeyRef};
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
    /// The rates that the `ModelProvider` sets, and no others.
    pub prices: Prices,
}

/// Which models write where neither a Catalog nor a `ModelProvider` says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usual<'a> {
    /// The first to be asked, if there is one.
    pub model: Option<&'a ModelSpec>,
    /// Those to go on with.
    pub fallbacks: &'a [ModelSpec],
}

/// Why no models come of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModelsError {
    /// Nobody says which model.
    #[error(
        "the Catalog names no model, and the operator has no default one: name a ModelProvider by spec.model.providerRef"
    )]
    None,
    /// A model without a provider.
    #[error(
        "spec.model names a model, but no providerRef, and the operator has no default model: name a ModelProvider by spec.model.providerRef"
    )]
    NoProvider,
    /// A provider without a model.
    #[error(
        "neither spec.model.name of the Catalog nor spec.defaultModel of its ModelProvider names a model: add one of them"
    )]
    Unnamed,
    /// No model can have this name.
    #[error("{name:?} is no model's name: write it as the provider does, without spaces")]
    Name {
        /// What was written.
        name: String,
    },
    /// The provider's own servers want a key.
    #[error(
        "the ModelProvider has no API key: add spec.openai.apiKeySecretRef, or spec.openai.baseURL of a server that needs none"
    )]
    Keyless,
    /// A price can't be counted.
    #[error("{path}: {message}")]
    Price {
        /// Which field of the `ModelProvider`.
        path: FieldPath,
        /// What is wrong with it.
        message: String,
    },
}

/// What comes of a Catalog's choice, the provider that it names (or that is taken where it names none) and what
/// is usual elsewhere.
///
/// The provider comes with the key that its [`key_ref`] names. Without one all is the same but that nothing can
/// be asked: for whoever only wants to know what would be. Of `known`, keys and base URLs reach the usual models
/// alone; no provider gets what is the operator's.
pub fn resolve(
    choice: Option<&ModelChoice>,
    provider: Option<(&ModelProviderSpec, Option<SecretString>)>,
    usual: Usual<'_>,
    known: &Providers,
) -> Result<Models, ModelsError> {
    let spec = provider.as_ref().map(|(spec, _)| *spec);
    let (model, fallbacks) = chosen(choice, spec, usual)?;
    let Some((spec, key)) = provider else {
        return Ok(Models {
            model,
            fallbacks,
            providers: known.clone(),
            prices: Prices::default(),
        });
    };
    let mut providers = Providers {
        timeouts: known.timeouts,
        ..Providers::default()
    };
    reach(spec, key, &mut providers)?;
    Ok(Models {
        model,
        fallbacks,
        providers,
        prices: prices(spec)?,
    })
}

/// How a provider is spoken to.
pub fn kind(spec: &ModelProviderSpec) -> Provider {
    if spec.anthropic.is_some() {
        Provider::Anthropic
    } else if spec.openai.is_some() {
        Provider::OpenAi
    } else {
        Provider::Builtin
    }
}

/// Where a provider's key is.
pub fn key_ref(spec: &ModelProviderSpec) -> Option<&SecretKeyRef> {
    let anthropic = spec.anthropic.as_ref().map(|it| &it.api_key_secret_ref);
    anthropic.or_else(|| spec.openai.as_ref()?.api_key_secret_ref.as_ref())
}

/// The field that says where a provider's key is, for people.
pub fn key_field(spec: &ModelProviderSpec) -> &'static str {
    match kind(spec) {
        Provider::Anthropic => "spec.anthropic.apiKeySecretRef",
        Provider::OpenAi => "spec.openai.apiKeySecretRef",
        Provider::Builtin => "spec",
    }
}

/// The base URL that a provider has of its own.
pub fn base_url(spec: &ModelProviderSpec) -> Option<&str> {
    let anthropic = spec.anthropic.as_ref().and_then(|it| it.base_url.as_deref());
    anthropic.or_else(|| spec.openai.as_ref()?.base_url.as_deref())
}

/// The model to ask first, and those to go on with.
pub fn chosen(
    choice: Option<&ModelChoice>,
    spec: Option<&ModelProviderSpec>,
    usual: Usual<'_>,
) -> Result<(ModelSpec, Vec<ModelSpec>), ModelsError> {
    let name = choice.and_then(|choice| choice.name.as_deref());
    let said = choice.map_or(&[][..], |choice| &choice.fallbacks);
    let kind = match (spec, usual.model) {
        (Some(spec), _) => kind(spec),
        (None, Some(usual)) => usual.provider,
        (None, None) if name.is_none() && said.is_empty() => return Err(ModelsError::None),
        (None, None) => return Err(ModelsError::NoProvider),
    };
    let name = name.or_else(|| spec?.default_model.as_deref());
    let first = match (name, spec, usual.model) {
        (Some(name), _, _) => model(kind, name)?,
        (None, None, Some(usual)) => usual.clone(),
        (None, _, _) if kind == Provider::Builtin => ModelSpec {
            provider: kind,
            name: String::new(),
        },
        (None, _, _) => return Err(ModelsError::Unnamed),
    };
    let names = match spec {
        Some(spec) if said.is_empty() => &spec.fallbacks,
        _ => said,
    };
    let mut others = names
        .iter()
        .map(|name| model(kind, name))
        .collect::<Result<Vec<_>, _>>()?;
    if spec.is_none() && said.is_empty() {
        others.extend_from_slice(usual.fallbacks);
    }
    let mut fallbacks = Vec::new();
    for fallback in others {
        if fallback != first && !fallbacks.contains(&fallback) {
            fallbacks.push(fallback);
        }
    }
    Ok((first, fallbacks))
}

fn model(provider: Provider, name: &str) -> Result<ModelSpec, ModelsError> {
    format!("{provider}/{name}")
        .parse()
        .map_err(|_| ModelsError::Name {
            name: name.to_owned(),
        })
}

/// Replaces what is known of a provider of this kind by what the spec says.
pub fn reach(
    spec: &ModelProviderSpec,
    key: Option<SecretString>,
    providers: &mut Providers,
) -> Result<(), ModelsError> {
    if let Some(anthropic) = &spec.anthropic {
        providers.anthropic = Anthropic {
            api_key: key,
            base_url: anthropic.base_url.clone(),
        };
    } else if let Some(openai) = &spec.openai {
        if openai.api_key_secret_ref.is_none() && openai.base_url.is_none() {
            return Err(ModelsError::Keyless);
        }
        providers.openai = OpenAi {
            api_key: key.filter(|_| openai.api_key_secret_ref.is_some()),
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

/// The rates that a provider sets for models of its own.
pub fn prices(spec: &ModelProviderSpec) -> Result<Prices, ModelsError> {
    let kind = kind(spec);
    let mut prices = Prices::default();
    for (name, written) in &spec.prices {
        prices.set(&model(kind, name)?, price(name, written)?);
    }
    Ok(prices)
}

fn price(model: &str, price: &Price) -> Result<ModelPrice, ModelsError> {
    let path = FieldPath::of(["spec", "prices", model]);
    let rate = |field: &str, dollars: f64| {
        exact(dollars).map_err(|error| ModelsError::Price {
            path: path.key(field),
            message: error.to_string(),
        })
    };
    let optional = |field: &str, dollars: Option<f64>| dollars.map(|it| rate(field, it)).transpose();
    Ok(ModelPrice {
        input: rate("input", price.input)?,
        output: rate("output", price.output)?,
        cache_write: optional("cacheWrite", price.cache_write)?,
        cache_read: optional("cacheRead", price.cache_read)?,
        above: Vec::new(),
    })
}

/// What was written: the shortest decimal that gives the same float.
fn exact(dollars: f64) -> Result<Rate, serde::de::value::Error> {
    let deserializer: F64Deserializer<serde::de::value::Error> = dollars.into_deserializer();
    Rate::deserialize(deserializer)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: Value) -> ModelProviderSpec {
        serde_json::from_value(value).unwrap()
    }

    fn anthropic() -> ModelProviderSpec {
        spec(json!({
            "anthropic": {"apiKeySecretRef": {"name": "s", "key": "k"}}, "defaultModel": "usual",
            "fallbacks": ["a", "usual", "b"], "prices": {"a": {"input": 1, "output": 2.5}},
        }))
    }

    fn choice(value: Value) -> ModelChoice {
        serde_json::from_value(value).unwrap()
    }

    fn known() -> Providers {
        Providers::from_env(|name| Some(format!("https://operators.example/{name}")))
    }

    fn names(models: &Models) -> Vec<String> {
        std::iter::once(&models.model)
            .chain(&models.fallbacks)
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_provider_gets_nothing_that_is_the_operators() {
        let key = || Some(SecretString::from("theirs"));
        let models = resolve(None, Some((&anthropic(), key())), Usual::default(), &known()).unwrap();
        assert_eq!(names(&models), ["anthropic/usual", "anthropic/a", "anthropic/b"]);
        assert!(models.prices.get(&models.fallbacks[0]).is_some());
        let Providers {
            anthropic, openai, ..
        } = models.providers;
        assert_eq!(anthropic.api_key.unwrap().expose_secret(), "theirs");
        assert_eq!(anthropic.base_url, None);
        assert!(openai.api_key.is_none() && openai.base_url.is_none());
        // Also where it names no key, or none was read.
        let open = spec(json!({"openai": {"baseURL": "http://h/v1"}, "defaultModel": "m"}));
        for (spec, key) in [(&open, None), (&open, key()), (&self::anthropic(), None)] {
            let models = resolve(None, Some((spec, key)), Usual::default(), &known()).unwrap();
            let Providers {
                anthropic, openai, ..
            } = models.providers;
            assert!(anthropic.api_key.is_none() && openai.api_key.is_none());
        }
    }

    #[test]
    fn what_nobody_says_is_as_usual() {
        let first: ModelSpec = "anthropic/first".parse().unwrap();
        let fallbacks: [ModelSpec; 2] = ["openai/other", "anthropic/mine"].map(|it| it.parse().unwrap());
        let usual = Usual {
            model: Some(&first),
            fallbacks: &fallbacks,
        };
        for (said, expected) in [
            (
                json!({}),
                &["anthropic/first", "openai/other", "anthropic/mine"][..],
            ),
            (json!({"name": "mine"}), &["anthropic/mine", "openai/other"]),
            (
                json!({"fallbacks": ["x", "first"]}),
                &["anthropic/first", "anthropic/x"],
            ),
        ] {
            let models = resolve(Some(&choice(said)), None, usual, &known()).unwrap();
            assert_eq!(names(&models), expected);
            assert!(models.providers.anthropic.api_key.is_some());
        }
        assert_eq!(resolve(None, None, usual, &known()).unwrap().model, first);
        // A provider's models are not mixed with others.
        let with = Some((&anthropic(), None));
        let models = resolve(Some(&choice(json!({"name": "x"}))), with, usual, &known()).unwrap();
        assert_eq!(
            names(&models),
            ["anthropic/x", "anthropic/a", "anthropic/usual", "anthropic/b"]
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let none = Usual::default();
        let fails = |said: Option<Value>, provider: Option<Value>| {
            let provider = provider.map(spec);
            let provider = provider.as_ref().map(|it| (it, None));
            resolve(said.map(choice).as_ref(), provider, none, &Providers::default()).unwrap_err()
        };
        assert_eq!(fails(None, None), ModelsError::None);
        assert_eq!(fails(Some(json!({})), None), ModelsError::None);
        assert_eq!(fails(Some(json!({"name": "x"})), None), ModelsError::NoProvider);
        assert_eq!(
            fails(Some(json!({"fallbacks": ["x"]})), None),
            ModelsError::NoProvider
        );
        assert_eq!(
            fails(None, Some(json!({"openai": {"baseURL": "http://h"}}))),
            ModelsError::Unnamed
        );
        assert_eq!(
            fails(None, Some(json!({"openai": {}, "defaultModel": "m"}))),
            ModelsError::Keyless
        );
        let name = fails(Some(json!({"name": "a b"})), Some(json!({"builtin": {}})));
        assert_eq!(
            name.to_string(),
            "\"a b\" is no model's name: write it as the provider does, without spaces"
        );
        let price = json!({"builtin": {}, "prices": {"x.y": {"input": 1, "output": 3e-7}}});
        let said = fails(None, Some(price)).to_string();
        assert!(
            said.starts_with("spec.prices[\"x.y\"].output: \"0.0000003\" is not an amount"),
            "{said}"
        );
    }
}

//! The models of a manifest: what [`crate::models`] makes of it, with what its file and the caller know of keys.

use secrecy::SecretString;

use super::names::full_name;
use super::{Manifest, ManifestError};
use crate::api::{ModelProvider, SecretKeyRef};
use crate::llm::prices::Prices;
use crate::llm::{ModelSpec, Provider, Providers};
use crate::models::{self, Models, ModelsError, Usual};

impl Manifest {
    /// The models that the Catalog names; nothing if it names neither a model nor a provider.
    ///
    /// `known` is what the caller has: keys that the file lacks are taken from there, timeouts too, but no
    /// base URL where the file describes the provider. `usual` is the model that is asked where nobody says
    /// anything: a Catalog that names no provider names another one of its provider.
    pub fn models(
        &self,
        known: &Providers,
        usual: Option<&ModelSpec>,
    ) -> Result<Option<Models>, ManifestError> {
        let Some(choice) = &self.catalog.spec.model else {
            return Ok(None);
        };
        let provider = self.provider()?;
        if provider.is_none() && choice.name.is_none() && choice.fallbacks.is_empty() {
            return Ok(None);
        }
        let usual = Usual {
            model: usual,
            fallbacks: &[],
        };
        let (model, fallbacks) = models::chosen(Some(choice), provider.map(|it| &it.spec), usual)
            .map_err(|error| self.no_models(provider, &error))?;
        self.reached(provider, model, fallbacks, known).map(Some)
    }

    /// A model that somebody asks for in place of those that the Catalog names. Of the file counts how its
    /// provider is reached, if the Catalog names one of the same kind.
    pub fn models_of(&self, model: &ModelSpec, known: &Providers) -> Result<Models, ManifestError> {
        // That it is not there does not matter any more.
        let provider = self.provider().ok().flatten();
        let provider = provider.filter(|it| models::kind(&it.spec) == model.provider);
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
            let wrong = |error: ModelsError| self.no_models(Some(provider), &error);
            let key = self.key(provider, known)?;
            models::reach(&provider.spec, key, &mut providers).map_err(wrong)?;
            prices = models::prices(&provider.spec).map_err(wrong)?;
        }
        Ok(Models {
            model,
            fallbacks,
            providers,
            prices,
        })
    }

    /// The key that a provider wants, if it wants one: out of the file, or else what the caller has.
    fn key(
        &self,
        provider: &ModelProvider,
        known: &Providers,
    ) -> Result<Option<SecretString>, ManifestError> {
        let Some(SecretKeyRef { name, key }) = models::key_ref(&provider.spec) else {
            return Ok(None);
        };
        let (known, variable) = match models::kind(&provider.spec) {
            Provider::Anthropic => (&known.anthropic.api_key, "ANTHROPIC_API_KEY"),
            _ => (&known.openai.api_key, "OPENAI_API_KEY"),
        };
        let field = models::key_field(&provider.spec);
        let asker = format!("{field} of the ModelProvider {}", full_name(provider));
        let held = self.trimmed(self.namespace_of(provider), &asker, name, key)?;
        let Some(found) = held.or_else(|| known.clone()) else {
            return Err(self.incomplete(
                format!("{asker} names the Secret {name}, which the file does not hold"),
                format!("add the Secret with the key {key}, or set {variable}"),
            ));
        };
        Ok(Some(found))
    }

    /// The error in the words of a file.
    fn no_models(&self, provider: Option<&ModelProvider>, error: &ModelsError) -> ManifestError {
        match error {
            ModelsError::NoProvider => self.incomplete(
                "spec.model names a model, but no providerRef",
                "add a ModelProvider to the file and name it, or give --model PROVIDER/NAME",
            ),
            ModelsError::Unnamed => self.incomplete(
                "neither spec.model.name of the Catalog nor spec.defaultModel of its ModelProvider names a model",
                "add one of them, or give --model",
            ),
            ModelsError::Keyless => self.incomplete(
                format!("the ModelProvider {} has no API key", provider.map(full_name).unwrap_or_default()),
                "add spec.openai.apiKeySecretRef, or spec.openai.baseURL of a server that needs none",
            ),
            ModelsError::Name { name } => self.incomplete(
                format!("{name:?} is no model's name"),
                "write it as the provider does, without spaces",
            ),
            ModelsError::Price { path, message } => self.incomplete(path.to_string(), message),
            ModelsError::None => self.incomplete("no model is named", "give --model"),
        }
    }
}

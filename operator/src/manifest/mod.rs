//! What a user gives to a cluster, out of the text of a file: a Catalog, and the Secrets, the `ModelProvider` and the
//! `ConfigMap` that it refers to. What the API server would refuse is refused here, with the place.
//!
//! It must not know where the text comes from, nor a cluster; what the file doesn't hold is the caller's to
//! find, who has an environment. No secret is shown: not by an error, a note or `Debug`.

mod config_map;
mod documents;
mod error;
mod locate;
mod models;
mod names;
mod notes;
mod resources;
mod schema;
mod secret;
mod storage;
mod tree;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use secrecy::{ExposeSecret as _, SecretString};

use self::config_map::ConfigMap;
use self::names::{full_name, in_namespace};
use self::notes::{Unused, numbered};
use self::resources::{Found, Resources};
use self::secret::{Content, Secret};
use crate::api::{Catalog, ModelProvider};

pub use error::{Fault, ManifestError};
pub use storage::Bucket;

/// What a file says of one Catalog.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The Catalog, without a status.
    pub catalog: Catalog,
    /// What of the file is not used, and why, for people.
    pub notes: Vec<String>,
    origin: String,
    providers: Vec<ModelProvider>,
    secrets: Vec<Secret>,
    config_maps: Vec<ConfigMap>,
}

/// Prompts of a Catalog's own, as a `ConfigMap` has them. Nobody has read them yet.
#[derive(Debug, Clone)]
pub struct PromptTexts {
    /// What holds them, for people.
    pub origin: String,
    /// The texts, by their names.
    pub texts: BTreeMap<String, String>,
}

/// Reads a text. `origin` is what it is called, for people; `name` says which Catalog is meant if there are
/// several, as `NAME` or `NAMESPACE/NAME`.
pub fn read(text: &str, origin: &str, name: Option<&str>) -> Result<Manifest, ManifestError> {
    let (resources, faults) = resources::read(text, origin);
    if !faults.is_empty() {
        return Err(ManifestError::Wrong(faults));
    }
    let Resources {
        catalogs,
        schedules,
        providers,
        secrets,
        config_maps,
        others,
    } = resources;
    let unused = Unused {
        others,
        schedules: schedules.iter().map(|it| numbered(it, full_name)).collect(),
        providers: providers.iter().map(|it| numbered(it, full_name)).collect(),
        secrets: secrets.iter().map(|it| numbered(it, Secret::full_name)).collect(),
        config_maps: config_maps
            .iter()
            .map(|it| numbered(it, ConfigMap::full_name))
            .collect(),
    };
    let (catalog, rest) = choose(catalogs, name, origin, &unused)?;
    let mut manifest = Manifest {
        catalog,
        notes: Vec::new(),
        origin: origin.to_owned(),
        providers: providers.into_iter().map(|it| it.resource).collect(),
        secrets: secrets.into_iter().map(|it| it.resource).collect(),
        config_maps: config_maps.into_iter().map(|it| it.resource).collect(),
    };
    manifest.notes = unused.notes(&manifest, &rest);
    Ok(manifest)
}

fn choose(
    catalogs: Vec<Found<Catalog>>,
    name: Option<&str>,
    origin: &str,
    unused: &Unused,
) -> Result<(Catalog, Vec<Found<String>>), ManifestError> {
    let origin = origin.to_owned();
    if catalogs.is_empty() {
        let found = unused.found();
        if let Some(schedule) = unused.schedules.first() {
            let schedule = schedule.resource.clone();
            return Err(ManifestError::OnlySchedule { origin, schedule });
        }
        return Err(if found.is_empty() {
            ManifestError::Empty { origin }
        } else {
            ManifestError::NoCatalog { origin, found }
        });
    }
    let names = |catalogs: &[Found<Catalog>]| -> Vec<String> {
        catalogs.iter().map(|it| full_name(&it.resource)).collect()
    };
    let is = |it: &Found<Catalog>| {
        name.is_none_or(|name| it.resource.name_any() == name || full_name(&it.resource) == name)
    };
    let all = names(&catalogs);
    let (mut chosen, rest): (Vec<_>, Vec<_>) = catalogs.into_iter().partition(is);
    match (chosen.pop(), chosen.is_empty()) {
        (Some(one), true) => {
            let rest = rest.iter().map(|it| numbered(it, full_name)).collect();
            Ok((one.resource, rest))
        }
        (Some(last), false) => {
            chosen.push(last);
            let names = names(&chosen);
            Err(ManifestError::Several { origin, names })
        }
        (None, _) => Err(ManifestError::NotThere {
            origin,
            name: name.unwrap_or_default().to_owned(),
            names: all,
        }),
    }
}

/// Out of those of one name, the one of the namespace; or one that says none, which is in any.
fn of_namespace<'a, T>(
    named: impl Iterator<Item = &'a T> + Clone,
    namespace_of: impl Fn(&T) -> Option<&str>,
    wanted: Option<&str>,
) -> Option<&'a T> {
    let mut exact = named.clone();
    let mut open = named;
    exact
        .find(|it| namespace_of(it) == wanted)
        .or_else(|| open.find(|it| wanted.is_none() || namespace_of(it).is_none()))
}

impl Manifest {
    /// A value of a Secret in the Catalog's namespace; nothing if the file doesn't hold the Secret.
    pub fn secret(&self, name: &str, key: &str) -> Result<Option<&SecretString>, ManifestError> {
        self.secret_in(self.namespace(), "the Catalog", name, key)
    }

    /// The database's URL, without white space around it; nothing if the file doesn't hold the Secret.
    pub fn database_url(&self) -> Result<Option<SecretString>, ManifestError> {
        let reference = &self.catalog.spec.database.secret_ref;
        let asker = "spec.database.secretRef";
        self.trimmed(self.namespace(), asker, &reference.name, &reference.key)
    }

    /// The prompts that the Catalog names; nothing if it names none.
    pub fn prompts(&self) -> Result<Option<PromptTexts>, ManifestError> {
        let Some(choice) = &self.catalog.spec.prompts else {
            return Ok(None);
        };
        let (namespace, name) = (self.namespace(), &choice.config_map_ref.name);
        let wanted = format!("the ConfigMap {}", in_namespace(namespace, name));
        match self.find_config_map(namespace, name) {
            Some(found) => Ok(Some(PromptTexts {
                origin: wanted,
                texts: found.texts.clone(),
            })),
            None => Err(self.incomplete(
                format!("spec.prompts.configMapRef names {wanted}, which the file does not hold"),
                "add its document, or give --prompts DIRECTORY",
            )),
        }
    }

    /// The provider that the Catalog names; nothing if it names none.
    pub fn provider(&self) -> Result<Option<&ModelProvider>, ManifestError> {
        let Some((namespace, name)) = self.provider_ref() else {
            return Ok(None);
        };
        let named = self.providers.iter().filter(|it| it.name_any() == name);
        let found = of_namespace(named, |it| it.metadata.namespace.as_deref(), namespace);
        if let Some(provider) = found {
            return Ok(Some(provider));
        }
        Err(ManifestError::NoProvider {
            origin: self.origin.clone(),
            provider: in_namespace(namespace, name),
            found: self.providers.iter().map(full_name).collect(),
        })
    }

    fn namespace(&self) -> Option<&str> {
        self.catalog.metadata.namespace.as_deref()
    }

    /// Namespace and name.
    fn provider_ref(&self) -> Option<(Option<&str>, &str)> {
        let reference = self.catalog.spec.model.as_ref()?.provider_ref.as_ref()?;
        let namespace = reference.namespace.as_deref().or_else(|| self.namespace());
        Some((namespace, &reference.name))
    }

    /// Where a provider's Secrets are.
    fn namespace_of<'a>(&'a self, provider: &'a ModelProvider) -> Option<&'a str> {
        let said = provider.metadata.namespace.as_deref();
        said.or_else(|| self.provider_ref().and_then(|(namespace, _)| namespace))
    }

    fn find_secret(&self, namespace: Option<&str>, name: &str) -> Option<&Secret> {
        let named = self.secrets.iter().filter(|secret| secret.name == name);
        of_namespace(named, |secret| secret.namespace.as_deref(), namespace)
    }

    fn find_config_map(&self, namespace: Option<&str>, name: &str) -> Option<&ConfigMap> {
        let named = self.config_maps.iter().filter(|it| it.name == name);
        of_namespace(named, |it| it.namespace.as_deref(), namespace)
    }

    fn secret_in(
        &self,
        namespace: Option<&str>,
        asker: &str,
        name: &str,
        key: &str,
    ) -> Result<Option<&SecretString>, ManifestError> {
        let Some(secret) = self.find_secret(namespace, name) else {
            return Ok(None);
        };
        match secret.get(key) {
            Some(Content::Text(value)) => Ok(Some(value)),
            Some(Content::Bytes) => Err(self.not_text(asker, name, key, "is not text")),
            None => Err(ManifestError::NoKey {
                origin: self.origin.clone(),
                asker: asker.to_owned(),
                secret: name.to_owned(),
                key: key.to_owned(),
                keys: secret.keys().into_iter().map(str::to_owned).collect(),
            }),
        }
    }

    /// As it is meant: a line end at its end comes from the tool that wrote it.
    fn trimmed(
        &self,
        namespace: Option<&str>,
        asker: &str,
        name: &str,
        key: &str,
    ) -> Result<Option<SecretString>, ManifestError> {
        let Some(value) = self.secret_in(namespace, asker, name, key)? else {
            return Ok(None);
        };
        match value.expose_secret().trim() {
            "" => Err(self.not_text(asker, name, key, "is empty")),
            text => Ok(Some(text.into())),
        }
    }

    fn not_text(&self, asker: &str, secret: &str, key: &str, problem: &'static str) -> ManifestError {
        ManifestError::NotText {
            origin: self.origin.clone(),
            asker: asker.to_owned(),
            secret: secret.to_owned(),
            key: key.to_owned(),
            problem,
        }
    }

    fn incomplete(&self, what: impl Into<String>, advice: impl Into<String>) -> ManifestError {
        ManifestError::Incomplete {
            origin: self.origin.clone(),
            what: what.into(),
            advice: advice.into(),
        }
    }
}

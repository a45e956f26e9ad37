//! What of a file is not used, and why, in words. Must not know what the used rest is for.

use super::Manifest;
use super::names::{full_name, in_namespace};
use super::resources::Found;
use crate::models;

pub(super) fn numbered<T>(found: &Found<T>, name: impl Fn(&T) -> String) -> Found<String> {
    Found {
        document: found.document,
        path: found.path.clone(),
        resource: name(&found.resource),
    }
}

/// The names of what there is, to tell what is not used.
pub(super) struct Unused {
    pub(super) schedules: Vec<Found<String>>,
    pub(super) providers: Vec<Found<String>>,
    pub(super) secrets: Vec<Found<String>>,
    pub(super) config_maps: Vec<Found<String>>,
    pub(super) others: Vec<Found<String>>,
}

impl Unused {
    pub(super) fn found(&self) -> Vec<String> {
        let named = |kind: &'static str| move |it: &Found<String>| format!("{kind} {}", it.resource);
        let schedules = self.schedules.iter().map(named("CatalogSchedule"));
        let providers = self.providers.iter().map(named("ModelProvider"));
        let secrets = self.secrets.iter().map(named("Secret"));
        let config_maps = self.config_maps.iter().map(named("ConfigMap"));
        let others = self.others.iter().map(|it| it.resource.clone());
        schedules
            .chain(providers)
            .chain(secrets)
            .chain(config_maps)
            .chain(others)
            .collect()
    }

    pub(super) fn notes(&self, manifest: &Manifest, rest: &[Found<String>]) -> Vec<String> {
        let used = manifest.used();
        let mut notes: Vec<(usize, String)> = Vec::new();
        let mut note = |it: &Found<String>, kind: &str, why: &str| {
            let (document, name) = (it.document, &it.resource);
            notes.push((
                document,
                format!("{kind}{name} (document {document}) is not used: {why}"),
            ));
        };
        for it in rest {
            note(it, "Catalog ", "another Catalog is chosen");
        }
        for it in &self.schedules {
            note(it, "CatalogSchedule ", "only a cluster follows a schedule");
        }
        for it in &self.others {
            note(it, "", "a run needs no such resource");
        }
        let kinds = [
            (&self.providers, "ModelProvider "),
            (&self.secrets, "Secret "),
            (&self.config_maps, "ConfigMap "),
        ];
        for (all, kind) in kinds {
            for it in all {
                let full = format!("{kind}{}", it.resource);
                if used.iter().any(|used| used.found.as_ref() == Some(&full)) {
                    continue;
                }
                // Of the right name, in the wrong namespace.
                let bare = it.resource.rsplit('/').next().unwrap_or_default();
                let near = used
                    .iter()
                    .find(|used| used.found.is_none() && used.bare == format!("{kind}{bare}"));
                match near {
                    Some(used) => note(it, kind, &format!("it is looked for as {}", used.wanted)),
                    None => note(it, kind, "neither the Catalog nor its ModelProvider refers to it"),
                }
            }
        }
        notes.sort_by_key(|(document, _)| *document);
        notes.into_iter().map(|(_, note)| note).collect()
    }
}

/// What is referred to.
struct Used {
    /// By its kind and full name, if it is there.
    found: Option<String>,
    /// Its kind and name.
    bare: String,
    /// Its full name as it is looked for.
    wanted: String,
}

impl Manifest {
    fn used(&self) -> Vec<Used> {
        let spec = &self.catalog.spec;
        let own = self.namespace();
        let mut used = Vec::new();
        let mut secret = |namespace: Option<&str>, name: &str| {
            let found = self.find_secret(namespace, name);
            used.push(Used {
                found: found.map(|secret| format!("Secret {}", secret.full_name())),
                bare: format!("Secret {name}"),
                wanted: in_namespace(namespace, name),
            });
        };
        secret(own, &spec.database.secret_ref.name);
        if let Some(reference) = &spec.storage.s3.credentials_secret_ref {
            secret(own, &reference.name);
        }
        let provider = self.provider().ok().flatten();
        if let Some(provider) = provider
            && let Some(reference) = models::key_ref(&provider.spec)
        {
            secret(self.namespace_of(provider), &reference.name);
        }
        if let Some(choice) = &spec.prompts {
            let name = &choice.config_map_ref.name;
            let found = self.find_config_map(own, name);
            used.push(Used {
                found: found.map(|it| format!("ConfigMap {}", it.full_name())),
                bare: format!("ConfigMap {name}"),
                wanted: in_namespace(own, name),
            });
        }
        if let Some((namespace, name)) = self.provider_ref() {
            used.push(Used {
                found: provider.map(|provider| format!("ModelProvider {}", full_name(provider))),
                bare: format!("ModelProvider {name}"),
                wanted: in_namespace(namespace, name),
            });
        }
        used
    }
}

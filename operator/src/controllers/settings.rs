//! What the operator's configuration says: whom it serves, its defaults, and what the authors of Catalogs may choose.
//!
//! Plain data, and pure questions to it. What is not said is forbidden. Must not know where it was said.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;

use crate::llm::{ModelSpec, Providers};
use crate::sandbox::pod::manifest::Shape;
use crate::store::{Prefix, S3Options};

/// The operator's configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose sandboxes are ours: labels have it. The name of the lease, too.
    pub installation: String,
    /// The namespaces that are served; all, if empty.
    pub namespaces: BTreeSet<String>,
    /// The operator's own.
    pub home: String,
    /// Where sandboxes live that need nothing of their Catalog's namespace.
    pub sandboxes: String,
    /// The cluster's domain.
    pub domain: String,
    /// The usual sandbox.
    pub shape: Shape,
    /// How many runs may be under way at once.
    pub most_runs: usize,
    /// Where pages go whose Catalog does not say.
    pub bucket: Option<OwnBucket>,
    /// Which models write where a Catalog does not say.
    pub model: DefaultModel,
    /// What authors of Catalogs may choose.
    pub allowed: Allowed,
    /// How long a stop may wait for what is under way.
    pub grace: Duration,
}

/// The operator's own bucket, which only its own credentials open.
#[derive(Debug, Clone)]
pub struct OwnBucket {
    /// Which, and how to reach it.
    pub options: S3Options,
    /// What all keys begin with, before the Catalog's namespace.
    pub prefix: Prefix,
}

/// Which models write where a Catalog does not say.
#[derive(Debug, Clone, Default)]
pub struct DefaultModel {
    /// The first to be asked; none, if a Catalog has to say.
    pub model: Option<ModelSpec>,
    /// Those to go on with.
    pub fallbacks: Vec<ModelSpec>,
    /// How they are reached.
    pub providers: Providers,
    /// The `ModelProvider` to take instead, by namespace and name.
    pub provider: Option<(String, String)>,
}

/// What authors of Catalogs may choose. To begin with, nothing.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// Images of sandboxes.
    pub images: Patterns,
    /// Runtime classes.
    pub runtime_classes: Patterns,
    /// Endpoints of S3 servers.
    pub endpoints: Patterns,
    /// Base URLs of providers.
    pub base_urls: Patterns,
    /// Labels of nodes, as `KEY=VALUE`.
    pub node_selectors: Patterns,
    /// Keys of taints that may be tolerated.
    pub tolerations: Patterns,
    /// Networks that a sandbox may reach besides its database.
    pub egress: Vec<IpNet>,
}

impl Allowed {
    /// Whether all of a network is within one that is allowed.
    pub fn egress(&self, network: &IpNet) -> bool {
        self.egress.iter().any(|allowed| allowed.contains(network))
    }
}

/// Texts, of which those that end in `*` stand for all that begin so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Whether one of them fits.
    pub fn allow(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(begin) => text.starts_with(begin),
            None => text == pattern,
        })
    }
}

impl<T: Into<String>> FromIterator<T> for Patterns {
    fn from_iter<I: IntoIterator<Item = T>>(patterns: I) -> Self {
        Self(patterns.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allowed_that_is_not_said() {
        assert!(!Patterns::default().allow(""));
        let images: Patterns = ["registry.example/team/*", "exact:1"].into_iter().collect();
        for (image, allowed) in [
            ("registry.example/team/sandbox:2", true),
            ("registry.example/teams:2", false),
            ("exact:1", true),
            ("exact:12", false),
            ("*", false),
        ] {
            assert_eq!(images.allow(image), allowed, "{image}");
        }
        let allowed = Allowed {
            egress: vec!["10.1.0.0/16".parse().unwrap()],
            ..Allowed::default()
        };
        for (network, fits) in [
            ("10.1.2.0/24", true),
            ("10.0.0.0/8", false),
            ("10.2.0.0/16", false),
            ("::/0", false),
        ] {
            assert_eq!(allowed.egress(&network.parse().unwrap()), fits, "{network}");
        }
    }
}

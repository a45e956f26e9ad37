//! Whether a provider can be used: what its spec says, whether its key is there, and whether it works.

use kube::Client;

use super::money;
use super::reason::{Reason, Standing};
use crate::api::{ModelProviderSpec, SecretKeyRef};
use crate::controllers::secrets::{self, SecretError};
use crate::llm::{Http, Probed, Providers, Timeouts};
use crate::models::{self, ModelsError, Usual};

/// What stands in the way of any use, whatever the key is. Pure.
pub(super) fn objection(spec: &ModelProviderSpec, allowed: &dyn Fn(&str) -> bool) -> Option<Standing> {
    if let Some(url) = models::base_url(spec)
        && !allowed(url)
    {
        return Some(Standing::new(
            Reason::NotAllowed,
            format!(
                "the operator's configuration does not allow the base URL {url:?}: take another one, or start the operator with --allow-base-url"
            ),
        ));
    }
    let chosen = models::chosen(None, Some(spec), Usual::default());
    let wrong = |error: &ModelsError| match error {
        ModelsError::Keyless => Standing::new(Reason::KeyMissing, error.to_string()),
        _ => Standing::new(Reason::NotUnderstood, error.to_string()),
    };
    let asked = match chosen {
        Ok((model, fallbacks)) => std::iter::once(model).chain(fallbacks).collect(),
        // Catalogs may name one.
        Err(ModelsError::Unnamed) => Vec::new(),
        Err(error) => return Some(wrong(&error)),
    };
    if let Err(error) = models::prices(spec).and(models::reach(spec, None, &mut Providers::default())) {
        return Some(wrong(&error));
    }
    let unpriced = money::unpriced(spec, &asked);
    let first = unpriced.first()?;
    Some(Standing::new(
        Reason::PriceUnknown,
        format!("{first} has no known price, so spec.budget can't be kept: add its price to spec.prices"),
    ))
}

/// Reads the key, and asks the provider about it. Says, too, whether a key was seen to work.
pub(super) async fn check(
    client: &Client,
    http: &Http,
    timeouts: Timeouts,
    namespace: &str,
    spec: &ModelProviderSpec,
) -> (Standing, bool) {
    let key = match models::key_ref(spec) {
        None => None,
        Some(SecretKeyRef { name, key }) => {
            match secrets::get(client, namespace, name, models::key_field(spec), key).await {
                Ok(key) => Some(key),
                Err(error) => return (unread(&error), false),
            }
        }
    };
    let mut providers = Providers {
        timeouts,
        ..Providers::default()
    };
    let has_key = key.is_some();
    if let Err(error) = models::reach(spec, key, &mut providers) {
        return (Standing::new(Reason::NotUnderstood, error.to_string()), false);
    }
    match providers.probe(http, models::kind(spec)).await {
        Ok(probed) => {
            let proved = has_key && probed == Probed::Works;
            (told(probed), proved)
        }
        // The key has characters that no key has, or the base URL is none.
        Err(error) => (Standing::new(Reason::NotUnderstood, error.to_string()), false),
    }
}

fn unread(error: &SecretError) -> Standing {
    let reason = match error {
        SecretError::Missing { .. } => Reason::SecretMissing,
        SecretError::NoKey { .. } => Reason::KeyMissing,
        SecretError::Unusable { .. } => Reason::KeyEmpty,
        SecretError::Forbidden { .. } => Reason::SecretForbidden,
        SecretError::Unavailable { .. } => Reason::Unreachable,
    };
    Standing::new(reason, error.to_string())
}

fn told(probed: Probed) -> Standing {
    match probed {
        Probed::Works => Standing::new(Reason::Ready, "it can be used"),
        Probed::Refused { message } => Standing::new(Reason::KeyRefused, message),
        Probed::NoList { message } => Standing::new(
            Reason::Ready,
            format!(
                "it has no list of models ({message}), so whether the key works is known only when a model is asked"
            ),
        ),
        Probed::Away { message } => {
            Standing::new(Reason::Unreachable, format!("{message}; it is tried again"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object_to(spec: Value) -> Option<Reason> {
        let spec = serde_json::from_value(spec).unwrap();
        let allowed = |url: &str| url.starts_with("https://good.example/");
        objection(&spec, &allowed).map(|standing| standing.reason)
    }

    #[test]
    fn what_is_in_the_way_is_told_before_the_key_is_read() {
        let key = json!({"name": "s", "key": "k"});
        let anthropic = json!({"apiKeySecretRef": key});
        for (spec, reason) in [
            (json!({"anthropic": anthropic}), None),
            (json!({"anthropic": anthropic, "defaultModel": "odd"}), None),
            (json!({"builtin": {}, "budget": {"amount": 1}}), None),
            (json!({"openai": {"baseURL": "https://good.example/v1"}}), None),
            (
                json!({"openai": {"baseURL": "https://bad.example/v1"}}),
                Some(Reason::NotAllowed),
            ),
            (
                json!({"openai": {}, "defaultModel": "m"}),
                Some(Reason::KeyMissing),
            ),
            (json!({"openai": {}}), Some(Reason::KeyMissing)),
            (
                json!({"anthropic": anthropic, "defaultModel": "a b"}),
                Some(Reason::NotUnderstood),
            ),
            (
                json!({"anthropic": anthropic, "prices": {"x": {"input": 1e-9, "output": 1}}}),
                Some(Reason::NotUnderstood),
            ),
            (
                json!({"anthropic": anthropic, "defaultModel": "claude-sonnet-5-5", "budget": {"amount": 1}}),
                None,
            ),
            (
                json!({"anthropic": anthropic, "defaultModel": "claude-sonnet-5-5", "fallbacks": ["odd"],
                    "budget": {"amount": 1}}),
                Some(Reason::PriceUnknown),
            ),
            (
                json!({"anthropic": anthropic, "defaultModel": "odd", "budget": {"amount": 1},
                    "prices": {"odd": {"input": 1, "output": 1}}}),
                None,
            ),
        ] {
            assert_eq!(object_to(spec.clone()), reason, "{spec}");
        }
    }

    #[test]
    fn a_secret_that_is_not_there_is_not_a_key_that_is_wrong() {
        let missing = unread(&SecretError::Missing {
            asker: "spec.anthropic.apiKeySecretRef".into(),
            secret: "team/keys".into(),
            key: "anthropic".into(),
        });
        assert_eq!(missing.reason, Reason::SecretMissing);
        assert!(missing.message.contains("team/keys"), "{missing:?}");
        let away = unread(&SecretError::Unavailable {
            secret: "team/keys".into(),
            message: "x".into(),
        });
        assert_eq!(
            (away.reason, away.reason.ready()),
            (Reason::Unreachable, "Unknown")
        );
    }
}

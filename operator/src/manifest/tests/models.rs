//! Which models, keys, prices and buckets come out of a manifest.

use secrecy::ExposeSecret as _;

use super::*;
use crate::llm::prices::Rate;
use crate::llm::{ModelSpec, OpenAiApi, Providers};

/// A Catalog with this `model`, and a provider with this `spec`.
fn with(model: &str, provider: &str, secret: &str) -> Manifest {
    manifest(&format!(
        "{GOOD}  model: {model}
---
apiVersion: cataloger.dev/v1alpha1
kind: ModelProvider
metadata: {{name: m}}
spec: {provider}
---
{{apiVersion: v1, kind: Secret, metadata: {{name: keys}}, stringData: {secret}}}
"
    ))
}

fn environment() -> Providers {
    Providers::from_env(|name| match name {
        "ANTHROPIC_API_KEY" => Some("from-env".into()),
        "ANTHROPIC_BASE_URL" => Some("https://env.example".into()),
        _ => None,
    })
}

const ANTHROPIC: &str =
    "{anthropic: {apiKeySecretRef: {name: keys, key: k}}, defaultModel: usual, fallbacks: [a, mine, b]}";
const REFER: &str = "{providerRef: {name: m}}";

fn texts(specs: &[ModelSpec]) -> Vec<String> {
    specs.iter().map(ModelSpec::to_string).collect()
}

#[test]
fn the_catalog_comes_before_its_provider() {
    for (model, first, fallbacks) in [
        (
            REFER,
            "anthropic/usual",
            &["anthropic/a", "anthropic/mine", "anthropic/b"][..],
        ),
        (
            "{providerRef: {name: m}, name: mine}",
            "anthropic/mine",
            &["anthropic/a", "anthropic/b"],
        ),
        (
            "{providerRef: {name: m}, name: mine, fallbacks: [x]}",
            "anthropic/mine",
            &["anthropic/x"],
        ),
        (
            "{providerRef: {name: m}, fallbacks: [usual, x]}",
            "anthropic/usual",
            &["anthropic/x"],
        ),
    ] {
        let models = with(model, ANTHROPIC, "{k: from-file}")
            .models(&environment(), None)
            .unwrap()
            .unwrap();
        assert_eq!(models.model.to_string(), first, "{model}");
        assert_eq!(texts(&models.fallbacks), fallbacks, "{model}");
        let anthropic = models.providers.anthropic;
        assert_eq!(anthropic.api_key.unwrap().expose_secret(), "from-file");
        // The file's key goes to nobody whom the file does not name.
        assert_eq!(anthropic.base_url, None);
    }
}

#[test]
fn without_a_provider_the_usual_one_serves() {
    let plain = manifest(GOOD);
    assert!(plain.models(&environment(), None).unwrap().is_none());
    let named = manifest(&format!("{GOOD}  model: {{name: mine}}\n"));
    let models = named
        .models(&environment(), Some(&"openai/usual".parse().unwrap()))
        .unwrap()
        .unwrap();
    assert_eq!(models.model.to_string(), "openai/mine");
    assert_eq!(
        models.providers.anthropic.base_url.as_deref(),
        Some("https://env.example")
    );
    let error = named.models(&environment(), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "c.yaml: spec.model names a model, but no providerRef: add a ModelProvider to the file and name it, or give --model PROVIDER/NAME"
    );
}

#[test]
fn every_kind_of_provider_is_understood() {
    let openai = "{openai: {baseURL: 'http://localhost:1/v1', api: Responses}, defaultModel: a/b}";
    let models = with(REFER, openai, "{}")
        .models(&environment(), None)
        .unwrap()
        .unwrap();
    assert_eq!(models.model.to_string(), "openai/a/b");
    assert_eq!(
        models.providers.openai.base_url.as_deref(),
        Some("http://localhost:1/v1")
    );
    assert_eq!(models.providers.openai.api, OpenAiApi::Responses);
    assert!(models.providers.openai.api_key.is_none());
    let openai = "{openai: {apiKeySecretRef: {name: keys, key: k}}, defaultModel: x}";
    let models = with(REFER, openai, "{k: \" sk\\n\"}")
        .models(&environment(), None)
        .unwrap()
        .unwrap();
    assert_eq!(models.providers.openai.api_key.unwrap().expose_secret(), "sk");
    for (model, name) in [
        (REFER, "builtin"),
        ("{providerRef: {name: m}, name: small}", "builtin/small"),
    ] {
        let models = with(model, "{builtin: {}}", "{}")
            .models(&environment(), None)
            .unwrap()
            .unwrap();
        assert_eq!(models.model.to_string(), name);
    }
}

#[test]
fn prices_are_exact() {
    let provider = "{openai: {baseURL: 'http://h'}, defaultModel: x, prices: {gpt-4.1: {input: 0.0375, output: 3, cacheRead: 0.1, cacheWrite: 1.10}, b: {input: 100000, output: 0.000001}}}";
    let models = with(REFER, provider, "{}")
        .models(&environment(), None)
        .unwrap()
        .unwrap();
    let price = models.prices.get(&"openai/gpt-4.1".parse().unwrap()).unwrap();
    assert_eq!((price.input, price.output), (Rate(37_500), Rate(3_000_000)));
    assert_eq!(
        (price.cache_read, price.cache_write),
        (Some(Rate(100_000)), Some(Rate(1_100_000)))
    );
    let price = models.prices.get(&"openai/b".parse().unwrap()).unwrap();
    assert_eq!((price.input, price.output), (Rate(100_000_000_000), Rate(1)));
    assert_eq!(price.cache_read, None);
}

#[test]
fn what_is_missing_is_told_with_what_to_do() {
    let keyless = ANTHROPIC.replace("keys", "gone");
    let unnamed = "{anthropic: {apiKeySecretRef: {name: keys, key: k}}}";
    for (model, provider, says) in [
        (
            "{providerRef: {name: n}}",
            ANTHROPIC,
            "spec.model.providerRef of the Catalog names the ModelProvider n, which c.yaml does not hold (it holds m): add its document to the file, or give --model",
        ),
        (
            REFER,
            &keyless,
            "c.yaml: spec.anthropic.apiKeySecretRef of the ModelProvider m names the Secret gone, which the file does not hold: add the Secret with the key k, or set ANTHROPIC_API_KEY",
        ),
        (
            REFER,
            &ANTHROPIC.replace("key: k", "key: q"),
            "spec.anthropic.apiKeySecretRef of the ModelProvider m wants the key q of the Secret keys, which in c.yaml has only k: add it to the Secret, or name a key that it has",
        ),
        (
            REFER,
            unnamed,
            "c.yaml: neither spec.model.name of the Catalog nor spec.defaultModel of its ModelProvider names a model: add one of them, or give --model",
        ),
        (
            REFER,
            "{openai: {baseURL: 'http://h'}, defaultModel: x, prices: {x.y: {input: 0.0000001, output: 3}}}",
            "c.yaml: spec.prices[\"x.y\"].input: \"0.0000001\" is not an amount of US dollars such as 2, 2.50 or $0.000125 (with at most six decimals)",
        ),
    ] {
        let error = with(model, provider, "{k: hunter2}")
            .models(&Providers::default(), None)
            .unwrap_err();
        assert_eq!(error.to_string(), says);
    }
    // What the environment has is enough.
    let models = with(REFER, &keyless, "{}")
        .models(&environment(), None)
        .unwrap()
        .unwrap();
    assert_eq!(
        models.providers.anthropic.api_key.unwrap().expose_secret(),
        "from-env"
    );
}

#[test]
fn another_model_is_reached_as_the_file_says() {
    let asked: ModelSpec = "anthropic/other".parse().unwrap();
    let models = with(REFER, ANTHROPIC, "{k: from-file}")
        .models_of(&asked, &environment())
        .unwrap();
    assert_eq!((models.model, models.fallbacks), (asked.clone(), vec![]));
    assert_eq!(
        models.providers.anthropic.api_key.unwrap().expose_secret(),
        "from-file"
    );
    // A provider that is not there, or of another kind, changes nothing.
    for (model, provider) in [("{providerRef: {name: n}}", ANTHROPIC), (REFER, "{builtin: {}}")] {
        let models = with(model, provider, "{k: from-file}")
            .models_of(&asked, &environment())
            .unwrap();
        assert_eq!(
            models.providers.anthropic.api_key.unwrap().expose_secret(),
            "from-env"
        );
    }
}

fn bucket(s3: &str, secret: &str) -> Result<Bucket, ManifestError> {
    let text = GOOD.replace("{prefix: docs/sales}", s3);
    manifest(&format!(
        "{text}---\n{{apiVersion: v1, kind: Secret, metadata: {{name: s3}}, stringData: {secret}}}\n"
    ))
    .storage(None)
}

#[test]
fn storage_is_what_the_catalog_says() {
    let keys = "{AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: hunter2}";
    let refer = "{bucket: pages, prefix: docs/sales, region: eu, endpoint: 'http://h:1', forcePathStyle: false, credentialsSecretRef: {name: s3}}";
    let found = bucket(refer, keys).unwrap();
    assert_eq!(
        (found.prefix.to_string(), found.options.bucket),
        ("docs/sales".into(), "pages".into())
    );
    assert_eq!(found.options.region.as_deref(), Some("eu"));
    assert_eq!(found.options.endpoint.as_deref(), Some("http://h:1"));
    assert_eq!(found.options.path_style, Some(false));
    let credentials = found.options.credentials.unwrap();
    assert_eq!(credentials.access_key_id, "id");
    assert_eq!(credentials.secret_access_key.expose_secret(), "hunter2");
    assert!(credentials.session_token.is_none());
    let token = keys.replace('}', ", AWS_SESSION_TOKEN: t}");
    assert!(
        bucket(refer, &token)
            .unwrap()
            .options
            .credentials
            .unwrap()
            .session_token
            .is_some()
    );
    // What the file does not hold is the caller's.
    let elsewhere = refer.replace("name: s3", "name: elsewhere");
    assert!(bucket(&elsewhere, keys).unwrap().options.credentials.is_none());
    assert_eq!(
        manifest(GOOD).storage(Some("usual")).unwrap().options.bucket,
        "usual"
    );
}

#[test]
fn storage_that_is_not_enough_says_so() {
    for (s3, secret, says) in [
        (
            "{prefix: p}",
            "{}",
            "c.yaml: the Catalog names no bucket, and there is no operator here that has one: add spec.storage.s3.bucket, or say where the pages go by --output",
        ),
        (
            "{prefix: p, bucket: pages, credentialsSecretRef: {name: s3}}",
            "{AWS_ACCESS_KEY_ID: x}",
            "spec.storage.s3.credentialsSecretRef wants the key AWS_SECRET_ACCESS_KEY of the Secret s3, which in c.yaml has only AWS_ACCESS_KEY_ID: add it to the Secret, or name a key that it has",
        ),
    ] {
        assert_eq!(bucket(s3, secret).unwrap_err().to_string(), says);
    }
}

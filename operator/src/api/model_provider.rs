//! `ModelProvider`: where models are, what they cost, and how much of them may be used.

#![expect(clippy::duplicated_attributes, reason = "columns are alike")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretKeyRef;
use super::rules::{Each, Obey, models, places};
use super::schemas::AtMost;

/// Which service: exactly one of `anthropic`, `openai` and `builtin`, and always the same. The rest says how it may
/// be used, by all runs together.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cataloger.dev",
    version = "v1alpha1",
    kind = "ModelProvider",
    namespaced,
    status = "ModelProviderStatus",
    shortname = "mprov",
    category = "cataloger",
    derive = "PartialEq",
    doc = "A ModelProvider says where models are: the service, its key, its prices, and what may be used of it. Catalogs name it in spec.model.providerRef.",
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.defaultModel"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Spent", type_ = "number", json_path = ".status.spending.spent"),
    printcolumn(name = "Budget", type_ = "number", json_path = ".spec.budget.amount"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(
        name = "Reserved",
        type_ = "number",
        json_path = ".status.spending.reserved",
        priority = 1
    ),
    printcolumn(
        name = "Until",
        type_ = "string",
        json_path = ".status.spending.until",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    selectable = ".spec.anthropic.apiKeySecretRef.name",
    selectable = ".spec.openai.apiKeySecretRef.name",
    selectable = ".spec.defaultModel"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = Obey([&models::KIND, &models::KIND_STAYS, &models::OTHERS_OF_PROVIDER]))]
pub struct ModelProviderSpec {
    /// Anthropic's Messages API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<Anthropic>,
    /// OpenAI's API, or a server that is compatible with it. At least one of `apiKeySecretRef` and `baseURL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAi>,
    /// The built-in cataloger, without network, key or cost. Write it as `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
    /// The model of Catalogs that name none, as the service calls it. Example: `claude-sonnet-5-5`. If not said, each
    /// Catalog has to name one; the builtin cataloger needs none. A change makes a run of those Catalogs due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), transform = Obey([&models::MODEL]))]
    pub default_model: Option<String>,
    /// Models to go on with when one can't, in this order, for Catalogs that name none. Example:
    /// `[claude-haiku-4-5]`. If not said, a run ends with its model. At most 5, none twice, and not the one in `defaultModel`. A change makes a run of those
    /// Catalogs due.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 5),
        inner(length(min = 1, max = 200)),
        transform = Each([&models::MODEL]),
        extend("x-kubernetes-list-type" = "set"),
    )]
    pub fallbacks: Vec<String>,
    /// Prices by the model's name, in US dollars for a million tokens, where the built-in ones don't hold or there
    /// are none. Example: `{qwen3-coder: {input: 0.2, output: 0.8}}`. If not said, the built-in ones. At most 100. They count from the next request
    /// on; a change makes no run due.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(transform = AtMost(100))]
    pub prices: BTreeMap<String, Price>,
    /// How fast it may be asked, by all runs together: requests wait for their turn. At least one of both. If not said, as fast as it
    /// answers. A change counts from the next request on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RateLimits>,
    /// How much may be spent, by all runs together. No run asks a model beyond it; the status says what is spent and
    /// when it opens again. If not said, there is no limit. A change counts from the next request on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Which other namespaces' Catalogs may use it, and so its key. Example: `[sales, finance]`, or `['*']` for all.
    /// At most 256, none twice; `*` stands alone. If not said, those of its own namespace only, which may always.
    /// As the operator's default provider it also serves every Catalog that names none, wherever that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(min = 1, max = 63)),
        transform = Each([&models::NAMESPACE]),
        transform = Obey([&models::EVERYBODY]),
        extend("x-kubernetes-list-type" = "set"),
    )]
    pub allowed_namespaces: Vec<String>,
}

/// How fast a provider may be asked, by all runs together. At least one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = Obey([&models::RATES]))]
pub struct RateLimits {
    /// Requests in a minute. Example: `50`. If not said, they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute: input that is not read from a cache, cache writes, and output. Example: `400000`. If not
    /// said, they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1000, max = 1_000_000_000))]
    pub tokens_per_minute: Option<u32>,
}

/// How much may be spent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// US dollars in a period. Example: `100`. With `0` nobody spends anything. Models without a known price are
    /// refused while there is a budget: add them to `prices`.
    #[schemars(range(min = 0.0, max = 100_000_000.0))]
    pub amount: f64,
    /// How long it lasts: `Day` (from midnight to midnight) or `Month` (from the first to the next first), in UTC.
    #[serde(default)]
    pub period: Period,
}

/// How long a budget lasts: `Day` or `Month`, in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the next.
    #[default]
    Month,
}

/// Anthropic's Messages API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anthropic {
    /// The Secret with the API key, in the provider's namespace. It is read when a run begins, so that a new key
    /// needs nothing else.
    pub api_key_secret_ref: SecretKeyRef,
    /// The base URL. If not said, Anthropic's, `https://api.anthropic.com`. Example: `https://gateway.example.com/anthropic`;
    /// `/v1/messages` is added. It has no user, password, query or fragment, and the operator has to allow it
    /// (`--allow-base-url`). A change makes a run of the Catalogs due that rely on it.
    #[serde(default, rename = "baseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), transform = Obey([&places::BASE_URL]))]
    pub base_url: Option<String>,
}

/// OpenAI's API, or a server that is compatible with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(transform = Obey([&models::OPENAI_KEY]))]
pub struct OpenAi {
    /// The Secret with the API key, in the provider's namespace. It is read when a run begins, so that a new key
    /// needs nothing else. A server of your own may need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// The base URL. If not said, OpenAI's, `https://api.openai.com/v1`. Example: `https://models.example.com/v1`;
    /// `/chat/completions` or `/responses` is added. It has no user, password, query or fragment, and the operator
    /// has to allow it (`--allow-base-url`). A change makes a run of the Catalogs due that rely on it.
    #[serde(default, rename = "baseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), transform = Obey([&places::BASE_URL]))]
    pub base_url: Option<String>,
    /// Which of its interfaces is spoken: `ChatCompletions` (all compatible servers have it) or `Responses`. They
    /// can't be told apart by trying. A change counts from the next run on, and makes none due.
    #[serde(default)]
    pub api: OpenAiApi,
}

/// Which of OpenAI's interfaces is spoken: `ChatCompletions` or `Responses`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OpenAiApi {
    /// Chat Completions.
    #[default]
    ChatCompletions,
    /// Responses.
    Responses,
}

/// The built-in cataloger has no settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Builtin {}

/// US dollars for a million tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Price {
    /// Of input that is not read from a cache. Example: `3`.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub input: f64,
    /// Of output. Example: `15`.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub output: f64,
    /// Of input that is written to a cache. Example: `3.75`. If not said, as other input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub cache_write: Option<f64>,
    /// Of input that is read from a cache. Example: `0.3`. If not said, as other input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub cache_read: Option<f64>,
}

/// Whether a provider can be used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
// Until the operator has looked at it: who judges by kstatus, as Flux does, takes an object without a status for done.
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct ModelProviderStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds, with reasons and what to do. `Ready`: models can be asked. `False` says why not: a Secret that is
    /// missing, a key that does not work, a budget that is spent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// When the key was last seen to work: it is tried once an hour, by asking for the list of models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Time>,
    /// What was spent, as far as prices are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spending: Option<Spending>,
}

/// What was spent in a period, of whatever budget there is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spending {
    /// When the period began.
    pub since: Time,
    /// When the next one begins.
    pub until: Time,
    /// US dollars that are spent.
    pub spent: f64,
    /// US dollars that are set aside for requests that are under way. If the operator dies, they count as spent.
    pub reserved: f64,
    /// Who set that aside: one process of an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub holder: Option<String>,
}

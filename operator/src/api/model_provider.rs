//! `ModelProvider`: where models are, what they cost, and how much of them may be used.

#![expect(unreachable_pub, reason = "KubeSchema repeats the types inside of functions")]
#![expect(clippy::duplicated_attributes, reason = "columns are alike")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretKeyRef;

/// A `ModelProvider` says where models are: the service, its key, its prices, and what may be used of it.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cataloger.dev",
    version = "v1alpha1",
    kind = "ModelProvider",
    namespaced,
    status = "ModelProviderStatus",
    shortname = "mprov",
    category = "cataloger",
    derive = "PartialEq",
    doc = "A ModelProvider says where models are: the service, its key, its prices, and what may be used of it.",
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.defaultModel"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Spent", type_ = "number", json_path = ".status.spending.spent"),
    printcolumn(name = "Budget", type_ = "number", json_path = ".spec.budget.amount"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.anthropic), has(self.openai), has(self.builtin)].filter(x, x).size() == 1").message("say exactly one of anthropic, openai and builtin"))]
pub struct ModelProviderSpec {
    /// Anthropic's Messages API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<Anthropic>,
    /// OpenAI's API, or a server that is compatible with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<OpenAi>,
    /// The built-in cataloger, without network, key or cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
    /// The model of Catalogs that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub default_model: Option<String>,
    /// Models to go on with when one can't, in this order, for Catalogs that name none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), inner(length(min = 1, max = 200)))]
    pub fallbacks: Vec<String>,
    /// Prices by model, in US dollars for a million tokens, where the built-in ones don't hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, Price>,
    /// How fast it may be asked, by all runs together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RateLimits>,
    /// How much may be spent. No run asks a model beyond it; the status says when it opens again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Which other namespaces' Catalogs may use it, and so its key: names, or `*` for all. None, if not said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(min = 1, max = 63), pattern(r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_namespaces: Vec<String>,
}

/// How fast a provider may be asked, by all runs together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimits {
    /// Requests in a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<u32>,
    /// Tokens in a minute: input that is not read from a cache, cache writes, and output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1000, max = 1_000_000_000))]
    pub tokens_per_minute: Option<u32>,
}

/// How much may be spent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Budget {
    /// US dollars in a period. Models without a known price are refused.
    #[schemars(range(min = 0.0, max = 100_000_000.0))]
    pub amount: f64,
    /// `Day` or `Month`, in UTC.
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
    /// Where the API key is.
    pub api_key_secret_ref: SecretKeyRef,
    /// Another base URL than Anthropic's.
    #[serde(default, rename = "baseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), pattern(r"^https?://[^\s]+$"))]
    pub base_url: Option<String>,
}

/// OpenAI's API, or a server that is compatible with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenAi {
    /// Where the API key is. A server of your own may need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// Another base URL than OpenAI's.
    #[serde(default, rename = "baseURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), pattern(r"^https?://[^\s]+$"))]
    pub base_url: Option<String>,
    /// Which of its interfaces is spoken: `ChatCompletions` (all compatible servers have it) or `Responses`.
    #[serde(default)]
    pub api: OpenAiApi,
}

/// Which of OpenAI's interfaces is spoken.
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
    /// Of input that is not read from a cache.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub input: f64,
    /// Of output.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub output: f64,
    /// Of input that is written to a cache; as other input, if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub cache_write: Option<f64>,
    /// Of input that is read from a cache; as other input, if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub cache_read: Option<f64>,
}

/// Whether a provider can be used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelProviderStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// When the key was last seen to work.
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

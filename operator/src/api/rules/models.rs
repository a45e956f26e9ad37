//! Which models are meant, and what may be said of whoever serves them. Must not know how a model is asked.

use serde_json::Value;

use super::names::is_label;
use super::{Holds, Rule, entries, has, text};

pub(in crate::api) static MODEL: Rule = Rule::new(
    r"!self.matches(r'[\s\p{Z}\p{Cc}]')",
    "must be the name that the model has at its provider, without spaces",
    |value| {
        text(value, |text| {
            !text.contains(|it: char| it.is_whitespace() || it.is_control())
        })
    },
);

pub(in crate::api) static OTHERS: Rule = Rule::new(
    "!has(self.name) || !has(self.fallbacks) || !(self.name in self.fallbacks)",
    "fallbacks must not have the model that name says: they are for when that one can't",
    |value| is_other(value, "name"),
)
.about("fallbacks");

pub(in crate::api) static OTHERS_OF_PROVIDER: Rule = Rule::new(
    "!has(self.defaultModel) || !has(self.fallbacks) || !(self.defaultModel in self.fallbacks)",
    "fallbacks must not have the model that defaultModel says: they are for when that one can't",
    |value| is_other(value, "defaultModel"),
)
.about("fallbacks");

pub(in crate::api) static KIND: Rule = Rule::new(
    "[has(self.anthropic), has(self.openai), has(self.builtin)].filter(said, said).size() == 1",
    "say exactly one of anthropic, openai and builtin",
    |value| KINDS.iter().filter(|kind| has(value, kind)).count() == 1,
);

pub(in crate::api) static KIND_STAYS: Rule = Rule {
    cel: "has(self.anthropic) == has(oldSelf.anthropic) && has(self.openai) == has(oldSelf.openai) && has(self.builtin) == has(oldSelf.builtin)",
    message: "a ModelProvider stays what it is, anthropic, openai or builtin, for its budget counts what it has spent: make another one",
    field: None,
    holds: Holds::Change(|old, new| KINDS.iter().all(|kind| has(old, kind) == has(new, kind))),
};

pub(in crate::api) static OPENAI_KEY: Rule = Rule::new(
    "has(self.apiKeySecretRef) || has(self.baseURL)",
    "say apiKeySecretRef, or the baseURL of a server of your own that needs no key",
    |value| has(value, "apiKeySecretRef") || has(value, "baseURL"),
);

pub(in crate::api) static RATES: Rule = Rule::new(
    "has(self.requestsPerMinute) || has(self.tokensPerMinute)",
    "say requestsPerMinute, tokensPerMinute or both, or leave out limits",
    |value| has(value, "requestsPerMinute") || has(value, "tokensPerMinute"),
);

pub(in crate::api) static NAMESPACE: Rule = Rule::new(
    "self == '*' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "must be a namespace, such as sales, or '*' for all",
    |value| text(value, |text| text == "*" || is_label(text)),
);

pub(in crate::api) static EVERYBODY: Rule = Rule::new(
    "!('*' in self) || self.size() == 1",
    "'*' means all namespaces: leave out the others, or leave out '*'",
    |value| value.as_array().is_none_or(|all| all.len() < 2) || entries(value, |it| it.as_str() != Some("*")),
);

pub(super) const ALL: &[&Rule] = &[
    &MODEL,
    &OTHERS,
    &OTHERS_OF_PROVIDER,
    &KIND,
    &KIND_STAYS,
    &OPENAI_KEY,
    &RATES,
    &NAMESPACE,
    &EVERYBODY,
];

const KINDS: [&str; 3] = ["anthropic", "openai", "builtin"];

/// Whether the fallbacks are other models than the one that a member names.
fn is_other(value: &Value, member: &str) -> bool {
    let first = value.get(member).and_then(Value::as_str);
    first.is_none() || entries(&value["fallbacks"], |it| it.as_str() != first)
}

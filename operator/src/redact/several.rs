//! The secrets of many at once, each of whom knows only its own.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::patterns::marker;
use super::ranges::merged;
use super::views::views;
use super::{Redactor, redact_json, without};

/// Several redactors that work as one: also where secrets of different ones overlap, every byte goes.
#[derive(Debug, Clone, Default)]
pub struct Redactors(Arc<All>);

#[derive(Debug, Default)]
struct All {
    redactors: Vec<Redactor>,
    marker: String,
}

impl FromIterator<Redactor> for Redactors {
    fn from_iter<I: IntoIterator<Item = Redactor>>(redactors: I) -> Self {
        let redactors: Vec<Redactor> = redactors.into_iter().collect();
        let marker = match redactors.as_slice() {
            [] => String::new(),
            [one] => one.marker().to_owned(),
            several => marker(&several.iter().flat_map(|redactor| &redactor.0.patterns)),
        };
        Self(Arc::new(All { redactors, marker }))
    }
}

impl Redactors {
    /// A text without the secrets of any of them.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.0.redactors.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut found = Vec::new();
        for view in views(text.as_bytes()) {
            for redactor in &self.0.redactors {
                redactor.find_in(&view, &mut found);
            }
        }
        without(text, merged(found), &self.0.marker)
    }

    /// As [`Redactor::redact_json`].
    pub fn redact_json(&self, value: &mut Value) {
        redact_json(value, &|text| self.redact(text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::of;
    use super::*;

    fn several(secrets: &[&str]) -> Redactors {
        secrets.iter().map(|secret| of(&[secret])).collect()
    }

    #[test]
    fn what_any_of_them_knows_is_hidden() {
        assert!(matches!(
            Redactors::default().redact("hunter2-xyz"),
            Cow::Borrowed("hunter2-xyz")
        ));
        let both = several(&["hunter2-xyz", "sw0rd\"fish-1"]);
        assert_eq!(
            both.redact("hunter2-xyz, sw0rd\\\"fish-1, hunter2"),
            "[redacted], [redacted], hunter2"
        );
        let mut value = serde_json::json!({"a hunter2-xyz": ["sw0rd\"fish-1", 1]});
        both.redact_json(&mut value);
        assert_eq!(value, serde_json::json!({"a [redacted]": ["[redacted]", 1]}));
    }

    #[test]
    fn secrets_of_different_ones_may_overlap() {
        let both = several(&["abcdef123", "def123456"]);
        assert_eq!(both.redact("x abcdef123456 y"), "x [redacted] y");
    }

    #[test]
    fn the_marker_is_none_of_their_secrets() {
        let all = several(&["hunter2-xyz", "x [redacted] y1", "{redacted}-1"]);
        let out = all.redact("hunter2-xyz").into_owned();
        assert_eq!(out, "█redacted█");
        assert_eq!(all.redact(&out), out);
    }
}

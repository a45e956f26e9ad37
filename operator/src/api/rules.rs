//! The rules that a schema's own words can't say: what the API server evaluates, what it says to whoever breaks
//! one, and the same once more as a plain function, for whoever has no API server.
//!
//! A rule stands where it is declared, in the files below, and nowhere else: types name it, and with that it is in
//! their schema. Must not know which type names it, nor how the broken ones are gathered.

pub(super) mod amounts;
pub(super) mod models;
pub(super) mod names;
pub(super) mod places;
pub(super) mod sandbox;
pub(super) mod schedules;
pub(super) mod tables;

use schemars::Schema;
use schemars::transform::Transform;
use serde_json::{Map, Value, json};

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// In CEL, about `self`.
    pub(super) cel: &'static str,
    /// What is said to whoever breaks it: what to do.
    pub(super) message: &'static str,
    /// Which member of `self` it is about, if it is about one.
    pub(super) field: Option<&'static str>,
    /// The same as `cel`.
    pub(super) holds: Holds,
}

/// When a rule holds. What is not there, or not of the right type, breaks none: the schema sees to that.
#[derive(Debug)]
pub(super) enum Holds {
    /// By what is there.
    Of(fn(&Value) -> bool),
    /// By what was there and what is there now.
    Change(fn(&Value, &Value) -> bool),
}

impl Rule {
    const fn new(cel: &'static str, message: &'static str, holds: fn(&Value) -> bool) -> Self {
        Self {
            cel,
            message,
            field: None,
            holds: Holds::Of(holds),
        }
    }

    const fn about(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// As a schema says it of itself, in a list.
    pub(super) fn as_schemas(&self) -> Value {
        json!([self.as_schema()])
    }

    fn as_schema(&self) -> Value {
        let mut rule = Map::from_iter([
            ("message".to_owned(), json!(self.message)),
            ("rule".to_owned(), json!(self.cel)),
        ]);
        if let Some(field) = self.field {
            rule.insert("fieldPath".to_owned(), json!(format!(".{field}")));
        }
        Value::Object(rule)
    }
}

/// All of them.
pub(super) const ALL: &[&[&Rule]] = &[
    amounts::ALL,
    models::ALL,
    names::ALL,
    places::ALL,
    sandbox::ALL,
    schedules::ALL,
    tables::ALL,
];

/// Makes a schema say rules, in this order.
#[derive(Debug)]
pub(super) struct Obey<const N: usize>(pub(super) [&'static Rule; N]);

impl<const N: usize> Transform for Obey<N> {
    fn transform(&mut self, schema: &mut Schema) {
        let rules = self.0.iter().map(|rule| rule.as_schema());
        let all = schema
            .ensure_object()
            .entry("x-kubernetes-validations")
            .or_insert_with(|| json!([]));
        if let Value::Array(all) = all {
            all.extend(rules);
        }
    }
}

/// Makes a schema say rules of each entry of a list.
#[derive(Debug)]
pub(super) struct Each<const N: usize>(pub(super) [&'static Rule; N]);

impl<const N: usize> Transform for Each<N> {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Ok(items)) = schema.get_mut("items").map(<&mut Schema>::try_from) {
            Obey(self.0).transform(items);
        }
    }
}

/// Whether a text is as it should be; what is no text is.
fn text(value: &Value, right: impl FnOnce(&str) -> bool) -> bool {
    value.as_str().is_none_or(right)
}

/// Whether the entries of a list are as they should be.
fn entries(value: &Value, right: impl FnMut(&Value) -> bool) -> bool {
    value.as_array().is_none_or(|entries| entries.iter().all(right))
}

/// Whether a member is there.
fn has(value: &Value, member: &str) -> bool {
    value.get(member).is_some_and(|member| !member.is_null())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rules_are_told_apart_and_say_what_to_do() {
        let mut seen = BTreeSet::new();
        for rule in ALL.iter().copied().flatten() {
            assert!(seen.insert((rule.cel, rule.message)), "{rule:?}");
            assert!(rule.message.len() < 200, "{rule:?}");
            assert!(
                !rule.cel.contains('\n') && !rule.message.contains('\n'),
                "{rule:?}"
            );
            let change = matches!(rule.holds, Holds::Change(_));
            assert_eq!(rule.cel.contains("oldSelf"), change, "{rule:?}");
        }
    }

    #[test]
    fn what_is_no_text_breaks_no_rule() {
        for rule in ALL.iter().copied().flatten() {
            for value in [json!(null), json!(true), json!([[1]]), json!({"a": 1})] {
                match rule.holds {
                    // These look for members that have to be there.
                    Holds::Of(holds) => drop(holds(&value)),
                    Holds::Change(holds) => drop(holds(&value, &value)),
                }
            }
        }
    }
}

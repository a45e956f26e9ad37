//! A text of YAML or JSON as plain values, one for each document, and where in the text a part of them is.
//!
//! It is stricter than most: a key that is given twice is an error. Must not know what the values mean, and
//! shows none of them: they may be secrets.

use serde::Deserialize as _;
use serde::de::{DeserializeSeed as _, IgnoredAny};
use serde_json::Value;

use super::locate::{Locate, Of};
use super::tree::{Tree, Trouble};
use crate::api::field::FieldPath;

/// A line and a column, from 1.
pub(super) type Place = (usize, usize);

/// Why a text is not made of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// In which document, from 1.
    pub(super) document: usize,
    pub(super) place: Option<Place>,
    pub(super) path: FieldPath,
    pub(super) message: String,
}

/// A text and what it holds.
pub(super) struct Documents<'a> {
    text: &'a str,
    json: bool,
    /// A value for each document, as far as they can be read; an empty one is null.
    pub(super) values: Vec<Value>,
}

impl<'a> Documents<'a> {
    /// Reads a text up to its end or its first error.
    pub(super) fn read(text: &'a str) -> (Self, Option<Unreadable>) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // JSON is YAML but for what it writes as `\ud83d\ude00`.
        if text.trim_start().starts_with('{') {
            let (values, error) = read_json(text);
            if error.as_ref().is_none_or(|(_, ours)| *ours) {
                let documents = Self {
                    text,
                    json: true,
                    values,
                };
                return (documents, error.map(|(error, _)| error));
            }
        }
        let (values, error) = read_yaml(text);
        let documents = Self {
            text,
            json: false,
            values,
        };
        (documents, error)
    }

    /// Where something is; of what is not there itself, where that is which should hold it.
    pub(super) fn locate(&self, document: usize, path: &FieldPath, of: Of) -> Option<Place> {
        let seed = Locate::new(path.steps(), of);
        if self.json {
            let mut json = serde_json::Deserializer::from_str(self.text);
            for _ in 0..document {
                IgnoredAny::deserialize(&mut json).ok()?;
            }
            let error = seed.deserialize(&mut json).err()?;
            return Some((error.line(), error.column()));
        }
        let yaml = serde_yaml::Deserializer::from_str(self.text).nth(document)?;
        let place = seed.deserialize(yaml).err()?.location()?;
        Some((place.line(), place.column()))
    }
}

fn read_yaml(text: &str) -> (Vec<Value>, Option<Unreadable>) {
    let mut values = Vec::new();
    // It can't go on after an error: the parser would panic.
    for document in serde_yaml::Deserializer::from_str(text) {
        let trouble = Trouble::default();
        match Tree::new(&trouble).deserialize(document) {
            Ok(value) => values.push(value),
            Err(error) => {
                let place = error.location().map(|place| (place.line(), place.column()));
                let document = values.len() + 1;
                let (path, message) = trouble
                    .take()
                    .unwrap_or_else(|| (FieldPath::root(), syntax(text, &error.to_string(), place)));
                let unreadable = Unreadable {
                    document,
                    place,
                    path,
                    message,
                };
                return (values, Some(unreadable));
            }
        }
    }
    (values, None)
}

/// What the parser says, without the place, which is told apart, and with what is behind it most often.
fn syntax(text: &str, message: &str, place: Option<Place>) -> String {
    let mut message = message.to_owned();
    if let Some((line, column)) = place {
        message = message.replacen(&format!(" at line {line} column {column}"), "", 1);
    }
    let line = place.and_then(|(line, _)| text.lines().nth(line.saturating_sub(1)));
    let indented_by_tabs = line.is_some_and(|line| {
        let indent = &line[..line.len() - line.trim_start().len()];
        indent.contains('\t')
    });
    if indented_by_tabs {
        message.push_str("; YAML is indented by spaces, not by tabs");
    }
    format!("it is not YAML: {message}")
}

/// The error is ours if the text is JSON all the same.
fn read_json(text: &str) -> (Vec<Value>, Option<(Unreadable, bool)>) {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut values = Vec::new();
    while json.end().is_err() {
        let trouble = Trouble::default();
        match Tree::new(&trouble).deserialize(&mut json) {
            Ok(value) => values.push(value),
            Err(error) => {
                let told = trouble.take();
                let ours = told.is_some();
                let (path, message) =
                    told.unwrap_or_else(|| (FieldPath::root(), format!("it is not JSON: {error}")));
                let unreadable = Unreadable {
                    document: values.len() + 1,
                    place: Some((error.line(), error.column())),
                    path,
                    message,
                };
                return (values, Some((unreadable, ours)));
            }
        }
    }
    (values, None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::field::Step;

    fn values(text: &str) -> Vec<Value> {
        let (documents, error) = Documents::read(text);
        assert_eq!(error, None, "{text}");
        documents.values
    }

    fn error(text: &str) -> (usize, Option<Place>, String, String) {
        let (documents, error) = Documents::read(text);
        let error = error.unwrap_or_else(|| panic!("{text} became {:?}", documents.values));
        (error.document, error.place, error.path.to_string(), error.message)
    }

    #[test]
    fn yaml_and_json_are_read() {
        for (text, expected) in [
            ("", vec![json!(null)]),
            ("\u{feff}a: 1\n", vec![json!({"a": 1})]),
            (
                "a: 1\n---\n# none\n---\nb: [x, 2.5, true, ~]\n",
                vec![json!({"a": 1}), json!(null), json!({"b": ["x", 2.5, true, null]})],
            ),
            (
                "{\"a\": \"\\ud83d\\ude00\"}\n{\"b\": 2}\n",
                vec![json!({"a": "😀"}), json!({"b": 2})],
            ),
            ("{a: b}\n---\nc: d\n", vec![json!({"a": "b"}), json!({"c": "d"})]),
            (
                "1: a\ntrue: b\n1.5: c\n",
                vec![json!({"1": "a", "true": "b", "1.5": "c"})],
            ),
        ] {
            assert_eq!(values(text), expected, "{text}");
        }
    }

    #[test]
    fn anchors_and_merges_mean_what_they_mean_in_yaml() {
        let text = "
base: &base {a: 1, b: 2}
more: &more {b: 3, c: 4}
one: {<<: *base, b: 5}
two:
  <<: [*base, *more]
  d: *more
";
        let read = values(text);
        assert_eq!(read[0]["one"], json!({"a": 1, "b": 5}));
        assert_eq!(
            read[0]["two"],
            json!({"a": 1, "b": 2, "c": 4, "d": {"b": 3, "c": 4}})
        );
    }

    #[test]
    fn what_can_not_be_read_is_placed() {
        for (text, document, place, path, says) in [
            ("a: 1\n---\nb:\n  x: 1\n  x: 2\n", 2, (5, 3), "b.x", "twice"),
            ("{\"a\": {\"x\": 1,\n\"x\": 2}}", 1, (2, 3), "a.x", "twice"),
            ("a: [1\nb: 2\n", 1, (2, 2), "", "not YAML: did not find"),
            ("a:\n\tb: 1\n", 1, (2, 1), "", "not by tabs"),
            ("a: !secret x\n", 1, (1, 4), "a", "tags"),
            ("a: [.nan]\n", 1, (1, 5), "a[0]", "infinity"),
            ("a: 99999999999999999999\n", 1, (1, 4), "a", "too large"),
            ("a: {{ .Values.x }}\n", 1, (1, 5), "a", "render it first"),
            ("<<: 1\n", 1, (1, 1), "", "takes over"),
            ("{\"a\": 1,}\n}", 2, (2, 1), "", "it is not YAML"),
        ] {
            let (in_document, at, on, message) = error(text);
            assert_eq!(
                (in_document, at, on.as_str()),
                (document, Some(place), path),
                "{text:?}: {message}"
            );
            assert!(message.contains(says), "{text:?}: {message}");
            let (line, column) = place;
            assert!(
                !message.contains(&format!("line {line} column {column}")),
                "{message}"
            );
        }
    }

    #[test]
    fn no_value_is_shown() {
        for text in [
            "password: 98765432109876543210987\n",
            "password: -98765432109876543210987\n",
            "password: !hunter2 hunter2\n",
            "password: \"hunter2\n",
            "password: 'hunter2' hunter2\n",
            "hunter2: {hunter2: }}\n",
            "{\"password\": \"hunter2}",
        ] {
            let (_, _, _, message) = error(text);
            assert!(
                !message.contains("hunter2") && !message.contains("98765"),
                "{message}"
            );
        }
    }

    #[test]
    fn parts_are_found_again() {
        let yaml = "a: 1\n---\nspec:\n  tables:\n  - one\n  - two: {x: y}\n  limits: {maxRows: 5}\n";
        let json = "{\"a\": 1}\n{\"spec\": {\n  \"tables\": [\n\"one\",\n  {\"two\": {\"x\": \"y\"}}],\n\n\"limits\": {\"maxRows\": 5}}}";
        let spec = FieldPath::of(["spec"]);
        for (path, of, in_yaml, line_of_json) in [
            (spec.key("limits").key("maxRows"), Of::Value, (7, 21), 7),
            (spec.key("limits").key("maxRows"), Of::Key, (7, 12), 7),
            (spec.key("tables").index(0), Of::Value, (5, 5), 4),
            (
                spec.key("tables").index(1).key("two").key("x"),
                Of::Key,
                (6, 11),
                5,
            ),
            (spec.key("tables"), Of::Key, (4, 3), 3),
            // Not there: where it should be.
            (spec.key("missing").key("more"), Of::Value, (4, 3), 7),
            (spec.clone(), Of::Key, (3, 1), 2),
        ] {
            let (documents, _) = Documents::read(yaml);
            assert_eq!(documents.locate(1, &path, of), Some(in_yaml), "{path}");
            let (documents, _) = Documents::read(json);
            let place = documents.locate(1, &path, of).unwrap();
            assert_eq!(place.0, line_of_json, "{path} at {place:?}");
        }
        let (documents, _) = Documents::read(yaml);
        let path = FieldPath::root().then(Step::Index(3));
        assert_eq!(documents.locate(1, &path, Of::Value), Some((3, 1)));
        assert_eq!(documents.locate(7, &path, Of::Value), None);
    }
}

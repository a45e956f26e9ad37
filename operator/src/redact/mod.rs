//! Takes the secrets that a run knows out of everything that leaves it: tool results before a model sees them,
//! the journal, logs, progress, errors, pages.
//!
//! It must not know where a text goes, and never shows a secret: a [`Redactor`] prints as how many it knows.
//! What it finds, and what it can't, is in `docs/redaction.md`.
//!
//! Texts are searched as they are, and as they read once percent signs, backslashes or HTML entities are
//! undone, so it does not matter which characters an encoder chose to escape, nor how. Base64 and hexadecimal
//! are looked for as they would be written. Every byte of every occurrence goes, also where several overlap.

mod builder;
mod escapes;
mod gaps;
mod patterns;
mod ranges;
mod several;
mod stream;
#[cfg(test)]
mod tests;
mod views;
mod words;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde_json::Value;

pub use builder::RedactorBuilder;
pub use several::Redactors;
pub use stream::RedactedStream;
pub use words::MIN_LENGTH;

use patterns::{Pattern, marker};
use ranges::{merged, snapped};
use views::{View, views};

struct Inner {
    /// Sorted.
    patterns: Vec<Pattern>,
    automaton: Option<AhoCorasick>,
    marker: String,
    weak: Vec<String>,
}

/// Takes known secrets out of texts. Clones are the same.
#[derive(Clone)]
pub struct Redactor(Arc<Inner>);

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Redactor({} patterns)", self.0.patterns.len())
    }
}

impl Redactor {
    /// Begins with no secrets.
    pub fn builder() -> RedactorBuilder {
        RedactorBuilder::default()
    }

    /// For these patterns, sorted.
    fn of(patterns: Vec<Pattern>, weak: Vec<String>) -> Self {
        let marker = marker(&patterns.iter());
        // The fastest kind would take more than a megabyte for a run's patterns, as much as all the rest of a run; this
        // one takes a tenth of that. It fails only beyond 2^31 states: secrets of gigabytes. Then nothing may pass.
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(patterns.iter().map(|pattern| &pattern.bytes))
            .ok();
        Self(Arc::new(Inner {
            patterns,
            automaton,
            marker,
            weak,
        }))
    }

    /// What stands where a secret was: `[redacted]`, unless a secret is too much like it.
    pub fn marker(&self) -> &str {
        &self.0.marker
    }

    /// The names of secrets that are too short or too ordinary to be hidden everywhere. Tell people: they
    /// should choose better ones.
    pub fn weak(&self) -> &[String] {
        &self.0.weak
    }

    /// A text without the secrets.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        without(text, self.find(text.as_bytes()), self.marker())
    }

    /// Whether a text holds none of the secrets.
    pub fn is_clean(&self, text: &str) -> bool {
        self.find(text.as_bytes()).is_empty()
    }

    /// All strings, keys and numbers of a JSON value, in place. Do this before a value is written rather than
    /// with the text: then nothing depends on how it is escaped.
    pub fn redact_json(&self, value: &mut Value) {
        redact_json(value, &|text| self.redact(text));
    }

    /// For a text that comes in pieces.
    pub fn stream(&self) -> RedactedStream {
        RedactedStream::new(self.clone())
    }

    /// All that secrets may look like, escapes apart.
    fn patterns(&self) -> impl Iterator<Item = &[u8]> {
        self.0.patterns.iter().map(|pattern| pattern.bytes.as_slice())
    }

    /// Where secrets are: sorted, apart from one another.
    fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for view in views(text) {
            self.find_in(&view, &mut found);
        }
        merged(found)
    }

    /// Where secrets are in a view of a text: in any order, and they may overlap.
    fn find_in(&self, view: &View<'_>, found: &mut Vec<Range<usize>>) {
        let Some(automaton) = &self.0.automaton else {
            found.push(view.range(0, view.bytes.len()));
            return;
        };
        for hit in automaton.find_overlapping_iter(view.bytes.as_ref()) {
            let pattern = &self.0.patterns[hit.pattern().as_usize()];
            let (start, end) = (hit.start() + pattern.before, hit.end() - pattern.after);
            found.push(view.range(start, end));
        }
    }
}

/// A text with a marker for what is in these places, which are sorted and apart from one another.
fn without<'a>(text: &'a str, found: Vec<Range<usize>>, marker: &str) -> Cow<'a, str> {
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for hidden in snapped(text, found) {
        out.push_str(&text[at..hidden.start]);
        out.push_str(marker);
        at = hidden.end;
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

/// Redacts all strings, keys and numbers of a JSON value.
fn redact_json(value: &mut Value, redact: &dyn for<'a> Fn(&'a str) -> Cow<'a, str>) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = redact(text) {
                *text = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact_json(item, redact)),
        Value::Object(members) => {
            members
                .values_mut()
                .for_each(|member| redact_json(member, redact));
            if members.keys().any(|name| matches!(redact(name), Cow::Owned(_))) {
                *members = std::mem::take(members)
                    .into_iter()
                    .map(|(name, member)| (redact(&name).into_owned(), member))
                    .collect();
            }
        }
        Value::Number(number) => {
            let text = number.to_string();
            if let Cow::Owned(clean) = redact(&text) {
                *value = Value::String(clean);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

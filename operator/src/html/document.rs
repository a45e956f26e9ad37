//! Whether a page is one whole document: what it must have, and what it must not have twice.
//!
//! It must not know what elements are harmless.

use std::collections::BTreeSet;

use super::elements::Element;
use super::refusal::Finding;

/// Where browsers look for the encoding, in bytes.
const CHARSET_WITHIN: usize = 1024;

/// What was seen of a document so far.
#[derive(Default)]
pub(super) struct Document {
    seen: BTreeSet<Part>,
}

/// What documents are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Html,
    Head,
    Title,
    TitleText,
    Charset,
    Style,
    Body,
    Text,
    End,
}

impl Document {
    /// Notes an element outside of drawings that ends at a byte.
    pub(super) fn start(&mut self, element: &Element<'_>, end: usize) -> Option<Finding> {
        let part = match element.name {
            "html" => Some(Part::Html),
            "head" => Some(Part::Head),
            "title" => Some(Part::Title),
            "style" => Some(Part::Style),
            "body" => Some(Part::Body),
            _ => None,
        };
        if element.name == "meta" && element.value("charset").is_some() && end <= CHARSET_WITHIN {
            self.seen.insert(Part::Charset);
        }
        let is_late = part == Some(Part::Title) && self.seen.contains(&Part::Body);
        if part.is_some_and(|part| !self.seen.insert(part)) || is_late {
            return Some(Finding::new(
                format!("more than one <{}>, or one at the wrong place", element.name),
                "a page has one <html>, with one <head> (one <title>, one <style>) and one <body>",
            ));
        }
        self.outside("an element")
    }

    /// Notes the end of `<html>`.
    pub(super) fn end(&mut self) {
        self.seen.insert(Part::End);
    }

    /// Notes the page's title.
    pub(super) fn title(&mut self, text: &str) {
        if is_visible(text) {
            self.seen.insert(Part::TitleText);
        }
    }

    /// Notes text that a reader sees.
    pub(super) fn text(&mut self, text: &str) -> Option<Finding> {
        if !is_visible(text) {
            return None;
        }
        self.seen.insert(Part::Text);
        self.outside("text")
    }

    fn outside(&self, what: &str) -> Option<Finding> {
        let is_inside = self.seen.contains(&Part::Html) && !self.seen.contains(&Part::End);
        (!is_inside).then(|| {
            Finding::new(
                format!("{what} outside of <html>"),
                "hand in nothing but the document, from <!doctype html> to </html>",
            )
        })
    }

    /// What is missing.
    pub(super) fn finish(&self) -> impl Iterator<Item = Finding> {
        [
            (
                Part::Html,
                "no <html>",
                "hand in a whole document: <!doctype html><html lang=\"en\"><head>…</head><body>…</body></html>",
            ),
            (
                Part::TitleText,
                "no <title>, or an empty one",
                "write <title>what the page is about</title> in <head>",
            ),
            (
                Part::Charset,
                "no <meta charset=\"utf-8\"> at the beginning",
                "write it directly after <head>",
            ),
            (
                Part::Text,
                "nothing to read on the page",
                "write what you found into <body>",
            ),
            (
                Part::End,
                "no </html> at the end",
                "hand in the whole document; it may have been cut off",
            ),
        ]
        .into_iter()
        .filter(|(part, ..)| !self.seen.contains(part))
        .map(|(_, what, instead)| Finding::new(what, instead))
    }
}

fn is_visible(text: &str) -> bool {
    text.chars().any(|it| !it.is_whitespace() && !it.is_control())
}

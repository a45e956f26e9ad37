//! What is wrong with a page as it is written: markup that two parsers could read differently, and all that is
//! not listed as harmless, wherever a browser would put it.
//!
//! It must not know trees. What it takes is so plain that every parser sees the same tags in it.

use std::borrow::Cow;

use super::css::{self, Css};
use super::document::Document;
use super::elements::{Element, is_void, unwanted};
use super::lexer::{Lexeme, Lexer, Piece, markup};
use super::oddity::Oddity;
use super::references::decode;
use super::refusal::{Finding, Problems, excerpt, is_unwanted};
use super::tag::{Attribute, Tag};

/// Adds what is wrong with a page.
pub(super) fn check(page: &str, problems: &mut Problems) {
    let mut source = Source {
        page,
        problems,
        below: None,
        svg: Vec::new(),
        document: Document::default(),
    };
    for lexeme in Lexer::new(page) {
        source.take(&lexeme);
    }
    source.end();
}

struct Source<'a, 'p> {
    page: &'a str,
    problems: &'p mut Problems,
    /// The last id before here, for the model to find the place.
    below: Option<String>,
    /// What is open of a drawing, and where it began.
    svg: Vec<(String, usize)>,
    document: Document,
}

impl Source<'_, '_> {
    fn add(&mut self, start: usize, end: usize, finding: Finding) {
        let Self {
            page,
            problems,
            below,
            ..
        } = self;
        problems.add(finding, || place(page, start, end, below.as_deref()));
    }

    fn take(&mut self, lexeme: &Lexeme<'_>) {
        let Lexeme {
            start,
            end,
            piece,
            oddity,
        } = lexeme;
        if let Some((at, oddity)) = oddity {
            // Within a tag, what comes before tells more.
            let from = if matches!(oddity, Oddity::StrayLess) {
                *at
            } else {
                *start
            };
            self.add(from, *end, oddity.finding());
        }
        match piece {
            Piece::Text(raw) => self.text(lexeme, raw),
            Piece::Raw(element, raw) => match element.name {
                "style" => self.style(lexeme, raw),
                "title" => self.title(lexeme, raw),
                _ => {}
            },
            Piece::Start(tag) => self.start(lexeme, tag),
            Piece::End(tag) => self.end_tag(lexeme, tag),
            Piece::Comment(content) => self.comment(lexeme, content),
            Piece::Doctype(content) if !content.trim().eq_ignore_ascii_case("html") => {
                self.add(
                    *start,
                    *end,
                    Finding::new("another doctype", "write <!doctype html>"),
                );
            }
            Piece::Doctype(_) | Piece::Dropped => {}
        }
    }

    fn characters(&mut self, lexeme: &Lexeme<'_>, text: &str) {
        if let Some(it) = text.chars().find(|it| is_unwanted(*it)) {
            let at = self.page[lexeme.start..lexeme.end].find(it).unwrap_or_default();
            self.add(lexeme.start + at, lexeme.end, unwanted(it));
        }
    }

    fn text(&mut self, lexeme: &Lexeme<'_>, raw: &str) {
        let text = decode(raw, false);
        self.characters(lexeme, &text);
        if !self.in_label()
            && let Some(finding) = self.document.text(&text)
        {
            self.add(lexeme.start, lexeme.end, finding);
        }
    }

    /// Whether here is a text of a drawing that is not shown.
    fn in_label(&self) -> bool {
        let open = self.svg.last();
        open.is_some_and(|(name, _)| matches!(name.as_str(), "title" | "desc"))
    }

    fn title(&mut self, lexeme: &Lexeme<'_>, raw: &str) {
        let text = decode(raw, false);
        self.characters(lexeme, &text);
        self.document.title(&text);
        if let Some(at) = markup(raw) {
            let finding = Finding::new("markup in <title>", "a title is plain text: write < as &lt;");
            self.add(lexeme.start + at, lexeme.end, finding);
        }
    }

    fn style(&mut self, lexeme: &Lexeme<'_>, raw: &str) {
        self.characters(lexeme, raw);
        for (at, finding) in css::findings(raw, Css::Sheet) {
            self.add(lexeme.start + at, lexeme.end, finding);
        }
    }

    fn comment(&mut self, lexeme: &Lexeme<'_>, content: &str) {
        self.characters(lexeme, content);
        if content.contains(['<', '>']) || content.contains("--") || content.ends_with('-') {
            let finding = Finding::new("a comment with <, > or -- in it", "remove the comment");
            self.add(lexeme.start, lexeme.end, finding);
        }
    }

    fn start(&mut self, lexeme: &Lexeme<'_>, tag: &Tag<'_>) {
        let in_svg = !self.svg.is_empty();
        let element = Element {
            name: &tag.name,
            in_svg,
            attributes: tag.attributes.iter().map(decoded).collect(),
        };
        for (index, finding) in element.findings() {
            let place = index.and_then(|index| tag.attributes.get(index));
            let (start, end) = place.map_or((lexeme.start, lexeme.end), |it| (it.start, it.end));
            self.add(start, end, finding);
        }
        if let Some(attribute) = tag.attributes.iter().find(|it| markup(it.value).is_some()) {
            let finding = Finding::new(
                "markup in the value of an attribute",
                "close the quotes, and write < as &lt; (html.escape(value, quote=True) does it)",
            );
            self.add(attribute.start, attribute.end, finding);
        }
        if !in_svg && let Some(finding) = self.document.start(&element, lexeme.end) {
            self.add(lexeme.start, lexeme.end, finding);
        }
        if let Some(id) = element.value("id") {
            self.below = Some(excerpt(id));
        }
        if self.in_label() {
            let finding = Finding::new(
                "markup in the <title> or <desc> of a drawing",
                "it is plain text: close it first, and write < as &lt;",
            );
            self.add(lexeme.start, lexeme.end, finding);
        }
        let has_content = !tag.self_closing && !is_void(&tag.name);
        if (in_svg || tag.name == "svg") && has_content {
            self.svg.push((tag.name.clone(), lexeme.start));
        } else if tag.self_closing && !in_svg && tag.name != "svg" && !is_void(&tag.name) {
            let finding = Finding::new(
                format!("<{}/>", excerpt(&tag.name)),
                "HTML ignores the slash: write an end tag",
            );
            self.add(lexeme.start, lexeme.end, finding);
        }
    }

    fn end_tag(&mut self, lexeme: &Lexeme<'_>, tag: &Tag<'_>) {
        match self.svg.last() {
            Some((open, _)) if *open == tag.name => {
                self.svg.pop();
            }
            Some((open, _)) => {
                let finding = Finding::new(
                    "elements of a drawing that overlap",
                    format!("close what was opened last first: here </{}>", excerpt(open)),
                );
                self.add(lexeme.start, lexeme.end, finding);
                if tag.name == "svg" {
                    self.svg.clear();
                }
            }
            None if tag.name == "html" => self.document.end(),
            None if is_void(&tag.name) => {
                let finding = Finding::new(
                    format!("</{}>", tag.name),
                    format!("it has no end tag: write <{}>", tag.name),
                );
                self.add(lexeme.start, lexeme.end, finding);
            }
            None => {}
        }
    }

    fn end(&mut self) {
        if let Some((name, start)) = self.svg.first().cloned() {
            let finding = Finding::new(format!("<{name}> without end"), format!("write </{name}>"));
            self.add(start, self.page.len(), finding);
        }
        for finding in self.document.finish() {
            self.problems.add(finding, String::new);
        }
    }
}

fn decoded<'a>(attribute: &Attribute<'a>) -> (Cow<'a, str>, Cow<'a, str>) {
    let name = if attribute.name.bytes().any(|it| it.is_ascii_uppercase()) {
        Cow::Owned(attribute.name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(attribute.name)
    };
    (name, decode(attribute.value, true))
}

/// Where something is, so that a model finds it, also in a page of one line.
fn place(page: &str, start: usize, end: usize, below: Option<&str>) -> String {
    let before = &page[..start];
    let line = before.bytes().filter(|it| *it == b'\n').count() + 1;
    let column = before[before.rfind('\n').map_or(0, |at| at + 1)..]
        .chars()
        .count()
        + 1;
    let below = below.map(|id| format!(", below id=\"{id}\"")).unwrap_or_default();
    format!(
        "in line {line}, column {column}{below}: {}",
        excerpt(&page[start..end])
    )
}

//! Cuts a page into tags, text and comments, as a browser's tokenizer does, in linear time.
//!
//! It must not know what is allowed. Markup that two parsers could read differently is cut as the HTML
//! standard says, and marked as an [`Oddity`]: whoever trusts the pieces refuses it.

use super::oddity::Oddity;
use super::tag::{Tag, TagReader, is_space};

/// A part of the page.
#[derive(Debug)]
pub(super) struct Lexeme<'a> {
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
    /// What it is.
    pub(super) piece: Piece<'a>,
    /// The first thing in it that is not plain, and where.
    pub(super) oddity: Option<(usize, Oddity)>,
}

/// What a part of a page is.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// Text with references such as `&amp;`.
    Text(&'a str),
    /// What stands in an element such as `<style>`, named here, in which tags are not read.
    Raw(RawElement, &'a str),
    /// A start tag.
    Start(Tag<'a>),
    /// An end tag.
    End(Tag<'a>),
    /// What stands between `<!--` and `-->`.
    Comment(&'a str),
    /// What stands between `<!doctype` and `>`.
    Doctype(&'a str),
    /// What browsers drop or take for a comment.
    Dropped,
}

/// An element in which no tags are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawElement {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether references are replaced in it.
    pub(super) references: bool,
}

/// The elements in which no tags are read, outside of SVG.
const RAW: [RawElement; 9] = [
    RawElement::new("style", false),
    RawElement::new("title", true),
    RawElement::new("script", false),
    RawElement::new("textarea", true),
    RawElement::new("xmp", false),
    RawElement::new("iframe", false),
    RawElement::new("noembed", false),
    RawElement::new("noframes", false),
    RawElement::new("plaintext", false),
];

impl RawElement {
    const fn new(name: &'static str, references: bool) -> Self {
        Self { name, references }
    }
}

/// Gives the pieces of a page, in order and without gaps.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    page: &'a str,
    at: usize,
    raw: Option<RawElement>,
    /// How many `<svg>` are open: in them, there are no raw elements.
    svg: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(page: &'a str) -> Self {
        Self {
            page,
            at: 0,
            raw: None,
            svg: 0,
        }
    }

    fn rest(&self) -> &'a str {
        self.page.get(self.at..).unwrap_or_default()
    }

    fn lexeme(&mut self, length: usize, piece: Piece<'a>, oddity: Option<Oddity>) -> Lexeme<'a> {
        let start = self.at;
        self.at += length;
        Lexeme {
            start,
            end: self.at,
            piece,
            oddity: oddity.map(|it| (start, it)),
        }
    }

    fn raw(&mut self, element: RawElement) -> Option<Lexeme<'a>> {
        let rest = self.rest();
        let length = match element.name {
            "plaintext" => rest.len(),
            name => end_of_raw(rest, name),
        };
        (length > 0).then(|| self.lexeme(length, Piece::Raw(element, &rest[..length]), None))
    }

    fn text(&mut self) -> Option<Lexeme<'a>> {
        let rest = self.rest();
        let mut oddity = None;
        let mut from = 0;
        let length = loop {
            let Some(at) = rest[from..].find('<').map(|at| from + at) else {
                break rest.len();
            };
            match rest.as_bytes().get(at + 1) {
                Some(next) if next.is_ascii_alphabetic() || matches!(next, b'!' | b'?') => break at,
                Some(b'/') if at + 2 < rest.len() => break at,
                None | Some(b'\t' | b'\n' | b'\x0c' | b'\r' | b' ' | b'=' | b'0'..=b'9') => {}
                Some(_) => oddity = oddity.or(Some((self.at + at, Oddity::StrayLess))),
            }
            from = at + 1;
        };
        (length > 0).then(|| Lexeme {
            oddity,
            ..self.lexeme(length, Piece::Text(&rest[..length]), None)
        })
    }

    fn declaration(&mut self) -> Lexeme<'a> {
        let rest = self.rest();
        if let Some(after) = rest.strip_prefix("<!--") {
            let (content, length, oddity) = comment(after);
            return self.lexeme("<!--".len() + length, Piece::Comment(content), oddity);
        }
        let end = rest.find('>');
        let length = end.map_or(rest.len(), |at| at + 1);
        let doctype = "<!doctype".len();
        if rest
            .get(..doctype)
            .is_some_and(|it| it.eq_ignore_ascii_case("<!doctype"))
        {
            let content = &rest[doctype..end.unwrap_or(rest.len())];
            return self.lexeme(
                length,
                Piece::Doctype(content),
                end.is_none().then_some(Oddity::Unfinished),
            );
        }
        let oddity = match rest {
            _ if rest.starts_with("<![CDATA[") => Oddity::Cdata,
            _ if rest.starts_with("</") => Oddity::StrayEndTag,
            _ => Oddity::Declaration,
        };
        self.lexeme(length, Piece::Dropped, Some(oddity))
    }

    fn tag(&mut self) -> Lexeme<'a> {
        let start = self.at;
        let is_end = self.rest().starts_with("</");
        let mut reader = TagReader {
            page: self.page,
            at: start + 1 + usize::from(is_end),
            oddity: None,
        };
        let tag = reader.tag();
        self.at = reader.at;
        let mut oddity = reader.oddity;
        let piece = match tag {
            None => Piece::Dropped,
            Some(tag) if is_end => {
                if tag.name == "svg" {
                    self.svg = self.svg.saturating_sub(1);
                }
                if tag.self_closing || !tag.attributes.is_empty() {
                    oddity = oddity.or(Some((start, Oddity::EndTag)));
                }
                Piece::End(tag)
            }
            Some(tag) => {
                if tag.name == "svg" && !tag.self_closing {
                    self.svg += 1;
                } else if self.svg == 0 {
                    self.raw = RAW.into_iter().find(|raw| raw.name == tag.name);
                }
                Piece::Start(tag)
            }
        };
        Lexeme {
            start,
            end: self.at,
            piece,
            oddity,
        }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Lexeme<'a>;

    fn next(&mut self) -> Option<Lexeme<'a>> {
        if let Some(raw) = self.raw.take().and_then(|element| self.raw(element)) {
            return Some(raw);
        }
        if self.rest().is_empty() {
            return None;
        }
        if let Some(text) = self.text() {
            return Some(text);
        }
        let rest = self.rest().as_bytes();
        let first = if rest.starts_with(b"</") {
            rest.get(2)
        } else {
            rest.get(1)
        };
        Some(if first.is_some_and(u8::is_ascii_alphabetic) {
            self.tag()
        } else {
            self.declaration()
        })
    }
}

/// Where `</name` begins, or the end.
fn end_of_raw(text: &str, name: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("</").map(|at| from + at) {
        let after = &text.as_bytes()[at + 2..];
        if after
            .get(..name.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes()))
            && after
                .get(name.len())
                .is_none_or(|it| is_space(*it) || matches!(it, b'/' | b'>'))
        {
            return at;
        }
        from = at + 2;
    }
    text.len()
}

/// What a comment holds, how long it is with its end, and what is odd about it.
fn comment(after: &str) -> (&str, usize, Option<Oddity>) {
    for abrupt in [">", "->"] {
        if after.starts_with(abrupt) {
            return ("", abrupt.len(), Some(Oddity::Comment));
        }
    }
    let mut from = 0;
    while let Some(at) = after[from..].find("--").map(|at| from + at) {
        match after.as_bytes().get(at + 2..).unwrap_or_default() {
            [b'>', ..] => return (&after[..at], at + 3, None),
            [b'!', b'>', ..] => return (&after[..at], at + 4, Some(Oddity::Comment)),
            _ => from = at + 1,
        }
    }
    (after, after.len(), Some(Oddity::Comment))
}

/// Where something begins that would be a tag elsewhere.
pub(super) fn markup(text: &str) -> Option<usize> {
    text.match_indices('<').map(|(at, _)| at).find(|at| {
        text[at + 1..].starts_with(|it: char| it.is_ascii_alphabetic() || matches!(it, '/' | '!' | '?'))
    })
}

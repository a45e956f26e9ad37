//! Reads one tag, as a browser's tokenizer does.
//!
//! It must not know what stands before and after it.

use super::oddity::Oddity;

/// The most attributes that are read of a tag: parsers compare each with all others.
pub(super) const MAX_ATTRIBUTES: usize = 64;

/// A tag.
#[derive(Debug)]
pub(super) struct Tag<'a> {
    /// Its name, in small letters.
    pub(super) name: String,
    /// What it carries.
    pub(super) attributes: Vec<Attribute<'a>>,
    /// Whether it ends in `/>`.
    pub(super) self_closing: bool,
}

/// An attribute, as it is written.
#[derive(Debug)]
pub(super) struct Attribute<'a> {
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
    /// Its name.
    pub(super) name: &'a str,
    /// Its value, with references.
    pub(super) value: &'a str,
}

/// What parts a tag.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ')
}

/// Reads one tag.
pub(super) struct TagReader<'a> {
    pub(super) page: &'a str,
    pub(super) at: usize,
    pub(super) oddity: Option<(usize, Oddity)>,
}

impl<'a> TagReader<'a> {
    fn peek(&self) -> Option<u8> {
        self.page.as_bytes().get(self.at).copied()
    }

    fn odd(&mut self, oddity: Oddity) {
        self.oddity = self.oddity.or(Some((self.at, oddity)));
    }

    /// Up to a byte that ends it; all those are ASCII.
    fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.page.get(self.at..).unwrap_or_default();
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// `None` if the page ends within the tag.
    pub(super) fn tag(&mut self) -> Option<Tag<'a>> {
        let name = self
            .until(|it| is_space(it) || matches!(it, b'/' | b'>'))
            .to_ascii_lowercase();
        let mut tag = Tag {
            name,
            attributes: Vec::new(),
            self_closing: false,
        };
        loop {
            self.until(|it| !is_space(it));
            match self.peek() {
                None => {
                    self.odd(Oddity::Unfinished);
                    return None;
                }
                Some(b'>') => {
                    self.at += 1;
                    return Some(tag);
                }
                Some(b'/') => {
                    self.at += 1;
                    if self.peek() == Some(b'>') {
                        tag.self_closing = true;
                    } else {
                        self.odd(Oddity::Slash);
                    }
                }
                Some(_) => {
                    let attribute = self.attribute()?;
                    if tag.attributes.len() == MAX_ATTRIBUTES {
                        self.odd(Oddity::TooManyAttributes);
                    } else if tag
                        .attributes
                        .iter()
                        .any(|it| it.name.eq_ignore_ascii_case(attribute.name))
                    {
                        self.odd(Oddity::Duplicate);
                    } else {
                        tag.attributes.push(attribute);
                    }
                }
            }
        }
    }

    fn attribute(&mut self) -> Option<Attribute<'a>> {
        let start = self.at;
        // `=` where a name should begin is part of the name.
        self.at += usize::from(self.peek() == Some(b'='));
        self.until(|it| is_space(it) || matches!(it, b'/' | b'>' | b'='));
        let name = &self.page[start..self.at];
        if name.contains(['"', '\'', '<', '=']) {
            self.odd(Oddity::AttributeName);
        }
        let mut end = self.at;
        self.until(|it| !is_space(it));
        let mut value = "";
        if self.peek() == Some(b'=') {
            self.at += 1;
            value = self.value()?;
            end = self.at;
        }
        Some(Attribute {
            start,
            end,
            name,
            value,
        })
    }

    fn value(&mut self) -> Option<&'a str> {
        self.until(|it| !is_space(it));
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => {
                self.at += 1;
                let value = self.until(|it| it == quote);
                if self.peek().is_none() {
                    self.odd(Oddity::Unfinished);
                    return None;
                }
                self.at += 1;
                if self
                    .peek()
                    .is_some_and(|it| !is_space(it) && !matches!(it, b'/' | b'>'))
                {
                    self.odd(Oddity::NoSpace);
                }
                Some(value)
            }
            Some(b'>') => {
                self.odd(Oddity::AttributeValue);
                Some("")
            }
            _ => {
                let start = self.at;
                let value = self.until(|it| is_space(it) || it == b'>');
                if value.contains(['"', '\'', '<', '=', '`']) {
                    self.oddity = self.oddity.or(Some((start, Oddity::AttributeValue)));
                }
                Some(value)
            }
        }
    }
}

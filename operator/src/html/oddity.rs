//! What two parsers could read differently, and how to mend it.
//!
//! It must not know how it is found.

use super::refusal::Finding;
use super::tag::MAX_ATTRIBUTES;

/// What two parsers could read differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oddity {
    /// `<` before what begins no tag.
    StrayLess,
    /// `</` before what begins no tag.
    StrayEndTag,
    /// `<![CDATA[`.
    Cdata,
    /// `<!` or `<?` before anything else.
    Declaration,
    /// A comment that does not end in `-->`.
    Comment,
    /// A tag, or a quote in it, that does not end.
    Unfinished,
    /// A quote, `<` or `=` where a name of an attribute should be.
    AttributeName,
    /// A quote or another sign in a value without quotes, or no value after `=`.
    AttributeValue,
    /// No space between attributes.
    NoSpace,
    /// `/` within a tag.
    Slash,
    /// The same attribute twice.
    Duplicate,
    /// More than [`MAX_ATTRIBUTES`].
    TooManyAttributes,
    /// Attributes or `/` in an end tag.
    EndTag,
}

impl Oddity {
    /// What to tell a model.
    pub(super) fn finding(self) -> Finding {
        let escape = "write < as &lt; in text (html.escape does it)";
        let quotes =
            "close the quotes of the attribute before, and escape values with html.escape(value, quote=True)";
        let (what, instead) = match self {
            Self::StrayLess => ("< that begins no tag", escape),
            Self::StrayEndTag => ("</ that begins no end tag", escape),
            Self::Cdata => (
                "<![CDATA[",
                "write the text itself, with < as &lt; and & as &amp;",
            ),
            Self::Declaration => ("<! or <? that begins neither comment nor doctype", escape),
            Self::Comment => ("a comment that does not end in -->", "remove the comment"),
            Self::Unfinished => ("a tag that does not end", quotes),
            Self::AttributeName => ("a quote, < or = where an attribute should begin", quotes),
            Self::AttributeValue => (
                "a value that is missing, or holds signs and has no quotes",
                "write name=\"value\"",
            ),
            Self::NoSpace => ("no space between attributes", quotes),
            Self::Slash => ("/ within a tag", "remove it, and write name=\"value\""),
            Self::Duplicate => ("an attribute that is given twice", "give each attribute once"),
            Self::EndTag => ("an end tag with more than a name", "write </name>"),
            Self::TooManyAttributes => {
                return Finding::new(
                    format!("a tag with more than {MAX_ATTRIBUTES} attributes"),
                    "use fewer",
                );
            }
        };
        Finding::new(what, instead)
    }
}

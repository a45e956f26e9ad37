//! Pages: whether one that a model hands in may be published, and what one says.
//!
//! It must not know models, stores or runs. A page is hostile until it was checked: what is in it may come from
//! a database that anybody writes to. What is not known to be harmless is refused, never mended: a page is
//! published as it was handed in, or not at all.
//!
//! A page is judged twice: as it is written (every tag, also those that a browser drops), and as the tree that
//! a browser makes of it. Whatever the one does not see, the other does.

mod browser;
mod css;
mod document;
mod elements;
mod lexer;
mod oddity;
mod references;
mod refusal;
mod source;
mod tag;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod words;
mod write;

pub use refusal::Refusal;
pub use text::text;

use refusal::{Finding, Problems};

/// Beyond this many bytes a page is not even looked at.
const MAX_CHECKED: usize = 4 << 20;

/// What a page must keep to, beyond what all must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The most bytes it may have.
    pub max_bytes: usize,
}

impl Rules {
    /// For a catalog: 500 KB.
    pub const CATALOG: Self = Self { max_bytes: 500 << 10 };
    /// For a summary: below 5 KB.
    pub const SUMMARY: Self = Self {
        max_bytes: (5 << 10) - 1,
    };
}

/// Whether a page may be published: one whole document that a browser shows without running, loading or sending
/// anything. The refusal says all that is wrong, for the model to mend.
///
/// Takes any input, in time that grows as the input does.
pub fn check(page: &str, rules: &Rules) -> Result<(), Refusal> {
    let page = page.strip_prefix('\u{feff}').unwrap_or(page);
    let mut problems = Problems::default();
    if page.len() > rules.max_bytes {
        let what = format!("{} bytes, where {} are the most", page.len(), rules.max_bytes);
        let instead = "leave out what matters least: charts that repeat numbers, long lists, comments";
        problems.add(Finding::new(what, instead), String::new);
    }
    if page.len() <= MAX_CHECKED {
        let before = problems.len();
        source::check(page, &mut problems);
        // The tree of a page that parsers read differently proves nothing.
        if problems.len() == before {
            browser::check(page, &mut problems);
        }
    }
    problems.into_result()
}

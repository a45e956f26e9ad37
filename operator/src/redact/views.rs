//! A text as it reads once percent signs, backslashes or HTML entities are undone, in the ways that come
//! together.

use std::borrow::Cow;
use std::ops::Range;

use super::escapes::{Step, undo};

/// Ways that come together: JSON in JSON, HTML in JSON, a URL in either.
const WAYS: [&[Step]; 8] = [
    &[Step::Percent],
    &[Step::Percent, Step::Percent],
    &[Step::Backslash],
    &[Step::Backslash, Step::Backslash],
    &[Step::Entity],
    &[Step::Backslash, Step::Entity],
    &[Step::Backslash, Step::Percent],
    &[Step::Entity, Step::Percent],
];

/// A text as it reads once escapes are undone, and where its bytes came from.
pub(super) struct View<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// For every byte, and for the end; nothing where the text is as it is.
    from: Option<Vec<usize>>,
    /// What comes after so many bytes may be an escape that is not complete.
    pub(super) complete: usize,
}

impl View<'_> {
    /// What is between two places, in the text as it is.
    pub(super) fn range(&self, start: usize, end: usize) -> Range<usize> {
        match &self.from {
            Some(from) => from[start]..from[end],
            None => start..end,
        }
    }
}

/// All views of a text that differ from one another, each made when it is asked for: one is several times as large as
/// the text.
pub(super) fn views(text: &[u8]) -> impl Iterator<Item = View<'_>> {
    let plain = View {
        bytes: Cow::Borrowed(text),
        from: None,
        complete: text.len(),
    };
    std::iter::once(plain).chain(WAYS.into_iter().filter_map(|way| view(text, way)))
}

/// A text as it reads once it is undone in this way; nothing, if it is then as in another way.
fn view<'a>(text: &'a [u8], way: &[Step]) -> Option<View<'a>> {
    let mut bytes = Cow::Borrowed(text);
    let mut from: Vec<usize> = Vec::new();
    let mut complete = text.len();
    for step in way {
        if !bytes.contains(&step.sign()) {
            return None;
        }
        let undone = undo(&bytes, *step);
        // Undecided is also what comes of something undecided, in part or as a whole.
        let cut = |at: usize| {
            let next = undone.from.partition_point(|origin| *origin < at);
            match undone.from.get(next) {
                Some(origin) if *origin > at => {
                    let across = undone.from[next - 1];
                    undone.from.partition_point(|origin| *origin < across)
                }
                _ => next,
            }
        };
        complete = if complete < bytes.len() {
            undone.complete.min(cut(complete))
        } else {
            undone.complete
        };
        from = if from.is_empty() {
            undone.from
        } else {
            undone.from.into_iter().map(|at| from[at]).collect()
        };
        bytes = Cow::Owned(undone.bytes);
    }
    Some(View {
        bytes,
        from: Some(from),
        complete,
    })
}

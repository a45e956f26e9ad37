//! Sets of words, written as they are read.

use std::collections::HashSet;
use std::sync::LazyLock;

/// A set of words, built when it is first asked.
pub(super) type Words = LazyLock<HashSet<&'static str>>;

/// The words of a text.
pub(super) fn set(words: &'static str) -> HashSet<&'static str> {
    words.split_ascii_whitespace().collect()
}

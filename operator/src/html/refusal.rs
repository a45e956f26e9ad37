//! What is wrong with a page, said so that a model can mend it.
//!
//! It must not know the rules. What it says quotes the page: it is for the model that wrote it, not for logs.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use thiserror::Error;

/// The most problems that are told.
const MAX_TOLD: usize = 20;
/// The most characters of the page that are quoted for one problem.
const MAX_EXCERPT: usize = 80;

/// Why a page is not published.
#[derive(Clone, PartialEq, Eq, Error)]
pub struct Refusal {
    problems: Vec<Problem>,
    untold: usize,
}

impl Refusal {
    /// How many problems there are, each counted as often as it occurs.
    pub fn count(&self) -> usize {
        self.problems.iter().map(|problem| problem.times).sum::<usize>() + self.untold
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("The page was not accepted. Mend all of this and hand it in again, whole:")?;
        for problem in &self.problems {
            write!(formatter, "\n- {problem}")?;
        }
        match self.untold {
            0 => Ok(()),
            untold => write!(formatter, "\n+{untold} more"),
        }
    }
}

impl fmt::Debug for Refusal {
    /// Without quotes: pages hold data.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Refusal({} problems)", self.count())
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Problem {
    finding: Finding,
    place: String,
    times: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { what, instead } = &self.finding;
        let Self { place, times, .. } = self;
        write!(formatter, "{what}; {instead}")?;
        if !place.is_empty() {
            write!(formatter, ". It is {place}")?;
        }
        match times {
            1 => Ok(()),
            _ => write!(formatter, " (and {} more)", times - 1),
        }
    }
}

/// Something that a page may not have, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What it is.
    pub(super) what: String,
    /// What to do instead.
    pub(super) instead: Cow<'static, str>,
}

impl Finding {
    pub(super) fn new(what: impl Into<String>, instead: impl Into<Cow<'static, str>>) -> Self {
        Self {
            what: what.into(),
            instead: instead.into(),
        }
    }
}

/// Gathers problems; those that are the same are told once.
#[derive(Default)]
pub(super) struct Problems {
    told: Vec<Problem>,
    index: HashMap<String, usize>,
    untold: usize,
}

impl Problems {
    /// Adds one. Its place is asked for only if it is told.
    pub(super) fn add(&mut self, finding: Finding, place: impl FnOnce() -> String) {
        if let Some(problem) = self
            .index
            .get(&finding.what)
            .and_then(|index| self.told.get_mut(*index))
        {
            problem.times += 1;
        } else if self.told.len() == MAX_TOLD {
            self.untold += 1;
        } else {
            self.index.insert(finding.what.clone(), self.told.len());
            self.told.push(Problem {
                finding,
                place: place(),
                times: 1,
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub(super) fn refusal(self) -> Refusal {
        Refusal {
            problems: self.told,
            untold: self.untold,
        }
    }
}

/// A part of the page as it can be shown: short, on one line, with what can't be seen made visible.
pub(super) fn excerpt(part: &str) -> String {
    let mut shown = String::new();
    let mut rest = part.chars();
    for it in rest.by_ref().take(MAX_EXCERPT) {
        match it {
            '\n' | '\t' | '\r' => shown.push(' '),
            _ if is_unwanted(it) => shown.push_str(&named(it)),
            _ => shown.push(it),
        }
    }
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A character as its number.
pub(super) fn named(it: char) -> String {
    format!("U+{:04X}", u32::from(it))
}

/// Characters that make a text look other than it is: controls other than white space, and those that
/// change the direction of what follows.
pub(super) fn is_unwanted(it: char) -> bool {
    (it.is_control() && !matches!(it, '\t' | '\n' | '\x0c' | '\r'))
        || matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_and_not_everything_is() {
        let mut problems = Problems::default();
        assert!(problems.is_empty());
        for number in 0..25 {
            problems.add(Finding::new(format!("problem {number}"), "do not"), || {
                "here".into()
            });
        }
        problems.add(Finding::new("problem 0", "do not"), || unreachable!());
        let refusal = problems.refusal();
        let told = refusal.to_string();
        assert!(
            told.contains("\n- problem 0; do not. It is here (and 1 more)\n- problem 1; do"),
            "{told}"
        );
        assert!(
            told.contains("- problem 19; do not. It is here\n+5 more"),
            "{told}"
        );
        assert_eq!(refusal.count(), 26);
        assert_eq!(format!("{refusal:?}"), "Refusal(26 problems)");
    }

    #[test]
    fn excerpts_are_short_and_visible() {
        assert_eq!(excerpt("<p>\n\u{202e}x\0"), "<p> U+202ExU+0000");
        assert_eq!(excerpt(&"ü".repeat(81)), format!("{}…", "ü".repeat(80)));
    }
}

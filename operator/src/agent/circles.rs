//! Notices that an agent goes in a circle: the same calls with the same results, once more and once more.
//!
//! It must not know what calls do.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The longest circle that is noticed, in calls.
const LONGEST: usize = 4;
/// How often one call that succeeds may give the same result.
const SAME: usize = 4;
/// How often a call may fail in the same words, and a circle of several calls be gone through.
const AGAIN: usize = 3;

/// The calls of an agent, as far as circles go.
#[derive(Debug, Clone, Default)]
pub(super) struct Circles {
    calls: Vec<(u64, bool)>,
    /// How many calls there were when a circle was last noticed.
    noticed_at: usize,
}

impl Circles {
    /// Takes a call and its result; the length of the circle that it closes. A circle that was noticed has to
    /// be gone through once more before it is noticed again.
    pub(super) fn add(&mut self, call: &str, result: &str, is_error: bool) -> Option<usize> {
        let mut hasher = DefaultHasher::new();
        (call, result, is_error).hash(&mut hasher);
        self.calls.push((hasher.finish(), is_error));
        let length = (1..=LONGEST).find(|length| self.closes(*length))?;
        if self.noticed_at > 0 && self.calls.len() < self.noticed_at + length {
            return None;
        }
        self.noticed_at = self.calls.len();
        Some(length)
    }

    fn closes(&self, length: usize) -> bool {
        let failed = self.calls.last().is_some_and(|(_, is_error)| *is_error);
        let times = if length == 1 && !failed { SAME } else { AGAIN };
        let Some(from) = self.calls.len().checked_sub(length * times) else {
            return false;
        };
        let last = &self.calls[from..];
        last.iter()
            .zip(&last[length..])
            .all(|(before, after)| before == after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The positions, from 1, at which a circle is noticed.
    fn noticed(calls: &[(&str, &str, bool)]) -> Vec<(usize, usize)> {
        let mut circles = Circles::default();
        calls
            .iter()
            .enumerate()
            .filter_map(|(at, (call, result, failed))| Some((at + 1, circles.add(call, result, *failed)?)))
            .collect()
    }

    #[test]
    fn the_same_again_is_noticed() {
        assert_eq!(noticed(&[("a", "1", false); 6]), [(4, 1), (5, 1), (6, 1)]);
        assert_eq!(noticed(&[("a", "1", true); 4]), [(3, 1), (4, 1)]);
    }

    #[test]
    fn circles_of_several_calls_are_noticed() {
        let (a, b) = (("a", "1", false), ("b", "1", false));
        assert_eq!(noticed(&[a, b, a, b, a, b, a, b]), [(6, 2), (8, 2)]);
        let c = ("c", "1", true);
        assert_eq!(noticed(&[a, b, c, a, b, c, a, b, c]), [(9, 3)]);
    }

    #[test]
    fn progress_is_no_circle() {
        assert_eq!(noticed(&[("a", "1", false), ("a", "2", false)].repeat(2)), []);
        let counted: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        let calls: Vec<_> = counted
            .iter()
            .map(|result| ("look", result.as_str(), false))
            .collect();
        assert_eq!(noticed(&calls), []);
    }
}

//! Secrets of which only a part is there, because the rest of the text was left out.
//!
//! It must not know who left it out.

use std::ops::Range;

use super::ranges::merged;
use super::views::views;
use super::{Redactor, without};

/// A part of so many bytes is worth hiding: fewer could be of anything.
const LEAST: usize = 4;
/// The longest rest of an escape that was cut in two.
const BROKEN: usize = 6;

impl Redactor {
    /// A text in which `gap` stands for what was left out, without secrets: neither whole ones, nor the begin of
    /// one before a gap, nor the end of one after it.
    pub fn redact_with_gaps(&self, text: &str, gap: &str) -> String {
        let mut out = String::new();
        let mut pieces = text.split(gap).peekable();
        let mut after_gap = false;
        while let Some(piece) = pieces.next() {
            let before_gap = pieces.peek().is_some();
            let mut found = self.find(piece.as_bytes());
            if after_gap {
                found.extend(self.end_of_one(piece));
            }
            if before_gap {
                found.extend(self.begin_of_one(piece));
            }
            out.push_str(&without(piece, merged(found), self.marker()));
            if before_gap {
                out.push_str(gap);
            }
            after_gap = true;
        }
        out
    }

    /// What may be the begin of a secret, at the end of a text.
    fn begin_of_one(&self, text: &str) -> Option<Range<usize>> {
        let from = self.undecided(text.as_bytes());
        (text.len() - from >= LEAST).then_some(from..text.len())
    }

    /// What may be the end of a secret, at the begin of a text.
    fn end_of_one(&self, text: &str) -> Option<Range<usize>> {
        let mut until = 0;
        for view in views(text.as_bytes()) {
            let bytes = view.bytes.as_ref();
            for pattern in self.patterns() {
                let ends = (LEAST..pattern.len())
                    .rev()
                    .map(|length| &pattern[pattern.len() - length..]);
                let begins =
                    |end: &[u8]| (0..BROKEN.min(bytes.len())).find(|from| bytes[*from..].starts_with(end));
                let longest = ends.into_iter().find_map(|end| Some(begins(end)? + end.len()));
                if let Some(length) = longest {
                    until = until.max(view.range(0, length).end);
                }
            }
        }
        (until > 0).then_some(0..until)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::of;

    const GAP: &str = "\n[... 1,234 bytes left out ...]\n";

    #[test]
    fn no_half_of_a_secret_stays() {
        let secret = "pä\"ss/w0rd🦀of%it";
        let redactor = of(&[secret]);
        let json = serde_json::to_string(secret).unwrap();
        for written in [
            secret,
            json.trim_matches('"'),
            "p%C3%A4%22ss%2Fw0rd%F0%9F%A6%80of%25it",
            "p&auml;".trim_end_matches("&auml;"),
            "70c3a42273732f77307264f09fa6806f66256974",
            "cMOkInNzL3cwcmTwn6aAb2YlaXQ",
        ] {
            for cut in (0..=written.len()).filter(|cut| written.is_char_boundary(*cut)) {
                let (before, after) = written.split_at(cut);
                let head = redactor.redact_with_gaps(&format!("row 1 {before}{GAP}row 2"), GAP);
                // The last letter of base64 has too little of it.
                let head = head.replace("]Q", "]");
                if before.len() >= 4 {
                    assert_eq!(head, format!("row 1 [redacted]{GAP}row 2"), "{before}");
                }
                let tail = redactor.redact_with_gaps(&format!("row 1{GAP}{after} row 2"), GAP);
                if after.len() >= 12 {
                    // The last letter of base64 has too little of it.
                    let rest = tail.strip_suffix(" row 2").unwrap();
                    assert!(
                        rest.trim_end_matches('Q').ends_with("[redacted]"),
                        "{after}: {tail}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        let redactor = of(&["hunter2-xyz"]);
        for text in [
            "",
            GAP,
            "hun",
            "a hunt",
            "a\n[... 1,234 bytes left out ...]\nb",
            "yz and more",
        ] {
            assert_eq!(redactor.redact_with_gaps(text, GAP), text);
        }
        assert_eq!(
            redactor.redact_with_gaps(&format!("hunter2-xyz hunter2{GAP}er2-xyz{GAP}-xyz."), GAP),
            format!("[redacted] [redacted]{GAP}[redacted]{GAP}[redacted].")
        );
    }
}

//! A text that comes in pieces, as it comes from a sandbox or a model.

use std::fmt;

use super::Redactor;
use super::patterns::Pattern;
use super::ranges::{merged, snapped};
use super::views::views;

/// Takes secrets out of a text that comes in pieces. What may be the beginning of one is held back until more
/// has come: at most a few times the length of the longest secret.
pub struct RedactedStream {
    redactor: Redactor,
    held: String,
    /// So much of it is part of a secret whose marker is out.
    hidden: usize,
}

impl fmt::Debug for RedactedStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedactedStream({} bytes held)", self.held.len())
    }
}

impl RedactedStream {
    pub(super) fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            held: String::new(),
            hidden: 0,
        }
    }

    /// Takes the next piece, and gives what is surely clean.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let mut until = self.redactor.undecided(self.held.as_bytes());
        while !self.held.is_char_boundary(until) {
            until -= 1;
        }
        self.release(until)
    }

    /// Gives the rest. The stream is as new then.
    pub fn finish(&mut self) -> String {
        self.release(self.held.len())
    }

    fn release(&mut self, until: usize) -> String {
        let mut out = String::new();
        let mut at = 0;
        let mut found = self.redactor.find(self.held.as_bytes());
        found.push(0..self.hidden);
        let mut rest = 0;
        for hidden in snapped(&self.held, merged(found)) {
            if hidden.start >= until && !(hidden.start == 0 && self.hidden > 0) {
                break;
            }
            out.push_str(&self.held[at..hidden.start]);
            if hidden.start > 0 || self.hidden == 0 {
                out.push_str(self.redactor.marker());
            }
            // It may go on beyond what is decided: its marker is out, the rest is remembered as hidden.
            rest = hidden.end.saturating_sub(until);
            at = hidden.end.min(until);
        }
        out.push_str(&self.held[at..until]);
        self.held.drain(..until);
        self.hidden = rest;
        out
    }
}

impl Redactor {
    /// From where on the end of a text may be the beginning of a secret that goes on in what follows.
    pub(super) fn undecided(&self, text: &[u8]) -> usize {
        let Some(longest) = self.0.patterns.iter().map(|pattern| pattern.bytes.len()).max() else {
            return text.len();
        };
        let mut from = text.len();
        for view in views(text) {
            let bytes = view.bytes.as_ref();
            // An escape that is cut off begins where it begins, or is part of a secret that begins before.
            let cut = view.complete;
            from = from.min(view.range(cut, bytes.len()).start);
            let first = (cut + 1).saturating_sub(longest);
            for start in first..cut {
                let tail = &bytes[start..cut];
                let next = self
                    .0
                    .patterns
                    .partition_point(|pattern| pattern.bytes.as_slice() < tail);
                let begins =
                    |pattern: &Pattern| pattern.bytes.len() > tail.len() && pattern.bytes.starts_with(tail);
                // Those that equal it come first, then those that go on.
                if self.0.patterns[next..]
                    .iter()
                    .take_while(|pattern| pattern.bytes.starts_with(tail))
                    .any(begins)
                {
                    from = from.min(view.range(start, cut).start);
                    break;
                }
            }
        }
        from
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::of;

    #[test]
    fn overlapping_secrets_go_as_a_whole() {
        let redactor = of(&["abcdef123", "def123456", "abcdef123456789"]);
        assert_eq!(redactor.redact("x abcdef123 y"), "x [redacted] y");
        assert_eq!(redactor.redact("x abcdef123456 y"), "x [redacted] y");
        assert_eq!(redactor.redact("x abcdef123456789 y"), "x [redacted] y");
        let repeated = of(&["aXaXaX"]);
        let text = "aX".repeat(1000);
        assert_eq!(repeated.redact(&text), "[redacted]");
        let mut stream = repeated.stream();
        let mut out = String::new();
        for _ in 0..1000 {
            out.push_str(&stream.push("aX"));
            assert!(stream.held.len() < 20);
        }
        out.push_str(&stream.finish());
        assert_eq!(out, "[redacted]");
    }

    #[test]
    fn escapes_may_be_cut_anywhere() {
        let redactor = of(&["pä\"ss🦀\\w/1"]);
        for text in [
            "pä\"ss🦀\\w/1",
            "p\\u00e4\\\"ss\\ud83e\\udd80\\\\w\\/1",
            "p%C3%a4%22ss%f0%9F%a6%80%5cw%2F1",
            "p&auml;".trim_end_matches("&auml;"),
            "p&#228;&quot;ss&#x1F980;\\w/1",
            "p\\\\u00e4\\\\\\\"ss🦀\\\\\\\\w/1",
            "p\\u{e4}\\\"ss\\u{01f980}\\\\w/1",
            "p\\xc3\\xa4\"ss\\xf0\\x9f\\xa6\\x80\\\\w/1",
        ] {
            if text == "p" {
                continue;
            }
            let inner = format!("before {text} after");
            assert_eq!(redactor.redact(&inner), "before [redacted] after", "{text}");
            for cut in (0..inner.len()).filter(|cut| inner.is_char_boundary(*cut)) {
                let mut stream = redactor.stream();
                let mut out = stream.push(&inner[..cut]);
                out.push_str(&stream.push(&inner[cut..]));
                out.push_str(&stream.finish());
                assert_eq!(out, "before [redacted] after", "{text} cut at {cut}");
            }
        }
    }
}

//! Texts within a script of Python: literals that are exactly what they were, and comments that stay
//! comments. Must not know what they say.

use std::fmt::Write as _;

/// Whether a character is better written by its number: it can't be seen, is changed when a file is read, or
/// turns the direction of what stands around it.
pub(super) fn is_odd(it: char) -> bool {
    (it.is_control() && !matches!(it, '\n' | '\t'))
        || matches!(it,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether a line begins a cell for somebody: `# %%`, `#%%`, and what some editors know besides.
pub(super) fn is_mark(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix('#') else {
        return false;
    };
    let comment = comment.trim_start();
    ["%%", "<codecell>", "In["]
        .iter()
        .any(|mark| comment.starts_with(mark))
}

/// A literal of the same text.
pub(super) fn literal(text: &str) -> String {
    // What is on lines stays on lines, from the first column on.
    format!("'''\\\n{}'''", escaped(text, '\''))
}

/// A literal in one line.
pub(super) fn quoted(text: &str) -> String {
    let parts: Vec<String> = text
        .split('"')
        .map(|part| escaped(part, '"').replace('\n', "\\n"))
        .collect();
    format!("\"{}\"", parts.join("\\\""))
}

/// What stands between three of a kind of quotes.
pub(super) fn escaped(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut left = text.len();
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        let mut mark = is_mark(line);
        while let Some(it) = rest.chars().next() {
            let quotes = rest.len() - rest.trim_start_matches(quote).len();
            let taken = quotes.max(it.len_utf8());
            rest = &rest[taken..];
            left -= taken;
            match it {
                // Three would end the literal, and so would the last with what follows.
                _ if quotes >= 3 || (quotes > 0 && left == 0) => {
                    out.push_str(&format!("\\{quote}").repeat(quotes));
                }
                _ if quotes > 0 => out.push_str(&quote.to_string().repeat(quotes)),
                '\\' => out.push_str("\\\\"),
                '#' if mark => {
                    mark = false;
                    out.push_str("\\x23");
                }
                _ if is_odd(it) => escape(&mut out, it),
                _ => out.push(it),
            }
        }
    }
    out
}

fn escape(out: &mut String, it: char) {
    let number = u32::from(it);
    let _ = match number {
        0..=0xff => write!(out, "\\x{number:02x}"),
        0x100..=0xffff => write!(out, "\\u{number:04x}"),
        _ => write!(out, "\\U{number:08x}"),
    };
}

/// A text on one line, cut where it is long.
pub(super) fn one_line(text: &str, characters: usize) -> String {
    let mut line = String::new();
    for it in text.trim().chars().take(characters) {
        match it {
            '\n' | '\t' => line.push(' '),
            _ if is_odd(it) => escape(&mut line, it),
            _ => line.push(it),
        }
    }
    if text.trim().chars().count() > characters {
        line.push('…');
    }
    line
}

/// Lines of a comment, in which nothing begins a cell.
pub(super) fn comment(text: &str) -> String {
    let mut out = String::new();
    for line in text.trim_end().split('\n') {
        out.push_str("#| ");
        out.push_str(&line.chars().fold(String::new(), |mut shown, it| {
            if is_odd(it) {
                escape(&mut shown, it);
            } else {
                shown.push(it);
            }
            shown
        }));
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_escape_what_they_must() {
        for (text, expected) in [
            ("", ""),
            ("'a' ''b''c", "'a' ''b''c"),
            ("a'''b''''c", "a\\'\\'\\'b\\'\\'\\'\\'c"),
            ("a''", "a\\'\\'"),
            ("a'\n", "a'\n"),
            ("\\d\\", "\\\\d\\\\"),
            ("x # %%\n # %% #\n#%%", "x # %%\n \\x23 %% #\n\\x23%%"),
            ("é\t\r\0\u{85}\u{202e}", "é\t\\x0d\\x00\\x85\\u202e"),
        ] {
            assert_eq!(escaped(text, '\''), expected);
        }
        assert_eq!(quoted("a\"\"\"b'\n\\"), "\"a\\\"\\\"\\\"b'\\n\\\\\"");
    }

    #[test]
    fn marks_are_what_editors_take_for_one() {
        for (line, mark) in [
            ("# %%", true),
            ("#%% x", true),
            ("  # %% x", true),
            ("# In[3]:", true),
            ("#<codecell>", true),
            ("# 5 %%", false),
            ("#| %%", false),
            ("x # %%", false),
            ("%%sql", false),
        ] {
            assert_eq!(is_mark(line), mark, "{line}");
        }
    }

    #[test]
    fn comments_stay_comments() {
        let out = comment("%%sql\r\n# %%\n\n  x\0\u{2028}y \n");
        assert_eq!(out, "#| %%sql\\x0d\n#| # %%\n#|\n#|   x\\x00\\u2028y\n");
        assert!(!out.lines().any(is_mark));
    }

    #[test]
    fn titles_are_one_line() {
        assert_eq!(one_line(" a\nb\r\u{202e}c ", 400), "a b\\x0d\\u202ec");
        assert_eq!(one_line("abcdef", 3), "abc…");
    }
}

//! Text and numbers as they stand in a page: escaped, with what can't be seen made visible, and in one form.
//!
//! It must not know what they are about.

use crate::html::escape;

/// A name in code, that may break after its parts.
pub(super) fn name(text: &str) -> String {
    format!("<code>{}</code>", escape(text).replace('_', "_<wbr>"))
}

/// The name of a table; its schema stands back.
pub(super) fn qualified(schema: &str, table: &str) -> String {
    format!(
        "<code><span class=\"soft\">{}.</span>{}</code>",
        escape(schema).replace('_', "_<wbr>"),
        escape(table).replace('_', "_<wbr>")
    )
}

/// The begin of a text.
pub(super) fn short(text: &str, letters: usize) -> String {
    crate::llm::cut(text, letters)
}

/// A number with separators.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things, with their name.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A share. None, hardly any, nearly all and all are four different things.
pub(super) fn percent(part: u64, of: u64) -> String {
    match (part, of) {
        (_, 0) => "–".to_owned(),
        (0, _) => "0".to_owned(),
        (part, of) if part == of => "100 %".to_owned(),
        _ => {
            // Shares are for people: what is lost in a float is not seen.
            #[expect(clippy::cast_precision_loss)]
            let share = part as f64 / of as f64;
            fraction(share)
        }
    }
}

/// A share that is neither none nor all.
pub(super) fn fraction(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 0.1 {
        "&lt;0.1 %".to_owned()
    } else if percent > 99.9 {
        "&gt;99.9 %".to_owned()
    } else {
        format!("{percent:.1} %")
    }
}

/// Between which shares something is. Rounded outwards: what is printed holds what was meant.
pub(super) fn between((least, most): (f64, f64)) -> String {
    let least = (least * 1000.0).floor() / 10.0;
    format!("{least:.1}–{} %", at_most(most, 1))
}

/// A bound from above, in percent with so many digits, rounded up.
pub(super) fn at_most(share: f64, digits: usize) -> String {
    let scale = if digits > 1 { 100.0 } else { 10.0 };
    format!("{:.digits$}", ((share * 100.0 * scale).ceil() / scale).min(100.0))
}

/// A size in bytes.
pub(super) fn bytes(size: u64) -> String {
    // For people, likewise.
    #[expect(clippy::cast_precision_loss)]
    let mut size = size as f64;
    for unit in ["bytes", "KB", "MB", "GB"] {
        if size < 1000.0 {
            return if unit == "bytes" {
                format!("{size:.0} bytes")
            } else {
                format!("{size:.1} {unit}")
            };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_seen_is_shown() {
        assert_eq!(
            escape("a<b>&\"'\u{202e}\n\u{0}\u{e0041}é😀"),
            "a&lt;b&gt;&amp;&quot;&#39;⟨U+202E⟩⏎⟨U+0000⟩⟨U+E0041⟩é😀"
        );
    }

    #[test]
    fn numbers_have_one_form() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(percent(0, 9), "0");
        assert_eq!(percent(9, 9), "100 %");
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(1, 9_999), "&lt;0.1 %");
        assert_eq!(percent(9_998, 9_999), "&gt;99.9 %");
        assert_eq!(percent(0, 0), "–");
        assert_eq!(between((0.0014, 0.0151)), "0.1–1.6 %");
        assert_eq!(between((0.999, 1.0)), "99.9–100.0 %");
        assert_eq!(at_most(0.000_371, 2), "0.04");
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(1_500_000), "1.5 MB");
    }
}

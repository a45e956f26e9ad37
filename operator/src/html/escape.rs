//! Text from anywhere as it may stand in a page: escaped, with what can't be seen made visible.

use std::fmt::Write as _;

/// Whether a sign can't be seen, or turns the direction of what follows.
pub fn is_hidden(sign: char) -> bool {
    matches!(sign,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
        || (u32::from(sign) & 0xfffe) == 0xfffe
        || matches!(sign, '\u{fdd0}'..='\u{fdef}')
}

/// A text for between tags, and for the value of an attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('⏎'),
            '\t' => out.push(' '),
            '\u{a0}' => out.push_str("&nbsp;"),
            // Writing to a string can't fail.
            _ if sign.is_control() || is_hidden(sign) => drop(write!(out, "⟨U+{:04X}⟩", u32::from(sign))),
            _ => out.push(sign),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_hidden_and_nothing_is_markup() {
        assert_eq!(
            escape("<b a=\"1\" b='2'>&\n\u{202e}\0\u{a0}\u{ffff}"),
            "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;⏎⟨U+202E⟩⟨U+0000⟩&nbsp;⟨U+FFFF⟩"
        );
        assert!(!is_hidden('é') && !is_hidden('日') && is_hidden('\u{200b}'));
    }
}

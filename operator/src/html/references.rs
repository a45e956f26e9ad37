//! Replaces references such as `&amp;` by what they stand for, as browsers do.
//!
//! It must not know where a text comes from.

use std::borrow::Cow;

use html5ever::data::{C1_REPLACEMENTS, NAMED_ENTITIES};

/// Replaces all references in a text. In attributes, browsers leave those alone that could be parts of a URL.
pub(super) fn decode(text: &str, in_attribute: bool) -> Cow<'_, str> {
    let Some(first) = text.find('&') else {
        return Cow::Borrowed(text);
    };
    let mut decoded = String::with_capacity(text.len());
    decoded.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(after) = rest.strip_prefix('&') {
        let length = match after.strip_prefix('#') {
            Some(number) => numeric(number, &mut decoded).map(|length| length + 1),
            None => named(after, in_attribute, &mut decoded),
        };
        if length.is_none() {
            decoded.push('&');
        }
        let tail = &after[length.unwrap_or(0)..];
        let next = tail.find('&').unwrap_or(tail.len());
        decoded.push_str(&tail[..next]);
        rest = &tail[next..];
    }
    Cow::Owned(decoded)
}

/// How much of the text after `&#` belongs to the reference.
fn numeric(text: &str, decoded: &mut String) -> Option<usize> {
    let (prefix, base) = if text.starts_with(['x', 'X']) {
        (1, 16)
    } else {
        (0, 10)
    };
    let digits = &text[prefix..];
    let mut number: u32 = 0;
    let mut length = 0;
    for digit in digits.chars().map_while(|it| it.to_digit(base)) {
        number = number.saturating_mul(base).saturating_add(digit);
        length += 1;
    }
    if length == 0 {
        return None;
    }
    decoded.push(match number {
        0 => char::REPLACEMENT_CHARACTER,
        0x80..=0x9f => replacement(number),
        _ => char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER),
    });
    length += prefix;
    Some(length + usize::from(text[length..].starts_with(';')))
}

/// What `&#128;` to `&#159;` stand for.
fn replacement(number: u32) -> char {
    let index = usize::try_from(number - 0x80).unwrap_or_default();
    let plain = || char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER);
    C1_REPLACEMENTS
        .get(index)
        .copied()
        .flatten()
        .unwrap_or_else(plain)
}

/// How much of the text after `&` belongs to the reference: the longest name there is.
fn named(text: &str, in_attribute: bool, decoded: &mut String) -> Option<usize> {
    let mut found = None;
    for (at, it) in text.char_indices() {
        // The table holds the beginnings of all names as well, for which it says 0.
        let end = at + it.len_utf8();
        match NAMED_ENTITIES.get(&text[..end]) {
            None => break,
            Some((0, _)) => {}
            Some(characters) => found = Some((end, *characters)),
        }
    }
    let (length, (first, second)) = found?;
    let next = text[length..].chars().next();
    let ends = text[..length].ends_with(';');
    if in_attribute && !ends && next.is_some_and(|it| it == '=' || it.is_ascii_alphanumeric()) {
        return None;
    }
    decoded.extend(char::from_u32(first));
    decoded.extend((second != 0).then(|| char::from_u32(second)).flatten());
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_as_browsers_do() {
        for (written, meant) in [
            ("", ""),
            ("R&D && x & y&", "R&D && x & y&"),
            ("&lt;b&gt; &amp;amp; &quot;&apos;", "<b> &amp; \"'"),
            ("&copy2026 &notit; &notin;", "©2026 ¬it; ∉"),
            ("&#65;&#x42;&#X43 &#;&#x;&#xg", "ABC &#;&#x;&#xg"),
            (
                "&#0;&#xd800;&#99999999999;&#128;&#129;",
                "\u{fffd}\u{fffd}\u{fffd}€\u{81}",
            ),
            ("&NotEqualTilde;&nbsp;&ümlaut;", "≂\u{338}\u{a0}&ümlaut;"),
        ] {
            assert_eq!(decode(written, false), meant, "{written}");
        }
        assert_eq!(decode("?a=1&copy=2&copy;&copy", true), "?a=1&copy=2©©");
    }
}

//! What a secret may look like, and what stands where it was.
//!
//! It must not know how a text is searched, nor undo escapes.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A secret as it may be written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    pub(super) bytes: Vec<u8>,
    /// So much at its begin and end only says that it is one, and stays.
    pub(super) before: usize,
    pub(super) after: usize,
}

fn insert(patterns: &mut BTreeSet<Pattern>, bytes: &[u8], before: usize, after: usize) {
    patterns.insert(Pattern {
        bytes: bytes.to_vec(),
        before,
        after,
    });
}

/// Where a password stands that could be any word: in a URL, and after its name.
pub(super) fn in_its_places(secret: &str, patterns: &mut BTreeSet<Pattern>) {
    let ends_differently = ["@", "'", "\"", " ", "&", ";", ",", "\n", ")", "}"];
    for name in [
        "password",
        "passwd",
        "pwd",
        "Password",
        "PASSWORD",
        "PGPASSWORD",
        "MYSQL_PWD",
    ] {
        for between in ["=", "='", "=\"", ": ", ": '", ": \"", "': '", "\": \"", "\":\""] {
            let before = format!("{name}{between}");
            for end in ends_differently {
                let text = format!("{before}{secret}{end}");
                insert(patterns, text.as_bytes(), before.len(), end.len());
            }
        }
    }
}

/// In a URL without a user.
pub(super) fn in_urls(secret: &str, patterns: &mut BTreeSet<Pattern>) {
    insert(patterns, format!("://:{secret}@").as_bytes(), 4, 1);
}

/// Everything that a secret may look like, apart from escapes, which are undone before it is looked for.
pub(super) fn everywhere(secret: &str, patterns: &mut BTreeSet<Pattern>) {
    insert(patterns, secret.as_bytes(), 0, 0);
    // As forms write spaces.
    insert(patterns, secret.replace(' ', "+").as_bytes(), 0, 0);
    let bytes = secret.as_bytes();
    insert(patterns, hex::encode(bytes).as_bytes(), 0, 0);
    insert(patterns, hex::encode_upper(bytes).as_bytes(), 0, 0);
    // Base64 has three looks, by where in a longer text the secret begins. Of each, the part that does not
    // depend on what is around it.
    for shift in 0..3 {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(bytes);
        let from = (8 * shift).div_ceil(6);
        let until = 8 * shifted.len() / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&shifted);
            insert(patterns, &encoded.as_bytes()[from..until], 0, 0);
        }
    }
}

/// A marker that no secret can be mistaken for, nor be completed by: none has its first or last character.
pub(super) fn marker<'a>(patterns: &(impl Iterator<Item = &'a Pattern> + Clone)) -> String {
    let usable = |marker: &str| {
        let clashes = |pattern: &Pattern| {
            let text = String::from_utf8_lossy(&pattern.bytes);
            marker.contains(text.as_ref())
                || text.contains(|it| marker.starts_with(it) || marker.ends_with(it))
        };
        !patterns.clone().any(clashes)
    };
    // None that means something in a page.
    ["[redacted]", "{redacted}", "█redacted█"]
        .into_iter()
        .map(str::to_owned)
        // One of so many characters is in no secret.
        .chain(
            ('\u{2580}'..='\u{25ff}')
                .chain('\u{e000}'..='\u{f8ff}')
                .map(|it| it.to_string().repeat(6)),
        )
        .find(|marker| usable(marker))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::of;

    #[test]
    fn the_marker_is_never_a_secret() {
        for secret in ["redacted1", "[redacted]", "x]y[z1", "{redacted}<>█[]", "]]]]]]1"] {
            let redactor = of(&[secret]);
            let out = redactor
                .redact(&format!("{secret} {secret}{secret}"))
                .into_owned();
            assert!(!out.contains(secret), "{out}");
            assert!(!redactor.marker().is_empty());
            assert_eq!(redactor.redact(&out), out);
        }
    }
}

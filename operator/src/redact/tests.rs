//! The redactor as a whole: what gets out of it, and what stays.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use secrecy::SecretString;

use super::words::is_distinctive;
use super::*;

pub(super) fn of(secrets: &[&str]) -> Redactor {
    let mut builder = Redactor::builder();
    for secret in secrets {
        builder = builder.secret("secret", &SecretString::from(*secret));
    }
    builder.build()
}

#[test]
fn texts_without_secrets_stay_as_they_are() {
    let redactor = of(&["hunter2-xyz"]);
    for text in ["", "a", "100 % \\ & &amp; %41 \\u0041", "hunter2", "день 🦀"] {
        assert!(matches!(redactor.redact(text), Cow::Borrowed(same) if same == text));
        let mut stream = redactor.stream();
        let mut out = String::new();
        for it in text.chars() {
            out.push_str(&stream.push(&it.to_string()));
        }
        out.push_str(&stream.finish());
        assert_eq!(out, text);
    }
    assert_eq!(Redactor::builder().build().redact("anything"), "anything");
}

#[test]
fn values_are_cleaned_wherever_they_are() {
    let redactor = of(&["s3cret-1", "123456789012"]);
    let mut value = serde_json::json!({
        "a": ["s3cret-1", 123_456_789_012_u64, 1.5, null, true],
        "x s3cret-1": {"b": "{\"key\": \"s3cret-1\"}"},
    });
    redactor.redact_json(&mut value);
    assert_eq!(
        value,
        serde_json::json!({
            "a": ["[redacted]", "[redacted]", 1.5, null, true],
            "x [redacted]": {"b": "{\"key\": \"[redacted]\"}"},
        })
    );
}

#[test]
fn nothing_shows_a_secret() {
    let builder = Redactor::builder().database_url(&"mysql://a:hunter2-x@b/c".into());
    assert!(!format!("{builder:?}").contains("hunter2"));
    let redactor = builder.build();
    let mut stream = redactor.stream();
    stream.push("hunter2");
    assert!(!format!("{redactor:?} {stream:?}").contains("hunter2"));
}

/// Encoders of other people's, and some that escape more than they need.
fn encoded(secret: &str, before: &str, after: &str, way: usize) -> String {
    let around = format!("{before}{secret}{after}");
    let percent = |text: &str, upper: bool, keep: &dyn Fn(u8) -> bool| -> String {
        text.bytes()
            .map(|byte| match (keep(byte), upper) {
                (true, _) => char::from(byte).to_string(),
                (false, true) => format!("%{byte:02X}"),
                (false, false) => format!("%{byte:02x}"),
            })
            .collect()
    };
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let ascii = |text: &str| -> String {
        json(text)
            .encode_utf16()
            .map(|unit| match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                _ => format!("\\u{unit:04x}"),
            })
            .collect()
    };
    let html = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#x27;")
    };
    match way {
        0 => around,
        1 => percent(&around, true, &unreserved),
        2 => percent(&around, false, &|byte| {
            unreserved(byte) || b"/!*'()".contains(&byte)
        }),
        3 => percent(&around, false, &|_| false),
        4 => percent(&around, true, &|byte| unreserved(byte) || byte == b' ').replace(' ', "+"),
        5 => json(&around),
        6 => ascii(&around),
        7 => json(&json(&around)),
        8 => base64::engine::general_purpose::STANDARD.encode(&around),
        9 => URL_SAFE_NO_PAD.encode(&around),
        10 => html(&around),
        11 => json(&html(&around)),
        12 => hex::encode(&around),
        13 => percent(&percent(&around, true, &unreserved), true, &unreserved),
        14 => json(&around).replace('/', "\\/"),
        15 => format!("{around:?}"),
        _ => around.escape_default().to_string(),
    }
}

const WAYS_OUT: usize = 17;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// 1,000 secrets of odd shapes, in all encodings, in any company, cut anywhere.
    #[test]
    fn no_secret_gets_out(
        secret in "[ -~]{7,40}|\\PC{6,30}|[\\x00-\\x7f]{8,20}|(ab|a|ba){6,12}1|[%\\\\&;u0-9]{11,20}|\\[?redacted\\]?1?",
        other in "[a-z0-9/+]{8,20}",
        before in "\\PC{0,5}",
        after in "\\PC{0,5}",
        cuts in proptest::collection::vec(0_usize..2000, 0..8),
    ) {
        prop_assume!(is_distinctive(secret.trim(), &BTreeSet::new()));
        prop_assume!(is_distinctive(&other, &BTreeSet::new()));
        let redactor = of(&[&secret, &other]);
        for way in 0..WAYS_OUT {
            let planted = encoded(&secret, "", "", way);
            // What of base64 depends on the neighbours is not looked for.
            let planted = match way {
                8 | 9 => planted[..8 * secret.len() / 6].to_owned(),
                5..=7 | 11 | 14.. => planted.trim_matches(['"', '\\']).to_owned(),
                _ => planted,
            };
            let text = format!("{} {other} {}", encoded(&secret, &before, &after, way), secret);
            let clean = redactor.redact(&text).into_owned();
            prop_assert!(!clean.contains(&secret), "way {way}: {text:?} became {clean:?}");
            prop_assert!(!clean.contains(&other), "way {way}: {text:?} became {clean:?}");
            if !planted.is_empty() && planted.len() >= secret.len() / 2 {
                prop_assert!(!clean.contains(&planted), "way {way}: {text:?} became {clean:?}");
            }
            let mut stream = redactor.stream();
            let mut out = String::new();
            let mut places: Vec<usize> = cuts
                .iter()
                .map(|cut| cut % (text.len() + 1))
                .filter(|cut| text.is_char_boundary(*cut))
                .collect();
            places.sort_unstable();
            let mut at = 0;
            for place in places {
                out.push_str(&stream.push(&text[at..place]));
                at = place;
            }
            out.push_str(&stream.push(&text[at..]));
            out.push_str(&stream.finish());
            prop_assert_eq!(&out, &clean, "way {}: {:?} cut", way, text);
        }
    }

    #[test]
    fn what_is_not_secret_stays(text in "[\\PC\n]{0,200}", secret in "[A-Z]{3}[0-9]{12}") {
        prop_assume!(!text.contains(&secret));
        let redactor = of(&[&secret]);
        let clean = redactor.redact(&text);
        prop_assert_eq!(&clean, &text);
        let mut stream = redactor.stream();
        let mut out = String::new();
        for it in text.chars() {
            out.push_str(&stream.push(it.encode_utf8(&mut [0; 4])));
        }
        out.push_str(&stream.finish());
        prop_assert_eq!(out, text);
    }
}

//! How things are called: what Kubernetes takes as a name, a key or a label. Must not know what is called so.

use super::{Rule, text};

pub(in crate::api) static SUBDOMAIN: Rule = Rule::new(
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    "must be a name as Kubernetes has them: small letters, digits, '-' and '.', with a letter or a digit around each '.' and at both ends, such as sales-db",
    |value| text(value, |text| text.split('.').all(is_label)),
);

pub(in crate::api) static LABEL: Rule = Rule::new(
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "must be a name of small letters, digits and '-', with a letter or a digit at both ends, such as sales",
    |value| text(value, is_label),
);

pub(in crate::api) static KEY: Rule = Rule::new(
    "self.matches('^[-._a-zA-Z0-9]+$') && !self.startsWith('..') && self != '.'",
    "must be a key as Secrets have them: letters, digits, '-', '_' and '.', such as url",
    |value| {
        text(value, |text| {
            let right = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_');
            !text.is_empty() && text.bytes().all(right) && !text.starts_with("..") && text != "."
        })
    },
);

pub(in crate::api) static LABEL_VALUE: Rule = Rule::new(
    "self.matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$')",
    "must be the value of a label: letters, digits, '-', '_' and '.', with a letter or a digit at both ends",
    |value| {
        text(value, |text| {
            let right = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_');
            let end = |it: Option<u8>| it.is_none_or(|it| it.is_ascii_alphanumeric());
            text.bytes().all(right) && end(text.bytes().next()) && end(text.bytes().next_back())
        })
    },
);

pub(in crate::api) static IMAGE: Rule = Rule::new(
    "self.matches('^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$')",
    "must be an image, such as registry.example.com/team/sandbox:1.2",
    |value| {
        text(value, |text| {
            let right =
                |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_' | b':' | b'/' | b'@');
            text.starts_with(|it: char| it.is_ascii_alphanumeric()) && text.bytes().all(right)
        })
    },
);

pub(super) const ALL: &[&Rule] = &[&SUBDOMAIN, &LABEL, &KEY, &LABEL_VALUE, &IMAGE];

pub(super) fn is_label(text: &str) -> bool {
    let inner = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

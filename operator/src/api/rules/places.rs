//! Where things are: buckets, prefixes, servers, networks. Must not know what is there.

use std::net::IpAddr;

#[cfg(test)]
use serde_json::Value;

use super::{Rule, has, text};

pub(in crate::api) static BUCKET: Rule = Rule::new(
    "self.matches('^[A-Za-z0-9][-A-Za-z0-9._]*$') && !self.contains('..')",
    "must be a bucket's name: letters, digits, '.' and '-', with a letter or a digit first and no '..'",
    |value| {
        text(value, |text| {
            let right = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_');
            text.starts_with(|it: char| it.is_ascii_alphanumeric())
                && text.bytes().all(right)
                && !text.contains("..")
        })
    },
);

pub(in crate::api) static PREFIX: Rule = Rule::new(
    "!self.split('/').exists(part, part in ['', '.', '..'])",
    "prefix must not begin or end with a slash, nor have empty parts, '.' or '..' between slashes",
    |value| {
        text(value, |text| {
            !text.split('/').any(|part| matches!(part, "" | "." | ".."))
        })
    },
);

pub(in crate::api) static PREFIX_TAKEN: Rule = Rule::new(
    "!self.split('/').exists(part, part in ['.journal', '.cataloger-unfinished'] || part.matches('^[0-9]{8}T[0-9]{6}Z$'))",
    "prefix must not have .journal, .cataloger-unfinished or the name of a run, such as 20261121T120000Z, between slashes: these are Cataloger's own",
    |value| {
        text(value, |text| {
            let taken = |part: &str| matches!(part, ".journal" | ".cataloger-unfinished") || is_run(part);
            !text.split('/').any(taken)
        })
    },
);

pub(in crate::api) static PREFIX_LETTERS: Rule = Rule::new(
    r"!self.matches(r'\p{Cc}|(^|/)\p{Z}|\p{Z}(/|$)')",
    "prefix must not have control characters, nor spaces at the begin or the end of a part",
    |value| {
        text(value, |text| {
            !text.contains(char::is_control) && !text.split('/').any(|part| part.trim() != part)
        })
    },
);

pub(in crate::api) static PREFIX_LENGTH: Rule = Rule::new(
    "bytes(self).size() <= 512 && self.split('/').all(part, bytes(part).size() <= 255)",
    "prefix must have at most 512 bytes, and at most 255 between slashes",
    |value| {
        text(value, |text| {
            text.len() <= 512 && text.split('/').all(|part| part.len() <= 255)
        })
    },
);

pub(in crate::api) static REGION: Rule = Rule::new(
    "self.matches('^[-A-Za-z0-9_.]+$')",
    "must be a region, such as eu-central-1",
    |value| {
        text(value, |text| {
            let right = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_');
            !text.is_empty() && text.bytes().all(right)
        })
    },
);

pub(in crate::api) static ENDPOINT: Rule = Rule::new(
    SERVER,
    "must be a URL such as https://s3.example.com:9000, without a user, a password, a query or a fragment",
    |value| text(value, is_server),
);

pub(in crate::api) static BASE_URL: Rule = Rule::new(
    SERVER,
    "must be a URL such as https://models.example.com/v1, without a user, a password, a query or a fragment",
    |value| text(value, is_server),
);

pub(in crate::api) static OWN_BUCKET: Rule = Rule::new(
    "!has(self.credentialsSecretRef) || has(self.bucket)",
    "say the bucket that credentialsSecretRef is for: the operator's own bucket is reached with the operator's own keys only",
    |value| !has(value, "credentialsSecretRef") || has(value, "bucket"),
);

pub(in crate::api) static OWN_KEYS: Rule = Rule::new(
    "!has(self.endpoint) || has(self.credentialsSecretRef)",
    "add credentialsSecretRef with the keys for this endpoint: the operator's own keys are for its own endpoint only",
    |value| !has(value, "endpoint") || has(value, "credentialsSecretRef"),
)
.about("endpoint");

pub(in crate::api) static CIDR: Rule = Rule::new(
    "isCIDR(self)",
    "must be addresses as a CIDR, such as 10.20.0.0/16, 192.0.2.7/32 or 2001:db8::/64",
    |value| text(value, is_cidr),
);

pub(super) const ALL: &[&Rule] = &[
    &BUCKET,
    &PREFIX,
    &PREFIX_TAKEN,
    &PREFIX_LETTERS,
    &PREFIX_LENGTH,
    &REGION,
    &ENDPOINT,
    &BASE_URL,
    &OWN_BUCKET,
    &OWN_KEYS,
    &CIDR,
];

/// [`is_server`], where a path has no more than visible ASCII.
const SERVER: &str =
    r#"self.matches(r'^https?://([-A-Za-z0-9._]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!"$->@-\[\]-~]*)?$')"#;

/// `20261121T120000Z`, of whatever calendar.
fn is_run(part: &str) -> bool {
    let bytes = part.as_bytes();
    bytes.len() == 16
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 => *byte == b'T',
            15 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

fn is_server(url: &str) -> bool {
    let Some(rest) = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
    else {
        return false;
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host_end = if authority.starts_with('[') {
        authority.find(']').map_or(0, |at| at + 1)
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(host_end);
    let host_right = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => is_of(address, |it| it.is_ascii_hexdigit() || matches!(it, b':' | b'.')),
        None => is_of(host, |it| {
            it.is_ascii_alphanumeric() || matches!(it, b'-' | b'.' | b'_')
        }),
    };
    let port_right = match port.strip_prefix(':') {
        Some(port) => port.len() <= 5 && is_of(port, |it| it.is_ascii_digit()),
        None => port.is_empty(),
    };
    let path_right = path
        .bytes()
        .all(|it| it.is_ascii_graphic() && !matches!(it, b'?' | b'#' | b'\\'));
    host_right && port_right && path_right
}

/// Whether a text is not empty and has these bytes only.
fn is_of(text: &str, right: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(right)
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => 128,
        _ => return false,
    };
    let number = is_of(bits, |it| it.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    number && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// A prefix that these rules take, for tests elsewhere.
#[cfg(test)]
pub(in crate::api) fn is_prefix(text: &str) -> bool {
    let value = Value::from(text);
    [&PREFIX, &PREFIX_TAKEN, &PREFIX_LETTERS, &PREFIX_LENGTH]
        .iter()
        .all(|rule| matches!(rule.holds, super::Holds::Of(holds) if holds(&value)))
}

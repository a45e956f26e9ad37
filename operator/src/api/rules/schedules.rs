//! When something is to happen again, as far as a rule can say it. Must not know a clock, nor which zones there are:
//! what passes here may still be no schedule.

use super::{Rule, text};

/// The most letters of a schedule's name: those of its Catalogs have a dash and ten digits more.
const NAME_LENGTH: usize = 52;

/// The words of which one may stand for five fields.
const WORDS: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

pub(in crate::api) static NAME: Rule = Rule::new(
    "self.metadata.name.size() <= 52",
    "the name of a CatalogSchedule has at most 52 characters, since those of its Catalogs are longer: choose a shorter one",
    |value| {
        text(&value["metadata"]["name"], |name| {
            name.chars().count() <= NAME_LENGTH
        })
    },
);

pub(in crate::api) static NO_ZONE: Rule = Rule::new(
    "!self.contains('TZ')",
    "say the time zone in timeZone, and leave TZ out of the schedule",
    |value| text(value, |text| !text.contains("TZ")),
);

pub(in crate::api) static FIELDS: Rule = Rule::new(
    "self.matches('^[ \\t]*([-+*?,/0-9A-Za-z]+[ \\t]+){4}[-+*?,/0-9A-Za-z]+[ \\t]*$') || self.matches('^@(yearly|annually|monthly|weekly|daily|midnight|hourly|every [-+.0-9a-zµμ]+)$')",
    "must be five fields (minute, hour, day of the month, month, day of the week) such as 30 2 * * mon-fri, or a word such as @daily or @every 12h",
    |value| text(value, are_fields),
);

pub(in crate::api) static TIME_ZONE: Rule = Rule::new(
    "self.matches('^[A-Za-z][-+_/A-Za-z0-9]*$') && self != 'Local'",
    "must be the name of a time zone, such as Europe/Berlin or Etc/UTC",
    |value| {
        text(value, |text| {
            let right = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'+' | b'_' | b'/');
            text.starts_with(|it: char| it.is_ascii_alphabetic())
                && text.bytes().all(right)
                && text != "Local"
        })
    },
);

pub(in crate::api) static OWN_KEYS: Rule = Rule::new(
    "self.all(key, !key.startsWith('cataloger.dev/') && key != 'app.kubernetes.io/managed-by')",
    "the operator itself says what begins with cataloger.dev/, and app.kubernetes.io/managed-by: leave them out",
    |value| {
        value.as_object().is_none_or(|all| {
            all.keys()
                .all(|key| !key.starts_with("cataloger.dev/") && key != "app.kubernetes.io/managed-by")
        })
    },
);

pub(super) const ALL: &[&Rule] = &[&NAME, &NO_ZONE, &FIELDS, &TIME_ZONE, &OWN_KEYS];

fn are_fields(text: &str) -> bool {
    if WORDS.contains(&text) {
        return true;
    }
    if let Some(every) = text.strip_prefix("@every ") {
        let right = |it: char| {
            it.is_ascii_digit() || it.is_ascii_lowercase() || matches!(it, '-' | '+' | '.' | 'µ' | 'μ')
        };
        return !every.is_empty() && every.chars().all(right);
    }
    let blank = |it: char| matches!(it, ' ' | '\t');
    let right =
        |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '+' | '*' | '?' | ',' | '/') || blank(it);
    let fields = text.split(blank).filter(|field| !field.is_empty()).count();
    fields == 5 && text.chars().all(right)
}

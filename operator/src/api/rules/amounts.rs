//! How much and how long. Must not know of what.

use serde_json::Value;

use super::{Rule, text};
use crate::api::duration::Duration;

pub(in crate::api) static DURATION: Rule = Rule::new(
    "self.matches('^([0-9]+(h|m|s|ms))+$') && duration(self) > duration('0s') && duration(self) <= duration('1000h')",
    "must be a duration of at most 1000h, such as 90s, 30m or 1h30m",
    |value| text(value, |text| text.parse::<Duration>().is_ok()),
);

pub(in crate::api) static TIMEOUTS: Rule = Rule::new(
    "duration(self.executeTimeout) <= duration(self.timeout)",
    "executeTimeout, which is 60s if not said, must not be longer than timeout, which is 30m if not said",
    |value| {
        let read = |member: &str, usual: &str| -> Option<Duration> {
            value.get(member).map_or(Some(usual), Value::as_str)?.parse().ok()
        };
        let (Some(execute), Some(all)) = (read("executeTimeout", "60s"), read("timeout", "30m")) else {
            return true;
        };
        execute <= all
    },
)
.about("executeTimeout");

pub(in crate::api) static QUANTITY: Rule = Rule::new(
    "string(self).matches('^([0-9]+|[0-9]*[.][0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$') && string(self).matches('[1-9]')",
    "must be an amount of more than nothing, such as 500m, 2, 512Mi or 1Gi",
    |value| match value {
        Value::String(text) => is_quantity(text),
        Value::Number(number) => number.as_i64().is_none_or(|number| number > 0),
        _ => true,
    },
);

pub(super) const ALL: &[&Rule] = &[&DURATION, &TIMEOUTS, &QUANTITY];

fn is_quantity(text: &str) -> bool {
    let end = text
        .find(|it: char| !it.is_ascii_digit() && it != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    let right = match number.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part) && !part.is_empty(),
        None => !number.is_empty(),
    };
    let units = [
        "", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    right && units.contains(&unit) && number.bytes().any(|it| matches!(it, b'1'..=b'9'))
}

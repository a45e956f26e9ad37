//! Durations as Kubernetes users write them: `90s`, `30m`, `1h30m`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::transform::Transform as _;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rules::{Obey, amounts};

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1_000)];

/// A positive duration of whole milliseconds, written as hours, minutes, seconds and milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(std::time::Duration);

impl Duration {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

/// That a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotADuration(String);

impl fmt::Display for NotADuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:?} is no duration: write it as 90s, 30m or 1h30m, of at most 1000h",
            self.0
        )
    }
}

impl std::error::Error for NotADuration {}

impl FromStr for Duration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotADuration(text.chars().take(40).collect());
        let mut rest = text;
        let mut milliseconds = 0_u64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let (unit, value) = UNITS
                .into_iter()
                // "ms" stands before "m", of which it begins.
                .find(|(unit, _)| rest.starts_with(unit))
                .ok_or_else(wrong)?;
            rest = &rest[unit.len()..];
            milliseconds = number
                .checked_mul(value)
                .and_then(|part| milliseconds.checked_add(part))
                .ok_or_else(wrong)?;
        }
        if milliseconds == 0 || milliseconds > 1000 * 3_600_000 {
            return Err(wrong());
        }
        Ok(Self(std::time::Duration::from_millis(milliseconds)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        for (unit, value) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= value {
                write!(formatter, "{}{unit}", rest / value)?;
                rest %= value;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({"type": "string", "maxLength": 24});
        // Else a resource could be stored that nobody can read.
        Obey([&amounts::DURATION]).transform(&mut schema);
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_users_write_and_writes_it_back() {
        for (text, milliseconds, back) in [
            ("60s", 60_000, "1m"),
            ("30m", 1_800_000, "30m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1500ms", 1_500, "1s500ms"),
            ("2m5ms", 120_005, "2m5ms"),
            ("1000h", 3_600_000_000, "1000h"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(
                std::time::Duration::from(duration).as_millis(),
                milliseconds,
                "{text}"
            );
            assert_eq!(duration.to_string(), back);
        }
        for text in [
            "",
            "0s",
            "5",
            "m",
            "-1s",
            "1.5h",
            "1d",
            "1 s",
            "1001h",
            "99999999999999999999s",
            "1h 5m",
        ] {
            let error = text.parse::<Duration>().unwrap_err();
            assert!(error.to_string().contains("90s"), "{text}");
        }
    }
}

//! When a schedule comes round, as a `CronJob` of Kubernetes reads it. Pure: text and time in, time out.
//!
//! Written by hand although there is a library, `croner`: it takes what a `CronJob` refuses (`7`, `L`, `W`, `#`), refuses
//! what one takes (`@midnight`, `@every`, `*-5`), makes up for hours that a summer skips and does not repeat those
//! that its end repeats. None of that can be turned off, and people's schedules must mean the same here as there. So
//! the text is read by the rules of `github.com/robfig/cron/v3`, which Kubernetes uses, and the clock walks through
//! real time and looks at what the zone's clocks show. `tests/cron` has that library itself make a table, and a test
//! here compares all of it. It is not followed where it strays from what it says itself: around a clock that is set at
//! midnight (Havana) or by half an hour (Lord Howe) it takes a wrong day, or loses a right one. The table has the rows.
//! Must not know what is scheduled.

mod every;
mod fields;
#[cfg(test)]
mod tests;
mod zone;

use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use thiserror::Error;

use self::fields::Fields;

pub use zone::{UnknownZone, zone};

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CronError {
    /// A zone is named in it.
    #[error("a time zone does not belong into the schedule: name it in timeZone")]
    Zone,
    /// There are too few fields, or too many.
    #[error(
        "it has {0} fields where five belong: minute, hour, day of the month, month, day of the week, such as 30 2 * * mon-fri"
    )]
    Count(usize),
    /// A word that begins with `@`, and that nobody knows.
    #[error(
        "{0:?} is no word for a schedule: there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually and @every DURATION, in small letters"
    )]
    Word(String),
    /// What follows `@every` is no duration.
    #[error("{0:?} is no duration: write it as 12h, 90m or 1h30m")]
    Duration(String),
    /// A field can't be read.
    #[error("the {field} {part:?} {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What of it.
        part: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cron {
    /// By the clock and the calendar of a zone.
    Fields(Fields),
    /// So many seconds after the last time.
    Every(i64),
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        if text.contains("TZ") {
            return Err(CronError::Zone);
        }
        if !text.starts_with('@') {
            return Fields::read(text).map(Self::Fields);
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ => {
                let every = text
                    .strip_prefix("@every ")
                    .ok_or_else(|| CronError::Word(text.to_owned()))?;
                let seconds = every::seconds(every).ok_or_else(|| CronError::Duration(every.to_owned()))?;
                return Ok(Self::Every(seconds));
            }
        };
        Fields::read(fields).map(Self::Fields)
    }
}

impl Cron {
    /// The first time after another one; none if there is none within five years, or ever.
    pub fn after(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Fields(fields) => fields.after(time, zone),
            Self::Every(seconds) => Timestamp::from_second(time.as_second().checked_add(*seconds)?).ok(),
        }
    }
}

//! The five fields of a schedule: how they are read, and when they come round on a zone's clocks.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::CronError;

/// A schedule by the clock: which minutes, hours, days, months and weekdays it takes, a bit for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether one of the two kinds of days is not restricted: both must fit then. Else either will do.
    both: bool,
}

/// What a field may say.
struct Bounds {
    name: &'static str,
    least: u32,
    most: u32,
    words: &'static [&'static str],
}

const FIELDS: [Bounds; 5] = [
    Bounds {
        name: "minute",
        least: 0,
        most: 59,
        words: &[],
    },
    Bounds {
        name: "hour",
        least: 0,
        most: 23,
        words: &[],
    },
    Bounds {
        name: "day of the month",
        least: 1,
        most: 31,
        words: &[],
    },
    Bounds {
        name: "month",
        least: 1,
        most: 12,
        words: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Bounds {
        name: "day of the week",
        least: 0,
        most: 6,
        words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

/// After so many years it is given up, as a `CronJob` does.
const YEARS: i16 = 5;

impl Fields {
    pub(super) fn read(text: &str) -> Result<Self, CronError> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts[..] else {
            return Err(CronError::Count(parts.len()));
        };
        let [minutes, hours, days, months, weekdays] = &FIELDS;
        let (minutes, _) = minutes.read(minute)?;
        let (hours, _) = hours.read(hour)?;
        let (days, any_day) = days.read(day)?;
        let (months, _) = months.read(month)?;
        let (weekdays, any_weekday) = weekdays.read(weekday)?;
        Ok(Self {
            minutes,
            hours,
            days,
            months,
            weekdays,
            both: any_day || any_weekday,
        })
    }

    fn has_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if self.both { day && weekday } else { day || weekday }
    }

    /// The first time after another one. It walks through real time: from one that does not fit to the next that may,
    /// but never beyond a change of the zone's clocks without a look at them.
    pub(super) fn after(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.minutes == 0 || self.hours == 0 {
            return None;
        }
        let mut at = Timestamp::from_second(time.as_second().checked_add(1)?).ok()?;
        let last = zone.to_datetime(at).year().checked_add(YEARS)?;
        let mut change = zone.following(at).next().map(|it| it.timestamp());
        loop {
            let here = zone.to_datetime(at);
            if here.year() > last {
                return None;
            }
            let (date, clock) = (here.date(), here.time());
            let seconds = |count: i64| Timestamp::from_second(at.as_second().checked_add(count)?).ok();
            let (minute, second) = (i64::from(clock.minute()), i64::from(clock.second()));
            let next = if !has(self.months, date.month()) {
                begin(
                    date.first_of_month().checked_add(Span::new().months(1)).ok()?,
                    zone,
                )?
            } else if !self.has_day(date) {
                begin(date.tomorrow().ok()?, zone)?
            } else if !has(self.hours, clock.hour()) {
                seconds(3600 - 60 * minute - second)?
            } else if second != 0 {
                seconds(60 - second)?
            } else if !has(self.minutes, clock.minute()) {
                let later = self.minutes & (u64::MAX << minute);
                let next = if later == 0 {
                    60
                } else {
                    i64::from(later.trailing_zeros())
                };
                seconds(60 * (next - minute))?
            } else {
                return Some(at);
            };
            // Time goes on, whatever a zone does.
            let next = next.max(seconds(1)?);
            at = match change {
                Some(changes) if changes <= next => {
                    change = zone.following(changes).next().map(|it| it.timestamp());
                    changes
                }
                _ => next,
            };
        }
    }
}

/// When a day begins, be it not at midnight.
fn begin(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(date.to_datetime(Time::midnight()))
        .compatible()
        .ok()
}

fn has(bits: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| bits & (1 << number) != 0)
}

impl Bounds {
    /// The numbers of a field, and whether it takes all without a word.
    fn read(&self, text: &str) -> Result<(u64, bool), CronError> {
        let (mut bits, mut any) = (0, false);
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (more, free) = self.part(part).map_err(|problem| CronError::Field {
                field: self.name,
                part: part.to_owned(),
                problem,
            })?;
            bits |= more;
            any |= free;
        }
        Ok((bits, any))
    }

    fn part(&self, text: &str) -> Result<(u64, bool), String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let ends: Vec<&str> = range.split('-').collect();
        let mut free = false;
        let (start, mut end) = match ends[..] {
            ["*" | "?", ..] => {
                free = true;
                (self.least, self.most)
            }
            [one] => {
                let one = self.number(one)?;
                (one, one)
            }
            [start, end] => (self.number(start)?, self.number(end)?),
            _ => return Err("has too many hyphens".to_owned()),
        };
        let step = match step {
            None => 1,
            Some(step) if step.contains('/') => return Err("has too many slashes".to_owned()),
            Some(step) => {
                let step = number(step)?;
                if ends.len() == 1 {
                    // `5/15`: from 5 on.
                    end = self.most;
                }
                free &= step <= 1;
                step
            }
        };
        if start < self.least {
            return Err(format!("is below {}", self.least));
        }
        if end > self.most {
            return Err(format!("is above {}", self.most));
        }
        if start > end {
            return Err("ends before it begins".to_owned());
        }
        if step == 0 {
            return Err("has a step of 0".to_owned());
        }
        let mut bits = 0;
        let mut next = Some(start);
        while let Some(number) = next.filter(|number| *number <= end) {
            bits |= 1 << number;
            next = number.checked_add(step);
        }
        Ok((bits, free))
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let word = text.to_lowercase();
        if let Some(at) = self.words.iter().position(|known| *known == word) {
            return Ok(u32::try_from(at).unwrap_or_default() + self.least);
        }
        number(text).map_err(|problem| match self.words {
            [first, .., last] => format!("{problem}, nor one of {first} to {last}"),
            _ => problem,
        })
    }
}

/// A number as Go reads it; one beyond all bounds stays that.
fn number(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return Err(format!("has {text:?}, which is no number"));
    }
    match digits.parse::<u64>() {
        Ok(number) if i64::try_from(number).is_ok() => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        _ => Err("has a number that is too large".to_owned()),
    }
}

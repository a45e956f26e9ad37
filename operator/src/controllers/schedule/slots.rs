//! Which slot of a schedule is due: the newest one that has come and for which nothing was made. Pure; the time is
//! given. Must not know what is made for a slot.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};

use crate::cron::Cron;

/// More missed slots than this are too many, as a `CronJob` counts.
const MANY: usize = 100;
/// How far back is looked at first, in seconds; four times as far each time that nothing is found.
const WINDOW: i64 = 7200;

/// When slots are, and from when on.
#[derive(Debug, Clone)]
pub(super) struct Rule<'a> {
    pub(super) cron: &'a Cron,
    pub(super) zone: &'a TimeZone,
    /// The last slot that was handled, or when the schedule was made.
    pub(super) since: Timestamp,
    /// How late it may be, in seconds.
    pub(super) deadline: Option<i64>,
    /// How much later a slot may begin, in seconds.
    pub(super) jitter: i64,
    /// Whose jitter.
    pub(super) uid: &'a str,
}

/// What has come and what comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// The newest slot that has come.
    pub(super) slot: Option<Timestamp>,
    /// Whether it is too late for it.
    pub(super) late: bool,
    /// Whether more than a hundred were missed.
    pub(super) many: bool,
    /// When the next one begins; none, if none ever does.
    pub(super) next: Option<Timestamp>,
}

/// Looks at the clock.
pub(super) fn due(rule: &Rule<'_>, now: Timestamp) -> Due {
    let mut due = Due {
        next: rule.next(now),
        ..Due::default()
    };
    let Some(slot) = rule.newest(now) else {
        return due;
    };
    due.slot = Some(slot);
    if let Some(deadline) = rule.deadline {
        // With what is left of a second, that is too late by the clock of a `CronJob`.
        due.late = rule.begins(slot).as_second() + deadline <= now.as_second();
    }
    due.many = !due.late && rule.missed_many(now);
    due
}

impl Rule<'_> {
    /// When a slot begins: at its time, and some seconds later that follow from who it is.
    pub(super) fn begins(&self, slot: Timestamp) -> Timestamp {
        if self.jitter == 0 {
            return slot;
        }
        let mut hash = Sha256::new();
        hash.update(self.uid);
        hash.update(slot.as_second().to_be_bytes());
        let hash = hash.finalize();
        let number = hash
            .iter()
            .take(8)
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        let later = number % (self.jitter.unsigned_abs() + 1);
        plus(slot, i64::try_from(later).unwrap_or_default())
    }

    /// The slots after a time, up to another one.
    fn between(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        // `@every` counts from where it stands.
        let first = match self.cron {
            Cron::Every(seconds) => {
                let passed = (after.as_second() - self.since.as_second()).max(0) / seconds;
                plus(self.since, passed * seconds)
            }
            Cron::Fields(_) => after.max(self.since),
        };
        std::iter::successors(self.cron.after(first, self.zone), |at| {
            self.cron.after(*at, self.zone)
        })
        .skip_while(move |at| *at <= after)
        .take_while(move |at| *at <= until)
    }

    /// The newest one that has begun.
    fn newest(&self, now: Timestamp) -> Option<Timestamp> {
        let mut window = WINDOW.max(self.jitter);
        loop {
            let from = plus(now, -window).max(self.since);
            let begun = self.between(from, now).filter(|slot| self.begins(*slot) <= now);
            if let Some(slot) = begun.last() {
                return Some(slot);
            }
            if from <= self.since {
                return None;
            }
            window = window.saturating_mul(4);
        }
    }

    fn missed_many(&self, now: Timestamp) -> bool {
        let from = self
            .deadline
            .map_or(self.since, |deadline| plus(now, -deadline).max(self.since));
        self.between(from, now).take(MANY + 1).count() > MANY
    }

    /// When the first one begins that has not begun.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let from = plus(now, -self.jitter).max(self.since);
        let mut first: Option<Timestamp> = None;
        for slot in self.between(from, Timestamp::MAX) {
            if first.is_some_and(|first| slot >= first) {
                break;
            }
            let begins = self.begins(slot);
            if begins > now && first.is_none_or(|first| begins < first) {
                first = Some(begins);
            }
        }
        first
    }
}

fn plus(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(time.as_second().saturating_add(seconds)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    static UTC: TimeZone = TimeZone::UTC;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn rule<'a>(cron: &'a Cron, since: &str, deadline: Option<i64>, jitter: i64) -> Rule<'a> {
        Rule {
            cron,
            zone: &UTC,
            since: at(since),
            deadline,
            jitter,
            uid: "u",
        }
    }

    #[test]
    fn only_the_newest_is_due() {
        let cron: Cron = "*/10 * * * *".parse().unwrap();
        let since = "2026-11-26T12:00:00Z";
        for (deadline, now, slot, late, many, next) in [
            (
                None,
                "2026-11-26T12:09:59Z",
                None,
                false,
                false,
                "2026-11-26T12:10:00Z",
            ),
            (
                None,
                "2026-11-26T12:10:00Z",
                Some("2026-11-26T12:10:00Z"),
                false,
                false,
                "2026-11-26T12:20:00Z",
            ),
            (
                None,
                "2026-11-26T13:05:00Z",
                Some("2026-11-26T13:00:00Z"),
                false,
                false,
                "2026-11-26T13:10:00Z",
            ),
            (
                None,
                "2026-11-27T12:05:00Z",
                Some("2026-11-27T12:00:00Z"),
                false,
                true,
                "2026-11-27T12:10:00Z",
            ),
            (
                Some(3600),
                "2026-11-27T12:05:00Z",
                Some("2026-11-27T12:00:00Z"),
                false,
                false,
                "2026-11-27T12:10:00Z",
            ),
            (
                Some(60),
                "2026-11-26T12:12:00Z",
                Some("2026-11-26T12:10:00Z"),
                true,
                false,
                "2026-11-26T12:20:00Z",
            ),
            (
                Some(60),
                "2026-11-26T12:11:00Z",
                Some("2026-11-26T12:10:00Z"),
                true,
                false,
                "2026-11-26T12:20:00Z",
            ),
            (
                Some(60),
                "2026-11-26T12:10:59Z",
                Some("2026-11-26T12:10:00Z"),
                false,
                false,
                "2026-11-26T12:20:00Z",
            ),
            // The clock was set back.
            (
                None,
                "2026-11-26T10:00:00Z",
                None,
                false,
                false,
                "2026-11-26T12:10:00Z",
            ),
        ] {
            let found = due(&rule(&cron, since, deadline, 0), at(now));
            let slot = slot.map(at);
            let wanted = Due {
                slot,
                late,
                many,
                next: Some(at(next)),
            };
            assert_eq!(found, wanted, "{now} {deadline:?}");
        }
    }

    #[test]
    fn years_are_no_matter() {
        let cron: Cron = "0 3 1 1 *".parse().unwrap();
        let found = due(
            &rule(&cron, "2024-06-01T00:00:00Z", None, 0),
            at("2026-11-26T12:00:00Z"),
        );
        assert_eq!(found.slot, Some(at("2026-01-01T03:00:00Z")));
        let every: Cron = "@every 7s".parse().unwrap();
        let found = due(
            &rule(&every, "1996-06-01T00:00:00Z", None, 0),
            at("2026-11-26T12:00:00Z"),
        );
        let slot = found.slot.unwrap();
        assert_eq!((slot.as_second() - at("1996-06-01T00:00:00Z").as_second()) % 7, 0);
        assert!(at("2026-11-26T12:00:00Z").as_second() - slot.as_second() < 7);
        assert!(found.many);
        let never: Cron = "0 0 30 2 *".parse().unwrap();
        let found = due(
            &rule(&never, "2026-06-01T00:00:00Z", None, 0),
            at("2026-11-26T12:00:00Z"),
        );
        assert_eq!(found, Due::default());
    }

    /// What `tests/cron` says that a `CronJob` makes up for, by its controller's own arithmetic.
    const MISSED: &str = include_str!("../../../../tests/corpus/cron/missed.tsv");

    #[test]
    fn what_is_made_up_for_is_what_a_cron_job_makes_up_for() {
        let (mut rows, mut back, mut many, mut strays) = (0, 0, 0, 0);
        for line in MISSED.lines().filter(|line| !line.starts_with('#')) {
            let cells: Vec<&str> = line.split('\t').collect();
            let (said, strayed) = match cells[5..] {
                [said] => (said, false),
                // Where it strays, a walk through all that were missed has the last word.
                [_, walked] => (walked, true),
                _ => panic!("{line}"),
            };
            let cron: Cron = serde_json::from_str::<String>(cells[0]).unwrap().parse().unwrap();
            let zone = crate::cron::zone(Some(cells[1])).unwrap();
            let since = Timestamp::from_second(cells[2].parse().unwrap()).unwrap();
            let later: i64 = cells[3].parse().unwrap();
            let rule = Rule {
                cron: &cron,
                zone: &zone,
                since,
                deadline: cells[4].parse().ok(),
                jitter: 0,
                uid: "u",
            };
            let found = due(&rule, plus(since, later));
            let ours = match found.slot {
                Some(slot) if !found.late => {
                    let count = if found.many { "many" } else { "few" };
                    format!("{} {count}", slot.as_second() - since.as_second())
                }
                _ => "none".to_owned(),
            };
            assert_eq!(ours, said, "{line:?}");
            rows += 1;
            back += i32::from(later < 0);
            many += i32::from(said.ends_with("many"));
            strays += i32::from(strayed);
        }
        assert!(rows > 3000 && back > 300 && many > 150, "{rows} {back} {many}");
        assert!(strays > 0 && strays < 50, "{strays} strays");
    }

    proptest! {
        #[test]
        fn a_walk_through_time_takes_each_slot_once_and_in_order(
            jitter in 0_i64..500,
            steps in proptest::collection::vec(1_i64..1500, 1..60),
        ) {
            let cron: Cron = "*/10 * * * *".parse().unwrap();
            let mut rule = rule(&cron, "2026-11-26T12:00:00Z", None, jitter);
            let mut now = rule.since;
            for step in steps {
                let before = due(&rule, now);
                now = plus(now, step);
                let found = due(&rule, now);
                if let Some(slot) = found.slot {
                    prop_assert!(slot > rule.since && rule.begins(slot) <= now);
                    prop_assert!(rule.begins(slot).as_second() - slot.as_second() <= jitter);
                    rule.since = slot;
                } else {
                    // What was foretold has not come.
                    prop_assert!(before.next.unwrap() > now);
                }
                prop_assert!(due(&rule, now).next.unwrap() > now);
                prop_assert_eq!(due(&rule, now).slot, None);
            }
        }
    }
}

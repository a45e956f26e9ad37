//! What a candidate does about a lease, given what it has seen of it and when. It asks nobody.
//!
//! Clocks of different machines are never compared: what counts is how long a record has stayed as it is, by the
//! candidate's own clock.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use tokio::time::Instant;

/// What a lease says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    spec: LeaseSpec,
}

impl From<&Lease> for Record {
    fn from(lease: &Lease) -> Self {
        Self {
            spec: lease.spec.clone().unwrap_or_default(),
        }
    }
}

impl Record {
    /// Who holds it, if anybody does.
    pub(super) fn holder(&self) -> Option<&str> {
        self.spec
            .holder_identity
            .as_deref()
            .filter(|holder| !holder.is_empty())
    }

    /// How often it has gone from one holder to another.
    pub(super) fn transitions(&self) -> u32 {
        self.spec
            .lease_transitions
            .map_or(0, |transitions| u32::try_from(transitions).unwrap_or(0))
    }

    /// How long its holder may be silent, if it says that.
    fn duration(&self) -> Option<Duration> {
        let seconds = u64::try_from(self.spec.lease_duration_seconds?).ok()?;
        (seconds > 0).then(|| Duration::from_secs(seconds))
    }
}

/// What to do about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is none: make it.
    Create {
        /// What it then says of transitions.
        transitions: u32,
    },
    /// Nobody else holds it any more: replace it.
    Take {
        /// What it then says of transitions.
        transitions: u32,
    },
    /// Another one holds it.
    Wait,
}

/// A lease, as one candidate has seen it.
#[derive(Debug)]
pub(super) struct Watched {
    /// Who the candidate is.
    me: String,
    /// How long a holder may be silent that does not say so itself.
    duration: Duration,
    /// What it said last, and since when.
    last: Option<(Record, Instant)>,
    /// Whether it was there when it was last looked for.
    there: bool,
}

impl Watched {
    pub(super) fn new(me: String, duration: Duration) -> Self {
        Self {
            me,
            duration,
            last: None,
            there: false,
        }
    }

    /// Takes what was found.
    pub(super) fn see(&mut self, found: Option<Record>, now: Instant) {
        self.there = found.is_some();
        if let Some(found) = found
            && self.last.as_ref().is_none_or(|(last, _)| *last != found)
        {
            self.last = Some((found, now));
        }
    }

    /// Who holds it, as far as that is known.
    pub(super) fn holder(&self) -> Option<&str> {
        self.last.as_ref()?.0.holder()
    }

    pub(super) fn step(&self, now: Instant) -> Step {
        let Some((record, since)) = &self.last else {
            return Step::Create { transitions: 0 };
        };
        // In our name: by a call whose answer was lost, or by an earlier life of this replica. That is over.
        if record.holder().is_some_and(|holder| holder != self.me) {
            // Also of one that was deleted: its holder may not know that yet, and makes it again.
            let patience = record.duration().unwrap_or(self.duration);
            if now.saturating_duration_since(*since) < patience {
                return Step::Wait;
            }
        }
        let transitions = record.transitions().saturating_add(1);
        if self.there {
            Step::Take { transitions }
        } else {
            Step::Create { transitions }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, ToSpan as _};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn record(holder: &str, transitions: i32, renewed: i64) -> Record {
        Record {
            spec: LeaseSpec {
                holder_identity: (!holder.is_empty()).then(|| holder.to_owned()),
                lease_transitions: Some(transitions),
                lease_duration_seconds: Some(15),
                renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH + renewed.seconds())),
                ..LeaseSpec::default()
            },
        }
    }

    /// A candidate that has seen these, so many seconds after the begin, and what it does then.
    fn after(seen: &[(u64, Option<Record>)], at: u64) -> Step {
        let begin = Instant::now();
        let mut watched = Watched::new("me".into(), DURATION);
        for (at, found) in seen {
            watched.see(found.clone(), begin + Duration::from_secs(*at));
        }
        watched.step(begin + Duration::from_secs(at))
    }

    #[test]
    fn one_that_is_not_there_is_made() {
        assert_eq!(after(&[], 0), Step::Create { transitions: 0 });
        assert_eq!(after(&[(0, None), (9, None)], 9), Step::Create { transitions: 0 });
    }

    #[test]
    fn one_that_nobody_holds_is_taken_at_once() {
        assert_eq!(
            after(&[(0, Some(record("", 4, 1)))], 0),
            Step::Take { transitions: 5 }
        );
        // As others write it.
        let mut empty = record("", 4, 1);
        empty.spec.holder_identity = Some(String::new());
        assert_eq!(after(&[(0, Some(empty))], 0), Step::Take { transitions: 5 });
        let nothing = Record {
            spec: LeaseSpec::default(),
        };
        assert_eq!(after(&[(0, Some(nothing))], 0), Step::Take { transitions: 1 });
        // It was released while it was waited for.
        let seen = [(0, Some(record("it", 4, 1))), (3, Some(record("", 4, 2)))];
        assert_eq!(after(&seen, 3), Step::Take { transitions: 5 });
    }

    #[test]
    fn one_that_is_renewed_is_waited_for() {
        let held = |renewed| Some(record("it", 4, renewed));
        assert_eq!(after(&[(0, held(1))], 0), Step::Wait);
        assert_eq!(after(&[(0, held(1)), (14, held(1))], 14), Step::Wait);
        assert_eq!(after(&[(0, held(1)), (14, held(2))], 28), Step::Wait);
        assert_eq!(
            after(&[(0, held(1)), (14, held(2)), (28, held(2))], 29),
            Step::Take { transitions: 5 }
        );
        // From the first sight of the same record, not from the last.
        assert_eq!(
            after(&[(0, held(1)), (14, held(1))], 15),
            Step::Take { transitions: 5 }
        );
        // Another holder is a change too.
        let other = Some(record("other", 5, 1));
        assert_eq!(after(&[(0, held(1)), (10, other)], 20), Step::Wait);
    }

    #[test]
    fn clocks_of_others_do_not_matter() {
        for renewed in [-1_000_000, 0, 4_000_000_000] {
            let held = Some(record("it", 0, renewed));
            assert_eq!(after(&[(0, held.clone())], 14), Step::Wait);
            assert_eq!(after(&[(0, held)], 15), Step::Take { transitions: 1 });
        }
        // One that runs backwards is still a change.
        let seen = [(0, Some(record("it", 0, 9))), (10, Some(record("it", 0, 8)))];
        assert_eq!(after(&seen, 20), Step::Wait);
    }

    #[test]
    fn its_holder_says_how_long_it_may_be_silent() {
        let with = |seconds| {
            let mut held = record("it", 0, 1);
            held.spec.lease_duration_seconds = seconds;
            Some(held)
        };
        assert_eq!(after(&[(0, with(Some(60)))], 59), Step::Wait);
        assert_eq!(after(&[(0, with(Some(60)))], 60), Step::Take { transitions: 1 });
        assert_eq!(after(&[(0, with(Some(2)))], 2), Step::Take { transitions: 1 });
        for none in [None, Some(0), Some(-5)] {
            assert_eq!(after(&[(0, with(none))], 14), Step::Wait);
            assert_eq!(after(&[(0, with(none))], 15), Step::Take { transitions: 1 });
        }
    }

    #[test]
    fn one_in_our_name_is_taken_anew() {
        let mine = Some(record("me", 4, 1));
        assert_eq!(after(&[(0, mine.clone())], 0), Step::Take { transitions: 5 });
        assert_eq!(after(&[(0, mine), (5, None)], 5), Step::Create { transitions: 5 });
        // A name that begins as ours is another's.
        assert_eq!(after(&[(0, Some(record("me2", 4, 1)))], 0), Step::Wait);
    }

    #[test]
    fn one_that_was_deleted_is_waited_for_as_if_it_were_there() {
        let held = Some(record("it", 4, 1));
        assert_eq!(after(&[(0, held.clone()), (5, None)], 14), Step::Wait);
        assert_eq!(
            after(&[(0, held.clone()), (5, None)], 15),
            Step::Create { transitions: 5 }
        );
        // Its holder has made it again.
        let again = Some(record("it", 4, 2));
        assert_eq!(after(&[(0, held), (5, None), (6, again)], 20), Step::Wait);
        let free = Some(record("", 4, 1));
        assert_eq!(after(&[(0, free), (5, None)], 5), Step::Create { transitions: 5 });
    }

    #[test]
    fn transitions_never_run_over() {
        assert_eq!(
            after(&[(0, Some(record("", -7, 1)))], 0),
            Step::Take { transitions: 1 }
        );
        let most = after(&[(0, Some(record("", i32::MAX, 1)))], 0);
        assert_eq!(most, Step::Take { transitions: 1 << 31 });
    }
}

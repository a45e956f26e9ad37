//! What an agent may use, and whether anything of it is left.
//!
//! It is asked before a call is made, and fails closed: what is not known is not free. It must not know what
//! tokens are used for.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::llm::Usage;
use crate::llm::prices::Cost;

/// Of what an agent may use, the one that catalogs leaves a part of so many to the one that summarizes.
const SHARE_OF_SUMMARY: u32 = 6;

/// What may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Tokens that were not read from a cache.
    pub tokens: u64,
    /// Money, if that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Turns of models.
    pub turns: u32,
    /// Time, while the run is driven.
    #[serde(rename = "milliseconds", with = "milliseconds")]
    pub time: Duration,
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// What was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// Tokens.
    pub usage: Usage,
    /// Money; none if some of it is not known.
    pub cost: Option<Cost>,
    /// Turns of models.
    pub turns: u32,
}

impl Default for Spent {
    fn default() -> Self {
        Self {
            usage: Usage::default(),
            cost: Some(Cost::default()),
            turns: 0,
        }
    }
}

impl Spent {
    /// Adds what a turn, or a try at one, has used.
    pub fn add(&mut self, usage: Usage, cost: Option<Cost>) {
        self.usage += usage;
        self.cost = self.cost.zip(cost).map(|(sum, more)| sum + more);
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.add(other.usage, other.cost);
        self.turns += other.turns;
        self
    }
}

/// What is used up.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsedUp {
    /// The tokens.
    #[error("{used} of {limit} tokens are used; raise the limit of tokens, or catalog fewer tables")]
    Tokens {
        /// So many.
        used: u64,
        /// Of so many.
        limit: u64,
    },
    /// The money.
    #[error("{used} of {limit} are used; raise the limit of cost, or catalog fewer tables")]
    Cost {
        /// So much.
        used: Cost,
        /// Of so much.
        limit: Cost,
    },
    /// Perhaps the money.
    #[error(
        "what was used has no known price, so the limit of {limit} can't be kept; give prices for the model, or no limit of cost"
    )]
    CostUnknown {
        /// Of so much.
        limit: Cost,
    },
    /// The turns.
    #[error("{limit} turns are used; raise the limit of turns, or catalog fewer tables")]
    Turns {
        /// So many.
        limit: u32,
    },
    /// The time.
    #[error("the time of {} s is over; raise the limit of time, or catalog fewer tables", limit.as_secs())]
    Time {
        /// So much.
        limit: Duration,
    },
}

impl Limits {
    /// What is used up, if anything is.
    pub fn used_up(&self, spent: &Spent, elapsed: Duration) -> Option<UsedUp> {
        let used = spent.usage.budget_tokens();
        if used >= self.tokens {
            return Some(UsedUp::Tokens {
                used,
                limit: self.tokens,
            });
        }
        match (self.cost, spent.cost) {
            (Some(limit), None) => return Some(UsedUp::CostUnknown { limit }),
            (Some(limit), Some(used)) if used >= limit => return Some(UsedUp::Cost { used, limit }),
            _ => {}
        }
        if spent.turns >= self.turns {
            return Some(UsedUp::Turns { limit: self.turns });
        }
        (elapsed >= self.time).then_some(UsedUp::Time { limit: self.time })
    }

    /// What the agent that catalogs may use: all but what the summary needs.
    #[must_use]
    pub fn of_catalog(&self) -> Self {
        let part = |all: u64| all - all / u64::from(SHARE_OF_SUMMARY);
        Self {
            tokens: part(self.tokens),
            cost: self.cost.map(|cost| Cost(part(cost.0))),
            turns: self.turns - self.turns / SHARE_OF_SUMMARY,
            time: self.time.saturating_sub(self.time / SHARE_OF_SUMMARY),
        }
    }

    /// What is left after something was used. The time stays as it is: it runs on.
    #[must_use]
    pub fn after(&self, spent: &Spent) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(spent.usage.budget_tokens()),
            // Where the cost is not known, nothing is left of it.
            cost: self
                .cost
                .map(|limit| Cost(spent.cost.map_or(0, |used| limit.0.saturating_sub(used.0)))),
            turns: self.turns.saturating_sub(spent.turns),
            time: self.time,
        }
    }

    /// How much of what is scarcest is left, in percent.
    pub fn percent_left(&self, spent: &Spent) -> u64 {
        let percent = |left: u64, all: u64| left.saturating_mul(100) / all.max(1);
        let left = self.after(spent);
        let mut least = percent(left.tokens, self.tokens).min(percent(left.turns.into(), self.turns.into()));
        if let (Some(left), Some(all)) = (left.cost, self.cost) {
            least = least.min(percent(left.0, all.0));
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        tokens: 1000,
        cost: Some(Cost(500)),
        turns: 12,
        time: Duration::from_mins(6),
    };

    fn spent(tokens: u64, cost: Option<u64>, turns: u32) -> Spent {
        Spent {
            usage: Usage {
                input: tokens,
                cache_read: 1 << 40,
                ..Usage::default()
            },
            cost: cost.map(Cost),
            turns,
        }
    }

    #[test]
    fn each_limit_holds() {
        let up = |spent: &Spent, seconds| LIMITS.used_up(spent, Duration::from_secs(seconds));
        assert_eq!(up(&spent(999, Some(499), 11), 359), None);
        assert!(matches!(
            up(&spent(1000, Some(0), 0), 0),
            Some(UsedUp::Tokens { .. })
        ));
        assert!(matches!(
            up(&spent(0, Some(500), 0), 0),
            Some(UsedUp::Cost { .. })
        ));
        assert!(matches!(
            up(&spent(0, None, 0), 0),
            Some(UsedUp::CostUnknown { .. })
        ));
        assert!(matches!(
            up(&spent(0, Some(0), 12), 0),
            Some(UsedUp::Turns { .. })
        ));
        assert!(matches!(up(&Spent::default(), 360), Some(UsedUp::Time { .. })));
        let free = Limits { cost: None, ..LIMITS };
        assert_eq!(free.used_up(&spent(0, None, 0), Duration::ZERO), None);
    }

    #[test]
    fn the_summary_has_its_share() {
        let catalog = LIMITS.of_catalog();
        assert_eq!(
            (catalog.tokens, catalog.cost, catalog.turns),
            (834, Some(Cost(417)), 10)
        );
        assert_eq!(catalog.time, Duration::from_mins(5));
        let left = LIMITS.after(&spent(100, Some(417), 3));
        assert_eq!((left.tokens, left.cost, left.turns), (900, Some(Cost(83)), 9));
        assert_eq!(LIMITS.after(&spent(2000, None, 50)).cost, Some(Cost(0)));
        // One turn is the catalog's.
        let one = Limits { turns: 1, ..LIMITS };
        assert_eq!(one.of_catalog().turns, 1);
    }

    #[test]
    fn the_scarcest_counts() {
        assert_eq!(LIMITS.percent_left(&Spent::default()), 100);
        assert_eq!(LIMITS.percent_left(&spent(200, Some(400), 1)), 20);
        assert_eq!(LIMITS.percent_left(&spent(0, Some(0), 9)), 25);
    }

    proptest! {
        #[test]
        fn shares_are_never_more_than_all(tokens in 0_u64.., cost in 0_u64.., turns in 0_u32..) {
            let all = Limits { tokens, cost: Some(Cost(cost)), turns, ..LIMITS };
            let catalog = all.of_catalog();
            prop_assert!(catalog.tokens <= tokens && catalog.cost <= Some(Cost(cost)) && catalog.turns <= turns);
            prop_assert!(catalog.turns >= turns.min(1));
            let used = Spent { usage: Usage { output: tokens, ..Usage::default() }, cost: Some(Cost(cost)), turns };
            prop_assert!(all.used_up(&used, Duration::ZERO).is_some());
            prop_assert_eq!(all.percent_left(&used), 0);
        }
    }
}

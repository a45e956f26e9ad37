//! What of a budget is spent, what is set aside, and when there is a new one. Pure: whoever asks says what time
//! it is, and writes down what is to survive.
//!
//! Three sums: `spent`, what is `held` for requests that are under way (each at its worst), and what is `covered`,
//! spent and reserved together as it was written down last. A request may be sent only where spent and held
//! together stay within the budget and within what is covered. Whoever takes over counts all that was covered as
//! spent, so nothing is ever spent that was not counted.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::super::prices::Cost;

/// This part of the budget is written down as reserved in one step, so that not each request is a write.
const STEP: u64 = 100;
/// How many writes may be without an answer before the first of them counts as not made here.
const UNSURE: usize = 64;

/// How long a budget lasts, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the next.
    #[default]
    Month,
}

impl Period {
    /// The begin of the period that a time is in, and that of the next one.
    pub fn around(self, time: Timestamp) -> (Timestamp, Timestamp) {
        let day = time.to_zoned(TimeZone::UTC).date();
        let (first, next) = match self {
            Self::Day => (day, day.tomorrow()),
            Self::Month => (day.first_of_month(), day.last_of_month().tomorrow()),
        };
        let midnight = |date: Date| date.to_datetime(Time::midnight()).to_zoned(TimeZone::UTC);
        let at = |date| midnight(date).map(|zoned| zoned.timestamp());
        // At the end of all time there is no next one.
        (
            at(first).unwrap_or(Timestamp::MIN),
            next.and_then(at).unwrap_or(Timestamp::MAX),
        )
    }
}

/// What may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// So much
    pub amount: Cost,
    /// in each of these.
    pub period: Period,
}

/// What is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// When the period began.
    pub since: Timestamp,
    /// When the next one begins.
    pub until: Timestamp,
    /// What is spent.
    pub spent: Cost,
    /// What is set aside. If nobody is there any more who could say what became of it, it is spent.
    pub reserved: Cost,
}

impl Figures {
    fn covered(&self) -> Cost {
        self.spent + self.reserved
    }
}

/// What is set aside for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what is set aside has to be settled"]
pub struct Hold {
    worst: Option<Cost>,
    age: u64,
}

/// What is said to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It may be sent.
    Go(Hold),
    /// It may be sent once more is written down as reserved.
    Write,
    /// Not now: what is set aside for others is in the way. They may not need all of it.
    Wait,
    /// No, and to wait for others does not help.
    No(Refusal),
}

/// Why the budget does not allow a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// What is left is too little.
    UsedUp {
        /// When there is a new budget.
        opens_at: Timestamp,
    },
    /// Nobody knows what it costs.
    Unpriced,
    /// It may cost more than a whole budget.
    TooMuch,
}

/// The account of one budget. Without a budget it counts, and refuses nothing.
#[derive(Debug, Clone)]
pub struct Ledger {
    budget: Option<Budget>,
    since: Timestamp,
    until: Timestamp,
    spent: Cost,
    held: Cost,
    covered: Cost,
    /// What was set aside in an earlier age is spent already.
    age: u64,
    /// The least that was refused in this period.
    refused: Option<Cost>,
    /// What is written down, if it is ours, and what may have been since. The last is the newest.
    ours: Vec<Option<Figures>>,
}

impl Ledger {
    /// Goes on with what somebody wrote down, all of which counts as spent.
    pub fn open(budget: Option<Budget>, written: Option<Figures>, now: Timestamp) -> Self {
        let (since, until) = period(budget).around(now);
        let mut ledger = Self {
            budget,
            since,
            until,
            spent: Cost::default(),
            held: Cost::default(),
            covered: Cost::default(),
            age: 0,
            refused: None,
            ours: vec![written],
        };
        if let Some(written) = written {
            ledger.spent = written.covered();
            ledger.covered = written.covered();
            (ledger.since, ledger.until) = (written.since, written.until);
            ledger.roll(now);
            ledger.fit(now);
        }
        ledger
    }

    /// Changes the budget. What was spent stays spent, whatever period it was in.
    pub fn set_budget(&mut self, budget: Option<Budget>, now: Timestamp) {
        self.roll(now);
        self.budget = budget;
        self.fit(now);
    }

    /// A new period, if it is time. A clock that goes back never opens an old one.
    fn roll(&mut self, now: Timestamp) {
        if now >= self.until {
            (self.since, self.until) = period(self.budget).around(now);
            self.spent = Cost::default();
            self.covered = Cost::default();
            self.refused = None;
        }
    }

    /// The bounds of the period as the budget has them, if they were those of another kind.
    fn fit(&mut self, now: Timestamp) {
        let bounds = period(self.budget).around(now.max(self.since));
        if bounds != (self.since, self.until) {
            (self.since, self.until) = bounds;
            // What is written down may end sooner than this.
            self.covered = Cost::default();
        }
    }

    /// Whether a request may be sent that costs at most so much. If so, that is set aside.
    pub fn admit(&mut self, worst: Option<Cost>, now: Timestamp) -> Answer {
        self.roll(now);
        let Some(budget) = self.budget else {
            self.held += worst.unwrap_or_default();
            return Answer::Go(Hold { worst, age: self.age });
        };
        if let Some(refusal) = self.refusal(worst, now) {
            return Answer::No(refusal);
        }
        let cost = worst.unwrap_or_default();
        let with = self.spent + self.held + cost;
        if with > budget.amount {
            return Answer::Wait;
        }
        if with > self.covered {
            return Answer::Write;
        }
        self.held += cost;
        Answer::Go(Hold { worst, age: self.age })
    }

    /// Why the budget does not allow a request that costs at most so much, whatever becomes of others.
    pub fn refusal(&mut self, worst: Option<Cost>, now: Timestamp) -> Option<Refusal> {
        self.roll(now);
        let amount = self.budget?.amount;
        let Some(cost) = worst else {
            return Some(Refusal::Unpriced);
        };
        if cost > amount {
            return Some(Refusal::TooMuch);
        }
        let opens_at = self.refuses(cost, now)?;
        self.refused = Some(self.refused.map_or(cost, |least| least.min(cost)));
        Some(Refusal::UsedUp { opens_at })
    }

    /// Books what became of a request: what it cost, or the worst, if that is not known.
    pub fn settle(&mut self, hold: Hold, cost: Option<Cost>, now: Timestamp) {
        self.roll(now);
        if hold.age != self.age {
            return;
        }
        let worst = hold.worst.unwrap_or_default();
        self.held = Cost(self.held.0.saturating_sub(worst.0));
        self.spent += cost.unwrap_or(worst);
    }

    /// What is to be written down now, for one more request that costs at most so much, or for none.
    ///
    /// From here on no more than this is covered, nor more than before: nobody knows whether it will be written.
    pub fn write(&mut self, more: Option<Cost>, now: Timestamp) -> Figures {
        self.roll(now);
        let figures = Figures {
            reserved: self.reserve(more),
            ..self.figures(now)
        };
        self.covered = self.covered.min(figures.covered());
        if self.ours.last() != Some(&Some(figures)) {
            self.ours.push(Some(figures));
        }
        if self.ours.len() > UNSURE {
            // If it is this that will be found, it counts as somebody else's.
            self.ours.remove(0);
        }
        figures
    }

    fn reserve(&self, more: Option<Cost>) -> Cost {
        let Some(budget) = self.budget else {
            return Cost::default();
        };
        // While nothing is under way nothing is set aside.
        if more.is_none() && self.held == Cost::default() {
            return Cost::default();
        }
        let step = Cost(budget.amount.0 / STEP).max(more.unwrap_or_default());
        let left = Cost(budget.amount.0.saturating_sub(self.spent.0));
        (self.held + step).min(left).max(self.held)
    }

    /// These figures are written down.
    pub fn written(&mut self, figures: &Figures) {
        self.ours = vec![Some(*figures)];
        if (figures.since, figures.until) == (self.since, self.until) {
            self.covered = figures.covered();
        }
    }

    /// This is found to be written down; `signed`, if it bears the name of who keeps this ledger. If it is not what
    /// was written here, somebody else drives runs too, or did; whoever it is counts all that was covered before as
    /// spent, and so does this ledger from now on. Says whether it was ours.
    ///
    /// Others may come to the same figures by chance, so figures alone prove nothing.
    pub fn find(&mut self, found: Option<Figures>, signed: bool, now: Timestamp) -> bool {
        let ours = (signed || found.is_none()) && self.ours.contains(&found);
        if !ours {
            self.adopt(found, now);
        }
        ours
    }

    fn adopt(&mut self, found: Option<Figures>, now: Timestamp) {
        self.roll(now);
        // What is under way is within what was covered. If nothing is found any more, it still is spent.
        self.spent += self.held;
        if let Some(found) = found {
            if found.since > self.since {
                (self.since, self.until) = (found.since, found.until);
                self.refused = None;
            }
            if found.until > self.since {
                self.spent = self.spent.max(found.covered());
            }
        }
        self.held = Cost::default();
        self.covered = Cost::default();
        self.age += 1;
        self.ours = vec![found];
        self.fit(now);
    }

    /// What is spent and held, and in which period.
    pub fn figures(&self, now: Timestamp) -> Figures {
        let (since, until, spent) = if now >= self.until {
            let (since, until) = period(self.budget).around(now);
            (since, until, Cost::default())
        } else {
            (self.since, self.until, self.spent)
        };
        Figures {
            since,
            until,
            spent,
            reserved: self.held,
        }
    }

    /// What may be spent, if that is limited.
    pub fn budget(&self) -> Option<Budget> {
        self.budget
    }

    /// When there will be a new budget, if this one is used up: all of it is spent, or what is left was too little
    /// for a request.
    pub fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.refuses(self.refused.unwrap_or_default(), now)
    }

    fn refuses(&self, worst: Cost, now: Timestamp) -> Option<Timestamp> {
        let amount = self.budget?.amount;
        let used_up = self.spent >= amount || self.spent + worst > amount;
        (now < self.until && used_up).then_some(self.until)
    }
}

/// Money that nobody limits is counted by the month.
fn period(budget: Option<Budget>) -> Period {
    budget.map_or(Period::Month, |budget| budget.period)
}

#[cfg(test)]
mod tests;

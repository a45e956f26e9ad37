//! Rules that hold whatever happens: crashes, clocks that jump, writes that nobody knows of, and two who drive runs.

use proptest::prelude::*;

use super::*;

const AMOUNT: Cost = Cost(1_000_000);
const BUDGET: Option<Budget> = Some(Budget {
    amount: AMOUNT,
    period: Period::Day,
});

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    at("2026-11-26T12:00:00Z")
}

fn figures(since: &str, until: &str, spent: u64, reserved: u64) -> Figures {
    Figures {
        since: at(since),
        until: at(until),
        spent: Cost(spent),
        reserved: Cost(reserved),
    }
}

fn today(spent: u64, reserved: u64) -> Figures {
    figures("2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z", spent, reserved)
}

fn not_today() -> Answer {
    Answer::No(Refusal::UsedUp {
        opens_at: at("2026-11-27T00:00:00Z"),
    })
}

/// Admits, and writes where that is needed.
fn go(ledger: &mut Ledger, worst: u64, now: Timestamp) -> Hold {
    loop {
        match ledger.admit(Some(Cost(worst)), now) {
            Answer::Go(hold) => return hold,
            Answer::Write => {
                let figures = ledger.write(Some(Cost(worst)), now);
                ledger.written(&figures);
            }
            answer => panic!("{answer:?} of {ledger:?}"),
        }
    }
}

#[test]
fn periods_are_those_of_the_calendar() {
    for (period, time, since, until) in [
        (
            Period::Day,
            "2026-11-26T23:59:59.9Z",
            "2026-11-26T00:00:00Z",
            "2026-11-27T00:00:00Z",
        ),
        (
            Period::Day,
            "2026-11-27T00:00:00Z",
            "2026-11-27T00:00:00Z",
            "2026-11-28T00:00:00Z",
        ),
        (
            Period::Month,
            "2026-12-31T23:59:59Z",
            "2026-12-01T00:00:00Z",
            "2027-01-01T00:00:00Z",
        ),
        (
            Period::Month,
            "2028-02-29T07:00:00Z",
            "2028-02-01T00:00:00Z",
            "2028-03-01T00:00:00Z",
        ),
    ] {
        assert_eq!(period.around(at(time)), (at(since), at(until)), "{time}");
    }
}

#[test]
fn not_each_request_is_a_write() {
    let mut ledger = Ledger::open(BUDGET, None, noon());
    assert_eq!(ledger.admit(Some(Cost(300)), noon()), Answer::Write);
    let written = ledger.write(Some(Cost(300)), noon());
    assert_eq!(written, today(0, 10_000));
    ledger.written(&written);
    for _ in 0..33 {
        let Answer::Go(hold) = ledger.admit(Some(Cost(300)), noon()) else {
            panic!("{ledger:?}");
        };
        ledger.settle(hold, Some(Cost(300)), noon());
    }
    assert_eq!(ledger.admit(Some(Cost(300)), noon()), Answer::Write);
    // While nothing is under way nothing has to be set aside.
    assert_eq!(ledger.write(None, noon()), today(9_900, 0));
    // A large one at its worst.
    assert_eq!(ledger.write(Some(Cost(90_000)), noon()), today(9_900, 90_000));
}

#[test]
fn what_is_used_up_opens_with_the_next_period() {
    let mut ledger = Ledger::open(BUDGET, Some(today(900_000, 50_000)), noon());
    // What was set aside is spent: nobody knows.
    assert_eq!(ledger.figures(noon()), today(950_000, 0));
    assert_eq!(ledger.closed_until(noon()), None);
    assert_eq!(ledger.admit(Some(Cost(60_000)), noon()), not_today());
    let tomorrow = at("2026-11-27T00:00:00Z");
    assert_eq!(ledger.closed_until(noon()), Some(tomorrow));
    assert_eq!(ledger.closed_until(tomorrow), None);
    let hold = go(&mut ledger, 60_000, tomorrow);
    assert_eq!(ledger.figures(tomorrow).reserved, Cost(60_000));
    // The clock goes back: the period that was used up is not opened again, nor is this one begun anew.
    ledger.settle(hold, None, noon());
    assert_eq!(ledger.figures(noon()).spent, Cost(60_000));
    let again = Ledger::open(BUDGET, Some(ledger.figures(noon())), noon());
    assert_eq!(again.figures(noon()), ledger.figures(noon()));
}

#[test]
fn others_may_not_need_what_is_set_aside_for_them() {
    let mut ledger = Ledger::open(BUDGET, None, noon());
    let first = go(&mut ledger, 600_000, noon());
    assert_eq!(ledger.admit(Some(Cost(600_000)), noon()), Answer::Wait);
    assert_eq!(ledger.closed_until(noon()), None);
    ledger.settle(first, Some(Cost(5)), noon());
    let second = go(&mut ledger, 600_000, noon());
    ledger.settle(second, None, noon());
    assert_eq!(ledger.admit(Some(Cost(600_000)), noon()), not_today());
    assert_eq!(ledger.figures(noon()), today(600_005, 0));
}

#[test]
fn some_requests_are_never_right() {
    let mut ledger = Ledger::open(BUDGET, None, noon());
    assert_eq!(ledger.admit(None, noon()), Answer::No(Refusal::Unpriced));
    assert_eq!(
        ledger.admit(Some(Cost(1_000_001)), noon()),
        Answer::No(Refusal::TooMuch)
    );
    assert_eq!(ledger.closed_until(noon()), None);
    let nothing = Some(Budget {
        amount: Cost(0),
        period: Period::Month,
    });
    let ledger = Ledger::open(nothing, None, noon());
    assert_eq!(ledger.closed_until(noon()), Some(at("2026-12-01T00:00:00Z")));
}

#[test]
fn without_a_budget_it_only_counts() {
    let mut ledger = Ledger::open(None, None, noon());
    let Answer::Go(known) = ledger.admit(Some(Cost(u64::MAX)), noon()) else {
        panic!()
    };
    let Answer::Go(unknown) = ledger.admit(None, noon()) else {
        panic!()
    };
    ledger.settle(known, Some(Cost(7)), noon());
    ledger.settle(unknown, None, noon());
    let month = |spent| figures("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", spent, 0);
    assert_eq!(ledger.write(None, noon()), month(7));
    assert_eq!(ledger.closed_until(noon()), None);
    // What was spent stays spent when there is a budget, of whatever period.
    ledger.set_budget(BUDGET, noon());
    assert_eq!(ledger.figures(noon()), today(7, 0));
    assert_eq!(ledger.admit(Some(Cost(1)), noon()), Answer::Write);
    assert_eq!(
        Ledger::open(BUDGET, Some(month(7)), noon()).figures(noon()),
        today(7, 0)
    );
}

#[test]
fn a_changed_budget_holds_at_once() {
    let mut ledger = Ledger::open(BUDGET, Some(today(500_000, 0)), noon());
    let budget = |amount| {
        Some(Budget {
            amount: Cost(amount),
            period: Period::Day,
        })
    };
    ledger.set_budget(budget(400_000), noon());
    assert_eq!(ledger.admit(Some(Cost(1)), noon()), not_today());
    assert!(ledger.closed_until(noon()).is_some());
    ledger.set_budget(budget(600_000), noon());
    assert_eq!(ledger.closed_until(noon()), None);
    let _ = go(&mut ledger, 100_000, noon());
}

#[test]
fn what_somebody_else_wrote_counts() {
    let mut ledger = Ledger::open(BUDGET, None, noon());
    let hold = go(&mut ledger, 300, noon());
    let lost = ledger.write(Some(Cost(20_000)), noon());
    // It was written, though nobody said so.
    assert!(ledger.find(Some(lost), true, noon()));
    assert!(!ledger.find(Some(today(70_000, 30_000)), false, noon()));
    assert_eq!(ledger.figures(noon()), today(100_000, 0));
    // It is in there.
    ledger.settle(hold, Some(Cost(300)), noon());
    assert_eq!(ledger.figures(noon()), today(100_000, 0));
    // Nobody lowers it by hand.
    let hold = go(&mut ledger, 5_000, noon());
    for lower in [
        None,
        Some(today(0, 0)),
        Some(figures(
            "2026-11-25T00:00:00Z",
            "2026-11-26T00:00:00Z",
            999_999,
            0,
        )),
    ] {
        assert!(!ledger.find(lower, true, noon()));
        assert_eq!(ledger.figures(noon()), today(105_000, 0));
    }
    ledger.settle(hold, None, noon());
    assert_eq!(ledger.admit(Some(Cost(1)), noon()), Answer::Write);
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// A request that costs at most so much, in thousandths of the budget.
    Ask(u8, u64),
    /// The request of this number is answered, having cost so many percent of its worst.
    Answer(u8, usize, u64),
    /// What became of it is not known.
    Lose(u8, usize),
    /// Time passes, or goes back, in minutes.
    Clock(i64),
    /// It is written, though nothing demands that.
    Tidy(u8, Fate),
    /// It dies, and another one takes over.
    Die(u8),
    /// What becomes of the next writes.
    Write(Fate),
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Done,
    /// It arrives, but the answer does not.
    Unanswered,
    Lost,
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![4 => Just(Fate::Done), 1 => Just(Fate::Unanswered), 1 => Just(Fate::Lost)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0_u8..2;
    let step = prop_oneof![
        8 => (who.clone(), 1_u64..400).prop_map(|(who, worst)| Step::Ask(who, worst)),
        6 => (who.clone(), any::<usize>(), 0_u64..=100).prop_map(|(who, which, part)| Step::Answer(who, which, part)),
        1 => (who.clone(), any::<usize>()).prop_map(|(who, which)| Step::Lose(who, which)),
        2 => (-900_i64..1500).prop_map(Step::Clock),
        2 => (who.clone(), fates()).prop_map(|(who, fate)| Step::Tidy(who, fate)),
        1 => who.prop_map(Step::Die),
        1 => fates().prop_map(Step::Write),
    ];
    prop::collection::vec(step, 1..120)
}

/// What is written down, guarded by a version; and each request with the period in which it was sent.
struct World {
    stored: Option<Figures>,
    signed: usize,
    people: usize,
    version: u64,
    now: Timestamp,
    fate: Fate,
    sent: Vec<(Timestamp, u64)>,
}

struct Operator {
    ledger: Ledger,
    name: usize,
    version: u64,
    open: Vec<(Hold, u64, usize)>,
}

impl Operator {
    fn new(world: &mut World) -> Self {
        world.people += 1;
        Self {
            ledger: Ledger::open(BUDGET, world.stored, world.now),
            name: world.people,
            version: world.version,
            open: Vec::new(),
        }
    }

    /// Whether it is written down, for sure.
    fn write(&mut self, more: Option<Cost>, world: &mut World, fate: Fate) -> bool {
        let figures = self.ledger.write(more, world.now);
        if fate == Fate::Lost {
            return false;
        }
        if self.version != world.version {
            // Refused: it looks what is there.
            self.ledger
                .find(world.stored, world.signed == self.name, world.now);
            self.version = world.version;
            return false;
        }
        world.stored = Some(figures);
        world.signed = self.name;
        world.version += 1;
        if fate == Fate::Unanswered {
            return false;
        }
        self.version = world.version;
        self.ledger.written(&figures);
        true
    }

    fn ask(&mut self, worst: u64, world: &mut World) {
        for _ in 0..3 {
            match self.ledger.admit(Some(Cost(worst)), world.now) {
                Answer::Go(hold) => {
                    world.sent.push((self.ledger.since, 0));
                    self.open.push((hold, worst, world.sent.len() - 1));
                    let same = world.stored.filter(|stored| stored.since == self.ledger.since);
                    let own = self.ledger.spent + self.ledger.held;
                    assert!(same.is_none_or(|stored| stored.covered() >= own), "not covered");
                    return;
                }
                Answer::Write => {
                    let fate = world.fate;
                    self.write(Some(Cost(worst)), world, fate);
                }
                _ => return,
            }
        }
    }

    fn end(&mut self, which: usize, part: Option<u64>, world: &mut World) {
        if self.open.is_empty() {
            return;
        }
        let (hold, worst, number) = self.open.swap_remove(which % self.open.len());
        let cost = part.map(|part| worst * part / 100);
        // What is not known is the worst in truth, too.
        world.sent[number].1 = cost.unwrap_or(worst);
        self.ledger.settle(hold, cost.map(Cost), world.now);
    }
}

proptest! {
    #[test]
    fn no_period_costs_more_than_its_budget(steps in steps()) {
        let mut world = World { stored: None, signed: 0, people: 0, version: 0, now: noon(), fate: Fate::Done, sent: Vec::new() };
        let mut operators = [Operator::new(&mut world), Operator::new(&mut world)];
        for step in steps {
            match step {
                Step::Ask(who, worst) => {
                    operators[usize::from(who)].ask(worst * AMOUNT.0 / 1000, &mut world);
                }
                Step::Answer(who, which, part) => {
                    operators[usize::from(who)].end(which, Some(part), &mut world);
                }
                Step::Lose(who, which) => operators[usize::from(who)].end(which, None, &mut world),
                Step::Clock(minutes) => {
                    world.now += jiff::SignedDuration::from_mins(minutes);
                }
                Step::Tidy(who, fate) => {
                    operators[usize::from(who)].write(None, &mut world, fate);
                }
                Step::Die(who) => {
                    // What it had sent costs what it may.
                    let dead = std::mem::replace(&mut operators[usize::from(who)], Operator::new(&mut world));
                    for (_, worst, number) in dead.open {
                        world.sent[number].1 = worst;
                    }
                }
                Step::Write(fate) => world.fate = fate,
            }
            for Operator { ledger, .. } in &operators {
                prop_assert!(ledger.spent + ledger.held <= AMOUNT, "{ledger:?}");
            }
        }
        for Operator { open, .. } in operators {
            for (_, worst, number) in open {
                world.sent[number].1 = worst;
            }
        }
        let mut periods = std::collections::BTreeMap::<Timestamp, u64>::new();
        for (since, cost) in world.sent {
            *periods.entry(since).or_default() += cost;
        }
        for (since, cost) in periods {
            prop_assert!(cost <= AMOUNT.0, "{cost} in the period from {since}");
        }
    }
}

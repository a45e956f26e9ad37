//! Where leave is given: one after the other, in the order in which they came, within the rates and the budget of
//! one provider.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::ledger::{Answer, Hold, Ledger, Period, Refusal};
use super::rates::{Limits, Rates};
use super::{Account, Refused, Ticket, Used, Worst};
use crate::llm::prices::Cost;

/// The first and the longest wait before it is tried again to write something down.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// How long is tried to write something down.
const PATIENCE: Duration = Duration::from_mins(2);

/// Why something was not written down.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotKept(pub String);

/// Where a ledger is written down.
#[async_trait]
pub trait Books: Send + Sync {
    /// Writes down what the ledger says, for one more request that costs at most so much. Returns once it is
    /// safe there, and the ledger knows ([`Ledger::write`], [`Ledger::written`]).
    async fn keep(&self, more: Cost) -> Result<(), NotKept>;

    /// Hears that something has changed which need not be written down at once.
    fn moved(&self);

    /// What time it is.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The account of one provider. Cloning it is cheap, and shares it.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    name: String,
    /// Who waits here waits in order.
    turn: tokio::sync::Mutex<()>,
    rates: Mutex<Rates>,
    ledger: Arc<Mutex<Ledger>>,
    books: Arc<dyn Books>,
    /// Something was settled, or the budget has changed.
    settled: Notify,
    gone: Mutex<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Of the provider that people know by this name, such as `ModelProvider team/claude`.
    pub fn new(name: String, limits: Limits, ledger: Arc<Mutex<Ledger>>, books: Arc<dyn Books>) -> Self {
        Self(Arc::new(Inner {
            name,
            turn: tokio::sync::Mutex::default(),
            rates: Mutex::new(Rates::new(limits)),
            ledger,
            books,
            settled: Notify::new(),
            gone: Mutex::new(false),
        }))
    }

    /// Changes how fast may be asked.
    pub fn limit(&self, limits: Limits) {
        lock(&self.0.rates).set(limits);
    }

    /// Has those look again who wait for money: the ledger has changed.
    pub fn look_again(&self) {
        self.0.settled.notify_waiters();
    }

    /// Gives no leave any more: the provider is gone.
    pub fn close(&self) {
        *lock(&self.0.gone) = true;
        self.look_again();
    }
}

/// Whether there is so much time.
fn in_time(deadline: Option<Instant>, wait: Duration) -> Result<(), Refused> {
    let late = deadline.is_some_and(|deadline| Instant::now() + wait >= deadline);
    if late { Err(Refused::TooLate) } else { Ok(()) }
}

async fn until<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Result<T, Refused> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.map_err(|_| Refused::TooLate),
        None => Ok(future.await),
    }
}

#[async_trait]
impl Account for Desk {
    async fn admit(
        &self,
        worst: &Worst,
        deadline: Option<Instant>,
        waits: &mut (dyn FnMut(String) + Send),
    ) -> Result<Ticket, Refused> {
        let inner = &self.0;
        // Whom there is no money for need not wait for his turn.
        inner.may_ever(worst)?;
        let _turn = match inner.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                waits(format!("waiting for leave of {}", inner.name));
                until(deadline, inner.turn.lock()).await?
            }
        };
        inner.keep_to_rates(deadline, waits).await?;
        let hold = inner.set_aside(worst, deadline, waits).await?;
        let desk = Arc::clone(inner);
        let tokens = worst.usage.budget_tokens();
        Ok(Ticket::new(move |used| desk.settle(hold, tokens, used)))
    }
}

impl Inner {
    fn may_ever(&self, worst: &Worst) -> Result<(), Refused> {
        if *lock(&self.gone) {
            return Err(Refused::Gone {
                message: format!("{} is not there any more: name another one", self.name),
            });
        }
        let now = self.books.now();
        let mut ledger = lock(&self.ledger);
        match ledger.refusal(worst.cost, now) {
            Some(refusal) => Err(self.refused(ledger, worst, now, refusal)),
            None => Ok(()),
        }
    }

    async fn keep_to_rates(
        &self,
        deadline: Option<Instant>,
        waits: &mut (dyn FnMut(String) + Send),
    ) -> Result<(), Refused> {
        loop {
            let Err(wait) = lock(&self.rates).take() else {
                return Ok(());
            };
            in_time(deadline, wait)?;
            waits(format!(
                "waiting {} s for the rate limits of {}",
                wait.as_secs().max(1),
                self.name
            ));
            sleep(wait).await;
        }
    }

    async fn set_aside(
        &self,
        worst: &Worst,
        deadline: Option<Instant>,
        waits: &mut (dyn FnMut(String) + Send),
    ) -> Result<Hold, Refused> {
        let began = Instant::now();
        let mut again = AGAIN.0;
        loop {
            let settled = self.settled.notified();
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            if *lock(&self.gone) {
                self.may_ever(worst)?;
            }
            match self.ask(worst)? {
                Answer::Go(hold) => return Ok(hold),
                Answer::Wait => {
                    waits(format!(
                        "waiting for what others have set aside of the budget of {}",
                        self.name
                    ));
                    until(deadline, settled).await?;
                }
                _ => {
                    let more = worst.cost.unwrap_or_default();
                    let Err(NotKept(why)) = until(deadline, self.books.keep(more)).await? else {
                        continue;
                    };
                    if began.elapsed() > PATIENCE {
                        return Err(Refused::NotKept {
                            message: format!(
                                "what a request may cost can't be written into the status of {} ({why}), so none is sent",
                                self.name
                            ),
                        });
                    }
                    in_time(deadline, again)?;
                    waits(format!("waiting to write down what it may cost ({why})"));
                    sleep(again).await;
                    again = (again * 2).min(AGAIN.1);
                }
            }
        }
    }

    fn ask(&self, worst: &Worst) -> Result<Answer, Refused> {
        let now = self.books.now();
        let mut ledger = lock(&self.ledger);
        match ledger.admit(worst.cost, now) {
            Answer::No(refusal) => Err(self.refused(ledger, worst, now, refusal)),
            answer => Ok(answer),
        }
    }

    /// A refusal in words.
    fn refused(
        &self,
        ledger: MutexGuard<'_, Ledger>,
        worst: &Worst,
        now: Timestamp,
        refusal: Refusal,
    ) -> Refused {
        let (name, model, cost) = (&self.name, &worst.model, worst.cost.unwrap_or_default());
        match refusal {
            Refusal::UsedUp { opens_at } => {
                let message = format!(
                    "the budget of {name}, {}, is used up ({}, this request may cost up to {cost}): it opens again at {opens_at}",
                    budget(&ledger),
                    left(&ledger, now),
                );
                drop(ledger);
                // Whoever looks after the provider should know.
                self.books.moved();
                Refused::UsedUp { message, opens_at }
            }
            Refusal::Unpriced => Refused::Never {
                message: format!(
                    "{model} has no known price, so the budget of {name} can't be kept: add its price to spec.prices"
                ),
            },
            Refusal::TooMuch => Refused::Never {
                message: format!(
                    "a request to {model} may cost up to {cost}, more than the whole budget of {name}, {}: raise spec.budget.amount, or take a cheaper model",
                    budget(&ledger)
                ),
            },
        }
    }

    fn settle(&self, hold: Hold, tokens: u64, used: Option<Used>) {
        lock(&self.rates).owe(used.map_or(tokens, |used| used.usage.budget_tokens()));
        lock(&self.ledger).settle(hold, used.and_then(|used| used.cost), self.books.now());
        self.settled.notify_waiters();
        self.books.moved();
    }
}

/// How much may be spent, in words.
fn budget(ledger: &Ledger) -> String {
    ledger.budget().map_or_else(String::new, |budget| {
        let period = match budget.period {
            Period::Day => "a day",
            Period::Month => "a month",
        };
        format!("{} {period}", budget.amount)
    })
}

/// What became of it, in words.
fn left(ledger: &Ledger, now: Timestamp) -> String {
    let figures = ledger.figures(now);
    format!("{} spent, {} set aside", figures.spent, figures.reserved)
}

//! Leave for requests: whoever pays for a provider says whether, and when, each single request may be sent.
//!
//! [`Accounted`] wraps one model, so each try and each fallback is a request of its own. A [`Desk`] gives leave
//! within rates and a budget; where the budget is written down is behind [`Books`]. This must not know what is
//! asked or why, nor what a resource of a cluster is.

mod desk;
mod ledger;
mod rates;
mod worst;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use thiserror::Error;
use tokio::time::Instant;

use super::prices::{Cost, Prices};
use super::{Model, ModelError, ModelSpec, Progress, Request, Turn, Usage};

pub use desk::{Books, Desk, NotKept};
pub use ledger::{Answer, Budget, Figures, Hold, Ledger, Period, Refusal};
pub use rates::Limits;
pub use worst::Worst;

/// Gives leave for requests.
#[async_trait]
pub trait Account: Send + Sync {
    /// Waits until one more request may be sent, and sets aside what it may cost at most. `waits` hears what is
    /// waited for.
    async fn admit(
        &self,
        worst: &Worst,
        deadline: Option<Instant>,
        waits: &mut (dyn FnMut(String) + Send),
    ) -> Result<Ticket, Refused>;

    /// Hears that the provider did not take the key.
    fn key_refused(&self, _message: &str) {}
}

/// What a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Tokens, as far as they are known.
    pub usage: Usage,
    /// Money; none if it is not known, which counts as the worst.
    pub cost: Option<Cost>,
}

/// Leave for one request. Dropped before it is settled it counts as the worst: nobody knows what became of the
/// request.
pub struct Ticket(Option<Box<dyn FnOnce(Option<Used>) + Send>>);

impl Ticket {
    /// Leave that is settled by this, once, with nothing if what was used is not known.
    pub fn new(settle: impl FnOnce(Option<Used>) + Send + 'static) -> Self {
        Self(Some(Box::new(settle)))
    }

    /// Leave that nobody keeps account of.
    pub fn free() -> Self {
        Self(None)
    }

    /// Says what became of the request.
    pub fn settle(mut self, used: Used) {
        if let Some(settle) = self.0.take() {
            settle(Some(used));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(settle) = self.0.take() {
            settle(None);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ticket")
    }
}

/// Why a request may not be sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The budget does not allow it.
    #[error("{message}")]
    UsedUp {
        /// Which budget, and what is left of it.
        message: String,
        /// When there is a new one.
        opens_at: Timestamp,
    },
    /// The budget will never allow it: nobody knows what it would cost, or it is more than a whole budget.
    #[error("{message}")]
    Never {
        /// Why not, and what to do.
        message: String,
    },
    /// Leave would come too late.
    #[error("the time is over before a request may be sent")]
    TooLate,
    /// What it may cost can't be written down.
    #[error("{message}")]
    NotKept {
        /// Where, and why not.
        message: String,
    },
    /// Whoever paid is gone.
    #[error("{message}")]
    Gone {
        /// Who.
        message: String,
    },
}

impl Refused {
    fn of(self, model: ModelSpec) -> ModelError {
        match self {
            Self::UsedUp { message, opens_at } => ModelError::Budget {
                model,
                message,
                opens_at,
            },
            Self::TooLate => ModelError::Deadline {
                model,
                spent: Usage::default(),
            },
            // One that is made anew pays again.
            Self::NotKept { message } | Self::Gone { message } => ModelError::NoLeave { model, message },
            Self::Never { message } => ModelError::Setup { message },
        }
    }
}

/// An account that refuses nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

#[async_trait]
impl Account for Unlimited {
    async fn admit(
        &self,
        _: &Worst,
        _: Option<Instant>,
        _: &mut (dyn FnMut(String) + Send),
    ) -> Result<Ticket, Refused> {
        Ok(Ticket::free())
    }
}

/// A model that is asked only with leave, and whose every request is accounted for.
pub struct Accounted {
    model: Arc<dyn Model>,
    account: Arc<dyn Account>,
    prices: Arc<Prices>,
}

impl Accounted {
    /// This model, at the expense of this account. Not for several models that answer as one: what each of
    /// their requests came to would not be known.
    pub fn new(model: Arc<dyn Model>, account: Arc<dyn Account>, prices: Arc<Prices>) -> Self {
        Self {
            model,
            account,
            prices,
        }
    }

    /// What an answer came to. Where the provider does not say, nobody knows.
    fn answered(&self, turn: &Turn) -> Used {
        let known = Some(turn).filter(|turn| !turn.estimated);
        Used {
            usage: turn.usage,
            cost: known.and_then(|turn| self.prices.cost_of(turn)),
        }
    }
}

/// What a failed request came to. What may have been worked on may have to be paid for, whatever came of it.
fn failed(error: &ModelError) -> Used {
    Used {
        usage: error.spent(),
        cost: error.is_free().then_some(Cost::default()),
    }
}

#[async_trait]
impl Model for Accounted {
    async fn complete(
        &self,
        request: &Request<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Turn, ModelError> {
        let spec = self.model.spec();
        let worst = Worst::of(request, spec, &self.prices);
        let mut waits = |why| {
            progress(Progress::Waiting {
                model: spec.clone(),
                why,
            });
        };
        let ticket = self
            .account
            .admit(&worst, request.deadline, &mut waits)
            .await
            .map_err(|refused| refused.of(spec.clone()))?;
        let result = self.model.complete(request, progress).await;
        ticket.settle(match &result {
            Ok(turn) => self.answered(turn),
            Err(error) => failed(error),
        });
        if let Err(error @ ModelError::Status { status: 401, .. }) = &result {
            self.account.key_refused(&error.to_string());
        }
        result
    }

    fn spec(&self) -> &ModelSpec {
        self.model.spec()
    }
}

#[cfg(test)]
mod tests;

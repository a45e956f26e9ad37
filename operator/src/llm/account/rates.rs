//! How fast a provider may be asked: requests and tokens in a minute, as buckets that fill all the time.
//!
//! A request's tokens are known only when it is answered. They are a debt then, which is paid before the next
//! request is sent, whoever's it is.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// How fast may be asked. Nothing is limited that is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Requests in a minute.
    pub requests: Option<NonZeroU32>,
    /// Tokens in a minute: input that was not read from a cache, cache writes, and output.
    pub tokens: Option<NonZeroU32>,
}

/// tokio's clock, which tests can turn.
#[derive(Debug, Clone)]
struct Since(Instant);

impl Clock for Since {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Since, NoOpMiddleware<Nanos>>;

/// A bucket of this size, full.
struct Bucket {
    size: NonZeroU32,
    limiter: Limiter,
    clock: Since,
}

impl Bucket {
    fn new(size: NonZeroU32) -> Self {
        let clock = Since(Instant::now());
        Self {
            size,
            limiter: RateLimiter::direct_with_clock(Quota::per_minute(size), clock.clone()),
            clock,
        }
    }

    /// Takes so many, at most all that it holds, or says when they will be there.
    fn take(&self, count: NonZeroU32) -> Result<(), Duration> {
        match self.limiter.check_n(count.min(self.size)) {
            // The timer's grain: to wake up before the time would be to wait once more.
            Ok(Err(until)) => Err(until.wait_time_from(self.clock.now()) + Duration::from_millis(1)),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// The buckets, and what is owed.
pub(super) struct Rates {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    debt: u64,
}

impl Rates {
    /// All buckets are full.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            requests: limits.requests.map(Bucket::new),
            tokens: limits.tokens.map(Bucket::new),
            debt: 0,
        }
    }

    /// Changes how fast may be asked. What did not change stays as full as it is.
    pub(super) fn set(&mut self, limits: Limits) {
        let change = |bucket: &mut Option<Bucket>, size: Option<NonZeroU32>| {
            if bucket.as_ref().map(|bucket| bucket.size) != size {
                *bucket = size.map(Bucket::new);
            }
        };
        change(&mut self.requests, limits.requests);
        change(&mut self.tokens, limits.tokens);
        if self.tokens.is_none() {
            self.debt = 0;
        }
    }

    /// Takes what a request needs, or says when to try again. What is owed is paid first.
    pub(super) fn take(&mut self) -> Result<(), Duration> {
        if let Some(bucket) = &self.tokens {
            while let Some(owed) = NonZeroU32::new(u32::try_from(self.debt).unwrap_or(u32::MAX)) {
                let part = owed.min(bucket.size);
                bucket.take(part)?;
                self.debt -= u64::from(part.get());
            }
        }
        self.requests
            .as_ref()
            .map_or(Ok(()), |bucket| bucket.take(NonZeroU32::MIN))
    }

    /// Owes so many tokens more.
    pub(super) fn owe(&mut self, tokens: u64) {
        if self.tokens.is_some() {
            self.debt = self.debt.saturating_add(tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    fn limits(requests: u32, tokens: u32) -> Limits {
        Limits {
            requests: NonZeroU32::new(requests),
            tokens: NonZeroU32::new(tokens),
        }
    }

    async fn waited(rates: &mut Rates) -> Duration {
        let began = Instant::now();
        while let Err(wait) = rates.take() {
            sleep(wait).await;
        }
        began.elapsed()
    }

    fn about(found: Duration, seconds: u64) {
        let wanted = Duration::from_secs(seconds);
        let slack = Duration::from_millis(20);
        assert!(
            found >= wanted && found < wanted + slack,
            "{found:?}, not {wanted:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_a_minute_come_at_once_then_evenly() {
        let mut rates = Rates::new(limits(6, 0));
        for _ in 0..6 {
            about(waited(&mut rates).await, 0);
        }
        for _ in 0..3 {
            about(waited(&mut rates).await, 10);
        }
        advance(Duration::from_mins(5)).await;
        for _ in 0..6 {
            about(waited(&mut rates).await, 0);
        }
        about(waited(&mut rates).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_paid_before_the_next_request() {
        let mut rates = Rates::new(limits(0, 6000));
        // Nobody knows yet what they use.
        for _ in 0..3 {
            about(waited(&mut rates).await, 0);
        }
        rates.owe(9000);
        about(waited(&mut rates).await, 30);
        about(waited(&mut rates).await, 0);
        // More than a minute's.
        rates.owe(18_000);
        about(waited(&mut rates).await, 180);
    }

    #[tokio::test(start_paused = true)]
    async fn limits_can_change() {
        let mut rates = Rates::new(limits(1, 6000));
        rates.take().unwrap();
        rates.owe(7000);
        rates.set(limits(1, 6000));
        assert!(rates.take().is_err());
        rates.set(limits(0, 0));
        rates.owe(1 << 40);
        about(waited(&mut rates).await, 0);
        rates.set(limits(1, 0));
        rates.take().unwrap();
        about(waited(&mut rates).await, 60);
    }
}

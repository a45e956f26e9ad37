//! Whether the operator lives, and whether it is ready: who has loops says when they turn, who has something to wait
//! for says when it is there.
//!
//! It must not know who asks.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What is known of the health of the operator. Clones are the same.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    loops: Vec<Loop>,
    conditions: Vec<(&'static str, bool)>,
}

struct Loop {
    name: &'static str,
    within: Duration,
    last: Instant,
}

impl fmt::Debug for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Health")
    }
}

/// A loop that has to turn. If it is dropped without a word, the operator is as ill as if it hung.
#[derive(Debug)]
pub struct Pulse {
    health: Health,
    name: &'static str,
}

/// Something that has to be there before the operator is ready.
#[derive(Debug, Clone)]
pub struct Condition {
    health: Health,
    name: &'static str,
}

impl Health {
    /// A loop of this name begins, and will turn at least once within this time. There is one of a name.
    pub fn pulse(&self, name: &'static str, within: Duration) -> Pulse {
        let new = Loop {
            name,
            within,
            last: Instant::now(),
        };
        self.with(|known| {
            known.loops.retain(|it| it.name != name);
            known.loops.push(new);
        });
        Pulse {
            health: self.clone(),
            name,
        }
    }

    /// The operator is not ready until this is set.
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition {
            health: self.clone(),
            name,
        };
        condition.set(false);
        condition
    }

    /// The loops that hang, with what is to be known of each; none if all is well.
    pub fn hanging(&self) -> Vec<String> {
        let now = Instant::now();
        self.with(|known| {
            let late = known.loops.iter().filter_map(|it| {
                let silent = now.saturating_duration_since(it.last);
                (silent > it.within).then(|| format!("{} has not turned for {} s", it.name, silent.as_secs()))
            });
            late.collect()
        })
    }

    /// What is not there yet; nothing if all is ready.
    pub fn missing(&self) -> Vec<&'static str> {
        self.with(|known| {
            let missing = known.conditions.iter().filter(|(_, there)| !there);
            missing.map(|(name, _)| *name).collect()
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pulse {
    /// The loop turns.
    pub fn beat(&self) {
        let now = Instant::now();
        self.health.with(|known| {
            if let Some(it) = known.loops.iter_mut().find(|it| it.name == self.name) {
                it.last = now;
            }
        });
    }

    /// The loop has ended as it should.
    pub fn end(self) {
        self.health
            .with(|known| known.loops.retain(|it| it.name != self.name));
    }
}

impl Condition {
    /// Whether it is there.
    pub fn set(&self, there: bool) {
        self.health.with(
            |known| match known.conditions.iter_mut().find(|(name, _)| *name == self.name) {
                Some(known) => known.1 = there,
                None => known.conditions.push((self.name, there)),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_does_not_turn_is_named() {
        let health = Health::default();
        assert!(health.hanging().is_empty());
        let catalogs = health.pulse("the controller of Catalogs", Duration::from_secs(30));
        let lease = health.pulse("the lease", Duration::from_mins(1));
        advance(Duration::from_secs(31)).await;
        assert_eq!(
            health.hanging(),
            ["the controller of Catalogs has not turned for 31 s"]
        );
        catalogs.beat();
        assert!(health.hanging().is_empty());
        // One that has ended is not waited for; one that is gone is.
        catalogs.end();
        drop(lease);
        advance(Duration::from_secs(30)).await;
        assert_eq!(health.hanging(), ["the lease has not turned for 61 s"]);
        let _again = health.pulse("the lease", Duration::from_mins(1));
        assert!(health.hanging().is_empty());
    }

    #[test]
    fn what_is_missing_is_named() {
        let health = Health::default();
        assert!(health.missing().is_empty());
        let (api, caches) = (health.condition("the API server"), health.condition("the caches"));
        assert_eq!(health.missing(), ["the API server", "the caches"]);
        api.set(true);
        caches.clone().set(true);
        assert!(health.missing().is_empty());
        api.set(false);
        assert_eq!(health.missing(), ["the API server"]);
    }
}

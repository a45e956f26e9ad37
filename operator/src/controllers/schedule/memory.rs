//! What the operator keeps in mind of schedules between two looks. All of it may be lost at any time: what must not be
//! is in the status, or in names. Must not know what a look does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::plan::Make;
use super::reason::Standing;

/// A Catalog that could not be made: not tried again before its time, unless the schedule is changed.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) generation: Option<i64>,
    pub(super) until: Instant,
    pub(super) standing: Standing,
}

#[derive(Debug, Default)]
struct OfOne {
    held: Vec<Held>,
    /// Catalogs that were made, and are in no status yet.
    unwritten: Vec<String>,
}

/// Of all schedules, by their UIDs.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<BTreeMap<String, OfOne>>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, OfOne>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of one; nothing is kept of those of which nothing is known.
    fn change(&self, uid: &str, change: impl FnOnce(&mut OfOne)) {
        let mut all = self.lock();
        let one = all.entry(uid.to_owned()).or_default();
        change(one);
        if one.held.is_empty() && one.unwritten.is_empty() {
            all.remove(uid);
        }
    }

    /// A Catalog could not be made.
    pub(super) fn hold(&self, uid: &str, held: Held) {
        self.change(uid, |one| {
            one.held.retain(|known| known.name != held.name);
            one.held.push(held);
        });
    }

    /// How a schedule stands by a Catalog that is not to be tried yet, and for how long.
    pub(super) fn held(
        &self,
        uid: &str,
        make: &Make,
        generation: Option<i64>,
    ) -> Option<(Standing, Duration)> {
        let now = Instant::now();
        let all = self.lock();
        let mut held = all.get(uid)?.held.iter();
        let held =
            held.find(|held| held.name == make.name && held.generation == generation && held.until > now)?;
        Some((held.standing.clone(), held.until.duration_since(now)))
    }

    /// Only these are still to be made.
    pub(super) fn wanted(&self, uid: &str, make: &[Make]) {
        self.change(uid, |one| {
            one.held
                .retain(|held| make.iter().any(|make| make.name == held.name));
        });
    }

    /// A Catalog is made, or was found.
    pub(super) fn made(&self, uid: &str, name: &str) {
        self.change(uid, |one| {
            one.held.retain(|held| held.name != name);
            one.unwritten.retain(|known| known != name);
            one.unwritten.push(name.to_owned());
        });
    }

    /// Catalogs that were made, and of which a watch may not have told yet.
    pub(super) fn unwritten(&self, uid: &str) -> Vec<String> {
        let all = self.lock();
        all.get(uid).map(|one| one.unwritten.clone()).unwrap_or_default()
    }

    /// The status has them.
    pub(super) fn written(&self, uid: &str) {
        self.change(uid, |one| one.unwritten.clear());
    }

    /// The schedule is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::schedule::reason::Reason;

    #[test]
    fn each_catalog_is_held_for_itself() {
        let memory = Memory::default();
        let make = |name: &str| Make {
            name: name.to_owned(),
            slot: None,
            requested: None,
            replaces: Vec::new(),
            many: false,
        };
        for name in ["a", "b"] {
            memory.hold(
                "u",
                Held {
                    name: name.to_owned(),
                    generation: Some(1),
                    until: Instant::now() + Duration::from_hours(1),
                    standing: Standing::new(Reason::NameTaken, name),
                },
            );
        }
        let stands =
            |name: &str, generation| memory.held("u", &make(name), generation).map(|it| it.0.message);
        assert_eq!(stands("a", Some(1)).as_deref(), Some("a"));
        assert_eq!(stands("b", Some(1)).as_deref(), Some("b"));
        assert_eq!((stands("b", Some(2)), stands("c", Some(1))), (None, None));
        memory.made("u", "a");
        assert_eq!(
            (stands("a", Some(1)), memory.unwritten("u")),
            (None, vec!["a".to_owned()])
        );
        memory.wanted("u", &[]);
        assert_eq!(stands("b", Some(1)), None);
        memory.written("u");
        assert!(memory.lock().is_empty());
    }
}

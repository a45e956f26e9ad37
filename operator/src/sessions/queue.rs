//! Who may run now: at most so many at once, in turn between namespaces.
//!
//! Pure: it knows keys and namespaces, and neither time nor what runs.

use std::collections::{BTreeMap, VecDeque};

/// Whether somebody may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Now.
    Granted,
    /// After others.
    Waiting {
        /// From 1.
        position: usize,
        /// Of so many.
        of: usize,
    },
}

#[derive(Debug, Clone)]
struct Waiter<K> {
    key: K,
    namespace: String,
    /// What was under way before goes first: its sandbox is there, and its model has been paid.
    first: bool,
}

/// A queue that is fair between namespaces.
#[derive(Debug, Clone)]
pub struct Queue<K> {
    most: usize,
    granted: BTreeMap<K, String>,
    /// In the order in which they came.
    waiting: Vec<Waiter<K>>,
    /// The last turn of each namespace that may have another one: among those that have as few places, the one goes
    /// first whose turn is longest ago.
    turns: BTreeMap<String, u64>,
    /// How many places were given.
    given: u64,
}

impl<K: Ord + Clone> Queue<K> {
    /// For at most so many at once.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            granted: BTreeMap::new(),
            waiting: Vec::new(),
            turns: BTreeMap::new(),
            given: 0,
        }
    }

    /// Asks for a place, or again where one is. Who has asked once is in the queue until it leaves.
    pub fn ask(&mut self, key: &K, namespace: &str, first: bool) -> Place {
        if self.granted.contains_key(key) {
            return Place::Granted;
        }
        if !self.waiting.iter().any(|waiter| waiter.key == *key) {
            self.waiting.push(Waiter {
                key: key.clone(),
                namespace: namespace.to_owned(),
                first,
            });
            // Nobody else can get a place by this: whoever waited when one was free has it.
            self.promote();
        }
        self.place(key)
    }

    /// Gives a place back, or stops waiting for one. Who may run now because of that.
    pub fn leave(&mut self, key: &K) -> Vec<K> {
        self.granted.remove(key);
        self.waiting.retain(|waiter| waiter.key != *key);
        let promoted = self.promote();
        if self.waiting.is_empty() {
            let granted = &self.granted;
            self.turns
                .retain(|namespace, _| granted.values().any(|it| it == namespace));
        }
        promoted
    }

    /// Who has a place, or waits for one.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        let waiting = self.waiting.iter().map(|waiter| &waiter.key);
        self.granted.keys().chain(waiting)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many may run now.
    pub fn granted(&self) -> usize {
        self.granted.len()
    }

    /// Where somebody stands who has asked.
    fn place(&self, key: &K) -> Place {
        if self.granted.contains_key(key) {
            return Place::Granted;
        }
        // As they would be called if each place that gets free were given in turn.
        let mut loads = self.loads();
        let mut turns: BTreeMap<&str, u64> =
            self.turns.iter().map(|(it, turn)| (it.as_str(), *turn)).collect();
        let mut given = self.given;
        let mut lines: BTreeMap<(bool, &str), VecDeque<usize>> = BTreeMap::new();
        for (at, waiter) in self.waiting.iter().enumerate() {
            lines
                .entry((!waiter.first, &waiter.namespace))
                .or_default()
                .push_back(at);
        }
        let of = self.waiting.len();
        for position in 1..=of {
            let next = lines
                .iter()
                .filter_map(|((later, namespace), line)| {
                    let load = loads.get(namespace).copied().unwrap_or(0);
                    let turn = turns.get(namespace).copied().unwrap_or(0);
                    Some((*later, load, turn, *line.front()?, *namespace))
                })
                .min();
            let Some((later, _, _, at, namespace)) = next else {
                break;
            };
            if self.waiting[at].key == *key {
                return Place::Waiting { position, of };
            }
            *loads.entry(namespace).or_default() += 1;
            given += 1;
            turns.insert(namespace, given);
            lines.entry((later, namespace)).or_default().pop_front();
        }
        Place::Waiting { position: of, of }
    }

    /// How many of each namespace may run.
    fn loads(&self) -> BTreeMap<&str, usize> {
        let mut loads: BTreeMap<&str, usize> = BTreeMap::new();
        for namespace in self.granted.values() {
            *loads.entry(namespace).or_default() += 1;
        }
        loads
    }

    fn promote(&mut self) -> Vec<K> {
        let mut promoted = Vec::new();
        while self.granted.len() < self.most
            && let Some(key) = self.take()
        {
            promoted.push(key);
        }
        promoted
    }

    /// Gives the next waiter a place: those that were under way, then the namespace with the fewest, then the one whose
    /// last turn is longest ago, then who came first.
    fn take(&mut self) -> Option<K> {
        let loads = self.loads();
        let (at, _) = self.waiting.iter().enumerate().min_by_key(|(at, waiter)| {
            let load = loads.get(waiter.namespace.as_str()).copied().unwrap_or(0);
            let turn = self.turns.get(&waiter.namespace).copied().unwrap_or(0);
            (!waiter.first, load, turn, *at)
        })?;
        let Waiter { key, namespace, .. } = self.waiting.remove(at);
        self.given += 1;
        self.turns.insert(namespace.clone(), self.given);
        self.granted.insert(key.clone(), namespace);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(position: usize, of: usize) -> Place {
        Place::Waiting { position, of }
    }

    #[test]
    fn places_are_given_in_turn_between_namespaces() {
        let mut queue = Queue::new(2);
        assert_eq!(queue.ask(&"a1", "a", false), Place::Granted);
        assert_eq!(queue.ask(&"a2", "a", false), Place::Granted);
        assert_eq!(queue.ask(&"a3", "a", false), at(1, 1));
        assert_eq!(queue.ask(&"a4", "a", false), at(2, 2));
        // Comes last, and has nothing yet.
        assert_eq!(queue.ask(&"b1", "b", false), at(1, 3));
        assert_eq!(queue.ask(&"a3", "a", false), at(2, 3));
        assert_eq!(queue.leave(&"a1"), ["b1"]);
        assert_eq!(queue.ask(&"b1", "b", false), Place::Granted);
        assert_eq!(queue.leave(&"b1"), ["a3"]);
        assert_eq!(queue.leave(&"nobody"), [""; 0]);
        assert_eq!((queue.granted(), queue.waiting()), (2, 1));
        assert_eq!(queue.keys().collect::<Vec<_>>(), [&"a2", &"a3", &"a4"]);
    }

    #[test]
    fn one_place_alone_goes_round() {
        let mut queue = Queue::new(1);
        assert_eq!(queue.ask(&"a1", "a", false), Place::Granted);
        for (key, namespace) in [("a2", "a"), ("a3", "a"), ("b1", "b"), ("c1", "c"), ("b2", "b")] {
            assert!(matches!(queue.ask(&key, namespace, false), Place::Waiting { .. }));
        }
        let order = ["b1", "c1", "a2", "b2", "a3"];
        for (key, position) in order.iter().zip(1..) {
            // The namespace of those that wait is known.
            assert_eq!(queue.ask(key, "", false), at(position, 5), "{key}");
        }
        let mut last = "a1";
        for next in order {
            assert_eq!(queue.leave(&last), [next]);
            last = next;
        }
    }

    #[test]
    fn who_always_comes_again_does_not_hold_up_who_waits() {
        let mut queue = Queue::new(1);
        assert_eq!(queue.ask(&"a1", "a", false), Place::Granted);
        assert_eq!(queue.ask(&"a2", "a", false), at(1, 1));
        assert_eq!(queue.ask(&"b1", "b", false), at(1, 2));
        assert_eq!(queue.leave(&"a1"), ["b1"]);
        assert_eq!(queue.ask(&"b2", "b", false), at(2, 2));
        assert_eq!(queue.leave(&"b1"), ["a2"]);
        assert_eq!(queue.leave(&"a2"), ["b2"]);
        assert_eq!(queue.leave(&"b2"), [""; 0]);
        assert!(queue.turns.is_empty());
    }

    #[test]
    fn what_was_under_way_goes_first() {
        let mut queue = Queue::new(1);
        assert_eq!(queue.ask(&1, "a", false), Place::Granted);
        assert_eq!(queue.ask(&2, "b", false), at(1, 1));
        assert_eq!(queue.ask(&3, "a", true), at(1, 2));
        assert_eq!(queue.leave(&1), [3]);
        assert_eq!(queue.leave(&2), [0; 0]);
        assert_eq!(queue.leave(&3), [0; 0]);
        assert_eq!((queue.granted(), queue.waiting()), (0, 0));
    }

    proptest! {
        #[test]
        fn nobody_is_forgotten_and_the_bound_holds(
            most in 1_usize..4,
            steps in prop::collection::vec((0_u8..12, 0_u8..3, any::<bool>()), 1..60),
        ) {
            let mut queue = Queue::new(most);
            let mut inside = std::collections::BTreeSet::new();
            for (key, namespace, leaves) in steps {
                if leaves {
                    let before = queue.waiting();
                    let promoted = queue.leave(&key);
                    inside.remove(&key);
                    prop_assert!(promoted.len() <= before);
                } else {
                    let place = queue.ask(&key, &namespace.to_string(), false);
                    inside.insert(key);
                    if let Place::Waiting { position, of } = place {
                        prop_assert!((1..=of).contains(&position));
                        prop_assert_eq!(queue.granted(), most);
                    }
                }
                prop_assert!(queue.granted() <= most);
                prop_assert_eq!(queue.granted() + queue.waiting(), inside.len());
            }
            // Whoever leaves makes room: all get their turn.
            while let Some(key) = queue.granted.keys().next().copied() {
                queue.leave(&key);
                inside.remove(&key);
            }
            prop_assert!(inside.is_empty());
        }
    }
}

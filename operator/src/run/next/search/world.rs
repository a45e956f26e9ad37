//! All there is in a state of the search: a bucket, a sandbox, and who drives the run or believes to.
//!
//! It is small, since there are a million of them. It must not know what can happen in it.

use std::hash::{Hash as _, Hasher};

use super::Wrong;
use super::lore::{CLAIMED, Journal, Lore};
use super::notes::Note;
use super::texts::{OBJECTS, REPORT};
use crate::agent::prompts::Role;

/// So many drive the run at once.
pub(super) const DRIVERS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) journal: Journal,
    /// The numbers of their contents; 0 is none.
    pub(super) objects: [u16; OBJECTS],
    pub(super) pod: Option<Pod>,
    /// How many sandboxes there were.
    pub(super) boots: u8,
    /// In the order in which they came.
    pub(super) drivers: [Option<Driver>; DRIVERS],
    /// What was sent to the bucket by one who is no more.
    pub(super) flying: Option<Flight>,
    /// How many drivers there were.
    pub(super) started: u8,
    /// How often the model was asked.
    pub(super) asked: u8,
    pub(super) crashes: u8,
    /// All else that went wrong.
    pub(super) mishaps: u8,
    /// The last driver found that there will be no catalog.
    pub(super) failed: bool,
}

/// A sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pod {
    pub(super) boot: u8,
    /// The number of its session; 0 is none.
    pub(super) session: u32,
    /// The driver whom it obeys.
    pub(super) holder: u8,
    /// That one has not closed it, and never will.
    pub(super) is_left: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing that it knows or not"
)]
pub(super) struct Driver {
    /// Later ones have higher numbers.
    pub(super) writer: u8,
    /// The entries that it has read or written.
    pub(super) known: Journal,
    /// Its sandbox; 0 is none.
    pub(super) boot: u8,
    /// Whether nothing was done in that but the survey.
    pub(super) surveyed: bool,
    pub(super) no_summary: bool,
    /// Whether it has seen that the object which it knows was noted last is there.
    pub(super) written: bool,
    /// Whether the time of the run is over for it.
    pub(super) late: bool,
    pub(super) at: At,
}

/// What a driver is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum At {
    /// To ask what is next.
    Free,
    /// To get an entry into the journal: it is asked for again and again, until an answer is heard.
    Noting(Note),
    /// To write an object, in the same way.
    Writing(u8),
    /// To hear what the model says.
    Asking,
    /// To fill a session that it has begun.
    Filling(Role),
}

/// A request that nobody waits for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Flight {
    /// An entry after a journal.
    Entry(Journal, u8, Note),
    /// An object and its content.
    Object(u8, u16),
}

impl World {
    /// The run is claimed.
    pub(super) fn first() -> Self {
        let mut world = Self {
            journal: CLAIMED,
            objects: [0; OBJECTS],
            pod: None,
            boots: 0,
            drivers: [None; DRIVERS],
            flying: None,
            started: 1,
            asked: 0,
            crashes: 0,
            mishaps: 0,
            failed: false,
        };
        world.drivers[0] = Some(Driver::new(1, CLAIMED, At::Free));
        world
    }

    pub(super) fn live(&self) -> usize {
        self.drivers.iter().flatten().count()
    }

    /// A driver is no more.
    pub(super) fn remove(&mut self, slot: usize) {
        self.drivers[slot..].rotate_left(1);
        self.drivers[DRIVERS - 1] = None;
    }

    /// A driver is no more, and leaves its sandbox.
    pub(super) fn leave(&mut self, slot: usize, driver: &Driver) {
        self.remove(slot);
        if let Some(pod) = &mut self.pod
            && pod.holder == driver.writer
        {
            pod.is_left = true;
        }
    }

    /// A driver is no more, and has closed its sandbox.
    pub(super) fn close(&mut self, slot: usize, driver: &Driver) {
        self.remove(slot);
        if self.pod.is_some_and(|pod| pod.boot == driver.boot) {
            self.pod = None;
        }
    }

    /// Whether the run has come to its end, and nobody drives it.
    pub(super) fn is_over(&self) -> bool {
        self.live() == 0 && (self.failed || self.objects[usize::from(REPORT)] != 0)
    }

    /// What is wrong with it.
    pub(super) fn wrong(&self, lore: &mut Lore) -> Option<Wrong> {
        let mut paid = lore.asked(self.journal);
        for driver in self.drivers.iter().flatten() {
            paid += u32::from(driver.is_asking() && !self.has_arrived(driver, lore));
        }
        if u32::from(self.asked) > paid + u32::from(self.crashes) + u32::from(self.mishaps) {
            return Some(Wrong::PaidTwice);
        }
        if !self.is_over() {
            return None;
        }
        if !self.failed && !lore.is_whole(self.journal, &self.objects) {
            return Some(Wrong::NotWhole);
        }
        let left = self.pod.is_some_and(|pod| !pod.is_left);
        left.then_some(Wrong::SandboxLeft)
    }

    /// Whether what a driver waits for has come to the bucket, from it or from another.
    pub(super) fn has_arrived(&self, driver: &Driver, lore: &Lore) -> bool {
        match driver.at {
            At::Noting(_) => lore.entry_after(driver.known, self.journal).is_some(),
            At::Writing(object) => self.objects[usize::from(object)] != 0,
            _ => false,
        }
    }

    /// A number that is hardly another's.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut mix = Mix(0);
        self.hash(&mut mix);
        mix.finish()
    }
}

impl Driver {
    pub(super) fn new(writer: u8, known: Journal, at: At) -> Self {
        Self {
            writer,
            known,
            boot: 0,
            surveyed: false,
            no_summary: false,
            written: false,
            late: false,
            at,
        }
    }

    fn is_asking(&self) -> bool {
        matches!(
            self.at,
            At::Asking | At::Noting(Note::Answered(_) | Note::Unanswered)
        )
    }
}

/// A hash that is quick without an optimizer.
struct Mix(u64);

impl Mix {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_ne_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.add(word.into());
    }

    fn write_u16(&mut self, word: u16) {
        self.add(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.add(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }
}

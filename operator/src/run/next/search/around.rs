//! What can happen around the drivers of a run: to their sandbox, to them, and between them and the bucket.

use super::Wrong;
use super::lore::{Session, living};
use super::moves::{Found, Moves};
use super::notes::Note;
use super::world::{At, Driver, Flight, Pod, World};
use crate::agent::prompts::Role;

impl Moves<'_> {
    /// As `Sandboxes::open` does.
    pub(super) fn open(&mut self, slot: usize, driver: Driver) {
        let known = self.lore.known_boot(driver.known);
        let mut to = *self.world;
        let pod = match self.world.pod {
            Some(pod) if pod.holder > driver.writer => {
                return self.leave(slot, &driver, "finds the sandbox with another, and stops");
            }
            Some(pod) if pod.boot == known => pod,
            _ => {
                to.boots += 1;
                Pod {
                    boot: to.boots,
                    session: 0,
                    holder: 0,
                    is_left: false,
                }
            }
        };
        to.pod = Some(Pod {
            holder: driver.writer,
            is_left: false,
            ..pod
        });
        to.drivers[slot] = Some(Driver {
            boot: pod.boot,
            surveyed: false,
            ..driver
        });
        self.add(driver.writer, "gets a sandbox", true, to);
    }

    pub(super) fn found(&self, driver: &Driver) -> Found {
        match self.world.pod {
            Some(pod) if pod.boot != driver.boot => Found::Lost,
            Some(pod) if pod.holder != driver.writer => Found::Anothers,
            Some(pod) => Found::Its(pod),
            None => Found::Lost,
        }
    }

    /// Its sandbox; if it has none any more, what happens then.
    pub(super) fn pod(&mut self, slot: usize, driver: Driver) -> Option<Pod> {
        match self.found(&driver) {
            Found::Its(pod) => return Some(pod),
            Found::Anothers => self.leave(slot, &driver, "finds its sandbox with another, and stops"),
            Found::Lost => {
                let driver = Driver {
                    boot: 0,
                    surveyed: false,
                    at: At::Free,
                    ..driver
                };
                self.go(slot, driver, "finds its sandbox lost");
            }
        }
        None
    }

    pub(super) fn begin_session(&mut self, pod: Pod, role: Role, ran: Vec<String>) -> Pod {
        let calls = Vec::new();
        let session = self.lore.session(Session { role, ran, calls });
        Pod { session, ..pod }
    }

    /// Makes the variables of an agent again.
    pub(super) fn fill(&mut self, slot: usize, driver: Driver, role: Role) {
        if let Some(pod) = self.pod(slot, driver) {
            let cells = living(&self.lore.state(driver.known), role);
            let mut to = *self.world;
            to.pod = Some(self.begin_session(pod, role, cells));
            to.drivers[slot] = Some(Driver {
                surveyed: false,
                at: At::Noting(Note::Ready(role, driver.boot)),
                ..driver
            });
            self.add(driver.writer, "makes its session ready", true, to);
        }
    }

    /// A driver is no more from one moment to the next, and what it had sent may come yet.
    pub(super) fn crash(&mut self, slot: usize, driver: Driver) {
        if self.world.crashes >= self.rules.crashes {
            return;
        }
        let mut to = *self.world;
        to.crashes += 1;
        to.leave(slot, &driver);
        self.add(driver.writer, "crashes", false, to);
        if to.flying.is_some() || self.world.has_arrived(&driver, self.lore) {
            return;
        }
        to.flying = match driver.at {
            At::Noting(note) => Some(Flight::Entry(driver.known, driver.writer, note)),
            At::Writing(object) => Some(Flight::Object(object, self.lore.content(driver.known, object))),
            At::Free | At::Asking | At::Filling(_) => return,
        };
        self.add(driver.writer, "crashes with a write on its way", false, to);
    }

    /// What else can go wrong with one.
    pub(super) fn fail(&mut self, slot: usize, driver: Driver) {
        if self.world.mishaps >= self.rules.mishaps {
            return;
        }
        let mut to = *self.world;
        to.mishaps += 1;
        let what = match driver.at {
            At::Noting(_) | At::Writing(_) => {
                to.close(slot, &driver);
                "ends, since the bucket does not answer"
            }
            At::Asking => {
                let at = At::Noting(Note::Unanswered);
                to.drivers[slot] = Some(Driver { at, ..driver });
                "hears that the model is away"
            }
            At::Free if !driver.late => {
                to.drivers[slot] = Some(Driver { late: true, ..driver });
                "has no time left"
            }
            At::Free | At::Filling(_) => return,
        };
        self.add(driver.writer, what, false, to);
    }

    /// What happens without them.
    pub(super) fn surroundings(&mut self) {
        let may_go_wrong = self.world.mishaps < self.rules.mishaps;
        if may_go_wrong && self.world.pod.is_some() {
            let mut to = *self.world;
            to.pod = None;
            to.mishaps += 1;
            self.add(0, "the sandbox is lost", false, to);
        }
        self.arrive();
        let live = self.world.live();
        let is_over = self.world.is_over();
        if live == 0 && !is_over {
            self.start(true, false);
        }
        // Somebody believes that nobody drives it; or wants another try.
        if may_go_wrong && (live == 1 || (live == 0 && self.world.failed)) {
            self.start(false, false);
        }
        if may_go_wrong && live <= 1 && !is_over {
            self.start(false, true);
        }
    }

    /// What nobody waits for comes, late or never.
    fn arrive(&mut self) {
        let Some(flight) = self.world.flying else { return };
        let mut to: World = *self.world;
        to.flying = None;
        self.add(0, "what was on its way is lost", true, to);
        let mut is_late = false;
        match flight {
            Flight::Entry(known, writer, note) if self.world.journal == known => {
                to.journal = self.lore.with(known, writer, note);
            }
            Flight::Object(object, content) if self.world.objects[usize::from(object)] == 0 => {
                to.objects[usize::from(object)] = content;
                is_late = self.is_late(object);
            }
            _ => return,
        }
        self.add(0, "what was on its way arrives", false, to);
        self.wrong_if(is_late, Wrong::WrittenAfterTheEnd);
    }

    /// Somebody reads the journal, of which the last entry may not be seen yet, and goes on with the run.
    fn start(&mut self, is_normal: bool, is_stale: bool) {
        if self.world.started >= self.rules.drivers {
            return;
        }
        let journal = self.world.journal;
        let known = if is_stale {
            self.lore.parent(journal)
        } else {
            journal
        };
        if is_stale && known == journal {
            return;
        }
        let at = if self.lore.state(known).finished.is_some() {
            At::Free
        } else {
            At::Noting(Note::Resumed)
        };
        let mut to = *self.world;
        to.started += 1;
        to.mishaps += u8::from(!is_normal);
        to.failed = false;
        to.drivers[to.live()] = Some(Driver::new(to.started, known, at));
        let what = match (is_normal, is_stale) {
            (_, true) => "another goes on, by what it reads too early",
            (true, _) => "another goes on",
            (false, _) => "another goes on, although there is one",
        };
        self.add(0, what, is_normal, to);
    }
}

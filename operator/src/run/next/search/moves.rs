//! What can happen in a world: each driver takes its next step, and what goes wrong goes wrong.
//!
//! What is next it asks of the function that ships; how it is done is told here as `engine/`, `journal.rs` and
//! `publish.rs` do it, cut wherever something may come between.

use super::lore::{Held, Lore, id, living};
use super::notes::{Answer, Fate, Note};
use super::texts::{REPORT, object};
use super::world::{At, DRIVERS, Driver, Flight, Pod, World};
use super::{Flaw, Rules, Wrong};
use crate::agent::Step;
use crate::agent::prompts::Role;
use crate::run::next::{Act, Deed, Stage};

/// Something that can happen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    /// The number of the driver; 0 is none.
    pub(super) who: u8,
    pub(super) what: &'static str,
    /// Whether nothing goes wrong.
    pub(super) is_normal: bool,
    pub(super) to: World,
    pub(super) wrong: Option<Wrong>,
}

/// What a driver finds of its sandbox.
pub(super) enum Found {
    Its(Pod),
    Lost,
    Anothers,
}

pub(super) struct Moves<'a> {
    pub(super) world: &'a World,
    pub(super) lore: &'a mut Lore,
    pub(super) rules: &'a Rules,
    all: &'a mut Vec<Move>,
}

/// All that can happen.
pub(super) fn moves(world: &World, lore: &mut Lore, rules: &Rules, all: &mut Vec<Move>) {
    let mut moves = Moves {
        world,
        lore,
        rules,
        all,
    };
    for slot in 0..DRIVERS {
        if let Some(driver) = world.drivers[slot] {
            moves.step(slot, driver);
            moves.crash(slot, driver);
            moves.fail(slot, driver);
        }
    }
    moves.surroundings();
}

impl Moves<'_> {
    pub(super) fn add(&mut self, who: u8, what: &'static str, is_normal: bool, to: World) {
        self.all.push(Move {
            who,
            what,
            is_normal,
            to,
            wrong: None,
        });
    }

    /// A driver goes on.
    pub(super) fn go(&mut self, slot: usize, driver: Driver, what: &'static str) {
        let mut to = *self.world;
        to.drivers[slot] = Some(driver);
        self.add(driver.writer, what, true, to);
    }

    fn note(&mut self, slot: usize, driver: Driver, note: Note) {
        let mut driver = driver;
        if self.rules.flaw == Some(Flaw::ActsUnheard) && self.world.flying.is_none() {
            let mut to = *self.world;
            to.flying = Some(Flight::Entry(driver.known, driver.writer, note));
            driver.known = self.lore.with(driver.known, driver.writer, note);
            driver.at = At::Free;
            to.drivers[slot] = Some(driver);
            self.add(driver.writer, "sends an entry, and goes on", true, to);
            return;
        }
        driver.at = At::Noting(note);
        self.go(slot, driver, "has something to note");
    }

    /// It ends with an error, or at its end.
    fn end(&mut self, slot: usize, driver: &Driver, what: &'static str) {
        let mut to = *self.world;
        to.close(slot, driver);
        self.add(driver.writer, what, true, to);
    }

    pub(super) fn leave(&mut self, slot: usize, driver: &Driver, what: &'static str) {
        let mut to = *self.world;
        to.leave(slot, driver);
        self.add(driver.writer, what, true, to);
    }

    pub(super) fn wrong_if(&mut self, is_wrong: bool, wrong: Wrong) {
        if is_wrong && let Some(last) = self.all.last_mut() {
            last.wrong = Some(wrong);
        }
    }

    fn step(&mut self, slot: usize, driver: Driver) {
        match driver.at {
            At::Free => self.act(slot, driver),
            At::Noting(note) => self.append(slot, driver, note),
            At::Writing(object) => self.write(slot, driver, object),
            At::Asking => {
                for answer in self.rules.answers {
                    let at = At::Noting(Note::Answered(*answer));
                    self.go(slot, Driver { at, ..driver }, said(*answer));
                }
            }
            At::Filling(role) => self.fill(slot, driver, role),
        }
    }

    /// As `Journal::append` does.
    fn append(&mut self, slot: usize, driver: Driver, note: Note) {
        let own = self.lore.with(driver.known, driver.writer, note);
        match self.lore.entry_after(driver.known, self.world.journal) {
            None => {
                let mut to = *self.world;
                to.journal = own;
                self.add(driver.writer, "its entry is written", true, to);
            }
            Some(there) if there == own => self.noted(slot, Driver { known: own, ..driver }, note),
            Some(_) => self.leave(slot, &driver, "finds an entry of another, and stops"),
        }
    }

    fn noted(&mut self, slot: usize, mut driver: Driver, note: Note) {
        driver.at = At::Free;
        driver.written = false;
        match note {
            // The model's error ends the run, or the summary.
            Note::Unanswered if self.lore.state(driver.known).at_work() == Some(Role::Cataloging) => {
                return self.end(slot, &driver, "ends, since the model is away");
            }
            Note::Unanswered => driver.no_summary = true,
            _ => {}
        }
        self.go(slot, driver, "hears that its entry is written");
    }

    /// As `publish` does.
    fn write(&mut self, slot: usize, driver: Driver, object: u8) {
        let content = self.lore.content(driver.known, object);
        let there = self.world.objects[usize::from(object)];
        let published = Driver {
            written: true,
            at: At::Free,
            ..driver
        };
        if there == 0 || self.rules.flaw == Some(Flaw::Overwrites) {
            let mut to = *self.world;
            to.objects[usize::from(object)] = content;
            if self.rules.flaw == Some(Flaw::Overwrites) && object != REPORT {
                to.drivers[slot] = Some(published);
            }
            self.add(driver.writer, "its object is written", true, to);
            self.wrong_if(there != 0, Wrong::PublishedTwice);
            self.wrong_if(self.is_late(object), Wrong::WrittenAfterTheEnd);
        } else if there != content {
            self.end(slot, &driver, "finds an object of another, and ends");
        } else if object == REPORT {
            self.end(slot, &driver, "is done");
        } else {
            self.go(slot, published, "hears that its object is written");
        }
    }

    /// As `Engine::publish` does: what an object is is noted before.
    fn publish(&mut self, slot: usize, driver: Driver, object: u8) {
        let own = self.lore.content(driver.known, object);
        let mut there = self.world.objects[usize::from(object)];
        if self.rules.flaw == Some(Flaw::Overwrites) {
            there = 0;
        }
        let at = At::Writing(object);
        match self.lore.noted(driver.known, object) {
            Some(noted) if there == noted => {
                let driver = Driver {
                    written: true,
                    ..driver
                };
                self.go(slot, driver, "finds its object written");
            }
            Some(_) if there != 0 => self.end(slot, &driver, "finds an object of another, and ends"),
            Some(noted) if noted == own => self.go(slot, Driver { at, ..driver }, "publishes"),
            _ => self.note(slot, driver, Note::Published(own)),
        }
    }

    /// Whether the journal says that all is done.
    pub(super) fn is_late(&self, object: u8) -> bool {
        object != REPORT && self.lore.state(self.world.journal).finished.is_some()
    }

    fn act(&mut self, slot: usize, driver: Driver) {
        let held = Held {
            boot: driver.boot,
            late: driver.late,
            no_summary: driver.no_summary,
            written: driver.written,
        };
        let act = self.lore.next(driver.known, held);
        let before = self.all.len();
        match &*act {
            Act::Finish => {
                let state = self.lore.state(driver.known);
                let ended = state.of(Role::Summary).and_then(|work| work.ended.as_ref());
                let no_summary = driver.no_summary || ended.is_some_and(|(_, failure)| failure.is_some());
                self.note(slot, driver, Note::Finished { no_summary });
            }
            Act::Report => self.go(
                slot,
                Driver {
                    at: At::Writing(REPORT),
                    ..driver
                },
                "writes run.json",
            ),
            Act::Fail(_) => {
                let mut to = *self.world;
                to.close(slot, &driver);
                to.failed = self.world.journal == driver.known;
                self.add(driver.writer, "ends without a catalog", true, to);
            }
            Act::For(role, deed) => self.deed(slot, driver, *role, deed),
        }
        let reaches_out = !matches!(
            &*act,
            Act::Finish
                | Act::For(
                    _,
                    Deed::Begin | Deed::Check { .. } | Deed::End(_) | Deed::Prepare(Stage::Open)
                )
        );
        if reaches_out && !self.lore.begins_with(self.world.journal, driver.known) {
            for it in &mut self.all[before..] {
                it.wrong = Some(Wrong::ActedUnheard);
            }
        }
    }

    fn deed(&mut self, slot: usize, driver: Driver, role: Role, deed: &Deed) {
        match deed {
            Deed::Prepare(Stage::Open) => self.open(slot, driver),
            Deed::Prepare(Stage::Survey) => {
                if let Some(pod) = self.pod(slot, driver) {
                    let mut to = *self.world;
                    to.pod = Some(self.begin_session(pod, role, Vec::new()));
                    to.drivers[slot] = Some(Driver {
                        surveyed: true,
                        at: At::Noting(Note::Surveyed),
                        ..driver
                    });
                    self.add(driver.writer, "surveys the database", true, to);
                }
            }
            Deed::Prepare(Stage::Equip) if driver.surveyed => self.fill(slot, driver, role),
            Deed::Prepare(Stage::Equip) => {
                if let Some(pod) = self.pod(slot, driver) {
                    let mut to = *self.world;
                    to.pod = Some(self.begin_session(pod, role, Vec::new()));
                    let at = At::Filling(role);
                    to.drivers[slot] = Some(Driver { at, ..driver });
                    self.add(driver.writer, "begins a session", true, to);
                }
            }
            Deed::Begin => self.note(slot, driver, Note::Began(role)),
            Deed::Ask => self.ask(slot, driver, role),
            Deed::Execute { index, code } => self.execute(slot, driver, role, (*index, code)),
            Deed::Check { .. } => self.note(slot, driver, Note::Checked),
            Deed::End(failure) => {
                let failure = self.lore.failure(failure.as_ref());
                self.note(slot, driver, Note::Ended(role, failure));
            }
            Deed::Publish(what) => {
                self.publish(slot, driver, object(role, *what));
            }
        }
    }

    fn ask(&mut self, slot: usize, driver: Driver, role: Role) {
        let mut to = *self.world;
        to.asked += 1;
        to.drivers[slot] = Some(Driver {
            at: At::Asking,
            ..driver
        });
        self.add(driver.writer, "asks the model", true, to);
        let state = self.lore.state(driver.known);
        let elapsed = std::time::Duration::ZERO;
        let asks = state
            .of(role)
            .is_some_and(|it| it.agent.next(elapsed) == Step::Ask);
        self.wrong_if(!asks, Wrong::AskedAgain);
        if let Found::Its(pod) = self.found(&driver) {
            let fits = self.session_has(pod, role, &living(&state, role));
            self.wrong_if(!fits, Wrong::StrangeSession);
        }
    }

    fn session_has(&self, pod: Pod, role: Role, code: &[String]) -> bool {
        let session = self.lore.session_of(pod.session);
        session.is_some_and(|session| session.role == role && session.ran == code)
    }

    fn execute(&mut self, slot: usize, driver: Driver, role: Role, (index, code): (usize, &String)) {
        let pod = match self.found(&driver) {
            Found::Its(pod) => pod,
            Found::Lost => {
                let driver = Driver { boot: 0, ..driver };
                return self.note(slot, driver, Note::Ran(Fate::Lost));
            }
            Found::Anothers => return self.leave(slot, &driver, "finds its sandbox with another, and stops"),
        };
        let state = self.lore.state(driver.known);
        let id = id(&state, index);
        let session = self.lore.session_of(pod.session).cloned();
        let known = session
            .as_ref()
            .and_then(|it| it.calls.iter().find(|call| call.0 == id));
        if let Some((_, ran, fate)) = known {
            let other = ran != code;
            self.note(slot, driver, Note::Ran(*fate));
            return self.wrong_if(other, Wrong::StrangeSession);
        }
        let fits = self.session_has(pod, role, &living(&state, role));
        let Some(session) = session else {
            self.go(slot, driver, "runs code without a session");
            return self.wrong_if(true, Wrong::StrangeSession);
        };
        for fate in [Fate::Ran, Fate::Forgotten] {
            if fate == Fate::Forgotten && self.world.mishaps >= self.rules.mishaps {
                continue;
            }
            let mut after = session.clone();
            after.calls.push((id, code.clone(), fate));
            after.ran.push(code.clone());
            if fate == Fate::Forgotten {
                after.ran.clear();
            }
            let session = self.lore.session(after);
            let mut to = *self.world;
            to.pod = Some(Pod { session, ..pod });
            to.mishaps += u8::from(fate == Fate::Forgotten);
            self.add(driver.writer, "its code runs", fate == Fate::Ran, to);
            self.wrong_if(!fits, Wrong::StrangeSession);
        }
    }
}

fn said(answer: Answer) -> &'static str {
    match answer {
        Answer::Execute => "hears the model: code",
        Answer::Submit => "hears the model: a page",
        Answer::Wrong => "hears the model: a page with a script in it",
        Answer::Both => "hears the model: code and a page",
        Answer::Refuse => "hears the model: it refuses",
    }
}

//! What follows from a journal, by the code that ships: journals are kept once, by a number, and each is folded once.
//!
//! It must not know who writes them, or when.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::Flaw;
use super::notes::{Fate, LIMITS, Note, claim, handed_in, plain, ran, turn};
use super::texts::{OBJECTS, REPORT, Texts, name};
use crate::agent::prompts::Role;
use crate::run::next::{Act, Deed, Here, Object, next};
use crate::run::record::{Entry, Failure, Moment, Ready, Record, VERSION};
use crate::run::state::{State, Work};
use crate::run::workplace::call_id;
use crate::sandbox::{BootId, CallId};

/// A journal, by its number.
pub(super) type Journal = u32;
/// The one that only claims the run.
pub(super) const CLAIMED: Journal = 0;
/// More sandboxes than these are not told apart.
const BOOTS: u8 = 8;

/// What a driver holds, and no journal tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Its sandbox, from 1; 0 is none.
    pub(super) boot: u8,
    pub(super) late: bool,
    pub(super) no_summary: bool,
    /// Whether it has seen that the object which was noted last is there.
    pub(super) written: bool,
}

/// A session of Python in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) role: Role,
    /// The code that has made its variables.
    pub(super) ran: Vec<String>,
    /// The calls of the model that the sandbox has the answers of.
    pub(super) calls: Vec<(CallId, String, Fate)>,
}

struct Page {
    parent: Journal,
    length: u32,
    /// The number of what its entries say, whoever wrote them.
    fold: usize,
}

/// What entries say.
struct Fold {
    /// The number of what they say without the last.
    before: usize,
    state: Rc<State>,
    /// How often the model was asked.
    asked: u32,
    acts: Vec<Option<Rc<Act>>>,
    contents: [Option<u16>; OBJECTS],
}

/// All journals so far.
pub(super) struct Lore {
    flaw: Option<Flaw>,
    pages: Vec<Page>,
    longer: HashMap<(Journal, u8, Note), Journal>,
    folds: Vec<Fold>,
    longer_folds: HashMap<(usize, Note), usize>,
    texts: Texts,
    failures: Vec<Option<Failure>>,
    sessions: Vec<Session>,
    session_numbers: HashMap<Session, u32>,
    boots: Vec<BootId>,
    at: Moment,
}

impl Lore {
    pub(super) fn new(flaw: Option<Flaw>) -> Self {
        let at: Moment = serde_json::from_value(json!("2026-11-21T12:00:00.000Z")).unwrap();
        let boots = (0..BOOTS).map(|boot| format!("{boot:032x}"));
        let first = Entry {
            version: VERSION,
            writer: "1".to_owned(),
            at,
            record: Record::Claimed(claim()),
        };
        Self {
            flaw,
            pages: vec![Page {
                parent: CLAIMED,
                length: 1,
                fold: 0,
            }],
            longer: HashMap::new(),
            folds: vec![Fold {
                before: 0,
                state: Rc::new(State::new(first).unwrap()),
                asked: 0,
                acts: Vec::new(),
                contents: [None; OBJECTS],
            }],
            longer_folds: HashMap::new(),
            texts: Texts::new(flaw),
            failures: Vec::new(),
            sessions: Vec::new(),
            session_numbers: HashMap::new(),
            boots: boots
                .map(|id| serde_json::from_value(json!(id)).unwrap())
                .collect(),
            at,
        }
    }

    /// How many journals were folded.
    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    fn page(&self, journal: Journal) -> &Page {
        &self.pages[journal as usize]
    }

    fn fold(&self, journal: Journal) -> &Fold {
        &self.folds[self.page(journal).fold]
    }

    pub(super) fn state(&self, journal: Journal) -> Rc<State> {
        Rc::clone(&self.fold(journal).state)
    }

    pub(super) fn asked(&self, journal: Journal) -> u32 {
        self.fold(journal).asked
    }

    pub(super) fn parent(&self, journal: Journal) -> Journal {
        self.page(journal).parent
    }

    /// The content of an object that was noted last, and may not be there.
    pub(super) fn noted(&self, journal: Journal, object: u8) -> Option<u16> {
        let state = &self.fold(journal).state;
        let noted = state.in_doubt(&name(state, object))?;
        self.texts.number(object, &noted.sha256)
    }

    /// What is left of a journal without the entries that come after `known` and one more; none if there is none more.
    pub(super) fn entry_after(&self, known: Journal, mut journal: Journal) -> Option<Journal> {
        let length = self.page(known).length + 1;
        while self.page(journal).length > length {
            journal = self.page(journal).parent;
        }
        (self.page(journal).length == length).then_some(journal)
    }

    /// Whether all that is known is there.
    pub(super) fn begins_with(&self, mut journal: Journal, known: Journal) -> bool {
        while self.page(journal).length > self.page(known).length {
            journal = self.page(journal).parent;
        }
        journal == known
    }

    /// What is next, by the function that ships.
    pub(super) fn next(&mut self, known: Journal, held: Held) -> Rc<Act> {
        let slot = [held.late, held.no_summary, held.written]
            .iter()
            .fold(usize::from(held.boot), |slot, bit| slot * 2 + usize::from(*bit));
        let number = self.page(known).fold;
        let fold = &mut self.folds[number];
        if fold.acts.is_empty() {
            fold.acts = vec![None; usize::from(BOOTS) * 8];
        }
        if let Some(act) = &fold.acts[slot] {
            return Rc::clone(act);
        }
        let (mut state, before, asked) = (Rc::clone(&fold.state), fold.before, fold.asked);
        if held.written {
            let mut written = (*state).clone();
            written.is_written();
            state = Rc::new(written);
        }
        let mut sandbox = (held.boot > 0).then(|| self.boots[usize::from(held.boot)].clone());
        match self.flaw {
            // As if its own entry had not been folded.
            Some(Flaw::SkipsAnswer) if asked > self.folds[before].asked => {
                state = Rc::clone(&self.folds[before].state);
            }
            Some(Flaw::TrustsAnySandbox) if sandbox.is_some() => {
                sandbox = state.ready.as_ref().map(|ready| ready.boot.clone()).or(sandbox);
            }
            _ => {}
        }
        let here = Here {
            sandbox: sandbox.as_ref(),
            elapsed: if held.late { LIMITS.time } else { Duration::ZERO },
            no_summary: held.no_summary.then_some("the model is away"),
        };
        let mut act = next(&state, &here);
        if self.flaw == Some(Flaw::ForgetsPage)
            && matches!(&act, Act::For(Role::Summary, Deed::Publish(Object::Page)))
        {
            act = Act::Finish;
        }
        let act = Rc::new(act);
        self.folds[number].acts[slot] = Some(Rc::clone(&act));
        act
    }

    /// A journal with one more entry.
    pub(super) fn with(&mut self, journal: Journal, writer: u8, note: Note) -> Journal {
        if let Some(longer) = self.longer.get(&(journal, writer, note)) {
            return *longer;
        }
        let page = self.page(journal);
        let (length, before) = (page.length + 1, page.fold);
        let fold = match self.longer_folds.get(&(before, note)) {
            Some(known) => *known,
            None => self.folded(before, note),
        };
        let number = Journal::try_from(self.pages.len()).unwrap();
        self.pages.push(Page {
            parent: journal,
            length,
            fold,
        });
        self.longer.insert((journal, writer, note), number);
        number
    }

    /// What entries say with one more, by the code that ships. It is nothing to that who wrote them.
    fn folded(&mut self, before: usize, note: Note) -> usize {
        let mut state = (*self.folds[before].state).clone();
        let entry = Entry {
            version: VERSION,
            writer: String::new(),
            at: self.at,
            record: self.record(&state, note),
        };
        state.apply(entry).unwrap();
        let asks = matches!(note, Note::Answered(_) | Note::Unanswered);
        self.folds.push(Fold {
            before,
            state: Rc::new(state),
            asked: self.folds[before].asked + u32::from(asks),
            acts: Vec::new(),
            contents: [None; OBJECTS],
        });
        let number = self.folds.len() - 1;
        self.longer_folds.insert((before, note), number);
        number
    }

    fn record(&mut self, state: &State, note: Note) -> Record {
        match note {
            Note::Ready(role, boot) => {
                let gone = state
                    .of(role)
                    .is_some_and(|work| work.living_cells().len() < work.cells.len());
                Record::Ready(Ready {
                    role,
                    boot: self.boots[usize::from(boot)].clone(),
                    notice: gone.then(|| "[Files are gone.]".to_owned()),
                })
            }
            Note::Checked => {
                let (role, page) = handed_in(state);
                Record::Checked {
                    problem: self.texts.page(state, role, page).clone().err(),
                }
            }
            Note::Ended(role, failure) => Record::Ended {
                role,
                failure: self.failures[usize::from(failure)].clone(),
            },
            Note::Published(number) => Record::Published(self.texts.described(state, number)),
            Note::Answered(answer) => Record::Answered {
                turn: turn(answer, state.spent().turns),
                cost: None,
            },
            Note::Ran(fate) => Record::Ran(ran(state, fate)),
            note => plain(note),
        }
    }

    /// What is written as an object.
    pub(super) fn content(&mut self, journal: Journal, object: u8) -> u16 {
        let slot = usize::from(object);
        if let Some(number) = self.fold(journal).contents[slot] {
            return number;
        }
        let state = self.state(journal);
        let number = self.texts.content(&state, object);
        let fold = self.page(journal).fold;
        self.folds[fold].contents[slot] = Some(number);
        number
    }

    /// Whether the objects of a run that is finished are those that its journal tells of.
    pub(super) fn is_whole(&mut self, journal: Journal, objects: &[u16; OBJECTS]) -> bool {
        let state = self.state(journal);
        let there = |object: u8| {
            let number = objects[usize::from(object)];
            match state.published.iter().find(|it| it.name == name(&state, object)) {
                Some(told) => number != 0 && self.texts.described(&state, number) == *told,
                None => number == 0,
            }
        };
        let summarized = state.of(Role::Summary).is_some_and(|work| work.page().is_some());
        let published = if summarized { 4 } else { 2 };
        (0..REPORT).all(there)
            && state.published.len() == published
            && self.content(journal, REPORT) == objects[usize::from(REPORT)]
    }

    /// The number of a failure, or of none.
    pub(super) fn failure(&mut self, failure: Option<&Failure>) -> u8 {
        let known = self.failures.iter().position(|it| it.as_ref() == failure);
        let number = known.unwrap_or_else(|| {
            self.failures.push(failure.cloned());
            self.failures.len() - 1
        });
        u8::try_from(number).unwrap()
    }

    /// The number of a session; 0 is none.
    pub(super) fn session(&mut self, session: Session) -> u32 {
        if let Some(known) = self.session_numbers.get(&session) {
            return *known;
        }
        self.sessions.push(session.clone());
        let number = u32::try_from(self.sessions.len()).unwrap();
        self.session_numbers.insert(session, number);
        number
    }

    /// The session of a number.
    pub(super) fn session_of(&self, number: u32) -> Option<&Session> {
        self.sessions.get((number as usize).checked_sub(1)?)
    }

    /// The sandbox that the journal knows; 0 if none.
    pub(super) fn known_boot(&self, journal: Journal) -> u8 {
        let ready = self.fold(journal).state.ready.as_ref();
        let number = ready.and_then(|ready| self.boots.iter().position(|boot| *boot == ready.boot));
        number.map_or(0, |number| u8::try_from(number).unwrap())
    }
}

/// The id of the model's call that is to be made.
pub(super) fn id(state: &State, index: usize) -> CallId {
    call_id(state.calls_from(), index)
}

/// The code that has made the variables of an agent, as its journal has it.
pub(super) fn living(state: &State, role: Role) -> Vec<String> {
    let cells = state.of(role).map_or(&[][..], Work::living_cells);
    cells
        .iter()
        .filter(|ran| ran.status.is_some())
        .map(|ran| ran.code.clone())
        .collect()
}

//! What is written as an object, by the code that ships: each text is made once for all journals that it follows from,
//! and known by its number.
//!
//! It must not know what a journal is.

use std::collections::HashMap;

use super::Flaw;
use crate::agent::prompts::Role;
use crate::redact::Redactor;
use crate::run::next::Object;
use crate::run::record::Published;
use crate::run::state::{State, Work};
use crate::run::{content, provenance, report, sha256};
use crate::store::{Layout, Prefix};

/// The objects of a run's folder, in the order in which they are written.
pub(super) const OBJECTS: usize = 5;
/// `run.json`
pub(super) const REPORT: u8 = 4;

type Page = Result<String, String>;

/// All texts so far. Number 0 is for what is not there.
pub(super) struct Texts {
    flaw: Option<Flaw>,
    known: Vec<Text>,
    /// By the hashes of what they say.
    numbers: HashMap<(u8, String), u16>,
    /// By what a page and its frame say.
    pages: HashMap<(Role, String), Page>,
    redactor: Redactor,
}

struct Text {
    object: u8,
    bytes: u64,
    sha256: String,
}

impl Texts {
    pub(super) fn new(flaw: Option<Flaw>) -> Self {
        Self {
            flaw,
            known: Vec::new(),
            numbers: HashMap::new(),
            pages: HashMap::new(),
            redactor: Redactor::builder().build(),
        }
    }

    fn text(&self, number: u16) -> Option<&Text> {
        self.known.get(usize::from(number).checked_sub(1)?)
    }

    /// The number of the text of an object, by its hash.
    pub(super) fn number(&self, object: u8, sha256: &str) -> Option<u16> {
        self.numbers.get(&(object, sha256.to_owned())).copied()
    }

    /// What an entry says of it.
    pub(super) fn described(&self, state: &State, number: u16) -> Published {
        let text = self.text(number).unwrap();
        Published {
            name: name(state, text.object),
            bytes: text.bytes,
            sha256: text.sha256.clone(),
        }
    }

    /// What is written as an object of a run.
    pub(super) fn content(&mut self, state: &State, object: u8) -> u16 {
        let role = role_of(object);
        let mut text = if object == REPORT {
            report::text(state, &self.redactor).unwrap().unwrap()
        } else if is_page(object) {
            let page = state.of(role).and_then(Work::page).unwrap();
            self.page(state, role, page).clone().unwrap()
        } else {
            content::script(state, &self.redactor, role)
        };
        if self.flaw == Some(Flaw::SaysWhoWrites) {
            text += &state.attempts.to_string();
        }
        let sha256 = sha256(text.as_bytes());
        if let Some(number) = self.number(object, &sha256) {
            return number;
        }
        self.known.push(Text {
            object,
            bytes: text.len() as u64,
            sha256: sha256.clone(),
        });
        let number = u16::try_from(self.known.len()).unwrap();
        self.numbers.insert((object, sha256), number);
        number
    }

    /// A page as it is published, or what is wrong with it.
    pub(super) fn page(&mut self, state: &State, role: Role, page: &str) -> &Page {
        let frame = provenance::frame(state, role);
        let key = (role, format!("{frame:?}{page}"));
        let make = || content::framed(frame, &self.redactor, role, page);
        self.pages.entry(key).or_insert_with(make)
    }
}

fn is_page(object: u8) -> bool {
    object % 2 == 1
}

fn role_of(object: u8) -> Role {
    Role::ALL[usize::from(object / 2).min(1)]
}

/// The number of an object.
pub(super) fn object(role: Role, object: Object) -> u8 {
    let of_role = if role == Role::Cataloging { 0 } else { 2 };
    of_role + u8::from(object == Object::Page)
}

/// What it is called.
pub(super) fn name(state: &State, object: u8) -> String {
    let kind = if is_page(object) {
        Object::Page
    } else {
        Object::Script
    };
    let key = kind.key(&Layout::new(Prefix::root()), state.claim.run, role_of(object));
    key.name().to_owned()
}

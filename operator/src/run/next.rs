//! What is next for a run: the one place that decides it.
//!
//! It follows from the journal, folded, and from what whoever drives the run holds besides. It does nothing, and must
//! not know how anything is done.

use std::time::Duration;

use super::record::Failure;
use super::state::{State, Work};
use crate::agent::budget::UsedUp;
use crate::agent::prompts::Role;
use crate::agent::{Defeat, Step};
use crate::sandbox::BootId;
use crate::store::{Key, Layout, Prefix, RunId};

/// What the driver of a run holds, and no journal tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Here<'a> {
    /// Its sandbox.
    pub(super) sandbox: Option<&'a BootId>,
    /// How long the run was driven, up to now.
    pub(super) elapsed: Duration,
    /// Why there can be no summary, if it has seen that.
    pub(super) no_summary: Option<&'a str>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Something for an agent.
    For(Role, Deed),
    /// Note that all is done.
    Finish,
    /// Write what follows from the journal, `run.json`: the last that is done.
    Report,
    /// Nothing: there will be no catalog.
    Fail(Failure),
}

/// What is to be done for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// Get it a sandbox, and make that as it needs it.
    Prepare(Stage),
    /// Give it its task.
    Begin,
    /// Ask the model.
    Ask,
    /// Run code.
    Execute {
        /// Which of the turn's calls it is.
        index: usize,
        /// The code.
        code: String,
    },
    /// Check a page.
    Check {
        /// The page.
        page: String,
    },
    /// Note that its work is over, and why without a page.
    End(Option<Failure>),
    /// Publish what it has made.
    Publish(Object),
}

/// How far a sandbox is from what an agent needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none.
    Open,
    /// What the database has is not known.
    Survey,
    /// The agent's session is not in it.
    Equip,
}

/// What an agent makes. The page is the last: who sees it sees all that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    /// Its code.
    Script,
    /// Its page.
    Page,
}

/// What is next.
pub(super) fn next(state: &State, here: &Here<'_>) -> Act {
    if state.finished.is_some() {
        return Act::Report;
    }
    let mut roles = Role::ALL.into_iter();
    roles
        .find_map(|role| for_role(state, here, role))
        .unwrap_or(Act::Finish)
}

/// What is next for the page of an agent; none if nothing is.
fn for_role(state: &State, here: &Here<'_>, role: Role) -> Option<Act> {
    // A summary that can't be leaves the catalog as it is.
    let trouble = here.no_summary.filter(|_| role == Role::Summary);
    let deed = match (state.of(role), trouble) {
        (None, None) => return Some(beginning(state, here, role)),
        (None, Some(_)) => return None,
        (Some(work), trouble) => match (&work.ended, trouble) {
            (None, None) => at_work(state, here, role, work),
            (None, Some(trouble)) => Deed::End(Some(Failure::Trouble(trouble.to_owned()))),
            (Some((_, None)), None) => Deed::Publish(unpublished(state, role)?),
            (Some((_, None)), Some(_)) => return None,
            (Some((_, Some(failure))), _) => {
                return (role == Role::Cataloging).then(|| Act::Fail(failure.clone()));
            }
        },
    };
    Some(Act::For(role, deed))
}

/// What an agent has made, and nobody sees yet.
fn unpublished(state: &State, role: Role) -> Option<Object> {
    let layout = Layout::new(Prefix::root());
    let mut objects = [Object::Script, Object::Page].into_iter();
    objects.find(|object| !state.is_published(object.key(&layout, state.claim.run, role).name()))
}

/// Before anything is paid for: is there a sandbox, and does it reach the database?
fn beginning(state: &State, here: &Here<'_>, role: Role) -> Act {
    if role == Role::Summary {
        return Act::For(role, Deed::Begin);
    }
    let limit = state.limits.time;
    if here.elapsed >= limit {
        return Act::Fail(Failure::Defeat(Defeat::UsedUp(UsedUp::Time { limit })));
    }
    Act::For(role, preparation(state, here, role).unwrap_or(Deed::Begin))
}

fn at_work(state: &State, here: &Here<'_>, role: Role, work: &Work) -> Deed {
    // What needs no sandbox gets none.
    let prepared = |deed| preparation(state, here, role).unwrap_or(deed);
    match work.agent.next(here.elapsed) {
        Step::Ask => prepared(Deed::Ask),
        Step::Execute { index, code } => prepared(Deed::Execute {
            index,
            code: code.to_owned(),
        }),
        Step::Check { page, .. } => Deed::Check {
            page: page.to_owned(),
        },
        Step::Done { .. } => Deed::End(None),
        Step::GiveUp(defeat) => Deed::End(Some(Failure::Defeat(defeat))),
    }
}

/// What the driver's sandbox lacks; none if it is as the agent needs it.
fn preparation(state: &State, here: &Here<'_>, role: Role) -> Option<Deed> {
    let stage = if here.sandbox.is_none() {
        Stage::Open
    } else if is_ready(state, here, role) {
        return None;
    } else if role == Role::Cataloging && state.survey.is_none() {
        Stage::Survey
    } else {
        Stage::Equip
    };
    Some(Deed::Prepare(stage))
}

/// Whether the driver's sandbox is as an agent needs it.
pub(super) fn is_ready(state: &State, here: &Here<'_>, role: Role) -> bool {
    let ready = state.ready.as_ref().filter(|ready| ready.role == role);
    ready.is_some_and(|ready| here.sandbox == Some(&ready.boot))
}

impl Object {
    /// Where it is.
    pub(super) fn key(self, layout: &Layout, run: RunId, role: Role) -> Key {
        match (role, self) {
            (Role::Cataloging, Self::Script) => layout.catalog_script(run),
            (Role::Cataloging, Self::Page) => layout.catalog(run),
            (Role::Summary, Self::Script) => layout.summary_script(run),
            (Role::Summary, Self::Page) => layout.summary(run),
        }
    }
}

#[cfg(test)]
mod search;

//! What a run knows: its entries, folded. A run that goes on and one that is read back are the same fold.
//!
//! It does nothing, and must not know where entries come from.

use std::collections::BTreeMap;
use std::time::Duration;

use super::outcome::by_turns;
use super::preflight::Survey;
use super::record::{Beginning, Claim, Entry, Failure, Moment, Published, Ran, Ready, Record};
use crate::agent::budget::{Limits, Spent};
use crate::agent::prompts::Role;
use crate::agent::{Agent, Step};
use crate::llm::prices::Cost;
use crate::llm::{Attempt, Message, ModelSpec, Turn, Usage};
use crate::sandbox::State as Variables;

/// No step takes longer. Where entries are further apart a clock has jumped, or the store could not be written to:
/// neither is the run's fault, and its time is limited.
const GAP: Duration = Duration::from_mins(15);

/// A run so far.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) claim: Claim,
    pub(super) limits: Limits,
    pub(super) began: Moment,
    /// How often somebody has driven it.
    pub(super) attempts: u32,
    pub(super) works: BTreeMap<Role, Work>,
    pub(super) published: Vec<Published>,
    /// The object that was noted last, until it is known to be there.
    in_doubt: Option<Published>,
    pub(super) finished: Option<Finish>,
    /// What is known of the database.
    pub(super) survey: Option<Survey>,
    /// The sandbox of the agent at work.
    pub(super) ready: Option<Ready>,
    /// The entries so far.
    pub(super) entries: u32,
    /// The agent at work.
    current: Option<Role>,
    ready_at: u32,
    answered_at: u32,
    /// How long it was driven, by all attempts and by those before this one.
    driven: Duration,
    driven_before: Duration,
    last: Moment,
}

/// How a run came to its end.
#[derive(Debug, Clone)]
pub(super) struct Finish {
    pub(super) at: Moment,
    pub(super) warnings: Vec<String>,
}

/// What an agent has done.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) beginning: Beginning,
    pub(super) agent: Agent,
    pub(super) cells: Vec<Ran>,
    /// The models that answered, and how many turns each.
    pub(super) answered: BTreeMap<(ModelSpec, String), u32>,
    /// Why others were asked in between.
    pub(super) failed: Vec<Attempt>,
    pub(super) began: Moment,
    pub(super) ended: Option<(Moment, Option<Failure>)>,
}

impl Work {
    /// The page that was accepted.
    pub(super) fn page(&self) -> Option<&str> {
        match self.agent.next(Duration::ZERO) {
            Step::Done { page } => Some(page),
            _ => None,
        }
    }
}

impl State {
    /// After the first entry.
    pub(super) fn new(first: Entry) -> Result<Self, String> {
        let Record::Claimed(claim) = first.record else {
            return Err("the first entry claims no run".to_owned());
        };
        Ok(Self {
            limits: claim.limits,
            claim,
            began: first.at,
            attempts: 1,
            works: BTreeMap::new(),
            published: Vec::new(),
            in_doubt: None,
            finished: None,
            survey: None,
            ready: None,
            entries: 1,
            current: None,
            ready_at: 0,
            answered_at: 0,
            driven: Duration::ZERO,
            driven_before: Duration::ZERO,
            last: first.at,
        })
    }

    /// After all entries.
    pub(super) fn fold(entries: Vec<Entry>) -> Result<Self, String> {
        let mut entries = entries.into_iter();
        let mut state = Self::new(entries.next().ok_or("there is no entry")?)?;
        for entry in entries {
            let number = state.entries + 1;
            state
                .apply(entry)
                .map_err(|problem| format!("entry {number}: {problem}"))?;
        }
        Ok(state)
    }

    /// After one more entry.
    pub(super) fn apply(&mut self, entry: Entry) -> Result<(), String> {
        let Entry {
            version, at, record, ..
        } = entry;
        self.entries += 1;
        // Whoever went on after an object was noted has found it there, or has written it.
        if !matches!(record, Record::Resumed { .. }) {
            self.in_doubt = None;
            self.driven += at.since(self.last).min(GAP);
        }
        match record {
            Record::Claimed(_) => return Err("the run is claimed once more".to_owned()),
            Record::Resumed { limits } => {
                self.driven_before = self.driven;
                self.attempts += 1;
                self.limits = limits;
                self.share();
                // With other limits, or in another try, a catalog may still come of it.
                if let Some(work) = self.works.get_mut(&Role::Cataloging)
                    && matches!(work.ended, Some((_, Some(_))))
                    && work.agent.try_again()
                {
                    work.ended = None;
                }
            }
            Record::Surveyed(survey) => self.survey = Some(survey),
            Record::Ready(ready) => {
                if let (Some(notice), Some(work)) = (&ready.notice, self.works.get_mut(&ready.role)) {
                    work.agent.notice(notice);
                }
                self.ready_at = self.entries;
                self.ready = Some(ready);
            }
            Record::Began(beginning) => {
                let role = beginning.role;
                let work = Work {
                    agent: Agent::new(beginning.task.clone(), self.limits),
                    beginning,
                    cells: Vec::new(),
                    answered: BTreeMap::new(),
                    failed: Vec::new(),
                    began: at,
                    ended: None,
                };
                self.works.insert(role, work);
                self.current = Some(role);
                self.share();
            }
            Record::Answered { turn, cost } => {
                self.answered_at = self.entries;
                self.work()?.answered(&turn, cost);
            }
            Record::Unanswered { attempts, cost, .. } => {
                let spent = attempts
                    .iter()
                    .fold(Usage::default(), |sum, attempt| sum + attempt.spent);
                let work = self.work()?;
                work.agent.unanswered(spent, cost);
                work.failed.extend(attempts);
            }
            Record::Shortened => {
                self.work()?.agent.shorten();
            }
            Record::Ran(ran) => {
                let work = self.work()?;
                work.agent.ran(&ran.told, !ran.ok());
                work.cells.push(ran);
            }
            Record::Checked { problem } => self.work()?.agent.checked(problem.as_deref()),
            Record::Ended { role, failure } => {
                let work = self
                    .works
                    .get_mut(&role)
                    .ok_or("an agent ends that never began")?;
                work.ended = Some((at, failure));
            }
            Record::Published(published) => {
                // Another release may have made another one of what was noted and never written.
                self.published.retain(|known| known.name != published.name);
                self.in_doubt = (version > 1).then(|| published.clone());
                self.published.push(published);
            }
            Record::Finished { warnings } => self.finished = Some(Finish { at, warnings }),
        }
        self.last = at;
        Ok(())
    }

    fn work(&mut self) -> Result<&mut Work, String> {
        self.current
            .and_then(|role| self.works.get_mut(&role))
            .ok_or_else(|| "no agent is at work".to_owned())
    }

    /// What an agent has done.
    pub(super) fn of(&self, role: Role) -> Option<&Work> {
        self.works.get(&role)
    }

    /// Whether an object is known to be there.
    pub(super) fn is_published(&self, name: &str) -> bool {
        self.in_doubt(name).is_none() && self.published.iter().any(|object| object.name == name)
    }

    /// What an object is that was noted, and may not be there.
    pub(super) fn in_doubt(&self, name: &str) -> Option<&Published> {
        self.in_doubt.as_ref().filter(|object| object.name == name)
    }

    /// What was noted last is there.
    pub(super) fn is_written(&mut self) {
        self.in_doubt = None;
    }

    /// The agent at work, or the last that was.
    pub(super) fn at_work(&self) -> Option<Role> {
        self.current
    }

    /// The models that answered, the one with the most turns first.
    pub(super) fn models(&self) -> Vec<ModelSpec> {
        let mut turns = BTreeMap::<ModelSpec, u32>::new();
        for ((asked, _), times) in self.works.values().flat_map(|work| &work.answered) {
            *turns.entry(asked.clone()).or_default() += times;
        }
        by_turns(turns)
    }

    /// What all agents have used.
    pub(super) fn spent(&self) -> Spent {
        self.works
            .values()
            .fold(Spent::default(), |sum, work| sum.and(work.agent.spent()))
    }

    /// How long the attempts before this one have driven the run.
    pub(super) fn driven_before(&self) -> Duration {
        self.driven_before
    }

    /// How long the run was driven, by its entries.
    pub(super) fn driven(&self) -> Duration {
        self.driven
    }

    /// The number of the entry that the ids of the calls of the last turn follow from: the same for whoever
    /// drives the run, and growing within one sandbox.
    pub(super) fn calls_from(&self) -> u32 {
        self.answered_at.max(self.ready_at)
    }

    /// Who catalogs leaves a part for the summary; who summarizes has what is left.
    fn share(&mut self) {
        let all = self.limits;
        let mut used = Spent::default();
        if let Some(catalog) = self.works.get_mut(&Role::Cataloging) {
            catalog.agent.set_limits(all.of_catalog());
            used = catalog.agent.spent();
        }
        if let Some(summary) = self.works.get_mut(&Role::Summary) {
            summary.agent.set_limits(all.after(&used));
        }
    }
}

impl Work {
    fn answered(&mut self, turn: &Turn, cost: Option<Cost>) {
        let model = (turn.asked.clone(), turn.model.clone());
        *self.answered.entry(model).or_default() += 1;
        self.failed.extend(turn.attempts.iter().cloned());
        self.agent.answered(turn, cost);
    }

    /// The model that answered last.
    pub(super) fn last_model(&self) -> Option<&ModelSpec> {
        let mut said = self.agent.messages().iter().rev();
        said.find_map(|message| match message {
            Message::Assistant(turn) => Some(&turn.asked),
            _ => None,
        })
    }

    /// The code that made the variables which are there now: of what ran before the session was last lost only
    /// files are left.
    pub(super) fn living_cells(&self) -> &[Ran] {
        let lost = self.cells.iter().rposition(|ran| ran.state == Variables::Lost);
        &self.cells[lost.map_or(0, |at| at + 1)..]
    }
}

#[cfg(test)]
mod tests;

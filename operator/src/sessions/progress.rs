//! What a run is at, out of its events: as much as a status shows.
//!
//! Pure. Must not know where it is shown.

use crate::agent::budget::Spent;
use crate::agent::prompts::Role;
use crate::llm;
use crate::run::{Event, Phase};
use crate::store::RunId;

use super::Assignment;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stage {
    /// The store is opened and looked through.
    #[default]
    Preparing,
    /// The sandbox is made.
    Provisioning,
    /// The agent explores and writes.
    Cataloging,
    /// The page is there; the summary is being written.
    Summarizing,
}

/// What a run is at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The run, once it has its name.
    pub run: Option<RunId>,
    /// How far it is.
    pub stage: Stage,
    /// The agent at work.
    pub agent: Option<Role>,
    /// The turn that the model is at.
    pub turn: u32,
    /// The model that was asked first, or answered last.
    pub model: String,
    /// What was used.
    pub spent: Spent,
    /// In a few words.
    pub message: String,
    /// The sandbox, once it answers.
    pub sandbox: Option<String>,
    /// What is in the sandbox's way.
    pub obstacle: Option<String>,
    /// Why the store can't be used, while it is waited for.
    pub store_away: Option<String>,
    /// Why the model has not been asked yet, while that is waited for.
    pub unasked: Option<String>,
    /// Why another run was begun in place of the one that was known.
    pub anew: Option<String>,
    /// What was published: names and addresses.
    pub published: Vec<(String, String)>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// So many warnings are kept; a run has few.
const WARNINGS: usize = 20;

impl Progress {
    pub(super) fn of(assignment: &Assignment) -> Self {
        Self {
            run: assignment.run,
            model: assignment.plan.model.to_string(),
            message: "looking through the bucket".to_owned(),
            ..Self::default()
        }
    }

    /// Takes in an event. Whether it is one that should be seen at once.
    pub fn take(&mut self, event: &Event) -> bool {
        match event {
            Event::Claimed { run, .. } => {
                self.run = Some(*run);
                "the run has its folder".clone_into(&mut self.message);
                true
            }
            Event::Resumed {
                run, entries, so_far, ..
            } => {
                self.run = Some(*run);
                self.message = format!("going on after {entries} entries of the journal");
                self.agent = so_far.role;
                self.spent = so_far.spent;
                self.turn = so_far.spent.turns;
                self.published.clone_from(&so_far.objects);
                if let Some(model) = &so_far.model {
                    self.model = model.to_string();
                }
                true
            }
            Event::Phase(phase) => self.enter(*phase),
            Event::Surveyed(survey) => {
                self.message = format!("found {} tables", survey.tables.len());
                false
            }
            Event::Began { role, .. } => {
                self.agent = Some(*role);
                false
            }
            Event::Asking { turn, of } => {
                self.unasked = None;
                self.turn = *turn;
                self.message = format!("asking the model, turn {turn} of at most {of}");
                false
            }
            Event::Model(progress) => {
                self.ask(progress);
                false
            }
            Event::Answered { model, spent, .. } => {
                self.unasked = None;
                self.model = model.to_string();
                self.spent = *spent;
                false
            }
            Event::Unanswered { spent, .. } => {
                self.unasked = None;
                self.spent = *spent;
                false
            }
            Event::Running { .. } => {
                "running code in the sandbox".clone_into(&mut self.message);
                false
            }
            Event::Checked { problem } => {
                if problem.is_some() {
                    "a page was refused, and is being mended".clone_into(&mut self.message);
                }
                false
            }
            Event::Rebuilding { cells } => {
                self.message = format!("running {cells} earlier calls again in a new sandbox");
                false
            }
            Event::Published { name, uri, .. } => {
                self.published.retain(|(known, _)| known != name);
                self.published.push((name.clone(), uri.clone()));
                name == "catalog.html"
            }
            Event::StoreAway { problem } => self
                .store_away
                .replace(format!("waits for the store: {problem}"))
                .is_none(),
            Event::StoreBack => self.store_away.take().is_some(),
            Event::Warning(message) => {
                if self.warnings.len() < WARNINGS {
                    self.warnings.push(message.clone());
                }
                false
            }
            _ => false,
        }
    }

    fn ask(&mut self, progress: &llm::Progress) {
        self.unasked = match progress {
            llm::Progress::Asked { .. } => None,
            llm::Progress::Waiting { why, .. } => Some(why.clone()),
            llm::Progress::Retrying { problem, after, .. } => {
                let seconds = after.as_secs().max(1);
                Some(format!("the model is asked again in {seconds} s: {problem}"))
            }
            llm::Progress::FellBack { to, problem, .. } => Some(format!("{to} is asked instead: {problem}")),
            // While it answers.
            _ => return,
        };
    }

    fn enter(&mut self, phase: Phase) -> bool {
        let (stage, message) = match phase {
            Phase::Preparing => (Stage::Preparing, "trying the bucket"),
            Phase::Provisioning => (Stage::Provisioning, "the sandbox is being made"),
            Phase::Cataloging => (Stage::Cataloging, "the agent is at work"),
            Phase::Summarizing => (Stage::Summarizing, "comparing with earlier catalogs"),
        };
        message.clone_into(&mut self.message);
        if stage == Stage::Provisioning {
            // The one that was there is lost, or has yet to be found.
            self.sandbox = None;
        }
        let changed = self.stage != stage;
        self.stage = stage;
        changed
    }

    /// What was known of the run is of no use: another one is begun in its place.
    pub fn begun_anew(&mut self, why: &str) -> bool {
        self.anew = Some(why.to_owned());
        false
    }

    /// The sandbox answers, by this name.
    pub fn sandbox_runs(&mut self, name: String) -> bool {
        self.obstacle = None;
        self.sandbox.replace(name.clone()) != Some(name)
    }

    /// Something is in the sandbox's way.
    pub fn sandbox_waits(&mut self, why: String) -> bool {
        self.sandbox = None;
        self.obstacle.replace(why.clone()) != Some(why)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_changes_the_phase_is_seen_at_once() {
        let mut progress = Progress::default();
        let run = "20261121T120000Z".parse().unwrap();
        let folder = String::new();
        assert!(progress.take(&Event::Claimed { run, folder }));
        assert!(progress.take(&Event::Phase(Phase::Provisioning)));
        assert!(!progress.take(&Event::Phase(Phase::Provisioning)));
        assert!(!progress.take(&Event::Asking { turn: 3, of: 50 }));
        assert_eq!(
            (progress.run, progress.turn, progress.message.as_str()),
            (Some(run), 3, "asking the model, turn 3 of at most 50")
        );
        let published = |uri: &str| Event::Published {
            name: "catalog.html".into(),
            uri: uri.into(),
            bytes: 1,
        };
        assert!(progress.take(&published("s3://a")));
        progress.take(&published("s3://b"));
        assert_eq!(
            progress.published,
            [("catalog.html".to_owned(), "s3://b".to_owned())]
        );
    }

    #[test]
    fn a_store_that_is_away_is_told_once() {
        let mut progress = Progress::default();
        let away = |problem: &str| Event::StoreAway {
            problem: problem.into(),
        };
        assert!(!progress.take(&Event::StoreBack));
        assert!(progress.take(&away("no answer")));
        assert!(!progress.take(&away("no route")));
        assert_eq!(
            progress.store_away.as_deref(),
            Some("waits for the store: no route")
        );
        assert!(progress.take(&Event::StoreBack));
        assert_eq!(progress.store_away, None);
    }

    #[test]
    fn why_a_model_is_not_asked_is_told_until_it_is() {
        let model = || "anthropic/a".parse().unwrap();
        let mut progress = Progress::default();
        let mut after = |event| {
            progress.take(&Event::Model(event));
            progress.unasked.clone()
        };
        let waiting = llm::Progress::Waiting {
            model: model(),
            why: "waiting for leave".into(),
        };
        assert_eq!(after(waiting).as_deref(), Some("waiting for leave"));
        assert_eq!(after(llm::Progress::Asked { model: model() }), None);
        let retrying = llm::Progress::Retrying {
            model: model(),
            problem: "error 529".into(),
            after: Duration::from_millis(1500),
        };
        let told = Some("the model is asked again in 1 s: error 529");
        assert_eq!(after(retrying).as_deref(), told);
        assert_eq!(after(llm::Progress::Thinking { bytes: 1 }).as_deref(), told);
        progress.take(&Event::Asking { turn: 3, of: 50 });
        assert_eq!(progress.unasked, None);
    }

    #[test]
    fn a_sandbox_is_there_or_something_is_in_its_way() {
        let mut progress = Progress::default();
        assert!(progress.sandbox_waits("no room".into()));
        assert!(!progress.sandbox_waits("no room".into()));
        assert!(progress.sandbox_runs("ns/pod".into()));
        assert_eq!(
            (progress.sandbox.as_deref(), &progress.obstacle),
            (Some("ns/pod"), &None)
        );
        // Another one is needed.
        progress.take(&Event::Phase(Phase::Cataloging));
        assert!(progress.sandbox.is_some());
        assert!(progress.take(&Event::Phase(Phase::Provisioning)));
        assert_eq!(progress.sandbox, None);
    }
}

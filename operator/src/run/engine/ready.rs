//! Sees to it that there is a sandbox as an agent needs it, also after one was lost.

use tokio::time::timeout;

use super::Engine;
use super::task::file_name;
use crate::agent::prompts::Role;
use crate::llm::cut;
use crate::run::event::{Event, Phase};
use crate::run::next::{Stage, is_ready};
use crate::run::record::{Ready, Record};
use crate::run::workplace::{File, Ids};
use crate::run::{RunError, preflight as survey};
use crate::sandbox::{Cell, Class, Executed, SandboxError, Status, Variables};

/// How often, in one attempt, a lost sandbox is replaced.
const REPLACEMENTS: u32 = 3;
/// Opens the database as the model's code will, and leaves nothing behind.
const CONNECT: &str = "connect_database().disconnect()";

impl Engine<'_> {
    /// Brings the sandbox a stage nearer to what an agent needs, within the time of the run.
    pub(super) async fn prepare(&mut self, role: Role, stage: Stage) -> Result<(), RunError> {
        let left = self.state.limits.time.saturating_sub(self.elapsed());
        let made = match timeout(left, self.make(role, stage)).await {
            Ok(Err(RunError::Sandbox(error))) if self.is_replaceable(&error) => {
                self.replace(&error).await;
                return Ok(());
            }
            Ok(made) => made?,
            // That the time is over, whoever says what is next will see.
            Err(_) => {
                self.place.discard().await;
                return Ok(());
            }
        };
        // Not within that time: who gives up an entry half way would not know whether it is there.
        if let Some(record) = made {
            let surveyed = match &record {
                Record::Surveyed(survey) => Some(survey.clone()),
                _ => None,
            };
            self.note(record).await?;
            if let Some(survey) = surveyed {
                (self.watch)(&Event::Surveyed(survey));
            }
        }
        if is_ready(&self.state, &self.here(), role) {
            (self.watch)(&Event::Ready { role });
        }
        Ok(())
    }

    /// Whether another sandbox may help. One that has run something else by an id of ours is none of ours.
    pub(super) fn is_replaceable(&self, error: &SandboxError) -> bool {
        let lost = error.class() == Class::Rebuild || matches!(error, SandboxError::Conflict { .. });
        lost && self.replaced < REPLACEMENTS
    }

    /// What is to be noted then.
    async fn make(&mut self, role: Role, stage: Stage) -> Result<Option<Record>, RunError> {
        let mut ids = Ids::before(self.journal.next());
        let env = self.variables(role);
        match stage {
            Stage::Open => {
                self.enter(Phase::Provisioning);
                let known = self.state.ready.as_ref().map(|ready| &ready.boot);
                self.place.open(known, &env).await?;
                Ok(None)
            }
            Stage::Survey => {
                self.place.reset(&mut ids, &env).await?;
                let survey = self.survey(&mut ids).await?;
                self.surveyed = self.place.boot().cloned();
                Ok(Some(Record::Surveyed(survey)))
            }
            Stage::Equip => {
                let Some(boot) = self.place.boot().cloned() else {
                    return Err(SandboxError::Closed.into());
                };
                // The session that the survey has made is as good as another.
                if self.surveyed.take().as_ref() != Some(&boot) {
                    self.place.reset(&mut ids, &env).await?;
                    self.fill(role, &mut ids).await?;
                }
                let notice = self.rebuild(role, &mut ids).await?;
                Ok(Some(Record::Ready(Ready { role, boot, notice })))
            }
        }
    }

    /// What an agent needs in its session before its own code.
    async fn fill(&self, role: Role, ids: &mut Ids) -> Result<(), RunError> {
        match role {
            Role::Cataloging => self.connect(ids).await?,
            Role::Summary => {
                for file in self.files().await? {
                    self.place.put(ids, &file).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes the variables of an agent again; what it must know, if not all is as it was.
    async fn rebuild(&self, role: Role, ids: &mut Ids) -> Result<Option<String>, RunError> {
        let Some(work) = self.state.of(role).filter(|work| !work.cells.is_empty()) else {
            return Ok(None);
        };
        let cells = work.living_cells();
        (self.watch)(&Event::Rebuilding { cells: cells.len() });
        let differ = self
            .place
            .rebuild(ids, cells, &self.cell(role, String::new()))
            .await?;
        let mut parts = Vec::new();
        if cells.len() < work.cells.len() {
            parts.push("Files that your earlier calls wrote are gone.".to_owned());
        }
        if !differ.is_empty() {
            // Whole messages are redacted, and cut then: half a secret is none that is known.
            let differ: Vec<String> = differ
                .iter()
                .map(|message| cut(&self.redact(message), 200))
                .collect();
            parts.push(format!(
                "Your last {} calls were run again, but not all came out as before: {}. Look at a variable before you \
                 rely on it.",
                cells.len(),
                differ.join("; ")
            ));
        }
        Ok((!parts.is_empty())
            .then(|| format!("[The Python session had to be made anew. {}]", parts.join(" "))))
    }

    /// Finds out whether the database is fit for the run, and which tables are meant.
    async fn survey(&mut self, ids: &mut Ids) -> Result<survey::Survey, RunError> {
        let cell = survey::cell(&self.plan.tables, self.plan.allow_writable);
        let executed = self.place.try_out(ids, &cell).await?;
        let Some(mut document) = survey::document(&executed.output) else {
            return Err(self.not_opened(executed));
        };
        self.parts.redactor.redact_json(&mut document);
        let survey = survey::read(document).map_err(|problem| RunError::Database {
            message: self.redact(&format!("the survey of it can't be read: {problem}")),
        })??;
        if let Some(risk) = survey.risk() {
            self.warn(&risk);
        }
        Ok(survey)
    }

    /// Opens the database as the model's code will. It was surveyed before.
    async fn connect(&self, ids: &mut Ids) -> Result<(), RunError> {
        let executed = self.place.try_out(ids, &Cell::new(CONNECT)).await?;
        if executed.ok {
            return Ok(());
        }
        Err(self.not_opened(executed))
    }

    fn not_opened(&self, executed: Executed) -> RunError {
        let Some(raised) = executed.error else {
            // The code is ours: what ended it is the sandbox's trouble, or it waited too long.
            let message = executed
                .detail
                .unwrap_or_else(|| executed.status.as_str().to_owned());
            return if executed.status == Status::Timeout {
                RunError::Database { message }
            } else {
                RunError::Sandbox(SandboxError::Setup { message })
            };
        };
        let first = raised.message.trim().lines().next().unwrap_or_default();
        RunError::Database {
            message: self.redact(&format!("{}: {first}", raised.name)),
        }
    }

    /// Only who catalogs sees the database.
    fn variables(&self, role: Role) -> Variables {
        let mut env = Variables::new();
        if role == Role::Cataloging {
            env.insert("DATABASE_URL", self.plan.database.url().clone());
        }
        env
    }

    /// The catalogs that the summary is made from.
    async fn files(&self) -> Result<Vec<File>, RunError> {
        let run = self.journal.run();
        let earlier = self
            .state
            .of(Role::Summary)
            .map_or(&[][..], |work| &work.beginning.earlier);
        let mut files = Vec::new();
        for run in std::iter::once(run).chain(earlier.iter().copied()) {
            // One that was removed meanwhile is missed by the code that looks for it, and the model sees that.
            if let Some(content) = self.reader().catalog(run).await? {
                files.push(File {
                    path: file_name(run),
                    content,
                });
            }
        }
        Ok(files)
    }

    /// Lets go of a lost sandbox.
    pub(super) async fn replace(&mut self, error: &SandboxError) {
        self.replaced += 1;
        // What is to be done about a loss is being done.
        let problem = match error {
            SandboxError::Lost(loss) => loss.to_string(),
            error => error.to_string(),
        };
        self.warn(&format!("the sandbox is replaced: {problem}"));
        self.place.discard().await;
    }
}

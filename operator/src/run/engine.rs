//! The road of a run: sandbox, catalog, publish, summary, publish, outcome. Each step that reaches outside is in
//! the journal before its effect is used, so a run that is cut off anywhere goes on where it was.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::claim::{Whose, claim, difference};
use super::context::Reader;
use super::event::{Event, Phase, Watch};
use super::journal::{self, Journal, JournalError, persist};
use super::record::{Beginning, Failure, Raised, Ran, Ready, Record};
use super::state::State;
use super::told::told;
use super::workplace::{File, Ids, Workplace, call_id};
use super::{Kind, Parts, Plan, RunError, clean, preflight as survey, publish, report, script};
use crate::agent::budget::{Spent, UsedUp};
use crate::agent::prompts::{Role, Value, Values};
use crate::agent::{Defeat, SYSTEM, Step, tools};
use crate::html;
use crate::llm::prices::Cost;
use crate::llm::{Attempt, Class as ModelClass, ModelError, Progress, Request, Usage, cut};
use crate::sandbox::{
    Cell, Class as SandboxClass, Executed, SandboxError, State as VariablesState, Status, Variables,
};
use crate::store::{Key, Layout, Prefix, RunId, preflight};

/// How much of the output of a piece of code a model sees, in bytes.
const OUTPUT: u32 = 16 * 1024;
/// How often, in one attempt, a lost sandbox is replaced.
const REPLACEMENTS: u32 = 3;
/// How many names are tried for a run.
const NAMES: u32 = 100;
/// Opens the database as the model's code will, and leaves nothing behind.
const CONNECT: &str = "connect_database().disconnect()";

/// A run that has come to its end.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The run.
    pub run: RunId,
    /// Where its objects are, by their names, in the order in which they were written.
    pub objects: Vec<(String, String)>,
    /// Why there is no summary, if there is none.
    pub summary_failure: Option<String>,
    /// What it used.
    pub spent: Spent,
    /// How long it was driven.
    pub driven: Duration,
    /// What else there is to know.
    pub warnings: Vec<String>,
}

/// Begins a run, and drives it to its end.
pub async fn start(plan: &Plan, parts: &Parts, watch: &Watch<'_>) -> Result<Outcome, RunError> {
    check(plan, parts)?;
    watch(&Event::Phase(Phase::Preparing));
    // To its end, also when nobody wants the run any more: it must remove what it writes.
    let proof = preflight::prove(&*parts.store, &parts.layout).await?;
    if parts.cancel.is_cancelled() {
        return Err(RunError::Interrupted);
    }
    let leftover = proof.leftover.map(|leftover| {
        format!("an object of the preflight stays, and old runs can't be removed: {leftover}")
    });
    let first = RunId::at(SystemTime::now());
    let mut from = first;
    for _ in 0..NAMES {
        let run = persist(&parts.cancel, || parts.layout.next_free(&*parts.store, from)).await?;
        let mut journal = Journal::new(
            (&*parts.store, &parts.layout),
            &parts.redactor,
            &parts.cancel,
            run,
            0,
        );
        match journal.append(Record::Claimed(claim(plan, parts, run))).await {
            Ok(entry) => {
                let state = State::new(entry).map_err(|problem| damaged(parts, run, problem))?;
                watch(&Event::Claimed {
                    run,
                    folder: parts.store.uri(&parts.layout.run_folder(run)),
                });
                return Engine::new(plan, parts, watch, journal, state, leftover)
                    .drive()
                    .await;
            }
            Err(JournalError::Overtaken { .. }) => from = run.following(),
            Err(error) => return Err(error.into()),
        }
    }
    Err(RunError::NoName { from: first })
}

/// Goes on with a run, to its end.
pub async fn resume(
    plan: &Plan,
    parts: &Parts,
    (run, whose): (RunId, Whose),
    watch: &Watch<'_>,
) -> Result<Outcome, RunError> {
    check(plan, parts)?;
    let entries = journal::load(&*parts.store, &parts.layout, &parts.cancel, run).await?;
    let Ok(count) = u32::try_from(entries.len()) else {
        return Err(JournalError::Full { run }.into());
    };
    if count == 0 {
        return Err(RunError::NotResumable(format!(
            "run {run} has no journal at {}",
            parts.store.uri(&parts.layout.journal_folder(run))
        )));
    }
    let mut state = State::fold(entries).map_err(|problem| damaged(parts, run, problem))?;
    let wanted = claim(plan, parts, run);
    if let Some(difference) = difference(&state.claim, &wanted, whose) {
        return Err(RunError::NotResumable(format!(
            "run {run} was begun for something else ({difference}): ask for the same, or start another run"
        )));
    }
    let mut journal = Journal::new(
        (&*parts.store, &parts.layout),
        &parts.redactor,
        &parts.cancel,
        run,
        count,
    );
    watch(&Event::Resumed {
        run,
        folder: parts.store.uri(&parts.layout.run_folder(run)),
        entries: count,
    });
    if state.finished.is_none() {
        let entry = journal.append(Record::Resumed { limits: plan.limits }).await?;
        state
            .apply(entry)
            .map_err(|problem| damaged(parts, run, problem))?;
    }
    Engine::new(plan, parts, watch, journal, state, None)
        .drive()
        .await
}

fn damaged(parts: &Parts, run: RunId, message: String) -> RunError {
    RunError::Journal(JournalError::Damaged {
        on: parts.store.uri(&parts.layout.journal_folder(run)),
        message,
    })
}

/// What can be seen to be wrong before anything is done.
fn check(plan: &Plan, parts: &Parts) -> Result<(), RunError> {
    if plan.tables.is_empty() {
        return Err(RunError::Input("no tables are named".to_owned()));
    }
    if plan.limits.cost.is_some()
        && let Some(unknown) = std::iter::once(&plan.model)
            .chain(&plan.fallbacks)
            .find(|model| parts.prices.get(model).is_none())
    {
        return Err(RunError::Input(format!(
            "the cost is limited, and what {unknown} costs is not known: give its prices in a ModelProvider, or no limit of cost"
        )));
    }
    Ok(())
}

struct Engine<'a> {
    plan: &'a Plan,
    parts: &'a Parts,
    watch: &'a Watch<'a>,
    journal: Journal<'a>,
    state: State,
    place: Workplace<'a>,
    began: Instant,
    replaced: u32,
    warnings: Vec<String>,
    no_summary: Option<String>,
}

impl<'a> Engine<'a> {
    fn new(
        plan: &'a Plan,
        parts: &'a Parts,
        watch: &'a Watch<'a>,
        journal: Journal<'a>,
        state: State,
        warning: Option<String>,
    ) -> Self {
        let mut engine = Self {
            plan,
            parts,
            watch,
            place: Workplace::new(&*parts.sandboxes, &parts.cancel, journal.run()),
            journal,
            state,
            began: Instant::now(),
            replaced: 0,
            warnings: Vec::new(),
            no_summary: None,
        };
        if engine.state.finished.is_none() {
            for name in parts.redactor.weak() {
                engine.warn(&format!(
                    "{name} is too short or too common to be hidden everywhere: choose a better one"
                ));
            }
        }
        if let Some(warning) = warning {
            engine.warn(&warning);
        }
        engine
    }

    async fn drive(mut self) -> Result<Outcome, RunError> {
        let driven = self.road().await;
        // However it ended, nothing of it stays; but what somebody else goes on with is theirs.
        if matches!(&driven, Err(error) if error.kind() == Kind::Overtaken) {
            self.place.leave();
        } else if let Err(error) = self.place.close().await {
            self.warn(&error.to_string());
        }
        driven?;
        Ok(self.outcome())
    }

    async fn road(&mut self) -> Result<(), RunError> {
        if self.state.finished.is_none() {
            self.catalog().await?;
            self.summarize().await?;
            let warnings = std::mem::take(&mut self.warnings);
            self.note(Record::Finished { warnings }).await?;
        }
        let Some(report) = report::report(&self.state) else {
            return Err(self.broken("the run is not finished"));
        };
        // Redacted as values: as a text it might be no JSON any more.
        let mut report = serde_json::to_value(&report).map_err(|error| self.broken(&error.to_string()))?;
        self.parts.redactor.redact_json(&mut report);
        let key = self.parts.layout.run(self.journal.run());
        let published = self.write(&key, format!("{report:#}\n")).await?;
        self.published(&key, published.bytes);
        Ok(())
    }

    async fn catalog(&mut self) -> Result<(), RunError> {
        let page = self.page(Role::Cataloging, Phase::Cataloging).await?;
        let run = self.journal.run();
        let layout = &self.parts.layout;
        let (script, catalog) = (layout.catalog_script(run), layout.catalog(run));
        // The page last: who sees it sees all that belongs to it.
        self.publish(&script, self.script(Role::Cataloging)).await?;
        self.publish(&catalog, self.fit(Role::Cataloging, &page)?).await
    }

    /// A summary that fails leaves the catalog as it is.
    async fn summarize(&mut self) -> Result<(), RunError> {
        let role = Role::Summary;
        let page = self.page(role, Phase::Summarizing).await;
        match page.and_then(|page| self.fit(role, &page)) {
            Ok(page) => {
                let run = self.journal.run();
                let layout = &self.parts.layout;
                let (script, summary) = (layout.summary_script(run), layout.summary(run));
                self.publish(&script, self.script(role)).await?;
                self.publish(&summary, page).await
            }
            Err(error) if error.spares_the_run() => {
                let message = match &error {
                    // It speaks of the catalog, which is there.
                    RunError::NoPage(failure) => failure.to_string(),
                    error => error.to_string(),
                };
                let message = self.redact(&message);
                let ended = self.state.of(role).map(|work| work.ended.is_some());
                if ended == Some(false) {
                    let failure = Some(Failure::Trouble(message.clone()));
                    self.note(Record::Ended { role, failure }).await?;
                }
                self.warn(&format!("there is no summary: {message}"));
                self.no_summary = Some(message);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Lets an agent work until it has handed in its page, or has now.
    async fn page(&mut self, role: Role, phase: Phase) -> Result<String, RunError> {
        if let Some(work) = self.state.of(role) {
            match (work.page(), &work.ended) {
                (Some(page), Some(_)) => return Ok(page.to_owned()),
                (_, Some((_, Some(failure)))) => return Err(RunError::NoPage(failure.clone())),
                // What needs no sandbox gets none.
                _ => match work.agent.next(self.elapsed()) {
                    Step::Done { .. } | Step::GiveUp(_) => return self.work(role).await,
                    _ => {}
                },
            }
        }
        if role == Role::Cataloging {
            // Before anything is paid for: is there a sandbox, and does it reach the database?
            self.make_ready(role).await?;
        }
        if self.state.of(role).is_none() {
            let beginning = self.task(role).await?;
            let earlier = beginning.earlier.clone();
            self.note(Record::Began(beginning)).await?;
            (self.watch)(&Event::Began { role, earlier });
        }
        self.make_ready(role).await?;
        (self.watch)(&Event::Phase(phase));
        self.work(role).await
    }

    /// Does what the agent wants, until it is done or gives up.
    async fn work(&mut self, role: Role) -> Result<String, RunError> {
        let failure = loop {
            if self.parts.cancel.is_cancelled() {
                return Err(RunError::Interrupted);
            }
            let elapsed = self.elapsed();
            let Some(work) = self.state.of(role) else {
                return Err(self.broken("no agent is at work"));
            };
            match work.agent.next(elapsed) {
                Step::Ask => self.ask(role).await?,
                Step::Execute { index, code } => {
                    let code = code.to_owned();
                    self.execute(role, index, code).await?;
                }
                Step::Check { page, .. } => {
                    let problem = self.problem(role, page);
                    self.note(Record::Checked {
                        problem: problem.clone(),
                    })
                    .await?;
                    (self.watch)(&Event::Checked { problem });
                }
                Step::Done { page } => {
                    let page = page.to_owned();
                    self.note(Record::Ended { role, failure: None }).await?;
                    return Ok(page);
                }
                Step::GiveUp(defeat) => break Failure::Defeat(defeat),
            }
        };
        let ended = Record::Ended {
            role,
            failure: Some(failure.clone()),
        };
        self.note(ended).await?;
        Err(RunError::NoPage(failure))
    }

    /// What an agent is told: the prompt with its inputs.
    async fn task(&self, role: Role) -> Result<Beginning, RunError> {
        let run = self.journal.run();
        let reader = self.reader();
        let earlier = reader.earlier(run).await?;
        let prompt = self.parts.prompts.get(role);
        let limits = match role {
            Role::Cataloging => self.state.limits.of_catalog(),
            Role::Summary => self.state.limits.after(&self.state.spent()),
        };
        let mut values = Values::new();
        values.insert("run", run.readable().into());
        values.insert("intent", self.plan.intent.clone().unwrap_or_default().into());
        values.insert("execute_seconds", self.plan.cell.timeout.as_secs().into());
        values.insert("max_turns", limits.turns.into());
        values.insert("max_tokens", limits.tokens.into());
        match role {
            Role::Cataloging => {
                let past = reader.past(&earlier).await?;
                values.insert("dialect", self.plan.database.kind().into());
                values.insert("tables", self.tables().into());
                values.insert("max_rows", self.plan.cell.max_rows.into());
                values.insert("previous_catalog", past.catalog.into());
                values.insert("previous_summary", past.summary.into());
                values.insert("previous_script", past.script.into());
                values.insert("comments", past.comments.into());
            }
            Role::Summary => {
                let (summary, script) = reader.last_summary(&earlier).await?;
                values.insert("previous_summary", summary.into());
                values.insert("previous_script", script.into());
                values.insert("current", file_name(run).into());
                values.insert(
                    "earlier",
                    Value::List(earlier.iter().copied().map(file_name).collect()),
                );
                values.insert("comments", reader.comments(&earlier).await?.into());
            }
        }
        // A prompt of one's own may ask for less.
        values.retain(|name, _| prompt.takes(name));
        let task = self.parts.redactor.redact(&prompt.render(&values)?).into_owned();
        Ok(Beginning { role, task, earlier })
    }

    fn reader(&self) -> Reader<'a> {
        Reader {
            store: &*self.parts.store,
            layout: &self.parts.layout,
            cancel: &self.parts.cancel,
        }
    }

    /// Sees to it that there is a sandbox with all that an agent has made in it, within the time of the run.
    async fn make_ready(&mut self, role: Role) -> Result<(), RunError> {
        loop {
            let limit = self.state.limits.time;
            let left = limit.saturating_sub(self.elapsed());
            match timeout(left, self.prepare(role)).await {
                Ok(Err(RunError::Sandbox(error))) if self.is_replaceable(&error) => {
                    self.replace(&error.to_string()).await;
                }
                Ok(result) => return result,
                Err(_) => {
                    self.place.discard().await;
                    let used_up = UsedUp::Time { limit };
                    return Err(RunError::NoPage(Failure::Defeat(Defeat::UsedUp(used_up))));
                }
            }
        }
    }

    /// Whether another sandbox may help. One that has run something else by an id of ours is none of ours.
    fn is_replaceable(&self, error: &SandboxError) -> bool {
        let lost = error.class() == SandboxClass::Rebuild || matches!(error, SandboxError::Conflict { .. });
        lost && self.replaced < REPLACEMENTS
    }

    async fn prepare(&mut self, role: Role) -> Result<(), RunError> {
        let known = self.state.ready.clone();
        let env = self.variables(role);
        if self.place.is_empty() {
            (self.watch)(&Event::Phase(Phase::Provisioning));
        }
        let boot = self
            .place
            .open(known.as_ref().map(|ready| &ready.boot), &env)
            .await?;
        if known.is_some_and(|ready| ready.boot == boot && ready.role == role) {
            return Ok(());
        }
        let mut ids = Ids::before(self.journal.next());
        self.place.reset(&mut ids, &env).await?;
        match role {
            Role::Cataloging if self.state.survey.is_none() => self.survey(&mut ids).await?,
            Role::Cataloging => self.connect(&mut ids).await?,
            Role::Summary => {
                for file in self.files().await? {
                    self.place.put(&mut ids, &file).await?;
                }
            }
        }
        let notice = self.rebuild(role, &mut ids).await?;
        self.note(Record::Ready(Ready { role, boot, notice })).await
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
    async fn survey(&mut self, ids: &mut Ids) -> Result<(), RunError> {
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
        self.note(Record::Surveyed(survey.clone())).await?;
        (self.watch)(&Event::Surveyed(survey));
        Ok(())
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

    /// The tables that an agent is to document.
    fn tables(&self) -> Vec<String> {
        let survey = self.state.survey.as_ref();
        survey.map_or_else(|| self.plan.tables.clone(), survey::Survey::names)
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
    async fn replace(&mut self, problem: &str) {
        self.replaced += 1;
        self.warn(&format!("the sandbox is replaced: {problem}"));
        self.place.discard().await;
    }

    async fn ask(&mut self, role: Role) -> Result<(), RunError> {
        let Some(work) = self.state.of(role) else {
            return Err(self.broken("no agent is at work"));
        };
        let agent = &work.agent;
        let (limits, spent) = (agent.limits(), agent.spent());
        (self.watch)(&Event::Asking {
            turn: spent.turns + 1,
            of: limits.turns,
        });
        let prices = &self.parts.prices;
        let failed = Mutex::new(Vec::new());
        let again = |attempts: &[Attempt]| {
            if let Ok(mut failed) = failed.lock() {
                attempts.clone_into(&mut failed);
            }
            let mut with = spent;
            for attempt in attempts {
                let price = prices.get(&attempt.asked);
                with.add(attempt.spent, price.map(|price| price.cost(attempt.spent)));
            }
            limits.used_up(&with, Duration::ZERO).is_none()
        };
        let tools = tools::definitions();
        let left = limits.time.saturating_sub(self.elapsed());
        let request = Request {
            system: SYSTEM,
            messages: agent.messages(),
            tools: &tools,
            max_output_tokens: agent.max_output(),
            cache: true,
            deadline: Some(Instant::now() + left),
            again: Some(&again),
        };
        let (watch, redactor) = (self.watch, &self.parts.redactor);
        let mut text = redactor.stream();
        let mut progress = |progress: Progress| {
            if let Some(event) = clean::progress(progress, redactor, &mut text) {
                watch(&Event::Model(event));
            }
        };
        let answer = tokio::select! {
            // What has come was paid for.
            biased;
            answer = self.parts.model.complete(&request, &mut progress) => Some(answer),
            () = self.parts.cancel.cancelled() => None,
        };
        match answer {
            None => {
                let failed = failed.into_inner().unwrap_or_default();
                if !failed.is_empty() {
                    self.note_unanswered("interrupted", failed).await?;
                }
                Err(RunError::Interrupted)
            }
            Some(Ok(mut turn)) => {
                clean::turn(&mut turn, redactor);
                let cost = prices.cost_of(&turn);
                let text = turn.text.clone();
                self.note(Record::Answered { turn, cost }).await?;
                (self.watch)(&Event::Answered {
                    text,
                    spent: self.state.spent(),
                    limits: self.state.limits,
                });
                Ok(())
            }
            Some(Err(error)) => self.unanswered(role, error).await,
        }
    }

    async fn unanswered(&mut self, role: Role, error: ModelError) -> Result<(), RunError> {
        let attempts = match &error {
            ModelError::Exhausted { attempts, .. } => attempts.clone(),
            error => vec![Attempt {
                asked: error.model().unwrap_or_else(|| self.parts.model.spec()).clone(),
                problem: error.to_string(),
                spent: error.spent(),
                waited: Duration::ZERO,
            }],
        };
        self.note_unanswered(&error.to_string(), attempts).await?;
        if error.class() == ModelClass::Shorten {
            // If nothing can be left out any more, the agent gives up.
            return self.note(Record::Shortened).await;
        }
        let over = self
            .state
            .of(role)
            .is_some_and(|work| matches!(work.agent.next(self.elapsed()), Step::GiveUp(_)));
        // That is why it was not asked again.
        if over { Ok(()) } else { Err(error.into()) }
    }

    async fn note_unanswered(&mut self, problem: &str, mut attempts: Vec<Attempt>) -> Result<(), RunError> {
        for attempt in &mut attempts {
            attempt.problem = self.redact(&attempt.problem);
        }
        let cost = attempts
            .iter()
            .filter(|attempt| attempt.spent != Usage::default())
            .map(|attempt| Some(self.parts.prices.get(&attempt.asked)?.cost(attempt.spent)))
            .sum::<Option<Cost>>();
        let problem = self.redact(problem);
        self.note(Record::Unanswered {
            problem,
            attempts,
            cost,
        })
        .await
    }

    async fn execute(&mut self, role: Role, index: usize, code: String) -> Result<(), RunError> {
        (self.watch)(&Event::Running { code: code.clone() });
        let id = call_id(self.state.calls_from(), index);
        let cell = self.cell(role, code.clone());
        let watch = self.watch;
        let mut stream = self.parts.redactor.stream();
        let mut output = |chunk: crate::sandbox::Chunk| {
            let text = stream.push(&chunk.text);
            if !text.is_empty() {
                watch(&Event::Output(text));
            }
        };
        let began = Instant::now();
        let ran = match self.place.execute(id, &cell, &mut output).await {
            Ok(executed) => Ran {
                told: told(&executed, &self.parts.redactor),
                code,
                status: Some(executed.status),
                state: executed.state,
                raised: executed.error.map(|raised| Raised {
                    name: self.redact(&raised.name),
                    message: cut(&self.redact(&raised.message), 500),
                }),
                milliseconds: executed.duration_ms,
            },
            Err(RunError::Sandbox(error)) if self.is_replaceable(&error) => {
                self.replace(&error.to_string()).await;
                // It may be what broke the sandbox: it is not run again.
                Ran {
                    code,
                    told: "[The sandbox was lost while this code ran, so its result is not known. A new one is being \
                           made, and your earlier code is run there again. Files are gone. If this code needs much \
                           memory or many processes, do it with less.]"
                        .to_owned(),
                    status: None,
                    state: VariablesState::Kept,
                    raised: None,
                    milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                }
            }
            Err(error) => return Err(error),
        };
        let event = Event::Ran {
            ok: ran.ok(),
            told: ran.told.clone(),
            took: Duration::from_millis(ran.milliseconds),
        };
        let lost = ran.status.is_none();
        self.note(Record::Ran(ran)).await?;
        (self.watch)(&event);
        if lost {
            return self.make_ready(role).await;
        }
        self.place.acknowledge(id).await;
        Ok(())
    }

    /// Code within what is left of the time of its agent.
    fn cell(&self, role: Role, code: String) -> Cell {
        let limits = self
            .state
            .of(role)
            .map_or(self.state.limits, |work| work.agent.limits());
        let left = limits.time.saturating_sub(self.elapsed());
        Cell {
            timeout: self.plan.cell.timeout.min(left.max(Duration::from_secs(1))),
            max_rows: self.plan.cell.max_rows,
            output_limit: OUTPUT,
            ..Cell::new(code)
        }
    }

    /// What is wrong with a page, for the model.
    fn problem(&self, role: Role, page: &str) -> Option<String> {
        let rules = match role {
            Role::Cataloging => html::Rules::CATALOG,
            Role::Summary => html::Rules::SUMMARY,
        };
        let refusal = html::check(page, &rules).err()?;
        Some(self.redact(&refusal.to_string()))
    }

    /// A page as it may be published. It was checked when it was handed in, perhaps by another release.
    fn fit(&self, role: Role, page: &str) -> Result<String, RunError> {
        let page = self.redact(page);
        match self.problem(role, &page) {
            None => Ok(page),
            Some(problem) => Err(RunError::NoPage(Failure::Trouble(problem))),
        }
    }

    fn script(&self, role: Role) -> String {
        let cells: Vec<script::Ran<'_>> = self
            .state
            .of(role)
            .map_or(&[][..], |work| &work.cells)
            .iter()
            .zip(1..)
            .map(|(ran, number)| script::Ran {
                number,
                code: &ran.code,
                fate: ran.into(),
            })
            .collect();
        let kind = match role {
            Role::Cataloging => script::Kind::Catalog,
            Role::Summary => script::Kind::Summary,
        };
        let asked = &self.state.claim.asked;
        let (tables, model) = (asked.tables.join(", "), asked.model.to_string());
        let facts = [
            ("Database", asked.database.as_str()),
            ("Tables", tables.as_str()),
            ("Model", model.as_str()),
        ];
        script::script(kind, self.journal.run(), &facts, &cells)
    }

    async fn publish(&mut self, key: &Key, content: String) -> Result<(), RunError> {
        if self.state.is_published(key.name()) {
            return Ok(());
        }
        // It was redacted where it came from; nothing leaves that was not looked at once more.
        let published = self.write(key, self.redact(&content)).await?;
        let bytes = published.bytes;
        self.note(Record::Published(published)).await?;
        self.published(key, bytes);
        Ok(())
    }

    async fn write(&self, key: &Key, content: String) -> Result<super::record::Published, RunError> {
        publish::publish(
            &*self.parts.store,
            &self.parts.cancel,
            self.journal.run(),
            key,
            content,
        )
        .await
    }

    fn published(&self, key: &Key, bytes: u64) {
        (self.watch)(&Event::Published {
            name: key.name().to_owned(),
            uri: self.parts.store.uri(key),
            bytes,
        });
    }

    /// Writes an entry, then takes what it says as known.
    async fn note(&mut self, record: Record) -> Result<(), RunError> {
        let entry = self.journal.append(record).await?;
        let applied = self.state.apply(entry);
        applied.map_err(|problem| damaged(self.parts, self.journal.run(), problem))
    }

    /// How long the run was driven, up to now.
    fn elapsed(&self) -> Duration {
        self.state.driven_before() + self.began.elapsed()
    }

    fn redact(&self, text: &str) -> String {
        self.parts.redactor.redact(text).into_owned()
    }

    fn warn(&mut self, message: &str) {
        let message = self.redact(message);
        tracing::debug!(message);
        (self.watch)(&Event::Warning(message.clone()));
        self.warnings.push(message);
    }

    fn broken(&self, message: &str) -> RunError {
        damaged(self.parts, self.journal.run(), message.to_owned())
    }

    fn outcome(&self) -> Outcome {
        let run = self.journal.run();
        let layout = &self.parts.layout;
        let published = self.state.published.iter();
        let keys = published
            .filter_map(|it| layout.object(run, &it.name))
            .chain([layout.run(run)]);
        let failure = self
            .state
            .of(Role::Summary)
            .and_then(|work| work.ended.clone()?.1);
        let reason = failure
            .map(|failure| failure.to_string())
            .or_else(|| self.no_summary.clone());
        let is_there = self.state.is_published(layout.summary(run).name());
        Outcome {
            run,
            objects: keys
                .map(|key| (key.name().to_owned(), self.parts.store.uri(&key)))
                .collect(),
            summary_failure: (!is_there).then(|| reason.unwrap_or_else(|| "run.json says why".to_owned())),
            spent: self.state.spent(),
            driven: self.state.driven(),
            warnings: self
                .state
                .finished
                .as_ref()
                .map_or_else(Vec::new, |finish| finish.warnings.clone()),
        }
    }
}

/// As the files lie in a directory of earlier catalogs.
fn file_name(run: RunId) -> String {
    Layout::new(Prefix::root()).catalog(run).to_string()
}

//! Shows what a run does: a line that moves on a terminal, lines of text elsewhere, JSON for machines.
//!
//! What it shows was redacted where it came from.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::exit;
use crate::llm::Progress;
use crate::llm::prices::Cost;
use crate::run::preflight::Survey;
use crate::run::{Event, Kind, Outcome, Phase, SoFar};
use crate::store::RunId;

/// The longest line about code or output.
const LINE: usize = 100;

/// How a run is shown.
pub(super) struct Show {
    mode: Mode,
    state: Mutex<Shown>,
}

enum Mode {
    Terminal(ProgressBar),
    Lines,
    Json,
}

#[derive(Default)]
struct Shown {
    phase: Option<Phase>,
    doing: String,
    tokens: u64,
    /// None if something has cost what nobody knows.
    cost: Option<Cost>,
    turn: String,
    /// Of the answer that comes.
    bytes: usize,
    began: Option<Instant>,
}

impl Show {
    pub(super) fn new(json: bool) -> Self {
        let mode = if json {
            Mode::Json
        } else if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // The template is right, or there is none.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            Mode::Terminal(bar)
        } else {
            Mode::Lines
        };
        Self {
            mode,
            state: Mutex::new(Shown {
                began: Some(Instant::now()),
                ..Shown::default()
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, Shown> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows an event.
    pub(super) fn event(&self, event: &Event) {
        let mut state = self.state();
        state.take(event);
        match &self.mode {
            Mode::Json => {
                if let Some(value) = as_json(event) {
                    print_json(value);
                }
            }
            Mode::Lines => {
                if let Some(line) = as_line(event) {
                    eprintln!("{} {}", clock(), plain(&line));
                }
            }
            Mode::Terminal(bar) => {
                if let Some(line) = as_line(event).filter(|_| lasts(event)) {
                    bar.println(plain(&line));
                }
                bar.set_message(state.line());
            }
        }
    }

    /// Says something to people.
    pub(super) fn say(&self, message: &str) {
        match &self.mode {
            Mode::Terminal(bar) => bar.println(plain(message)),
            Mode::Lines => eprintln!("{} {}", clock(), plain(message)),
            Mode::Json => print_json(json!({"event": "note", "message": message})),
        }
    }

    /// The last word of a run that came to its end.
    pub(super) fn done(&self, outcome: &Outcome) {
        self.clear();
        let seconds = outcome.driven.as_secs_f64();
        let tokens = outcome.spent.usage.budget_tokens();
        if matches!(self.mode, Mode::Json) {
            let objects: serde_json::Map<String, Value> = outcome
                .objects
                .iter()
                .map(|(name, uri)| (name.clone(), json!(uri)))
                .collect();
            print_json(json!({
                "event": "finished",
                "run": outcome.run,
                "objects": objects,
                "summaryFailure": outcome.summary_failure,
                "turns": outcome.spent.turns,
                "tokens": tokens,
                "costMicroDollars": outcome.spent.cost,
                "seconds": seconds,
                "warnings": outcome.warnings,
            }));
            return;
        }
        eprintln!(
            "{} turns, {} tokens, {}, {}",
            outcome.spent.turns,
            grouped(tokens),
            shown_cost(outcome.spent.cost),
            shown_time(outcome.driven)
        );
        if let Some(failure) = &outcome.summary_failure {
            eprintln!(
                "cataloger: the catalog is published, but there is no summary: {}",
                plain(failure)
            );
        }
        // What others can work with, and nothing else.
        for (name, uri) in &outcome.objects {
            put(&format!("{name}\t{uri}\n"));
        }
    }

    /// The last word of a run that did not.
    pub(super) fn failed(&self, kind: Kind, message: &str, kept: Option<RunId>) {
        self.clear();
        if matches!(self.mode, Mode::Json) {
            print_json(json!({
                "event": "failed",
                "kind": exit::name(kind),
                "message": message,
                "run": kept,
            }));
        }
        eprintln!("cataloger: {}", plain(message));
        let goes_on = !matches!(kind, Kind::Input | Kind::Overtaken);
        if let Some(run) = kept.filter(|_| goes_on) {
            eprintln!(
                "cataloger: run {run} is kept, with all that was paid for: the same command with --resume goes on with it"
            );
        }
    }

    fn clear(&self) {
        if let Mode::Terminal(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }
}

/// Whoever closed our standard output does not want the rest.
fn put(text: &str) {
    let mut stdout = io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

fn print_json(mut value: Value) {
    value["at"] = json!(crate::run::record::Moment::now());
    put(&format!("{value}\n"));
}

fn clock() -> String {
    RunId::at(SystemTime::now())
        .readable()
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

impl Shown {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Phase(phase) => {
                self.phase = Some(*phase);
                self.doing.clear();
            }
            Event::Asking { turn, of } => {
                self.turn = format!("turn {turn} of {of}");
                "waiting for the model".clone_into(&mut self.doing);
                self.bytes = 0;
            }
            Event::Model(progress) => self.progress(progress),
            Event::Resumed {
                so_far: SoFar { spent, .. },
                ..
            }
            | Event::Answered { spent, .. }
            | Event::Unanswered { spent, .. } => {
                self.tokens = spent.usage.budget_tokens();
                self.cost = spent.cost;
            }
            Event::Running { code } => self.doing = format!("running: {}", first_line(code)),
            Event::Output(text) => {
                if let Some(line) = text.lines().rev().find(|line| !line.trim().is_empty()) {
                    self.doing = format!("running: {}", first_line(line));
                }
            }
            Event::Checked { .. } => "checking the page".clone_into(&mut self.doing),
            Event::Rebuilding { cells } => self.doing = format!("running {cells} cells again"),
            _ => {}
        }
    }

    fn progress(&mut self, progress: &Progress) {
        let what = match progress {
            Progress::Asked { model } => {
                self.bytes = 0;
                self.doing = format!("waiting for {model}");
                return;
            }
            Progress::Thinking { bytes } => {
                self.bytes += bytes;
                "thinking".to_owned()
            }
            Progress::Text(text) => {
                self.bytes += text.len();
                "writing".to_owned()
            }
            Progress::Call { name } => {
                self.bytes = 0;
                format!("writing a call of {name}")
            }
            Progress::Arguments { bytes } => {
                self.bytes += bytes;
                "writing a call".to_owned()
            }
            Progress::Waiting { why, .. } => why.clone(),
            Progress::Retrying { after, .. } => format!("waiting {} s to ask again", after.as_secs()),
            Progress::FellBack { to, .. } => format!("asking {to} instead"),
        };
        self.doing = format!("{what} ({} bytes)", grouped(self.bytes as u64));
    }

    /// What matters most first: the end of the line may not fit.
    fn line(&self) -> String {
        let mut parts = Vec::new();
        if let Some(phase) = self.phase {
            parts.push(phase.as_str().to_owned());
        }
        parts.extend(self.began.map(|began| shown_time(began.elapsed())));
        if !self.turn.is_empty() {
            parts.push(self.turn.clone());
        }
        if self.tokens > 0 {
            parts.push(format!("{} tokens", grouped(self.tokens)));
            parts.push(shown_cost(self.cost));
        }
        if !self.doing.is_empty() {
            parts.push(self.doing.clone());
        }
        parts.join(" · ")
    }
}

/// Whether an event's line stays on a terminal.
fn lasts(event: &Event) -> bool {
    matches!(
        event,
        Event::Claimed { .. }
            | Event::Resumed { .. }
            | Event::Surveyed(_)
            | Event::Published { .. }
            | Event::StoreAway { .. }
            | Event::StoreBack
            | Event::Warning(_)
            | Event::Model(Progress::Retrying { .. } | Progress::FellBack { .. })
    )
}

/// An event in one line.
fn as_line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Claimed { run, folder } => format!("run {run}: {folder}"),
        Event::Resumed {
            run, folder, entries, ..
        } => {
            format!("going on with run {run}, which has {entries} entries: {folder}")
        }
        Event::Phase(phase) => phase.as_str().to_owned(),
        Event::Surveyed(survey) => surveyed(survey),
        Event::Began { role, earlier } => match (role.id(), earlier.len()) {
            (agent, 0) => format!("{agent}: there is no earlier run"),
            (agent, 1) => format!("{agent}: with 1 earlier run"),
            (agent, count) => format!("{agent}: with {count} earlier runs"),
        },
        Event::Asking { turn, of } => format!("turn {turn} of {of}"),
        Event::Model(Progress::Waiting { why, .. }) => why.clone(),
        Event::Model(Progress::Retrying {
            model,
            problem,
            after,
        }) => {
            format!("asking {model} again in {:.1} s: {problem}", after.as_secs_f32())
        }
        Event::Model(Progress::FellBack { from, to, problem }) => {
            format!("asking {to} instead of {from}: {problem}")
        }
        Event::Model(_) | Event::Output(_) | Event::Ready { .. } | Event::Unanswered { .. } => return None,
        Event::Answered { text, spent, .. } => {
            let said = if text.trim().is_empty() {
                String::new()
            } else {
                format!(": {}", first_line(text))
            };
            format!(
                "{} tokens, {} so far{said}",
                grouped(spent.usage.budget_tokens()),
                shown_cost(spent.cost)
            )
        }
        Event::Running { code } => format!("running: {}", first_line(code)),
        Event::Ran { ok, told, took } => {
            let how = if *ok { "ran" } else { "failed" };
            format!("{how} in {:.1} s: {}", took.as_secs_f32(), first_line(told))
        }
        Event::Checked { problem: None } => "the page is accepted".to_owned(),
        Event::Checked {
            problem: Some(problem),
        } => {
            format!("the page is not accepted: {}", first_line(problem))
        }
        Event::Rebuilding { cells } => format!("running {cells} cells again"),
        Event::Published { uri, bytes, .. } => format!("published {uri} ({} bytes)", grouped(*bytes)),
        Event::StoreAway { problem } => format!("waits for the store: {problem}"),
        Event::StoreBack => "the store is there again".to_owned(),
        Event::Warning(message) => format!("warning: {message}"),
    })
}

/// What was found of a database, and below it what to know.
fn surveyed(survey: &Survey) -> String {
    let tables = match survey.tables.len() {
        1 => "1 table".to_owned(),
        count => format!("{} tables", grouped(count as u64)),
    };
    let shown = if survey.writes.is_empty() {
        ", shown to write nothing"
    } else {
        ""
    };
    let mut line = first_line(&format!(
        "{} {}, as {}{shown}: {tables}",
        survey.engine, survey.version, survey.role
    ));
    for note in &survey.notes {
        line.push_str("\n  ");
        line.extend(note.chars().filter(|it| !it.is_control()));
    }
    line
}

fn as_json(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Claimed { run, folder } => json!({"event": "claimed", "run": run, "folder": folder}),
        Event::Resumed {
            run, folder, entries, ..
        } => {
            json!({"event": "resumed", "run": run, "folder": folder, "entries": entries})
        }
        Event::Phase(phase) => json!({"event": "phase", "phase": phase.as_str()}),
        Event::Surveyed(survey) => json!({"event": "surveyed", "database": survey}),
        Event::Began { role, earlier } => {
            json!({"event": "began", "agent": role.id(), "earlierRuns": earlier})
        }
        Event::Asking { turn, of } => json!({"event": "asking", "turn": turn, "of": of}),
        Event::Model(Progress::Waiting { model, why }) => {
            json!({"event": "waiting", "model": model, "why": why})
        }
        Event::Model(Progress::Retrying {
            model,
            problem,
            after,
        }) => json!({
            "event": "retrying", "model": model, "problem": problem, "seconds": after.as_secs_f64(),
        }),
        Event::Model(Progress::FellBack { from, to, problem }) => {
            json!({"event": "fellBack", "from": from, "to": to, "problem": problem})
        }
        Event::Model(_) | Event::Ready { .. } | Event::Unanswered { .. } => return None,
        Event::Answered {
            text, spent, limits, ..
        } => json!({
            "event": "answered",
            "text": text,
            "turns": spent.turns,
            "tokens": spent.usage.budget_tokens(),
            "maxTokens": limits.tokens,
            "costMicroDollars": spent.cost,
        }),
        Event::Running { code } => json!({"event": "running", "code": code}),
        Event::Output(text) => json!({"event": "output", "text": text}),
        Event::Ran { ok, told, took } => {
            json!({"event": "ran", "ok": ok, "told": told, "seconds": took.as_secs_f64()})
        }
        Event::Checked { problem } => json!({"event": "checked", "problem": problem}),
        Event::Rebuilding { cells } => json!({"event": "rebuilding", "cells": cells}),
        Event::Published { name, uri, bytes } => {
            json!({"event": "published", "name": name, "uri": uri, "bytes": bytes})
        }
        Event::StoreAway { problem } => json!({"event": "store_away", "message": problem}),
        Event::StoreBack => json!({"event": "store_back"}),
        Event::Warning(message) => json!({"event": "warning", "message": message}),
    })
}

/// What terminals show and do not obey.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|it| !it.is_control() || *it == '\n')
        .collect()
}

/// The first line that says something, without control characters: they would move the terminal.
fn first_line(text: &str) -> String {
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let line: String = line.trim().chars().filter(|it| !it.is_control()).collect();
    crate::llm::cut(&line, LINE)
}

fn shown_cost(cost: Option<Cost>) -> String {
    cost.map_or_else(
        || "at a price that is not known".to_owned(),
        |cost| {
            let cents = cost.0.div_ceil(10_000);
            format!("${}.{:02}", cents / 100, cents % 100)
        },
    )
}

fn shown_time(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02} min", seconds / 60, seconds % 60)
}

/// `12,345`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(shown_cost(Some(Cost(12_345))), "$0.02");
        assert_eq!(shown_cost(Some(Cost(2_500_000))), "$2.50");
        assert_eq!(shown_time(Duration::from_secs(125)), "2:05 min");
    }

    #[test]
    fn no_text_moves_the_terminal() {
        let event = Event::Running {
            code: "\n\n\u{1b}[2Jprint(1)\u{7}\nmore".into(),
        };
        assert_eq!(as_line(&event).unwrap(), "running: [2Jprint(1)");
    }
}

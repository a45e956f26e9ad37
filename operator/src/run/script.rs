//! The code that an agent ran, as a script that runs by itself: `catalog_script.py`, `summary_script.py`.
//!
//! It needs Python and the packages that the code imports, and nothing of ours. A cell stands in it as it
//! was written wherever it means the same there; else its text is run by a helper that does what the session
//! did. Whether it does is decided with care: what is not understood goes to the helper. It must not know
//! secrets: code, facts and messages are given without them.

mod cells;
mod python;
mod text;

use self::cells::Form;
use super::record::Ran as Record;
use crate::sandbox::Status;
use crate::store::RunId;

/// The helper that opens the database: the sandbox's own.
const DATABASE: &str = include_str!("../../../sandbox-image/src/cataloger_sandbox/database.py");
const BEGIN: &str = include_str!("script/begin.py");
const CELL: &str = include_str!("script/cell.py");

/// Apart, as it was a module of its own: what cells call `str` or `dict` is nothing to it.
const APART: &str = "
    return connect_database


_database = type(_database)(_database.__code__, {\"__builtins__\": __builtins__, \"__name__\": \"database\"})
connect_database = _database()
del _database
";

/// What a script made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `catalog.html`, out of a database.
    Catalog,
    /// `recent_summary.html`, out of the catalogs of several runs.
    Summary,
}

/// A cell that an agent ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran<'a> {
    /// Its number.
    pub number: u32,
    /// What it says.
    pub code: &'a str,
    /// What became of it.
    pub fate: Fate<'a>,
}

/// What became of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate<'a> {
    /// It ran to its end.
    Ok,
    /// It raised an exception.
    Raised {
        /// The exception's name.
        name: &'a str,
        /// What it said.
        message: &'a str,
    },
    /// It did not end by itself, for this reason: `was interrupted after 60 s; not run again`.
    NotFinished(&'a str),
}

impl<'a> From<&'a Record> for Fate<'a> {
    fn from(ran: &'a Record) -> Self {
        match (ran.status, &ran.raised) {
            (Some(Status::Ok), _) => Self::Ok,
            (Some(Status::Error), Some(raised)) => Self::Raised {
                name: &raised.name,
                message: &raised.message,
            },
            (Some(Status::Timeout), _) => {
                Self::NotFinished("took too long and was interrupted; not run again")
            }
            (Some(Status::Interrupted), _) => Self::NotFinished("was interrupted; not run again"),
            (Some(Status::OutOfMemory), _) => Self::NotFinished("used too much memory; not run again"),
            (Some(Status::TooManyProcesses), _) => {
                Self::NotFinished("started too many processes; not run again")
            }
            (Some(Status::Unavailable), _) => Self::NotFinished("was not run, since there was no session"),
            (Some(_), _) => Self::NotFinished("ended its session; not run again"),
            (None, _) => Self::NotFinished("was lost with its sandbox; not run again"),
        }
    }
}

/// Makes the script of a run. `facts` are what a reader should know of it, such as the model, by their names.
pub fn script(kind: Kind, run: RunId, facts: &[(&str, &str)], cells: &[Ran<'_>]) -> String {
    let plan = cells::plan(cells);
    let mut parts = vec![docstring(kind, run, facts)];
    if !plan.futures.is_empty() {
        parts.push(format!("from __future__ import {}\n\n", plan.futures.join(", ")));
    }
    parts.push(header(kind, &plan));
    let bodies = cells.iter().zip(&plan.forms);
    parts.extend(bodies.map(|(cell, form)| {
        let (title, body) = (title(cell), body(cell, *form, &plan.helper));
        format!("\n# %% {title}\n{body}")
    }));
    parts.concat()
}

fn docstring(kind: Kind, run: RunId, facts: &[(&str, &str)]) -> String {
    let (what, over, command, besides) = match kind {
        Kind::Catalog => (
            "catalog",
            "against the same\ndatabase",
            "DATABASE_URL=... python catalog_script.py",
            "What has changed in the database since comes out changed.",
        ),
        Kind::Summary => (
            "summary of changes",
            "over the same\ncatalogs",
            "python summary_script.py DIRECTORY",
            "DIRECTORY is the folder in which every run has one of its own, with its catalog.html.\n\
             Without it, that is the current directory.",
        ),
    };
    let when = run.readable();
    let mut facts: Vec<String> = facts
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", text::one_line(value, 400)))
        .collect();
    if !facts.is_empty() {
        facts.push("\n".to_owned());
    }
    let facts = facts.concat();
    let text = format!(
        "The code that made the {what} of the run {run} ({when}).\n\n\
         {facts}\
         These are the cells that an agent ran, in their order. To run them again, {over}, \
         with Python 3.11 or later and the packages that they import:\n\n    {command}\n\n{besides}\n\n\
         An editor that knows \"# %%\", or `cataloger session`, runs them one by one. There is no\n\
         secret in this file.\n"
    );
    format!("\"\"\"{}\"\"\"\n\n", text::escaped(&text, '"'))
}

/// What the cells had in their session. Its own names are gone when they run.
fn header(kind: Kind, plan: &cells::Plan) -> String {
    let mut parts = vec![
        "# Not the agent's: what its session had.\n\n\n".to_owned(),
        BEGIN.to_owned(),
    ];
    if kind == Kind::Summary {
        parts.push("    if len(sys.argv) > 1:\n        os.chdir(sys.argv[1])\n".to_owned());
    }
    parts.push("\n\n_begin()\ndel _begin\n".to_owned());
    if kind == Kind::Catalog {
        parts.push("\n\ndef _database():\n".to_owned());
        parts.extend(DATABASE.lines().map(|line| match line {
            "" => "\n".to_owned(),
            line => format!("    {line}\n"),
        }));
        parts.push(APART.to_owned());
    }
    if plan.forms.iter().any(|form| matches!(form, Form::Text(_))) {
        parts.push(format!("\n\n{}", CELL.replacen("_cell", &plan.helper, 1)));
    }
    parts.push("\n".to_owned());
    parts.concat()
}

fn title(cell: &Ran<'_>) -> String {
    let number = cell.number;
    let title = match cell.fate {
        Fate::Ok => number.to_string(),
        Fate::Raised { name, message } if message.trim().is_empty() => format!("{number} raised {name}"),
        Fate::Raised { name, message } => format!("{number} raised {name}: {message}"),
        Fate::NotFinished(reason) => format!("{number} {reason}"),
    };
    text::one_line(&title, 200)
}

fn body(cell: &Ran<'_>, form: Form, helper: &str) -> String {
    let Ran { number, code, fate } = cell;
    match form {
        Form::Verbatim => format!("{}\n", code.trim_end()),
        Form::Text(reason) => {
            let reason = reason.map(|reason| format!("# As text, since {reason}.\n"));
            let raised = match fate {
                Fate::Raised { name, .. } => format!(", raised={}", text::quoted(name)),
                _ => String::new(),
            };
            format!(
                "{}{helper}({number}, {}{raised})\n",
                reason.unwrap_or_default(),
                text::literal(code)
            )
        }
        Form::Comment => text::comment(code),
    }
}

#[cfg(test)]
mod tests;

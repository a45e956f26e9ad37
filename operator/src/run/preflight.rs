//! The survey of the database before anything is paid for: the code that asks for it, and its answer.
//!
//! Python finds out (`sandbox-image/src/cataloger_sandbox/preflight`); here its words are put before people. It must
//! not know a kind of database, and runs nothing.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Kind;
use crate::sandbox::Cell;

/// The version of the document that is understood.
const VERSION: u64 = 1;
/// The document may name a thousand tables, and a statement for each.
const OUTPUT: u32 = 1024 * 1024;
/// The longest name that an agent is told as it is.
const NAME: usize = 300;

/// What was found, of a database that is fit for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// What kind of database it is.
    pub engine: String,
    /// Which version of it.
    pub version: String,
    /// Who reads it.
    pub role: String,
    /// The tables that are meant.
    pub tables: Vec<Table>,
    /// How it was shown that nothing can be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proof: Vec<String>,
    /// What the role can write, where that is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<Write>,
    /// What else there is to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A table, or what can be read like one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name as SQL writes it, with its schema where there are schemas.
    pub name: String,
    /// What it is, such as `table` or `materialized view`.
    pub kind: String,
    /// How many rows the database itself believes that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// One way in which the role can write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// What it can do.
    pub can: String,
    /// On what.
    pub on: String,
    /// How it comes to it.
    pub by: String,
}

/// Why a run can't begin: everything that is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusal(Vec<Failure>);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Failure {
    kind: String,
    problem: String,
    advice: String,
    #[serde(default)]
    writes: Vec<Write>,
    #[serde(default)]
    nearest: Vec<String>,
    #[serde(default)]
    candidates: Vec<String>,
    #[serde(default)]
    statements: Vec<String>,
}

/// What Python prints.
#[derive(Debug, Deserialize)]
struct Document {
    preflight: u64,
    failures: Vec<Failure>,
    #[serde(flatten)]
    survey: Survey,
}

/// The code that surveys the database for these tables.
pub(super) fn cell(tables: &[String], allow_writable: bool) -> Cell {
    let list = Value::from(tables).to_string();
    // As a text within a text, since JSON is not quite Python.
    let list = Value::from(list).to_string();
    let allow = if allow_writable { "True" } else { "False" };
    Cell {
        output_limit: OUTPUT,
        ..Cell::new(format!(
            "_preflight(tables=__import__('json').loads({list}), allow_writable={allow})"
        ))
    }
}

/// The document in what was printed; none if there is none.
pub(super) fn document(output: &str) -> Option<Value> {
    let line = output.lines().rfind(|line| line.starts_with("{\"preflight\""))?;
    serde_json::from_str(line).ok()
}

/// What a document says: what was found, or why there can't be a run. The error says why it says neither.
pub(super) fn read(document: Value) -> Result<Result<Survey, Refusal>, String> {
    let document: Document = serde_json::from_value(document).map_err(|error| error.to_string())?;
    if document.preflight != VERSION {
        return Err(format!("its version is {}", document.preflight));
    }
    Ok(if document.failures.is_empty() {
        Ok(document.survey)
    } else {
        Err(Refusal(document.failures))
    })
}

impl Survey {
    /// The names of the tables, for an agent: a name can't begin another line, or go on for ever.
    pub(super) fn names(&self) -> Vec<String> {
        self.tables
            .iter()
            .map(|table| crate::llm::cut(&visible(&table.name), NAME))
            .collect()
    }

    /// What the role can write, in a sentence; none if nothing.
    pub(super) fn risk(&self) -> Option<String> {
        let first = self.writes.first()?;
        let more = match self.writes.len() {
            1 => String::new(),
            count => format!(", and {} more", count - 1),
        };
        Some(format!(
            "the role {} can write, which is allowed here: {first}{more}",
            visible(&self.role)
        ))
    }
}

impl Refusal {
    /// Whether all of it may pass by itself: a server that is not reached, or not ready.
    pub fn may_pass(&self) -> bool {
        let passes = |failure: &Failure| {
            matches!(
                failure.kind.as_str(),
                "unresolved"
                    | "refused"
                    | "timeout"
                    | "unreachable"
                    | "silent"
                    | "server"
                    | "busy"
                    | "starting"
                    | "unexpected"
            )
        };
        self.0.iter().all(passes)
    }

    /// What kind of trouble it is: what was asked for, if nothing else is wrong.
    pub fn kind(&self) -> Kind {
        let input = |failure: &Failure| {
            matches!(
                failure.kind.as_str(),
                "url" | "bad_name" | "no_such_table" | "no_match" | "ambiguous" | "too_many_tables"
            )
        };
        if self.0.iter().all(input) {
            Kind::Input
        } else {
            Kind::Database
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { can, on, by } = self;
        let on = if on.is_empty() {
            String::new()
        } else {
            format!(" on {on}")
        };
        write!(formatter, "{}", visible(&format!("{can}{on} ({by})")))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n\n")?;
            }
            failure.fmt(formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&visible(&self.problem))?;
        if !self.writes.is_empty() {
            formatter.write_str(":")?;
        }
        for write in &self.writes {
            write!(formatter, "\n  {write}")?;
        }
        write!(formatter, "\n{}", visible(&self.advice))?;
        for line in self
            .nearest
            .iter()
            .chain(&self.candidates)
            .chain(&self.statements)
        {
            write!(formatter, "\n  {}", visible(line))?;
        }
        Ok(())
    }
}

/// Without control characters: they would move a terminal, or begin another line.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn found(failures: &Value) -> Value {
        json!({
            "preflight": 1, "ok": false, "engine": "PostgreSQL", "version": "15.4", "role": "reader",
            "database": "shop", "proof": [], "writes": [], "notes": ["a note"], "failures": failures,
            "tables": [{"name": "public.orders", "kind": "table", "rows": 3}, {"name": "v", "kind": "view", "rows": null}],
        })
    }

    #[test]
    fn what_is_fit_is_read() {
        let text = format!("a warning\n{}\n", found(&json!([])));
        let text = text.replace("{\"database\"", "{\"x\"");
        assert!(document(&text).is_none(), "it begins with its version");
        let survey = read(found(&json!([]))).unwrap().unwrap();
        assert_eq!(survey.names(), ["public.orders", "v"]);
        assert_eq!(survey.tables[0].rows, Some(3));
        assert_eq!(survey.risk(), None);
        let again: Survey = serde_json::from_value(serde_json::to_value(&survey).unwrap()).unwrap();
        assert_eq!(again, survey);
    }

    #[test]
    fn all_that_is_wrong_is_said() {
        let refusal = read(found(&json!([
            {"kind": "no_such_table", "problem": "there is no table 'oders'", "advice": "The nearest names are listed here.",
             "nearest": ["public.orders"]},
            {"kind": "writable", "problem": "the role r\u{1b}[2J can write", "advice": "Make another.",
             "writes": [{"can": "INSERT", "on": "table t", "by": "granted to PUBLIC"}, {"can": "do everything", "on": "", "by": "x"}],
             "statements": ["CREATE ROLE x;", "GRANT y;"]},
        ])))
        .unwrap()
        .unwrap_err();
        assert_eq!(refusal.kind(), Kind::Database);
        assert_eq!(
            refusal.to_string(),
            "there is no table 'oders'\nThe nearest names are listed here.\n  public.orders\n\n\
             the role r\\u{1b}[2J can write:\n  INSERT on table t (granted to PUBLIC)\n  do everything (x)\nMake another.\n  \
             CREATE ROLE x;\n  GRANT y;"
        );
        let input = read(found(
            &json!([{"kind": "no_match", "problem": "p", "advice": "a"}]),
        ));
        assert_eq!(input.unwrap().unwrap_err().kind(), Kind::Input);
    }

    #[test]
    fn what_is_no_survey_is_not_taken_for_one() {
        assert!(read(json!({"preflight": 1})).is_err());
        let mut later = found(&json!([]));
        later["preflight"] = json!(2);
        assert_eq!(read(later).unwrap_err(), "its version is 2");
        assert!(document("{\"preflight\": 1, ").is_none());
        assert!(document("Traceback").is_none());
        assert_eq!(document("x\n{\"preflight\": 1}\n").unwrap()["preflight"], 1);
    }

    proptest! {
        #[test]
        fn names_stay_in_their_line(name in ".*") {
            let mut survey = read(found(&json!([]))).unwrap().unwrap();
            survey.tables[0].name = name;
            let names = survey.names();
            prop_assert!(!names[0].chars().any(char::is_control));
            prop_assert!(names[0].chars().count() <= NAME + 1);
        }

        #[test]
        fn tables_are_no_code(name in ".*") {
            let cell = cell(std::slice::from_ref(&name), false);
            let inner = cell.code.strip_prefix("_preflight(tables=__import__('json').loads(").unwrap();
            let inner = inner.strip_suffix("), allow_writable=False)").unwrap();
            // JSON's strings without controls and surrogates are Python's.
            let text: String = serde_json::from_str(inner).unwrap();
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), vec![name]);
            let whole = inner.chars().all(|it| it >= ' ');
            prop_assert!(whole);
        }
    }
}

//! What is asked for, out of the words that every model is given: Cataloger's own prompts.
//!
//! It must not know what is done about it.

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// A catalog.
    Catalog(Catalog),
    /// A summary of changes.
    Summary(Summary),
}

/// A catalog that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Catalog {
    /// The tables, as they were named.
    pub(super) tables: Vec<String>,
    /// As the author asked for them.
    pub(super) asked: Vec<String>,
    /// When the run began, for people.
    pub(super) run: String,
    /// What the author wants to know.
    pub(super) intent: String,
    /// How long a piece of code may run.
    pub(super) seconds: u32,
    /// How many turns there are.
    pub(super) max_turns: usize,
}

/// A summary that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// When the run began, for people.
    pub(super) run: String,
    /// The file of this run's catalog.
    pub(super) current: String,
    /// Those of the earlier ones, the newest first.
    pub(super) earlier: Vec<String>,
}

const TABLES: &str = "Document these tables, and no others:";
const ASKED: &str = "what is meant by it and does not stand above is not there:";
const EARLIER: &str = "The earlier catalogs, the newest first, are:";
const INTENT: [&str; 2] = [
    "The author of this catalog wants the following.",
    "The author of this catalog cares about the following;",
];

impl Task {
    /// Reads a task.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let run = after(text, "The run began ")
            .or_else(|| after(text, "This run began "))
            .and_then(|rest| rest.lines().next())
            .map(|line| {
                line.split(". ")
                    .next()
                    .unwrap_or(line)
                    .trim_end_matches('.')
                    .to_owned()
            });
        let own = "the builtin model understands Cataloger's own prompts only: leave out --prompts, or use \
                   another model";
        let run = run.ok_or_else(|| own.to_owned())?;
        if let Some(rest) = after(text, TABLES) {
            let tables = list(rest);
            let asked = after(text, ASKED).map(list).filter(|asked| !asked.is_empty());
            return Ok(Self::Catalog(Catalog {
                asked: asked.unwrap_or_else(|| tables.clone()),
                tables,
                run,
                intent: intent(text),
                seconds: number(text, "A call may take ").unwrap_or(60),
                max_turns: turns(text),
            }));
        }
        let current = after(text, "Its catalog is the file `")
            .and_then(|rest| rest.split_once('`'))
            .map(|(file, _)| file.to_owned());
        Ok(Self::Summary(Summary {
            run,
            current: current.ok_or_else(|| own.to_owned())?,
            earlier: after(text, EARLIER).map(list).unwrap_or_default(),
        }))
    }
}

/// The text after the first occurrence of another. What is not ours comes later in all prompts.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

/// The items of the list that comes first.
fn list(text: &str) -> Vec<String> {
    text.lines()
        .skip_while(|line| line.trim().is_empty())
        .map_while(|line| line.strip_prefix("- "))
        .map(code)
        .collect()
}

/// What stands in a line of code in Markdown.
fn code(text: &str) -> String {
    let ticks = text.len() - text.trim_start_matches('`').len();
    let inner = text
        .get(ticks..text.len().saturating_sub(ticks))
        .unwrap_or_default();
    if ticks > 1 {
        inner.trim().to_owned()
    } else {
        inner.to_owned()
    }
}

fn number(text: &str, mark: &str) -> Option<u32> {
    let digits: String = after(text, mark)?
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

fn turns(text: &str) -> usize {
    number(text, "There are ")
        .and_then(|turns| usize::try_from(turns).ok())
        .unwrap_or(50)
}

/// What the author wants, up to the next heading.
fn intent(text: &str) -> String {
    let Some(rest) = INTENT.iter().find_map(|mark| after(text, mark)) else {
        return String::new();
    };
    let end = rest.find("\n# Tools").unwrap_or(rest.len());
    let said = rest.get(..end).unwrap_or(rest);
    said.split_once("\n\n")
        .map_or("", |(_, said)| said)
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::prompts::{Prompts, Role, Value, Values};

    fn rendered(role: Role, values: Vec<(&'static str, Value)>) -> String {
        let prompts = Prompts::embedded().unwrap();
        let values: Values = values.into_iter().collect();
        prompts.get(role).render(&values).unwrap()
    }

    #[test]
    fn the_task_of_a_catalog_is_read() {
        let tables = ["orders", "a`b", "x.*", "Robert'); DROP", "- `y`"];
        let list: Vec<String> = tables.iter().map(|it| (*it).to_owned()).collect();
        let mut values: Vec<(&'static str, Value)> = vec![
            ("dialect", "SQLite".to_owned().into()),
            ("tables", list.clone().into()),
            ("run", "2026-11-21 12:00:00 UTC".to_owned().into()),
            ("max_rows", 20_u32.into()),
            ("execute_seconds", 45_u64.into()),
            ("max_turns", 12_u32.into()),
            ("max_tokens", 1000_u64.into()),
        ];
        let without = Task::read(&rendered(Role::Cataloging, values.clone())).unwrap();
        values.push(("intent", "What is an order?\n\nAnd why?".to_owned().into()));
        let with = Task::read(&rendered(Role::Cataloging, values)).unwrap();
        let mut wanted = Catalog {
            asked: list.clone(),
            tables: list,
            run: "2026-11-21 12:00:00 UTC".into(),
            intent: String::new(),
            seconds: 45,
            max_turns: 12,
        };
        assert_eq!(without, Task::Catalog(wanted.clone()));
        wanted.intent = "What is an order?\n\nAnd why?".into();
        assert_eq!(with, Task::Catalog(wanted));
    }

    #[test]
    fn the_task_of_a_summary_is_read() {
        let mut values: Vec<(&'static str, Value)> = vec![
            ("current", "2/catalog.html".to_owned().into()),
            ("run", "2026-11-21 12:00:00 UTC".to_owned().into()),
            ("execute_seconds", 45_u64.into()),
            ("max_turns", 12_u32.into()),
            ("max_tokens", 1000_u64.into()),
        ];
        let mut wanted = Summary {
            run: "2026-11-21 12:00:00 UTC".into(),
            current: "2/catalog.html".into(),
            earlier: Vec::new(),
        };
        let task = Task::read(&rendered(Role::Summary, values.clone())).unwrap();
        assert_eq!(task, Task::Summary(wanted.clone()));
        wanted.earlier = vec!["1/catalog.html".into(), "0/catalog.html".into()];
        values.push(("earlier", wanted.earlier.clone().into()));
        let task = Task::read(&rendered(Role::Summary, values)).unwrap();
        assert_eq!(task, Task::Summary(wanted));
    }

    #[test]
    fn other_prompts_are_not_guessed() {
        let problem = Task::read("Write a poem.").unwrap_err();
        assert!(problem.contains("--prompts"), "{problem}");
    }
}

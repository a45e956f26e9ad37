//! The summary: what has changed since an earlier catalog,.
//!
//! It must not know how it was compared.

use std::fmt::Write as _;

use serde::Deserialize;

use super::super::task::Summary;
use super::markup::short;
use crate::html::escape;

/// How many bytes a summary may have, with some to spare.
const BUDGET: usize = 5_000;
/// So many of the heaviest changes are told, with so many letters of a name or value.
const TOLD: [(usize, usize); 7] = [(40, 120), (25, 90), (15, 60), (10, 60), (10, 30), (5, 20), (3, 8)];

/// What a comparison has found.
#[derive(Debug, Default)]
pub(in crate::llm::builtin) struct Compared {
    pub(in crate::llm::builtin) head: Option<Head>,
    pub(in crate::llm::builtin) changes: Vec<Change>,
    /// Tables of changes that were not told.
    pub(in crate::llm::builtin) rest: Vec<String>,
    /// How many more such tables there are.
    pub(in crate::llm::builtin) unnamed: usize,
    /// What could not be compared.
    pub(in crate::llm::builtin) notes: Vec<String>,
    /// Tables and their rows, of a first run.
    pub(in crate::llm::builtin) rows: Vec<(String, String)>,
    /// A catalog that says nothing to machines.
    pub(in crate::llm::builtin) unreadable: bool,
}

/// What was compared with what.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::llm::builtin) struct Head {
    pub(in crate::llm::builtin) run: String,
    pub(in crate::llm::builtin) with: Option<String>,
    pub(in crate::llm::builtin) tables: usize,
    pub(in crate::llm::builtin) changes: usize,
    pub(in crate::llm::builtin) skipped: Vec<String>,
}

/// A change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::llm::builtin) struct Change {
    pub(in crate::llm::builtin) what: String,
    pub(in crate::llm::builtin) on: String,
    pub(in crate::llm::builtin) name: String,
    pub(in crate::llm::builtin) value: Option<String>,
    pub(in crate::llm::builtin) before: Option<String>,
    pub(in crate::llm::builtin) after: Option<String>,
    pub(in crate::llm::builtin) share: Option<String>,
}

/// The page.
pub(in crate::llm::builtin) fn changes(task: &Summary, compared: &Compared) -> String {
    let mut page = String::new();
    for (told, letters) in TOLD {
        page = write(task, compared, told, letters);
        if page.len() <= BUDGET {
            break;
        }
    }
    page
}

fn write(task: &Summary, compared: &Compared, told: usize, letters: usize) -> String {
    let text = |text: &str| escape(&short(text, letters));
    let head = compared.head.clone().unwrap_or_default();
    let number = head.changes;
    let (title, lead) = if compared.unreadable || compared.head.is_none() {
        (
            "Not compared".to_owned(),
            "This run’s catalog could not be read by machines.".to_owned(),
        )
    } else if let Some(with) = &head.with {
        let lead = format!(
            "This run of {} compared with the one of {}, over {} tables.",
            escape(&head.run),
            escape(with),
            head.tables
        );
        match number {
            0 => ("No changes".to_owned(), lead),
            1 => ("1 change".to_owned(), lead),
            _ => (format!("{number} changes"), lead),
        }
    } else if task.earlier.is_empty() {
        (
            "First run, no baseline".to_owned(),
            format!(
                "This run of {} is the first: nothing can have changed.",
                escape(&task.run)
            ),
        )
    } else {
        (
            "No baseline".to_owned(),
            format!(
                "This run of {} could not be compared: no earlier catalog says anything to machines.",
                escape(&task.run)
            ),
        )
    };
    let mut out = format!("<h1>{title}</h1>\n<p class=\"soft\">{lead}</p>\n");
    out.push_str(&list(compared, told, letters));
    if !compared.rows.is_empty() {
        out.push_str("<ul>\n");
        for (table, rows) in compared.rows.iter().take(told) {
            // Writing to a string can't fail.
            let _ = writeln!(out, "<li><code>{}</code> {}</li>", text(table), escape(rows));
        }
        out.push_str("</ul>\n");
        if head.tables > compared.rows.len().min(told) {
            let _ = writeln!(
                out,
                "<p>{} of {} tables.</p>",
                compared.rows.len().min(told),
                head.tables
            );
        }
    }
    let mut notes: Vec<String> = compared.notes.iter().map(|note| text(note)).collect();
    if !head.skipped.is_empty() {
        notes.push(format!(
            "passed over, since not readable by machines: {}",
            text(&head.skipped.join(", "))
        ));
    }
    if !notes.is_empty() {
        let shown = notes.len().min(told.min(6));
        let notes = &notes[..];
        let mut line = notes[..shown].join("; ");
        if shown < notes.len() {
            let _ = write!(line, "; and {} more", notes.len() - shown);
        }
        let _ = writeln!(out, "<p class=\"soft\">Not comparable: {line}.</p>");
    }
    out
}

/// The heaviest changes by their tables, then the names of the tables of the others.
fn list(compared: &Compared, told: usize, letters: usize) -> String {
    let text = |text: &str| escape(&short(text, letters));
    let mut out = String::new();
    let shown = &compared.changes[..compared.changes.len().min(told)];
    let mut tables: Vec<&str> = Vec::new();
    for change in shown {
        if !tables.contains(&change.on.as_str()) {
            tables.push(&change.on);
        }
    }
    for table in tables {
        // Writing to a string can't fail.
        let _ = write!(out, "<h2><code>{}</code></h2>\n<ul>\n", text(table));
        for change in shown.iter().filter(|change| change.on == table) {
            let _ = writeln!(out, "<li>{}</li>", words(change, letters));
        }
        out.push_str("</ul>\n");
    }
    let total = compared.head.as_ref().map_or(0, |head| head.changes);
    if total > shown.len() {
        let mut others: Vec<&str> = Vec::new();
        let cut = compared
            .changes
            .iter()
            .skip(told)
            .map(|change| change.on.as_str());
        for on in cut.chain(compared.rest.iter().map(String::as_str)) {
            if !others.contains(&on) {
                others.push(on);
            }
        }
        let named: Vec<String> = others
            .iter()
            .take(8)
            .map(|on| format!("<code>{}</code>", text(on)))
            .collect();
        let unnamed = others.len().saturating_sub(8) + compared.unnamed;
        let more = match unnamed {
            0 => String::new(),
            1 => " and 1 more table".to_owned(),
            _ => format!(" and {unnamed} more tables"),
        };
        let _ = writeln!(
            out,
            "<p>And {} more, in {}{more}.</p>",
            total - shown.len(),
            named.join(", ")
        );
    }
    out
}

fn words(change: &Change, letters: usize) -> String {
    let text = |text: &str| escape(&short(text, letters));
    let name = format!(
        "<code>{}</code>",
        text(
            change
                .name
                .strip_prefix(&format!("{}.", change.on))
                .unwrap_or(&change.name)
        )
    );
    let value = change
        .value
        .as_deref()
        .map_or(String::new(), |value| format!(" “{}”", text(value)));
    let what = match change.what.as_str() {
        "table" => "table".to_owned(),
        "column" => format!("column {name}"),
        "type" => format!("{name} type"),
        "null" => format!("{name} nullability"),
        "unique" => format!("{name} uniqueness"),
        "uniques" => "unique together".to_owned(),
        "nulls" => format!("{name} nulls"),
        "key" => "primary key".to_owned(),
        "kind" => "kind".to_owned(),
        "rows" => "rows".to_owned(),
        "reference" => format!("reference {name}"),
        "share" => format!("{name}{value} share"),
        "value" => format!("{name} value{value}"),
        "values" => format!("{name} distinct values"),
        "newest" => format!("newest {name} went back"),
        "stalled" => {
            let why = change.share.as_deref().unwrap_or_default();
            let newest = change.after.as_deref().unwrap_or_default();
            return format!(
                "newest {name} <b>stands still</b> at {} ({})",
                text(newest),
                escape(why)
            );
        }
        "warning" if change.name == change.on => "warning".to_owned(),
        "warning" => format!("{name} warning"),
        other => escape(other),
    };
    let (gone, new) = match change.what.as_str() {
        "value" => ("vanished", "appeared"),
        "warning" => ("solved", "new"),
        _ => ("gone", "new"),
    };
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            let share = change.share.as_deref().filter(|share| !share.is_empty());
            let share = share.map_or(String::new(), |share| format!(" ({})", escape(share)));
            format!("{what}: <s>{}</s> → <b>{}</b>{share}", text(before), text(after))
        }
        (Some(before), None) if change.what == "warning" => {
            format!("{what} <b>{gone}</b>: {}", text(before))
        }
        (Some(before), None) => format!("{what} <b class=\"bad\">{gone}</b> (was {})", text(before)),
        (None, Some(after)) if change.what == "warning" => format!("{what} <b>{new}</b>: {}", text(after)),
        (None, Some(after)) => format!("{what} <b>{new}</b> ({})", text(after)),
        (None, None) => what,
    }
}

//! The way to a summary: compare the catalogs, and write down what has changed.
//!
//! It must not know how catalogs are compared, nor how the page looks.

use serde::Deserialize;

use super::page::{self, Compared};
use super::past::Past;
use super::{BEGINNINGS, Move, cells, task};

#[derive(Debug, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Record {
    Compared(page::Head),
    Change(page::Change),
    Rest { tables: Vec<String>, of: usize },
    Note { text: String },
    Rows { on: String, rows: String },
    Unreadable {},
}

/// What is next.
pub(super) fn next(task: &task::Summary, past: &Past<'_>) -> Move {
    let begin = cells::compare(task);
    let begun = past.times(&begin[begin.len() - 1]);
    if begun == 0 || (past.lost() && begun < BEGINNINGS) {
        return Move::Run(begin);
    }
    match past.refusals() {
        0 => Move::Submit(page::changes(task, &read(past))),
        _ => Move::Stop(format!(
            "the builtin model's summary was not accepted: {}",
            past.last_refusal()
        )),
    }
}

fn read(past: &Past<'_>) -> Compared {
    let mut compared = Compared::default();
    let lines = past
        .outputs()
        .flat_map(str::lines)
        .filter(|line| line.starts_with('{'));
    for record in lines.filter_map(|line| serde_json::from_str(line).ok()) {
        match record {
            Record::Compared(head) => {
                compared = Compared {
                    head: Some(head),
                    ..Compared::default()
                };
            }
            Record::Change(change) => compared.changes.push(change),
            Record::Rest { tables, of } => {
                compared.unnamed = of.saturating_sub(tables.len());
                compared.rest = tables;
            }
            Record::Note { text } => compared.notes.push(text),
            Record::Rows { on, rows } => compared.rows.push((on, rows)),
            Record::Unreadable {} => compared.unreadable = true,
        }
    }
    compared
}

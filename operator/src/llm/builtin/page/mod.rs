//! The page that the builtin model hands in: facts as HTML, within a budget of bytes.
//!
//! It must not know how the facts were found. Nothing is cut without a word: "40 of 312".

mod changes;
mod chart;
mod column;
mod markup;
mod table;
mod warnings;

use std::fmt::Write as _;

pub(super) use self::changes::{Change, Compared, Head, changes};
use self::markup::{count, counted, name, qualified};
use self::table::{Around, Detail, full};
use self::warnings::{Warning, Weight};
use super::facts::{Facts, Found, Table};
use super::task::Catalog;
use crate::html::escape;

/// How many bytes a page may have.
const BUDGET: usize = 400_000;
/// How many it may have at most, when little more than names is left.
const MOST: usize = 475_000;
/// So many warnings are told at the top, the others on demand.
const TOLD: usize = 25;

/// From much to little: the first that fits is taken.
const DETAILS: [Detail; 9] = [
    detail(ALL, true, ALL, ALL, 400),
    detail(ALL, false, ALL, ALL, 300),
    detail(60, false, ALL, ALL, 300),
    detail(60, false, 60, ALL, 300),
    detail(20, false, 20, ALL, 200),
    detail(0, false, ALL, ALL, 200),
    detail(0, false, 20, 40, 200),
    detail(0, false, 5, 10, 100),
    detail(0, false, 0, 0, 25),
];
const ALL: usize = usize::MAX;
/// So many bytes are kept for what comes after the list of tables.
const REST: usize = 6_000;

const fn detail(full: usize, charts: bool, columns: usize, references: usize, warnings: usize) -> Detail {
    Detail {
        full,
        charts,
        columns,
        references,
        warnings,
    }
}

impl Detail {
    /// How many bytes a page of this detail may have.
    const fn budget(self) -> usize {
        if self.columns < 20 { MOST } else { BUDGET }
    }
}

/// The catalog. One that was refused before comes back plainer.
pub(super) fn catalog(task: &Catalog, facts: &Facts, problems: &[(&str, &str)], refused: usize) -> String {
    let mut page = String::new();
    for detail in DETAILS.iter().skip(refused * 2) {
        page = whole(task, facts, problems, *detail);
        if page.len() <= detail.budget() {
            break;
        }
    }
    page
}

fn whole(task: &Catalog, facts: &Facts, problems: &[(&str, &str)], detail: Detail) -> String {
    let warnings = warnings::of(facts);
    let around = Around::new(facts, &warnings);
    let title = match facts.database.name.trim() {
        "" => "Catalog".to_owned(),
        name => escape(name),
    };
    let mut out = format!(
        "<title>{title}</title>\n<div data-catalog=\"1\" data-run=\"{}\" data-asked=\"{}\"{}>\n",
        escape(&task.run),
        escape(&asked(&task.asked)),
        cut(&around, warnings.len(), detail),
    );
    out.push_str(&head(&title, task, facts));
    out.push_str(&list_of_warnings(&warnings, facts, detail.warnings));
    out.push_str(&index(
        &around,
        detail,
        detail.budget().saturating_sub(out.len() + REST),
    ));
    if detail.columns > 0 {
        for (number, table) in &facts.tables {
            if out.len() > detail.budget() {
                // It is not going to be taken.
                break;
            }
            out.push_str(&table::section(*number, table, &around, detail));
        }
    }
    out.push_str(&method(facts, problems, detail));
    out.push_str("</div>\n");
    out
}

/// What the page leaves out, for the next run: of that, nothing is claimed.
fn cut(around: &Around<'_>, warnings: usize, detail: Detail) -> String {
    let mut out = String::new();
    if warnings > detail.warnings {
        out.push_str(" data-cut-warnings=\"1\"");
    }
    if !around.facts.related || around.from.values().any(|list| list.len() > detail.references) {
        out.push_str(" data-cut-references=\"1\"");
    }
    out
}

/// What was asked for, for the next run; nothing if it is too long for a tag.
fn asked(asked: &[String]) -> String {
    let asked = serde_json::to_string(asked).unwrap_or_default();
    if asked.len() > 30_000 {
        "[]".to_owned()
    } else {
        asked
    }
}

fn head(title: &str, task: &Catalog, facts: &Facts) -> String {
    let measured = facts
        .tables
        .values()
        .filter(|table| table.problem.is_none())
        .count();
    let asked = facts.found.len() + facts.missing.len();
    let counted_rows: u64 = facts.tables.values().filter_map(|table| table.rows).sum();
    let columns: usize = facts.tables.values().map(|table| table.columns.len()).sum();
    let joins = facts
        .references
        .iter()
        .filter(|it| it.found && !it.possible)
        .count();
    let mut out = format!(
        "<header>\n<h1>{title}</h1>\n<p class=\"lead\">{} · {measured} of {asked} tables measured</p>\n<dl class=\"figures\"><div><dt>rows counted</dt><dd>{}</dd></div><div><dt>columns</dt><dd>{columns}</dd></div><div><dt>declared references</dt><dd>{}</dd></div><div><dt>joins found</dt><dd>{joins}</dd></div></dl>\n",
        escape(&facts.database.version),
        count(counted_rows),
        facts.references.iter().filter(|it| !it.found).count(),
    );
    if !task.intent.is_empty() {
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "<blockquote><p>{}</p><p><small>Asked by the author. The builtin model measures; it does not read questions.</small></p></blockquote>",
            escape(&task.intent)
        );
    }
    for missing in &facts.missing {
        let near: Vec<String> = missing.near.iter().map(|near| name(near)).collect();
        let near = if near.is_empty() {
            String::new()
        } else {
            format!(" Near it: {}.", near.join(", "))
        };
        let _ = writeln!(
            out,
            "<p class=\"look\" data-missing=\"{}\">{} was asked for and is not there.{near}</p>",
            escape(&missing.name),
            name(&missing.name)
        );
    }
    out.push_str("</header>\n");
    out
}

/// A warning, in words; with a link to its table where it stands elsewhere.
fn said(warning: &Warning, table: Option<&Table>) -> String {
    let (class, sign, word) = match warning.weight {
        Weight::Serious => ("bad", "▲", "wrong"),
        Weight::Look => ("look", "◆", "look"),
        Weight::Note => ("soft", "●", "note"),
    };
    let mut place = table.map_or(String::new(), |table| {
        format!(
            "<a href=\"#t{}\">{}</a> ",
            warning.table,
            qualified(&table.schema, &table.name)
        )
    });
    if let Some(column) = &warning.column {
        place.push_str(&name(column));
    }
    format!(
        "<span class=\"sign {class}\"><span aria-hidden=\"true\">{sign}</span> {word}</span><span>{place} {}</span>",
        escape(&warning.says)
    )
}

fn list_of_warnings(warnings: &[Warning], facts: &Facts, most: usize) -> String {
    let mut out = String::from("<section id=\"warnings\">\n<h2>Warnings</h2>\n");
    if warnings.is_empty() {
        out.push_str(
            "<p>None. Looked for: broken references, columns that are all null or constant, repeated identifiers, \
             dates in the future or far away, NaN and infinity, values of a wrong type, spellings that differ in \
             case, negative quantities, empty and stale tables.</p>\n</section>\n",
        );
        return out;
    }
    out.push_str("<ul class=\"warnings\">\n");
    for (at, warning) in warnings.iter().take(most).enumerate() {
        let of = facts.tables.get(&warning.table);
        let table = of.map(full).unwrap_or_default();
        let place = match &warning.column {
            Some(column) => format!("{table}.{column}"),
            None => table.clone(),
        };
        let attributes = format!(
            "data-warning=\"{}\" data-at=\"{}\" data-on=\"{}\" data-says=\"{}\"",
            warning.kind,
            escape(&place),
            escape(&table),
            escape(&warning.says),
        );
        if at == TOLD {
            // Writing to a string can't fail.
            let _ = write!(
                out,
                "</ul>\n<details><summary>{} more</summary>\n<ul class=\"warnings\">\n",
                warnings.len() - TOLD
            );
        }
        let _ = writeln!(out, "<li {attributes}>{}</li>", said(warning, of));
    }
    out.push_str("</ul>\n");
    if warnings.len() > TOLD {
        out.push_str("</details>\n");
    }
    if warnings.len() > most {
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "<p>{most} of {} are listed, the heaviest.</p>",
            warnings.len()
        );
    }
    out.push_str("</section>\n");
    out
}

/// The list of tables.
fn index(around: &Around<'_>, detail: Detail, room: usize) -> String {
    let facts = around.facts;
    if detail.columns == 0 {
        return names(facts, room);
    }
    let mut out = String::from(
        "<section id=\"tables\">\n<h2>Tables</h2>\n<div class=\"scroll\"><table class=\"index\"><caption class=\"unseen\">All tables, in the order in which they were asked for</caption>\n<thead><tr><th scope=\"col\">Table</th><th scope=\"col\" class=\"n\">Rows</th><th scope=\"col\" class=\"n\">Columns</th><th scope=\"col\">Data up to</th><th scope=\"col\" class=\"n\">Warnings</th></tr></thead>\n<tbody>\n",
    );
    for found in &facts.found {
        let number = found.table;
        let Some(table) = facts.tables.get(&number) else {
            out.push_str(&unmeasured(found));
            continue;
        };
        let newest = table::newest(table).map_or(String::new(), |(_, newest, mark)| {
            format!("{}{mark}", escape(newest.get(..10).unwrap_or(newest)))
        });
        let own = around.warnings_of(number);
        let class = match own.iter().map(|it| it.weight).min() {
            Some(Weight::Serious) => " bad",
            Some(Weight::Look) => " look",
            _ => "",
        };
        let purpose = table::purpose(table);
        let about = match (table.kind.as_str(), purpose.as_str()) {
            ("table", "") => String::new(),
            ("table", purpose) => format!("<small>{purpose}</small>"),
            (kind, "") => format!("<small>{}</small>", escape(kind)),
            (kind, purpose) => format!("<small>{} · {purpose}</small>", escape(kind)),
        };
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\"><a href=\"#t{number}\">{}</a>{about}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{newest}</td><td class=\"n{class}\">{}</td></tr>",
            qualified(&table.schema, &table.name),
            table::rows(table),
            found.columns,
            if own.is_empty() {
                String::new()
            } else {
                own.len().to_string()
            },
        );
    }
    out.push_str("</tbody></table></div>\n</section>\n");
    out
}

/// The list of tables where there is room for little more than names: of columns, and their types.
fn names(facts: &Facts, room: usize) -> String {
    let mut out = String::from(
        "<section id=\"tables\">\n<h2>Tables</h2>\n<p class=\"look\">There are too many columns for more than their names and types to be on one page: catalog fewer tables at once.</p>\n<div class=\"scroll\"><table class=\"index\"><caption class=\"unseen\">All tables, in the order in which they were asked for</caption>\n<thead><tr><th scope=\"col\">Table</th><th scope=\"col\" class=\"n\">Rows</th><th scope=\"col\">Columns</th></tr></thead>\n<tbody>\n",
    );
    let mut listed = 0;
    for found in &facts.found {
        let row = match facts.tables.get(&found.table) {
            Some(table) => format!(
                "<tr{}><th>{}</th><td class=\"n\">{}</td><td data-names=\"1\">{}</td></tr>",
                table::terse(table, found.columns),
                escape(&table::full(table)),
                table::rows(table),
                column::names(table.columns.iter())
            ),
            None => unmeasured(found),
        };
        if out.len() + row.len() > room {
            break;
        }
        listed += 1;
        out.push_str(&row);
        out.push('\n');
    }
    out.push_str("</tbody></table></div>\n");
    if facts.found.len() > listed {
        let _ = writeln!(
            out,
            "<p class=\"look\" data-cut-tables=\"1\">{listed} of {} tables are listed, for want of room on one page.</p>",
            facts.found.len()
        );
    }
    out.push_str("</section>\n");
    out
}

/// A table that is there, and could not be measured.
fn unmeasured(found: &Found) -> String {
    let full = format!("{}.{}", found.schema, found.name);
    format!(
        "<tr data-unmeasured=\"{}\"><th scope=\"row\">{}</th><td class=\"n\"><i>not measured</i></td><td class=\"n\">{}</td></tr>",
        escape(&full),
        name(&full),
        found.columns
    )
}

fn method(facts: &Facts, problems: &[(&str, &str)], detail: Detail) -> String {
    let exact = facts.tables.values().filter(|table| table.how == "exact").count();
    let sampled = facts
        .tables
        .values()
        .filter(|table| table.sample.is_some())
        .count();
    let mut out = format!(
        "<section id=\"method\">\n<h2>How it was measured</h2>\n<p>By Cataloger’s builtin model: fixed rules, no language model. {} measured whole, each in a snapshot of its own; what stands without a mark is exact. Values are distinct where the database calls them so.</p>\n",
        counted(
            u64::try_from(exact).unwrap_or_default(),
            "table was",
            "tables were"
        ),
    );
    if sampled > 0 {
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "<p>{} too large to be read more than once: rows, nulls and extremes without a mark come from one pass, what is marked ≈, ≥ or “seen” from a sample, with intervals that hold the truth with 99.9 %.</p>",
            counted(
                u64::try_from(sampled).unwrap_or_default(),
                "table was",
                "tables were"
            ),
        );
    }
    out.push_str(
        "<p>“In the future” means after the day of the run in UTC. Joins that are not declared were found by names, \
         then proved or dropped by the data; “possible” ones need a human eye. Values that may be about people are \
         left out, and only their shape is shown. What tables and columns mean is not guessed: comments are shown \
         where the database has them.</p>\n",
    );
    if !detail.charts {
        out.push_str(
            "<p>There were too many columns for drawings, or for all of what is known, on one page.</p>\n",
        );
    }
    for note in &facts.database.notes {
        let _ = writeln!(out, "<p>{}</p>", escape(note));
    }
    if !problems.is_empty() {
        out.push_str("<h3>What failed</h3>\n<ul>\n");
        for (code, problem) in problems.iter().take(20) {
            let _ = writeln!(
                out,
                "<li><code>{}</code>: {}</li>",
                escape(&markup::short(code.lines().next_back().unwrap_or_default(), 80)),
                escape(&markup::short(problem, 200))
            );
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
    out
}

//! A table as a section: facts in a line, warnings, relations, columns, and the view's text.
//!
//! It must not know other tables, but for their names and anchors.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::facts::{Column, Facts, Reference, Table};
use super::column::{self, Place};
use super::markup::{bytes, count, counted, name, percent, qualified, short};
use super::warnings::{self, Warning};
use crate::html::escape;

/// How much of a table is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Detail {
    /// So many columns of a table are told in full, with drawings or without.
    pub(super) full: usize,
    pub(super) charts: bool,
    /// So many have a row of their own. Of the others, names and types.
    pub(super) columns: usize,
    /// So many references of a table, at most.
    pub(super) references: usize,
    /// So many warnings, at most.
    pub(super) warnings: usize,
}

impl Detail {
    /// Without what makes a section more than a list.
    pub(super) const fn bare(self) -> bool {
        self.full == 0
    }
}

/// What sections know of each other.
pub(super) struct Around<'a> {
    pub(super) facts: &'a Facts,
    /// Warnings by the numbers of their tables.
    pub(super) warnings: BTreeMap<usize, Vec<&'a Warning>>,
    /// Numbers of tables by schema and name.
    pub(super) numbers: BTreeMap<(&'a str, &'a str), usize>,
    /// References by the numbers of the tables that they come from, and lead to.
    pub(super) from: BTreeMap<usize, Vec<&'a Reference>>,
    pub(super) to: BTreeMap<usize, Vec<&'a Reference>>,
}

impl<'a> Around<'a> {
    pub(super) fn new(facts: &'a Facts, warnings: &'a [Warning]) -> Self {
        let numbers = facts
            .tables
            .iter()
            .map(|(number, table)| ((table.schema.as_str(), table.name.as_str()), *number))
            .collect();
        let mut around = Self {
            facts,
            warnings: BTreeMap::new(),
            numbers,
            from: BTreeMap::new(),
            to: BTreeMap::new(),
        };
        for warning in warnings {
            around.warnings.entry(warning.table).or_default().push(warning);
        }
        for reference in &facts.references {
            around.from.entry(reference.table).or_default().push(reference);
            if let Some(target) = around.target(reference) {
                around.to.entry(target).or_default().push(reference);
            }
        }
        around
    }

    /// The warnings about a table.
    pub(super) fn warnings_of(&self, number: usize) -> &[&'a Warning] {
        self.warnings.get(&number).map_or(&[], Vec::as_slice)
    }

    /// How many columns the database says that a table has.
    fn columns(&self, number: usize) -> usize {
        let found = self.facts.found.iter().find(|found| found.table == number);
        found.map_or(0, |found| found.columns)
    }

    fn target(&self, reference: &Reference) -> Option<usize> {
        let (schema, name) = &reference.to;
        self.numbers.get(&(schema.as_str(), name.as_str())).copied()
    }
}

/// The qualified name of a table.
pub(super) fn full(table: &Table) -> String {
    format!("{}.{}", table.schema, table.name)
}

/// The rows of a table, and how they are known.
pub(super) fn rows(table: &Table) -> String {
    match (table.rows, table.estimate) {
        (Some(rows), _) => count(rows),
        (None, Some(estimate)) => format!("≈ {}<small>the database’s estimate</small>", count(estimate)),
        (None, None) => "<i>not counted</i>".to_owned(),
    }
}

/// The newest data: what is exact as it is, what was drawn as seen.
pub(super) fn newest(table: &Table) -> Option<(&Column, &str, &'static str)> {
    let (_, column, newest) = warnings::age(table)?;
    let mark = if column.newest.is_some() { "" } else { " seen" };
    Some((column, newest, mark))
}

/// The section of a table.
pub(super) fn section(number: usize, table: &Table, around: &Around<'_>, detail: Detail) -> String {
    let mut out = format!(
        "<section id=\"t{number}\"{}>\n<h2><small>{}</small> {}</h2>\n",
        attributes(table, around.columns(number)),
        escape(&table.kind),
        qualified(&table.schema, &table.name),
    );
    if let Some(comment) = &table.comment {
        // Writing to a string can't fail.
        let _ = writeln!(out, "<p>{}</p>", escape(comment));
    }
    out.push_str(&facts(number, table, around));
    let of_this = around.warnings_of(number);
    if !of_this.is_empty() && !detail.bare() {
        out.push_str("<ul class=\"warnings\">\n");
        for warning in of_this.iter().take(12) {
            let _ = writeln!(out, "<li>{}</li>", super::said(warning, None));
        }
        if of_this.len() > 12 {
            let _ = writeln!(out, "<li>and {} more</li>", of_this.len() - 12);
        }
        out.push_str("</ul>\n");
    }
    out.push_str(&relations(number, around, detail));
    if !table.columns.is_empty() {
        out.push_str(&columns(number, table, around, detail));
    }
    if table.columns.len() > detail.columns {
        let _ = writeln!(
            out,
            "<p class=\"look\">{} of {} columns have a row, for want of room on one page. The others are:</p>\n<p data-names=\"1\">{}</p>",
            count(u64::try_from(detail.columns).unwrap_or_default()),
            table.columns.len(),
            column::names(table.columns.iter().skip(detail.columns)),
        );
    }
    if let (Some(definition), false) = (&table.definition, detail.bare()) {
        let _ = writeln!(
            out,
            "<details><summary>Definition of the view</summary><p><code>{}</code></p></details>",
            escape(&definition.split_whitespace().collect::<Vec<_>>().join(" "))
        );
    }
    out.push_str("<p class=\"up\"><a href=\"#tables\">All tables</a></p>\n</section>\n");
    out
}

/// What the next run compares.
pub(super) fn attributes(table: &Table, columns: usize) -> String {
    let mut out = format!(
        " data-table=\"{}\" data-kind=\"{}\" data-how=\"{}\" data-key=\"{}\"",
        escape(&full(table)),
        escape(&table.kind),
        escape(&table.how),
        escape(&table.key.join(", ")),
    );
    if let Some(rows) = table.rows {
        // Writing to a string can't fail.
        let _ = write!(out, " data-counted=\"exact\" data-rows=\"{rows}\"");
    }
    if let Some((column, newest, "")) = newest(table) {
        let _ = write!(
            out,
            " data-newest=\"{}\" data-newest-in=\"{}\"",
            escape(newest),
            escape(&column.name)
        );
    }
    if table.problem.is_some() {
        out.push_str(" data-problem=\"1\"");
    }
    if table.columns.len() < columns {
        out.push_str(" data-cut=\"1\"");
    }
    if let Some(uniques) = uniques(table) {
        let _ = write!(out, " data-uniques=\"{uniques}\"");
    }
    out
}

/// The same, in short: what is left out is what most tables are.
pub(super) fn terse(table: &Table, columns: usize) -> String {
    [
        (" data-kind=\"table\"", ""),
        (" data-how=\"exact\"", ""),
        (" data-counted=\"exact\"", ""),
    ]
    .iter()
    .fold(attributes(table, columns), |out, (usual, none)| {
        out.replace(usual, none)
    })
}

/// What is unique by more than one column, but for the key.
fn uniques(table: &Table) -> Option<String> {
    let mut together: Vec<String> = table
        .uniques
        .iter()
        .filter(|unique| unique.len() > 1)
        .map(|unique| format!("({})", escape(&unique.join(", "))))
        .collect();
    together.sort();
    (!together.is_empty()).then(|| together.join(", "))
}

fn facts(number: usize, table: &Table, around: &Around<'_>) -> String {
    let mut items = vec![(
        "Rows",
        match (table.rows, table.estimate) {
            (Some(rows), _) => format!("<b>{}</b> counted", count(rows)),
            (None, Some(estimate)) => format!("<b>≈ {}</b> by the database’s estimate", count(estimate)),
            (None, None) => "<i>not counted</i>".to_owned(),
        },
    )];
    let columns = around.columns(number).max(table.columns.len());
    let mut said = columns.to_string();
    if columns > table.columns.len() {
        let _ = write!(said, ", {} measured", table.columns.len());
    }
    items.push(("Columns", said));
    items.push((
        "Key",
        if table.key.is_empty() {
            "<i>none declared</i>".to_owned()
        } else {
            table
                .key
                .iter()
                .map(|key| name(key))
                .collect::<Vec<_>>()
                .join(", ")
        },
    ));
    if let Some(uniques) = uniques(table) {
        items.push(("Unique together", uniques));
    }
    if let Some((column, newest, mark)) = newest(table) {
        items.push((
            "Data up to",
            format!("<b>{}</b>{mark} in {}", escape(newest), name(&column.name)),
        ));
    }
    if let Some(size) = table.size {
        let about = if table.size_about { "≈ " } else { "" };
        items.push(("Size", format!("{about}{}", bytes(size))));
    }
    if let Some(sample) = &table.sample {
        items.push((
            "Sample",
            format!(
                "{}, {}",
                counted(sample.rows, "row", "rows"),
                escape(&sample.method)
            ),
        ));
    }
    let items: Vec<String> = items
        .into_iter()
        .map(|(term, said)| format!("<div><dt>{term}</dt><dd>{said}</dd></div>"))
        .collect();
    format!("<dl>{}</dl>\n", items.concat())
}

/// What refers where: declared first, then what was found, which looks different.
fn relations(number: usize, around: &Around<'_>, detail: Detail) -> String {
    let from = around.from.get(&number).map_or(&[][..], Vec::as_slice);
    let to = around.to.get(&number).map_or(&[][..], Vec::as_slice);
    let mut out = String::new();
    for (title, list, outward) in [("References", from, true), ("Referenced by", to, false)] {
        if list.is_empty() {
            continue;
        }
        // Writing to a string can't fail.
        let _ = write!(out, "<h3>{title}</h3>\n<ul class=\"relations\">\n");
        let most = if outward { detail.references } else { 40 };
        for reference in list.iter().take(most) {
            out.push_str(&relation(reference, outward, around));
        }
        if list.len() > most {
            let _ = writeln!(out, "<li>and {} more</li>", list.len() - most);
        }
        out.push_str("</ul>\n");
    }
    out
}

fn relation(reference: &Reference, outward: bool, around: &Around<'_>) -> String {
    let Some(table) = around.facts.tables.get(&reference.table) else {
        return String::new();
    };
    let from = format!("{}.{}", full(table), reference.columns.join(", "));
    let (schema, to) = &reference.to;
    let to = format!("{schema}.{to}.{}", reference.to_columns.join(", "));
    let way = match (reference.found, reference.possible) {
        (false, _) => "declared",
        (true, false) => "found",
        (true, true) => "possible",
    };
    let mut out = format!("<li class=\"{way}\"");
    if outward {
        // Writing to a string can't fail.
        let _ = write!(
            out,
            " data-reference=\"{} → {}\" data-way=\"{way}\" data-on=\"{}\" data-from=\"{}\" data-to=\"{}\" data-to-table=\"{}\"",
            escape(&from),
            escape(&to),
            escape(&full(table)),
            escape(&from),
            escape(&to),
            escape(&format!("{schema}.{}", reference.to.1)),
        );
    }
    let link = |text: &str, number: Option<usize>| match number {
        Some(number) => format!("<a href=\"#t{number}\">{}</a>", name(text)),
        None => name(text),
    };
    let _ = write!(
        out,
        "><span class=\"way\">{way}</span> {} <span aria-label=\"refers to\">→</span> {}",
        if outward {
            name(&reference.columns.join(", "))
        } else {
            link(&from, Some(reference.table))
        },
        if outward {
            link(&to, around.target(reference))
        } else {
            name(&reference.to_columns.join(", "))
        },
    );
    let _ = writeln!(out, " <small>{}</small></li>", proof(reference));
    out
}

fn proof(reference: &Reference) -> String {
    let mut parts = Vec::new();
    match (reference.orphans, reference.sampled.or(reference.filled)) {
        (Some(0), Some(0)) => parts.push("no values yet".to_owned()),
        (Some(0), Some(of)) if reference.sampled.is_some() => {
            parts.push(format!("all of {} values looked at exist", count(of)));
        }
        (Some(0), Some(of)) => parts.push(format!("all {} values exist", count(of))),
        (Some(orphans), Some(of)) => parts.push(format!(
            "<b class=\"bad\">{} of {} ({}) refer to nothing</b>",
            count(orphans),
            count(of),
            percent(orphans, of)
        )),
        _ if reference.enforced => parts.push("enforced by the database".to_owned()),
        _ => parts.push("not proved".to_owned()),
    }
    if let Some(problem) = &reference.problem {
        parts.push(escape(problem));
    }
    parts.extend(reference.evidence.iter().map(|evidence| escape(evidence)));
    parts.join(" · ")
}

fn columns(number: usize, table: &Table, around: &Around<'_>, detail: Detail) -> String {
    let mut out = format!(
        "<div class=\"scroll\"><table class=\"columns\"><caption class=\"unseen\">Columns of {}</caption>\n<thead><tr><th scope=\"col\">Column</th><th scope=\"col\" class=\"n\">Null</th><th scope=\"col\" class=\"n\">Distinct</th><th scope=\"col\" class=\"chart\">Spread</th><th scope=\"col\">Values</th></tr></thead>\n<tbody>\n",
        name(&full(table))
    );
    for (at, column) in table.columns.iter().take(detail.columns).enumerate() {
        if at >= detail.full {
            out.push_str(&column::bare(table, column));
            continue;
        }
        let reference = around
            .from
            .get(&number)
            .into_iter()
            .flatten()
            .find(|it| it.columns == [column.name.as_str()] && !it.possible);
        let to = reference.and_then(|it| Some((it, around.target(it)?)));
        let anchor = to.map(|(_, target)| format!("t{target}"));
        let place = Place {
            key: table.key.contains(&column.name),
            to: to
                .zip(anchor.as_deref())
                .map(|((it, _), anchor)| (anchor, it.to.1.as_str(), it.found)),
            charts: detail.charts,
        };
        out.push_str(&column::row(table, column, place));
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// What a table is for, as far as it says itself.
pub(super) fn purpose(table: &Table) -> String {
    table
        .comment
        .as_deref()
        .map(|comment| escape(&short(comment, 100)))
        .unwrap_or_default()
}

//! What looks wrong, by weight: each with what was measured, and from where on it counts.
//!
//! It must not know how it is shown.

use super::super::facts::{Column, Facts, Reference, Table};
use super::markup::{count, counted, percent, short};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Results are wrong because of it.
    Serious,
    /// Somebody should look.
    Look,
    /// Good to know.
    Note,
}

/// Something that looks wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Warning {
    pub(super) weight: Weight,
    /// What it is, for machines.
    pub(super) kind: &'static str,
    /// Which table, by its number.
    pub(super) table: usize,
    pub(super) column: Option<String>,
    /// What was measured. Not escaped.
    pub(super) says: String,
}

/// Fewer rows say little.
const ENOUGH: u64 = 20;
/// A table whose newest row is older is stale, in days.
const STALE: i64 = 365;

/// All of them, the heaviest first.
pub(super) fn of(facts: &Facts) -> Vec<Warning> {
    let mut out = Vec::new();
    for (number, table) in &facts.tables {
        let mut add = |weight, kind, column: Option<&Column>, says: String| {
            out.push(Warning {
                weight,
                kind,
                table: *number,
                column: column.map(|column| column.name.clone()),
                says,
            });
        };
        of_table(table, &mut add);
        for column in &table.columns {
            of_column(table, column, &mut add);
        }
    }
    out.extend(facts.references.iter().filter_map(of_reference));
    out.sort_by_key(|warning| warning.weight);
    out
}

type Add<'a> = dyn FnMut(Weight, &'static str, Option<&Column>, String) + 'a;

fn of_table(table: &Table, add: &mut Add<'_>) {
    if let Some(problem) = &table.problem {
        add(
            Weight::Serious,
            "unread",
            None,
            format!("could not be measured: {problem}"),
        );
    }
    if table.rows == Some(0) {
        add(Weight::Look, "empty", None, "has no rows".to_owned());
    }
    if table.key.is_empty() && table.kind.contains("table") && table.kind != "foreign table" {
        let unique = if table.uniques.is_empty() {
            ", nor any other unique constraint"
        } else {
            ""
        };
        add(
            Weight::Note,
            "keyless",
            None,
            format!("has no primary key{unique}"),
        );
    }
    if let Some((days, column, newest)) = age(table)
        && days > STALE
        && column.newest.is_some()
    {
        add(
            Weight::Note,
            "stale",
            None,
            format!(
                "newest {} is {newest}, {} days before the run (more than {STALE})",
                column.name,
                count(days.unsigned_abs())
            ),
        );
    }
}

/// The newest row, by the column that says so best: how old it is, and where that stands.
pub(super) fn age(table: &Table) -> Option<(i64, &Column, &str)> {
    let at = day(&table.at)?;
    table
        .columns
        .iter()
        .filter(|column| column.kind == "time" && column.personal.is_none())
        .filter_map(|column| {
            let newest = column.newest.as_ref().or(column.most_seen.as_ref())?;
            Some((day(&newest.0)?, column, newest.0.as_str()))
        })
        .filter(|(newest, ..)| *newest <= at)
        .max_by_key(|(newest, ..)| *newest)
        .map(|(newest, column, text)| (at - newest, column, text))
}

/// The number of a day.
fn day(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.get(..10)?.parse().ok()?;
    let since = date.since(jiff::civil::date(1970, 1, 1)).ok()?;
    Some(i64::from(since.get_days()))
}

fn of_column(table: &Table, column: &Column, add: &mut Add<'_>) {
    if let Some(problem) = &column.problem {
        add(
            Weight::Look,
            "unread",
            Some(column),
            format!("could not be measured: {problem}"),
        );
    }
    // Of what was drawn, nothing is said here: it may be chance.
    let (Some(rows), Some(nulls)) = (table.rows, column.nulls) else {
        return;
    };
    let filled = rows.saturating_sub(nulls);
    let mut some = |weight, kind, number: Option<u64>, says: &str| {
        if let Some(number) = number.filter(|number| *number > 0) {
            let share = percent(number, rows).replace("&lt;", "<").replace("&gt;", ">");
            add(
                weight,
                kind,
                Some(column),
                format!("{} ({share}) {says}", counted(number, "row", "rows")),
            );
        }
    };
    some(
        Weight::Serious,
        "nan",
        column.nan,
        "with NaN, which poisons sums and averages",
    );
    some(
        Weight::Serious,
        "infinite",
        column.infinite,
        "with an infinite value",
    );
    some(
        Weight::Serious,
        "mixed",
        column.mixed,
        "with a value of another type than the column's",
    );
    some(
        Weight::Look,
        "malformed",
        column.malformed,
        "with a value that is no date",
    );
    some(
        Weight::Serious,
        "zero-date",
        column.zero_dates,
        "with the date 0000-00-00",
    );
    some(Weight::Look, "future", column.future, "after the day of the run");
    some(
        Weight::Look,
        "outside",
        column.outside,
        "with a date before 1900-01-02 or from 2100 on, which may stand for something else",
    );
    some(
        Weight::Look,
        "unknown",
        column.unknown,
        "with a text that means “unknown”, beside real nulls",
    );
    if never_negative(&column.name) {
        some(
            Weight::Look,
            "negative",
            column.negatives,
            "below zero, where the name says that none should be",
        );
    }
    if column.kind == "text" && column.not_null {
        some(
            Weight::Note,
            "blank",
            column.empty,
            "with an empty text, where null is not allowed",
        );
    }
    of_values(table, column, (rows, filled), add);
}

/// What all values together tell.
fn of_values(table: &Table, column: &Column, (rows, filled): (u64, u64), add: &mut Add<'_>) {
    if filled == 0 && rows > 0 {
        add(
            Weight::Look,
            "null",
            Some(column),
            format!("is null in all {}", counted(rows, "row", "rows")),
        );
    } else if column.distinct == Some(1) && filled >= ENOUGH && column.kind != "bool" {
        let value = column.top.first().and_then(|top| top.value.as_deref());
        let value = value.map_or(String::new(), |value| format!(" {:?}", short(value, 30)));
        add(
            Weight::Note,
            "constant",
            Some(column),
            format!("has one value only{value} in {}", counted(filled, "row", "rows")),
        );
    }
    for group in &column.variants {
        let group: Vec<String> = group
            .iter()
            .map(|value| format!("{:?}", short(value, 30)))
            .collect();
        add(
            Weight::Look,
            "variants",
            Some(column),
            format!("has {}, which differ in case or spaces only", group.join(" and ")),
        );
    }
    if let Some(distinct) = column.distinct
        && !column.unique
        && is_identifier(table, column)
        && filled >= ENOUGH
        && distinct < filled
        && (filled - distinct) * 20 <= filled
    {
        let doubles = filled - distinct;
        add(
            Weight::Serious,
            "doubles",
            Some(column),
            format!(
                "{} of {} repeat another one, where the name says a key (at most 5 % do)",
                counted(doubles, "value", "values"),
                count(filled)
            ),
        );
    }
}

fn words(name: &str) -> Vec<String> {
    name.split(|sign: char| !sign.is_alphanumeric())
        .map(str::to_lowercase)
        .collect()
}

fn never_negative(name: &str) -> bool {
    const WORDS: [&str; 12] = [
        "price", "qty", "quantity", "age", "weight", "height", "width", "length", "stock", "count", "cents",
        "size",
    ];
    words(name).iter().any(|word| WORDS.contains(&word.as_str()))
}

fn is_identifier(table: &Table, column: &Column) -> bool {
    let words = words(&column.name);
    let own = |word: &String| {
        let table = table.name.to_lowercase();
        table == *word || table.strip_suffix('s') == Some(word)
    };
    match words.as_slice() {
        [one] => ["id", "uuid", "sku", "code", "isbn", "email", "number"].contains(&one.as_str()),
        [first, last] => own(first) && ["id", "no", "nr", "number", "code", "uuid"].contains(&last.as_str()),
        _ => false,
    }
}

fn of_reference(reference: &Reference) -> Option<Warning> {
    let orphans = reference.orphans.filter(|orphans| *orphans > 0)?;
    let of = reference.sampled.or(reference.filled)?;
    let (one, many, drawn) = if reference.sampled.is_some() {
        ("value", "values", " looked at")
    } else {
        ("row", "rows", "")
    };
    let found = if reference.found {
        " (a join that is not declared)"
    } else {
        ""
    };
    Some(Warning {
        weight: Weight::Serious,
        kind: "orphans",
        table: reference.table,
        column: Some(reference.columns.join(", ")),
        says: format!(
            "{} of {}{drawn} refer to no {}.{}{found}",
            counted(orphans, one, many),
            count(of),
            reference.to.1,
            reference.to_columns.join(", "),
        ),
    })
}

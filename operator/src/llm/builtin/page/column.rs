//! A column as a row of its table's list: what it is, what it holds, and how that was found out.
//!
//! It must not know other columns.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::facts::{Column, Scalar, Table, Top};
use super::chart;
use super::markup::{at_most, between, count, counted, name, percent, short};
use crate::html::escape;

/// So many values are "few": each is named.
pub(super) const FEW: u64 = 8;
/// How much of a value is shown, in letters.
const VALUE: usize = 40;

/// What else is known of a column.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Place<'a> {
    /// It is part of the key.
    pub(super) key: bool,
    /// Where it refers to: an anchor, and a name. Found, or declared.
    pub(super) to: Option<(&'a str, &'a str, bool)>,
    /// The row has a drawing.
    pub(super) charts: bool,
}

/// The row.
pub(super) fn row(table: &Table, column: &Column, place: Place<'_>) -> String {
    let chart = if place.charts {
        chart(table, column)
    } else {
        String::new()
    };
    format!(
        "<tr{}><th scope=\"row\">{}{}<small>{}</small></th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"chart\">{chart}</td><td>{}</td></tr>\n",
        attributes(table, column),
        name(&column.name),
        badges(column, place),
        kind(column),
        nulls(table, column),
        distinct(table, column),
        values(table, column),
    )
}

/// What the next run compares.
fn attributes(table: &Table, column: &Column) -> String {
    let mut out = format!(
        " data-column=\"{}\" data-type=\"{}\" data-null=\"{}\"",
        escape(&column.name),
        escape(&column.r#type),
        if column.not_null { "not null" } else { "null" },
    );
    let mut add = |name: &str, value: &str| {
        // Writing to a string can't fail.
        let _ = write!(out, " data-{name}=\"{value}\"");
    };
    if column.unique {
        add("unique", "1");
    }
    if let (Some(nulls), Some(rows)) = (column.nulls, table.rows) {
        add("nulls", &nulls.to_string());
        add("of", &rows.to_string());
    } else if let Some((least, most)) = column.nulls_share {
        add("between", &format!("{least} {most}"));
    }
    if let Some(distinct) = column.distinct {
        add("distinct", &distinct.to_string());
    }
    if column.personal.is_some() {
        add("personal", "1");
    }
    let leading = leads(table, column);
    if has_few(column) || leading {
        let top: Vec<(&str, u64)> = column
            .top
            .iter()
            .filter_map(|top| Some((top.value.as_deref()?, top.rows)))
            .collect();
        // All values, or the most frequent ones.
        let name = if leading { "often" } else { "top" };
        add(name, &escape(&serde_json::to_string(&top).unwrap_or_default()));
    }
    out
}

/// Whether some of many values are frequent, as far as all were counted. Of times it is always others.
fn leads(table: &Table, column: &Column) -> bool {
    !has_few(column)
        && column.kind != "time"
        && column.personal.is_none()
        && column.distinct.is_some()
        && column
            .top
            .first()
            .zip(filled(table, column))
            .is_some_and(|(top, filled)| top.rows * 20 >= filled)
}

fn badges(column: &Column, place: Place<'_>) -> String {
    let mut out = String::new();
    if place.key {
        out.push_str(" <abbr class=\"key\" title=\"primary key\">key</abbr>");
    } else if column.unique {
        out.push_str(" <abbr class=\"key too\" title=\"declared unique\">unique</abbr>");
    }
    if let Some((anchor, to, found)) = place.to {
        // Writing to a string can't fail.
        let _ = write!(
            out,
            " <a class=\"ref{}\" href=\"#{anchor}\"><span aria-hidden=\"true\">→ </span>{}</a>",
            if found { " guess" } else { "" },
            escape(to),
        );
    }
    out
}

fn kind(column: &Column) -> String {
    let mut out = escape(&short(&column.r#type, 60));
    if column.not_null {
        out.push_str(" · not null");
    }
    if column.generated {
        out.push_str(" · generated");
    }
    if let Some(default) = &column.default {
        // Writing to a string can't fail.
        let _ = write!(out, " · default {}", escape(&short(default, 30)));
    }
    out
}

fn nulls(table: &Table, column: &Column) -> String {
    if let (Some(nulls), Some(rows)) = (column.nulls, table.rows) {
        return percent(nulls, rows);
    }
    let drawn = table.sample.as_ref().map_or(0, |sample| sample.rows);
    match (column.nulls_seen, column.nulls_share) {
        (Some(0), Some((_, most))) => format!(
            "none seen<small>at most {} %, of {} sampled</small>",
            at_most(most, 2),
            count(drawn)
        ),
        (Some(seen), Some(share)) => format!(
            "≈ {}<small>{}, of {} sampled</small>",
            percent(seen, drawn),
            between(share),
            count(drawn)
        ),
        (Some(seen), None) => format!(
            "≈ {}<small>of {} sampled</small>",
            percent(seen, drawn),
            count(drawn)
        ),
        _ => "<i>not measured</i>".to_owned(),
    }
}

fn distinct(table: &Table, column: &Column) -> String {
    match (column.distinct, column.distinct_seen) {
        (Some(distinct), _) => {
            let filled = filled(table, column);
            let note = match filled {
                Some(filled) if filled == distinct && filled > 1 => "<small>all distinct</small>",
                _ => "",
            };
            format!("{}{note}", count(distinct))
        }
        (None, Some(seen)) => format!(
            "≥ {}<small>{} sampled</small>",
            count(seen),
            count(column.drawn.unwrap_or_default())
        ),
        _ if filled(table, column) == Some(0) => "0".to_owned(),
        _ => "<i>not measured</i>".to_owned(),
    }
}

/// How many rows have a value, if that was counted.
fn filled(table: &Table, column: &Column) -> Option<u64> {
    Some(table.rows?.saturating_sub(column.nulls?))
}

/// Whether every value is named.
fn has_few(column: &Column) -> bool {
    column.personal.is_none()
        && column
            .distinct
            .is_some_and(|distinct| distinct <= FEW && usize::try_from(distinct) == Ok(column.top.len()))
}

fn chart(table: &Table, column: &Column) -> String {
    if column.personal.is_some() && column.kind != "number" {
        return String::new();
    }
    let distinct = column.distinct.or(column.distinct_seen).unwrap_or_default();
    let of = filled(table, column)
        .filter(|_| column.distinct.is_some())
        .or(column.drawn);
    if (2..=FEW).contains(&distinct) && !column.top.is_empty() && column.kind != "time" {
        let parts: Vec<u64> = column.top.iter().map(|top| top.rows).collect();
        return chart::bar(&parts, of.unwrap_or_default());
    }
    // Of values that are all distinct, and evenly spread, a drawing says nothing.
    if column.kind == "number" && filled(table, column) == column.distinct && is_even(&column.bins) {
        return String::new();
    }
    chart::histogram(&column.bins)
}

fn is_even(bins: &[u64]) -> bool {
    let (least, most) = (bins.iter().min(), bins.iter().max());
    matches!((least, most), (Some(least), Some(most)) if most - least <= most / 5 + 1)
}

fn values(table: &Table, column: &Column) -> String {
    let mut parts = Vec::new();
    if let Some(comment) = &column.comment {
        parts.push(format!("<p>{}</p>", escape(&short(comment, 200))));
    }
    if let Some(problem) = &column.problem {
        parts.push(format!(
            "<p class=\"look\">could not be measured: {}</p>",
            escape(problem)
        ));
    }
    let sampled = column.distinct.is_none() && column.distinct_seen.is_some();
    let of = if sampled {
        column.drawn
    } else {
        filled(table, column)
    };
    if of == Some(0) && table.rows != Some(0) {
        parts.push("always null".to_owned());
    } else if let Some(personal) = &column.personal {
        parts.push(hidden(column, personal));
    } else if let (
        Some(1),
        Some(Top {
            value: Some(value), ..
        }),
    ) = (column.distinct, column.top.first())
    {
        parts.push(format!("always {}", value_of(value)));
    } else if has_few(column) || (sampled && column.distinct_seen.is_some_and(|seen| seen <= FEW)) {
        parts.push(tops(&column.top, of));
    } else {
        parts.extend(range(column));
        parts.extend(frequent(column, of));
    }
    parts.extend(counts(table, column, of));
    parts.join("")
}

/// Of what is personal, only the shape.
fn hidden(column: &Column, personal: &str) -> String {
    let shapes: Vec<String> = column
        .shapes
        .iter()
        .map(|shape| format!("<code>{}</code>", escape(shape)))
        .collect();
    let like = if shapes.is_empty() {
        String::new()
    } else {
        format!(", shaped like {}", shapes.join(", "))
    };
    format!("<i>not shown</i> ({}){like}", escape(personal))
}

fn value_of(value: &str) -> String {
    if value.is_empty() {
        "<i>empty text</i>".to_owned()
    } else {
        format!("<q>{}</q>", escape(&short(value, VALUE)))
    }
}

fn range(column: &Column) -> Option<String> {
    let plain = |value: &Scalar| escape(&short(&value.0, VALUE));
    let ends = match (&column.min, &column.max, &column.least_seen, &column.most_seen) {
        (Some(least), Some(most), ..) => format!("{} … {}", plain(least), plain(most)),
        (_, _, Some(least), Some(most)) => {
            format!("{} … {} <small>seen</small>", plain(least), plain(most))
        }
        _ => return None,
    };
    let mut out = format!("<span class=\"v\">{ends}</span>");
    if let [low, middle, high] = column.quartiles.as_slice() {
        let about = if column.drawn.is_some() { "≈ " } else { "" };
        let bounds = |at: usize| {
            let bounds = column.quartile_bounds.get(at);
            bounds.map_or(String::new(), |(least, most)| {
                format!(
                    " <small class=\"inline\">({} to {})</small>",
                    plain(least),
                    plain(most)
                )
            })
        };
        // Writing to a string can't fail.
        let _ = write!(
            out,
            "<small>median {about}{}{}, half are {about}{}{} … {about}{}{}</small>",
            plain(middle),
            bounds(1),
            plain(low),
            bounds(0),
            plain(high),
            bounds(2),
        );
    }
    if let (Some(period), false) = (&column.period, column.bins.is_empty()) {
        let _ = write!(out, "<small>drawn by {}</small>", escape(period));
    }
    Some(out)
}

/// The most frequent value, where it is frequent.
fn frequent(column: &Column, of: Option<u64>) -> Option<String> {
    let (top, of) = (column.top.first()?, of.filter(|of| *of > 0)?);
    let often = top.rows * 20 >= of;
    (often && top.value.is_some()).then(|| {
        let often: Vec<Top> = column
            .top
            .iter()
            .take_while(|top| top.rows * 20 >= of)
            .take(5)
            .cloned()
            .collect();
        format!("<small>most often {}</small>", tops(&often, Some(of)))
    })
}

fn tops(tops: &[Top], of: Option<u64>) -> String {
    let of = of.unwrap_or_default();
    let parts: Vec<String> = tops
        .iter()
        .filter_map(|top| {
            let value = value_of(top.value.as_deref()?);
            Some(match top.between {
                Some(share) => format!(
                    "{value} <b>≈ {}</b> <small class=\"inline\">({})</small>",
                    percent(top.rows, of),
                    between(share)
                ),
                None => format!("{value} <b>{}</b>", percent(top.rows, of)),
            })
        })
        .collect();
    format!("<span class=\"top\">{}</span>", parts.join(", "))
}

/// What else was counted, where there is any of it.
fn counts(table: &Table, column: &Column, of: Option<u64>) -> Option<String> {
    let mut parts = Vec::new();
    // What no pass has counted is a sample's.
    let seen = if table.rows.is_none() { " seen" } else { "" };
    match (column.shortest, column.longest, column.kind.as_str()) {
        (Some(least), Some(most), "text") if column.top.is_empty() || most > 20 => {
            let one = if least == most {
                count(most)
            } else {
                format!("{}–{}", count(least), count(most))
            };
            parts.push(format!("{one} letters{seen}"));
        }
        (Some(least), Some(most), "blob") => {
            parts.push(format!("{}–{} bytes{seen}", count(least), count(most)));
        }
        (Some(least), Some(most), "array") => {
            parts.push(format!("{}–{} elements{seen}", count(least), count(most)));
        }
        (Some(least), Some(most), "json") => {
            parts.push(format!("{}–{} letters{seen}", count(least), count(most)));
        }
        _ => {}
    }
    for (number, one, many) in [
        (column.zeros.filter(|_| !has_few(column)), "zero", "zeros"),
        (column.negatives, "negative", "negative"),
        (column.nan, "NaN", "NaN"),
        (column.infinite, "infinite", "infinite"),
        (column.zero_dates, "of 0000-00-00", "of 0000-00-00"),
        (column.mixed, "of another type", "of another type"),
        (column.malformed, "no date", "no dates"),
        (column.future, "in the future", "in the future"),
        (
            column.outside,
            "before 1900 or after 2099",
            "before 1900 or after 2099",
        ),
        (column.empty, "empty", "empty"),
    ] {
        if let Some(number) = number.filter(|number| *number > 0 && Some(*number) != of) {
            parts.push(counted(number, one, many));
        }
    }
    (!parts.is_empty()).then(|| format!("<small>{}</small>", parts.join(" · ")))
}

/// The row, where there is room for names only.
pub(super) fn bare(table: &Table, column: &Column) -> String {
    format!(
        "<tr{}><th scope=\"row\">{}<small>{}</small></th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"chart\"></td><td></td></tr>\n",
        attributes(table, column),
        name(&column.name),
        escape(&short(&column.r#type, 40)),
        nulls(table, column),
        distinct(table, column),
    )
}

/// Columns of which there is room for names and types only, each type once. In it stands nothing else: the next
/// run reads it.
pub(super) fn names<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    let mut by_type: BTreeMap<&str, String> = BTreeMap::new();
    for column in columns {
        let name = escape(&column.name);
        let list = by_type.entry(column.r#type.as_str()).or_default();
        list.push_str(if list.is_empty() { " " } else { ", " });
        // A name that could be taken for two, or for another one, stands in an element of its own.
        if name.is_empty() || name.contains(',') || name.trim() != name {
            // Writing to a string can't fail.
            let _ = write!(list, "<i>{name}</i>");
        } else {
            list.push_str(&name);
        }
    }
    let mut out = String::new();
    for (kind, names) in by_type {
        let _ = write!(out, "<b>{}</b>{names} ", escape(kind));
    }
    out
}

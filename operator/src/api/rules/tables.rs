//! How tables are named: as the sandbox's preflight reads it. Must not know a database.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Rule, text};

pub(in crate::api) static TABLE: Rule = Rule::new(
    r#"self.matches(r'^("([^"\p{Cc}]|"")+"|[^\s\p{Z}\p{Cc};".]+)([.]("([^"\p{Cc}]|"")+"|[^\s\p{Z}\p{Cc};".]+))*$')"#,
    "must name a table: TABLE, SCHEMA.TABLE or a pattern such as sales.*, without spaces and ';'; odd names in double quotes, as \"Odd Name\"",
    |value| text(value, is_table),
);

pub(in crate::api) static ONCE: Rule = Rule::new(
    // A dot, an asterisk or a quote within quotes means something else without them.
    r#"self.all(name, !name.contains('"') || name.contains('""') || !name.matches(r'^([^"]|"[^".*?]*")*$') || !(name.replace('"', '') in self))"#,
    "a table is there twice, in double quotes and without: keep one",
    is_once,
);

pub(super) const ALL: &[&Rule] = &[&TABLE, &ONCE];

fn is_table(name: &str) -> bool {
    let mut rest = name;
    loop {
        let end = if rest.starts_with('"') {
            quoted(rest)
        } else {
            let plain = |it: char| !it.is_whitespace() && !it.is_control() && !matches!(it, ';' | '"' | '.');
            rest.find(|it| !plain(it)).unwrap_or(rest.len())
        };
        if end == 0 {
            return false;
        }
        rest = &rest[end..];
        if rest.is_empty() {
            return true;
        }
        let Some(next) = rest.strip_prefix('.') else {
            return false;
        };
        rest = next;
    }
}

/// How long the quoted part at the begin is, with quotes that stand for themselves as `""`; 0 if there is none.
fn quoted(text: &str) -> usize {
    let mut end = 1;
    while let Some(length) = text[end..].find('"') {
        end += length + 1;
        if text[end..].starts_with('"') {
            end += 1;
            continue;
        }
        let inner = &text[1..end - 1];
        return if inner.is_empty() || inner.contains(char::is_control) {
            0
        } else {
            end
        };
    }
    0
}

fn is_once(tables: &Value) -> bool {
    let tables: BTreeSet<&str> = tables
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    // What is in quotes is every second piece.
    let is_plain = |name: &str| {
        let pieces: Vec<&str> = name.split('"').collect();
        let mut inner = pieces.iter().skip(1).step_by(2);
        pieces.len() % 2 == 1 && !name.contains("\"\"") && !inner.any(|piece| piece.contains(['.', '*', '?']))
    };
    let twice =
        |name: &str| name.contains('"') && is_plain(name) && tables.contains(name.replace('"', "").as_str());
    !tables.iter().any(|name| twice(name))
}

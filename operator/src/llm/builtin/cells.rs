//! The Python that is run: the profiler's modules, and calls of what they hold.
//!
//! It must not know what comes of it.

use std::fmt::Write as _;

use super::task::{Catalog, Summary};

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("python/profiler/", $name, ".py")))),*]
    };
}

/// The modules of the profiler, each after those that it needs.
const PROFILER: &[(&str, &str)] = modules![
    "model",
    "names",
    "interval",
    "spread",
    "engine",
    "postgres",
    "mysql",
    "sqlite",
    "duckdb_",
    "sample",
    "measure",
    "joins",
    "composites",
    "session",
];
/// Those of the comparison.
const COMPARISON: &[(&str, &str)] = modules!["pages", "values", "compare"];

const LOADER: &str = r#"# Makes modules out of the text that follows, so that they can be read one by one.
import sys
import types


def load(name, text):
    module = types.ModuleType(f"profiler.{name}")
    package = sys.modules.setdefault("profiler", types.ModuleType("profiler"))
    sys.modules[module.__name__] = module
    exec(compile(text, f"<profiler.{name}>", "exec"), module.__dict__)
    setattr(package, name, module)
"#;

/// Finds joins, and proves declared ones.
pub(super) const RELATE: &str = "# Which rows refer to which?\nlook.relate()";

/// From nothing to a survey of the tables.
pub(super) fn begin(task: &Catalog) -> Vec<String> {
    let mut cells = vec![LOADER.to_owned()];
    cells.extend(PROFILER.iter().map(load));
    let tables: Vec<String> = task.tables.iter().map(|name| quoted(name)).collect();
    cells.push(format!(
        "# What is there?\nfrom profiler.session import Session\n\n\
         look = Session(connect_database(), seconds={})\nlook.survey([{}])",
        task.seconds,
        tables.join(", ")
    ));
    cells
}

/// Measures these tables.
pub(super) fn profile(tables: &[Named<'_>]) -> String {
    let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
    let numbers: Vec<String> = tables.iter().map(|table| table.number.to_string()).collect();
    let names: String = names.join(", ").chars().map(plain).take(120).collect();
    format!("# Measure {names}\nlook.profile({})", numbers.join(", "))
}

/// A table, to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    /// Its number in the survey.
    pub(super) number: usize,
    /// Its name, for people.
    pub(super) name: &'a str,
}

/// Prints facts that did not fit into a result.
pub(super) fn more(page: &str) -> String {
    format!("look.more({})", quoted(page))
}

/// Compares catalogs.
pub(super) fn compare(task: &Summary) -> Vec<String> {
    let mut cells = vec![LOADER.to_owned()];
    cells.extend(COMPARISON.iter().map(load));
    let earlier: Vec<String> = task.earlier.iter().map(|name| quoted(name)).collect();
    cells.push(format!(
        "# What has changed?\nfrom profiler.compare import changes\n\nchanges({}, [{}])",
        quoted(&task.current),
        earlier.join(", ")
    ));
    cells
}

fn load((name, text): &(&str, &str)) -> String {
    let about = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_matches('"')
        .trim_end_matches('.');
    format!("# {about}\nload({}, r'''{text}''')", quoted(name))
}

fn plain(sign: char) -> char {
    if sign.is_control() || crate::html::is_hidden(sign) {
        ' '
    } else {
        sign
    }
}

/// A text as Python writes it, in ASCII.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for sign in text.chars() {
        match sign {
            '"' | '\\' => out.extend(['\\', sign]),
            ' '..='~' => out.push(sign),
            // Writing to a string can't fail.
            _ => drop(write!(out, "\\U{:08x}", u32::from(sign))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_can_be_quoted() {
        for (name, text) in PROFILER.iter().chain(COMPARISON) {
            assert!(!text.contains("'''"), "{name}");
            assert!(text.starts_with("\"\"\""), "{name}");
            assert!(text.ends_with('\n'), "{name}");
        }
    }

    #[test]
    fn a_turn_holds_the_beginning() {
        let cells = begin(&Catalog {
            tables: vec!["a\"b\\\n☃".into()],
            ..Catalog::default()
        });
        assert!(cells.len() <= super::super::CALLS);
        assert!(cells[cells.len() - 1].ends_with(r#"look.survey(["a\"b\\\U0000000a\U00002603"])"#));
    }
}

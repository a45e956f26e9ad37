//! Scripts as texts; `tests/tests/scripts.rs` runs them.

use super::*;

fn run() -> RunId {
    "20261121T120000Z".parse().unwrap()
}

fn ok(number: u32, code: &str) -> Ran<'_> {
    Ran {
        number,
        code,
        fate: Fate::Ok,
    }
}

/// What follows the header.
fn body(cells: &[Ran<'_>]) -> String {
    let script = script(Kind::Summary, run(), &[], cells);
    let at = script.find("\n# %% ").unwrap();
    script[at..].to_owned()
}

#[test]
fn a_script_says_what_it_is() {
    let facts = [("Catalog", "sales"), ("Model", "a\"\"\"b\\c\n# %% d")];
    let script = script(Kind::Catalog, run(), &facts, &[]);
    let begin = "\"\"\"The code that made the catalog of the run 20261121T120000Z (2026-11-21 12:00:00 UTC).\n\nCatalog: sales\nModel: a\\\"\\\"\\\"b\\\\c # %% d\n\n";
    assert!(script.starts_with(begin), "{script}");
    assert!(script.contains("DATABASE_URL=... python catalog_script.py"));
    assert!(script.contains("def connect_database(url: str | None = None):"));
    assert!(!script.contains("def _cell"), "there is nothing for it to do");
    assert!(!script.contains("chdir"));
}

#[test]
fn cells_stand_in_their_order() {
    let cells = [
        ok(1, "x = 1\n\n"),
        Ran {
            number: 2,
            code: "y = 'it''s'\n1 / 0",
            fate: Fate::Raised {
                name: "ZeroDivisionError",
                message: "division\nby zero",
            },
        },
        Ran {
            number: 3,
            code: "while True:\n    pass",
            fate: Fate::NotFinished("was interrupted after 60 s; not run again"),
        },
        ok(5, "await f()"),
    ];
    assert_eq!(
        body(&cells),
        "
# %% 1
x = 1

# %% 2 raised ZeroDivisionError: division by zero
_cell(2, '''\\
y = 'it''s'
1 / 0''', raised=\"ZeroDivisionError\")

# %% 3 was interrupted after 60 s; not run again
#| while True:
#|     pass

# %% 5
# As text, since it awaits outside of functions.
_cell(5, '''\\
await f()''')
"
    );
}

#[test]
fn the_database_can_be_opened_from_within_a_function() {
    // Indented, only texts of several lines change: those that are no value but a docstring may.
    let lines = python::lines(DATABASE).unwrap();
    let text = |line: &python::Line<'_>| line.token(0) == Some(python::Token::Value);
    let docstrings = lines.iter().filter(|line| text(line)).count();
    assert_eq!(DATABASE.matches("\"\"\"").count(), 2 * docstrings);
    assert!(!DATABASE.contains("'''") && !DATABASE.contains("__future__") && !DATABASE.contains("global "));
    assert!(!DATABASE.lines().any(text::is_mark));
}

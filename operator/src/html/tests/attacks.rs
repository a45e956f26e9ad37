//! Markup that has run code, loaded or sent something, or hidden what it is, in some browser or cleaner. A real browser
//! is shown the same, by the tests of runs.

use serde::Deserialize;

use super::super::{Frame, Rules, clean, escape, framed};
use super::hostile::acts;
use super::{page, said, whole};

/// Markup, and what is said of it: nothing where it is left out, or only text.
#[derive(Debug, Deserialize)]
struct Attack {
    r#in: Place,
    markup: String,
    said: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    Head,
    Body,
}

fn attacks() -> Vec<Attack> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/hostile_pages.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn all_are_refused_or_do_nothing() {
    let attacks = attacks();
    assert!(attacks.len() > 200, "{}", attacks.len());
    for attack in attacks {
        let page = match attack.r#in {
            Place::Head => whole(&attack.markup, ""),
            Place::Body => page(&attack.markup),
        };
        let (what, said) = (attack.said, said(&page));
        assert_eq!(what.is_empty(), said.is_empty(), "of {page}\nis said: {said}");
        assert!(
            said.contains(&what),
            "not {what:?}, but of {page}\nis said: {said}"
        );
        does_nothing(&page);
    }
}

/// If it is published at all.
fn does_nothing(page: &str) {
    if let Ok(clean) = clean(page, Rules::CATALOG) {
        let published = framed(&clean, &Frame::default()).unwrap();
        assert!(!acts(&published), "{published}");
    }
}

#[test]
fn titles_hold_no_markup() {
    for title in [
        "</title><script>alert(1)</script>",
        "<!--</title>-->",
        "<script>",
        "<meta charset=utf-7>",
    ] {
        let page = page("").replace("<title>t", &format!("<title>t{title}"));
        does_nothing(&page);
        if let Ok(clean) = clean(&page, Rules::CATALOG) {
            let published = framed(&clean, &Frame::default()).unwrap();
            assert!(
                published.contains(&format!(
                    "<title>t{} ·",
                    escape(title.trim_end_matches("</title>-->"))
                )),
                "{published}"
            );
        }
    }
}

#[test]
fn none_acts_wherever_it_stands() {
    for attack in attacks() {
        if attack.r#in == Place::Head {
            continue;
        }
        for around in [
            "<table><tr><td>{}</td></tr></table>",
            "<details><summary>{}</summary></details>",
            "<pre>{}</pre>",
            "<svg><g>{}</g></svg>",
            "<ul><li>{}",
        ] {
            let page = page(&around.replace("{}", &attack.markup));
            does_nothing(&page);
        }
    }
}

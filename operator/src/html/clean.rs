//! What of a page may be published: its title, and what stands in its body, written anew by us.
//!
//! It must not know what is put around it.

use html5ever::{LocalName, QualName, ns};

use super::elements::{Verdict, attribute, element};
use super::judge::{judge, stopped};
use super::refusal::{Finding, Problems, Refusal, excerpt};
use super::tree::{Content, Tree};
use super::write::write_body;

/// Beyond this many bytes a page is not even looked at.
const MAX_READ: usize = 1 << 20;
/// How many characters of a title are kept.
const MAX_TITLE: usize = 200;
/// How much is shown of a place that is not stable, in bytes.
const SHOWN_BEFORE: usize = 60;

/// What a page must keep to, beyond what all must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The most bytes that it may have, as it is handed in and when it is cleaned.
    pub max_bytes: usize,
}

impl Rules {
    /// For a catalog: with the frame around it, it stays below 500,000 bytes.
    pub const CATALOG: Self = Self { max_bytes: 475_000 };
    /// For a summary: below 5 KB.
    pub const SUMMARY: Self = Self {
        max_bytes: (5 << 10) - 1,
    };
}

/// A page that is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clean {
    /// What it is called: plain text.
    pub(super) title: String,
    /// What stands in its body: markup.
    pub(super) body: String,
    /// Whether the body has a heading of its own.
    pub(super) has_heading: bool,
}

/// What of a page may be published: nothing in it runs, loads or sends anything. The refusal says all that is wrong,
/// for the model to mend.
///
/// Takes any input, in time that grows as the input does.
pub fn clean(page: &str, rules: Rules) -> Result<Clean, Refusal> {
    let page = page.trim_start_matches('\u{feff}').trim();
    let mut problems = Problems::default();
    fits(page.len(), rules, &mut problems);
    if page.len() > MAX_READ {
        return Err(problems.refusal());
    }
    if let Some(finding) = torn(page) {
        problems.add(finding, String::new);
    }
    let mut tree = match Tree::parse(page) {
        Ok(tree) => tree,
        Err((stop, line)) => {
            problems.add(stopped(stop), || format!("in line {line}"));
            return Err(problems.refusal());
        }
    };
    judge(&tree, &mut problems);
    if tree.is_cut && !ends_with_html(page) {
        let finding = Finding::new(
            "a page that ends within an element",
            "close all elements; it may have been cut off",
        );
        problems.add(finding, String::new);
    }
    let title = title(&tree);
    if title.is_none() {
        let finding = Finding::new(
            "neither <title> nor <h1>",
            "write what the page is about into <h1>",
        );
        problems.add(finding, String::new);
    }
    let has_heading = tree.named("h1").any(|index| !tree.text(index).trim().is_empty());
    sweep(&mut tree);
    let body = write_body(&tree);
    if !has_text(&tree) {
        let finding = Finding::new("nothing to read on the page", "write what you found");
        problems.add(finding, String::new);
    }
    if problems.is_empty() {
        fits(body.len(), rules, &mut problems);
        again(&body, &mut problems);
    }
    if !problems.is_empty() {
        return Err(problems.refusal());
    }
    Ok(Clean {
        title: title.unwrap_or_default(),
        body,
        has_heading,
    })
}

fn fits(bytes: usize, rules: Rules, problems: &mut Problems) {
    if bytes > rules.max_bytes {
        let what = format!(
            "{bytes} bytes with all tags closed and all text escaped, where {} are the most",
            rules.max_bytes
        );
        let instead = "leave out what matters least: charts that repeat numbers, long lists";
        problems.add(Finding::new(what, instead), String::new);
    }
}

/// Whether it is more, or less, than a page.
fn torn(page: &str) -> Option<Finding> {
    if !page.starts_with('<') || !page.ends_with('>') {
        return Some(Finding::new(
            "text before or after the page",
            "hand in nothing but the page, from its first tag to its last",
        ));
    }
    let begins = ["<!doctype", "<html"].into_iter().any(|tag| {
        page.get(..tag.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(tag))
    });
    (begins && !ends_with_html(page)).then(|| {
        Finding::new(
            "no </html> at the end",
            "hand in the whole document; it may have been cut off",
        )
    })
}

fn ends_with_html(page: &str) -> bool {
    let end = page.len().checked_sub("</html>".len());
    end.and_then(|end| page.get(end..))
        .is_some_and(|end| end.eq_ignore_ascii_case("</html>"))
}

fn title(tree: &Tree) -> Option<String> {
    ["title", "h1"]
        .into_iter()
        .flat_map(|name| tree.named(name))
        .map(|index| tree.text(index))
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .find(|text| !text.is_empty())
        .map(|text| text.chars().take(MAX_TITLE).collect())
}

/// Takes out what nobody will miss. What is refused need not be taken out: there is no page with it.
fn sweep(tree: &mut Tree) {
    let left_out: Vec<bool> = tree
        .nodes
        .iter()
        .map(|node| match &node.content {
            Content::Element(name, _) => element(name) != Verdict::Kept,
            Content::Comment(_) | Content::Doctype(_) => true,
            Content::Document | Content::Text(_) => false,
        })
        .collect();
    for node in &mut tree.nodes {
        node.children
            .retain(|child| left_out.get(*child).is_some_and(|is_left_out| !is_left_out));
        if let Content::Element(name, attributes) = &mut node.content {
            attributes.retain(|it| attribute(name, it) == Verdict::Kept);
            // There is one in the frame, and a page has only one.
            if &*name.local == "main" {
                *name = QualName::new(None, ns!(html), LocalName::from("div")).into();
            }
        }
    }
}

fn has_text(tree: &Tree) -> bool {
    let is_seen = |text: &str| text.chars().any(|it| !it.is_whitespace() && !it.is_control());
    let mut open: Vec<usize> = tree.named("body").collect();
    while let Some(node) = open.pop().and_then(|index| tree.nodes.get(index)) {
        match &node.content {
            Content::Text(text) if is_seen(text) => return true,
            // A label of a drawing is not shown.
            Content::Element(name, _) if name.ns == ns!(svg) && matches!(&*name.local, "title" | "desc") => {}
            _ => open.extend(&node.children),
        }
    }
    false
}

/// Whether what was written means the same to who reads it, and is still harmless.
fn again(body: &str, problems: &mut Problems) {
    let written = match Tree::parse_body(body) {
        Ok(tree) => {
            judge(&tree, problems);
            write_body(&tree)
        }
        Err(_) => String::new(),
    };
    if written != body {
        let finding = Finding::new(
            "markup that means something else once a browser has written it anew",
            "close elements in the reverse order, put no block into <p> and no <a> into <a>",
        );
        problems.add(finding, || {
            format!("near: {}", excerpt(difference(body, &written)))
        });
    }
}

/// A part of the page, from a little before it differs from another.
fn difference<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one
        .bytes()
        .zip(other.bytes())
        .take_while(|(one, other)| one == other)
        .count();
    &one[one.floor_char_boundary(same.saturating_sub(SHOWN_BEFORE))..]
}

//! What is wrong with a page, in the tree that a browser makes of it.
//!
//! It must not know how the page was written: what browsers make of it is what counts.

use std::collections::HashSet;

use html5ever::{Attribute, QualName, ns};

use super::elements::{Verdict, attribute, element, unwanted};
use super::reading::MAX_TOKEN;
use super::refusal::{Finding, Problems, excerpt, is_unwanted};
use super::tree::{Content, MAX_DEPTH, Node, Stop, Tree};

/// How deep elements of a page may be nested: the frame around it needs some depth, too.
const MAX_NESTED: usize = MAX_DEPTH - 4;
/// The longest title, in bytes.
const MAX_TITLE: usize = 2_000;
/// How often a page may draw a part of itself once more.
const MAX_USES: usize = 2_000;

/// Why no tree was made.
pub(super) fn stopped(stop: Stop) -> Finding {
    match stop {
        Stop::TooDeep => Finding::new(
            format!("elements nested more than {MAX_NESTED} deep"),
            "close elements where they end, and nest less",
        ),
        Stop::InTable => Finding::new(
            "text or an element directly within <table>, <tbody> or <tr>",
            "put it into <td>, <th> or <caption>, or outside of the table",
        ),
        Stop::Overlapping => Finding::new(
            "elements that overlap or are not closed",
            "close elements in the reverse order, each in the element where it was opened",
        ),
        Stop::Endless => Finding::new(
            format!("a tag or a comment that does not end, or has more than {MAX_TOKEN} bytes"),
            "close the quotes of attributes, and escape values with html.escape(value, quote=True)",
        ),
    }
}

/// Adds what is wrong with a tree.
pub(super) fn judge(tree: &Tree, problems: &mut Problems) {
    let users = users(tree);
    if tree.elements("use").count() > MAX_USES {
        let what = format!("<use> more than {MAX_USES} times");
        problems.add(
            Finding::new(what, "draw fewer shapes, or one <path>"),
            String::new,
        );
    }
    let mut open = vec![(0, 0)];
    while let Some((index, depth)) = open.pop() {
        let Some(node) = tree.nodes.get(index) else {
            continue;
        };
        let mut findings = Vec::new();
        let mut goes_in = true;
        match &node.content {
            Content::Element(name, attributes) => {
                findings.extend((depth > MAX_NESTED).then(|| stopped(Stop::TooDeep)));
                findings.extend(misplaced(name, tree.parent(index)));
                match element(name) {
                    Verdict::Kept => {
                        findings.extend(attributes.iter().filter_map(|it| match attribute(name, it) {
                            Verdict::Refused(finding) => Some(finding),
                            Verdict::Kept | Verdict::LeftOut => None,
                        }));
                        findings.extend(used(name, attributes, &users));
                    }
                    Verdict::LeftOut => {
                        // In a head browsers put what stands before the body, whatever it is.
                        goes_in = &*name.local == "head";
                        findings.extend(swallowing(name, tree.parent(index), &tree.text(index)));
                    }
                    Verdict::Refused(finding) => findings.push(finding),
                }
            }
            Content::Text(text) => findings.extend(text.chars().find(|it| is_unwanted(*it)).map(unwanted)),
            Content::Comment(text) => findings.extend(text.contains(['<', '>']).then(|| {
                Finding::new(
                    "a comment with markup in it",
                    "nobody would see it: remove the comment, or write <!-- of the data as &lt;!--",
                )
            })),
            Content::Document | Content::Doctype(_) => {}
        }
        for finding in findings {
            problems.add(finding, || {
                format!("in line {}, in {}", node.line, excerpt(&tree.path(index)))
            });
        }
        if goes_in {
            open.extend(node.children.iter().rev().map(|child| (*child, depth + 1)));
        }
    }
}

/// What is read as text up to an end tag that is not where it was meant: it would be left out with the rest.
fn swallowing(name: &QualName, parent: Option<&QualName>, text: &str) -> Option<Finding> {
    let is_markup =
        |after: &str| after.starts_with(|it: char| it.is_ascii_alphabetic() || matches!(it, '/' | '!'));
    let is_wrong = match &*name.local {
        "title" => parent.is_none_or(|parent| &*parent.local != "head") || text.len() > MAX_TITLE,
        "style" => text.split('<').skip(1).any(is_markup),
        _ => false,
    };
    is_wrong.then(|| {
        Finding::new(
            format!("<{}> in the page, or one that swallows a part of it", name.local),
            "close it, and begin the body with <h1>; if it is data, escape it with html.escape",
        )
    })
}

/// Elements of drawings stand only in drawings, and no others do.
fn misplaced(name: &QualName, parent: Option<&QualName>) -> Option<Finding> {
    let in_drawing = parent.is_some_and(|parent| parent.ns == ns!(svg));
    let is_right = match &name.ns {
        ns if *ns == ns!(svg) => in_drawing || &*name.local == "svg",
        ns => *ns == ns!(html) && !in_drawing,
    };
    (!is_right).then(|| {
        Finding::new(
            format!(
                "<{}> in an element where it means something else",
                excerpt(&name.local)
            ),
            "keep drawings in <svg>, and everything else out of it",
        )
    })
}

/// The ids of all that holds `<use>`. Each of them used ten times by the next, a few lines draw for hours.
fn users(tree: &Tree) -> HashSet<&str> {
    let mut users = HashSet::new();
    for user in tree.elements("use") {
        let mut at = tree.nodes.get(user);
        while let Some(Node {
            content: Content::Element(_, attributes),
            parent,
            ..
        }) = at
        {
            users.extend(
                attributes
                    .iter()
                    .filter(|it| &*it.name.local == "id")
                    .map(|it| &*it.value),
            );
            at = parent.and_then(|parent| tree.nodes.get(parent));
        }
    }
    users
}

fn used(name: &QualName, attributes: &[Attribute], users: &HashSet<&str>) -> Option<Finding> {
    let mut targets = attributes.iter().filter(|it| &*it.name.local == "href");
    let is_user = targets.any(|it| it.value.strip_prefix('#').is_some_and(|id| users.contains(id)));
    (is_user && &*name.local == "use").then(|| {
        Finding::new(
            "<use> of what holds <use> itself",
            "let <use> refer only to plain shapes",
        )
    })
}

//! What is wrong with a page as a browser understands it, whatever its source looked like.
//!
//! It must not trust what was found in the source: it judges every element once more, where it stands in the
//! tree, and what becomes of the tree when it is written and read again.

use std::collections::HashSet;

use html5ever::{Attribute, QualName, ns};

use super::css::{self, Css};
use super::elements::Element;
use super::refusal::{Finding, Problems, excerpt};
use super::tree::{Content, MAX_DEPTH, Node, Stop, Tree};
use super::write::{qualified, write};

/// How much of the page is shown before the place where it is not stable, in bytes.
const SHOWN_BEFORE: usize = 60;

/// Adds what is wrong with a page whose source is plain.
pub(super) fn check(page: &str, problems: &mut Problems) {
    let written = match Tree::parse(page) {
        Ok(tree) => {
            if judge(&tree, problems) {
                return;
            }
            write(&tree)
        }
        Err((stop, line)) => return problems.add(stopped(stop), || format!("in line {line}")),
    };
    let again = match Tree::parse(&written) {
        Ok(tree) => {
            if judge(&tree, problems) {
                return;
            }
            write(&tree)
        }
        Err(_) => String::new(),
    };
    if again != written {
        let finding = Finding::new(
            "markup that means something else once a browser has written it anew",
            "close elements in the reverse order, put no block into <p> and no <a> into <a>",
        );
        problems.add(finding, || {
            format!("near: {}", excerpt(difference(&written, &again)))
        });
    }
}

fn stopped(stop: Stop) -> Finding {
    match stop {
        Stop::TooDeep => Finding::new(
            format!("elements nested more than {MAX_DEPTH} deep"),
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
    }
}

/// Adds what is wrong with the elements, and says whether something is.
fn judge(tree: &Tree, problems: &mut Problems) -> bool {
    let mut found = false;
    let users = users(tree);
    let mut open = vec![(0, 0)];
    while let Some((index, depth)) = open.pop() {
        let Some(node) = tree.nodes.get(index) else {
            continue;
        };
        open.extend(node.children.iter().rev().map(|child| (*child, depth + 1)));
        let mut findings = Vec::new();
        match &node.content {
            Content::Element(name, attributes) => {
                findings.extend((depth > MAX_DEPTH).then(|| stopped(Stop::TooDeep)));
                findings.extend(misplaced(name, tree.parent(index)));
                findings.extend(element(name, attributes));
                findings.extend(used(name, attributes, &users));
            }
            Content::Text(text) if tree.parent(index).is_some_and(|it| &*it.local == "style") => {
                findings.extend(
                    css::findings(text, Css::Sheet)
                        .into_iter()
                        .map(|(_, finding)| finding),
                );
            }
            _ => {}
        }
        for finding in findings {
            found = true;
            problems.add(finding, || format!("in {}", excerpt(&tree.path(index))));
        }
    }
    found
}

fn element(name: &QualName, attributes: &[Attribute]) -> Vec<Finding> {
    let local = name.local.to_ascii_lowercase();
    let element = Element {
        name: &local,
        in_svg: name.ns == ns!(svg),
        attributes: attributes
            .iter()
            .map(|it| {
                (
                    qualified(&it.name).to_ascii_lowercase().into(),
                    (&*it.value).into(),
                )
            })
            .collect(),
    };
    element
        .findings()
        .into_iter()
        .map(|(_, finding)| finding)
        .collect()
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
    for node in &tree.nodes {
        if !matches!(&node.content, Content::Element(name, _) if &*name.local == "use") {
            continue;
        }
        let mut at = Some(node);
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

/// A part of the page, from a little before it differs from another.
fn difference<'a>(one: &'a str, other: &str) -> &'a str {
    let same = one
        .bytes()
        .zip(other.bytes())
        .take_while(|(one, other)| one == other)
        .count();
    &one[one.floor_char_boundary(same.saturating_sub(SHOWN_BEFORE))..]
}

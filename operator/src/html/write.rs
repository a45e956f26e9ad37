//! Writes a tree as HTML, the way browsers do.
//!
//! It must not know what is allowed, and mends nothing.

use std::borrow::Cow;
use std::fmt::Write;

use html5ever::{Attribute, QualName, ns};

use super::elements::is_void;
use super::tree::{Content, Tree};

/// Writes a tree as browsers do, but for `\r`, which they lose.
pub(super) fn write(tree: &Tree) -> String {
    write_all(tree, vec![(0, false)])
}

/// Writes what stands in the body.
pub(super) fn write_body(tree: &Tree) -> String {
    let body = tree.named("body").next();
    body.map_or_else(String::new, |body| write_children(tree, body))
}

/// Writes what stands in a node.
pub(super) fn write_children(tree: &Tree, index: usize) -> String {
    let children = tree.nodes.get(index).map_or(&[][..], |node| &node.children);
    write_all(tree, children.iter().rev().map(|child| (*child, false)).collect())
}

/// Writes nodes, the last first.
fn write_all(tree: &Tree, mut open: Vec<(usize, bool)>) -> String {
    let mut written = String::new();
    while let Some((index, is_end)) = open.pop() {
        let Some(node) = tree.nodes.get(index) else {
            continue;
        };
        match &node.content {
            Content::Element(name, _) if is_end => {
                let _ = write!(written, "</{}>", name.local);
                continue;
            }
            Content::Document => {}
            Content::Doctype(name) => {
                let _ = write!(written, "<!DOCTYPE {name}>");
            }
            Content::Comment(text) => {
                let _ = write!(written, "<!--{text}-->");
            }
            Content::Text(text) => {
                let parent = node
                    .parent
                    .and_then(|parent| tree.nodes.get(parent))
                    .map(|node| &node.content);
                match parent {
                    Some(Content::Element(name, _)) if is_html(name, "style") => written.push_str(text),
                    _ => written.push_str(&escaped(text, false)),
                }
            }
            Content::Element(name, attributes) => {
                start_tag(&mut written, name, attributes);
                let first = node.children.first().and_then(|first| tree.nodes.get(*first));
                // Browsers drop a line break at the beginning.
                if is_html(name, "pre")
                    && matches!(first.map(|it| &it.content), Some(Content::Text(text)) if text.starts_with('\n'))
                {
                    written.push('\n');
                }
                if name.ns != ns!(html) || !is_void(&name.local) {
                    open.push((index, true));
                }
            }
        }
        open.extend(node.children.iter().rev().map(|child| (*child, false)));
    }
    written
}

fn is_html(name: &QualName, local: &str) -> bool {
    name.ns == ns!(html) && &*name.local == local
}

fn start_tag(written: &mut String, name: &QualName, attributes: &[Attribute]) {
    let _ = write!(written, "<{}", name.local);
    for attribute in attributes {
        let name = qualified(&attribute.name);
        let _ = write!(written, " {name}=\"{}\"", escaped(&attribute.value, true));
    }
    written.push('>');
}

fn escaped(text: &str, in_attribute: bool) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\r', '\u{a0}']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for it in text.chars() {
        match it {
            '&' => escaped.push_str("&amp;"),
            // Else it would be read as a line break.
            '\r' => escaped.push_str("&#13;"),
            '\u{a0}' => escaped.push_str("&nbsp;"),
            '"' if in_attribute => escaped.push_str("&quot;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ => escaped.push(it),
        }
    }
    Cow::Owned(escaped)
}

/// The name of an attribute, as it is written.
pub(super) fn qualified(name: &QualName) -> String {
    match name.prefix.as_deref() {
        Some(prefix) if !prefix.is_empty() => format!("{prefix}:{}", name.local),
        _ => name.local.to_string(),
    }
}

//! The tree that a browser makes of a page, by the same algorithm, within bounds.
//!
//! It must not know what is allowed. It stops where a page makes browsers work far beyond its size, so that
//! nothing here takes long or nests deep.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};
use html5ever::{Attribute, ExpandedName, LocalName, QualName, ns};

use super::reading::{Endless, read};

/// How deep elements may be nested. Browsers change the tree beyond 512.
pub(super) const MAX_DEPTH: usize = 100;

/// How many elements a path names.
const PATH: usize = 4;

/// What every tree may have of nodes, beside one for each byte.
const SPARE: usize = 4096;

/// Why no tree was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Elements are nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Something stands directly in a table: browsers move it before the table.
    InTable,
    /// Elements overlap so that a browser makes many more of them than there are tags.
    Overlapping,
    /// A tag or a comment does not end, or is too long.
    Endless,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Content {
    Document,
    Doctype(StrTendril),
    Element(Rc<QualName>, Vec<Attribute>),
    Text(StrTendril),
    Comment(StrTendril),
}

/// A node of the tree.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) parent: Option<usize>,
    pub(super) children: Vec<usize>,
    /// The line of the page that it was made in.
    pub(super) line: u64,
}

/// A page as a browser sees it. The first node is the document.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// Whether the page ends within an element that has an end tag.
    pub(super) is_cut: bool,
}

impl Tree {
    /// Parses a page; where it stops, it says in which line.
    pub(super) fn parse(page: &str) -> Result<Self, (Stop, u64)> {
        let builder = TreeBuilder::new(Sink::new(page.len()), TreeBuilderOpts::default());
        let (builder, read) = read(page, builder, |builder| builder.sink.stopped.get().is_some());
        if read == Err(Endless) {
            return Err((Stop::Endless, builder.sink.line.get()));
        }
        builder.sink.finish()
    }

    /// The elements of this name, in the order of the page.
    pub(super) fn elements<'a>(&'a self, local: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.nodes
            .iter()
            .enumerate()
            .filter_map(move |(index, node)| match &node.content {
                Content::Element(name, _) if &*name.local == local => Some(index),
                _ => None,
            })
    }

    /// Those of them that are no part of a drawing.
    pub(super) fn named<'a>(&'a self, local: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.elements(local).filter(|index| {
            matches!(self.nodes.get(*index), Some(Node { content: Content::Element(name, _), .. }) if name.ns == ns!(html))
        })
    }

    /// The text in a node, as it stands there.
    pub(super) fn text(&self, index: usize) -> String {
        let mut text = String::new();
        let mut open = vec![index];
        while let Some(node) = open.pop().and_then(|index| self.nodes.get(index)) {
            if let Content::Text(part) = &node.content {
                text.push_str(part);
            }
            open.extend(node.children.iter().rev());
        }
        text
    }

    /// Parses what stands in a body.
    pub(super) fn parse_body(body: &str) -> Result<Self, (Stop, u64)> {
        Self::parse(&format!("<!DOCTYPE html><body>{body}"))
    }

    /// The element that a node stands in.
    pub(super) fn parent(&self, index: usize) -> Option<&QualName> {
        let parent = self.nodes.get(index)?.parent?;
        match &self.nodes.get(parent)?.content {
            Content::Element(name, _) => Some(name),
            _ => None,
        }
    }

    /// A node and the elements directly above it, for people.
    pub(super) fn path(&self, index: usize) -> String {
        let mut names = Vec::new();
        let mut at = Some(index);
        while let Some(node) = at.and_then(|index| self.nodes.get(index))
            && names.len() < PATH
        {
            if let Content::Element(name, attributes) = &node.content {
                let id = attributes.iter().find(|it| &*it.name.local == "id");
                let id = id.map(|it| format!("#{}", it.value)).unwrap_or_default();
                names.push(format!("{}{id}", name.local));
            }
            at = node.parent;
        }
        names.reverse();
        names.join(" > ")
    }
}

/// A node while the tree is made.
#[derive(Debug, Clone)]
struct Handle {
    index: usize,
    name: Rc<QualName>,
}

struct Sink {
    nodes: RefCell<Vec<Node>>,
    nameless: Rc<QualName>,
    /// How much may still be made or moved.
    left: Cell<usize>,
    line: Cell<u64>,
    is_cut: Cell<bool>,
    stopped: Cell<Option<(Stop, u64)>>,
}

impl Sink {
    fn new(size: usize) -> Self {
        let document = Node {
            content: Content::Document,
            parent: None,
            children: Vec::new(),
            line: 1,
        };
        Self {
            nodes: RefCell::new(vec![document]),
            nameless: Rc::new(QualName::new(None, ns!(), LocalName::from(""))),
            // The shortest tag has three bytes.
            left: Cell::new(size + SPARE),
            line: Cell::new(1),
            is_cut: Cell::new(false),
            stopped: Cell::new(None),
        }
    }

    fn stop(&self, stop: Stop) {
        if self.stopped.get().is_none() {
            self.stopped.set(Some((stop, self.line.get())));
        }
    }

    fn spend(&self, much: usize) {
        match self.left.get().checked_sub(much) {
            Some(left) => self.left.set(left),
            None => self.stop(Stop::Overlapping),
        }
    }

    fn add(&self, content: Content) -> usize {
        self.spend(1);
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node {
            content,
            parent: None,
            children: Vec::new(),
            line: self.line.get(),
        });
        nodes.len() - 1
    }

    fn handle(&self, index: usize) -> Handle {
        Handle {
            index,
            name: self.nameless.clone(),
        }
    }

    fn append_text(&self, parent: usize, text: &StrTendril) {
        let mut nodes = self.nodes.borrow_mut();
        let last = nodes.get(parent).and_then(|node| node.children.last()).copied();
        if let Some(Content::Text(before)) = last
            .and_then(|last| nodes.get_mut(last))
            .map(|it| &mut it.content)
        {
            before.push_tendril(text);
            return;
        }
        drop(nodes);
        let index = self.add(Content::Text(text.clone()));
        self.append_node(parent, index);
    }

    fn append_node(&self, parent: usize, child: usize) {
        let mut nodes = self.nodes.borrow_mut();
        if let Some(node) = nodes.get_mut(child) {
            node.parent = Some(parent);
        }
        if let Some(node) = nodes.get_mut(parent) {
            node.children.push(child);
        }
        let mut above = Some(parent);
        for _ in 0..=MAX_DEPTH {
            let Some(index) = above else { return };
            above = nodes.get(index).and_then(|node| node.parent);
        }
        self.stop(Stop::TooDeep);
    }
}

impl TreeSink for Sink {
    type Handle = Handle;
    type Output = Result<Tree, (Stop, u64)>;
    type ElemName<'a> = ExpandedName<'a>;

    fn finish(self) -> Self::Output {
        match self.stopped.get() {
            Some(stop) => Err(stop),
            None => Ok(Tree {
                nodes: self.nodes.into_inner(),
                is_cut: self.is_cut.get(),
            }),
        }
    }

    /// Browsers mend what is wrong; but what comes after a tag without end is lost.
    fn parse_error(&self, error: Cow<'static, str>) {
        if error.contains("EOF") {
            self.stop(Stop::Endless);
        }
        self.is_cut
            .set(self.is_cut.get() || error.contains("at end of body"));
    }

    fn get_document(&self) -> Handle {
        self.handle(0)
    }

    fn elem_name<'a>(&'a self, target: &'a Handle) -> ExpandedName<'a> {
        target.name.expanded()
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, _: ElementFlags) -> Handle {
        let name = Rc::new(name);
        let index = self.add(Content::Element(name.clone(), attributes));
        Handle { index, name }
    }

    fn create_comment(&self, text: StrTendril) -> Handle {
        self.handle(self.add(Content::Comment(text)))
    }

    fn create_pi(&self, _: StrTendril, data: StrTendril) -> Handle {
        self.create_comment(data)
    }

    fn append(&self, parent: &Handle, child: NodeOrText<Handle>) {
        match child {
            NodeOrText::AppendNode(node) => self.append_node(parent.index, node.index),
            NodeOrText::AppendText(text) => self.append_text(parent.index, &text),
        }
    }

    fn append_based_on_parent_node(&self, _: &Handle, _: &Handle, _: NodeOrText<Handle>) {
        self.stop(Stop::InTable);
    }

    fn append_before_sibling(&self, _: &Handle, _: NodeOrText<Handle>) {
        self.stop(Stop::InTable);
    }

    fn append_doctype_to_document(&self, name: StrTendril, _: StrTendril, _: StrTendril) {
        let index = self.add(Content::Doctype(name));
        self.append_node(0, index);
    }

    /// Templates are not allowed, so it need not be right.
    fn get_template_contents(&self, target: &Handle) -> Handle {
        target.clone()
    }

    fn same_node(&self, one: &Handle, other: &Handle) -> bool {
        one.index == other.index
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn add_attrs_if_missing(&self, target: &Handle, more: Vec<Attribute>) {
        if let Some(Content::Element(_, attributes)) = self
            .nodes
            .borrow_mut()
            .get_mut(target.index)
            .map(|node| &mut node.content)
        {
            for attribute in more {
                self.spend(attributes.len());
                if attributes.iter().all(|it| it.name != attribute.name) {
                    attributes.push(attribute);
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &Handle) {
        let mut nodes = self.nodes.borrow_mut();
        let Some(parent) = nodes.get_mut(target.index).and_then(|node| node.parent.take()) else {
            return;
        };
        if let Some(children) = nodes.get_mut(parent).map(|node| &mut node.children)
            && let Some(at) = children.iter().rposition(|it| *it == target.index)
        {
            self.spend(children.len() - at);
            children.remove(at);
        }
    }

    fn reparent_children(&self, node: &Handle, parent: &Handle) {
        let mut nodes = self.nodes.borrow_mut();
        let children = nodes
            .get_mut(node.index)
            .map(|it| std::mem::take(&mut it.children))
            .unwrap_or_default();
        self.spend(children.len());
        for child in &children {
            if let Some(node) = nodes.get_mut(*child) {
                node.parent = Some(parent.index);
            }
        }
        if let Some(node) = nodes.get_mut(parent.index) {
            node.children.extend(children);
        }
    }

    fn set_current_line(&self, line: u64) {
        self.line.set(line);
    }
}

//! The page that is published: our own frame around what a model handed in.
//!
//! The frame brings the style sheet, and a policy that lets a browser apply that sheet and nothing else. It must not
//! know runs or models: what it says is given to it as text.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::clean::Clean;
use super::escape::escape;
use super::tree::{Content, Tree};
use super::write::{write, write_body, write_children};

/// How every page looks.
const STYLE: &str = include_str!("style.css");
/// Where the cleaned page stands.
const PAGE: &str = "cataloger-page";
/// How many bytes a fact may have, so that a page stays below 500,000.
const MAX_FACT: usize = 1_200;
/// How many characters of a text are shown.
const MAX_VALUE: usize = 200;

/// What a browser may do with a page: show it in our style.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
});

/// What stands around a page. All of it is plain text, without secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// What kind of page it is: "Catalog".
    pub kind: String,
    /// Of what: a database, without its password.
    pub of: String,
    /// The time of the run, for people.
    pub time: String,
    /// The same for machines.
    pub datetime: String,
    /// Other pages, by their names and where they are from here.
    pub links: Vec<(String, String)>,
    /// What else there is to know, with one value or more.
    pub facts: Vec<(String, Vec<String>)>,
}

/// A page that does not stay in its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the page does not stay in the frame around it: it is not published; please report this")]
pub struct Escaped;

/// The page that may be published, checked once more as a whole.
pub fn framed(page: &Clean, frame: &Frame) -> Result<String, Escaped> {
    let heading = if page.has_heading {
        String::new()
    } else {
        format!("<h1>{}</h1>\n", escape(&page.title))
    };
    let content = heading + &page.body;
    let whole = around(&page.title, frame, &content);
    let (frame_of_whole, inside) = apart(&whole).ok_or(Escaped)?;
    let (frame_alone, _) = apart(&around(&page.title, frame, "")).ok_or(Escaped)?;
    let alone = Tree::parse_body(&content).map_err(|_| Escaped)?;
    if frame_of_whole == frame_alone && inside == write_body(&alone) {
        Ok(whole)
    } else {
        Err(Escaped)
    }
}

/// What a browser makes of a page: the frame, and what stands in it.
fn apart(page: &str) -> Option<(String, String)> {
    let mut tree = Tree::parse(page).ok()?;
    let place = tree.nodes.iter().position(|node| {
        matches!(&node.content, Content::Element(_, attributes)
            if attributes.iter().any(|it| &*it.name.local == "id" && &*it.value == PAGE))
    })?;
    let inside = write_children(&tree, place);
    tree.nodes.get_mut(place)?.children.clear();
    Some((write(&tree), inside))
}

fn around(title: &str, frame: &Frame, content: &str) -> String {
    let Frame {
        kind,
        of,
        time,
        datetime,
        links,
        facts,
    } = frame;
    let class = kind.to_ascii_lowercase();
    let [title, kind, of, time, datetime, class] = [title, kind, of, time, datetime, &class].map(shown);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} · {time}</title>\n<style>{STYLE}</style>\n</head>\n<body class=\"cataloger-{class}\">\n\
         <a class=\"cataloger-skip\" href=\"#{PAGE}\">Skip to the page</a>\n\
         <header class=\"cataloger-head\">\n\
         <p><strong>{kind}</strong> <code>{of}</code> <time datetime=\"{datetime}\">{time}</time></p>\n",
        *POLICY
    );
    // Writing to a string can't fail.
    if !links.is_empty() {
        out.push_str("<nav aria-label=\"This run\">");
        for (name, target) in links {
            let _ = write!(out, "<a href=\"{}\">{}</a> ", escape(target), escape(name));
        }
        out.push_str("</nav>\n");
    }
    let _ = write!(
        out,
        "</header>\n<main id=\"{PAGE}\">{content}</main>\n<footer class=\"cataloger-foot\">\n<dl>\n"
    );
    for (name, values) in facts {
        let mut left = MAX_FACT;
        let _ = write!(out, "<div><dt>{}</dt>", escape(name));
        for (at, value) in values.iter().enumerate() {
            let value = format!("<dd>{}</dd>", shown(value));
            if value.len() > left && at > 0 {
                let _ = write!(out, "<dd>and {} more</dd>", values.len() - at);
                break;
            }
            left = left.saturating_sub(value.len());
            out.push_str(&value);
        }
        out.push_str("</div>\n");
    }
    out.push_str("</dl>\n</footer>\n</body>\n</html>\n");
    out
}

fn shown(value: &str) -> String {
    let mut out = String::new();
    for (at, it) in value.chars().enumerate() {
        if at == MAX_VALUE || out.len() > MAX_FACT - 100 {
            return out + "…";
        }
        out.push_str(&escape(it.encode_utf8(&mut [0; 4])));
    }
    out
}

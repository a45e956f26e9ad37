//! What a reader sees of a page, as plain text for a prompt.
//!
//! It must not know the rules for pages: it takes any text, however broken or hostile, reads it once from
//! front to back, and remembers no nesting but that of what it leaves out.

use std::cell::RefCell;
use std::fmt::Write;

use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult};

use super::reading::read;
use super::refusal::is_unwanted;
use super::words::{Words, set};

/// Elements that stand in the middle of a line.
static INLINE: Words = Words::new(|| {
    set(
        "a abbr b bdi bdo big cite code data del dfn em font i ins kbd label mark meter nobr output progress q s samp \
         script small span strike strong style sub sup time tspan tt u var wbr",
    )
});

/// So many bytes of a page are looked at.
const MAX_READ: usize = 4 << 20;

/// Elements whose content is not shown.
const UNSEEN: [&str; 7] = [
    "iframe", "noembed", "noframes", "noscript", "script", "style", "template",
];

/// Elements that keep the lines of their text.
const KEEPING_LINES: [&str; 4] = ["plaintext", "pre", "textarea", "xmp"];

/// The same in drawings.
const UNSEEN_IN_SVG: [&str; 3] = ["title", "desc", "metadata"];

/// The visible text of a page: a line for each block and each row of a table, cells parted by ` | `. It has at
/// most `most` characters, and if there are more, another line that says how many were left out.
///
/// Takes any input, in time that grows as the input does.
pub fn text(page: &str, most: usize) -> String {
    // What comes after a tag without end is not seen, nor what nobody publishes.
    let page = &page[..page.floor_char_boundary(MAX_READ)];
    let (reader, _) = read(page, Tokens::default(), |_| false);
    reader.0.into_inner().lines.finish(most)
}

/// What a tokenizer gives to a [`Reader`].
#[derive(Default)]
struct Tokens(RefCell<Reader>);

impl TokenSink for Tokens {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut reader = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(text) => reader.text(&text),
            Token::TagToken(tag) => {
                let is_start = tag.kind == TagKind::StartTag;
                reader.tag(&tag);
                if is_start && reader.svg == 0 {
                    return raw(&tag.name);
                }
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// How a browser goes on after a start tag.
fn raw(element: &str) -> TokenSinkResult<()> {
    TokenSinkResult::RawData(match element {
        "title" | "textarea" => RawKind::Rcdata,
        "script" => RawKind::ScriptData,
        "style" | "xmp" | "iframe" | "noembed" | "noframes" => RawKind::Rawtext,
        "plaintext" => return TokenSinkResult::Plaintext,
        _ => return TokenSinkResult::Continue,
    })
}

/// What is left out until its end.
struct Unseen {
    name: String,
    depth: usize,
}

#[derive(Default)]
struct Reader {
    lines: Lines,
    unseen: Option<Unseen>,
    svg: usize,
    pre: usize,
    row: Row,
}

/// Where in a row of a table.
#[derive(Default, PartialEq)]
enum Row {
    #[default]
    Outside,
    Begun,
    InCell,
    AfterCell,
}

impl Reader {
    fn text(&mut self, text: &str) {
        if self.unseen.is_none() {
            self.lines.add(text, self.pre > 0 && self.row == Row::Outside);
        }
    }

    fn tag(&mut self, tag: &Tag) {
        match tag.kind {
            TagKind::StartTag => self.start(tag),
            TagKind::EndTag => self.end(&tag.name),
        }
    }

    fn start(&mut self, tag: &Tag) {
        let name = &*tag.name;
        self.svg += usize::from(name == "svg" && !tag.self_closing);
        // Elsewhere the slash means nothing.
        let is_empty = tag.self_closing && self.svg > 0;
        if let Some(unseen) = &mut self.unseen {
            unseen.depth += usize::from(unseen.name == name && !is_empty);
            return;
        }
        if UNSEEN.contains(&name) || (self.svg > 0 && UNSEEN_IN_SVG.contains(&name)) {
            self.unseen = (!is_empty).then(|| Unseen {
                name: name.to_owned(),
                depth: 1,
            });
            return;
        }
        match name {
            "td" | "th" => {
                self.end_cell();
                match self.row {
                    Row::AfterCell => self.lines.part(),
                    _ => self.lines.end(),
                }
                self.row = Row::InCell;
            }
            _ => self.border(name),
        }
        match name {
            _ if KEEPING_LINES.contains(&name) => self.pre += 1,
            "tr" => self.row = Row::Begun,
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        self.svg = self.svg.saturating_sub(usize::from(name == "svg"));
        if let Some(unseen) = &mut self.unseen {
            unseen.depth -= usize::from(unseen.name == name);
            // A drawing's end ends all in it.
            if unseen.depth == 0 || (name == "svg" && UNSEEN_IN_SVG.contains(&unseen.name.as_str())) {
                self.unseen = None;
            }
            return;
        }
        match name {
            "td" | "th" => self.end_cell(),
            "tr" | "table" => {
                self.row = Row::Outside;
                self.lines.end();
            }
            _ => self.border(name),
        }
        if KEEPING_LINES.contains(&name) {
            self.pre = self.pre.saturating_sub(1);
        }
    }

    fn end_cell(&mut self) {
        if self.row == Row::InCell {
            self.row = Row::AfterCell;
        }
    }

    /// Blocks end a line, but not within a cell.
    fn border(&mut self, name: &str) {
        if INLINE.contains(name) {
            return;
        }
        match (&self.row, name) {
            (Row::InCell | Row::AfterCell, it) if it != "tr" && it != "table" => self.lines.space(),
            _ => self.lines.end(),
        }
    }
}

/// Lines without white space at their ends or twice, and without empty ones.
#[derive(Default)]
struct Lines {
    text: String,
    /// Where the line begins that is being written.
    line: usize,
    space: bool,
}

impl Lines {
    fn add(&mut self, text: &str, keeps_lines: bool) {
        for it in text.chars() {
            if keeps_lines && it == '\n' {
                self.end();
            } else if it.is_whitespace() {
                self.space();
            } else if !is_invisible(it) {
                if std::mem::take(&mut self.space) && self.text.len() > self.line {
                    self.text.push(' ');
                }
                self.text.push(it);
            }
        }
    }

    fn space(&mut self) {
        self.space = true;
    }

    /// Parts two cells.
    fn part(&mut self) {
        self.text
            .push_str(if self.text.len() > self.line { " |" } else { "|" });
        self.space = true;
    }

    fn end(&mut self) {
        self.space = false;
        if self.text.len() > self.line {
            self.text.push('\n');
            self.line = self.text.len();
        }
    }

    fn finish(mut self, most: usize) -> String {
        self.text.truncate(self.text.trim_end().len());
        let Some((cut, _)) = self.text.char_indices().nth(most) else {
            return self.text;
        };
        // A line that is most of the text is not left out as a whole.
        let border = match self.text.as_bytes().get(cut) {
            Some(b'\n') => cut,
            _ => self.text[..cut]
                .rfind('\n')
                .filter(|border| *border >= cut / 2)
                .unwrap_or(cut),
        };
        let left_out = self.text[border..].trim_start().chars().count();
        self.text.truncate(border);
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let _ = write!(self.text, "[{left_out} more characters were left out]");
        self.text
    }
}

/// What nobody sees, but a model would read.
fn is_invisible(it: char) -> bool {
    is_unwanted(it)
        || matches!(it, '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

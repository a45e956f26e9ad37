//! That two parsers see the same: ours that looks at the source, and a browser's.

use std::cell::RefCell;

use html5ever::buffer_queue::BufferQueue;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer};
use proptest::prelude::*;

use super::super::browser;
use super::super::lexer::{Lexer, Piece};
use super::super::references::decode;
use super::super::refusal::Problems;
use super::super::tree::{Content, Tree};
use super::attacks::BODIES;
use super::hostile::{mixed, soup};
use super::{page, said};

/// Whether it is an end tag, its name, its attributes, and whether it ends in `/>`.
type Tagged = (bool, String, Vec<(String, String)>, bool);

/// What a tokenizer gives, in a form that can be compared.
#[derive(Debug, Default, Clone)]
struct Seen {
    tags: Vec<Tagged>,
    comments: Vec<String>,
    text: String,
}

#[derive(Default)]
struct Browser {
    seen: RefCell<Seen>,
    svg: RefCell<usize>,
}

impl Browser {
    /// Whether a tokenizer goes on otherwise after a tag, as it does in a browser.
    fn after(&self, tag: &Tag) -> TokenSinkResult<()> {
        let mut svg = self.svg.borrow_mut();
        match (tag.kind, &*tag.name) {
            (TagKind::StartTag, "svg") => *svg += usize::from(!tag.self_closing),
            (TagKind::EndTag, "svg") => *svg = svg.saturating_sub(1),
            (TagKind::StartTag, "title" | "textarea") if *svg == 0 => {
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            (TagKind::StartTag, "style" | "script" | "iframe" | "xmp" | "noembed" | "noframes")
                if *svg == 0 =>
            {
                return TokenSinkResult::RawData(RawKind::Rawtext);
            }
            (TagKind::StartTag, "plaintext") if *svg == 0 => return TokenSinkResult::Plaintext,
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl TokenSink for Browser {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut seen = self.seen.borrow_mut();
        match token {
            Token::TagToken(tag) => {
                let attributes = tag
                    .attrs
                    .iter()
                    .map(|it| (it.name.local.to_string(), it.value.to_string()))
                    .collect();
                seen.tags.push((
                    tag.kind == TagKind::EndTag,
                    tag.name.to_string(),
                    attributes,
                    tag.self_closing,
                ));
                return self.after(&tag);
            }
            Token::CommentToken(text) => seen.comments.push(text.to_string()),
            Token::CharacterTokens(text) => seen.text.push_str(&text),
            Token::NullCharacterToken => seen.text.push('\0'),
            Token::DoctypeToken(_) | Token::EOFToken | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

fn browser(page: &str) -> Seen {
    let tokenizer = Tokenizer::new(
        Browser::default(),
        html5ever::tokenizer::TokenizerOpts {
            discard_bom: false,
            ..Default::default()
        },
    );
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(page));
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink.seen.take()
}

fn ours(page: &str) -> Seen {
    let mut seen = Seen::default();
    for lexeme in Lexer::new(page) {
        match lexeme.piece {
            Piece::Text(raw) => seen.text.push_str(&decode(raw, false)),
            Piece::Raw(element, raw) if element.references => seen.text.push_str(&decode(raw, false)),
            Piece::Raw(_, raw) => seen.text.push_str(raw),
            Piece::Start(ref tag) | Piece::End(ref tag) => {
                let attributes = tag
                    .attributes
                    .iter()
                    .map(|it| (it.name.to_ascii_lowercase(), decode(it.value, true).into_owned()))
                    .collect();
                let is_end = matches!(lexeme.piece, Piece::End(_));
                seen.tags
                    .push((is_end, tag.name.clone(), attributes, tag.self_closing));
            }
            Piece::Comment(text) => seen.comments.push(text.to_owned()),
            Piece::Doctype(_) | Piece::Dropped => {}
        }
    }
    seen
}

/// Without what is written differently by habit: null characters, and comments that are none.
fn plain(seen: &Seen) -> (Vec<Tagged>, String) {
    let clean = |text: &str| text.replace(['\0', '\u{fffd}'], "");
    let tags = seen.tags.iter().map(|(is_end, name, attributes, closing)| {
        let attributes = attributes
            .iter()
            .map(|(name, value)| (clean(name), clean(value)))
            .collect();
        (*is_end, clean(name), attributes, *closing)
    });
    (tags.collect(), clean(&seen.text))
}

/// Markup that is mostly harmless, so that some of it is taken.
fn mild() -> impl Strategy<Value = String> {
    mixed(
        "<p>¦</p>¦<b>¦</b>¦<a href=#x>¦</a>¦<div title=\"&lt;p\">¦</div>¦<table><tr><td>¦<td>¦</table>¦\
         <svg><g>¦</g></svg>¦<svg><title>¦</title></svg>¦<path d=''/>¦<pre>\n¦</pre>¦<ul><li>¦</ul>¦\
         <h1>¦</h1>¦<br>¦x¦&amp;¦&#60;script&#62;¦<!-- x -->¦< 5¦\n¦<p onclick=x>¦<a href=x>¦\
         <img src=x>¦<script>¦</script>¦<style>¦</style>¦\" ¦' ¦`¦<!--¦-->",
        12,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_see_the_same_tags(input in soup()) {
        prop_assert_eq!(plain(&ours(&input)), plain(&browser(&input)), "{}", input);
    }

    /// What is taken has, as a browser sees it, nothing that acts.
    #[test]
    fn what_is_taken_does_nothing(input in prop_oneof![soup(), mild()]) {
        let page = page(&input);
        let harmless = Tree::parse(&page).is_ok_and(|tree| !acts(&tree));
        prop_assert!(harmless || !said(&page).is_empty(), "{}", page);
    }

    /// The tree alone, without the source, tells as well what acts.
    #[test]
    fn what_acts_is_seen_in_the_tree(input in soup()) {
        let page = page(&input);
        if Tree::parse(&page).is_ok_and(|tree| acts(&tree)) {
            prop_assert!(is_refused_by_its_tree(&page), "{}", page);
        }
    }
}

#[test]
fn attacks_that_act_are_seen_in_the_tree() {
    let mut acting = 0;
    for (attack, _) in BODIES {
        let page = page(attack);
        if Tree::parse(&page).is_ok_and(|tree| acts(&tree)) {
            acting += 1;
            assert!(is_refused_by_its_tree(&page), "{page}");
        }
    }
    assert!(acting > 60, "{acting}");
}

fn is_refused_by_its_tree(page: &str) -> bool {
    let mut problems = Problems::default();
    browser::check(page, &mut problems);
    problems.len() > 0
}

/// Whether something in a tree runs, loads or sends, judged crudely and not by our lists.
fn acts(tree: &Tree) -> bool {
    tree.nodes.iter().any(|node| match &node.content {
        Content::Element(name, attributes) => {
            let acting = "script img image iframe form input select button textarea template math foreignObject noscript \
                          object embed link base video audio set animate marquee frameset";
            acting.split(' ').any(|acting| acting == &*name.local)
                || attributes.iter().any(|it| {
                    let (name, value) = (&*it.name.local, it.value.to_lowercase());
                    name.starts_with("on")
                        || matches!(name, "src" | "background" | "http-equiv" | "ping")
                        || (name == "href" && !value.starts_with('#'))
                        || value.contains("url(/")
                })
        }
        _ => false,
    })
}

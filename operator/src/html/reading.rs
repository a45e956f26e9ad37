//! Feeds a page to a tokenizer, a piece at a time and within bounds.
//!
//! It must not know what becomes of the tokens.

use std::cell::Cell;

use html5ever::TokenizerResult;
use html5ever::buffer_queue::BufferQueue;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

/// How much is read before looking whether to go on, in bytes.
const CHUNK: usize = 4 << 10;

/// The longest tag or comment that is read, in bytes. Each attribute of a tag is compared with all before it.
pub(super) const MAX_TOKEN: usize = 64 << 10;

/// Something in a page is longer than [`MAX_TOKEN`], and the rest was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endless;

/// Reads a page to its end, or until the sink has enough.
pub(super) fn read<S: TokenSink>(
    page: &str,
    sink: S,
    has_enough: impl Fn(&S) -> bool,
) -> (S, Result<(), Endless>) {
    let tokenizer = Tokenizer::new(
        Counting {
            sink,
            tokens: Cell::new(0),
        },
        TokenizerOpts::default(),
    );
    let input = BufferQueue::default();
    let (mut rest, mut tokens, mut silent) = (page, 0, 0);
    while !rest.is_empty() && !has_enough(&tokenizer.sink.sink) {
        let (chunk, after) = rest.split_at(rest.floor_char_boundary(CHUNK.min(rest.len())));
        input.push_back(StrTendril::from(chunk));
        // It also stops where a browser would run a script.
        while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
        rest = after;
        silent = if tokenizer.sink.tokens.get() == tokens {
            silent + chunk.len()
        } else {
            0
        };
        tokens = tokenizer.sink.tokens.get();
        if silent > MAX_TOKEN {
            return (tokenizer.sink.sink, Err(Endless));
        }
    }
    tokenizer.end();
    (tokenizer.sink.sink, Ok(()))
}

/// Counts the tokens that pass.
struct Counting<S> {
    sink: S,
    tokens: Cell<usize>,
}

impl<S: TokenSink> TokenSink for Counting<S> {
    type Handle = S::Handle;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<S::Handle> {
        // There may be an error for each attribute of a tag.
        let is_part = matches!(token, Token::ParseError(_));
        self.tokens.set(self.tokens.get() + usize::from(!is_part));
        self.sink.process_token(token, line)
    }

    fn end(&self) {
        self.sink.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.sink
            .adjusted_current_node_present_but_not_in_html_namespace()
    }
}

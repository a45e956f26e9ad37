//! Server-sent events, out of bytes as they come.
//!
//! Not a crate's: those that are kept up have no bound on the size of an event, and don't show comments,
//! which some gateways send as the only sign of life while a model thinks.

use std::mem;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Data; what providers call its type is within.
    Data(String),
    /// Nothing but a sign of life.
    Alive,
}

/// A line or an event was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Takes bytes, gives events. What has no end when the stream ends is not an event.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    /// The last byte was a CR: an LF now belongs to it.
    after_cr: bool,
    begun: bool,
}

/// The most bytes of an event. An answer of 128K tokens is well below it.
const LIMIT: usize = 16 * 1024 * 1024;

impl Parser {
    pub(crate) fn feed(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.line.len() + self.data.len() + part.len() > LIMIT {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            let line = mem::take(&mut self.line);
            self.take_line(&line, events);
            // Its memory is used again.
            self.line = line;
            self.line.clear();
        }
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], events: &mut Vec<Event>) {
        let line = String::from_utf8_lossy(line);
        let mut line = line.as_ref();
        if !mem::replace(&mut self.begun, true) {
            line = line.trim_start_matches('\u{feff}');
        }
        if line.is_empty() {
            if mem::take(&mut self.has_data) {
                events.push(Event::Data(mem::take(&mut self.data)));
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        match field {
            "" => events.push(Event::Alive),
            "data" => {
                if mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
            }
            // `event` is in the data again, `id` and `retry` are for browsers.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for part in parts {
            parser.feed(part, &mut events).unwrap();
        }
        events
    }

    const STREAM: &str = "\u{feff}event: a\ndata: {\"é\":1}\n\n: ping\r\ndata:one\r\ndata\r\ndata:  two\r\n\r\nid: 3\n\ndata: x\r\rdata: [DONE]\n\ndata: cut";

    fn expected() -> Vec<Event> {
        ["{\"é\":1}", "", "one\n\n two", "x", "[DONE]"]
            .into_iter()
            .map(|data| match data {
                "" => Event::Alive,
                data => Event::Data(data.into()),
            })
            .collect()
    }

    #[test]
    fn events_come_out() {
        assert_eq!(parse([STREAM.as_bytes()]), expected());
        assert_eq!(parse(STREAM.as_bytes().chunks(1)), expected());
    }

    #[test]
    fn a_line_without_an_end_is_too_long_at_some_time() {
        let mut parser = Parser::default();
        let part = vec![b'x'; LIMIT / 2];
        let mut events = Vec::new();
        assert_eq!(parser.feed(&part, &mut events), Ok(()));
        assert_eq!(parser.feed(&part, &mut events), Ok(()));
        assert_eq!(parser.feed(b"x", &mut events), Err(TooLong));
    }

    proptest! {
        #[test]
        fn where_it_is_cut_does_not_matter(cuts in proptest::collection::vec(1..40_usize, 1..40)) {
            let mut rest = STREAM.as_bytes();
            let mut parts = Vec::new();
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() { break }
                let (part, after) = rest.split_at(cut.min(rest.len()));
                parts.push(part);
                rest = after;
            }
            prop_assert_eq!(parse(parts), expected());
        }
    }
}

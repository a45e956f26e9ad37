//! As much of Python's grammar as it takes to tell whether code that ran as a cell can stand in a module.
//!
//! Code is cut into logical lines of names and signs; strings are passed over, but for the expressions in
//! f-strings. What can't be cut so is told apart: whoever asks has to be careful with it. Must not know what
//! becomes of the code.

/// How deep f-strings may hold f-strings.
const DEEPEST: usize = 20;

/// A piece of a logical line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    Sign(char),
    /// A text, a number.
    Value,
}

/// A line as Python sees it: one statement, the head of a block, or several with semicolons.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) indent: usize,
    /// Each with the number of brackets that it is in.
    pub(super) tokens: Vec<(Token<'a>, usize)>,
    /// Whether a function is around it.
    pub(super) in_function: bool,
}

impl<'a> Line<'a> {
    pub(super) fn token(&self, at: usize) -> Option<Token<'a>> {
        self.tokens.get(at).map(|(token, _)| *token)
    }

    fn is_name(&self, at: usize, names: &[&str]) -> bool {
        matches!(self.token(at), Some(Token::Name(name)) if names.contains(&name))
    }

    /// Whether it begins a function.
    pub(super) fn is_function(&self) -> bool {
        self.is_name(0, &["def"]) || (self.is_name(0, &["async"]) && self.is_name(1, &["def"]))
    }
}

/// Cuts code into lines; nothing if it ends in the middle of something.
pub(super) fn lines(code: &str) -> Option<Vec<Line<'_>>> {
    let mut lexer = Lexer {
        code,
        at: 0,
        lines: Vec::new(),
        line: Line::default(),
        depth: 0,
    };
    lexer.all()?;
    let mut lines = lexer.lines;
    let mut around: Vec<(usize, bool)> = Vec::new();
    for line in &mut lines {
        while around.pop_if(|(indent, _)| *indent >= line.indent).is_some() {}
        line.in_function = around.iter().any(|(_, function)| *function);
        around.push((line.indent, line.is_function()));
    }
    Some(lines)
}

struct Lexer<'a> {
    code: &'a str,
    at: usize,
    lines: Vec<Line<'a>>,
    line: Line<'a>,
    depth: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.code.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let it = self.peek()?;
        self.at += it.len_utf8();
        Some(it)
    }

    fn take_while(&mut self, takes: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|it| !takes(it)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn push(&mut self, token: Token<'a>) {
        self.line.tokens.push((token, self.depth));
    }

    fn all(&mut self) -> Option<()> {
        self.indent();
        while let Some(it) = self.peek() {
            if it == '\n' {
                self.at += 1;
                if self.depth == 0 {
                    self.end_line();
                    self.indent();
                }
                continue;
            }
            self.piece(it, 0)?;
        }
        self.end_line();
        (self.depth == 0).then_some(())
    }

    fn end_line(&mut self) {
        if !self.line.tokens.is_empty() {
            self.lines.push(std::mem::take(&mut self.line));
        }
    }

    fn indent(&mut self) {
        let mut indent = 0;
        for it in self.take_while(|it| matches!(it, ' ' | '\t' | '\x0c')).chars() {
            indent = match it {
                ' ' => indent + 1,
                '\t' => (indent / 8 + 1) * 8,
                _ => 0,
            };
        }
        self.line.indent = indent;
    }

    /// One token, or what is between tokens; not the end of a line.
    fn piece(&mut self, it: char, nested: usize) -> Option<()> {
        match it {
            ' ' | '\t' | '\r' | '\x0c' => {
                self.at += 1;
            }
            '#' => {
                self.take_while(|it| it != '\n');
            }
            '\\' => {
                self.at += 1;
                self.take_while(|it| it == '\r');
                // It joins the next line to this one, which has to be there.
                if self.next()? != '\n' || self.rest().is_empty() {
                    return None;
                }
            }
            '\'' | '"' => self.string("", nested)?,
            '(' | '[' | '{' => {
                self.at += 1;
                self.push(Token::Sign(it));
                self.depth += 1;
            }
            ')' | ']' | '}' => {
                self.at += 1;
                self.depth = self.depth.checked_sub(1)?;
                self.push(Token::Sign(it));
            }
            _ if it.is_ascii_digit() => {
                self.take_while(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '.'));
                self.push(Token::Value);
            }
            _ if is_word(it) => {
                let word = self.take_while(is_word);
                let quoted = matches!(self.peek(), Some('\'' | '"'));
                if quoted && is_prefix(word) {
                    self.string(word, nested)?;
                } else {
                    self.push(Token::Name(word));
                }
            }
            _ => {
                self.at += it.len_utf8();
                self.push(Token::Sign(it));
            }
        }
        Some(())
    }

    fn string(&mut self, prefix: &str, nested: usize) -> Option<()> {
        if nested > DEEPEST {
            return None;
        }
        self.push(Token::Value);
        let has = |letter| prefix.chars().any(|it| it.eq_ignore_ascii_case(&letter));
        let (raw, formatted) = (has('r'), has('f') || has('t'));
        let quote = self.next()?;
        let triple = self.rest().starts_with(&format!("{quote}{quote}"));
        let end = quote.to_string().repeat(if triple { 3 } else { 1 });
        self.at += end.len() - 1;
        loop {
            if self.rest().starts_with(&end) {
                self.at += end.len();
                return Some(());
            }
            match self.next()? {
                '\n' if !triple => return None,
                '\\' if formatted && !raw && self.rest().starts_with("N{") => {
                    self.take_while(|it| it != '}');
                }
                // It keeps a quote from ending the string, also in a raw one, but no brace from its meaning.
                '\\' if !(formatted && matches!(self.peek(), Some('{' | '}'))) => {
                    self.next()?;
                }
                '{' if formatted => {
                    if self.peek() == Some('{') {
                        self.at += 1;
                    } else {
                        self.field(triple, nested)?;
                    }
                }
                _ => {}
            }
        }
    }

    /// An expression within an f-string, after its brace.
    fn field(&mut self, triple: bool, nested: usize) -> Option<()> {
        if nested > DEEPEST {
            return None;
        }
        self.push(Token::Sign('{'));
        self.depth += 1;
        let inner = self.depth;
        loop {
            match self.peek()? {
                '}' if self.depth == inner => break,
                ':' if self.depth == inner => {
                    self.at += 1;
                    self.format(triple, nested)?;
                    break;
                }
                '\n' => self.at += 1,
                // No bracket closes what was opened outside.
                ')' | ']' if self.depth == inner => return None,
                it => self.piece(it, nested + 1)?,
            }
        }
        self.at += 1;
        self.depth -= 1;
        self.push(Token::Sign('}'));
        Some(())
    }

    /// How a field is to be formatted, up to its brace.
    fn format(&mut self, triple: bool, nested: usize) -> Option<()> {
        loop {
            match self.peek()? {
                '}' => return Some(()),
                '{' => {
                    self.at += 1;
                    self.field(triple, nested + 1)?;
                }
                '\n' | '\'' | '"' if !triple => return None,
                it => self.at += it.len_utf8(),
            }
        }
    }
}

fn is_word(it: char) -> bool {
    it.is_alphanumeric() || it == '_' || !it.is_ascii()
}

fn is_prefix(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    matches!(
        word.as_str(),
        "r" | "u" | "b" | "br" | "rb" | "f" | "fr" | "rf" | "t" | "tr" | "rt"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The names of each line, those in brackets apart by a dot.
    fn names(code: &str) -> Vec<String> {
        let lines = lines(code).unwrap_or_else(|| panic!("{code:?} has no end"));
        let of = |line: Line<'_>| {
            let names = line.tokens.iter().filter_map(|(token, depth)| match token {
                Token::Name(name) => Some(format!("{}{name}", ".".repeat(*depth))),
                _ => None,
            });
            names.collect::<Vec<_>>().join(" ")
        };
        lines.into_iter().map(of).collect()
    }

    #[test]
    fn lines_are_those_of_python() {
        for (code, expected) in [
            ("", &[][..]),
            ("\n  # only a comment\n\n", &[]),
            ("a = b\nc", &["a b", "c"]),
            ("f(a,\n  b # await\n)\nc", &["f .a .b", "c"]),
            ("a = \\\n  b\nc", &["a b", "c"]),
            ("a = 'await # \\' x'; b", &["a b"]),
            ("'''await\n\\''' \" x''' ; b\nc", &["b", "c"]),
            ("r'\\' ; a'\nb", &["", "b"]),
            ("rb\"\\\"\" ; b", &["b"]),
            (
                "f'{await_}' f\"{{a}} {b!r:>{c}} {d:%H:%M}\" ; e",
                &[".await_ .b .r ..c .d e"],
            ),
            ("f'{x[\"a\"]} {\"b\"} {f'{y}'}' ; z", &[".x ..y z"]),
            ("f'''{\n  a # }\n}'''\nb", &[".a", "b"]),
            ("f'\\{a}' f'\\N{DASH} {b}' rf'\\{c}'", &[".a .b .c"]),
            ("f'{a:\\}' ; b", &[".a b"]),
            (
                "f'{a != b}' f'{(lambda x: y)(z)}'",
                &[".a .b ..lambda ..x ..y ..z"],
            ),
            ("0xff_ + 1e5 + 1_000j if a else b", &["if a else b"]),
            ("größe = 1\nπ", &["größe", "π"]),
            ("u'a' br'b' Rb'c' bu", &["bu"]),
            ("x = {'a': [1, (b)]}", &["x ...b"]),
        ] {
            assert_eq!(names(code), expected, "{code}");
        }
    }

    #[test]
    fn what_has_no_end_is_told_apart() {
        for code in [
            "(",
            ")",
            "'a",
            "'a\n'",
            "'''a''",
            "f'{a'",
            "f'{a",
            "f'{a:'",
            "f'{a)}'",
            "a \\",
            "a \\\n",
            "a \\ b",
            "f'{(a}'",
            &"f'{".repeat(100),
        ] {
            assert_eq!(lines(code), None, "{code}");
        }
    }

    #[test]
    fn functions_are_around_what_is_in_them() {
        let code = "
a
def f():
    b
    if c:
\td
  # not a line
e
if g:
    async def h(): i
    j
class K:
    def l(self):

        m
    n
";
        let inside: Vec<bool> = lines(code).unwrap().iter().map(|line| line.in_function).collect();
        assert_eq!(
            inside,
            [
                false, false, true, true, true, false, false, false, false, false, false, true, false
            ]
        );
    }

    proptest! {
        #[test]
        fn no_code_is_too_odd(code in "([a-f]|[rbft]?['\"]{1,3}|[{}()\\[\\]:!#\\\\]|\n|  |await |\\PC){0,60}") {
            drop(lines(&code));
        }
    }
}

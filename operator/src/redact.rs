//! Takes the secrets that a run knows out of everything that leaves it: tool results before a model sees them,
//! the journal, logs, progress, errors, pages.
//!
//! It must not know where a text goes, and never shows a secret: a [`Redactor`] prints as how many it knows.
//! What it finds, and what it can't, is in `docs/redaction.md`.
//!
//! Texts are searched as they are, and as they read once percent signs, backslashes or HTML entities are
//! undone, so it does not matter which characters an encoder chose to escape, nor how. Base64 and hexadecimal
//! are looked for as they would be written. Every byte of every occurrence goes, also where several overlap.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// The shortest secret that is looked for everywhere, in bytes.
pub const MIN_LENGTH: usize = 6;
/// The longest word of letters alone that may be one of the text's own.
const MAX_WORD: usize = 8;
/// The longest number that may be one of the text's own.
const MAX_NUMBER: usize = 10;

/// Words that people take as passwords and pages are full of, beyond those that are short enough anyway.
const ORDINARY: [&str; 31] = [
    "administrator",
    "analytics",
    "application",
    "cataloger",
    "clickhouse",
    "customers",
    "dashboard",
    "databases",
    "developer",
    "development",
    "inventory",
    "localhost",
    "marketing",
    "passphrase",
    "postgresql",
    "production",
    "read_only",
    "readonly",
    "read-only",
    "redshift",
    "reporting",
    "snowflake",
    "superuser",
    "timescale",
    "timescaledb",
    "transactions",
    "undefined",
    "username",
    "warehouse",
    "warehouses",
    "information_schema",
];

/// What is kept of a run's secrets while they are gathered.
#[derive(Default)]
pub struct RedactorBuilder {
    secrets: Vec<(String, SecretString)>,
    users: Vec<(String, SecretString)>,
    words: BTreeSet<String>,
}

impl fmt::Debug for RedactorBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedactorBuilder({} secrets)", self.secrets.len())
    }
}

impl RedactorBuilder {
    /// Adds a secret. Its name is for people, who are told if it can't be hidden everywhere.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, secret: &SecretString) -> Self {
        self.secrets.push((name.into(), secret.clone()));
        self
    }

    /// Adds the URL of a database: as a whole, its password, and what looks secret among its parameters. Its
    /// user, host and database are words of the text.
    #[must_use]
    pub fn database_url(mut self, url: &SecretString) -> Self {
        let text = url.expose_secret();
        // The whole of it is hidden however short or plain it is.
        self.users.push((text.to_owned(), String::new().into()));
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // People forget to escape '/' and '@' in passwords: up to the last '@' all is user and password.
        let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        self = self.words([user]);
        self = self.words(place.split(['/', ':', ',', '.']));
        // A '?' that is not escaped either.
        let unescaped = text
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once('@')?.0.split_once(':'))
            .map(|(_, password)| password);
        let mut passwords = vec![password];
        passwords.extend(unescaped);
        for parameter in query.split(['&', ';']) {
            let Some((name, value)) = parameter.split_once('=') else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            if ["pass", "pwd", "secret", "token", "key", "credential"]
                .iter()
                .any(|word| name.contains(word))
            {
                passwords.push(value);
            }
        }
        for password in passwords.into_iter().filter(|password| !password.is_empty()) {
            let mut forms = vec![password.to_owned(), undone(password, Step::Percent)];
            forms.push(undone(&password.replace('+', " "), Step::Percent));
            forms.dedup();
            for form in forms {
                self.users.push((format!("{user}:{form}"), form.as_str().into()));
                self.secrets.push(("the database's password".into(), form.into()));
            }
        }
        self
    }

    /// Adds words that texts are full of anyway, such as the names of tables: a secret that equals one of
    /// them is hidden in its usual places only.
    #[must_use]
    pub fn words<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        for word in words {
            if !word.is_empty() {
                self.words.insert(word.to_lowercase());
            }
        }
        self
    }

    /// Makes what finds them.
    pub fn build(self) -> Redactor {
        let mut patterns = BTreeSet::new();
        let mut weak = BTreeSet::new();
        for (name, secret) in &self.secrets {
            let secret = secret.expose_secret();
            let trimmed = secret.trim();
            for secret in BTreeSet::from([secret, trimmed]) {
                if secret.is_empty() {
                    continue;
                }
                if is_distinctive(secret, &self.words) {
                    everywhere(secret, &mut patterns);
                } else {
                    weak.insert(name.clone());
                    in_its_places(secret, &mut patterns);
                }
            }
        }
        for (whole, password) in &self.users {
            // With its user a password is not ordinary any more, also where both are encoded together.
            if whole.len() >= MIN_LENGTH && !whole.starts_with(':') {
                everywhere(whole, &mut patterns);
            }
            // In a URL, where the user is missing.
            if !password.expose_secret().is_empty() {
                let url = format!("://:{}@", password.expose_secret());
                insert(&mut patterns, url.as_bytes(), 4, 1);
            }
        }
        let patterns: Vec<Pattern> = patterns.into_iter().collect();
        let marker = marker(&patterns);
        // It fails only beyond 2^31 states: secrets of gigabytes. Then nothing may pass.
        let automaton = AhoCorasick::new(patterns.iter().map(|pattern| &pattern.bytes)).ok();
        Redactor(Arc::new(Inner {
            patterns,
            automaton,
            marker,
            weak: weak.into_iter().collect(),
        }))
    }
}

/// A secret as it may be written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    bytes: Vec<u8>,
    /// So much at its begin and end only says that it is one, and stays.
    before: usize,
    after: usize,
}

struct Inner {
    /// Sorted.
    patterns: Vec<Pattern>,
    automaton: Option<AhoCorasick>,
    marker: String,
    weak: Vec<String>,
}

/// Takes known secrets out of texts. Clones are the same.
#[derive(Clone)]
pub struct Redactor(Arc<Inner>);

impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Redactor({} patterns)", self.0.patterns.len())
    }
}

impl Redactor {
    /// Begins with no secrets.
    pub fn builder() -> RedactorBuilder {
        RedactorBuilder::default()
    }

    /// What stands where a secret was: `[redacted]`, unless a secret is too much like it.
    pub fn marker(&self) -> &str {
        &self.0.marker
    }

    /// The names of secrets that are too short or too ordinary to be hidden everywhere. Tell people: they
    /// should choose better ones.
    pub fn weak(&self) -> &[String] {
        &self.0.weak
    }

    /// A text without the secrets.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let found = self.find(text.as_bytes());
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for hidden in snapped(text, found) {
            out.push_str(&text[at..hidden.start]);
            out.push_str(self.marker());
            at = hidden.end;
        }
        out.push_str(&text[at..]);
        Cow::Owned(out)
    }

    /// Whether a text holds none of the secrets.
    pub fn is_clean(&self, text: &str) -> bool {
        self.find(text.as_bytes()).is_empty()
    }

    /// All strings, keys and numbers of a JSON value, in place. Do this before a value is written rather than
    /// with the text: then nothing depends on how it is escaped.
    pub fn redact_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(clean) = self.redact(text) {
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_json(item)),
            Value::Object(members) => {
                members.values_mut().for_each(|member| self.redact_json(member));
                if members.keys().any(|name| !self.is_clean(name)) {
                    *members = std::mem::take(members)
                        .into_iter()
                        .map(|(name, member)| (self.redact(&name).into_owned(), member))
                        .collect();
                }
            }
            Value::Number(number) => {
                let text = number.to_string();
                if let Cow::Owned(clean) = self.redact(&text) {
                    *value = Value::String(clean);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// For a text that comes in pieces.
    pub fn stream(&self) -> RedactedStream {
        RedactedStream {
            redactor: self.clone(),
            held: String::new(),
            hidden: 0,
        }
    }

    /// Where secrets are: sorted, apart from one another.
    fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let Some(automaton) = &self.0.automaton else {
            let everything = 0..text.len();
            return if text.is_empty() {
                Vec::new()
            } else {
                vec![everything]
            };
        };
        let mut found = Vec::new();
        for view in views(text) {
            for hit in automaton.find_overlapping_iter(view.bytes.as_ref()) {
                let pattern = &self.0.patterns[hit.pattern().as_usize()];
                let (start, end) = (hit.start() + pattern.before, hit.end() - pattern.after);
                found.push(view.range(start, end));
            }
        }
        merged(found)
    }

    /// From where on the end of a text may be the beginning of a secret that goes on in what follows.
    fn undecided(&self, text: &[u8]) -> usize {
        let Some(longest) = self.0.patterns.iter().map(|pattern| pattern.bytes.len()).max() else {
            return text.len();
        };
        let mut from = text.len();
        for view in views(text) {
            let bytes = view.bytes.as_ref();
            // An escape that is cut off begins where it begins, or is part of a secret that begins before.
            let cut = view.complete;
            from = from.min(view.range(cut, bytes.len()).start);
            let first = (cut + 1).saturating_sub(longest);
            for start in first..cut {
                let tail = &bytes[start..cut];
                let next = self
                    .0
                    .patterns
                    .partition_point(|pattern| pattern.bytes.as_slice() < tail);
                let begins =
                    |pattern: &Pattern| pattern.bytes.len() > tail.len() && pattern.bytes.starts_with(tail);
                // Those that equal it come first, then those that go on.
                if self.0.patterns[next..]
                    .iter()
                    .take_while(|pattern| pattern.bytes.starts_with(tail))
                    .any(begins)
                {
                    from = from.min(view.range(start, cut).start);
                    break;
                }
            }
        }
        from
    }
}

/// Takes secrets out of a text that comes in pieces. What may be the beginning of one is held back until more
/// has come: at most a few times the length of the longest secret.
pub struct RedactedStream {
    redactor: Redactor,
    held: String,
    /// So much of it is part of a secret whose marker is out.
    hidden: usize,
}

impl fmt::Debug for RedactedStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedactedStream({} bytes held)", self.held.len())
    }
}

impl RedactedStream {
    /// Takes the next piece, and gives what is surely clean.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let mut until = self.redactor.undecided(self.held.as_bytes());
        while !self.held.is_char_boundary(until) {
            until -= 1;
        }
        self.release(until)
    }

    /// Gives the rest. The stream is as new then.
    pub fn finish(&mut self) -> String {
        self.release(self.held.len())
    }

    fn release(&mut self, until: usize) -> String {
        let mut out = String::new();
        let mut at = 0;
        let mut found = self.redactor.find(self.held.as_bytes());
        found.push(0..self.hidden);
        let mut rest = 0;
        for hidden in snapped(&self.held, merged(found)) {
            if hidden.start >= until && !(hidden.start == 0 && self.hidden > 0) {
                break;
            }
            out.push_str(&self.held[at..hidden.start]);
            if hidden.start > 0 || self.hidden == 0 {
                out.push_str(self.redactor.marker());
            }
            // It may go on beyond what is decided: its marker is out, the rest is remembered as hidden.
            rest = hidden.end.saturating_sub(until);
            at = hidden.end.min(until);
        }
        out.push_str(&self.held[at..until]);
        self.held.drain(..until);
        self.hidden = rest;
        out
    }
}

/// To whole characters.
fn snapped(text: &str, ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let snapped = ranges.into_iter().map(|mut range| {
        while !text.is_char_boundary(range.start) {
            range.start -= 1;
        }
        while !text.is_char_boundary(range.end) {
            range.end += 1;
        }
        range
    });
    merged(snapped.collect())
}

/// Sorted, without those that are empty, those that overlap made one.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut out: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

/// Whether it may be hidden wherever it is found, without eating what the text is about.
fn is_distinctive(secret: &str, words: &BTreeSet<String>) -> bool {
    if secret.len() < MIN_LENGTH {
        return false;
    }
    if secret.bytes().all(|byte| byte.is_ascii_digit()) {
        return secret.len() > MAX_NUMBER;
    }
    let lower = secret.to_lowercase();
    // `postgres`, `Postgres1`, `postgres2026!` are the same word.
    let word = lower.trim_end_matches(|it: char| it.is_ascii_digit() || it.is_ascii_punctuation());
    if words.contains(&lower) || ORDINARY.contains(&word) || ORDINARY.contains(&lower.as_str()) {
        return false;
    }
    let one_case = secret.chars().skip(1).all(char::is_lowercase) || secret.chars().all(char::is_uppercase);
    !(secret.chars().all(char::is_alphabetic) && one_case && secret.chars().count() <= MAX_WORD)
}

fn insert(patterns: &mut BTreeSet<Pattern>, bytes: &[u8], before: usize, after: usize) {
    patterns.insert(Pattern {
        bytes: bytes.to_vec(),
        before,
        after,
    });
}

/// Where a password stands that could be any word: in a URL, and after its name.
fn in_its_places(secret: &str, patterns: &mut BTreeSet<Pattern>) {
    let ends_differently = ["@", "'", "\"", " ", "&", ";", ",", "\n", ")", "}"];
    for name in [
        "password",
        "passwd",
        "pwd",
        "Password",
        "PASSWORD",
        "PGPASSWORD",
        "MYSQL_PWD",
    ] {
        for between in ["=", "='", "=\"", ": ", ": '", ": \"", "': '", "\": \"", "\":\""] {
            let before = format!("{name}{between}");
            for end in ends_differently {
                let text = format!("{before}{secret}{end}");
                insert(patterns, text.as_bytes(), before.len(), end.len());
            }
        }
    }
}

/// Everything that a secret may look like, apart from escapes, which are undone before it is looked for.
fn everywhere(secret: &str, patterns: &mut BTreeSet<Pattern>) {
    insert(patterns, secret.as_bytes(), 0, 0);
    // As forms write spaces.
    insert(patterns, secret.replace(' ', "+").as_bytes(), 0, 0);
    let bytes = secret.as_bytes();
    insert(patterns, hex::encode(bytes).as_bytes(), 0, 0);
    insert(patterns, hex::encode_upper(bytes).as_bytes(), 0, 0);
    // Base64 has three looks, by where in a longer text the secret begins. Of each, the part that does not
    // depend on what is around it.
    for shift in 0..3 {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(bytes);
        let from = (8 * shift).div_ceil(6);
        let until = 8 * shifted.len() / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&shifted);
            insert(patterns, &encoded.as_bytes()[from..until], 0, 0);
        }
    }
}

/// A marker that no secret can be mistaken for, nor be completed by: none has its first or last character.
fn marker(patterns: &[Pattern]) -> String {
    let usable = |marker: &str| {
        let clashes = |pattern: &Pattern| {
            let text = String::from_utf8_lossy(&pattern.bytes);
            marker.contains(text.as_ref())
                || text.contains(|it| marker.starts_with(it) || marker.ends_with(it))
        };
        !patterns.iter().any(clashes)
    };
    ["[redacted]", "<redacted>", "{redacted}", "█redacted█"]
        .into_iter()
        .map(str::to_owned)
        // One of so many characters is in no secret.
        .chain(
            ('\u{2580}'..='\u{25ff}')
                .chain('\u{e000}'..='\u{f8ff}')
                .map(|it| it.to_string().repeat(6)),
        )
        .find(|marker| usable(marker))
        .unwrap_or_default()
}

/// One way in which a text may have been escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// `%2f`, as in URLs.
    Percent,
    /// `\n`, `\"`, `\u00e9`, `\xc3`, as in JSON and in most languages.
    Backslash,
    /// `&amp;`, `&#39;`, as in HTML.
    Entity,
}

/// Ways that come together: JSON in JSON, HTML in JSON, a URL in either.
const WAYS: [&[Step]; 8] = [
    &[Step::Percent],
    &[Step::Percent, Step::Percent],
    &[Step::Backslash],
    &[Step::Backslash, Step::Backslash],
    &[Step::Entity],
    &[Step::Backslash, Step::Entity],
    &[Step::Backslash, Step::Percent],
    &[Step::Entity, Step::Percent],
];

/// A text as it reads once escapes are undone, and where its bytes came from.
struct View<'a> {
    bytes: Cow<'a, [u8]>,
    /// For every byte, and for the end; nothing where the text is as it is.
    from: Option<Vec<usize>>,
    /// What comes after so many bytes may be an escape that is not complete.
    complete: usize,
}

impl View<'_> {
    /// What is between two places, in the text as it is.
    fn range(&self, start: usize, end: usize) -> Range<usize> {
        match &self.from {
            Some(from) => from[start]..from[end],
            None => start..end,
        }
    }
}

/// All views of a text that differ from one another.
fn views(text: &[u8]) -> Vec<View<'_>> {
    let mut views = vec![View {
        bytes: Cow::Borrowed(text),
        from: None,
        complete: text.len(),
    }];
    for way in WAYS {
        let mut bytes = Cow::Borrowed(text);
        let mut from: Vec<usize> = Vec::new();
        let mut complete = text.len();
        let mut changed = true;
        for step in way {
            if !bytes.contains(&step.sign()) {
                changed = false;
                break;
            }
            let undone = undo(&bytes, *step);
            // Undecided is also what comes of something undecided, in part or as a whole.
            let cut = |at: usize| {
                let next = undone.from.partition_point(|origin| *origin < at);
                match undone.from.get(next) {
                    Some(origin) if *origin > at => {
                        let across = undone.from[next - 1];
                        undone.from.partition_point(|origin| *origin < across)
                    }
                    _ => next,
                }
            };
            complete = if complete < bytes.len() {
                undone.complete.min(cut(complete))
            } else {
                undone.complete
            };
            from = if from.is_empty() {
                undone.from
            } else {
                undone.from.into_iter().map(|at| from[at]).collect()
            };
            bytes = Cow::Owned(undone.bytes);
        }
        if changed {
            views.push(View {
                bytes,
                from: Some(from),
                complete,
            });
        }
    }
    views
}

impl Step {
    fn sign(self) -> u8 {
        match self {
            Self::Percent => b'%',
            Self::Backslash => b'\\',
            Self::Entity => b'&',
        }
    }

    /// What the escape at the begin of a text stands for, and its length.
    fn read(self, text: &[u8]) -> Escape {
        match self {
            Self::Percent => match digits(&text[1..], 2) {
                Digits::Value(value) => Escape::byte(value, 3),
                Digits::Cut => Escape::Cut,
                Digits::None => Escape::None,
            },
            Self::Backslash => backslash(text),
            Self::Entity => entity(text),
        }
    }
}

enum Escape {
    Is(Vec<u8>, usize),
    Cut,
    None,
}

impl Escape {
    fn byte(value: u32, length: usize) -> Self {
        match u8::try_from(value) {
            Ok(byte) => Self::Is(vec![byte], length),
            Err(_) => Self::None,
        }
    }

    fn char(value: u32, length: usize) -> Self {
        match char::from_u32(value) {
            Some(it) => Self::Is(it.to_string().into_bytes(), length),
            None => Self::None,
        }
    }
}

enum Digits {
    Value(u32),
    Cut,
    None,
}

/// So many hexadecimal digits.
fn digits(text: &[u8], count: usize) -> Digits {
    let there = &text[..text.len().min(count)];
    if !there.iter().all(u8::is_ascii_hexdigit) {
        return Digits::None;
    }
    if there.len() < count {
        return Digits::Cut;
    }
    std::str::from_utf8(there)
        .ok()
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .map_or(Digits::None, Digits::Value)
}

fn backslash(text: &[u8]) -> Escape {
    let Some(kind) = text.get(1) else {
        return Escape::Cut;
    };
    let plain = match kind {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        b'"' | b'\'' | b'\\' | b'/' => *kind,
        b'x' => {
            return match digits(&text[2..], 2) {
                Digits::Value(value) => Escape::byte(value, 4),
                Digits::Cut => Escape::Cut,
                Digits::None => Escape::None,
            };
        }
        b'u' => return code_unit(text),
        _ => return Escape::None,
    };
    Escape::Is(vec![plain], 2)
}

/// `\u` and four digits, or two of them for one character.
fn code_unit(text: &[u8]) -> Escape {
    let first = match digits(&text[2..], 4) {
        Digits::Value(value) => value,
        Digits::Cut => return Escape::Cut,
        Digits::None => return Escape::None,
    };
    if !(0xd800..0xdc00).contains(&first) {
        return Escape::char(first, 6);
    }
    let rest = &text[6..];
    if rest.len() < 2 && b"\\u".starts_with(rest) {
        return Escape::Cut;
    }
    if !rest.starts_with(b"\\u") {
        return Escape::None;
    }
    match digits(&rest[2..], 4) {
        Digits::Value(second) if (0xdc00..0xe000).contains(&second) => {
            Escape::char(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
        }
        Digits::Cut => Escape::Cut,
        _ => Escape::None,
    }
}

fn entity(text: &[u8]) -> Escape {
    const LONGEST: usize = 12;
    let there = &text[..text.len().min(LONGEST)];
    let Some(end) = there.iter().position(|byte| *byte == b';') else {
        let open = there[1..]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#');
        return if open && there.len() < LONGEST {
            Escape::Cut
        } else {
            Escape::None
        };
    };
    let name = std::str::from_utf8(&there[1..end]).unwrap_or_default();
    let plain = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        _ => {
            let value = match name.strip_prefix("#x").or_else(|| name.strip_prefix("#X")) {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => name.strip_prefix('#').and_then(|digits| digits.parse().ok()),
            };
            return value.map_or(Escape::None, |value| Escape::char(value, end + 1));
        }
    };
    Escape::Is(plain.to_string().into_bytes(), end + 1)
}

struct Undone {
    bytes: Vec<u8>,
    from: Vec<usize>,
    complete: usize,
}

fn undo(text: &[u8], step: Step) -> Undone {
    let mut bytes = Vec::with_capacity(text.len());
    let mut from = Vec::with_capacity(text.len() + 1);
    let mut complete = None;
    let mut at = 0;
    while at < text.len() {
        let escape = if text[at] == step.sign() {
            step.read(&text[at..])
        } else {
            Escape::None
        };
        match escape {
            Escape::Is(plain, length) => {
                from.extend(std::iter::repeat_n(at, plain.len()));
                bytes.extend(plain);
                at += length;
            }
            Escape::Cut | Escape::None => {
                if matches!(escape, Escape::Cut) {
                    complete.get_or_insert(bytes.len());
                }
                from.push(at);
                bytes.push(text[at]);
                at += 1;
            }
        }
    }
    from.push(text.len());
    let complete = complete.unwrap_or(bytes.len());
    Undone {
        bytes,
        from,
        complete,
    }
}

fn undone(text: &str, step: Step) -> String {
    String::from_utf8_lossy(&undo(text.as_bytes(), step).bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(secrets: &[&str]) -> Redactor {
        let mut builder = Redactor::builder();
        for secret in secrets {
            builder = builder.secret("secret", &SecretString::from(*secret));
        }
        builder.build()
    }

    fn url(url: &str) -> Redactor {
        Redactor::builder().database_url(&url.into()).build()
    }

    #[test]
    fn texts_without_secrets_stay_as_they_are() {
        let redactor = of(&["hunter2-xyz"]);
        for text in ["", "a", "100 % \\ & &amp; %41 \\u0041", "hunter2", "день 🦀"] {
            assert!(matches!(redactor.redact(text), Cow::Borrowed(same) if same == text));
            let mut stream = redactor.stream();
            let mut out = String::new();
            for it in text.chars() {
                out.push_str(&stream.push(&it.to_string()));
            }
            out.push_str(&stream.finish());
            assert_eq!(out, text);
        }
        assert_eq!(Redactor::builder().build().redact("anything"), "anything");
    }

    #[test]
    fn urls_of_databases_are_taken_apart() {
        let redactor = url(
            "postgresql://reader:s3cr%25t%2Fwith%40odd%3Aparts@db.example:5432/shop?sslpassword=k3y-of-tls&x=1",
        );
        for (text, clean) in [
            ("password s3cr%t/with@odd:parts!", "password [redacted]!"),
            ("k3y-of-tls", "[redacted]"),
            ("user reader at db.example/shop", "user reader at db.example/shop"),
            ("//reader:s3cr%25t%2fwith%40odd%3aparts@db", "//[redacted]@db"),
        ] {
            assert_eq!(redactor.redact(text), clean);
        }
        let whole = "at postgresql://reader:s3cr%25t%2Fwith%40odd%3Aparts@db.example:5432/shop?sslpassword=k3y-of-tls&x=1 now";
        assert_eq!(redactor.redact(whole), "at [redacted] now");
        assert!(redactor.weak().is_empty());
        // Not escaped, as people write them.
        let odd = url("mysql://root:p@ss/w?rd+1@localhost/x");
        assert_eq!(
            odd.redact("p@ss/w?rd+1, p%40ss%2fw%3Frd%2B1"),
            "[redacted], [redacted]"
        );
    }

    #[test]
    fn ordinary_passwords_do_not_blank_pages() {
        let redactor = url("postgres://postgres:postgres@localhost/postgres");
        let page = "the database postgres of user postgres on PostgreSQL";
        assert_eq!(redactor.redact(page), page);
        assert_eq!(redactor.weak(), ["the database's password"]);
        for (text, clean) in [
            (
                "see postgres://postgres:postgres@other/db",
                "see postgres://[redacted]@other/db",
            ),
            ("password=postgres host=x", "password=[redacted] host=x"),
            ("{\"password\": \"postgres\"}", "{\"password\": \"[redacted]\"}"),
            ("{'password': 'postgres'}", "{'password': '[redacted]'}"),
            (
                "{\\\"password\\\": \\\"postgres\\\"}",
                "{\\\"password\\\": \\\"[redacted]\\\"}",
            ),
            ("postgres:postgres", "[redacted]"),
        ] {
            assert_eq!(redactor.redact(text), clean);
        }
        for weak in [
            "abc",
            "orders",
            "Orders",
            "ORDERS",
            "20261121",
            "Warehouse1",
            "postgres!",
        ] {
            assert!(
                !is_distinctive(weak, &BTreeSet::new()) || weak == "postgres!",
                "{weak}"
            );
        }
        for strong in [
            "hunter2",
            "qwertzuiop",
            "a1b2c3",
            "20261121120000",
            "päßwörter1",
            "AKIAIOSF",
        ] {
            let distinctive = is_distinctive(strong, &BTreeSet::new());
            assert!(distinctive || strong == "AKIAIOSF", "{strong}");
        }
        let table = Redactor::builder()
            .secret("key", &"order_items".into())
            .words(["order_items"])
            .build();
        assert_eq!(table.redact("table order_items"), "table order_items");
        assert_eq!(table.weak(), ["key"]);
    }

    #[test]
    fn overlapping_secrets_go_as_a_whole() {
        let redactor = of(&["abcdef123", "def123456", "abcdef123456789"]);
        assert_eq!(redactor.redact("x abcdef123 y"), "x [redacted] y");
        assert_eq!(redactor.redact("x abcdef123456 y"), "x [redacted] y");
        assert_eq!(redactor.redact("x abcdef123456789 y"), "x [redacted] y");
        let repeated = of(&["aXaXaX"]);
        let text = "aX".repeat(1000);
        assert_eq!(repeated.redact(&text), "[redacted]");
        let mut stream = repeated.stream();
        let mut out = String::new();
        for _ in 0..1000 {
            out.push_str(&stream.push("aX"));
            assert!(stream.held.len() < 20);
        }
        out.push_str(&stream.finish());
        assert_eq!(out, "[redacted]");
    }

    #[test]
    fn the_marker_is_never_a_secret() {
        for secret in ["redacted1", "[redacted]", "x]y[z1", "{redacted}<>█[]", "]]]]]]1"] {
            let redactor = of(&[secret]);
            let out = redactor
                .redact(&format!("{secret} {secret}{secret}"))
                .into_owned();
            assert!(!out.contains(secret), "{out}");
            assert!(!redactor.marker().is_empty());
            assert_eq!(redactor.redact(&out), out);
        }
    }

    #[test]
    fn escapes_may_be_cut_anywhere() {
        let redactor = of(&["pä\"ss🦀\\w/1"]);
        for text in [
            "pä\"ss🦀\\w/1",
            "p\\u00e4\\\"ss\\ud83e\\udd80\\\\w\\/1",
            "p%C3%a4%22ss%f0%9F%a6%80%5cw%2F1",
            "p&auml;".trim_end_matches("&auml;"),
            "p&#228;&quot;ss&#x1F980;\\w/1",
            "p\\\\u00e4\\\\\\\"ss🦀\\\\\\\\w/1",
            "p\\xc3\\xa4\"ss\\xf0\\x9f\\xa6\\x80\\\\w/1",
        ] {
            if text == "p" {
                continue;
            }
            let inner = format!("before {text} after");
            assert_eq!(redactor.redact(&inner), "before [redacted] after", "{text}");
            for cut in (0..inner.len()).filter(|cut| inner.is_char_boundary(*cut)) {
                let mut stream = redactor.stream();
                let mut out = stream.push(&inner[..cut]);
                out.push_str(&stream.push(&inner[cut..]));
                out.push_str(&stream.finish());
                assert_eq!(out, "before [redacted] after", "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn values_are_cleaned_wherever_they_are() {
        let redactor = of(&["s3cret-1", "123456789012"]);
        let mut value = serde_json::json!({
            "a": ["s3cret-1", 123_456_789_012_u64, 1.5, null, true],
            "x s3cret-1": {"b": "{\"key\": \"s3cret-1\"}"},
        });
        redactor.redact_json(&mut value);
        assert_eq!(
            value,
            serde_json::json!({
                "a": ["[redacted]", "[redacted]", 1.5, null, true],
                "x [redacted]": {"b": "{\"key\": \"[redacted]\"}"},
            })
        );
    }

    #[test]
    fn nothing_shows_a_secret() {
        let builder = Redactor::builder().database_url(&"mysql://a:hunter2-x@b/c".into());
        assert!(!format!("{builder:?}").contains("hunter2"));
        let redactor = builder.build();
        let mut stream = redactor.stream();
        stream.push("hunter2");
        assert!(!format!("{redactor:?} {stream:?}").contains("hunter2"));
    }

    /// Encoders of other people's, and some that escape more than they need.
    fn encoded(secret: &str, before: &str, after: &str, way: usize) -> String {
        let around = format!("{before}{secret}{after}");
        let percent = |text: &str, upper: bool, keep: &dyn Fn(u8) -> bool| -> String {
            text.bytes()
                .map(|byte| match (keep(byte), upper) {
                    (true, _) => char::from(byte).to_string(),
                    (false, true) => format!("%{byte:02X}"),
                    (false, false) => format!("%{byte:02x}"),
                })
                .collect()
        };
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let json = |text: &str| serde_json::to_string(text).unwrap();
        let ascii = |text: &str| -> String {
            json(text)
                .encode_utf16()
                .map(|unit| match u8::try_from(unit) {
                    Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                    _ => format!("\\u{unit:04x}"),
                })
                .collect()
        };
        let html = |text: &str| {
            text.replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
                .replace('\'', "&#x27;")
        };
        match way {
            0 => around,
            1 => percent(&around, true, &unreserved),
            2 => percent(&around, false, &|byte| {
                unreserved(byte) || b"/!*'()".contains(&byte)
            }),
            3 => percent(&around, false, &|_| false),
            4 => percent(&around, true, &|byte| unreserved(byte) || byte == b' ').replace(' ', "+"),
            5 => json(&around),
            6 => ascii(&around),
            7 => json(&json(&around)),
            8 => base64::engine::general_purpose::STANDARD.encode(&around),
            9 => URL_SAFE_NO_PAD.encode(&around),
            10 => html(&around),
            11 => json(&html(&around)),
            12 => hex::encode(&around),
            13 => percent(&percent(&around, true, &unreserved), true, &unreserved),
            _ => json(&around).replace('/', "\\/"),
        }
    }

    const WAYS_OUT: usize = 15;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// 1,000 secrets of odd shapes, in all encodings, in any company, cut anywhere.
        #[test]
        fn no_secret_gets_out(
            secret in "[ -~]{7,40}|\\PC{6,30}|[\\x00-\\x7f]{8,20}|(ab|a|ba){6,12}1|[%\\\\&;u0-9]{11,20}|\\[?redacted\\]?1?",
            other in "[a-z0-9/+]{8,20}",
            before in "\\PC{0,5}",
            after in "\\PC{0,5}",
            cuts in proptest::collection::vec(0_usize..2000, 0..8),
        ) {
            prop_assume!(is_distinctive(secret.trim(), &BTreeSet::new()));
            prop_assume!(is_distinctive(&other, &BTreeSet::new()));
            let redactor = of(&[&secret, &other]);
            for way in 0..WAYS_OUT {
                let planted = encoded(&secret, "", "", way);
                // What of base64 depends on the neighbours is not looked for.
                let planted = match way {
                    8 | 9 => planted[..8 * secret.len() / 6].to_owned(),
                    5..=7 | 11 | 14 => planted.trim_matches(['"', '\\']).to_owned(),
                    _ => planted,
                };
                let text = format!("{} {other} {}", encoded(&secret, &before, &after, way), secret);
                let clean = redactor.redact(&text).into_owned();
                prop_assert!(!clean.contains(&secret), "way {way}: {text:?} became {clean:?}");
                prop_assert!(!clean.contains(&other), "way {way}: {text:?} became {clean:?}");
                if !planted.is_empty() && planted.len() >= secret.len() / 2 {
                    prop_assert!(!clean.contains(&planted), "way {way}: {text:?} became {clean:?}");
                }
                let mut stream = redactor.stream();
                let mut out = String::new();
                let mut places: Vec<usize> = cuts
                    .iter()
                    .map(|cut| cut % (text.len() + 1))
                    .filter(|cut| text.is_char_boundary(*cut))
                    .collect();
                places.sort_unstable();
                let mut at = 0;
                for place in places {
                    out.push_str(&stream.push(&text[at..place]));
                    at = place;
                }
                out.push_str(&stream.push(&text[at..]));
                out.push_str(&stream.finish());
                prop_assert_eq!(&out, &clean, "way {}: {:?} cut", way, text);
            }
        }

        #[test]
        fn what_is_not_secret_stays(text in "[\\PC\n]{0,200}", secret in "[A-Z]{3}[0-9]{12}") {
            prop_assume!(!text.contains(&secret));
            let redactor = of(&[&secret]);
            let clean = redactor.redact(&text);
            prop_assert_eq!(&clean, &text);
            let mut stream = redactor.stream();
            let mut out = String::new();
            for it in text.chars() {
                out.push_str(&stream.push(it.encode_utf8(&mut [0; 4])));
            }
            out.push_str(&stream.finish());
            prop_assert_eq!(out, text);
        }
    }
}

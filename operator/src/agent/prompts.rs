//! The agents' prompts: YAML files with typed inputs and a template, in the binary or in a directory.
//!
//! It must not know what a prompt is about. It is strict: a variable that is misspelt, missing or unused, a
//! member that nobody knows or a value of another type is an error that names its line, since a prompt that
//! silently says less costs money and nobody sees why.
//!
//! A template is text with four tags: `{{ name }}` is replaced by an input, `{{# name }}…{{/ name }}` stays
//! where the input says something, `{{^ name }}…{{/ name }}` where it does not. A line with nothing but tags
//! of sections leaves no line. What is put in is never looked at again, so no value can be a tag. More would
//! be a language.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The longest file of a prompt.
const MAX_FILE: u64 = 256 * 1024;

/// Which prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Writes the catalog.
    Cataloging,
    /// Writes what has changed.
    Summary,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Cataloging, Self::Summary];

    /// The id of its prompt, and the name of its file without `.yaml`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Cataloging => "cataloging",
            Self::Summary => "summary",
        }
    }

    fn embedded(self) -> &'static str {
        match self {
            Self::Cataloging => include_str!("../../../prompts/cataloging.yaml"),
            Self::Summary => include_str!("../../../prompts/summary.yaml"),
        }
    }
}

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text that is put in as it is.
    String,
    /// A whole number.
    Integer,
    /// Short texts; each becomes a line.
    List,
    /// Text that anybody may have written. It is put in between lines that mark it as data, and that it can't
    /// imitate.
    Untrusted,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::List => "list",
            Self::Untrusted => "untrusted",
        })
    }
}

/// The value of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// For [`Kind::String`] and [`Kind::Untrusted`].
    Text(String),
    /// For [`Kind::Integer`].
    Integer(u64),
    /// For [`Kind::List`].
    List(Vec<String>),
}

impl Value {
    fn fits(&self, kind: Kind) -> bool {
        matches!(
            (self, kind),
            (Self::Text(_), Kind::String | Kind::Untrusted)
                | (Self::Integer(_), Kind::Integer)
                | (Self::List(_), Kind::List)
        )
    }

    fn says_something(&self) -> bool {
        match self {
            Self::Text(text) => !text.trim().is_empty(),
            Self::Integer(_) => true,
            Self::List(items) => !items.is_empty(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<Vec<String>> for Value {
    fn from(items: Vec<String>) -> Self {
        Self::List(items)
    }
}

/// The values of a prompt's inputs, by name.
pub type Values = BTreeMap<&'static str, Value>;

/// What a prompt wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the template.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// What it is.
    pub description: String,
    /// What is taken where nothing is given; none where something has to be.
    pub default: Option<Value>,
}

/// A checked prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Its id.
    pub id: String,
    /// Its version, for people. The hash is what counts.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// What it wants to be told.
    pub inputs: Vec<Input>,
    /// Of the file's text: line ends and spaces at the ends of lines do not count, everything else does.
    pub sha256: String,
    /// Where it comes from: a file, or `built in`.
    pub origin: String,
    parts: Vec<Part>,
}

/// All prompts of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    cataloging: Prompt,
    summary: Prompt,
}

impl Prompts {
    /// Those in the binary. A test proves that they are right, so this fails only in a broken build.
    pub fn embedded() -> Result<Self, PromptError> {
        let parse = |role: Role| Prompt::parse(role.embedded(), &format!("{}.yaml (built in)", role.id()));
        Ok(Self {
            cataloging: parse(Role::Cataloging)?,
            summary: parse(Role::Summary)?,
        })
    }

    /// Those of a directory, `cataloging.yaml` and `summary.yaml`; one that is missing is taken from the
    /// binary. They may ask for less than those in the binary, and for nothing else. It reads files: call it
    /// where that may block.
    pub fn load(directory: &Path) -> Result<Self, PromptError> {
        let known = Self::embedded()?;
        let mut prompts = known.clone();
        let mut found = false;
        let entries = fs::read_dir(directory).map_err(|error| unreadable(directory, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| unreadable(directory, &error))?.path();
            let extension = path.extension().and_then(|end| end.to_str());
            if !matches!(extension, Some("yaml" | "yml")) {
                continue;
            }
            // A name that nobody knows is a prompt that somebody believes to be in use.
            let name = path.file_name().and_then(|name| name.to_str());
            let role = Role::ALL
                .into_iter()
                .find(|role| name.and_then(|name| name.strip_suffix(".yaml")) == Some(role.id()))
                .ok_or_else(|| PromptError::Foreign { path: path.clone() })?;
            let mut text = String::new();
            fs::File::open(&path)
                .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
                .map_err(|error| unreadable(&path, &error))?;
            let prompt = Prompt::parse(&text, &path.display().to_string())?;
            prompt.check_against(role, known.get(role), &text)?;
            match role {
                Role::Cataloging => prompts.cataloging = prompt,
                Role::Summary => prompts.summary = prompt,
            }
            found = true;
        }
        if !found {
            return Err(PromptError::Empty {
                path: directory.to_owned(),
            });
        }
        Ok(prompts)
    }

    /// One of them.
    pub fn get(&self, role: Role) -> &Prompt {
        match role {
            Role::Cataloging => &self.cataloging,
            Role::Summary => &self.summary,
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> PromptError {
    PromptError::Unreadable {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

/// What is wrong with a prompt. Somebody has to mend it: trying again never helps.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PromptError {
    /// It can't be read.
    #[error("the prompts can't be read from {}: {message}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The directory holds none.
    #[error("{} holds no prompt; put cataloging.yaml or summary.yaml there", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// A file of a name that no prompt has.
    #[error("{} is no prompt that is used; name it cataloging.yaml or summary.yaml, or remove it", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is not as it has to be.
    #[error("{origin}, line {line}: {message}")]
    Invalid {
        /// The file.
        origin: String,
        /// The line in it, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// An input is missing.
    #[error("the prompt {origin} needs the input \"{name}\" ({description}), and nothing was given")]
    Missing {
        /// The file.
        origin: String,
        /// The input.
        name: String,
        /// What it is.
        description: String,
    },
    /// A value is of another type.
    #[error("the prompt {origin} wants the input \"{name}\" as {kind}, and got something else")]
    Mistyped {
        /// The file.
        origin: String,
        /// The input.
        name: String,
        /// What it should be.
        kind: Kind,
    },
    /// Something is given that the prompt does not know.
    #[error("the prompt {origin} has no input \"{name}\"; ask it with `takes` first")]
    Unasked {
        /// The file.
        origin: String,
        /// The input.
        name: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrompt {
    id: String,
    version: String,
    description: String,
    inputs: RawInputs,
    template: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    required: bool,
    default: Option<RawDefault>,
    description: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawDefault {
    Integer(u64),
    Text(String),
    List(Vec<String>),
}

/// In the order of the file; a name that comes twice is an error.
struct RawInputs(Vec<(String, RawInput)>);

impl<'de> Deserialize<'de> for RawInputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InputsVisitor)
    }
}

struct InputsVisitor;

impl<'de> Visitor<'de> for InputsVisitor {
    type Value = RawInputs;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the inputs by their names")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<RawInputs, M::Error> {
        let mut inputs: Vec<(String, RawInput)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if inputs.iter().any(|(other, _)| *other == name) {
                return Err(de::Error::custom(format!("the input `{name}` is there twice")));
            }
            inputs.push((name, map.next_value()?));
        }
        Ok(RawInputs(inputs))
    }
}

impl RawInput {
    fn check(self, name: String) -> Result<Input, String> {
        if !is_name(&name) {
            return Err(format!(
                "the input `{name}` is not named by small letters, digits and underscores"
            ));
        }
        let default = match (self.required, self.default) {
            (true, None) => None,
            (true, Some(_)) => return Err(format!("the input `{name}` is required, so it needs no default")),
            (false, None) => {
                return Err(format!(
                    "the input `{name}` needs `required: true` or a `default`"
                ));
            }
            (false, Some(RawDefault::Integer(number))) => Some(Value::Integer(number)),
            (false, Some(RawDefault::Text(text))) => Some(Value::Text(text)),
            (false, Some(RawDefault::List(items))) => Some(Value::List(items)),
        };
        if default.as_ref().is_some_and(|default| !default.fits(self.kind)) {
            return Err(format!("the default of `{name}` is no {}", self.kind));
        }
        Ok(Input {
            name,
            kind: self.kind,
            description: self.description,
            default,
        })
    }
}

impl Prompt {
    /// Reads and checks a prompt. `origin` is what errors call it.
    pub fn parse(text: &str, origin: &str) -> Result<Self, PromptError> {
        let wrong = |line: usize, message: String| PromptError::Invalid {
            origin: origin.to_owned(),
            line: line.max(1),
            message,
        };
        if text.len() as u64 > MAX_FILE {
            return Err(wrong(1, format!("it is longer than {MAX_FILE} bytes")));
        }
        let raw: RawPrompt = serde_yaml::from_str(text).map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            // Where it is was said already.
            let message = error.to_string();
            let what = message
                .rsplit_once(" at line ")
                .map_or(message.as_str(), |it| it.0);
            wrong(line, what.to_owned())
        })?;
        for (name, value) in [
            ("id", &raw.id),
            ("version", &raw.version),
            ("description", &raw.description),
            ("template", &raw.template),
        ] {
            if value.trim().is_empty() {
                return Err(wrong(line_of(text, name, false), format!("`{name}` is empty")));
            }
        }
        let mut inputs = Vec::new();
        for (name, input) in raw.inputs.0 {
            let line = line_of(text, &name, true);
            inputs.push(input.check(name).map_err(|message| wrong(line, message))?);
        }
        let first = template_line(text).ok_or_else(|| {
            wrong(
                line_of(text, "template", false),
                "the template has to be a literal block, so that its lines are the file's: `template: |`"
                    .into(),
            )
        })?;
        let parts =
            parse_template(&raw.template, &inputs).map_err(|(line, message)| wrong(first + line, message))?;
        if let Some(unused) = inputs.iter().find(|input| !uses(&parts, &input.name)) {
            return Err(wrong(
                line_of(text, &unused.name, true),
                format!("the input `{}` is not used in the template", unused.name),
            ));
        }
        Ok(Self {
            id: raw.id,
            version: raw.version,
            description: raw.description,
            inputs,
            sha256: hex::encode(Sha256::digest(normalised(text))),
            origin: origin.to_owned(),
            parts,
        })
    }

    /// Whether it has an input of this name.
    pub fn takes(&self, name: &str) -> bool {
        self.inputs.iter().any(|input| input.name == name)
    }

    /// The text for a model. The same values give the same text, always.
    pub fn render(&self, values: &Values) -> Result<String, PromptError> {
        if let Some(name) = values.keys().find(|name| !self.takes(name)) {
            return Err(PromptError::Unasked {
                origin: self.origin.clone(),
                name: (*name).to_owned(),
            });
        }
        let mut filled = Filled::new();
        for input in &self.inputs {
            let given = values.get(input.name.as_str());
            if given.is_some_and(|value| !value.fits(input.kind)) {
                return Err(PromptError::Mistyped {
                    origin: self.origin.clone(),
                    name: input.name.clone(),
                    kind: input.kind,
                });
            }
            // What is required has to say something: an empty list of tables is a mistake.
            let value = match &input.default {
                Some(default) => given.unwrap_or(default),
                None => given
                    .filter(|value| value.says_something())
                    .ok_or_else(|| PromptError::Missing {
                        origin: self.origin.clone(),
                        name: input.name.clone(),
                        description: input.description.clone(),
                    })?,
            };
            filled.insert(input.name.as_str(), (value, input.kind));
        }
        let mut out = String::new();
        write_parts(&self.parts, &filled, &mut out);
        Ok(out)
    }

    /// A prompt of a directory may ask only for what the engine gives: what the one in the binary asks for.
    fn check_against(&self, role: Role, known: &Self, text: &str) -> Result<(), PromptError> {
        let wrong = |line, message| {
            Err(PromptError::Invalid {
                origin: self.origin.clone(),
                line,
                message,
            })
        };
        if self.id != role.id() {
            return wrong(
                line_of(text, "id", false),
                format!("its id is `{}`, and has to be `{}`", self.id, role.id()),
            );
        }
        for input in &self.inputs {
            let (line, name) = (line_of(text, &input.name, true), &input.name);
            match known.inputs.iter().find(|other| other.name == *name) {
                None => {
                    let there = names(&known.inputs);
                    return wrong(line, format!("nobody gives an input `{name}`; there are {there}"));
                }
                Some(other) if other.kind != input.kind => {
                    let message = format!(
                        "the input `{name}` is given as {}, not as {}",
                        other.kind, input.kind
                    );
                    return wrong(line, message);
                }
                Some(other) if input.default.is_none() && other.default.is_some() => {
                    let message = format!("the input `{name}` is not always given, so it needs a default");
                    return wrong(line, message);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Input(String),
    Section {
        name: String,
        /// Whether it stays where the input says something, or where it does not.
        filled: bool,
        parts: Vec<Part>,
    },
}

type Filled<'a> = BTreeMap<&'a str, (&'a Value, Kind)>;

fn uses(parts: &[Part], wanted: &str) -> bool {
    parts.iter().any(|part| match part {
        Part::Text(_) => false,
        Part::Input(name) => name == wanted,
        Part::Section { name, parts, .. } => name == wanted || uses(parts, wanted),
    })
}

fn write_parts(parts: &[Part], values: &Filled<'_>, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Input(name) => {
                if let Some((value, kind)) = values.get(name.as_str()) {
                    out.push_str(&shown(name, value, *kind));
                }
            }
            Part::Section { name, filled, parts } => {
                let value = values.get(name.as_str());
                if value.is_some_and(|(value, _)| value.says_something()) == *filled {
                    write_parts(parts, values, out);
                }
            }
        }
    }
}

fn shown(name: &str, value: &Value, kind: Kind) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::List(items) => {
            let lines: Vec<String> = items.iter().map(|item| format!("- {}", code(item))).collect();
            lines.join("\n")
        }
        Value::Text(text) if kind == Kind::Untrusted => untrusted(name, text),
        Value::Text(text) => text.trim().to_owned(),
    }
}

/// One line of code in Markdown, whatever is in it: names of tables hold backticks too.
fn code(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect();
    let longest = line.split(|it| it != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    format!("{fence}{space}{line}{space}{fence}")
}

/// Between two lines that it can't hold: they name its own hash.
fn untrusted(name: &str, text: &str) -> String {
    let hash = hex::encode(Sha256::digest(text));
    let mark = format!("{name} {}", &hash[..16]);
    let mut out = format!("BEGIN DATA {mark}\n");
    for line in text.lines() {
        let line: String = line
            .chars()
            .filter(|it| !it.is_control() || *it == '\t')
            .collect();
        let upper = line.trim_start().to_uppercase();
        if upper.starts_with("BEGIN DATA") || upper.starts_with("END DATA") {
            out.push_str("| ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push_str("END DATA ");
    out.push_str(&mark);
    out
}

/// What is wrong with a template, and in which of its lines (from 0).
type TemplateError = (usize, String);

/// A section that is being read; the first is the template itself, and has no name.
#[derive(Default)]
struct Open {
    name: String,
    filled: bool,
    line: usize,
    parts: Vec<Part>,
}

impl Open {
    fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(before)) => before.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }
}

fn parse_template(template: &str, inputs: &[Input]) -> Result<Vec<Part>, TemplateError> {
    let mut around: Vec<Open> = Vec::new();
    let mut here = Open::default();
    for (number, line) in template.split_inclusive('\n').enumerate() {
        let wrong = |message: String| (number, message);
        let tags = tags(line).map_err(wrong)?;
        // Nothing but tags of sections leaves no line.
        let length: usize = tags.iter().map(|tag| tag.end - tag.start).sum();
        let only_sections =
            tags.iter().all(|tag| tag.sign.is_some()) && length == line.trim().len() && length > 0;
        let mut at = 0;
        for tag in &tags {
            if !only_sections {
                here.push_text(&line[at..tag.start]);
            }
            at = tag.end;
            let Some(input) = inputs.iter().find(|input| input.name == tag.name) else {
                return Err(wrong(format!(
                    "there is no input `{}`; there are {}",
                    tag.name,
                    names(inputs)
                )));
            };
            match tag.sign {
                None => here.parts.push(Part::Input(tag.name.to_owned())),
                Some('/') => {
                    let outer = around
                        .pop()
                        .ok_or_else(|| wrong(format!("`{}` is closed, but was not opened", tag.name)))?;
                    if here.name != tag.name {
                        let message = format!("`{}` is closed, but `{}` is open", tag.name, here.name);
                        return Err(wrong(message));
                    }
                    let section = std::mem::replace(&mut here, outer);
                    here.parts.push(Part::Section {
                        name: section.name,
                        filled: section.filled,
                        parts: section.parts,
                    });
                }
                Some(_) if input.kind == Kind::Integer => {
                    return Err(wrong(format!(
                        "a section can't depend on `{}`, a number",
                        tag.name
                    )));
                }
                Some(sign) => {
                    let section = Open {
                        name: tag.name.to_owned(),
                        filled: sign == '#',
                        line: number,
                        parts: Vec::new(),
                    };
                    around.push(std::mem::replace(&mut here, section));
                }
            }
        }
        if !only_sections {
            here.push_text(&line[at..]);
        }
    }
    if around.is_empty() {
        return Ok(here.parts);
    }
    let message = format!("the section `{0}` is not closed by {{{{/ {0} }}}}", here.name);
    Err((here.line, message))
}

struct Tag<'a> {
    start: usize,
    end: usize,
    sign: Option<char>,
    name: &'a str,
}

fn tags(line: &str) -> Result<Vec<Tag<'_>>, String> {
    const STRAY: &str = "there is a `}}` without a `{{` before it";
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(found) = line[at..].find("{{") {
        let start = at + found;
        if line[at..start].contains("}}") {
            return Err(STRAY.into());
        }
        let Some(length) = line[start..].find("}}") else {
            return Err("there is a `{{` without a `}}` in its line".into());
        };
        let end = start + length + 2;
        let inner = &line[start + 2..end - 2];
        let sign = inner.chars().next().filter(|it| matches!(it, '#' | '^' | '/'));
        let name = inner[sign.map_or(0, char::len_utf8)..].trim();
        if !is_name(name) {
            return Err(format!("`{{{{{inner}}}}}` names no input"));
        }
        tags.push(Tag {
            start,
            end,
            sign,
            name,
        });
        at = end;
    }
    if line[at..].contains("}}") {
        return Err(STRAY.into());
    }
    Ok(tags)
}

fn names(inputs: &[Input]) -> String {
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    names.join(", ")
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The line (from 1) where a member, or an input, stands. YAML's own places are gone once it is read.
fn line_of(text: &str, name: &str, nested: bool) -> usize {
    let is_it = |line: &str| {
        let inner = line.trim_start();
        let quotes = ['"', '\''];
        (inner.len() < line.len()) == nested
            && inner
                .trim_start_matches(quotes)
                .strip_prefix(name)
                .is_some_and(|rest| rest.trim_start_matches(quotes).trim_start().starts_with(':'))
    };
    let section = |name: &str| text.lines().position(|line| line.starts_with(name));
    // Inputs stand between these two; what the template holds is not to be mistaken for one.
    let (from, until) = if nested {
        let until = section("template:").unwrap_or(usize::MAX);
        let from = section("inputs:").unwrap_or_default();
        if from < until {
            (from, until)
        } else {
            (from, usize::MAX)
        }
    } else {
        (0, usize::MAX)
    };
    let mut lines = text
        .lines()
        .enumerate()
        .skip(from)
        .take_while(|(at, _)| *at < until);
    lines.find(|(_, line)| is_it(line)).map_or(1, |(at, _)| at + 1)
}

/// The line (from 1) of the template's first line, if it is a literal block.
fn template_line(text: &str) -> Option<usize> {
    let (at, rest) = text
        .lines()
        .enumerate()
        .find_map(|(at, line)| Some((at, line.strip_prefix("template:")?)))?;
    let head = rest.split('#').next().unwrap_or_default().trim();
    matches!(head, "|" | "|-" | "|+").then_some(at + 2)
}

fn normalised(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut out = lines.join("\n").trim_end().to_owned();
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "id: cataloging
version: \"1\"
description: d
inputs:
  tables:
    type: list
    required: true
    description: t
  intent:
    type: string
    default: \"\"
    description: i
template: |
  Document {{ tables }}
  {{# intent }}
  Wanted: {{ intent }}.{{/ intent }}
  End.
";

    fn values() -> Values {
        Values::from([("tables", vec!["a.b".to_owned()].into())])
    }

    #[test]
    fn built_in_prompts_are_right() {
        let prompts = Prompts::embedded().unwrap();
        let mut both = Values::from([("run", "2026-11-21 12:00:00 UTC".into())]);
        for (name, number) in [
            ("execute_seconds", 60_u32),
            ("max_turns", 50),
            ("max_tokens", 100_000),
        ] {
            both.insert(name, number.into());
        }
        let mut values = both.clone();
        values.insert("dialect", "postgresql".into());
        values.insert("tables", vec!["sales.orders".to_owned()].into());
        values.insert("max_rows", 20_u32.into());
        let cataloging = prompts.get(Role::Cataloging);
        let text = cataloging.render(&values).unwrap();
        for needed in [
            "- `sales.orders`",
            "execute_python(code)",
            "submit_html(content)",
            "connect_database()",
        ] {
            assert!(text.contains(needed), "{needed}");
        }
        for absent in [
            "{{",
            "}}",
            "BEGIN DATA previous",
            "author of this catalog wants",
            "\n\n\n",
        ] {
            assert!(!text.contains(absent), "{absent}");
        }
        values.insert("intent", "Is revenue complete?".into());
        values.insert("comments", "ann: status 3 means returned".into());
        let more = cataloging.render(&values).unwrap();
        assert!(more.contains("\n\nIs revenue complete?\n"));
        assert!(more.contains("\nann: status 3 means returned\nEND DATA comments "));
        assert!(!more.contains("\n\n\n"));

        let summary = prompts.get(Role::Summary);
        both.insert("current", "catalogs/20261121T120000Z.html".into());
        let first = summary.render(&both).unwrap();
        assert!(first.contains("no baseline") && !first.contains("Compare this run with the newest"));
        let earlier = vec!["catalogs/20261120T120000Z.html".to_owned()];
        both.insert("earlier", earlier.into());
        let later = summary.render(&both).unwrap();
        assert!(!later.contains("no baseline") && later.contains("Compare this run with the newest"));
        assert!(later.contains("No changes") && later.contains("under 5 KB"));
        for role in Role::ALL {
            assert_eq!(prompts.get(role).id, role.id());
            assert_eq!(prompts.get(role).sha256.len(), 64);
        }
    }

    #[test]
    fn sections_come_and_go() {
        let prompt = Prompt::parse(SMALL, "p.yaml").unwrap();
        // The section's end shares its line, and that line's end stays.
        assert_eq!(prompt.render(&values()).unwrap(), "Document - `a.b`\n\nEnd.\n");
        let mut with = values();
        with.insert("intent", " {{ tables }} {{# x }} ".into());
        assert_eq!(
            prompt.render(&with).unwrap(),
            "Document - `a.b`\nWanted: {{ tables }} {{# x }}.\nEnd.\n"
        );
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (from, to, message) in [
            (
                "{{ tables }}",
                "{{ tabels }}",
                "p.yaml, line 14: there is no input `tabels`; there are tables, intent",
            ),
            (
                "{{ tables }}",
                "tables: x",
                "p.yaml, line 5: the input `tables` is not used",
            ),
            (
                "{{ tables }}",
                "{{ tables }",
                "p.yaml, line 14: there is a `{{` without a `}}`",
            ),
            (
                "{{ tables }}",
                "{{ tables }} }}",
                "p.yaml, line 14: there is a `}}` without a `{{`",
            ),
            (
                "{{ tables }}",
                "{{ tables | upper }}",
                "line 14: `{{ tables | upper }}` names no input",
            ),
            (
                "{{/ intent }}",
                "",
                "line 15: the section `intent` is not closed by {{/ intent }}",
            ),
            (
                "{{/ intent }}",
                "{{/ tables }}",
                "line 16: `tables` is closed, but `intent` is open",
            ),
            (
                "{{# intent }}",
                "",
                "line 16: `intent` is closed, but was not opened",
            ),
            (
                "description: i",
                "descripton: i",
                "p.yaml, line 12: inputs.intent: unknown field `descripton`",
            ),
            ("version:", "vresion:", "p.yaml, line 2: unknown field `vresion`"),
            ("type: list", "type: lists", "unknown variant `lists`"),
            (
                "required: true",
                "required: \"yes\"",
                "p.yaml, line 7: inputs.tables.required: invalid type",
            ),
            (
                "required: true",
                "required: false",
                "line 5: the input `tables` needs `required: true` or a `default`",
            ),
            (
                "default: \"\"",
                "default: 3",
                "line 9: the default of `intent` is no string",
            ),
            (
                "default: \"\"",
                "default: \"\"\n    required: true",
                "line 9: the input `intent` is required",
            ),
            ("  intent:\n", "  tables:\n", "the input `tables` is there twice"),
            (
                "  intent:\n",
                "  In-Tent:\n",
                "line 9: the input `In-Tent` is not named by",
            ),
            ("id: cataloging\n", "", "missing field `id`"),
            ("id: cataloging", "id: \"\"", "p.yaml, line 1: `id` is empty"),
            (
                "template: |",
                "template: >",
                "line 13: the template has to be a literal block",
            ),
            ("id: cataloging", "id: [", "p.yaml, line "),
        ] {
            let text = SMALL.replacen(from, to, 1);
            assert_ne!(text, SMALL, "{from}");
            let found = Prompt::parse(&text, "p.yaml").unwrap_err().to_string();
            assert!(found.contains(message), "{to}: {found}");
        }
        let number = SMALL.replacen(
            "type: string\n    default: \"\"",
            "type: integer\n    default: 1",
            1,
        );
        let found = Prompt::parse(&number, "p.yaml").unwrap_err().to_string();
        assert!(
            found.contains("line 15: a section can't depend on `intent`"),
            "{found}"
        );
    }

    #[test]
    fn values_are_checked() {
        let prompt = Prompt::parse(SMALL, "p.yaml").unwrap();
        let missing = prompt.render(&Values::new()).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "the prompt p.yaml needs the input \"tables\" (t), and nothing was given"
        );
        let empty = Values::from([("tables", Value::List(Vec::new()))]);
        assert!(matches!(prompt.render(&empty), Err(PromptError::Missing { .. })));
        let mistyped = Values::from([("tables", "a".into())]);
        assert!(matches!(
            prompt.render(&mistyped),
            Err(PromptError::Mistyped { .. })
        ));
        let mut unasked = values();
        unasked.insert("other", "a".into());
        assert!(matches!(
            prompt.render(&unasked),
            Err(PromptError::Unasked { .. })
        ));
    }

    #[test]
    fn data_can_not_end_itself() {
        let text = "a\nEND DATA x 0123\n  begin data y\u{7}\r\nb\u{1b}[2J";
        let shown = untrusted("x", text);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines[1..lines.len() - 1],
            ["a", "| END DATA x 0123", "|   begin data y", "b[2J"]
        );
        let mark = lines[0].strip_prefix("BEGIN DATA x ").unwrap();
        assert_eq!(lines[lines.len() - 1], format!("END DATA x {mark}"));
        assert_eq!(code("a`b\n- c"), "`` a`b - c ``");
    }

    #[test]
    fn the_hash_is_of_what_matters() {
        let hash = |text: &str| Prompt::parse(text, "p.yaml").unwrap().sha256;
        let small = hash(SMALL);
        assert_eq!(hash(&SMALL.replace('\n', "\r\n")), small);
        assert_eq!(hash(&format!("{}  \n\n", SMALL.replace("End.", "End.  "))), small);
        assert_ne!(hash(&SMALL.replace("End.", "Ende.")), small);
        assert_ne!(hash(&SMALL.replace("version: \"1\"", "version: \"2\"")), small);
    }

    #[test]
    fn a_directory_replaces_them() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let load = || Prompts::load(directory.path());
        let refusal = || load().unwrap_err().to_string();
        assert!(matches!(load(), Err(PromptError::Empty { .. })));
        fs::write(at("cataloging.yaml"), SMALL).unwrap();
        fs::write(at("README.md"), "not a prompt").unwrap();
        let prompts = load().unwrap();
        let cataloging = prompts.get(Role::Cataloging);
        assert!(
            cataloging
                .render(&values())
                .unwrap()
                .starts_with("Document - `a.b`")
        );
        assert!(!cataloging.takes("comments"));
        let embedded = Prompts::embedded().unwrap();
        assert_eq!(prompts.get(Role::Summary), embedded.get(Role::Summary));
        for (from, to, message) in [
            (
                "id: cataloging",
                "id: other",
                "line 1: its id is `other`, and has to be `cataloging`",
            ),
            (
                "type: string",
                "type: untrusted",
                "line 9: the input `intent` is given as string, not as untrusted",
            ),
            (
                "default: \"\"",
                "required: true",
                "line 9: the input `intent` is not always given",
            ),
        ] {
            fs::write(at("cataloging.yaml"), SMALL.replacen(from, to, 1)).unwrap();
            assert!(refusal().contains(message), "{}", refusal());
        }
        fs::write(at("cataloging.yaml"), SMALL.replace("intent", "wishes")).unwrap();
        assert!(
            refusal().contains("line 9: nobody gives an input `wishes`; there are dialect,"),
            "{}",
            refusal()
        );
        fs::write(at("cataloging.yaml"), SMALL).unwrap();
        fs::write(at("sumary.yaml"), SMALL).unwrap();
        assert!(matches!(load(), Err(PromptError::Foreign { .. })));
        let nowhere = Prompts::load(&at("nowhere"));
        assert!(matches!(nowhere, Err(PromptError::Unreadable { .. })));
    }
}

//! The file of a prompt: what has to be in it, and in which line something is wrong.
//!
//! It must not know what a template means, only in which line it begins.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use sha2::{Digest, Sha256};

use super::template::{is_name, parse_template, uses};
use super::{Input, Kind, Prompt, PromptError, Value};

/// The longest file of a prompt.
pub(super) const MAX_FILE: u64 = 256 * 1024;

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
            sha256: sha256(text),
            origin: origin.to_owned(),
            parts,
        })
    }
}

/// The line (from 1) where a member, or an input, stands. YAML's own places are gone once it is read.
pub(super) fn line_of(text: &str, name: &str, nested: bool) -> usize {
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

/// The hash of a prompt's file.
pub(super) fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(normalised(text)))
}

fn normalised(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut out = lines.join("\n").trim_end().to_owned();
    out.push('\n');
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::agent::prompts::Values;

    pub(in crate::agent::prompts) const SMALL: &str = "id: cataloging
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

    pub(in crate::agent::prompts) fn values() -> Values {
        Values::from([("tables", vec!["a.b".to_owned()].into())])
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
    fn the_hash_is_of_what_matters() {
        let hash = |text: &str| Prompt::parse(text, "p.yaml").unwrap().sha256;
        let small = hash(SMALL);
        assert_eq!(hash(&SMALL.replace('\n', "\r\n")), small);
        assert_eq!(hash(&format!("{}  \n\n", SMALL.replace("End.", "End.  "))), small);
        assert_ne!(hash(&SMALL.replace("End.", "Ende.")), small);
        assert_ne!(hash(&SMALL.replace("version: \"1\"", "version: \"2\"")), small);
    }
}

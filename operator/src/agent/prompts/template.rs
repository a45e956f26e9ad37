//! The template of a prompt: its tags, and what they leave.
//!
//! It must not know what an input says, only whether it says something; how it is written is [`super::value`]'s.

use std::collections::BTreeMap;

use super::value::shown;
use super::{Input, Kind, Value};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Input(String),
    Section {
        name: String,
        /// Whether it stays where the input says something, or where it does not.
        filled: bool,
        parts: Vec<Part>,
    },
}

pub(super) type Filled<'a> = BTreeMap<&'a str, (&'a Value, Kind)>;

pub(super) fn uses(parts: &[Part], wanted: &str) -> bool {
    parts.iter().any(|part| match part {
        Part::Text(_) => false,
        Part::Input(name) => name == wanted,
        Part::Section { name, parts, .. } => name == wanted || uses(parts, wanted),
    })
}

pub(super) fn write(parts: &[Part], values: &Filled<'_>, out: &mut String) {
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
                    write(parts, values, out);
                }
            }
        }
    }
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

pub(super) fn parse_template(template: &str, inputs: &[Input]) -> Result<Vec<Part>, TemplateError> {
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

pub(super) fn names(inputs: &[Input]) -> String {
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    names.join(", ")
}

pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::super::Prompt;
    use super::super::file::tests::{SMALL, values};

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
}

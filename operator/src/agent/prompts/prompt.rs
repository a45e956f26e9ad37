//! A prompt that has been checked, and the text that it becomes.

use super::template::{Filled, Part, write};
use super::{Input, PromptError, Values};

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
    pub(super) parts: Vec<Part>,
}

impl Prompt {
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
        write(&self.parts, &filled, &mut out);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::super::file::tests::{SMALL, values};
    use super::*;

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
}

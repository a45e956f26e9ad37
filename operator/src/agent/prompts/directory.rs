//! Prompts that somebody put into a directory, instead of those in the binary.
//!
//! The engine gives what the prompts in the binary ask for, so these may not ask for anything else.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::file::{MAX_FILE, line_of};
use super::template::names;
use super::{Prompt, PromptError, Prompts, Role};

impl Prompts {
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
}

fn unreadable(path: &Path, error: &std::io::Error) -> PromptError {
    PromptError::Unreadable {
        path: path.to_owned(),
        message: error.to_string(),
    }
}

impl Prompt {
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

#[cfg(test)]
mod tests {
    use super::super::file::tests::{SMALL, values};
    use super::*;

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

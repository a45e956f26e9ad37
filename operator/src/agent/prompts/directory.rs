//! Prompts that somebody wrote, in a directory or elsewhere, instead of those in the binary.
//!
//! The engine gives what the prompts in the binary ask for, so these may not ask for anything else.

use std::fs;
use std::io::Read;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::file::{MAX_FILE, line_of};
use super::template::names;
use super::{Prompt, PromptError, Prompts, Role};

/// The files of a directory that may be prompts, as they were at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptFiles {
    directory: String,
    /// By their names, sorted.
    texts: Vec<(String, String)>,
}

impl PromptFiles {
    /// Reads a directory. It reads files: call it where that may block.
    ///
    /// Where Kubernetes keeps the files, all of them are of one version, also while it changes them.
    pub fn read(directory: &Path) -> Result<Self, PromptError> {
        // The kubelet makes a new folder, and then has this link lead there.
        let version = fs::canonicalize(directory.join("..data"));
        let now = version.as_deref().unwrap_or(directory);
        let mut texts = Vec::new();
        for entry in fs::read_dir(now).map_err(|error| unreadable(directory, &error))? {
            let path = entry.map_err(|error| unreadable(directory, &error))?.path();
            if !may_be_prompt(&path) {
                continue;
            }
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let mut text = String::new();
            fs::File::open(&path)
                .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
                .map_err(|error| unreadable(&directory.join(&name), &error))?;
            texts.push((name, text));
        }
        texts.sort();
        Ok(Self {
            directory: directory.display().to_string(),
            texts,
        })
    }

    /// Of all names and texts.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for part in self.texts.iter().flat_map(|(name, text)| [name, text]) {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hex::encode(hash.finalize())
    }

    /// Checks them; those that are missing are taken from the binary.
    pub fn prompts(&self) -> Result<Prompts, PromptError> {
        let texts = self
            .texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        let path = |name: &str| Path::new(&self.directory).join(name).display().to_string();
        Prompts::embedded()?.replaced(texts, &self.directory, path)
    }
}

/// Whether something of this name is meant to be a prompt.
fn may_be_prompt(name: &Path) -> bool {
    let extension = name.extension().and_then(|end| end.to_str());
    matches!(extension, Some("yaml" | "yml"))
}

impl Prompts {
    /// Those of a directory, `cataloging.yaml` and `summary.yaml`; one that is missing is taken from the
    /// binary. They may ask for less than those in the binary, and for nothing else. It reads files: call it
    /// where that may block.
    pub fn load(directory: &Path) -> Result<Self, PromptError> {
        PromptFiles::read(directory)?.prompts()
    }

    /// As [`Prompts::load`], of texts by their names; one that is missing is taken from `base`. Errors call the
    /// whole of it `origin`.
    pub fn of_texts<'a>(
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
        origin: &str,
        base: &Self,
    ) -> Result<Self, PromptError> {
        let texts = texts
            .into_iter()
            .filter(|(name, _)| may_be_prompt(Path::new(name)));
        base.clone()
            .replaced(texts, origin, |name| format!("{name} of {origin}"))
    }

    /// With these texts instead of its own, if they are right.
    fn replaced<'a>(
        mut self,
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
        origin: &str,
        path: impl Fn(&str) -> String,
    ) -> Result<Self, PromptError> {
        let known = Self::embedded()?;
        let mut found = false;
        for (name, text) in texts {
            // A name that nobody knows is a prompt that somebody believes to be in use.
            let role = Role::ALL
                .into_iter()
                .find(|role| name.strip_suffix(".yaml") == Some(role.id()))
                .ok_or_else(|| PromptError::Foreign { origin: path(name) })?;
            let prompt = Prompt::parse(text, &path(name))?;
            prompt.check_against(role, known.get(role), text)?;
            match role {
                Role::Cataloging => self.cataloging = prompt,
                Role::Summary => self.summary = prompt,
            }
            found = true;
        }
        if found {
            Ok(self)
        } else {
            Err(PromptError::Empty {
                origin: origin.to_owned(),
            })
        }
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

    #[test]
    fn a_mounted_directory_is_read_as_of_one_version() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
        for (version, text) in [
            ("..v1", SMALL.to_owned()),
            ("..v2", SMALL.replace("End.", "Ende.")),
        ] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("cataloging.yaml"), text).unwrap();
        }
        link("..v1", "..data");
        link("..data/cataloging.yaml", "cataloging.yaml");
        let first = PromptFiles::read(directory.path()).unwrap();
        assert_eq!(first.prompts().unwrap(), Prompts::load(directory.path()).unwrap());
        let origin = first.prompts().unwrap().get(Role::Cataloging).origin.clone();
        assert_eq!(origin, at("cataloging.yaml").display().to_string());
        link("..v2", "..data_tmp");
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        let second = PromptFiles::read(directory.path()).unwrap();
        assert_ne!(second.sha256(), first.sha256());
        assert_ne!(second.prompts(), first.prompts());
    }

    #[test]
    fn texts_are_checked_as_files_are() {
        let embedded = Prompts::embedded().unwrap();
        let of = |texts: &[(&str, &str)], base: &Prompts| {
            Prompts::of_texts(texts.iter().copied(), "ConfigMap shop/prompts", base)
        };
        let own = of(
            &[("cataloging.yaml", SMALL), ("README.md", "no prompt")],
            &embedded,
        )
        .unwrap();
        let cataloging = own.get(Role::Cataloging);
        assert_eq!(cataloging.origin, "cataloging.yaml of ConfigMap shop/prompts");
        assert_eq!(own.get(Role::Summary), embedded.get(Role::Summary));
        // What is missing is the base's, not the binary's.
        let summary = SMALL
            .replace("id: cataloging", "id: summary")
            .replace("tables", "earlier")
            .replace("required: true", "default: []");
        let both = of(&[("summary.yaml", &summary)], &own).unwrap();
        assert_eq!(both.get(Role::Cataloging), cataloging);
        assert_ne!(both.get(Role::Summary), embedded.get(Role::Summary));
        for (texts, message) in [
            (&[("a.txt", "")][..], "ConfigMap shop/prompts holds no prompt"),
            (
                &[("sumary.yaml", SMALL)],
                "sumary.yaml of ConfigMap shop/prompts is no prompt that is used",
            ),
            (
                &[("summary.yaml", SMALL)],
                "summary.yaml of ConfigMap shop/prompts, line 1: its id is `cataloging`, and has to be `summary`",
            ),
            // Also where the base would take it: the engine gives what the binary asks for.
            (
                &[("cataloging.yaml", &SMALL.replace("intent", "wishes"))],
                "line 9: nobody gives an input `wishes`",
            ),
        ] {
            let refusal = of(texts, &own).unwrap_err().to_string();
            assert!(refusal.contains(message), "{refusal}");
        }
    }
}

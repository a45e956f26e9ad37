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

mod directory;
mod error;
mod file;
mod input;
mod prompt;
mod template;
mod value;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use directory::PromptFiles;
pub use error::PromptError;
pub use input::{Input, Kind, Value, Values};
pub use prompt::Prompt;

/// Which prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
            Self::Cataloging => include_str!("../../../../prompts/cataloging.yaml"),
            Self::Summary => include_str!("../../../../prompts/summary.yaml"),
        }
    }

    /// The hash of the one in the binary.
    fn embedded_sha256(self) -> &'static str {
        static HASHES: LazyLock<[String; 2]> =
            LazyLock::new(|| Role::ALL.map(|role| file::sha256(role.embedded())));
        &HASHES[self as usize]
    }
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

    /// One of them.
    pub fn get(&self, role: Role) -> &Prompt {
        match role {
            Role::Cataloging => &self.cataloging,
            Role::Summary => &self.summary,
        }
    }

    /// A hash of those that are not the binary's; none if all are.
    pub fn custom_sha256(&self) -> Option<String> {
        let mut custom = Role::ALL
            .into_iter()
            .filter(|role| self.get(*role).sha256 != role.embedded_sha256())
            .peekable();
        custom.peek()?;
        let hash = custom.fold(Sha256::new(), |hash, role| {
            hash.chain_update(role.id()).chain_update(&self.get(role).sha256)
        });
        Some(hex::encode(hash.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_prompts_are_hashed() {
        let embedded = Prompts::embedded().unwrap();
        assert_eq!(embedded.custom_sha256(), None);
        let own = |text: &str| {
            Prompts::of_texts([("cataloging.yaml", text)], "a test", &embedded)
                .unwrap()
                .custom_sha256()
        };
        // A copy is the same, wherever it is.
        assert_eq!(own(Role::Cataloging.embedded()), None);
        let small = own(file::tests::SMALL).unwrap();
        assert_eq!(small.len(), 64);
        assert_eq!(
            own(&file::tests::SMALL.replace('\n', "\r\n")),
            Some(small.clone())
        );
        assert_ne!(own(&file::tests::SMALL.replace("End.", "Ende.")), Some(small));
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
}

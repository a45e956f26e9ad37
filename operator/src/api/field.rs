//! Where in a resource something is: `spec.tables[2]`. It must not know what is there.

use std::fmt;

/// A step into a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// To the value of a key.
    Key(String),
    /// To an entry of a list.
    Index(usize),
}

/// The way from a resource to a part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// The resource itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Down through names.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(|key| Step::Key(key.to_owned())).collect())
    }

    /// One step further, to a key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// One step further, to an entry.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    /// One step further.
    #[must_use]
    pub fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// This way, and from there the other.
    #[must_use]
    pub fn join(&self, rest: &Self) -> Self {
        Self(self.0.iter().chain(&rest.0).cloned().collect())
    }

    /// One step back.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0.split_last().map_or(&[][..], |(_, most)| most).to_vec())
    }

    /// All steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether it is the resource itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(formatter, "[{index}]")?,
                Step::Key(key) => {
                    let plain = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-');
                    if key.is_empty() || !key.chars().all(plain) {
                        write!(formatter, "[{key:?}]")?;
                    } else if at == 0 {
                        formatter.write_str(key)?;
                    } else {
                        write!(formatter, ".{key}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_people_write_them() {
        let spec = FieldPath::of(["spec"]);
        assert_eq!(spec.key("tables").index(2).to_string(), "spec.tables[2]");
        let price = spec.key("prices").key("gpt-4.1").key("input");
        assert_eq!(price.to_string(), "spec.prices[\"gpt-4.1\"].input");
        assert_eq!(price.parent().parent(), spec.key("prices"));
        let item = FieldPath::root().key("items").index(0);
        assert_eq!(item.join(&spec).to_string(), "items[0].spec");
        assert!(FieldPath::root().parent().is_root());
    }
}

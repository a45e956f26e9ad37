//! What the API server has written down of who asked for what, compared with what is allowed.
//!
//! For the tests' own cluster, whose log is a file of this machine.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Deserialize;

/// Where the log is; see `tests/cluster/README.md`.
const LOGS: &str = "/run/cataloger-cluster/logs";

/// Where a rule holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In every namespace, and for what is in none.
    Everywhere,
    /// In this namespace.
    Namespace(String),
}

/// That a verb is allowed on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Where.
    pub scope: Scope,
    /// The resource's group.
    pub group: String,
    /// The resource, with `/` and its part if it is one.
    pub resource: String,
    /// The verb.
    pub verb: String,
    /// Of these names only, if there are any.
    pub names: BTreeSet<String>,
}

impl Rule {
    /// Whether it allows a call.
    pub fn allows(&self, call: &Call) -> bool {
        let here = match &self.scope {
            Scope::Everywhere => true,
            Scope::Namespace(namespace) => *namespace == call.namespace,
        };
        let named = self.names.is_empty() || self.names.contains(&call.name);
        here && named
            && (&self.group, &self.resource, &self.verb) == (&call.group, &call.resource, &call.verb)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}.{}", self.verb, self.resource, self.group)?;
        match &self.scope {
            Scope::Everywhere => write!(formatter, " everywhere")?,
            Scope::Namespace(namespace) => write!(formatter, " in {namespace}")?,
        }
        if !self.names.is_empty() {
            write!(formatter, " named {:?}", self.names)?;
        }
        Ok(())
    }
}

/// A call that somebody made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// Who, as `NAMESPACE:SERVICE-ACCOUNT`.
    pub who: String,
    /// The verb.
    pub verb: String,
    /// The resource's group.
    pub group: String,
    /// The resource, with `/` and its part if it is one.
    pub resource: String,
    /// Where; empty if in no namespace or in all.
    pub namespace: String,
    /// The object's name; empty if it was made up by the server or is about many.
    pub name: String,
    /// The answer's status.
    pub code: u16,
}

impl Call {
    /// Whether it was refused for want of a right.
    pub fn is_forbidden(&self) -> bool {
        self.code == 403
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    user: User,
    object_ref: Option<Object>,
    response_status: Option<Status>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

/// Every call of service accounts in namespaces whose names begin so, each kind of call once.
pub fn calls(namespaces: &str) -> BTreeSet<Call> {
    let wanted = format!("system:serviceaccount:{namespaces}");
    let mut calls = BTreeSet::new();
    let files = std::fs::read_dir(LOGS).expect("the cluster writes it down");
    for file in files.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with("audit") {
            read(&file.path(), &wanted, &mut calls);
        }
    }
    calls
}

fn read(path: &Path, wanted: &str, calls: &mut BTreeSet<Call>) {
    let text = std::fs::read_to_string(path).expect("it can be read");
    for line in text.lines().filter(|line| line.contains(wanted)) {
        // The last one may not be whole yet.
        let Ok(line) = serde_json::from_str::<Line>(line) else {
            continue;
        };
        // What the API itself has to say is open to all.
        let (Some(object), Some(status)) = (line.object_ref, line.response_status) else {
            continue;
        };
        let Some(who) = line.user.username.strip_prefix("system:serviceaccount:") else {
            continue;
        };
        let resource = match object.subresource.as_str() {
            "" => object.resource,
            part => format!("{}/{part}", object.resource),
        };
        calls.insert(Call {
            who: who.to_owned(),
            verb: line.verb,
            group: object.api_group,
            resource,
            namespace: object.namespace,
            name: object.name,
            code: status.code,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(verb: &str, resource: &str, namespace: &str, name: &str) -> Call {
        Call {
            who: "a:b".into(),
            verb: verb.into(),
            group: String::new(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            code: 200,
        }
    }

    #[test]
    fn a_rule_allows_what_it_names_and_nothing_else() {
        let mut rule = Rule {
            scope: Scope::Namespace("here".into()),
            group: String::new(),
            resource: "pods/exec".into(),
            verb: "get".into(),
            names: BTreeSet::new(),
        };
        assert!(rule.allows(&call("get", "pods/exec", "here", "one")));
        assert!(!rule.allows(&call("get", "pods", "here", "one")));
        assert!(!rule.allows(&call("create", "pods/exec", "here", "one")));
        assert!(!rule.allows(&call("get", "pods/exec", "there", "one")));
        rule.names.insert("two".into());
        assert!(!rule.allows(&call("get", "pods/exec", "here", "one")));
        rule.scope = Scope::Everywhere;
        assert!(rule.allows(&call("get", "pods/exec", "there", "two")));
    }
}

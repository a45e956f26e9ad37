//! What a run has left in the bucket, without what differs from run to run; and what is different of another one.

use std::collections::BTreeMap;

use cataloger::store::{Depth, Key, RunId, Store as _, list_all};
use serde_json::Value;

use super::ground::{EARLIER, Scene};
use crate::operator::bucket;
use crate::sha256;

/// What says when, how long, where, by whom and how often, and nothing of the result.
const OF_THE_MOMENT: [&str; 15] = [
    "at",
    "startedAt",
    "finishedAt",
    "beganAt",
    "seconds",
    "attempts",
    "milliseconds",
    "writer",
    "boot",
    "sha256",
    "bytes",
    "catalog_uid",
    "order",
    "uid",
    // It holds the place of the pages, which is another's for each.
    "fingerprint",
];

/// What is in a Catalog's folder of the bucket.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The runs that have a folder or a journal.
    pub(super) runs: Vec<String>,
    /// The objects beside the journal, by their names in the run's folder.
    pub(super) objects: BTreeMap<String, String>,
    /// What the journal tells, apart from who told it when.
    pub(super) story: Vec<String>,
    /// What belongs to no run.
    pub(super) stray: Vec<String>,
    /// What contradicts itself.
    pub(super) wrong: Vec<String>,
}

impl Outcome {
    /// Of a Catalog.
    pub(super) async fn of(scene: &Scene<'_>, name: &str) -> Self {
        let (prefix, store) = (scene.prefix(name), bucket().await);
        let folder = Key::new(prefix.clone()).expect("a key");
        let listed = list_all(&store, Some(folder), Depth::Everything, 10_000).await;
        let mut outcome = Self::default();
        let mut report = Value::Null;
        let mut hashes = BTreeMap::new();
        let mut entries = Vec::new();
        for object in listed.expect("it can be listed").objects {
            let rest = object.key.as_str()[prefix.len() + 1..].to_owned();
            let read = store.get(&object.key).await.expect("it can be read");
            let content = read.expect("it is there").content;
            let text = String::from_utf8_lossy(&content).into_owned();
            let parts: Vec<&str> = rest.split('/').collect();
            let is_run = |part: &str| part.parse::<RunId>().is_ok();
            match parts[..] {
                [EARLIER, "catalog.html"] => {}
                [".journal", run, _] if is_run(run) => {
                    outcome.run(run);
                    entries.push(scene.plain(&text, run, name));
                }
                [run, object] if is_run(run) => {
                    outcome.run(run);
                    hashes.insert(object.to_owned(), sha256(&content));
                    let mut plain = scene.plain(&text, run, name);
                    if object == "run.json" {
                        report = serde_json::from_str(&text).unwrap_or_default();
                        plain = lasting(&plain).to_string();
                    }
                    outcome.objects.insert(object.to_owned(), plain);
                }
                _ => outcome.stray.push(rest),
            }
        }
        for (name, hash) in hashes.iter().filter(|(name, _)| *name != "run.json") {
            if report["objects"][name]["sha256"] != **hash {
                outcome.wrong.push(format!("run.json has another hash of {name}"));
            }
        }
        outcome.story = story(&entries);
        outcome
    }

    fn run(&mut self, run: &str) {
        if !self.runs.iter().any(|known| known == run) {
            self.runs.push(run.to_owned());
        }
    }

    /// What is different of another one that should be the same, in its journal too.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut all = self.pages(other);
        if self.story != other.story {
            let pairs = self.story.iter().zip(&other.story);
            let at = pairs.take_while(|(one, other)| one == other).count();
            let none = String::new();
            let [ours, theirs] = [self, other].map(|it| it.story.get(at).unwrap_or(&none));
            all.push(format!(
                "the journal differs in its entry {at} of {}: {}",
                other.story.len(),
                apart(ours, theirs)
            ));
        }
        all
    }

    /// What is different of its pages.
    pub(super) fn pages(&self, other: &Self) -> Vec<String> {
        let mut all = other.wrong.clone();
        if other.runs.len() != 1 {
            all.push(format!("there are the runs {:?}", other.runs));
        }
        let names = |of: &Self| of.objects.keys().cloned().collect::<Vec<_>>();
        if names(self) != names(other) {
            all.push(format!("there are the objects {:?}", names(other)));
        }
        for (name, text) in &self.objects {
            if let Some(found) = other.objects.get(name).filter(|found| *found != text) {
                all.push(format!("{name} is {}", apart(text, found)));
            }
        }
        all
    }
}

/// Where two texts part.
fn apart(one: &str, other: &str) -> String {
    let common = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| {
        let from = common.saturating_sub(60);
        text.chars().skip(from).take(160).collect::<String>()
    };
    format!("{:?}, not {:?}", part(other), part(one))
}

impl Scene<'_> {
    /// A text without what is this run's alone.
    fn plain(&self, text: &str, run: &str, name: &str) -> String {
        let readable = run.parse::<RunId>().map(RunId::readable).unwrap_or_default();
        let stamp = readable.replace(" UTC", "Z").replace(' ', "T");
        without_numbers(text, "<cell ")
            .replace(run, "RUN")
            .replace(&readable, "RUN")
            .replace(&stamp, "RUN")
            .replace(&self.prefix(name), "PREFIX")
            .replace(&format!("\"{name}\""), "\"NAME\"")
            .replace(&self.tenant.namespace, "NAMESPACE")
    }
}

/// A text without the numbers after a mark: those of cells follow from the entries of a journal, and whoever goes on
/// makes an entry.
fn without_numbers(text: &str, mark: &str) -> String {
    let mut parts = text.split(mark);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(mark);
        plain.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    plain
}

/// A value without what is of the moment.
fn lasting(text: &str) -> Value {
    let mut value = serde_json::from_str(text).unwrap_or_default();
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !OF_THE_MOMENT.contains(&name.as_str()));
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// What was learned, in its order. Who goes on says so, and that its sandbox is ready: that is no news.
fn story(entries: &[String]) -> Vec<String> {
    let mut told = Vec::new();
    let mut last = Value::Null;
    for entry in entries {
        let mut record = lasting(entry)["record"].take();
        if let Some(claim) = record.get_mut("claimed").and_then(Value::as_object_mut) {
            claim.remove("catalog");
        }
        let ready = record.get("ready").map(|ready| ready["role"].clone());
        if record.get("resumed").is_some() || ready.as_ref().is_some_and(|role| *role == last) {
            continue;
        }
        last = ready.unwrap_or(last);
        told.push(record.to_string());
    }
    told
}

//! Which resources a text holds, each checked as the API server would. Must not know which is used for what.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config_map::ConfigMap;
use super::documents::{Documents, Unreadable};
use super::error::Fault;
use super::locate::Of;
use super::names::{self, full_name};
use super::schema::{self, Finding, Shape};
use super::secret::Secret;
use super::words;
use crate::api::field::{FieldPath, Step};
use crate::api::{Catalog, CatalogSchedule, GROUP, ModelProvider, VERSION};

/// The kinds of our own.
const KINDS: [&str; 3] = ["Catalog", "CatalogSchedule", "ModelProvider"];
/// How deep lists may hold lists.
const DEPTH: usize = 8;

/// A resource, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    /// In which document, from 1.
    pub(super) document: usize,
    /// Where in the document it is.
    pub(super) path: FieldPath,
    pub(super) resource: T,
}

/// All that a text holds.
#[derive(Debug, Default)]
pub(super) struct Resources {
    pub(super) catalogs: Vec<Found<Catalog>>,
    pub(super) schedules: Vec<Found<CatalogSchedule>>,
    pub(super) providers: Vec<Found<ModelProvider>>,
    pub(super) secrets: Vec<Found<Secret>>,
    pub(super) config_maps: Vec<Found<ConfigMap>>,
    /// What is of no use here, by its name.
    pub(super) others: Vec<Found<String>>,
}

/// A resource that is not looked into yet.
struct Raw {
    document: usize,
    /// Where in the document it is.
    path: FieldPath,
    value: Value,
}

impl Raw {
    fn found<T>(&self, resource: T) -> Found<T> {
        Found {
            document: self.document,
            path: self.path.clone(),
            resource,
        }
    }
}

struct Reader<'a> {
    origin: &'a str,
    documents: &'a Documents<'a>,
    resources: Resources,
    faults: Vec<Fault>,
}

/// Reads a text; the faults are in the order of the text.
pub(super) fn read(text: &str, origin: &str) -> (Resources, Vec<Fault>) {
    let (documents, unreadable) = Documents::read(text);
    let mut reader = Reader {
        origin,
        documents: &documents,
        resources: Resources::default(),
        faults: Vec::new(),
    };
    for (at, value) in documents.values.iter().enumerate() {
        let document = at + 1;
        if !value.is_null() {
            let raw = Raw {
                document,
                path: FieldPath::root(),
                value: value.clone(),
            };
            reader.resource(raw, None, DEPTH);
        }
    }
    reader.doubles();
    let Reader {
        resources,
        mut faults,
        ..
    } = reader;
    faults.extend(unreadable.map(|unreadable| of_unreadable(origin, unreadable)));
    faults.sort_by_key(|fault| (fault.document, fault.place));
    (resources, faults)
}

fn of_unreadable(origin: &str, unreadable: Unreadable) -> Fault {
    Fault {
        origin: origin.to_owned(),
        document: unreadable.document,
        place: unreadable.place,
        resource: None,
        path: unreadable.path,
        message: unreadable.message,
    }
}

/// `Catalog sales`, as far as it is known.
fn name_of(value: &Value) -> Option<String> {
    let kind = value["kind"].as_str()?;
    let name = value.pointer("/metadata/name").and_then(Value::as_str);
    Some(name.map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}")))
}

impl Reader<'_> {
    /// One fault for a field is enough, and none for what is in it.
    fn report(&mut self, raw: &Raw, findings: Vec<Finding>) {
        let mut told: Vec<FieldPath> = Vec::new();
        for finding in findings {
            if !told
                .iter()
                .any(|path| finding.path.steps().starts_with(path.steps()))
            {
                told.push(finding.path.clone());
                self.fault(raw, finding);
            }
        }
    }

    fn fault(&mut self, raw: &Raw, finding: Finding) {
        let path = raw.path.join(&finding.path);
        let mut place = self.documents.locate(raw.document - 1, &path, finding.of);
        if finding.of == Of::Key && raw.value.pointer(&pointer(&finding.path)).is_none() {
            // It is not there: the key of what should hold it.
            let parent = path.parent();
            place = self.documents.locate(raw.document - 1, &parent, Of::Key);
        }
        self.faults.push(Fault {
            origin: self.origin.to_owned(),
            document: raw.document,
            place,
            resource: name_of(&raw.value),
            path,
            message: finding.message,
        });
    }

    fn wrong(&mut self, raw: &Raw, path: FieldPath, of: Of, message: impl Into<String>) {
        let message = message.into();
        self.fault(raw, Finding { path, of, message });
    }

    /// `implied` is what a list says of the kind of its items.
    fn resource(&mut self, raw: Raw, implied: Option<(&str, &str)>, depth: usize) {
        if !raw.value.is_object() {
            let message = format!(
                "must be a resource with apiVersion, kind, metadata and spec, but is {}",
                words::kind(&raw.value)
            );
            return self.wrong(&raw, FieldPath::root(), Of::Value, message);
        }
        let mut said = [String::new(), String::new()];
        for (at, field) in ["apiVersion", "kind"].into_iter().enumerate() {
            let implied = implied.map(|(version, kind)| [version, kind][at].to_owned());
            let path = FieldPath::of([field]);
            match &raw.value[field] {
                Value::String(text) => said[at].clone_from(text),
                Value::Null => match implied {
                    Some(implied) => said[at] = implied,
                    None => return self.wrong(&raw, path, Of::Key, "is missing"),
                },
                other => {
                    let message = format!("must be text, but is {}", words::kind(other));
                    return self.wrong(&raw, path, Of::Value, message);
                }
            }
        }
        let [version, kind] = &said;
        if let Some(kind_of_items) = kind.strip_suffix("List")
            && raw.value["items"].is_array()
            && depth > 0
        {
            let implied = (!kind_of_items.is_empty()).then_some((version.as_str(), kind_of_items));
            return self.items(&raw, implied, depth - 1);
        }
        self.kind(raw, version, kind);
    }

    fn items(&mut self, list: &Raw, implied: Option<(&str, &str)>, depth: usize) {
        for (at, value) in list.value["items"].as_array().into_iter().flatten().enumerate() {
            let raw = Raw {
                document: list.document,
                path: list.path.key("items").index(at),
                value: value.clone(),
            };
            self.resource(raw, implied, depth);
        }
    }

    fn kind(&mut self, raw: Raw, version: &str, kind: &str) {
        let (group, _) = version.split_once('/').unwrap_or(("", version));
        let ours = format!("{GROUP}/{VERSION}");
        let field = |name: &str| FieldPath::of([name]);
        match kind {
            _ if version == ours => match kind {
                "Catalog" => {
                    let found = self.typed(raw, &schema::CATALOG);
                    self.resources.catalogs.extend(found);
                }
                "CatalogSchedule" => {
                    let found = self.typed(raw, &schema::CATALOG_SCHEDULE);
                    self.resources.schedules.extend(found);
                }
                "ModelProvider" => {
                    let found = self.typed(raw, &schema::MODEL_PROVIDER);
                    self.resources.providers.extend(found);
                }
                _ => {
                    let meant = words::nearest(kind, &KINDS).map_or_else(
                        || format!("there are {}", words::list(&KINDS)),
                        |near| format!("did you mean {near}?"),
                    );
                    let message = format!("{ours} has no kind {}; {meant}", words::quote(kind));
                    self.wrong(&raw, field("kind"), Of::Value, message);
                }
            },
            // A slip, and not somebody else's kind of that name.
            _ if group == GROUP
                || KINDS.contains(&kind)
                    && (group.is_empty() || words::nearest(group, &[GROUP]).is_some()) =>
            {
                let message = format!("{} has no {kind}; write {ours}", words::quote(version));
                self.wrong(&raw, field("apiVersion"), Of::Value, message);
            }
            "Secret" if version == "v1" => self.secret(&raw),
            "ConfigMap" if version == "v1" => self.config_map(&raw),
            "Secret" | "ConfigMap" if group.is_empty() => {
                let message = format!("{} has no {kind}; write v1", words::quote(version));
                self.wrong(&raw, field("apiVersion"), Of::Value, message);
            }
            _ => {
                let name = name_of(&raw.value).unwrap_or_else(|| kind.to_owned());
                self.resources
                    .others
                    .push(raw.found(format!("{name} ({version})")));
            }
        }
    }

    fn typed<T: DeserializeOwned>(&mut self, mut raw: Raw, shape: &Shape) -> Option<Found<T>> {
        if let Some(fields) = raw.value.as_object_mut() {
            fields.remove("status");
        }
        let mut value = raw.value.clone();
        let mut findings = shape.check(&mut value);
        findings.extend(names::check(&value));
        if findings.is_empty() {
            match serde_json::from_value::<T>(value) {
                Ok(resource) => return Some(raw.found(resource)),
                // What the schema takes can be read, but for times in the metadata.
                Err(error) => findings.push(Finding {
                    path: FieldPath::root(),
                    of: Of::Value,
                    message: error.to_string(),
                }),
            }
        }
        self.report(&raw, findings);
        None
    }

    fn secret(&mut self, raw: &Raw) {
        let mut value = raw.value.clone();
        let mut findings = schema::SECRET.check(&mut value);
        findings.extend(names::check(&value));
        let secret = Secret::read(&value, &mut findings);
        if findings.is_empty() {
            self.resources.secrets.push(raw.found(secret));
        }
        self.report(raw, findings);
    }

    fn config_map(&mut self, raw: &Raw) {
        let mut value = raw.value.clone();
        let mut findings = schema::CONFIG_MAP.check(&mut value);
        findings.extend(names::check(&value));
        if findings.is_empty() {
            self.resources
                .config_maps
                .push(raw.found(ConfigMap::read(&value)));
        }
        self.report(raw, findings);
    }

    /// Two of one name: which is meant can't be known.
    fn doubles(&mut self) {
        let all = self.resources.all();
        for (at, one) in all.iter().enumerate() {
            let name = &one.resource;
            let Some(first) = all[..at].iter().find(|other| other.resource == *name) else {
                continue;
            };
            let path = one.path.key("metadata").key("name");
            self.faults.push(Fault {
                origin: self.origin.to_owned(),
                document: one.document,
                place: self.documents.locate(one.document - 1, &path, Of::Value),
                resource: Some(name.clone()),
                path,
                message: format!(
                    "document {} has one of that name already: remove one",
                    first.document
                ),
            });
        }
    }
}

impl Resources {
    /// All that can be of use, by kind and full name, in the order of the text.
    fn all(&self) -> Vec<Found<String>> {
        fn named<T>(kind: &str, found: &Found<T>, name: impl Fn(&T) -> String) -> Found<String> {
            Found {
                document: found.document,
                path: found.path.clone(),
                resource: format!("{kind} {}", name(&found.resource)),
            }
        }
        let catalogs = self.catalogs.iter().map(|it| named("Catalog", it, full_name));
        let schedules = self
            .schedules
            .iter()
            .map(|it| named("CatalogSchedule", it, full_name));
        let providers = self
            .providers
            .iter()
            .map(|it| named("ModelProvider", it, full_name));
        let secrets = self
            .secrets
            .iter()
            .map(|it| named("Secret", it, Secret::full_name));
        let config_maps = self
            .config_maps
            .iter()
            .map(|it| named("ConfigMap", it, ConfigMap::full_name));
        let mut all: Vec<Found<String>> = catalogs
            .chain(schedules)
            .chain(providers)
            .chain(secrets)
            .chain(config_maps)
            .collect();
        all.sort_by_key(|it| it.document);
        all
    }
}

fn pointer(path: &FieldPath) -> String {
    path.steps()
        .iter()
        .map(|step| match step {
            Step::Key(key) => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => format!("/{index}"),
        })
        .collect()
}

//! Which providers there are: a watch of each namespace that is served, or of all.

use std::collections::BTreeSet;

use futures::stream::{StreamExt as _, select_all};
use kube::api::DynamicObject;
use kube::{Api, Client};
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher::{self, Event, watcher};
use tracing::warn;

use crate::controllers::place::is_refused;

use super::ProviderKey;
use super::object::{self, Object};

/// What happens to providers.
pub(super) enum News {
    /// It is there, or has changed.
    There(Box<Object>),
    /// It is not there any more.
    Gone(ProviderKey),
    /// Those of a namespace may not be seen.
    Refused(String),
    /// Those of a namespace have been told.
    Told(String),
    /// All have been told that may be seen.
    Complete,
}

/// Watches for ever. Of namespaces, none means all.
pub(super) async fn watch(client: &Client, namespaces: &BTreeSet<String>, mut tell: impl FnMut(News)) {
    let kind = object::resource();
    let apis: Vec<Api<DynamicObject>> = if namespaces.is_empty() {
        vec![Api::all_with(client.clone(), &kind)]
    } else {
        let one = |namespace: &String| Api::namespaced_with(client.clone(), namespace, &kind);
        namespaces.iter().map(one).collect()
    };
    let mut scopes: Vec<Scope> = apis.iter().map(|_| Scope::default()).collect();
    let streams = apis.into_iter().enumerate().map(|(at, api)| {
        watcher(api, watcher::Config::default())
            .default_backoff()
            .map(move |event| (at, event))
            .boxed()
    });
    let mut events = select_all(streams);
    while let Some((at, event)) = events.next().await {
        let Some(scope) = scopes.get_mut(at) else {
            continue;
        };
        // Of one namespace among several: the others need not wait for it.
        let namespace = namespaces.iter().nth(at).cloned();
        match event {
            Ok(event) => {
                let told = matches!(event, Event::InitDone);
                scope.hear(event, &mut tell);
                if let Some(namespace) = namespace.filter(|_| told) {
                    tell(News::Told(namespace));
                }
            }
            Err(error) => {
                warn!(namespace, %error, "ModelProviders can't be watched; it is tried again");
                if let Some(namespace) = namespace.filter(|_| is_refused(&error)) {
                    scope.complete = true;
                    tell(News::Refused(namespace));
                }
            }
        }
        if scopes.iter().all(|scope| scope.complete) {
            tell(News::Complete);
        }
    }
}

/// What is known of one watch.
#[derive(Default)]
struct Scope {
    there: BTreeSet<ProviderKey>,
    /// Those of a list that is not complete yet.
    listed: BTreeSet<ProviderKey>,
    complete: bool,
}

impl Scope {
    fn hear(&mut self, event: Event<DynamicObject>, tell: &mut impl FnMut(News)) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                let object = Object::read(object);
                self.listed
                    .insert(ProviderKey::named(&object.namespace, &object.name));
                tell(News::There(Box::new(object)));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                for key in self.there.difference(&listed) {
                    tell(News::Gone(key.clone()));
                }
                self.there = listed;
                self.complete = true;
            }
            Event::Apply(object) => {
                let object = Object::read(object);
                self.there
                    .insert(ProviderKey::named(&object.namespace, &object.name));
                tell(News::There(Box::new(object)));
            }
            Event::Delete(object) => {
                let object = Object::read(object);
                let key = ProviderKey::named(&object.namespace, &object.name);
                self.there.remove(&key);
                tell(News::Gone(key));
            }
        }
    }
}

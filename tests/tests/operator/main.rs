//! The operator as users have it: a Pod in a real cluster, installed from the manifests, with a real S3 server and real
//! databases. What it does follows from what is applied, and is read from the status and the bucket.
//!
//! For the tests' own cluster: elsewhere there are neither those servers nor a log of who asked for what.

mod allowed;
mod away;
mod changes;
mod compare;
mod examples;
mod flux;
mod gitops;
mod kept;
mod leaders;
mod lease;
mod lives;
mod models;
mod orphans;
mod outside;
mod ownership;
mod prompts;
mod providers;
mod queue;
mod refused;
mod replicas;
mod reruns;
mod runs;
mod schedules;
mod tenants;
mod tries;
mod trouble;
mod versions;
mod z_rights;

use std::time::Duration;

use cataloger_tests::author::{Author, Move, page};
use cataloger_tests::model_server::{KEY, ModelServer};
use cataloger_tests::operator::{NODE, Tenant};
use serde_json::{Value, json};

/// What a run that came to its end has in its folder.
const WHOLE: [&str; 5] = [
    "catalog.html",
    "catalog_script.py",
    "recent_summary.html",
    "run.json",
    "summary_script.py",
];

/// A model that Pods reach, and plays an author.
async fn model(author: Author) -> ModelServer {
    let server = ModelServer::start_at(NODE).await;
    server.think(author.brain());
    server
}

/// An author who is not done before somebody says so: each answer takes so long.
fn slow(seconds: u64) -> Author {
    Author {
        latency: Duration::from_secs(seconds),
        ..Author::default()
    }
}

/// An author whose code takes so long.
fn busy(seconds: u64) -> Author {
    let mut author = Author::default();
    let wait = format!("import time\ntime.sleep({seconds})");
    author.catalog.insert(1, Move::Execute(wait));
    author
}

/// An author whose page says something.
fn saying(text: &str) -> Author {
    let mut author = Author::default();
    author.catalog = vec![author.catalog.swap_remove(0), Move::Submit(page(text))];
    author
}

/// A provider with a model server of this machine, and a Catalog's choice of it.
async fn anthropic(tenant: &Tenant<'_>, server: &ModelServer) -> Value {
    let name = tenant.unique("anthropic");
    tenant.secret(&name, &[("key", KEY)]).await;
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": name, "key": "key"}, "baseURL": server.url()},
        "defaultModel": "claude-sonnet-5-5",
    });
    tenant.provider(&name, spec).await;
    json!({"model": {"providerRef": {"name": name}}})
}

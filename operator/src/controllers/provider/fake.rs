//! For tests: an API server that has one `ModelProvider` and some Secrets, and heeds versions as the real one does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::http::{Method, Request, Response};
use base64::Engine as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is done, but the answer says that it is not.
    Unanswered,
    /// It is not done.
    Lost,
}

#[derive(Default)]
struct State {
    object: Value,
    version: u64,
    secrets: BTreeMap<String, Value>,
    fates: Vec<Fate>,
    /// What was asked, as `VERB kind`.
    asked: Vec<String>,
}

/// The server.
#[derive(Clone, Default)]
pub(super) struct Server(Arc<Mutex<State>>);

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let message = format!("scripted: {reason}");
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
        "reason": reason, "code": code});
    (code, status)
}

impl Server {
    /// With a provider of this spec and status.
    pub(super) fn new(spec: &Value, status: &Value) -> Self {
        let server = Self::default();
        let object = json!({
            "apiVersion": "cataloger.dev/v1alpha1", "kind": "ModelProvider",
            "metadata": {"name": "claude", "namespace": "team", "uid": "u1", "generation": 1},
            "spec": spec, "status": status,
        });
        server.change(|old| *old = object);
        server
    }

    /// Somebody changes the object.
    pub(super) fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.0.lock().unwrap();
        change(&mut state.object);
        state.version += 1;
        state.object["metadata"]["resourceVersion"] = json!(state.version.to_string());
    }

    /// Somebody makes a Secret.
    pub(super) fn secret(&self, name: &str, key: &str, value: &str) {
        let value = base64::engine::general_purpose::STANDARD.encode(value);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "data": {key: value}});
        self.0.lock().unwrap().secrets.insert(name.to_owned(), secret);
    }

    /// What becomes of the next writes.
    pub(super) fn fate(&self, fate: Fate) {
        self.0.lock().unwrap().fates.insert(0, fate);
    }

    /// The object as it is.
    pub(super) fn object(&self) -> super::Object {
        let object = self.0.lock().unwrap().object.clone();
        super::Object::read(serde_json::from_value(object).unwrap())
    }

    /// A part of the status.
    pub(super) fn status(&self, pointer: &str) -> Value {
        let state = self.0.lock().unwrap();
        state.object["status"]
            .pointer(pointer)
            .cloned()
            .unwrap_or_default()
    }

    /// How often this was asked for.
    pub(super) fn asked(&self, what: &str) -> usize {
        let state = self.0.lock().unwrap();
        state.asked.iter().filter(|asked| *asked == what).count()
    }

    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        let (kind, name) = path.rsplit_once('/').unwrap_or_default();
        let is_status = name == "status";
        let what = if is_status {
            "status"
        } else {
            kind.rsplit('/').next().unwrap_or_default()
        };
        state.asked.push(format!("{method} {what}"));
        if what == "secrets" {
            let found = state.secrets.get(name).cloned();
            return found.map_or_else(|| failure(404, "NotFound"), |secret| (200, secret));
        }
        if *method == Method::GET {
            return (200, state.object.clone());
        }
        assert!(is_status, "{method} {path}");
        let fate = state.fates.pop();
        if fate == Some(Fate::Lost) {
            return failure(500, "InternalError");
        }
        let body: Value = serde_json::from_slice(body).unwrap();
        let version = &body["metadata"]["resourceVersion"];
        if *version != state.object["metadata"]["resourceVersion"] {
            return failure(409, "Conflict");
        }
        // What an apply leaves out is deleted.
        state.object["status"] = body["status"].clone();
        state.version += 1;
        state.object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        match fate {
            Some(_) => failure(500, "InternalError"),
            None => (200, state.object.clone()),
        }
    }

    /// Somebody who asks it.
    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let (code, value) = server.answer(&parts.method, parts.uri.path(), &body);
                let answer = Response::builder()
                    .status(code)
                    .body(Body::from(value.to_string().into_bytes()));
                Ok::<_, Infallible>(answer.unwrap())
            }
        });
        Client::new(service, "team")
    }
}

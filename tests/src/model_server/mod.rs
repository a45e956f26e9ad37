//! A server of models for tests: it speaks the wire formats of Anthropic and OpenAI on loopback, says what a test
//! has scripted, and remembers what it was asked.
//!
//! ```no_run
//! # async fn example() {
//! use cataloger_tests::model_server::{ModelServer, Say};
//! let server = ModelServer::start().await;
//! server.say(Say::text("hello"));
//! server.say(Say::text("hm").calls("call_1", "execute_python", r#"{"code":"1"}"#).cut_after(3));
//! // … ask, then:
//! assert_eq!(server.requests().len(), 2);
//! # }
//! ```

mod say;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cataloger::llm::{Anthropic, OpenAi, Providers, Timeouts};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

pub use say::{Call, Say};

/// How many bytes drip at once.
const DRIP: usize = 8;

/// The key that the server wants, if a test says nothing else.
pub const KEY: &str = "sk-test-0123456789abcdef";

/// A request that came.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// When.
    pub at: Instant,
    /// For what.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub body: String,
}

impl Recorded {
    /// Its JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// What it speaks.
    pub fn wire(&self) -> Option<Wire> {
        let stream = self.json()["stream"] == json!(true);
        match self.path.rsplit('/').next()? {
            "messages" => Some(Wire::Messages { stream }),
            "completions" => Some(Wire::Chat { stream }),
            "responses" => Some(Wire::Responses { stream }),
            _ => None,
        }
    }
}

/// The wire formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Anthropic's Messages.
    Messages {
        /// Whether as a stream.
        stream: bool,
    },
    /// OpenAI's Chat Completions.
    Chat {
        /// Whether as a stream.
        stream: bool,
    },
    /// OpenAI's Responses.
    Responses {
        /// Whether as a stream.
        stream: bool,
    },
}

/// A step of an answer.
#[derive(Debug, Clone)]
pub enum Step {
    /// Bytes, in one piece.
    Send(Bytes),
    /// Bytes, a few at a time, with a pause after them.
    Drip(Bytes, Duration),
    /// A pause.
    Wait(Duration),
    /// Nothing more, but the connection stays.
    Silence,
    /// The connection breaks.
    Cut,
}

/// An answer as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// What comes before the status: only waiting, silence and cuts.
    pub before: Vec<Step>,
    /// The body.
    pub steps: Vec<Step>,
}

impl Reply {
    /// This body, of this type.
    pub fn new(status: u16, kind: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), kind.into())],
            before: Vec::new(),
            steps: vec![Step::Send(body.into())],
        }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// A connection that breaks before anything is said.
    pub fn hang_up() -> Self {
        Self {
            before: vec![Step::Cut],
            ..Self::new(200, "text/plain", "")
        }
    }

    /// A connection on which nothing is said.
    pub fn silent() -> Self {
        Self {
            before: vec![Step::Silence],
            ..Self::new(200, "text/plain", "")
        }
    }
}

/// An error, in the form of whoever is asked.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The status.
    pub status: u16,
    /// Its type (with Anthropic) or code (with OpenAI).
    pub kind: String,
    /// What it says.
    pub message: String,
    /// More headers.
    pub headers: Vec<(String, String)>,
}

impl Failure {
    /// With the type that Anthropic gives to the status.
    pub fn new(status: u16) -> Self {
        let kind = match status {
            400 => "invalid_request_error",
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            _ => "api_error",
        };
        Self {
            status,
            kind: kind.into(),
            message: format!("scripted error {status}"),
            headers: Vec::new(),
        }
    }

    /// Asking to wait.
    #[must_use]
    pub fn retry_after(mut self, value: &str) -> Self {
        self.headers.push(("retry-after".into(), value.into()));
        self
    }

    /// Saying this.
    #[must_use]
    pub fn saying(mut self, kind: &str, message: &str) -> Self {
        self.kind = kind.into();
        self.message = message.into();
        self
    }

    fn reply(&self, wire: Wire) -> Reply {
        let body = match wire {
            Wire::Messages { .. } => json!({
                "type": "error", "error": {"type": self.kind, "message": self.message}, "request_id": "req_err"
            }),
            Wire::Chat { .. } | Wire::Responses { .. } => json!({
                "error": {"message": self.message, "type": self.kind, "param": null, "code": self.kind}
            }),
        };
        let mut reply = Reply::new(self.status, "application/json", body.to_string());
        reply.headers.extend(self.headers.iter().cloned());
        reply
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Script {
    /// This, in the wire format of the request.
    Say(Box<Say>),
    /// An error.
    Fail(Failure),
    /// Exactly this.
    Reply(Reply),
}

type Brain = Box<dyn FnMut(&Recorded) -> Script + Send>;

struct State {
    /// The key that is wanted.
    key: String,
    /// What is answered to who asks for the list of models, if it is not the list.
    list: Option<Reply>,
    listed: usize,
    scripts: VecDeque<Script>,
    brain: Option<Brain>,
    requests: Vec<Recorded>,
    problems: Vec<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            key: KEY.to_owned(),
            list: None,
            listed: 0,
            scripts: VecDeque::new(),
            brain: None,
            requests: Vec::new(),
            problems: Vec::new(),
        }
    }
}

struct Shared {
    state: Mutex<State>,
    count: watch::Sender<usize>,
    /// Whether answers are held back.
    held: watch::Sender<bool>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server. It ends when it is dropped.
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ModelServer {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1").await
    }

    /// Starts one on a free port of an address of this machine: Pods don't reach its loopback.
    pub async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0))
            .await
            .expect("a port of an own address");
        let address = listener.local_addr().expect("the address of a listener");
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            count: watch::channel(0).0,
            held: watch::channel(false).0,
        });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                tokio::spawn(async move {
                    // A connection that ends badly is what some tests are about.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })
        .abort_handle();
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// Where it is: what `ANTHROPIC_BASE_URL` should be. `OPENAI_BASE_URL` has `/v1` after it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How to reach it, with little patience.
    pub fn providers(&self) -> Providers {
        Providers {
            anthropic: Anthropic {
                api_key: Some(KEY.into()),
                base_url: Some(self.url()),
            },
            openai: OpenAi {
                api_key: Some(KEY.into()),
                base_url: Some(format!("{}/v1", self.url())),
                ..OpenAi::default()
            },
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                first: Duration::from_secs(20),
                silence: Duration::from_secs(20),
                answer: Duration::from_mins(1),
            },
        }
    }

    /// Answers the next request that has no answer yet with this.
    pub fn script(&self, script: Script) {
        self.shared.state().scripts.push_back(script);
    }

    /// Says this.
    pub fn say(&self, say: Say) {
        self.script(Script::Say(Box::new(say)));
    }

    /// Fails so.
    pub fn fail(&self, failure: Failure) {
        self.script(Script::Fail(failure));
    }

    /// Replies exactly so.
    pub fn reply(&self, reply: Reply) {
        self.script(Script::Reply(reply));
    }

    /// Answers what no script is left for.
    pub fn think(&self, brain: impl FnMut(&Recorded) -> Script + Send + 'static) {
        self.shared.state().brain = Some(Box::new(brain));
    }

    /// Holds back all answers from now on: whoever asks waits.
    pub fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Answers whoever waits, and whoever asks from now on.
    pub fn let_go(&self) {
        self.shared.held.send_replace(false);
    }

    /// Takes no other key than this one from now on.
    pub fn want(&self, key: &str) {
        key.clone_into(&mut self.shared.state().key);
    }

    /// Answers so who asks for the list of models, or gives the list again.
    pub fn list(&self, reply: Option<Reply>) {
        self.shared.state().list = reply;
    }

    /// How often the list of models was asked for. That is no request of a model.
    pub fn listed(&self) -> usize {
        self.shared.state().listed
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.state().requests.clone()
    }

    /// Waits until there were so many requests.
    pub async fn asked(&self, times: usize) {
        let mut count = self.shared.count.subscribe();
        // The sender lives as long as `self`.
        let _ = count.wait_for(|count| *count >= times).await;
    }

    /// How many scripts were not used.
    pub fn unused(&self) -> usize {
        self.shared.state().scripts.len()
    }

    /// What was wrong with requests: what the real servers would refuse.
    pub fn problems(&self) -> Vec<String> {
        self.shared.state().problems.clone()
    }
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, io::Error>;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    let (parts, body) = request.into_parts();
    let asks_for_list = parts.method == Method::GET && parts.uri.path().ends_with("/models");
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let recorded = Recorded {
        at: Instant::now(),
        path: parts.uri.path().to_owned(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let reply = if asks_for_list {
        list(&shared, &recorded)
    } else {
        let reply = choose(&shared, &recorded);
        // The sender lives as long as `shared`.
        let _ = shared.held.subscribe().wait_for(|held| !held).await;
        reply
    };
    for step in reply.before {
        match step {
            Step::Wait(time) => sleep(time).await,
            Step::Silence => std::future::pending::<()>().await,
            _ => return Err(io::Error::other("scripted")),
        }
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = if reply.steps.is_empty() {
        Empty::new()
            .map_err(|never: Infallible| match never {})
            .boxed_unsync()
    } else {
        let (sender, body) = Channel::new(1);
        tokio::spawn(play(sender, reply.steps));
        body.boxed_unsync()
    };
    response.body(body).map_err(io::Error::other)
}

/// Whoever is gone before the end is gone.
async fn play(mut sender: Sender<Bytes, io::Error>, steps: Vec<Step>) {
    for step in steps {
        let sent = match step {
            Step::Send(bytes) => sender.send_data(bytes).await,
            Step::Drip(bytes, pause) => {
                let mut sent = Ok(());
                for at in (0..bytes.len()).step_by(DRIP) {
                    let end = bytes.len().min(at + DRIP);
                    sent = sender.send_data(bytes.slice(at..end)).await;
                    if sent.is_err() {
                        break;
                    }
                    sleep(pause).await;
                }
                sent
            }
            Step::Wait(time) => {
                sleep(time).await;
                Ok(())
            }
            Step::Silence => std::future::pending().await,
            Step::Cut => {
                // What was sent before must be on the wire: hyper forgets what it has not written yet.
                sleep(Duration::from_millis(5)).await;
                return sender.abort(io::Error::other("scripted"));
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The list of models, in the form of whoever is asked.
fn list(shared: &Shared, recorded: &Recorded) -> Reply {
    let mut state = shared.state();
    state.listed += 1;
    if let Some(reply) = &state.list {
        return reply.clone();
    }
    let anthropic = recorded.header("anthropic-version").is_some();
    let given = if anthropic {
        recorded.header("x-api-key")
    } else {
        recorded
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
    };
    if given != Some(state.key.as_str()) {
        let wire = if anthropic {
            Wire::Messages { stream: false }
        } else {
            Wire::Chat { stream: false }
        };
        let failure = Failure::new(401).saying("authentication_error", "invalid x-api-key");
        return failure.reply(wire);
    }
    let models = json!({"object": "list", "data": [{"id": "scripted", "type": "model"}], "has_more": false});
    Reply::new(200, "application/json", models.to_string())
}

fn choose(shared: &Shared, recorded: &Recorded) -> Reply {
    let mut state = shared.state();
    let wire = recorded.wire();
    let wrong = say::wrong(recorded, wire, &state.key);
    state.requests.push(recorded.clone());
    let count = state.requests.len();
    shared.count.send_replace(count);
    let script = match state.scripts.pop_front() {
        Some(script) => Some(script),
        None => state.brain.as_mut().map(|brain| brain(recorded)),
    };
    let problem = match (&wrong, &script) {
        (Some(wrong), _) => Some(format!("request {count}: {wrong}")),
        (None, None) => Some(format!("request {count}: nothing is scripted for it")),
        _ => None,
    };
    if let Some(problem) = problem {
        state.problems.push(problem.clone());
        let failure = Failure::new(if problem.contains("key") { 401 } else { 400 });
        return failure
            .saying("invalid_request_error", &problem)
            .reply(wire.unwrap_or(Wire::Chat { stream: false }));
    }
    match (script, wire) {
        (Some(Script::Say(say)), Some(wire)) => say.reply(wire, recorded),
        (Some(Script::Fail(failure)), Some(wire)) => failure.reply(wire),
        (Some(Script::Reply(reply)), _) => reply,
        (None, _) | (_, None) => Reply::new(404, "text/plain", "there is nothing here"),
    }
}

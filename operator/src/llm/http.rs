//! What all providers over HTTP share: timeouts, the bodies of errors, and events of a stream.

use std::collections::VecDeque;
use std::error::Error;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::sse::{Event, Parser};
use super::{Http, ModelError, ModelSpec, Timeouts, Usage, cut};

/// The most bytes of an answer. One of 128K tokens is well below it, its events included.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
/// How much of an error is read, and how much of its text is shown.
const ERROR_LIMIT: usize = 64 * 1024;
const ERROR_SHOWN: usize = 500;
/// How long the body of an error may take.
const ERROR_TIMEOUT: Duration = Duration::from_secs(10);

/// Where one model is.
#[derive(Debug)]
pub(super) struct Endpoint {
    http: Http,
    pub(super) spec: ModelSpec,
    pub(super) url: Url,
    key: Option<SecretString>,
    pub(super) timeouts: Timeouts,
    headers: HeaderMap,
}

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    endpoint: &'a Endpoint,
    response: Response,
    pub(super) request_id: Option<String>,
    clock: Clock,
    received: usize,
}

/// When to stop waiting.
#[derive(Debug, Clone, Copy)]
struct Clock {
    began: Instant,
    answer: Duration,
    deadline: Option<Instant>,
}

impl Clock {
    /// Waits until `patience` after `since`, or until nothing is of use any more.
    async fn within<T>(
        &self,
        spec: &ModelSpec,
        since: Instant,
        patience: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, ModelError> {
        let silence = since + patience;
        let whole = self.began + self.answer;
        let end = self
            .deadline
            .map_or(whole, |deadline| deadline.min(whole))
            .min(silence);
        timeout_at(end, future).await.map_err(|_| {
            let (model, spent) = (spec.clone(), Usage::default());
            if self.deadline.is_some_and(|deadline| deadline <= end) {
                ModelError::Deadline { model, spent }
            } else if whole <= end {
                ModelError::TooSlow {
                    model,
                    after: self.answer,
                    spent,
                }
            } else {
                ModelError::Silent {
                    model,
                    after: patience,
                    spent,
                }
            }
        })
    }
}

impl Endpoint {
    pub(super) fn new(
        http: &Http,
        spec: &ModelSpec,
        url: Url,
        key: Option<SecretString>,
        timeouts: Timeouts,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self {
            http: http.clone(),
            spec: spec.clone(),
            url,
            key,
            timeouts,
            headers,
        }
    }

    /// Sends a header with each request.
    pub(super) fn header(&mut self, name: &'static str, value: &'static str) {
        self.headers.insert(name, HeaderValue::from_static(value));
    }

    /// Sends the key with each request, if there is one.
    pub(super) fn key_header(&mut self, name: &'static str, prefix: &str) -> Result<(), ModelError> {
        if let Some(key) = &self.key {
            let mut value =
                HeaderValue::try_from(format!("{prefix}{}", key.expose_secret())).map_err(|_| {
                    ModelError::setup(format!(
                        "the API key of {} has characters that no key has: check for line breaks in it",
                        self.spec
                    ))
                })?;
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        Ok(())
    }

    /// What may be shown of a text from outside.
    pub(super) fn shown(&self, text: &str) -> String {
        let mut text = text.trim().to_owned();
        // A shorter one is no secret (people write `none` or `x` where a server wants no key).
        if let Some(key) = self
            .key
            .as_ref()
            .map(ExposeSecret::expose_secret)
            .filter(|key| key.len() >= 6)
        {
            text = text.replace(key, "[API key]");
        }
        let text: String = text
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        cut(&text, ERROR_SHOWN)
    }

    pub(super) fn not_understood(&self, message: impl AsRef<str>) -> ModelError {
        ModelError::NotUnderstood {
            model: self.spec.clone(),
            message: self.shown(message.as_ref()),
            spent: Usage::default(),
        }
    }

    pub(super) fn broken(&self, message: impl AsRef<str>) -> ModelError {
        ModelError::Broken {
            model: self.spec.clone(),
            message: self.shown(message.as_ref()),
            spent: Usage::default(),
        }
    }

    /// Sends a request, and waits for the begin of its answer.
    pub(super) async fn post(
        &self,
        body: Vec<u8>,
        patience: Duration,
        deadline: Option<Instant>,
    ) -> Result<Answer<'_>, ModelError> {
        let request = self.http.0.post(self.url.clone()).body(body);
        self.send(request, patience, deadline).await
    }

    /// Fetches something, and gives only the headers of the answer.
    pub(super) async fn get(&self, patience: Duration) -> Result<HeaderMap, ModelError> {
        let request = self.http.0.get(self.url.clone());
        let answer = self.send(request, patience, None).await?;
        Ok(answer.response.headers().clone())
    }

    async fn send(
        &self,
        request: RequestBuilder,
        patience: Duration,
        deadline: Option<Instant>,
    ) -> Result<Answer<'_>, ModelError> {
        let clock = Clock {
            began: Instant::now(),
            answer: self.timeouts.answer,
            deadline,
        };
        let request = request.headers(self.headers.clone()).send();
        let response = clock
            .within(&self.spec, clock.began, patience, request)
            .await?
            .map_err(|error| self.transport(error))?;
        let request_id = ["request-id", "x-request-id"]
            .iter()
            .find_map(|name| response.headers().get(*name))
            .and_then(|id| id.to_str().ok())
            .map(|id| cut(id, 100));
        let answer = Answer {
            endpoint: self,
            response,
            request_id,
            clock,
            received: 0,
        };
        if answer.response.status().is_success() {
            Ok(answer)
        } else {
            Err(answer.into_error().await)
        }
    }

    fn transport(&self, error: reqwest::Error) -> ModelError {
        let connect = error.is_connect();
        let message = reasons(&error.without_url());
        if connect {
            ModelError::Unreachable {
                model: self.spec.clone(),
                host: self.url.host_str().unwrap_or_default().to_owned(),
                message: self.shown(&message),
            }
        } else {
            self.broken(message)
        }
    }

    /// The error that a provider's error is.
    pub(super) fn error(
        &self,
        status: u16,
        problem: &Problem,
        retry_after: Option<Duration>,
        request_id: Option<&str>,
    ) -> ModelError {
        let model = self.spec.clone();
        let mut message = self.shown(&problem.message);
        if let Some(id) = request_id {
            message = format!("{message} (request {})", self.shown(id));
        }
        let says = problem.message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| says.contains(word));
        let kind = |kinds: &[&str]| problem.kinds.iter().any(|kind| kinds.contains(&kind.as_str()));
        if status == 402
            || kind(&["insufficient_quota", "billing_error", "billing_not_active"])
            || (status == 400 && says(&["credit balance is too low"]))
        {
            return ModelError::Quota { model, message };
        }
        let too_long = [
            "prompt is too long",
            "context length",
            "context window",
            "context limit",
            "context size",
            "maximum context",
        ];
        if status == 413
            || kind(&[
                "context_length_exceeded",
                "request_too_large",
                "exceed_context_size_error",
            ])
            || (matches!(status, 400 | 422) && says(&too_long))
        {
            return ModelError::TooLong { model, message };
        }
        ModelError::Status {
            model,
            status,
            message,
            retry_after,
            spent: Usage::default(),
        }
    }
}

/// What an error says, and why it says that.
pub(super) fn reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let reason = source.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        next = source.source();
    }
    text
}

/// What an error of a provider says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Problem {
    pub(super) message: String,
    /// Its type and code.
    pub(super) kinds: Vec<String>,
}

impl Problem {
    /// Out of the JSON of an error, in one of the forms that there are.
    pub(super) fn of(value: &Value) -> Self {
        let error = value
            .get("error")
            .filter(|error| !error.is_null())
            .unwrap_or(value);
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let message = error
            .as_str()
            .map(str::to_owned)
            .or_else(|| text(error, "message"))
            .or_else(|| text(value, "message"))
            .or_else(|| text(value, "detail"))
            .unwrap_or_else(|| error.to_string());
        Self {
            message,
            kinds: ["type", "code"]
                .iter()
                .filter_map(|name| text(error, name))
                .collect(),
        }
    }

    /// The HTTP status that an error within a stream stands for.
    pub(super) fn status(&self, value: &Value) -> u16 {
        let number = |value: &Value| {
            ["code", "status", "status_code"]
                .iter()
                .filter_map(|name| value.get(*name))
                .filter_map(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()))
                .find_map(|code| u16::try_from(code).ok().filter(|code| (400..600).contains(code)))
        };
        if let Some(code) = value.get("error").and_then(number).or_else(|| number(value)) {
            return code;
        }
        self.kinds
            .iter()
            .find_map(|kind| match kind.as_str() {
                "invalid_request_error" | "invalid_prompt" => Some(400),
                "authentication_error" | "invalid_api_key" => Some(401),
                "billing_error" => Some(402),
                "permission_error" => Some(403),
                "not_found_error" | "model_not_found" => Some(404),
                "request_too_large" => Some(413),
                "rate_limit_error" | "rate_limit_exceeded" => Some(429),
                "timeout_error" => Some(504),
                "overloaded_error" => Some(529),
                _ => None,
            })
            .unwrap_or(500)
    }
}

/// How long a provider asks to wait.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let seconds = |text: &str, scale: f64| {
        text.parse::<f64>()
            .ok()
            .and_then(|number| Duration::try_from_secs_f64(number * scale).ok())
    };
    if let Some(wait) = text("retry-after-ms").and_then(|text| seconds(text, 0.001)) {
        return Some(wait);
    }
    let text = text(RETRY_AFTER.as_str())?;
    seconds(text, 1.0).or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(now).unwrap_or(Duration::ZERO))
    })
}

impl<'a> Answer<'a> {
    async fn into_error(mut self) -> ModelError {
        let status = self.response.status().as_u16();
        let wait = retry_after(self.response.headers(), SystemTime::now());
        let began = Instant::now();
        let mut body = Vec::new();
        // What can't be read of an error does not matter.
        while body.len() < ERROR_LIMIT
            && let Ok(Ok(Some(part))) = self
                .clock
                .within(&self.endpoint.spec, began, ERROR_TIMEOUT, self.response.chunk())
                .await
        {
            body.extend_from_slice(&part);
        }
        body.truncate(ERROR_LIMIT);
        let text = String::from_utf8_lossy(&body);
        let problem = match serde_json::from_str::<Value>(&text) {
            Ok(value) => Problem::of(&value),
            Err(_) => Problem {
                message: if text.trim().is_empty() {
                    "it said nothing".to_owned()
                } else {
                    text.into_owned()
                },
                kinds: Vec::new(),
            },
        };
        self.endpoint
            .error(status, &problem, wait, self.request_id.as_deref())
    }

    async fn chunk(&mut self, since: Instant) -> Result<Option<Bytes>, ModelError> {
        let endpoint = self.endpoint;
        let chunk = self
            .clock
            .within(
                &endpoint.spec,
                since,
                endpoint.timeouts.silence,
                self.response.chunk(),
            )
            .await?
            .map_err(|error| endpoint.broken(reasons(&error.without_url())))?;
        self.received += chunk.as_ref().map_or(0, Bytes::len);
        if self.received > ANSWER_LIMIT {
            return Err(endpoint.not_understood("an answer of more than 64 MiB"));
        }
        Ok(chunk)
    }

    /// The whole body.
    pub(super) async fn all(&mut self) -> Result<String, ModelError> {
        let mut body = Vec::new();
        while let Some(part) = self.chunk(Instant::now()).await? {
            body.extend_from_slice(&part);
        }
        String::from_utf8(body).map_err(|_| self.endpoint.not_understood("an answer that is not UTF-8"))
    }

    /// Its events, if it is a stream.
    pub(super) async fn events(mut self) -> Result<Events<'a>, ModelError> {
        let kind = self
            .response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or("nothing said")
            .to_owned();
        if !kind.starts_with("text/event-stream") {
            let body = self.all().await.unwrap_or_default();
            // Some gateways answer with an error and 200.
            if let Ok(value) = serde_json::from_str::<Value>(&body)
                && value.get("error").is_some_and(|error| !error.is_null())
            {
                let problem = Problem::of(&value);
                return Err(self.endpoint.error(
                    problem.status(&value),
                    &problem,
                    None,
                    self.request_id.as_deref(),
                ));
            }
            let message = format!("no stream of events but {kind}: {body}");
            return Err(self.endpoint.not_understood(message));
        }
        Ok(Events {
            answer: self,
            parser: Parser::default(),
            ready: VecDeque::new(),
        })
    }
}

/// The events of a stream.
#[derive(Debug)]
pub(super) struct Events<'a> {
    answer: Answer<'a>,
    parser: Parser,
    ready: VecDeque<Event>,
}

impl Events<'_> {
    /// The data of the next event; nothing at the end. Bytes alone are no sign of life, only whole events are:
    /// a stream that drips for ever must end at some time.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ModelError> {
        let mut since = Instant::now();
        loop {
            match self.ready.pop_front() {
                Some(Event::Data(data)) => return Ok(Some(data)),
                Some(Event::Alive) => {
                    since = Instant::now();
                    continue;
                }
                None => {}
            }
            let Some(part) = self.answer.chunk(since).await? else {
                return Ok(None);
            };
            let mut events = Vec::new();
            self.parser.feed(&part, &mut events).map_err(|_| {
                self.answer
                    .endpoint
                    .not_understood("an event of more than 16 MiB")
            })?;
            self.ready.extend(events);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Class;
    use super::*;

    fn endpoint() -> Endpoint {
        let timeouts = Timeouts::default();
        Endpoint::new(
            &Http::new(&timeouts).unwrap(),
            &"openai/a".parse().unwrap(),
            Url::parse("http://localhost/v1/").unwrap(),
            Some("sk-secret-123".into()),
            timeouts,
        )
    }

    #[test]
    fn errors_come_in_many_forms() {
        for (value, message, status) in [
            (
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}),
                "m",
                529,
            ),
            (
                json!({"error": {"message": "m", "type": "x", "code": "rate_limit_exceeded"}}),
                "m",
                429,
            ),
            (json!({"error": {"message": "m", "code": 502}}), "m", 502),
            (json!({"error": {"message": "m", "code": "503"}}), "m", 503),
            (json!({"error": "m"}), "m", 500),
            (
                json!({"detail": "m", "error": null, "status_code": 404}),
                "m",
                404,
            ),
            (json!({"message": "m", "code": 7}), "m", 500),
            (json!({"error": {"odd": 1}}), "{\"odd\":1}", 500),
        ] {
            let problem = Problem::of(&value);
            assert_eq!(
                (problem.message.as_str(), problem.status(&value)),
                (message, status),
                "{value}"
            );
        }
    }

    #[test]
    fn some_errors_mean_something_else_than_their_status() {
        let class = |status, kind: &str, message: &str| {
            let problem = Problem {
                message: message.into(),
                kinds: vec![kind.into()],
            };
            endpoint().error(status, &problem, None, None).class()
        };
        assert_eq!(class(429, "insufficient_quota", "x"), Class::Elsewhere);
        assert_eq!(
            class(400, "invalid_request_error", "Your credit balance is too low"),
            Class::Elsewhere
        );
        assert_eq!(class(402, "", ""), Class::Elsewhere);
        assert_eq!(
            class(400, "invalid_request_error", "prompt is too long: 9 tokens > 8"),
            Class::Shorten
        );
        assert_eq!(class(400, "context_length_exceeded", ""), Class::Shorten);
        assert_eq!(class(413, "", ""), Class::Shorten);
        assert_eq!(class(400, "invalid_request_error", "temperature"), Class::Stop);
        assert_eq!(class(429, "rate_limit_error", "maximum context"), Class::Retry);
    }

    #[test]
    fn keys_and_control_characters_are_not_shown() {
        let endpoint = endpoint();
        assert_eq!(
            endpoint.shown("\u{1b}[1mno sk-secret-123,\nno"),
            " [1mno [API key], no"
        );
        assert_eq!(endpoint.shown(&"x".repeat(9999)).chars().count(), ERROR_SHOWN + 1);
        let mut endpoint = endpoint;
        endpoint.key_header("x-api-key", "").unwrap();
        assert!(!format!("{endpoint:?}").contains("secret-123"));
    }

    #[test]
    fn waits_are_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            retry_after(&headers, now)
        };
        assert_eq!(read("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(read("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(read("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(
            read("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            read("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT"),
            Some(Duration::ZERO)
        );
        for wrong in ["-1", "soon", "NaN", "1e400", ""] {
            assert_eq!(read("retry-after", wrong), None, "{wrong}");
        }
    }
}

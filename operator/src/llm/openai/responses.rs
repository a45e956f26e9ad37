//! Responses, without any state at the provider: all that it needs is sent each time, its thoughts encrypted.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::client::{Collect, Source, WireFormat};
use super::super::config::OpenAi;
use super::super::http::{Endpoint, Problem};
use super::super::raw::{Fields, Raw};
use super::super::usage::Reported;
use super::super::{
    Arguments, Message, ModelError, ModelSpec, Progress, Request, StopReason, ToolCall, Turn, Usage, Wire,
    call_id,
};
use super::{arguments_text, sent_arguments};

const WIRE: Wire = Wire::Responses;

/// Responses.
#[derive(Debug)]
pub(in super::super) struct Responses {
    stream: Option<bool>,
    thoughts: bool,
}

impl Responses {
    pub(in super::super) fn new(config: &OpenAi) -> Self {
        Self {
            stream: config.stream,
            thoughts: !config.omit_encrypted_reasoning,
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    instructions: &'a str,
    max_output_tokens: u32,
    store: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    input: Vec<Raw>,
}

impl WireFormat for Responses {
    const HEADERS: &'static [(&'static str, &'static str)] = &[];
    const KEY: (&'static str, &'static str) = ("authorization", "Bearer ");
    type Collected = Collected;

    fn streams(&self, request: &Request<'_>) -> bool {
        self.stream.unwrap_or(request.tools.is_empty())
    }

    fn body(
        &self,
        request: &Request<'_>,
        spec: &ModelSpec,
        stream: bool,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let mut input = Vec::new();
        for (at, message) in request.messages.iter().enumerate() {
            push(request, spec, at, message, &mut input)?;
        }
        serde_json::to_vec(&Body {
            model: &spec.name,
            instructions: request.system,
            max_output_tokens: request.max_output_tokens,
            store: false,
            include: self
                .thoughts
                .then_some("reasoning.encrypted_content")
                .into_iter()
                .collect(),
            stream,
            tools: request
                .tools
                .iter()
                .map(|tool| {
                    json!({"type": "function", "name": tool.name, "description": tool.description,
                        "parameters": tool.parameters, "strict": false})
                })
                .collect(),
            input,
        })
    }
}

fn push(
    request: &Request<'_>,
    spec: &ModelSpec,
    at: usize,
    message: &Message,
    input: &mut Vec<Raw>,
) -> Result<(), serde_json::Error> {
    match message {
        Message::User(text) => input.push(Raw::of(&json!({"role": "user", "content": text}))?),
        Message::ToolResults(results) => {
            for result in results {
                input.push(Raw::of(&json!({
                    "type": "function_call_output",
                    "call_id": request.result_id(at, result, spec, WIRE),
                    "output": result.content,
                }))?);
            }
        }
        Message::Assistant(turn) if turn.is_empty() => {}
        Message::Assistant(turn) => match turn.raw_for(spec, WIRE) {
            Some(raw) => input.extend(raw.read::<Vec<Raw>>()?),
            None => {
                if !turn.text.trim().is_empty() {
                    input.push(Raw::of(&json!({"role": "assistant", "content": turn.text}))?);
                }
                for (index, call) in turn.tool_calls.iter().enumerate() {
                    input.push(Raw::of(&json!({
                        "type": "function_call", "call_id": call_id(at, index), "name": call.name,
                        "arguments": sent_arguments(&call.arguments),
                    }))?);
                }
            }
        },
    }
    Ok(())
}

#[derive(Debug, Default, Deserialize)]
struct Response {
    id: Option<String>,
    model: Option<String>,
    status: Option<String>,
    #[serde(default)]
    output: Vec<Fields>,
    usage: Option<Value>,
    error: Option<Value>,
    incomplete_details: Option<Value>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    r#type: String,
    response: Option<Response>,
    item: Option<Fields>,
    delta: Option<Value>,
}

#[derive(Debug, Default)]
pub(in super::super) struct Collected {
    response: Response,
    /// Items that came by themselves: some servers leave them out of the end.
    items: Vec<Fields>,
    reported: Reported,
    received: usize,
}

impl Collected {
    /// Takes the last word.
    fn last(&mut self, endpoint: &Endpoint, mut response: Response) -> Result<(), ModelError> {
        if let Some(usage) = &response.usage {
            self.reported.merge(Reported::openai(usage));
        }
        let failed = matches!(response.status.as_deref(), Some("failed" | "cancelled"));
        let error = response.error.take().filter(|error| !error.is_null());
        if failed || error.is_some() {
            let value =
                json!({"error": error.unwrap_or_else(|| json!({"message": "it failed without a reason"}))});
            let problem = Problem::of(&value);
            return Err(endpoint.error(problem.status(&value), &problem, None, response.id.as_deref()));
        }
        if response.output.is_empty() {
            response.output = std::mem::take(&mut self.items);
        }
        self.received = self.received.max(bytes(&response.output));
        self.response = response;
        Ok(())
    }
}

impl Collect for Collected {
    fn event(
        &mut self,
        from: Source<'_>,
        data: &str,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<ControlFlow<()>, ModelError> {
        let endpoint = from.endpoint;
        if data.trim() == "[DONE]" {
            return self.end(from).map(ControlFlow::Break);
        }
        let event: Event = serde_json::from_str(data)
            .map_err(|error| endpoint.not_understood(format!("{error} in the event {data}")))?;
        let delta = event.delta.as_ref().and_then(Value::as_str).unwrap_or_default();
        self.received += delta.len();
        match event.r#type.as_str() {
            "response.completed" | "response.incomplete" | "response.failed" => {
                let response = event.response.unwrap_or_default();
                return self.last(endpoint, response).map(ControlFlow::Break);
            }
            "error" => {
                let value: Value = serde_json::from_str(data).unwrap_or_default();
                let mut problem = Problem::of(&value);
                // Its type is that of the event; only its code says what it is.
                problem.kinds.retain(|kind| kind != "error");
                return Err(endpoint.error(problem.status(&value), &problem, None, None));
            }
            "response.output_text.delta" => progress(Progress::Text(delta.to_owned())),
            "response.function_call_arguments.delta" => {
                progress(Progress::Arguments { bytes: delta.len() });
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                progress(Progress::Thinking { bytes: delta.len() });
            }
            "response.output_item.added" => {
                let item = event.item.unwrap_or_default();
                if item.read::<String>("type").as_deref() == Some("function_call") {
                    progress(Progress::Call {
                        name: item.read("name").unwrap_or_default(),
                    });
                }
            }
            "response.output_item.done" => self.items.extend(event.item),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, from: Source<'_>) -> Result<(), ModelError> {
        Err(from.endpoint.broken("the stream ended before the response did"))
    }

    fn whole(&mut self, from: Source<'_>, body: &str) -> Result<(), ModelError> {
        let response: Response = serde_json::from_str(body)
            .map_err(|error| from.endpoint.not_understood(format!("{error} in {body}")))?;
        if response.status.is_none() && response.error.is_none() && response.output.is_empty() {
            return Err(from.endpoint.not_understood(format!("no response in {body}")));
        }
        self.last(from.endpoint, response)
    }

    fn reported(&self) -> Reported {
        self.reported
    }

    fn received(&self) -> usize {
        self.received
    }

    fn turn(self, at: usize, spec: &ModelSpec) -> Result<Turn, ModelError> {
        let response = self.response;
        let reason = response
            .incomplete_details
            .as_ref()
            .and_then(|details| details.get("reason")?.as_str());
        let cut_off = reason == Some("max_output_tokens");
        let (mut text, mut refusal) = (String::new(), String::new());
        let mut items = response.output;
        let last = items.len().saturating_sub(1);
        let mut calls = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let (said, refused) = texts(item);
            text.push_str(&said);
            refusal.push_str(&refused);
            if item.read::<String>("type").as_deref() == Some("function_call") {
                let ended = item.read::<String>("status").as_deref() != Some("incomplete");
                calls.push(ToolCall {
                    id: item.read("call_id").unwrap_or_default(),
                    name: item.read("name").unwrap_or_default(),
                    arguments: Arguments::parse(
                        &arguments_text(item.get("arguments")),
                        ended && !(cut_off && index == last),
                    ),
                });
            }
        }
        Turn::name_calls(&mut calls, at);
        let refused = !refusal.trim().is_empty();
        let stop = match reason {
            Some("max_output_tokens") => StopReason::MaxTokens,
            Some("content_filter") => StopReason::Refusal,
            Some(other) if calls.is_empty() => StopReason::Other(other.to_owned()),
            _ if !calls.is_empty() => StopReason::ToolUse,
            _ if refused => StopReason::Refusal,
            _ => StopReason::EndTurn,
        };
        patch(&mut items, &calls).map_err(ModelError::not_json)?;
        Ok(Turn {
            asked: spec.clone(),
            model: response.model.unwrap_or_else(|| spec.name.clone()),
            wire: WIRE,
            raw: Some(Raw::of(&items).map_err(ModelError::not_json)?),
            text,
            tool_calls: calls,
            stop,
            stop_detail: refused.then_some(refusal),
            usage: Usage::default(),
            estimated: false,
            sent_bytes: 0,
            request_id: response.id,
            attempts: Vec::new(),
        })
    }
}

/// The bytes of text and arguments.
fn bytes(items: &[Fields]) -> usize {
    items
        .iter()
        .map(|item| {
            let (text, refusal) = texts(item);
            text.len() + refusal.len() + arguments_text(item.get("arguments")).len()
        })
        .sum()
}

/// Changes what could not go back: thoughts that only the provider's own memory has, which we don't use, and
/// arguments that are no object.
fn patch(items: &mut Vec<Fields>, calls: &[ToolCall]) -> Result<(), serde_json::Error> {
    items.retain(|item| {
        item.read::<String>("type").as_deref() != Some("reasoning")
            || item
                .read::<String>("encrypted_content")
                .is_some_and(|content| !content.is_empty())
    });
    let mut calls = calls.iter();
    for item in items {
        if item.read::<String>("type").as_deref() != Some("function_call") {
            continue;
        }
        let Some(call) = calls.next() else { break };
        if item.read::<String>("call_id").as_ref() != Some(&call.id) {
            item.set("call_id", Raw::of(&call.id)?);
        }
        let malformed = matches!(call.arguments, Arguments::Malformed { .. });
        let text = item.read::<String>("arguments");
        if malformed || text.is_none_or(|text| text.trim().is_empty()) {
            item.set("arguments", Raw::of(&sent_arguments(&call.arguments))?);
        }
    }
    Ok(())
}

/// What a message says, and how it refuses.
fn texts(item: &Fields) -> (String, String) {
    #[derive(Deserialize)]
    struct Part {
        text: Option<String>,
        refusal: Option<String>,
    }
    let (mut text, mut refusal) = (String::new(), String::new());
    if item.read::<String>("type").as_deref() == Some("message") {
        for part in item.read::<Vec<Part>>("content").unwrap_or_default() {
            text.push_str(&part.text.unwrap_or_default());
            refusal.push_str(&part.refusal.unwrap_or_default());
        }
    }
    (text, refusal)
}

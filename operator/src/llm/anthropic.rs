//! Anthropic's Messages, always streamed.
//!
//! What the current models refuse is not sent: a forced tool, sampling parameters, a thinking budget, the begin
//! of an answer. One `cache_control` at the top moves the cache's end along by itself.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::client::{Collect, Source, WireFormat};
use super::http::Problem;
use super::raw::Fields;
use super::usage::Reported;
use super::{
    Arguments, Message, ModelError, ModelSpec, Progress, Raw, Request, StopReason, ToolCall, Turn, Usage,
    Wire, call_id,
};

const WIRE: Wire = Wire::Messages;

/// The Messages API.
#[derive(Debug)]
pub(super) struct Messages;

impl WireFormat for Messages {
    const HEADERS: &'static [(&'static str, &'static str)] = &[
        ("anthropic-version", "2023-06-01"),
        ("accept", "text/event-stream"),
    ];
    const KEY: (&'static str, &'static str) = ("x-api-key", "");
    type Collected = Collected;

    fn streams(&self, _request: &Request<'_>) -> bool {
        true
    }

    fn body(
        &self,
        request: &Request<'_>,
        spec: &ModelSpec,
        stream: bool,
    ) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&body(request, spec, stream))
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Typed>,
    #[serde(skip_serializing_if = "str::is_empty")]
    system: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    messages: Vec<Said<'a>>,
}

#[derive(Serialize)]
struct Typed {
    r#type: &'static str,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Raw(&'a Raw),
    Blocks(Vec<Block<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: &'a str,
    },
    ToolUse {
        id: String,
        name: &'a str,
        input: Map<String, Value>,
    },
    ToolResult {
        tool_use_id: String,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

fn body<'a>(request: &Request<'a>, spec: &'a ModelSpec, stream: bool) -> Body<'a> {
    Body {
        model: &spec.name,
        max_tokens: request.max_output_tokens,
        stream,
        cache_control: request.cache.then_some(Typed { r#type: "ephemeral" }),
        system: request.system,
        tools: request
            .tools
            .iter()
            .map(|tool| Tool {
                name: &tool.name,
                description: &tool.description,
                input_schema: &tool.parameters,
            })
            .collect(),
        messages: request
            .messages
            .iter()
            .enumerate()
            .filter_map(|(at, message)| said(request, at, message, spec))
            .collect(),
    }
}

fn said<'a>(request: &Request<'a>, at: usize, message: &'a Message, spec: &ModelSpec) -> Option<Said<'a>> {
    let user = |content| {
        Some(Said {
            role: "user",
            content,
        })
    };
    match message {
        Message::User(text) => user(Content::Text(text)),
        Message::ToolResults(results) => user(Content::Blocks(
            results
                .iter()
                .map(|result| Block::ToolResult {
                    tool_use_id: request.result_id(at, result, spec, WIRE),
                    content: &result.content,
                    is_error: result.is_error,
                })
                .collect(),
        )),
        // The API refuses a message with nothing in it, and an empty reply must not be sent back.
        Message::Assistant(turn) if turn.is_empty() => None,
        Message::Assistant(turn) => Some(Said {
            role: "assistant",
            content: turn
                .raw_for(spec, WIRE)
                .map_or_else(|| Content::Blocks(portable(turn, at)), Content::Raw),
        }),
    }
}

/// What another model gets of a turn.
fn portable(turn: &Turn, at: usize) -> Vec<Block<'_>> {
    let text = (!turn.text.trim().is_empty()).then_some(Block::Text { text: &turn.text });
    let calls = turn
        .tool_calls
        .iter()
        .enumerate()
        .map(|(index, call)| Block::ToolUse {
            id: call_id(at, index),
            name: &call.name,
            input: match &call.arguments {
                Arguments::Given(given) => given.clone(),
                Arguments::Malformed { .. } => Map::new(),
            },
        });
    text.into_iter().chain(calls).collect()
}

/// An event of the stream, of any type.
#[derive(Deserialize)]
struct Event {
    r#type: String,
    #[serde(default)]
    index: usize,
    message: Option<Started>,
    content_block: Option<Fields>,
    delta: Option<Delta>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Started {
    model: Option<String>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Delta {
    text: Option<String>,
    partial_json: Option<String>,
    thinking: Option<String>,
    signature: Option<String>,
    citation: Option<Raw>,
    stop_reason: Option<String>,
    stop_details: Option<Value>,
}

/// A content block as far as it has come.
#[derive(Debug, Default)]
struct Part {
    fields: Fields,
    kind: String,
    text: String,
    thinking: String,
    signature: String,
    json: String,
    citations: Vec<Raw>,
    ended: bool,
}

#[derive(Debug, Default)]
pub(super) struct Collected {
    model: Option<String>,
    parts: BTreeMap<usize, Part>,
    stop: Option<String>,
    stop_detail: Option<String>,
    reported: Reported,
    received: usize,
}

impl Collect for Collected {
    fn event(
        &mut self,
        from: Source<'_>,
        data: &str,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<ControlFlow<()>, ModelError> {
        let Source { endpoint, request_id } = from;
        let event: Event = serde_json::from_str(data)
            .map_err(|error| endpoint.not_understood(format!("{error} in the event {data}")))?;
        if let Some(usage) = &event.usage {
            self.reported.merge(Reported::anthropic(usage));
        }
        match event.r#type.as_str() {
            "message_start" => {
                if let Some(started) = event.message {
                    self.model = started.model;
                    if let Some(usage) = started.usage {
                        self.reported.merge(Reported::anthropic(&usage));
                    }
                }
            }
            "content_block_start" => {
                let fields = event.content_block.unwrap_or_default();
                let kind: String = fields.read("type").unwrap_or_default();
                if kind == "tool_use" {
                    let name = fields.read("name").unwrap_or_default();
                    progress(Progress::Call { name });
                }
                let text = |name| fields.read::<String>(name).unwrap_or_default();
                let part = Part {
                    text: text("text"),
                    thinking: text("thinking"),
                    signature: text("signature"),
                    kind,
                    ..Part::default()
                };
                self.received += part.text.len() + part.thinking.len();
                self.parts.insert(event.index, Part { fields, ..part });
            }
            "content_block_delta" => {
                let (Some(part), Some(delta)) = (self.parts.get_mut(&event.index), event.delta) else {
                    return Err(endpoint.not_understood("a part of a block that never began"));
                };
                self.received += part.grow(delta, progress);
            }
            "content_block_stop" => {
                if let Some(part) = self.parts.get_mut(&event.index) {
                    part.ended = true;
                }
            }
            "message_delta" => {
                if let Some(delta) = event.delta {
                    self.stop = delta.stop_reason.or(self.stop.take());
                    self.stop_detail = delta
                        .stop_details
                        .as_ref()
                        .and_then(detail)
                        .or(self.stop_detail.take());
                }
            }
            "message_stop" => return Ok(ControlFlow::Break(())),
            "error" => {
                let value: Value = serde_json::from_str(data).unwrap_or_default();
                let problem = Problem::of(&value);
                let status = problem.status(&value);
                return Err(endpoint.error(status, &problem, None, request_id));
            }
            // `ping`, and what is to come.
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, from: Source<'_>) -> Result<(), ModelError> {
        // Some proxies end with the stop reason.
        if self.stop.is_some() {
            Ok(())
        } else {
            Err(from.endpoint.broken("the stream ended before the message did"))
        }
    }

    fn reported(&self) -> Reported {
        self.reported
    }

    fn received(&self) -> usize {
        self.received
    }

    fn turn(self, at: usize, spec: &ModelSpec) -> Result<Turn, ModelError> {
        let cut_off = matches!(
            self.stop.as_deref(),
            Some("max_tokens" | "model_context_window_exceeded")
        );
        let last = self.parts.keys().next_back().copied();
        let (mut text, mut calls, mut blocks) = (String::new(), Vec::new(), Vec::new());
        let mut ids = Vec::new();
        for (index, mut part) in self.parts {
            let complete = part.ended && !(cut_off && Some(index) == last);
            text.push_str(&part.text);
            if part.kind == "tool_use" {
                ids.push(blocks.len());
                calls.push(part.call(complete));
            }
            if let Some(fields) = part.finish(complete).map_err(ModelError::not_json)? {
                blocks.push(fields);
            }
        }
        if Turn::name_calls(&mut calls, at) {
            for (block, call) in ids.iter().zip(&calls) {
                blocks[*block].set("id", Raw::of(&call.id).map_err(ModelError::not_json)?);
            }
        }
        let stop = match self.stop.as_deref() {
            Some("end_turn") => StopReason::EndTurn,
            Some("max_tokens") => StopReason::MaxTokens,
            Some("stop_sequence") => StopReason::StopSequence,
            Some("tool_use") => StopReason::ToolUse,
            Some("pause_turn") => StopReason::PauseTurn,
            Some("refusal") => StopReason::Refusal,
            Some("model_context_window_exceeded") => StopReason::ContextWindowExceeded,
            Some(other) => StopReason::Other(other.to_owned()),
            None if calls.is_empty() => StopReason::EndTurn,
            None => StopReason::ToolUse,
        };
        Ok(Turn {
            asked: spec.clone(),
            model: self.model.unwrap_or_else(|| spec.name.clone()),
            wire: WIRE,
            raw: Some(Raw::of(&blocks).map_err(ModelError::not_json)?),
            text,
            tool_calls: calls,
            stop,
            stop_detail: self.stop_detail,
            usage: Usage::default(),
            estimated: false,
            sent_bytes: 0,
            request_id: None,
            attempts: Vec::new(),
        })
    }
}

fn detail(details: &Value) -> Option<String> {
    ["explanation", "category"]
        .iter()
        .find_map(|name| details.get(*name)?.as_str())
        .map(str::to_owned)
}

impl Part {
    /// Takes a delta, and says how many bytes of the answer it had.
    fn grow(&mut self, delta: Delta, progress: &mut (dyn FnMut(Progress) + Send)) -> usize {
        let mut bytes = 0;
        if let Some(text) = delta.text {
            bytes += text.len();
            self.text.push_str(&text);
            progress(Progress::Text(text));
        }
        if let Some(json) = delta.partial_json {
            bytes += json.len();
            self.json.push_str(&json);
            progress(Progress::Arguments { bytes: json.len() });
        }
        if let Some(thinking) = delta.thinking {
            bytes += thinking.len();
            self.thinking.push_str(&thinking);
            progress(Progress::Thinking {
                bytes: thinking.len(),
            });
        }
        if let Some(signature) = delta.signature {
            self.signature.push_str(&signature);
        }
        self.citations.extend(delta.citation);
        bytes
    }

    fn call(&mut self, complete: bool) -> ToolCall {
        // Where nothing was streamed, the whole input may have come with the begin.
        if self.json.trim().is_empty()
            && let Some(input) = self.fields.get("input").filter(|input| input.as_str() != "{}")
        {
            input.as_str().clone_into(&mut self.json);
        }
        ToolCall {
            id: self.fields.read("id").unwrap_or_default(),
            name: self.fields.read("name").unwrap_or_default(),
            arguments: Arguments::parse(&self.json, complete),
        }
    }

    /// The block as it would have come in one piece; nothing of what the API would refuse to get back.
    fn finish(mut self, complete: bool) -> Result<Option<Fields>, serde_json::Error> {
        match self.kind.as_str() {
            "text" => {
                if self.text.trim().is_empty() {
                    return Ok(None);
                }
                self.fields.set("text", Raw::of(&self.text)?);
                if !self.citations.is_empty() {
                    self.fields.set("citations", Raw::of(&self.citations)?);
                }
            }
            "thinking" => {
                // Cut off before it was signed.
                if !complete && self.signature.is_empty() {
                    return Ok(None);
                }
                self.fields.set("thinking", Raw::of(&self.thinking)?);
                self.fields.set("signature", Raw::of(&self.signature)?);
            }
            "tool_use" => {
                // The input must be an object, and may be empty. The call's result says what was wrong with it.
                let given = serde_json::from_str::<Fields>(&self.json).is_ok();
                let input = if given { self.json } else { "{}".to_owned() };
                self.fields.set("input", Raw::parse(input)?);
            }
            _ => {}
        }
        Ok(Some(self.fields))
    }
}

//! Chat Completions: what is sent. What comes is in [`answer`].

mod answer;

use reqwest::Url;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::client::WireFormat;
use super::super::config::{MaxTokensField, OpenAi};
use super::super::raw::Raw;
use super::super::{Message, ModelSpec, Request, Turn, Wire, call_id};
use super::sent_arguments;
use answer::Collected;

const WIRE: Wire = Wire::Chat;

/// Chat Completions.
#[derive(Debug)]
pub(in super::super) struct Chat {
    stream: Option<bool>,
    new_name: bool,
}

impl Chat {
    pub(in super::super) fn new(config: &OpenAi, url: &Url) -> Self {
        let new_name = match config.max_tokens_field {
            MaxTokensField::Auto => url.host_str() == Some("api.openai.com"),
            MaxTokensField::MaxTokens => false,
            MaxTokensField::MaxCompletionTokens => true,
        };
        Self {
            stream: config.stream,
            new_name,
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    messages: Vec<Raw>,
}

impl WireFormat for Chat {
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
        let limit = Some(request.max_output_tokens);
        let mut messages = Vec::new();
        if !request.system.is_empty() {
            messages.push(Raw::of(&json!({"role": "system", "content": request.system}))?);
        }
        for (at, message) in request.messages.iter().enumerate() {
            push(request, spec, at, message, &mut messages)?;
        }
        serde_json::to_vec(&Body {
            model: &spec.name,
            max_tokens: limit.filter(|_| !self.new_name),
            max_completion_tokens: limit.filter(|_| self.new_name),
            stream,
            stream_options: stream.then(|| json!({"include_usage": true})),
            tools: request
                .tools
                .iter()
                .map(|tool| {
                    json!({"type": "function", "function": {
                        "name": tool.name, "description": tool.description, "parameters": tool.parameters
                    }})
                })
                .collect(),
            messages,
        })
    }
}

fn push(
    request: &Request<'_>,
    spec: &ModelSpec,
    at: usize,
    message: &Message,
    messages: &mut Vec<Raw>,
) -> Result<(), serde_json::Error> {
    match message {
        Message::User(text) => messages.push(Raw::of(&json!({"role": "user", "content": text}))?),
        Message::ToolResults(results) => {
            for result in results {
                messages.push(Raw::of(&json!({
                    "role": "tool",
                    "tool_call_id": request.result_id(at, result, spec, WIRE),
                    "content": result.content,
                }))?);
            }
        }
        Message::Assistant(turn) if turn.is_empty() => {}
        Message::Assistant(turn) => {
            messages.push(match turn.raw_for(spec, WIRE) {
                Some(raw) => raw.clone(),
                None => portable(turn, at)?,
            });
        }
    }
    Ok(())
}

/// What another model gets of a turn.
fn portable(turn: &Turn, at: usize) -> Result<Raw, serde_json::Error> {
    let text = (!turn.text.trim().is_empty()).then_some(&turn.text);
    let calls: Vec<Value> = turn
        .tool_calls
        .iter()
        .enumerate()
        .map(|(index, call)| {
            json!({"id": call_id(at, index), "type": "function", "function": {
                "name": call.name, "arguments": sent_arguments(&call.arguments)
            }})
        })
        .collect();
    if calls.is_empty() {
        Raw::of(&json!({"role": "assistant", "content": text}))
    } else {
        Raw::of(&json!({"role": "assistant", "content": text, "tool_calls": calls}))
    }
}

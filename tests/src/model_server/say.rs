//! What a model says, in each wire format; and what real servers would refuse to be asked.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Recorded, Reply, Step, Wire};

/// A call of a tool.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its id; none if empty.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Text that should be JSON.
    pub arguments: String,
}

/// What breaks a stream.
#[derive(Debug, Clone)]
enum Break {
    Cut,
    Silence,
    /// An error event of this type.
    Error(String),
}

/// What a model says.
#[derive(Debug, Clone)]
pub struct Say {
    thinking: Option<(String, String)>,
    text: String,
    calls: Vec<Call>,
    stop: Option<String>,
    model: Option<String>,
    usage: Option<Value>,
    broken: Option<(usize, Break)>,
    drip: Option<Duration>,
    latency: Option<Duration>,
    /// How many characters are in a delta.
    delta: usize,
}

impl Say {
    /// Some text.
    pub fn text(text: &str) -> Self {
        Self {
            thinking: None,
            text: text.into(),
            calls: Vec::new(),
            stop: None,
            model: None,
            usage: None,
            broken: None,
            drip: None,
            latency: None,
            delta: 12,
        }
    }

    /// A call.
    pub fn call(id: &str, name: &str, arguments: &Value) -> Self {
        Self::text("").calls(id, name, &arguments.to_string())
    }

    /// And a call, with arguments as they are.
    #[must_use]
    pub fn calls(mut self, id: &str, name: &str, arguments: &str) -> Self {
        self.calls.push(Call {
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
        });
        self
    }

    /// After a thought.
    #[must_use]
    pub fn thinking(mut self, thought: &str, signature: &str) -> Self {
        self.thinking = Some((thought.into(), signature.into()));
        self
    }

    /// With this reason to stop, in the words of the wire format that will be asked for.
    #[must_use]
    pub fn stop(mut self, reason: &str) -> Self {
        self.stop = Some(reason.into());
        self
    }

    /// As this model.
    #[must_use]
    pub fn model(mut self, model: &str) -> Self {
        self.model = Some(model.into());
        self
    }

    /// With exactly this `usage`; none at all if it is null.
    #[must_use]
    pub fn usage(mut self, usage: Value) -> Self {
        self.usage = Some(usage);
        self
    }

    /// The connection breaks after so many events (in a body that is no stream: after half of it).
    #[must_use]
    pub fn cut_after(mut self, events: usize) -> Self {
        self.broken = Some((events, Break::Cut));
        self
    }

    /// Nothing comes after so many events (in a body that is no stream: after half of it).
    #[must_use]
    pub fn silent_after(mut self, events: usize) -> Self {
        self.broken = Some((events, Break::Silence));
        self
    }

    /// An error of this type comes after so many events (in a body that is no stream: instead of it).
    #[must_use]
    pub fn error_after(mut self, events: usize, kind: &str) -> Self {
        self.broken = Some((events, Break::Error(kind.into())));
        self
    }

    /// A few bytes at a time, with a pause after them.
    #[must_use]
    pub fn drip(mut self, pause: Duration) -> Self {
        self.drip = Some(pause);
        self
    }

    /// After this time.
    #[must_use]
    pub fn latency(mut self, time: Duration) -> Self {
        self.latency = Some(time);
        self
    }

    /// In deltas of so many characters.
    #[must_use]
    pub fn delta(mut self, characters: usize) -> Self {
        self.delta = characters.max(1);
        self
    }

    pub(super) fn reply(&self, wire: Wire, request: &Recorded) -> Reply {
        let body = request.json();
        let model = self
            .model
            .clone()
            .or_else(|| body["model"].as_str().map(str::to_owned))
            .unwrap_or_default();
        let sent = request.body.len().div_ceil(4);
        let mut reply = match wire {
            Wire::Messages { stream: true } => self.stream(&self.messages(&model, sent), |kind| {
                Some(json!({"type": "error", "error": {"type": kind, "message": "scripted error"}}))
            }),
            Wire::Messages { stream: false } => Reply::new(400, "application/json", "{}"),
            Wire::Chat { stream: true } => self.stream(&self.chat_chunks(&model, sent), |kind| {
                Some(json!({"error": {"message": "scripted error", "type": kind, "code": kind}}))
            }),
            Wire::Chat { stream: false } => self.whole(&self.chat(&model, sent)),
            Wire::Responses { stream: true } => self.stream(&self.response_events(&model, sent), |kind| {
                Some(json!({"type": "error", "code": kind, "message": "scripted error", "param": null}))
            }),
            Wire::Responses { stream: false } => self.whole(&self.response(&model, sent)),
        };
        if let Some(time) = self.latency {
            reply.before.push(Step::Wait(time));
        }
        let id = match wire {
            Wire::Messages { .. } => "request-id",
            _ => "x-request-id",
        };
        reply.header(id, "req_scripted")
    }

    fn whole(&self, body: &Value) -> Reply {
        let text = body.to_string();
        let (half, rest) = text.split_at(text.floor_char_boundary(text.len() / 2));
        let mut reply = Reply::new(200, "application/json", Bytes::new());
        reply.steps = match &self.broken {
            Some((_, Break::Error(kind))) => {
                let error = json!({"error": {"message": "scripted error", "type": kind, "code": kind}});
                vec![self.send(error.to_string())]
            }
            Some((_, Break::Cut)) => vec![self.send(half.to_owned()), Step::Cut],
            Some((_, Break::Silence)) => vec![self.send(half.to_owned()), Step::Silence],
            None => vec![self.send(half.to_owned()), self.send(rest.to_owned())],
        };
        reply
    }

    /// Events: the data, under the name that their `type` is.
    fn stream(&self, events: &[Value], error: impl Fn(&str) -> Option<Value>) -> Reply {
        let event = |data: &Value| match data {
            Value::String(plain) => format!("data: {plain}\n\n"),
            data => match data["type"].as_str() {
                Some(kind) => format!("event: {kind}\ndata: {data}\n\n"),
                None => format!("data: {data}\n\n"),
            },
        };
        let (many, after) = match &self.broken {
            Some((many, how)) => (*many, Some(how)),
            None => (events.len(), None),
        };
        let mut steps: Vec<Step> = events
            .iter()
            .take(many)
            .map(|data| self.send(event(data)))
            .collect();
        match after {
            Some(Break::Cut) => steps.push(Step::Cut),
            Some(Break::Silence) => steps.push(Step::Silence),
            Some(Break::Error(kind)) => steps.extend(error(kind).map(|data| self.send(event(&data)))),
            None => {}
        }
        let mut reply = Reply::new(200, "text/event-stream; charset=utf-8", Bytes::new());
        reply.steps = steps;
        reply
    }

    fn send(&self, text: String) -> Step {
        match self.drip {
            Some(pause) => Step::Drip(text.into(), pause),
            None => Step::Send(text.into()),
        }
    }

    fn deltas<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut deltas = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest
                .char_indices()
                .nth(self.delta)
                .map_or(rest.len(), |(at, _)| at);
            let (delta, after) = rest.split_at(end);
            deltas.push(delta);
            rest = after;
        }
        deltas
    }

    fn output(&self) -> usize {
        let calls: usize = self.calls.iter().map(|call| call.arguments.len()).sum();
        let thinking = self.thinking.as_ref().map_or(0, |(thought, _)| thought.len());
        (self.text.len() + calls + thinking).div_ceil(4).max(1)
    }

    fn messages(&self, model: &str, sent: usize) -> Vec<Value> {
        let started = match &self.usage {
            Some(usage) => usage.clone(),
            None => {
                json!({"input_tokens": sent, "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0})
            }
        };
        let ended = match &self.usage {
            Some(usage) => usage.clone(),
            None => json!({"output_tokens": self.output()}),
        };
        let mut events = vec![
            json!({"type": "message_start", "message": {"id": "msg_scripted", "type": "message", "role": "assistant",
                "model": model, "content": [], "stop_reason": null, "stop_sequence": null, "usage": started}}),
            json!({"type": "ping"}),
        ];
        let mut index = 0;
        let mut block = |begin: Value, deltas: Vec<Value>| {
            events.push(json!({"type": "content_block_start", "index": index, "content_block": begin}));
            for delta in deltas {
                events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
            }
            events.push(json!({"type": "content_block_stop", "index": index}));
            index += 1;
        };
        if let Some((thought, signature)) = &self.thinking {
            let mut deltas: Vec<Value> = self
                .deltas(thought)
                .into_iter()
                .map(|delta| json!({"type": "thinking_delta", "thinking": delta}))
                .collect();
            if !signature.is_empty() {
                deltas.push(json!({"type": "signature_delta", "signature": signature}));
            }
            block(
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                deltas,
            );
        }
        if !self.text.is_empty() {
            let deltas = self.deltas(&self.text).into_iter();
            block(
                json!({"type": "text", "text": ""}),
                deltas
                    .map(|delta| json!({"type": "text_delta", "text": delta}))
                    .collect(),
            );
        }
        for call in &self.calls {
            let first = std::iter::once("");
            let deltas = first.chain(self.deltas(&call.arguments));
            block(
                json!({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}),
                deltas
                    .map(|delta| json!({"type": "input_json_delta", "partial_json": delta}))
                    .collect(),
            );
        }
        let stop = self.stop.clone().unwrap_or_else(|| {
            if self.calls.is_empty() {
                "end_turn"
            } else {
                "tool_use"
            }
            .to_owned()
        });
        let details = (stop == "refusal")
            .then(|| json!({"type": "refusal", "category": "cyber", "explanation": "scripted refusal"}));
        events.push(json!({"type": "message_delta", "usage": ended,
            "delta": {"stop_reason": stop, "stop_sequence": null, "stop_details": details}}));
        events.push(json!({"type": "message_stop"}));
        events
    }

    fn chat_usage(&self, sent: usize) -> Value {
        self.usage.clone().unwrap_or_else(|| {
            json!({"prompt_tokens": sent, "completion_tokens": self.output(), "total_tokens": sent + self.output(),
                "prompt_tokens_details": {"cached_tokens": 0}})
        })
    }

    fn finish(&self) -> String {
        self.stop.clone().unwrap_or_else(|| {
            if self.calls.is_empty() {
                "stop"
            } else {
                "tool_calls"
            }
            .to_owned()
        })
    }

    fn chat(&self, model: &str, sent: usize) -> Value {
        let calls: Vec<Value> = self
            .calls
            .iter()
            .map(|call| {
                json!({"id": call.id, "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments}})
            })
            .collect();
        let mut message =
            json!({"role": "assistant", "content": self.text, "refusal": null, "annotations": []});
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
            if self.text.is_empty() {
                message["content"] = Value::Null;
            }
        }
        if let Some((thought, _)) = &self.thinking {
            message["reasoning_content"] = thought.as_str().into();
        }
        json!({"id": "chatcmpl-scripted", "object": "chat.completion", "created": 1, "model": model,
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": self.finish()}],
            "usage": self.chat_usage(sent)})
    }

    fn chat_chunks(&self, model: &str, sent: usize) -> Vec<Value> {
        let chunk = |choices: Value, usage: Value| {
            json!({"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1, "model": model,
                "choices": choices, "usage": usage})
        };
        let delta = |delta: Value| {
            chunk(
                json!([{"index": 0, "delta": delta, "finish_reason": null}]),
                Value::Null,
            )
        };
        let mut events = vec![delta(json!({"role": "assistant", "content": ""}))];
        if let Some((thought, _)) = &self.thinking {
            let deltas = self.deltas(thought).into_iter();
            events.extend(deltas.map(|part| delta(json!({"reasoning_content": part}))));
        }
        let deltas = self.deltas(&self.text).into_iter();
        events.extend(deltas.map(|part| delta(json!({"content": part}))));
        for (index, call) in self.calls.iter().enumerate() {
            events.push(delta(
                json!({"tool_calls": [{"index": index, "id": call.id, "type": "function",
                "function": {"name": call.name, "arguments": ""}}]}),
            ));
            for part in self.deltas(&call.arguments) {
                events.push(delta(
                    json!({"tool_calls": [{"index": index, "function": {"arguments": part}}]}),
                ));
            }
        }
        events.push(chunk(
            json!([{"index": 0, "delta": {}, "finish_reason": self.finish()}]),
            Value::Null,
        ));
        events.push(chunk(json!([]), self.chat_usage(sent)));
        events.push("[DONE]".into());
        events
    }

    fn items(&self) -> Vec<Value> {
        let mut items = Vec::new();
        if let Some((thought, encrypted)) = &self.thinking {
            let encrypted = (!encrypted.is_empty()).then_some(encrypted);
            items.push(
                json!({"type": "reasoning", "id": "rs_1", "encrypted_content": encrypted,
                "summary": [{"type": "summary_text", "text": thought}]}),
            );
        }
        if !self.text.is_empty() {
            let part = if self.stop.as_deref() == Some("refusal") {
                json!({"type": "refusal", "refusal": self.text})
            } else {
                json!({"type": "output_text", "text": self.text, "annotations": []})
            };
            items.push(
                json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [part]}),
            );
        }
        for (index, call) in self.calls.iter().enumerate() {
            items.push(
                json!({"type": "function_call", "id": format!("fc_{index}"), "call_id": call.id,
                "name": call.name, "arguments": call.arguments, "status": "completed"}),
            );
        }
        items
    }

    fn response(&self, model: &str, sent: usize) -> Value {
        let usage = self.usage.clone().unwrap_or_else(|| {
            json!({"input_tokens": sent, "output_tokens": self.output(), "total_tokens": sent + self.output(),
                "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}})
        });
        let (status, error, incomplete) = match self.stop.as_deref() {
            Some("failed") => (
                "failed",
                json!({"code": "server_error", "message": "scripted failure"}),
                Value::Null,
            ),
            Some(reason @ ("max_output_tokens" | "content_filter")) => {
                ("incomplete", Value::Null, json!({ "reason": reason }))
            }
            _ => ("completed", Value::Null, Value::Null),
        };
        json!({"id": "resp_scripted", "object": "response", "model": model, "status": status, "error": error,
            "incomplete_details": incomplete, "output": self.items(), "usage": usage, "store": false})
    }

    fn response_events(&self, model: &str, sent: usize) -> Vec<Value> {
        let response = self.response(model, sent);
        let begun = json!({"id": "resp_scripted", "object": "response", "status": "in_progress", "model": model,
            "output": [], "error": null});
        let mut events = vec![json!({"type": "response.created", "response": begun})];
        for (index, item) in self.items().into_iter().enumerate() {
            events.push(json!({"type": "response.output_item.added", "output_index": index, "item": item}));
            let (kind, text) = match item["type"].as_str() {
                Some("message") => ("response.output_text.delta", self.text.as_str()),
                Some("function_call") => (
                    "response.function_call_arguments.delta",
                    item["arguments"].as_str().unwrap_or_default(),
                ),
                _ => ("response.reasoning_summary_text.delta", ""),
            };
            for part in self.deltas(text) {
                events.push(json!({"type": kind, "output_index": index, "delta": part}));
            }
            events.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
        }
        let kind = match response["status"].as_str() {
            Some("failed") => "response.failed",
            Some("incomplete") => "response.incomplete",
            _ => "response.completed",
        };
        events.push(json!({"type": kind, "response": response}));
        events
    }
}

/// What a real server would refuse.
pub(super) fn wrong(request: &Recorded, wire: Option<Wire>, key: &str) -> Option<String> {
    let Some(wire) = wire else {
        return Some(format!("there is nothing at {}", request.path));
    };
    let body = request.json();
    let says = |what: &str| Some(what.to_owned());
    if !body.is_object() {
        return says("the body is not JSON");
    }
    if body["model"].as_str().is_none_or(str::is_empty) {
        return says("no model");
    }
    for name in ["temperature", "top_p", "top_k", "tool_choice", "thinking"] {
        if !body[name].is_null() {
            return Some(format!("{name} is refused by the current models"));
        }
    }
    let right = match wire {
        Wire::Messages { .. } => request.header("x-api-key") == Some(key),
        Wire::Chat { .. } | Wire::Responses { .. } => {
            request.header("authorization") == Some(&format!("Bearer {key}"))
        }
    };
    if !right {
        return says("a wrong key");
    }
    match wire {
        Wire::Messages { .. } => wrong_messages(request, &body),
        Wire::Chat { .. } => wrong_chat(&body),
        Wire::Responses { .. } => wrong_items(&body),
    }
}

fn wrong_messages(request: &Recorded, body: &Value) -> Option<String> {
    if request.header("anthropic-version").is_none() {
        return Some("no anthropic-version".into());
    }
    if body["max_tokens"].as_u64().is_none_or(|limit| limit == 0) {
        return Some("no max_tokens".into());
    }
    let messages = body["messages"].as_array()?;
    if messages.last().is_none_or(|last| last["role"] != "user") {
        return Some("the begin of an answer is refused by the current models".into());
    }
    let mut open: Vec<String> = Vec::new();
    for message in messages {
        let blocks = message["content"].as_array().cloned().unwrap_or_default();
        let empty = message["content"]
            .as_str()
            .map_or(blocks.is_empty(), str::is_empty);
        if empty {
            return Some("an empty message".into());
        }
        let of = |kind: &str, name: &str| -> Vec<String> {
            let blocks = blocks.iter().filter(|block| block["type"] == kind);
            blocks
                .filter_map(|block| block[name].as_str().map(str::to_owned))
                .collect()
        };
        if of("text", "text").iter().any(|text| text.trim().is_empty()) {
            return Some("an empty text".into());
        }
        let results = of("tool_result", "tool_use_id");
        if message["role"] == "user" {
            let same = results.len() == open.len() && results.iter().all(|id| open.contains(id));
            if !same || (!results.is_empty() && results.len() != blocks.len()) {
                return Some("results that are not those of the calls, or are not alone".into());
            }
            open.clear();
        } else {
            open = of("tool_use", "id");
            if blocks
                .iter()
                .any(|block| block["type"] == "tool_use" && !block["input"].is_object())
            {
                return Some("an input that is no object".into());
            }
            if blocks
                .iter()
                .any(|block| block["type"] == "thinking" && block["signature"] == "")
            {
                return Some("a thought without a signature".into());
            }
        }
    }
    None
}

fn wrong_chat(body: &Value) -> Option<String> {
    let mut open: Vec<String> = Vec::new();
    for message in body["messages"].as_array()? {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let Some(at) = open.iter().position(|open| open == id) else {
                return Some("a result without its call".into());
            };
            open.remove(at);
            continue;
        }
        if !open.is_empty() {
            return Some("a call without its result".into());
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
            if !serde_json::from_str::<Value>(arguments).is_ok_and(|value| value.is_object()) {
                return Some("arguments that are no object".into());
            }
            open.push(call["id"].as_str().unwrap_or_default().to_owned());
        }
    }
    (!open.is_empty()).then(|| "a call without its result".into())
}

fn wrong_items(body: &Value) -> Option<String> {
    if body["store"] != json!(false) {
        return Some("store is not false".into());
    }
    let items = body["input"].as_array()?;
    let of = |kind: &str| -> Vec<&str> {
        let items = items.iter().filter(|item| item["type"] == kind);
        items.filter_map(|item| item["call_id"].as_str()).collect()
    };
    if of("function_call") != of("function_call_output") {
        return Some("calls and results are not the same".into());
    }
    let forgotten = |item: &Value| item["type"] == "reasoning" && !item["encrypted_content"].is_string();
    items
        .iter()
        .any(forgotten)
        .then(|| "a thought that nobody remembers".into())
}

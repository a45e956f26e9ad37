//! Answers of Chat Completions, with the quirks of those who serve it.
//!
//! It must not know what was asked.

use std::ops::ControlFlow;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::arguments_text;
use super::WIRE;
use crate::llm::client::{Collect, Source};
use crate::llm::http::{Endpoint, Problem};
use crate::llm::raw::{Fields, Raw};
use crate::llm::usage::Reported;
use crate::llm::{Arguments, ModelError, ModelSpec, Progress, StopReason, ToolCall, Turn, Usage};

/// A whole answer, or a part of a stream.
#[derive(Deserialize)]
struct Completion {
    id: Option<String>,
    model: Option<String>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    usage: Option<Value>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Fields>,
    delta: Option<Fields>,
    finish_reason: Option<String>,
    error: Option<Value>,
}

/// A call, or a part of one.
#[derive(Debug, Clone, Default, Deserialize)]
struct Call {
    index: Option<u64>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<Raw>,
}

/// A call of a stream as far as it has come.
#[derive(Debug, Default)]
struct Growing {
    index: u64,
    id: String,
    name: String,
    arguments: String,
    /// Its first part, for what else is in it (Gemini's signatures of thoughts).
    fields: Fields,
}

#[derive(Debug, Default)]
pub(in crate::llm) struct Collected {
    id: Option<String>,
    model: Option<String>,
    message: Fields,
    text: String,
    thoughts: Option<(&'static str, String)>,
    refusal: String,
    calls: Vec<Growing>,
    finish: Option<String>,
    reported: Reported,
    received: usize,
    streamed: bool,
}

impl Collected {
    fn begin(&mut self, endpoint: &Endpoint, text: &str) -> Result<Option<Choice>, ModelError> {
        let completion: Completion = serde_json::from_str(text)
            .map_err(|error| endpoint.not_understood(format!("{error} in {text}")))?;
        self.id = completion.id.or(self.id.take());
        self.model = completion.model.or(self.model.take());
        if let Some(usage) = completion.usage {
            self.reported.merge(Reported::openai(&usage));
        }
        let choice = completion.choices.into_iter().flatten().next();
        let error = completion
            .error
            .or_else(|| choice.as_ref().and_then(|choice| choice.error.clone()))
            .filter(|error| !error.is_null());
        if let Some(error) = error {
            // An error after a 200.
            let value = json!({ "error": error });
            let problem = Problem::of(&value);
            return Err(endpoint.error(problem.status(&value), &problem, None, self.id.as_deref()));
        }
        Ok(choice)
    }

    fn grow(&mut self, delta: &Fields, progress: &mut (dyn FnMut(Progress) + Send)) {
        let text = content(delta);
        if !text.is_empty() {
            self.received += text.len();
            self.text.push_str(&text);
            progress(Progress::Text(text));
        }
        for name in ["reasoning_content", "reasoning"] {
            if let Some(part) = delta.read::<String>(name).filter(|part| !part.is_empty()) {
                let (first, thoughts) = self.thoughts.get_or_insert((name, String::new()));
                // Some servers send the same under both names.
                if *first == name {
                    self.received += part.len();
                    progress(Progress::Thinking { bytes: part.len() });
                    thoughts.push_str(&part);
                }
            }
        }
        if let Some(refusal) = delta.read::<String>("refusal") {
            self.received += refusal.len();
            self.refusal.push_str(&refusal);
        }
        for fields in call_fields(delta) {
            let Ok(call) = read_fields(&fields) else { continue };
            self.grow_call(call, fields, progress);
        }
    }

    fn grow_call(&mut self, call: Call, fields: Fields, progress: &mut (dyn FnMut(Progress) + Send)) {
        let function = call.function.unwrap_or_default();
        let arguments = arguments_text(function.arguments.as_ref());
        let name = function.name.unwrap_or_default();
        let id = call.id.unwrap_or_default();
        self.received += arguments.len();
        let at = self.place(call.index, &id, &name, &arguments).unwrap_or_else(|| {
            self.calls.push(Growing {
                index: call.index.unwrap_or_default(),
                fields,
                ..Growing::default()
            });
            progress(Progress::Call { name: name.clone() });
            self.calls.len() - 1
        });
        let grown = &mut self.calls[at];
        if grown.id.is_empty() {
            grown.id = id;
        }
        // vLLM may say the name again with each part.
        if grown.name != name && grown.arguments.is_empty() {
            grown.name.push_str(&name);
        }
        grown.arguments.push_str(&arguments);
        if !arguments.is_empty() {
            progress(Progress::Arguments {
                bytes: arguments.len(),
            });
        }
    }

    /// To which call a part belongs; none if it begins one. The index alone can't tell: LiteLLM gives all calls
    /// index 0, others give none, or no ids.
    fn place(&self, index: Option<u64>, id: &str, name: &str, arguments: &str) -> Option<usize> {
        if !id.is_empty()
            && let Some(at) = self.calls.iter().position(|call| call.id == id)
        {
            return Some(at);
        }
        let at = match index {
            Some(index) => self.calls.iter().rposition(|call| call.index == index)?,
            None => self.calls.len().checked_sub(1)?,
        };
        let call = &self.calls[at];
        let another_id = !id.is_empty() && !call.id.is_empty();
        let whole = serde_json::from_str::<Fields>(&call.arguments).is_ok();
        let begins_again = !name.is_empty() && whole && arguments.trim_start().starts_with('{');
        (!another_id && !begins_again).then_some(at)
    }

    /// The message as it came, or as it would have come in one piece; changed only where servers, the same ones
    /// even, would refuse to get it back.
    fn raw(&mut self, calls: &[ToolCall]) -> Result<Raw, serde_json::Error> {
        let mut message = std::mem::take(&mut self.message);
        if self.streamed {
            message.set("role", Raw::of("assistant")?);
            message.set(
                "content",
                Raw::of(&(!self.text.is_empty()).then_some(&self.text))?,
            );
            if let Some((name, thoughts)) = &self.thoughts {
                message.set(name, Raw::of(thoughts)?);
            }
        }
        message.retain(|name, value| {
            !matches!(name, "annotations" | "audio" | "function_call" | "refusal")
                && (name == "content" || value.as_str() != "null")
        });
        if message.get("role").is_none() {
            message.set("role", Raw::of("assistant")?);
        }
        if calls.is_empty() {
            message.retain(|name, _| name != "tool_calls");
            return Raw::of(&message);
        }
        let mut sent = Vec::new();
        for (grown, call) in self.calls.drain(..).zip(calls) {
            let mut fields = grown.fields;
            fields.retain(|name, _| name != "index");
            if fields.read::<String>("id").as_ref() != Some(&call.id) {
                fields.set("id", Raw::of(&call.id)?);
            }
            if fields.read::<String>("type").is_none() {
                fields.set("type", Raw::of("function")?);
            }
            let mut function: Fields = fields.read("function").unwrap_or_default();
            // The text that came, if it can go back.
            let arguments = match &call.arguments {
                Arguments::Given(_) if !grown.arguments.trim().is_empty() => grown.arguments,
                _ => "{}".to_owned(),
            };
            if function.read::<String>("arguments").as_ref() != Some(&arguments) {
                function.set("arguments", Raw::of(&arguments)?);
            }
            if function.read::<String>("name").as_ref() != Some(&call.name) {
                function.set("name", Raw::of(&call.name)?);
            }
            fields.set("function", Raw::of(&function)?);
            sent.push(fields);
        }
        message.set("tool_calls", Raw::of(&sent)?);
        Raw::of(&message)
    }
}

impl Collect for Collected {
    fn event(
        &mut self,
        from: Source<'_>,
        data: &str,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<ControlFlow<()>, ModelError> {
        self.streamed = true;
        if data.trim() == "[DONE]" {
            return self.end(from).map(ControlFlow::Break);
        }
        if let Some(choice) = self.begin(from.endpoint, data)? {
            if let Some(delta) = choice.delta {
                self.grow(&delta, progress);
            }
            self.finish = choice.finish_reason.or(self.finish.take());
        }
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self, from: Source<'_>) -> Result<(), ModelError> {
        // Some servers don't say that they are done, but one that has not said why it stopped is not.
        if self.finish.is_none() {
            return Err(from.endpoint.broken("the stream ended before the message did"));
        }
        Ok(())
    }

    fn whole(&mut self, from: Source<'_>, body: &str) -> Result<(), ModelError> {
        let choice = self.begin(from.endpoint, body)?;
        let Some((message, finish)) = choice.and_then(|choice| Some((choice.message?, choice.finish_reason)))
        else {
            return Err(from.endpoint.not_understood(format!("no message in {body}")));
        };
        self.finish = finish;
        self.text = content(&message);
        self.refusal = message.read::<String>("refusal").unwrap_or_default();
        self.received += self.text.len() + self.refusal.len();
        self.received += ["reasoning_content", "reasoning"]
            .iter()
            .find_map(|name| message.read::<String>(name))
            .map_or(0, |thoughts| thoughts.len());
        for (index, fields) in (0_u64..).zip(call_fields(&message)) {
            let call: Call = read_fields(&fields).unwrap_or_default();
            let function = call.function.unwrap_or_default();
            let grown = Growing {
                index,
                id: call.id.unwrap_or_default(),
                name: function.name.unwrap_or_default(),
                arguments: arguments_text(function.arguments.as_ref()),
                fields,
            };
            self.received += grown.arguments.len();
            self.calls.push(grown);
        }
        self.message = message;
        Ok(())
    }

    fn reported(&self) -> Reported {
        self.reported
    }

    fn received(&self) -> usize {
        self.received
    }

    fn turn(mut self, at: usize, spec: &ModelSpec) -> Result<Turn, ModelError> {
        let cut_off = self.finish.as_deref() == Some("length");
        let last = self.calls.len().saturating_sub(1);
        let mut calls: Vec<ToolCall> = self
            .calls
            .iter()
            .enumerate()
            .map(|(index, call)| ToolCall {
                id: call.id.clone(),
                name: call.name.clone(),
                arguments: Arguments::parse(&call.arguments, !(cut_off && index == last)),
            })
            .collect();
        Turn::name_calls(&mut calls, at);
        let refused = !self.refusal.trim().is_empty();
        // Some servers say `stop` where there are calls: the calls count.
        let stop = match self.finish.as_deref() {
            Some("length") => StopReason::MaxTokens,
            Some("content_filter") => StopReason::Refusal,
            _ if !calls.is_empty() => StopReason::ToolUse,
            _ if refused => StopReason::Refusal,
            Some("stop" | "eos" | "tool_calls" | "function_call") | None => StopReason::EndTurn,
            Some(other) => StopReason::Other(other.to_owned()),
        };
        let raw = self.raw(&calls).map_err(ModelError::not_json)?;
        Ok(Turn {
            asked: spec.clone(),
            model: self.model.unwrap_or_else(|| spec.name.clone()),
            wire: WIRE,
            raw: Some(raw),
            text: self.text,
            tool_calls: calls,
            stop,
            stop_detail: refused.then_some(self.refusal),
            usage: Usage::default(),
            estimated: false,
            sent_bytes: 0,
            request_id: self.id,
            attempts: Vec::new(),
        })
    }
}

fn call_fields(message: &Fields) -> Vec<Fields> {
    message
        .read::<Option<Vec<Fields>>>("tool_calls")
        .flatten()
        .unwrap_or_default()
}

fn read_fields<T: for<'de> Deserialize<'de>>(fields: &Fields) -> Result<T, serde_json::Error> {
    Raw::of(fields)?.read()
}

/// The text of a message: as such, or in parts.
fn content(message: &Fields) -> String {
    #[derive(Deserialize)]
    struct Part {
        text: Option<String>,
    }
    if let Some(text) = message.read::<String>("content") {
        return text;
    }
    message
        .read::<Vec<Part>>("content")
        .unwrap_or_default()
        .into_iter()
        .filter_map(|part| part.text)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamed(deltas: &[Value]) -> Turn {
        let texts: Vec<String> = deltas.iter().map(Value::to_string).collect();
        streamed_texts(&texts)
    }

    fn streamed_texts(deltas: &[impl AsRef<str>]) -> Turn {
        let mut collected = Collected {
            streamed: true,
            ..Collected::default()
        };
        for delta in deltas {
            let fields: Fields = serde_json::from_str(delta.as_ref()).unwrap();
            collected.grow(&fields, &mut |_| {});
        }
        collected.turn(1, &"openai/a".parse().unwrap()).unwrap()
    }

    fn part(call: &Value) -> Value {
        json!({ "tool_calls": [call] })
    }

    fn given(turn: &Turn) -> Vec<(String, String, Value)> {
        turn.tool_calls
            .iter()
            .map(|call| match &call.arguments {
                Arguments::Given(given) => (call.id.clone(), call.name.clone(), Value::Object(given.clone())),
                Arguments::Malformed { problem, .. } => panic!("{problem}"),
            })
            .collect()
    }

    fn two() -> Vec<(String, String, Value)> {
        vec![
            ("a".into(), "py".into(), json!({"code": 1})),
            ("b".into(), "py".into(), json!({"code": 2})),
        ]
    }

    #[test]
    fn parts_of_calls_find_one_another() {
        // As it should be.
        let turn = streamed_texts(&[
            r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"py","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"code\":"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":" 1}"}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"py","arguments":"{\"code\": 2}"}}]}"#,
        ]);
        assert_eq!(given(&turn), two());
        assert_eq!(turn.stop, StopReason::ToolUse);
        assert_eq!(
            turn.raw.unwrap().as_str(),
            "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[\
             {\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"py\",\"arguments\":\"{\\\"code\\\": 1}\"}},\
             {\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"py\",\"arguments\":\"{\\\"code\\\": 2}\"}}]}"
        );
        // Index 0 for all, arguments as objects.
        let turn = streamed(&[
            part(&json!({"index": 0, "id": "a", "function": {"name": "py", "arguments": {"code": 1}}})),
            part(&json!({"index": 0, "id": "b", "function": {"name": "py", "arguments": {"code": 2}}})),
        ]);
        assert_eq!(given(&turn), two());
        // Names repeated in each part, interleaved by index.
        let turn = streamed(&[
            part(&json!({"index": 0, "id": "a", "function": {"name": "py", "arguments": "{\"code\""}})),
            part(&json!({"index": 1, "id": "b", "function": {"name": "py", "arguments": "{\"code\""}})),
            part(&json!({"index": 0, "id": "a", "function": {"name": "py", "arguments": ": 1}"}})),
            part(&json!({"index": 1, "id": null, "function": {"name": "py", "arguments": ": 2}"}})),
        ]);
        assert_eq!(given(&turn), two());
        // No ids, one index, each call whole.
        let turn = streamed(&[
            part(&json!({"index": 0, "function": {"name": "py", "arguments": "{\"code\": 1}"}})),
            part(&json!({"index": 0, "id": "", "function": {"name": "py", "arguments": "{\"code\": 2}"}})),
        ]);
        let calls = given(&turn);
        assert_eq!(calls[0].0, "c00001000");
        assert_eq!(calls[1].0, "c00001001");
        assert_eq!(
            (calls[0].2["code"].clone(), calls[1].2["code"].clone()),
            (json!(1), json!(2))
        );
        // No index.
        let turn = streamed(&[
            part(&json!({"id": "a", "function": {"name": "py", "arguments": "{\"code\":"}})),
            part(&json!({"function": {"arguments": "1}"}})),
            part(&json!({"id": "b", "function": {"name": "py", "arguments": "{\"code\":2}"}})),
        ]);
        assert_eq!(given(&turn), two());
    }

    #[test]
    fn what_can_not_go_back_is_changed_and_the_rest_kept() {
        let mut collected = Collected {
            finish: Some("stop".into()),
            ..Collected::default()
        };
        let came = r#"{"role":"assistant","content":null,"refusal":null,"annotations":[],"reasoning_content":"h\u006dm",
            "tool_calls":[{"id":"123456789","type":"function","extra_content":{"g":1.0},"function":{"name":"py","arguments":"{broken"}}]}"#;
        collected.message = serde_json::from_str(came).unwrap();
        let fields = call_fields(&collected.message).remove(0);
        collected.calls.push(Growing {
            id: "123456789".into(),
            name: "py".into(),
            arguments: "{broken".into(),
            fields,
            ..Growing::default()
        });
        let turn = collected.turn(1, &"openai/a".parse().unwrap()).unwrap();
        assert_eq!(turn.stop, StopReason::ToolUse);
        assert!(matches!(
            turn.tool_calls[0].arguments,
            Arguments::Malformed { .. }
        ));
        assert_eq!(
            turn.raw.unwrap().as_str(),
            "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"h\\u006dm\",\"tool_calls\":[\
             {\"id\":\"123456789\",\"type\":\"function\",\"extra_content\":{\"g\":1.0},\
             \"function\":{\"name\":\"py\",\"arguments\":\"{}\"}}]}"
        );
    }
}

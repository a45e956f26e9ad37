//! OpenAI's two APIs, as OpenAI and many others serve them: Chat Completions and Responses.

mod chat;
mod responses;

pub(super) use chat::Chat;
pub(super) use responses::Responses;

use serde_json::{Map, Value};

use super::Arguments;
use super::raw::Raw;

/// Arguments come as text with JSON in it, or (LiteLLM) as the JSON itself.
fn arguments_text(raw: Option<&Raw>) -> String {
    let Some(raw) = raw else {
        return String::new();
    };
    match raw.read::<Option<String>>() {
        Ok(text) => text.unwrap_or_default(),
        Err(_) => raw.as_str().to_owned(),
    }
}

/// Arguments as text with JSON in it, which is an object: servers parse what they get back.
fn sent_arguments(arguments: &Arguments) -> String {
    match arguments {
        Arguments::Given(given) => Value::Object(given.clone()),
        Arguments::Malformed { .. } => Value::Object(Map::new()),
    }
    .to_string()
}

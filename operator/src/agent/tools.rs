//! The two tools that an agent has, and what is wrong with a call of them.
//!
//! It must not know how a call is carried out.

use serde_json::{Map, Value, json};

use crate::llm::{Arguments, Tool, ToolCall};

/// Runs Python in the sandbox.
pub const EXECUTE: &str = "execute_python";
/// Hands in the page.
pub const SUBMIT: &str = "submit_html";

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// To run this code.
    Execute(&'a str),
    /// To take this page.
    Submit(&'a str),
}

/// The tools, as a model is told of them.
pub fn definitions() -> Vec<Tool> {
    let tool = |name: &str, description: &str, argument: &str, about: &str| Tool {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {argument: {"type": "string", "description": about}},
            "required": [argument],
            "additionalProperties": false,
        }),
    };
    vec![
        tool(
            EXECUTE,
            "Runs Python code in a session that lasts: variables stay from call to call. The value of a last \
             expression is shown, as is what is printed.",
            "code",
            "The Python code.",
        ),
        tool(
            SUBMIT,
            "Hands in the HTML page, whole. It is checked: errors come back and have to be mended. Once it is \
             accepted the task is done.",
            "content",
            "The complete HTML document.",
        ),
    ]
}

/// What a call asks for, or what is wrong with it, for the model.
pub fn read(call: &ToolCall) -> Result<Action<'_>, String> {
    let argument = match call.name.as_str() {
        EXECUTE => "code",
        SUBMIT => "content",
        other => {
            return Err(format!(
                "There is no tool {:?}. The tools are {EXECUTE}(code) and {SUBMIT}(content).",
                crate::llm::cut(other, 80)
            ));
        }
    };
    let given = match &call.arguments {
        Arguments::Given(given) => given,
        Arguments::Malformed { problem, text } => {
            return Err(format!(
                "The call was not carried out: {problem}. {} takes one argument, {argument}, as a JSON object: \
                 {{\"{argument}\": \"…\"}}. What came begins with: {}",
                call.name,
                crate::llm::cut(text, 120)
            ));
        }
    };
    match text(given, argument) {
        Ok(code) if call.name == EXECUTE => Ok(Action::Execute(code)),
        Ok(page) => Ok(Action::Submit(page)),
        Err(problem) => Err(format!(
            "The call was not carried out: {problem}. {} takes one argument, {argument}, a string.",
            call.name
        )),
    }
}

fn text<'a>(given: &'a Map<String, Value>, argument: &str) -> Result<&'a str, String> {
    if let Some(other) = given.keys().find(|name| *name != argument) {
        return Err(format!("there is no argument {:?}", crate::llm::cut(other, 80)));
    }
    match given.get(argument) {
        Some(Value::String(text)) if text.trim().is_empty() => Err(format!("{argument} is empty")),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("{argument} is not a string")),
        None => Err(format!("{argument} is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: Value) -> ToolCall {
        let Value::Object(given) = arguments else {
            panic!("{arguments}")
        };
        ToolCall {
            id: "1".into(),
            name: name.into(),
            arguments: Arguments::Given(given),
        }
    }

    #[test]
    fn calls_are_read() {
        assert_eq!(
            read(&call(EXECUTE, json!({"code": "1"}))),
            Ok(Action::Execute("1"))
        );
        assert_eq!(
            read(&call(SUBMIT, json!({"content": "<p>"}))),
            Ok(Action::Submit("<p>"))
        );
        for (name, arguments, says) in [
            ("python", json!({}), "There is no tool \"python\""),
            (EXECUTE, json!({}), "code is missing"),
            (EXECUTE, json!({"code": 1}), "code is not a string"),
            (SUBMIT, json!({"content": " \n"}), "content is empty"),
            (
                SUBMIT,
                json!({"content": "x", "title": "y"}),
                "no argument \"title\"",
            ),
        ] {
            let problem = read(&call(name, arguments)).unwrap_err();
            assert!(problem.contains(says), "{problem}");
        }
        let malformed = ToolCall {
            arguments: Arguments::Malformed {
                problem: "the arguments were cut off before their end".into(),
                text: "{\"code\": \"pri".into(),
            },
            ..call(EXECUTE, json!({}))
        };
        let problem = read(&malformed).unwrap_err();
        assert!(
            problem.contains("cut off") && problem.contains("{\"code\": \"pri"),
            "{problem}"
        );
    }
}

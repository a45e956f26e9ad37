//! What a request may come to at most, said before it is sent.

use super::super::prices::{Cost, Prices};
use super::super::{Arguments, Message, ModelSpec, Request, Turn, Usage};

/// What providers add to a prompt themselves, in tokens: how tools are to be called, and what holds all together.
const AROUND_ALL: u64 = 1024;
/// What they add to each message, result and tool.
const AROUND_EACH: u64 = 32;

/// What a request may come to at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worst {
    /// Which model is to be asked.
    pub model: ModelSpec,
    /// Tokens: the prompt as `input`, whatever a cache would make of it.
    pub usage: Usage,
    /// Money; none if the model's price is not known.
    pub cost: Option<Cost>,
}

impl Worst {
    /// Of a request to this model.
    ///
    /// A token is at least one byte of what is sent, so a prompt has no more tokens than bytes, bar what the
    /// provider adds. That is four times too much for most texts; but of a conversation that the same model has
    /// read before, its tokens up to there are known, and only what came since is counted by bytes.
    pub fn of(request: &Request<'_>, model: &ModelSpec, prices: &Prices) -> Self {
        let around = AROUND_ALL + AROUND_EACH * request.tools.len() as u64;
        let tools: u64 = request
            .tools
            .iter()
            .map(|tool| length(&tool.name) + length(&tool.description) + length(&tool.parameters.to_string()))
            .sum();
        let all = around + tools + length(request.system) + request.messages.iter().map(size).sum::<u64>();
        let usage = Usage {
            input: since(request, model).map_or(all, |since| since.saturating_add(around).min(all)),
            output: request.max_output_tokens.into(),
            ..Usage::default()
        };
        Self {
            model: model.clone(),
            usage,
            cost: prices
                .get(model)
                .map(|price| price.at_most(usage.input, usage.output)),
        }
    }
}

/// The tokens of a prompt by what the last turn says of it, if that is the same model's and can be believed.
fn since(request: &Request<'_>, model: &ModelSpec) -> Option<u64> {
    let (at, turn) = request
        .messages
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, message)| match message {
            Message::Assistant(turn) => Some((at, turn.as_ref())),
            _ => None,
        })?;
    if turn.asked != *model || turn.estimated {
        return None;
    }
    let new: u64 = request.messages.iter().skip(at + 1).map(size).sum();
    Some(
        turn.usage
            .prompt()
            .saturating_add(turn.usage.output)
            .saturating_add(AROUND_EACH)
            .saturating_add(new),
    )
}

fn length(text: &str) -> u64 {
    text.len() as u64
}

/// The most tokens that a message may be.
fn size(message: &Message) -> u64 {
    match message {
        Message::User(text) => AROUND_EACH + length(text),
        Message::Assistant(turn) => AROUND_EACH + size_of_turn(turn),
        Message::ToolResults(results) => results
            .iter()
            .map(|result| AROUND_EACH + length(&result.id) + length(&result.content))
            .sum(),
    }
}

/// It is sent as it came, or only its text and calls.
fn size_of_turn(turn: &Turn) -> u64 {
    let calls: u64 = turn
        .tool_calls
        .iter()
        .map(|call| {
            let arguments = match &call.arguments {
                Arguments::Given(given) => {
                    serde_json::to_string(given).map_or(0, |arguments| length(&arguments))
                }
                Arguments::Malformed { text, .. } => length(text),
            };
            AROUND_EACH + length(&call.id) + length(&call.name) + arguments
        })
        .sum();
    let raw = turn.raw.as_ref().map_or(0, |raw| length(raw.as_str()));
    raw.max(length(&turn.text) + calls)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::tests::{request, turn};
    use super::super::super::{Tool, ToolResult};
    use super::*;

    fn worst(messages: &[Message], model: &str) -> Worst {
        let tools = [Tool {
            name: "execute_python".into(),
            description: "Runs code.".into(),
            parameters: json!({"type": "object"}),
        }];
        let request = Request {
            tools: &tools,
            ..request(messages)
        };
        Worst::of(&request, &model.parse().unwrap(), Prices::bundled())
    }

    fn conversation(prompt: u64, estimated: bool) -> Vec<Message> {
        let mut turn = turn("anthropic/claude-sonnet-5-5", &["1"]);
        turn.usage.cache_read = prompt;
        turn.usage.output = 300;
        turn.estimated = estimated;
        let result = ToolResult {
            id: "1".into(),
            content: "y".repeat(500),
            is_error: false,
        };
        vec![
            Message::User("x".repeat(40_000)),
            Message::Assistant(Box::new(turn)),
            Message::ToolResults(vec![result]),
        ]
    }

    const SONNET: &str = "anthropic/claude-sonnet-5-5";

    #[test]
    fn a_first_prompt_has_no_more_tokens_than_bytes() {
        let first = worst(&conversation(0, false)[..1], SONNET);
        assert!((40_000..42_000).contains(&first.usage.input), "{first:?}");
        assert_eq!(first.usage.output, 100);
        // As if all were written to a cache.
        assert_eq!(
            first.cost.unwrap().0,
            (first.usage.input * 25).div_ceil(10) + 1_000
        );
        assert_eq!(worst(&conversation(0, false)[..1], "openai/unknown").cost, None);
        assert_eq!(worst(&conversation(0, false)[..1], "builtin").cost, Some(Cost(0)));
    }

    #[test]
    fn what_a_model_has_read_before_is_known() {
        let again = worst(&conversation(10_000, false), SONNET);
        assert!((10_800..12_500).contains(&again.usage.input), "{again:?}");
        // Not if it is an estimate, or what another model said; and never more than all bytes.
        for (messages, model) in [
            (conversation(10_000, true), SONNET),
            (conversation(10_000, false), "anthropic/claude-opus-5-5"),
            (conversation(10_000_000, false), SONNET),
        ] {
            let all = worst(&messages, model).usage.input;
            assert!((40_500..43_000).contains(&all), "{all}");
        }
    }
}

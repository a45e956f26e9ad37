//! The providers of models against servers that speak as the real ones do, well and badly.

use std::time::{Duration, Instant};

use cataloger::llm::prices::Prices;
use cataloger::llm::retry::{Chain, RetryPolicy};
use cataloger::llm::{
    Arguments, Class, Http, Message, Model, ModelError, OpenAiApi, Progress, Providers, Request, StopReason,
    Tool, ToolResult, Turn, Usage,
};
use cataloger_tests::model_server::{Failure, KEY, ModelServer, Reply, Say, Step};
use serde_json::{Value, json};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Retries, but in no time.
const QUICK: RetryPolicy = RetryPolicy {
    attempts: 3,
    first: MILLISECOND,
    longest: MILLISECOND,
    patience: Duration::from_secs(10),
};

/// A way to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Anthropic,
    Chat,
    ChatStream,
    Responses,
    ResponsesStream,
}

const WAYS: [Way; 5] = [
    Way::Anthropic,
    Way::Chat,
    Way::ChatStream,
    Way::Responses,
    Way::ResponsesStream,
];
const STREAMS: [Way; 3] = [Way::Anthropic, Way::ChatStream, Way::ResponsesStream];

impl Way {
    fn spec(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic/claude-sonnet-5-5",
            _ => "openai/gpt-6-sol",
        }
    }

    fn providers(self, server: &ModelServer) -> Providers {
        let mut providers = server.providers();
        if matches!(self, Self::Responses | Self::ResponsesStream) {
            providers.openai.api = OpenAiApi::Responses;
        }
        providers.openai.stream = Some(matches!(self, Self::ChatStream | Self::ResponsesStream));
        providers
    }

    fn chain(self, server: &ModelServer) -> Chain {
        chain(&self.providers(server), self.spec())
    }
}

fn chain(providers: &Providers, spec: &str) -> Chain {
    let http = Http::new(&providers.timeouts).unwrap();
    Chain::new(providers.model(&http, &spec.parse().unwrap()).unwrap(), QUICK)
}

fn tools() -> Vec<Tool> {
    vec![Tool {
        name: "execute_python".into(),
        description: "Runs code.".into(),
        parameters: json!({"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}),
    }]
}

fn said(text: &str) -> Vec<Message> {
    vec![Message::User(text.into())]
}

async fn ask_seeing(
    model: &dyn Model,
    messages: &[Message],
    deadline: Option<Duration>,
) -> (Result<Turn, ModelError>, Vec<Progress>) {
    let tools = tools();
    let request = Request {
        system: "You are a cataloger.",
        messages,
        tools: &tools,
        max_output_tokens: 4096,
        cache: true,
        deadline: deadline.map(|time| tokio::time::Instant::now() + time),
        again: None,
    };
    let mut seen = Vec::new();
    let result = model
        .complete(&request, &mut |progress| seen.push(progress))
        .await;
    (result, seen)
}

async fn ask(model: &dyn Model, messages: &[Message]) -> Result<Turn, ModelError> {
    ask_seeing(model, messages, None).await.0
}

/// The conversation goes on with this turn, and with results for its calls.
fn and(mut messages: Vec<Message>, turn: &Turn) -> Vec<Message> {
    messages.push(Message::Assistant(Box::new(turn.clone())));
    if turn.tool_calls.is_empty() {
        messages.push(Message::User("go on".into()));
    } else {
        let results = turn.tool_calls.iter().map(|call| ToolResult {
            id: call.id.clone(),
            content: format!("result of {}", call.id),
            is_error: matches!(call.arguments, Arguments::Malformed { .. }),
        });
        messages.push(Message::ToolResults(results.collect()));
    }
    messages
}

fn given(turn: &Turn, call: usize) -> Value {
    match &turn.tool_calls[call].arguments {
        Arguments::Given(given) => Value::Object(given.clone()),
        Arguments::Malformed { problem, .. } => panic!("{problem}"),
    }
}

fn text_seen(seen: &[Progress]) -> String {
    seen.iter()
        .filter_map(|progress| match progress {
            Progress::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn two_calls() -> Say {
    Say::text("I look at \"sälës\"\n and count.")
        .thinking("Two tables…\n\u{1F4A1} first", "c2lnbmVk/+==")
        .calls(
            "call_1",
            "execute_python",
            r#"{"code":"print('\u00e9\n')", "z": 1.0}"#,
        )
        .calls("call_2", "execute_python", r#"{ "code" : "2" }"#)
}

#[tokio::test]
async fn a_turn_comes_and_goes_back() {
    for way in WAYS {
        let server = ModelServer::start().await;
        server.say(two_calls());
        server.say(Say::text("done"));
        let chain = way.chain(&server);
        let (turn, seen) = ask_seeing(&chain, &said("begin"), None).await;
        let turn = turn.unwrap();
        assert_eq!(turn.text, "I look at \"sälës\"\n and count.", "{way:?}");
        assert_eq!(turn.stop, StopReason::ToolUse, "{way:?}");
        assert_eq!(
            given(&turn, 0),
            json!({"code": "print('é\n')", "z": 1.0}),
            "{way:?}"
        );
        assert_eq!(turn.tool_calls[1].id, "call_2");
        assert_eq!(turn.request_id.as_deref(), Some("req_scripted"));
        assert_eq!(turn.model, way.spec().split_once('/').unwrap().1);
        assert_eq!((turn.attempts.len(), turn.estimated), (0, false), "{way:?}");
        if STREAMS.contains(&way) {
            assert_eq!(text_seen(&seen), turn.text, "{way:?}");
            let calls = seen
                .iter()
                .filter(|progress| matches!(progress, Progress::Call { .. }));
            assert_eq!(calls.count(), 2, "{way:?}");
        }
        let request = server.requests().remove(0);
        assert_eq!(turn.sent_bytes, request.body.len() as u64);
        assert!(Prices::bundled().cost_of(&turn).unwrap().0 > 0);

        // Through a journal, and back to the model.
        let journaled = serde_json::to_string(&and(said("begin"), &turn)).unwrap();
        let messages: Vec<Message> = serde_json::from_str(&journaled).unwrap();
        ask(&chain, &messages).await.unwrap();
        assert_eq!(server.problems(), Vec::<String>::new(), "{way:?}");
        let again = server.requests().remove(1).body;
        let raw = turn.raw.as_ref().unwrap().as_str();
        let inner = match way {
            Way::Responses | Way::ResponsesStream => &raw[1..raw.len() - 1],
            _ => raw,
        };
        assert!(again.contains(inner), "{way:?}: {inner} in {again}");
        assert!(again.contains("Two tables…"), "{way:?}: thoughts go back");
    }
}

#[tokio::test]
async fn anthropic_is_asked_as_it_wants() {
    let server = ModelServer::start().await;
    server.say(Say::call("toolu_1", "execute_python", &json!({"code": "1"})).thinking("hm", "sig"));
    server.say(Say::text("done"));
    let chain = Way::Anthropic.chain(&server);
    let turn = ask(&chain, &said("begin")).await.unwrap();
    ask(&chain, &and(said("begin"), &turn)).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].path, "/v1/messages");
    assert_eq!(
        requests[1].json(),
        json!({
            "model": "claude-sonnet-5-5",
            "max_tokens": 4096,
            "stream": true,
            "cache_control": {"type": "ephemeral"},
            "system": "You are a cataloger.",
            "tools": [{"name": "execute_python", "description": "Runs code.", "input_schema": tools()[0].parameters}],
            "messages": [
                {"role": "user", "content": "begin"},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "tool_use", "id": "toolu_1", "name": "execute_python", "input": {"code": "1"}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "result of toolu_1"},
                ]},
            ],
        })
    );
}

#[tokio::test]
async fn chat_streams_only_without_tools_unless_told() {
    let server = ModelServer::start().await;
    let chain = chain(&server.providers(), Way::Chat.spec());
    for _ in 0..2 {
        server.say(Say::text("x"));
    }
    ask(&chain, &said("a")).await.unwrap();
    let messages = said("a");
    let request = Request {
        system: "",
        messages: &messages,
        tools: &[],
        max_output_tokens: 7,
        cache: false,
        deadline: None,
        again: None,
    };
    chain.complete(&request, &mut |_| {}).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].json()["stream"], Value::Null);
    assert_eq!(requests[0].json()["max_tokens"], 4096);
    assert_eq!(requests[1].json()["stream"], true);
    assert_eq!(requests[1].json()["stream_options"]["include_usage"], true);
    assert_eq!(
        requests[1].json()["messages"],
        json!([{"role": "user", "content": "a"}])
    );
}

#[tokio::test]
async fn every_stop_reason_is_known() {
    let anthropic = [
        ("end_turn", StopReason::EndTurn),
        ("max_tokens", StopReason::MaxTokens),
        ("stop_sequence", StopReason::StopSequence),
        ("pause_turn", StopReason::PauseTurn),
        ("refusal", StopReason::Refusal),
        ("model_context_window_exceeded", StopReason::ContextWindowExceeded),
        ("a_new_one", StopReason::Other("a_new_one".into())),
    ];
    let chat = [
        ("stop", StopReason::EndTurn),
        ("length", StopReason::MaxTokens),
        ("content_filter", StopReason::Refusal),
        ("a_new_one", StopReason::Other("a_new_one".into())),
    ];
    let responses = [
        ("completed", StopReason::EndTurn),
        ("max_output_tokens", StopReason::MaxTokens),
        ("content_filter", StopReason::Refusal),
        ("refusal", StopReason::Refusal),
    ];
    for way in WAYS {
        let reasons = match way {
            Way::Anthropic => anthropic.as_slice(),
            Way::Chat | Way::ChatStream => &chat,
            Way::Responses | Way::ResponsesStream => &responses,
        };
        let server = ModelServer::start().await;
        let chain = way.chain(&server);
        for (reason, stop) in reasons {
            server.say(Say::text("x").stop(reason));
            let turn = ask(&chain, &said("a")).await.unwrap();
            assert_eq!(turn.stop, *stop, "{way:?} {reason}");
            if *reason == "refusal" {
                assert!(turn.stop_detail.is_some(), "{way:?}");
            }
        }
    }
}

#[tokio::test]
async fn calls_count_more_than_the_reason_to_stop() {
    for way in [Way::Chat, Way::ChatStream] {
        let server = ModelServer::start().await;
        server.say(Say::call("call_1", "execute_python", &json!({"code": "1"})).stop("stop"));
        let turn = ask(&way.chain(&server), &said("a")).await.unwrap();
        assert_eq!(
            (turn.stop.clone(), turn.tool_calls.len()),
            (StopReason::ToolUse, 1),
            "{way:?}"
        );
    }
}

#[tokio::test]
async fn malformed_arguments_are_said_and_never_sent_back() {
    for way in WAYS {
        for arguments in [
            r#"{"code": "pri"#,
            "[1]",
            "\"x\"",
            "nonsense",
            "{\"a\":1}{\"b\":2}",
        ] {
            let server = ModelServer::start().await;
            server.say(Say::text("").calls("call_1", "execute_python", arguments));
            server.say(Say::text("sorry"));
            let chain = way.chain(&server);
            let turn = ask(&chain, &said("a")).await.unwrap();
            let Arguments::Malformed { problem, text } = &turn.tool_calls[0].arguments else {
                panic!("{way:?}: {turn:?}");
            };
            assert!(problem.starts_with("the arguments are "), "{problem}");
            assert_eq!(text, arguments);
            ask(&chain, &and(said("a"), &turn)).await.unwrap();
            assert_eq!(server.problems(), Vec::<String>::new(), "{way:?} {arguments}");
        }
        // None at all are an empty object.
        let server = ModelServer::start().await;
        server.say(Say::text("").calls("call_1", "execute_python", ""));
        let turn = ask(&way.chain(&server), &said("a")).await.unwrap();
        assert_eq!(given(&turn, 0), json!({}), "{way:?}");
    }
}

#[tokio::test]
async fn of_a_turn_that_is_cut_off_the_whole_calls_count() {
    for way in WAYS {
        let server = ModelServer::start().await;
        let reason = match way {
            Way::Anthropic => "max_tokens",
            Way::Chat | Way::ChatStream => "length",
            Way::Responses | Way::ResponsesStream => "max_output_tokens",
        };
        let say = Say::text("").calls("call_1", "execute_python", r#"{"code":"1"}"#);
        server.say(
            say.calls("call_2", "execute_python", r#"{"code":"2"#)
                .stop(reason),
        );
        server.say(Say::text("ok"));
        let chain = way.chain(&server);
        let turn = ask(&chain, &said("a")).await.unwrap();
        assert_eq!(turn.stop, StopReason::MaxTokens);
        assert_eq!(given(&turn, 0), json!({"code": "1"}), "{way:?}");
        assert!(
            matches!(&turn.tool_calls[1].arguments, Arguments::Malformed { problem, .. } if problem.contains("cut off")),
            "{way:?}: {:?}",
            turn.tool_calls
        );
        ask(&chain, &and(said("a"), &turn)).await.unwrap();
        assert_eq!(server.problems(), Vec::<String>::new(), "{way:?}");
    }
}

#[tokio::test]
async fn a_thought_that_was_cut_off_is_not_sent_back() {
    for way in [Way::Anthropic, Way::Responses, Way::ResponsesStream] {
        let server = ModelServer::start().await;
        server.say(Say::text("").thinking("and so", "").stop("max_tokens"));
        server.say(Say::text("ok"));
        let chain = way.chain(&server);
        let turn = ask(&chain, &said("a")).await.unwrap();
        assert!(turn.is_empty() && turn.usage.output > 0);
        ask(&chain, &and(said("a"), &turn)).await.unwrap();
        assert_eq!(server.problems(), Vec::<String>::new(), "{way:?}");
        assert!(!server.requests()[1].body.contains("and so"), "{way:?}");
    }
}

#[tokio::test]
async fn errors_are_retried_only_where_it_helps() {
    for way in WAYS {
        for status in [408, 429, 500, 502, 503, 504, 529] {
            let server = ModelServer::start().await;
            server.fail(Failure::new(status));
            server.say(Say::text("x"));
            let turn = ask(&way.chain(&server), &said("a")).await.unwrap();
            assert_eq!(server.requests().len(), 2, "{way:?} {status}");
            assert!(turn.attempts[0].problem.contains(&status.to_string()));
            assert_eq!(turn.attempts[0].spent, Usage::default());
        }
        for status in [400, 401, 402, 403, 404, 409, 413, 422, 501] {
            let server = ModelServer::start().await;
            server.fail(Failure::new(status).retry_after("0"));
            let error = ask(&way.chain(&server), &said("a")).await.unwrap_err();
            assert_eq!(server.requests().len(), 1, "{way:?} {status}");
            assert_ne!(error.class(), Class::Retry, "{way:?} {status}");
            assert!(
                error.to_string().contains(&format!("scripted error {status}")),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn an_error_that_stays_ends_it() {
    let server = ModelServer::start().await;
    for _ in 0..3 {
        server.fail(Failure::new(529));
    }
    let error = ask(&Way::Anthropic.chain(&server), &said("a")).await.unwrap_err();
    assert_eq!(server.requests().len(), 3);
    assert!(error.to_string().contains("(asked 3 times)"), "{error}");
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    for way in WAYS {
        for status in [429, 529] {
            let server = ModelServer::start().await;
            server.fail(Failure::new(status).retry_after("0.3"));
            server.say(Say::text("x"));
            let turn = ask(&way.chain(&server), &said("a")).await.unwrap();
            let requests = server.requests();
            assert!(requests[1].at - requests[0].at >= MILLISECOND * 300, "{way:?}");
            assert!(turn.attempts[0].waited >= MILLISECOND * 300);
        }
        // More than there is time for: not at all.
        let server = ModelServer::start().await;
        server.fail(Failure::new(429).retry_after("3600"));
        let error = ask(&way.chain(&server), &said("a")).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
        assert_eq!(server.requests().len(), 1);
        let server = ModelServer::start().await;
        server.fail(Failure::new(429).retry_after("5"));
        let (result, _) = ask_seeing(&way.chain(&server), &said("a"), Some(Duration::from_secs(3))).await;
        assert_eq!(result.unwrap_err().retry_after(), Some(Duration::from_secs(5)));
    }
}

#[tokio::test]
async fn what_can_not_be_paid_is_not_asked_for_again() {
    let server = ModelServer::start().await;
    server.fail(Failure::new(429).saying("insufficient_quota", "You exceeded your current quota"));
    let error = ask(&Way::Chat.chain(&server), &said("a")).await.unwrap_err();
    assert!(matches!(error, ModelError::Quota { .. }), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_conversation_that_is_too_long_says_so() {
    for way in WAYS {
        let server = ModelServer::start().await;
        server.fail(Failure::new(400).saying(
            "invalid_request_error",
            "prompt is too long: 1000001 tokens > 1000000 maximum",
        ));
        let error = ask(&way.chain(&server), &said("a")).await.unwrap_err();
        assert_eq!(error.class(), Class::Shorten, "{error}");
    }
}

#[tokio::test]
async fn errors_come_after_a_200() {
    for way in WAYS {
        let server = ModelServer::start().await;
        server.say(two_calls().error_after(4, "overloaded_error"));
        server.say(Say::text("x"));
        let turn = ask(&way.chain(&server), &said("a")).await.unwrap();
        assert_eq!((turn.text.as_str(), server.requests().len()), ("x", 2), "{way:?}");
        assert!(turn.attempts[0].problem.contains("529"), "{:?}", turn.attempts);
        // What it had begun to answer may have to be paid for.
        assert!(turn.attempts[0].spent.prompt() > 0, "{way:?}");

        let server = ModelServer::start().await;
        server.say(two_calls().error_after(4, "invalid_request_error"));
        let error = ask(&way.chain(&server), &said("a")).await.unwrap_err();
        assert_eq!(
            (error.class(), server.requests().len()),
            (Class::Stop, 1),
            "{way:?}"
        );
    }
}

#[tokio::test]
async fn a_response_that_failed_is_asked_for_again() {
    for way in [Way::Responses, Way::ResponsesStream] {
        let server = ModelServer::start().await;
        server.say(Say::text("y").stop("failed"));
        server.say(Say::text("x"));
        let turn = ask(&way.chain(&server), &said("a")).await.unwrap();
        assert_eq!((turn.text.as_str(), turn.attempts.len()), ("x", 1), "{way:?}");
    }
}

#[tokio::test]
async fn a_stream_may_break_anywhere() {
    let say = two_calls().delta(40);
    for way in WAYS {
        let server = ModelServer::start().await;
        server.say(say.clone());
        let chain = way.chain(&server);
        let whole = ask(&chain, &said("a")).await.unwrap();
        let mut cuts = 0;
        // Until it breaks after all that counts.
        loop {
            let before = server.requests().len();
            server.say(say.clone().cut_after(cuts));
            server.say(say.clone());
            let turn = ask(&chain, &said("a")).await.unwrap();
            assert_eq!(turn.raw, whole.raw, "{way:?} cut after {cuts}");
            match server.requests().len() - before {
                2 => {
                    assert_eq!(turn.attempts.len(), 1);
                    assert!(
                        turn.attempts[0].problem.contains("broke off"),
                        "{:?}",
                        turn.attempts
                    );
                    assert!(turn.spent().total() > turn.usage.total());
                }
                1 => {
                    assert_eq!(server.unused(), 1);
                    break;
                }
                other => panic!("asked {other} times"),
            }
            cuts += 1;
            assert!(cuts < 100, "{way:?}: never whole");
            if !STREAMS.contains(&way) {
                break;
            }
        }
        if STREAMS.contains(&way) {
            assert!(cuts > 8, "{way:?}: whole after {cuts}");
        }
    }
}

#[tokio::test]
async fn connections_break_before_an_answer() {
    for way in WAYS {
        let server = ModelServer::start().await;
        server.reply(Reply::hang_up());
        server.say(Say::text("x"));
        let turn = ask(&way.chain(&server), &said("a")).await.unwrap();
        assert_eq!((turn.attempts.len(), server.requests().len()), (1, 2), "{way:?}");

        let chain = way.chain(&server);
        drop(server);
        let error = ask(&chain, &said("a")).await.unwrap_err();
        assert!(
            error.to_string().contains("could not be reached at 127.0.0.1"),
            "{error}"
        );
        assert_eq!(error.class(), Class::Retry);
    }
}

/// With so little patience that silence is noticed in a moment.
fn impatient(way: Way, server: &ModelServer) -> Chain {
    let mut providers = way.providers(server);
    providers.timeouts.first = MILLISECOND * 300;
    providers.timeouts.silence = MILLISECOND * 300;
    // One that is not streamed says nothing for long.
    providers.timeouts.answer = MILLISECOND * if STREAMS.contains(&way) { 20_000 } else { 300 };
    chain(&providers, way.spec())
}

#[tokio::test]
async fn silence_is_noticed() {
    for way in STREAMS {
        let server = ModelServer::start().await;
        server.reply(Reply::silent());
        server.say(two_calls().silent_after(0));
        server.say(two_calls().silent_after(5));
        let began = Instant::now();
        let error = ask(&impatient(way, &server), &said("a")).await.unwrap_err();
        assert!(
            error.to_string().contains("was silent for 0.3 s (asked 3 times)"),
            "{error}"
        );
        assert!(began.elapsed() >= MILLISECOND * 900);
        // It may have read the prompt, each time.
        let once = server.requests()[0].body.len() as u64 / 4;
        assert!(error.spent().prompt() >= 3 * once, "{way:?} {:?}", error.spent());
    }
    for way in [Way::Chat, Way::Responses] {
        let server = ModelServer::start().await;
        server.reply(Reply::silent());
        let error = ask(&impatient(way, &server), &said("a")).await.unwrap_err();
        assert!(matches!(error, ModelError::TooSlow { .. }), "{error:?}");
        assert!(error.spent().prompt() > 0);
    }
}

#[tokio::test]
async fn slow_is_not_silent() {
    for way in STREAMS {
        let server = ModelServer::start().await;
        // All of it takes longer than silence may.
        server.say(Say::text("slowly but surely").delta(1).drip(MILLISECOND));
        let began = Instant::now();
        let turn = ask(&impatient(way, &server), &said("a")).await.unwrap();
        assert_eq!(turn.text, "slowly but surely");
        assert!(
            began.elapsed() > MILLISECOND * 600,
            "{way:?} {:?}",
            began.elapsed()
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_drip_without_an_event_is_silence() {
    for way in STREAMS {
        let server = ModelServer::start().await;
        for _ in 0..3 {
            let mut reply = Reply::new(200, "text/event-stream", "");
            reply.steps = vec![Step::Drip(vec![b'x'; 100_000].into(), MILLISECOND)];
            server.reply(reply);
        }
        let error = ask(&impatient(way, &server), &said("a")).await.unwrap_err();
        assert!(error.to_string().contains("was silent"), "{error}");
    }
}

#[tokio::test]
async fn comments_are_signs_of_life() {
    let server = ModelServer::start().await;
    let mut steps = Vec::new();
    for _ in 0..5 {
        steps.push(Step::Send(": PROCESSING\n\n".into()));
        steps.push(Step::Wait(MILLISECOND * 100));
    }
    steps.push(Step::Send(
        "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\r\n\r\n".into(),
    ));
    let mut reply = Reply::new(200, "text/event-stream", "");
    reply.steps = steps;
    server.reply(reply);
    let turn = ask(&impatient(Way::ChatStream, &server), &said("a"))
        .await
        .unwrap();
    assert_eq!((turn.text.as_str(), turn.estimated), ("x", true));
}

#[tokio::test]
async fn nothing_goes_on_beyond_the_deadline() {
    for way in WAYS {
        let server = ModelServer::start().await;
        server.reply(Reply::silent());
        let (result, _) = ask_seeing(&way.chain(&server), &said("a"), Some(MILLISECOND * 200)).await;
        let error = result.unwrap_err();
        assert!(matches!(error, ModelError::Deadline { .. }), "{error:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn odd_usage_is_not_believed() {
    let anthropic = |input: Value, output: Value| json!({"input_tokens": input, "output_tokens": output});
    let openai = |input: Value, output: Value| json!({"prompt_tokens": input, "completion_tokens": output, "input_tokens": input, "output_tokens": output});
    for way in WAYS {
        for (input, output) in [
            (json!(0), json!(0)),
            (json!(-7), json!(-1)),
            (json!(null), json!("many")),
            (json!(1), json!(1)),
        ] {
            let usage = match way {
                Way::Anthropic => anthropic(input, output),
                _ => openai(input, output),
            };
            for usage in [usage, Value::Null] {
                let server = ModelServer::start().await;
                server.say(Say::text(&"word ".repeat(100)).usage(usage.clone()));
                let turn = ask(&way.chain(&server), &said(&"word ".repeat(1000)))
                    .await
                    .unwrap();
                assert!(turn.estimated, "{way:?} {usage}");
                assert_eq!(
                    turn.usage.prompt(),
                    turn.sent_bytes.div_ceil(4),
                    "{way:?} {usage}"
                );
                assert_eq!(turn.usage.output, 125, "{way:?} {usage}");
            }
        }
    }
}

#[tokio::test]
async fn a_usage_that_shrinks_is_not_believed() {
    let server = ModelServer::start().await;
    server.say(Say::text("one").usage(json!({"input_tokens": 900, "output_tokens": 5})));
    server.say(Say::text("two").usage(json!({"input_tokens": 400, "output_tokens": 5})));
    let chain = Way::Anthropic.chain(&server);
    let first = said(&"word ".repeat(600));
    let one = ask(&chain, &first).await.unwrap();
    assert_eq!((one.usage.input, one.estimated), (900, false));
    let two = ask(&chain, &and(first, &one)).await.unwrap();
    assert_eq!(
        (two.usage.input, two.estimated),
        (two.sent_bytes.div_ceil(4), true)
    );
}

#[tokio::test]
async fn the_cache_is_counted_apart() {
    let server = ModelServer::start().await;
    server.say(Say::text("x").usage(json!({
        "input_tokens": 3, "output_tokens": 5, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 9000
    })));
    let turn = ask(&Way::Anthropic.chain(&server), &said("a")).await.unwrap();
    assert_eq!((turn.usage.budget_tokens(), turn.usage.prompt()), (208, 9203));
    server.say(Say::text("x").usage(json!({
        "prompt_tokens": 9203, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9000}
    })));
    let turn = ask(&Way::Chat.chain(&server), &said("a")).await.unwrap();
    assert_eq!((turn.usage.budget_tokens(), turn.usage.prompt()), (208, 9203));
}

#[tokio::test]
async fn another_model_gets_no_thoughts() {
    for (from, to) in [
        (Way::Anthropic, Way::Chat),
        (Way::Anthropic, Way::ResponsesStream),
        (Way::Chat, Way::Anthropic),
        (Way::Responses, Way::Anthropic),
    ] {
        let server = ModelServer::start().await;
        // An id that Anthropic would not take, and a call that can't be sent as it came.
        let id = "functions.execute_python:0";
        server.say(
            Say::text("look")
                .thinking("secret thought", "secret signature")
                .calls(id, "execute_python", r#"{"code":"1"}"#)
                .calls("call_2", "execute_python", "{broken"),
        );
        let turn = ask(&from.chain(&server), &said("a")).await.unwrap();
        let messages = and(said("a"), &turn);
        server.fail(Failure::new(404));
        server.say(Say::text("from the other one"));
        let http = Http::new(&server.providers().timeouts).unwrap();
        let model = |way: Way| {
            way.providers(&server)
                .model(&http, &way.spec().parse().unwrap())
                .unwrap()
        };
        let chain = Chain::new(model(from), QUICK).or(model(to), QUICK);
        let (result, seen) = ask_seeing(&chain, &messages, None).await;
        let other = result.unwrap();
        assert_eq!(server.problems(), Vec::<String>::new(), "{from:?} {to:?}");
        assert_eq!(other.asked.to_string(), to.spec());
        assert!(other.attempts[0].problem.contains("404"));
        assert!(
            seen.iter()
                .any(|progress| matches!(progress, Progress::FellBack { .. }))
        );
        let requests = server.requests();
        assert!(requests[1].body.contains("secret"), "{from:?}");
        assert!(!requests[2].body.contains("secret"), "{to:?}");
        assert!(!requests[2].body.contains(&format!("\"{id}\"")), "{to:?}");
        for text in ["look", "result of call_2", "c00001000", "c00001001"] {
            assert!(requests[2].body.contains(text), "{to:?} {text}");
        }
        // It stays with that one.
        server.say(Say::text("again"));
        let again = ask(&chain, &and(messages, &other)).await.unwrap();
        assert_eq!(
            (again.asked.to_string().as_str(), again.attempts.len()),
            (to.spec(), 0)
        );
        assert_eq!(server.problems(), Vec::<String>::new(), "{from:?} {to:?}");
    }
}

#[tokio::test]
async fn litellm_gives_arguments_as_objects() {
    let server = ModelServer::start().await;
    let body = json!({"id": "x", "choices": [{"finish_reason": "stop", "message": {
        "role": "assistant", "content": null, "tool_calls": [
            {"index": 0, "id": "123456789", "function": {"name": "execute_python", "arguments": {"code": "1"}}},
            {"index": 0, "id": "123456789", "function": {"name": "execute_python", "arguments": {"code": "2"}}},
        ]}}], "usage": {"prompt_tokens": 500, "completion_tokens": 9}});
    server.reply(Reply::new(200, "application/json", body.to_string()));
    server.say(Say::text("ok"));
    let chain = Way::Chat.chain(&server);
    let turn = ask(&chain, &said("a")).await.unwrap();
    assert_eq!(
        (given(&turn, 0), given(&turn, 1)),
        (json!({"code": "1"}), json!({"code": "2"}))
    );
    // Nine characters, left as they came; the repeated one could not be answered.
    assert_eq!(turn.tool_calls[0].id, "123456789");
    assert_eq!(turn.tool_calls[1].id.len(), 9);
    ask(&chain, &and(said("a"), &turn)).await.unwrap();
    assert_eq!(server.problems(), Vec::<String>::new());
}

#[tokio::test]
async fn keys_are_in_no_error() {
    for way in WAYS {
        let server = ModelServer::start().await;
        let said_key = format!("Incorrect API key provided: {KEY}. {}", "x".repeat(5000));
        server.fail(Failure::new(401).saying("authentication_error", &said_key));
        // Where it would be cut in the middle of the key.
        let page = format!("<html>{} {KEY}</html>", "y".repeat(480));
        server.reply(Reply::new(200, "text/html", page));
        let chain = way.chain(&server);
        for _ in 0..2 {
            let error = ask(&chain, &said("a")).await.unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("sk-test"), "{shown}");
            assert!(error.to_string().len() < 1000, "{error}");
        }
        assert!(!format!("{:?}", way.providers(&server)).contains("sk-test"));
    }
}

#[tokio::test]
async fn what_is_no_api_is_not_asked_again() {
    for way in WAYS {
        let replies = [
            Reply::new(200, "text/html", "<html>Welcome to the proxy</html>"),
            Reply::new(200, "application/json", "{}"),
            Reply::new(200, "application/json", "[1]"),
            Reply::new(302, "text/plain", "").header("location", "http://127.0.0.1:9/elsewhere"),
            Reply::new(200, "text/event-stream", "data: nonsense\n\n"),
            Reply::new(200, "text/event-stream", vec![0xff; 100]),
        ];
        for reply in replies {
            let server = ModelServer::start().await;
            let what = format!("{way:?} {reply:?}");
            // A stream with no events may have broken off.
            let no_event = STREAMS.contains(&way) && what.contains("xff");
            if no_event {
                continue;
            }
            server.reply(reply);
            let error = ask(&way.chain(&server), &said("a")).await.unwrap_err();
            assert_eq!(
                (error.class(), server.requests().len()),
                (Class::Elsewhere, 1),
                "{what}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_dropped_is_not_asked_for_again() {
    let server = ModelServer::start().await;
    server.reply(Reply::silent());
    let chain = Way::Anthropic.chain(&server);
    let messages = said("a");
    tokio::select! {
        _ = ask(&chain, &messages) => panic!("it is silent"),
        () = server.asked(1) => {}
    }
    server.say(Say::text("x"));
    ask(&chain, &said("b")).await.unwrap();
    assert_eq!(server.requests().len(), 2);
}

//! What agents do when models do this or that.

use serde_json::{Value, json};

use super::tools::{EXECUTE, SUBMIT};
use super::*;
use crate::llm::{Arguments, Request};

const LIMITS: Limits = Limits {
    tokens: 100_000,
    cost: None,
    turns: 50,
    time: Duration::from_mins(30),
};

fn agent() -> Agent {
    Agent::new("task".into(), LIMITS)
}

fn turn(calls: &[(&str, Value)]) -> Turn {
    let mut turn = crate::llm::tests::turn("anthropic/a", &[]);
    turn.text = String::new();
    turn.tool_calls = calls
        .iter()
        .enumerate()
        .map(|(index, (name, arguments))| ToolCall {
            id: format!("c{index}"),
            name: (*name).to_owned(),
            arguments: Arguments::Given(arguments.as_object().unwrap().clone()),
        })
        .collect();
    turn.usage.input = 100;
    turn
}

fn text(stop: StopReason) -> Turn {
    Turn {
        text: "hm".into(),
        stop,
        ..turn(&[])
    }
}

fn execute(code: &str) -> (&'static str, Value) {
    (EXECUTE, json!({"code": code}))
}

fn submit(page: &str) -> (&'static str, Value) {
    (SUBMIT, json!({"content": page}))
}

/// That the conversation is one that providers take.
fn is_valid(agent: &Agent) {
    Request {
        messages: agent.messages(),
        ..crate::llm::tests::request(&[])
    }
    .check()
    .unwrap();
}

fn last(agent: &Agent) -> String {
    match agent.messages().last().unwrap() {
        Message::User(text) => text.clone(),
        Message::ToolResults(results) => results.last().unwrap().content.clone(),
        Message::Assistant(turn) => panic!("{turn:?}"),
    }
}

#[test]
fn a_task_is_done_step_by_step() {
    let mut agent = agent();
    assert_eq!(agent.next(Duration::ZERO), Step::Ask);
    agent.answered(&turn(&[execute("1"), execute("2")]), None);
    assert_eq!(agent.next(Duration::ZERO), Step::Execute { index: 0, code: "1" });
    agent.ran("one", false);
    assert_eq!(agent.next(Duration::ZERO), Step::Execute { index: 1, code: "2" });
    agent.ran("two", true);
    assert_eq!(agent.next(Duration::ZERO), Step::Ask);
    is_valid(&agent);
    agent.answered(&turn(&[submit("<p>"), execute("late")]), None);
    assert_eq!(
        agent.next(Duration::ZERO),
        Step::Check {
            index: 0,
            page: "<p>"
        }
    );
    agent.checked(Some("no title"));
    assert_eq!(
        agent.next(Duration::ZERO),
        Step::Execute {
            index: 1,
            code: "late"
        }
    );
    agent.ran("", false);
    is_valid(&agent);
    agent.answered(&turn(&[submit("<h1>"), execute("never")]), None);
    agent.checked(None);
    assert_eq!(agent.next(Duration::ZERO), Step::Done { page: "<h1>" });
    assert_eq!(agent.spent().turns, 3);
}

#[test]
fn who_only_talks_is_reminded_twice() {
    let mut agent = agent();
    for stop in [StopReason::EndTurn, StopReason::MaxTokens] {
        agent.answered(&text(stop), None);
        assert_eq!(agent.next(Duration::ZERO), Step::Ask);
        is_valid(&agent);
    }
    assert!(last(&agent).contains("cut off"));
    // A call in between, and it begins anew.
    agent.answered(&turn(&[execute("1")]), None);
    agent.ran("1", false);
    for _ in 0..3 {
        assert_eq!(agent.next(Duration::ZERO), Step::Ask);
        agent.answered(&text(StopReason::Other("odd".into())), None);
    }
    assert_eq!(agent.next(Duration::ZERO), Step::GiveUp(Defeat::Silent));
}

#[test]
fn every_reason_to_stop_has_an_answer() {
    let mut refused = agent();
    refused.answered(
        &Turn {
            stop_detail: Some("bio".into()),
            ..text(StopReason::Refusal)
        },
        None,
    );
    let Step::GiveUp(defeat) = refused.next(Duration::ZERO) else {
        panic!()
    };
    assert_eq!(
        defeat.to_string(),
        "the model refused (bio); change the intent or the model"
    );

    let mut paused = agent();
    paused.answered(&text(StopReason::PauseTurn), None);
    assert_eq!(paused.next(Duration::ZERO), Step::Ask);
    is_valid(&paused);
    assert_eq!(last(&paused), "Go on.");

    let mut full = agent();
    full.answered(&text(StopReason::ContextWindowExceeded), None);
    assert_eq!(full.next(Duration::ZERO), Step::GiveUp(Defeat::TooLong));

    // A turn that was cut off: what is complete is run, what is not is answered.
    let mut cut = agent();
    let mut half = turn(&[execute("1"), execute("2")]);
    half.stop = StopReason::MaxTokens;
    half.tool_calls[1].arguments = Arguments::Malformed {
        problem: "the arguments were cut off before their end".into(),
        text: "{".into(),
    };
    cut.answered(&half, None);
    assert_eq!(cut.next(Duration::ZERO), Step::Execute { index: 0, code: "1" });
    cut.ran("1", false);
    is_valid(&cut);
    assert!(last(&cut).contains("cut off"));
    // Calls count, whatever the reason says.
    for stop in [StopReason::EndTurn, StopReason::Refusal, StopReason::PauseTurn] {
        let mut called = agent();
        called.answered(
            &Turn {
                stop,
                ..turn(&[execute("1")])
            },
            None,
        );
        assert_eq!(called.next(Duration::ZERO), Step::Execute { index: 0, code: "1" });
    }
}

#[test]
fn wrong_calls_are_answered_and_counted() {
    let mut agent = agent();
    for _ in 0..2 {
        agent.answered(&turn(&[("run", json!({})), (EXECUTE, json!({}))]), None);
        assert_eq!(agent.next(Duration::ZERO), Step::Ask);
        is_valid(&agent);
        assert!(last(&agent).contains("code is missing"));
    }
    agent.answered(&turn(&[("run", json!({}))]), None);
    assert_eq!(agent.next(Duration::ZERO), Step::GiveUp(Defeat::Clumsy));
}

#[test]
fn circles_are_noticed_and_ended() {
    let mut agent = agent();
    let mut told = Vec::new();
    while agent.next(Duration::ZERO) == Step::Ask {
        agent.answered(&turn(&[execute("1")]), None);
        agent.ran("1", false);
        told.push(last(&agent).contains("several times in a row"));
    }
    assert_eq!(told, [false, false, false, true, true, true]);
    assert_eq!(agent.next(Duration::ZERO), Step::GiveUp(Defeat::Circling));
}

#[test]
fn little_that_is_left_is_said() {
    let mut agent = Agent::new("task".into(), Limits { turns: 7, ..LIMITS });
    let mut told = Vec::new();
    for number in 0..7 {
        assert_eq!(agent.next(Duration::ZERO), Step::Ask);
        agent.answered(&turn(&[execute(&number.to_string())]), None);
        agent.ran("x", false);
        told.push(last(&agent));
    }
    assert_eq!(told[..4], ["x", "x", "x", "x"]);
    assert!(
        told[4].contains("2 turns and about 99500 tokens are left"),
        "{}",
        told[4]
    );
    assert!(told[5].contains("last turn"));
    assert!(matches!(
        agent.next(Duration::ZERO),
        Step::GiveUp(Defeat::UsedUp(UsedUp::Turns { limit: 7 }))
    ));
}

#[test]
fn nothing_is_asked_beyond_the_limits_but_what_was_asked_is_used() {
    let mut agent = Agent::new(
        "task".into(),
        Limits {
            tokens: 150,
            ..LIMITS
        },
    );
    assert_eq!(agent.max_output(), 1024);
    agent.answered(&turn(&[execute("1")]), None);
    agent.ran("1", false);
    let mut dear = turn(&[execute("2"), submit("<p>")]);
    dear.usage.output = 1000;
    agent.answered(&dear, None);
    assert_eq!(agent.next(Duration::ZERO), Step::Execute { index: 0, code: "2" });
    assert!(matches!(
        agent.next(LIMITS.time),
        Step::Execute { .. } | Step::GiveUp(Defeat::UsedUp(_))
    ));
    agent.ran("2", false);
    agent.checked(Some("bad"));
    assert!(matches!(
        agent.next(Duration::ZERO),
        Step::GiveUp(Defeat::UsedUp(UsedUp::Tokens { used: 1200, .. }))
    ));
    // With more it goes on where it was.
    agent.set_limits(LIMITS);
    assert_eq!(agent.next(Duration::ZERO), Step::Ask);
    is_valid(&agent);
}

#[test]
fn failed_tries_count() {
    let mut agent = Agent::new(
        "task".into(),
        Limits {
            tokens: 150,
            cost: Some(Cost(9)),
            ..LIMITS
        },
    );
    let usage = Usage {
        input: 140,
        ..Usage::default()
    };
    agent.unanswered(usage, Some(Cost(3)));
    assert_eq!(agent.next(Duration::ZERO), Step::Ask);
    agent.unanswered(Usage::default(), None);
    assert!(matches!(
        agent.next(Duration::ZERO),
        Step::GiveUp(Defeat::UsedUp(UsedUp::CostUnknown { .. }))
    ));
}

#[test]
fn old_results_go_before_the_window_is_full() {
    let mut agent = agent();
    for number in 0..8 {
        let mut turn = turn(&[execute(&number.to_string())]);
        if number == 7 {
            turn.usage.cache_read = 130_000;
        }
        agent.answered(&turn, None);
        agent.ran(&format!("{number}").repeat(1000), false);
    }
    is_valid(&agent);
    let lengths: Vec<usize> = agent
        .messages()
        .iter()
        .filter_map(|message| match message {
            Message::ToolResults(results) => Some(results[0].content.len()),
            _ => None,
        })
        .collect();
    assert!(lengths[..4].iter().all(|length| *length < 200), "{lengths:?}");
    assert!(lengths[4..].iter().all(|length| *length >= 1000), "{lengths:?}");
    // The model says that it is still too long: results go, then its answers are kept shorter.
    let mut tries = 0;
    while agent.shorten() {
        tries += 1;
    }
    assert_eq!(agent.next(Duration::ZERO), Step::GiveUp(Defeat::TooLong));
    assert!((2..8).contains(&tries), "{tries}");
}

#[test]
fn notices_are_told_with_the_next_result() {
    let mut agent = agent();
    agent.notice("at the begin");
    assert_eq!(last(&agent), "task\n\nat the begin");
    agent.answered(&turn(&[execute("1")]), None);
    agent.notice("in between");
    agent.ran("1", false);
    assert_eq!(last(&agent), "in between\n\n1");
    agent.notice("afterwards");
    assert_eq!(last(&agent), "in between\n\n1\n\nafterwards");
    is_valid(&agent);
}

#[test]
fn nothing_is_answered_within_what_was_said_last() {
    let mut agent = agent();
    agent.answered(&turn(&[execute("1")]), None);
    agent.ran("1", false);
    let before = agent.messages().len();
    for stop in [StopReason::EndTurn, StopReason::PauseTurn] {
        let empty = Turn { stop, ..turn(&[]) };
        agent.answered(&empty, None);
        assert_eq!(agent.next(Duration::ZERO), Step::Ask);
        assert_eq!(agent.messages().len(), before);
        is_valid(&agent);
    }
    assert!(
        last(&agent).starts_with("1\n\nYou have not called a tool"),
        "{}",
        last(&agent)
    );
    assert!(last(&agent).ends_with("Go on."));
    agent.answered(&turn(&[]), None);
    assert_eq!(agent.next(Duration::ZERO), Step::GiveUp(Defeat::Silent));
    assert!(agent.try_again());
    assert_eq!(agent.next(Duration::ZERO), Step::Ask);
    is_valid(&agent);
}

#[test]
fn one_turn_of_equal_calls_is_a_circle_once() {
    let mut agent = agent();
    let calls = vec![execute("1"); 8];
    for told in 1..=3 {
        assert_eq!(agent.next(Duration::ZERO), Step::Ask, "{told}");
        agent.answered(&turn(&calls), None);
        for _ in 0..8 {
            agent.ran("1", false);
        }
    }
    assert_eq!(agent.next(Duration::ZERO), Step::GiveUp(Defeat::Circling));
}

#[test]
fn who_refused_can_be_asked_again() {
    let mut agent = agent();
    agent.answered(&text(StopReason::Refusal), None);
    assert!(agent.try_again());
    assert_eq!(agent.next(Duration::ZERO), Step::Ask);
    is_valid(&agent);
}

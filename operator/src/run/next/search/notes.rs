//! What entries say in the search: as few words as tell all of a journal, and the texts that stand for the others.

use std::time::Duration;

use serde_json::{Value, json};

use crate::agent::Step;
use crate::agent::budget::Limits;
use crate::agent::prompts::Role;
use crate::agent::tools::{EXECUTE, SUBMIT};
use crate::llm::{Arguments, StopReason, ToolCall, Turn};
use crate::run::preflight::Survey;
use crate::run::record::{Asked, Beginning, Claim, Ran, Record};
use crate::run::state::{State, Work};
use crate::sandbox::{State as Variables, Status};

/// What an agent may use.
pub(super) const LIMITS: Limits = Limits {
    tokens: 1_000_000,
    cost: None,
    turns: 3,
    time: Duration::from_mins(30),
};

const GOOD: &str =
    "<!doctype html><html lang=\"en\"><head><title>Shop</title></head><body><h1>Shop</h1></body></html>";
const BAD: &str = "<script>1</script>";

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Note {
    Resumed,
    Surveyed,
    /// With the number of the sandbox.
    Ready(Role, u8),
    Began(Role),
    Answered(Answer),
    Unanswered,
    Ran(Fate),
    Checked,
    /// With the number of the failure.
    Ended(Role, u8),
    /// With the number of the content.
    Published(u16),
    Finished {
        no_summary: bool,
    },
}

/// What a model may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    /// Code.
    Execute,
    /// A page that is accepted.
    Submit,
    /// One that is not.
    Wrong,
    /// Code and a page.
    Both,
    /// That it does not want to.
    Refuse,
}

/// What becomes of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fate {
    Ran,
    /// It ran, and its session is lost.
    Forgotten,
    /// The sandbox is lost with it.
    Lost,
}

/// A model's answer, as turn number `after` + 1.
pub(super) fn turn(answer: Answer, after: u32) -> Turn {
    let code = (EXECUTE, json!({"code": format!("x{after} = {after}")}));
    let page = |page: &str| (SUBMIT, json!({"content": page}));
    let calls: Vec<(&str, Value)> = match answer {
        Answer::Execute => vec![code],
        Answer::Submit => vec![page(GOOD)],
        Answer::Wrong => vec![page(BAD)],
        Answer::Both => vec![code, page(GOOD)],
        Answer::Refuse => Vec::new(),
    };
    let calls = calls.into_iter().zip(0..);
    Turn {
        tool_calls: calls
            .map(|((name, arguments), index)| ToolCall {
                id: format!("c{after}.{index}"),
                name: name.to_owned(),
                arguments: Arguments::Given(arguments.as_object().unwrap().clone()),
            })
            .collect(),
        stop: if answer == Answer::Refuse {
            StopReason::Refusal
        } else {
            StopReason::ToolUse
        },
        ..crate::llm::tests::turn("anthropic/a", &[])
    }
}

/// What the run was begun for.
pub(super) fn claim() -> Claim {
    Claim {
        run: "20261121T120000Z".parse().unwrap(),
        cataloger: "0".to_owned(),
        installation: "here".to_owned(),
        catalog: None,
        order: None,
        subject: None,
        fingerprint: String::new(),
        asked: Asked {
            database: "sqlite:///shop.db".to_owned(),
            tables: vec!["orders".to_owned()],
            intent: None,
            storage: "here".to_owned(),
            model: "anthropic/a".parse().unwrap(),
            fallbacks: Vec::new(),
            prompts: Vec::new(),
        },
        limits: LIMITS,
        manifest: Value::Null,
    }
}

/// What is said where a note alone tells it.
pub(super) fn plain(note: Note) -> Record {
    match note {
        Note::Resumed => Record::Resumed { limits: LIMITS },
        Note::Surveyed => Record::Surveyed(Survey {
            engine: "SQLite".to_owned(),
            version: "3".to_owned(),
            role: "reader".to_owned(),
            tables: Vec::new(),
            proof: Vec::new(),
            writes: Vec::new(),
            notes: Vec::new(),
        }),
        Note::Began(role) => Record::Began(Beginning {
            role,
            task: "document it".to_owned(),
            earlier: Vec::new(),
        }),
        Note::Unanswered => Record::Unanswered {
            problem: "it is away".to_owned(),
            attempts: Vec::new(),
            cost: None,
        },
        Note::Finished { no_summary } => Record::Finished {
            warnings: no_summary
                .then(|| "there is no summary".to_owned())
                .into_iter()
                .collect(),
        },
        note => panic!("{note:?} follows from more than itself"),
    }
}

/// What became of the code that is next.
pub(super) fn ran(state: &State, fate: Fate) -> Ran {
    let (_, work) = at_work(state);
    let Step::Execute { code, .. } = work.agent.next(Duration::ZERO) else {
        panic!("no code is to be run");
    };
    Ran {
        code: code.to_owned(),
        told: "1".to_owned(),
        status: (fate != Fate::Lost).then_some(Status::Ok),
        state: if fate == Fate::Forgotten {
            Variables::Lost
        } else {
            Variables::Kept
        },
        raised: None,
        milliseconds: 1,
    }
}

/// The page that is to be checked, and whose.
pub(super) fn handed_in(state: &State) -> (Role, &str) {
    let (role, work) = at_work(state);
    let Step::Check { page, .. } = work.agent.next(Duration::ZERO) else {
        panic!("no page is to be checked");
    };
    (role, page)
}

fn at_work(state: &State) -> (Role, &Work) {
    let role = state.at_work().unwrap();
    (role, state.of(role).unwrap())
}

//! The writer, with an API server that has one object.

use serde_json::{Value, json};

use super::super::fake::{Fate, Server};
use super::*;
use crate::llm::account::{Answer, Hold, Period};

const BUDGET: Option<Budget> = Some(Budget {
    amount: Cost(1_000_000),
    period: Period::Month,
});

fn spec() -> Value {
    json!({"builtin": {}, "budget": {"amount": 1}})
}

fn writer(server: &Server) -> Status {
    Status::new(&server.client(), &server.object(), BUDGET)
}

/// What a request does that costs at most so much.
async fn admit(status: &Status, worst: u64) -> Hold {
    loop {
        let answer = lock(&status.ledger).admit(Some(Cost(worst)), Timestamp::now());
        match answer {
            Answer::Go(hold) => return hold,
            Answer::Write => status.reserve(Cost(worst)).await.unwrap(),
            answer => panic!("{answer:?}"),
        }
    }
}

fn settle(status: &Status, hold: Hold, cost: u64) {
    lock(&status.ledger).settle(hold, Some(Cost(cost)), Timestamp::now());
}

fn stands(server: &Server) -> (f64, f64) {
    let number = |name: &str| server.status(name).as_f64().unwrap_or(-1.0);
    (number("/spending/spent"), number("/spending/reserved"))
}

#[tokio::test(start_paused = true)]
async fn what_may_be_spent_is_written_before_and_what_was_spent_after() {
    let server = Server::new(&spec(), &json!(null));
    let status = writer(&server);
    status.know(Some(1), Standing::new(Reason::Ready, "fine"), true);
    let hold = admit(&status, 5_000).await;
    assert_eq!(stands(&server), (0.0, 0.01));
    assert_eq!(server.status("/conditions/0/status"), json!("True"));
    settle(&status, hold, 4_000);
    let hold = admit(&status, 5_000).await;
    settle(&status, hold, 4_000);
    // That may wait, and does no longer than it should.
    let due = status.tend(false).await.unwrap().unwrap();
    assert_eq!((server.asked("PATCH status"), stands(&server)), (1, (0.0, 0.01)));
    tokio::time::sleep_until(due).await;
    assert_eq!(status.tend(false).await.unwrap(), None);
    assert_eq!((server.asked("PATCH status"), stands(&server)), (2, (0.008, 0.0)));
    assert_eq!(status.tend(true).await.unwrap(), None);
    assert_eq!(server.asked("PATCH status"), 2);
    // At the end nothing waits.
    let hold = admit(&status, 5_000).await;
    settle(&status, hold, 1_000);
    status.tend(true).await.unwrap();
    assert_eq!(stands(&server), (0.009, 0.0));
    assert_eq!(server.asked("GET modelproviders"), 0);
}

#[tokio::test]
async fn whoever_comes_next_counts_what_was_set_aside() {
    let server = Server::new(&spec(), &json!(null));
    let dead = writer(&server);
    let _never_settled = admit(&dead, 300_000).await;
    let next = writer(&server);
    let figures = lock(&next.ledger).figures(Timestamp::now());
    assert_eq!((figures.spent, figures.reserved), (Cost(300_000), Cost(0)));
    // And what the dead one still does is refused, or counted.
    let _ = admit(&next, 100_000).await;
    dead.reserve(Cost(400_000)).await.unwrap();
    assert_eq!(lock(&dead.ledger).figures(Timestamp::now()).spent, Cost(400_000));
    next.reserve(Cost(1)).await.unwrap();
    assert_eq!(lock(&next.ledger).figures(Timestamp::now()).spent, Cost(800_000));
    let answer = lock(&next.ledger).admit(Some(Cost(300_000)), Timestamp::now());
    assert!(matches!(answer, Answer::No(_)), "{answer:?}");
}

#[tokio::test]
async fn changes_of_others_do_not_stop_it() {
    let server = Server::new(&spec(), &json!(null));
    let status = writer(&server);
    let hold = admit(&status, 5_000).await;
    server.change(|object| object["metadata"]["labels"] = json!({"a": "b"}));
    status.reserve(Cost(100_000)).await.unwrap();
    assert_eq!(
        (server.asked("PATCH status"), server.asked("GET modelproviders")),
        (3, 1)
    );
    settle(&status, hold, 1_000);
    assert_eq!(lock(&status.ledger).figures(Timestamp::now()).spent, Cost(1_000));
    // Somebody thinks that nothing was spent.
    server.change(|object| object["status"]["spending"]["spent"] = json!(0));
    server.change(|object| object["status"]["spending"]["reserved"] = json!(0));
    status.tend(true).await.unwrap();
    assert_eq!(stands(&server), (0.001, 0.0));
    // It is another one.
    server.change(|object| object["metadata"]["uid"] = json!("u2"));
    let error = status.reserve(Cost(200_000)).await.unwrap_err();
    assert_eq!(error.to_string(), "there is another one of this name");
}

#[tokio::test]
async fn a_write_without_an_answer_is_recognized() {
    let server = Server::new(&spec(), &json!(null));
    let status = writer(&server);
    server.fate(Fate::Unanswered);
    server.fate(Fate::Lost);
    status.reserve(Cost(1_000)).await.unwrap_err();
    let error = status.reserve(Cost(2_000)).await.unwrap_err();
    assert_eq!(error.to_string(), "scripted: InternalError");
    assert!(stands(&server).1 > 0.0);
    let hold = admit(&status, 1_000).await;
    assert_eq!(lock(&status.ledger).figures(Timestamp::now()).spent, Cost(0));
    settle(&status, hold, 500);
    status.tend(true).await.unwrap();
    assert_eq!(stands(&server), (0.0005, 0.0));
}

#[tokio::test]
async fn what_nobody_understands_leaves_nothing() {
    let server = Server::new(&spec(), &json!({"spending": {"spent": "much"}}));
    let status = writer(&server);
    let answer = lock(&status.ledger).admit(Some(Cost(1)), Timestamp::now());
    assert!(matches!(answer, Answer::No(_)), "{answer:?}");
    status.know(Some(1), Standing::new(Reason::Ready, "fine"), false);
    status.tend(false).await.unwrap();
    assert_eq!(server.status("/conditions/0/reason"), json!("BudgetUsedUp"));
    assert_eq!(stands(&server), (1.0, 0.0));
}

#[tokio::test]
async fn without_a_budget_nothing_is_said_of_money_before_there_is_some() {
    let server = Server::new(&json!({"builtin": {}}), &json!(null));
    let status = Status::new(&server.client(), &server.object(), None);
    status.tend(false).await.unwrap();
    assert_eq!(server.status("/spending"), Value::Null);
    assert_eq!(server.status("/conditions/0/reason"), json!("Checking"));
    let hold = admit(&status, 5_000).await;
    assert_eq!(server.asked("PATCH status"), 1);
    settle(&status, hold, 7);
    status.tend(true).await.unwrap();
    assert_eq!(stands(&server), (0.000_007, 0.0));
}

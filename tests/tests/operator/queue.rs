//! Whose turn it is where more is asked for than may run at once; and that what is measured is what has happened.

use std::time::Duration;

use cataloger::api::Catalog;
use cataloger::api::catalog::Phase;
use cataloger_tests::author::{Asker, place};
use cataloger_tests::model_server::{KEY, ModelServer, Script};
use cataloger_tests::operator::{NODE, Operator, Settings, Tenant, condition, phase};
use cataloger_tests::served::Served;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::saying;

/// What each answer says that it has used: by its name in the metric and in the answer, how many, and what a million of
/// them costs. It has to be believed: a count that is too small for what was sent would be replaced by an estimate.
const USED: [(&str, &str, u32, u32); 4] = [
    ("input", "input_tokens", 5000, 3),
    ("output", "output_tokens", 900, 15),
    ("cache_write", "cache_creation_input_tokens", 700, 4),
    ("cache_read", "cache_read_input_tokens", 6000, 1),
];
/// A metric, labels, and what it has to be.
type Measured = (&'static str, &'static [&'static str], u32);
/// How long what is measured may come after what is told, and how often it is looked at.
const SOON: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(250);
/// The turns of a run.
const TURNS: u32 = 4;
/// The answers of all runs.
const ANSWERS: u32 = 4 * TURNS;
/// While one is at work and three wait.
const WAITING: [Measured; 8] = [
    ("cataloger_queue_length", &[], 3),
    ("cataloger_active_runs", &[], 1),
    ("cataloger_active_runs", &["phase=\"cataloging\""], 1),
    ("cataloger_runs_total", &[], 0),
    ("cataloger_model_calls_total", &[], 0),
    ("cataloger_tokens_total", &[], 0),
    ("cataloger_leader", &[], 1),
    ("cataloger_build_info", &["version=\""], 1),
];
/// Once all four have succeeded.
const DONE: [Measured; 12] = [
    ("cataloger_queue_length", &[], 0),
    ("cataloger_active_runs", &[], 0),
    ("cataloger_runs_total", &["outcome=\"succeeded\""], 4),
    ("cataloger_runs_total", &[], 4),
    ("cataloger_run_seconds_count", &["outcome=\"succeeded\""], 4),
    (
        "cataloger_model_calls_total",
        &["provider=\"anthropic\"", "outcome=\"answered\""],
        ANSWERS,
    ),
    ("cataloger_model_calls_total", &[], ANSWERS),
    ("cataloger_leaves_total", &[], ANSWERS),
    (
        "cataloger_tool_calls_total",
        &["tool=\"execute_python\"", "outcome=\"ok\""],
        8,
    ),
    (
        "cataloger_tool_calls_total",
        &["tool=\"submit_html\"", "outcome=\"ok\""],
        8,
    ),
    (
        "cataloger_sandbox_start_seconds_count",
        &["outcome=\"started\""],
        4,
    ),
    ("cataloger_status_writes_total", &["outcome=\"error\""], 0),
];

/// A model each of whose answers has used the same.
async fn frugal() -> ModelServer {
    let server = ModelServer::start_at(NODE).await;
    let author = saying("<p>in turn</p>");
    server.think(move |recorded| {
        let used: Value = USED
            .iter()
            .map(|(_, name, tokens, _)| ((*name).to_owned(), json!(tokens)))
            .collect();
        match author.answer(recorded) {
            Script::Say(said) => Script::Say(Box::new(said.usage(used))),
            other => other,
        }
    });
    server
}

/// Its provider in a namespace, and the choice of it.
async fn chosen(tenant: &Tenant<'_>, server: &ModelServer) -> Value {
    tenant.secret("frugal", &[("key", KEY)]).await;
    let price = |at: usize| USED[at].3;
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": "frugal", "key": "key"}, "baseURL": server.url()},
        "defaultModel": "frugal",
        "prices": {"frugal": {
            "input": price(0), "output": price(1), "cacheWrite": price(2), "cacheRead": price(3),
        }},
    });
    tenant.provider("frugal", spec).await;
    json!({"model": {"providerRef": {"name": "frugal"}}})
}

/// What the model is told of whom it works for.
fn intent(name: &str) -> String {
    format!("It is for {name}.")
}

/// For whom it was asked first, in that order.
fn turns(server: &ModelServer) -> Vec<&'static str> {
    let requests = server.requests().into_iter();
    let firsts = requests.filter(|request| place(request) == (Asker::Catalog, 0));
    firsts
        .map(|request| {
            let mut names = ["a1", "a2", "a3", "b1"].into_iter();
            let whose = names.find(|name| request.body.contains(&intent(name)));
            whose.expect("it was told for whom")
        })
        .collect()
}

/// Whether a Catalog says that it has this place in the queue.
fn is_queued(catalog: &Catalog, place: &str) -> bool {
    let run = catalog.status.as_ref().and_then(|status| status.run.as_ref());
    run.is_some_and(|run| {
        let message = run.message.as_deref().unwrap_or_default();
        run.reason.as_deref() == Some("Queued")
            && message.starts_with(&format!("waits for its turn: {place} in the queue"))
    })
}

/// Waits until a metric is so much. An end is counted once it is written down, so a status may be there before.
async fn measured(operator: &Operator, pod: &str, name: &str, labels: &[&str], wanted: f64) {
    let began = Instant::now();
    loop {
        let found = operator.metric(pod, name, labels).await;
        if found.is_some_and(|found| (found - wanted).abs() < 1e-6) {
            return;
        }
        assert!(
            began.elapsed() < SOON,
            "{name} {labels:?}: {found:?}, not {wanted}"
        );
        sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_take_turns_and_all_of_it_is_counted() {
    let settings = Settings::default()
        .set("MAX_RUNS", "1")
        .set("ALLOW_BASE_URL", &format!("http://{NODE}:*"));
    let Some(operator) = Operator::own("queue", &settings).await else {
        return;
    };
    let (a, b, shop) = (
        operator.tenant("a"),
        operator.tenant("b"),
        Served::postgres_shop(),
    );
    let (server, url) = (frugal().await, shop.reader());
    let begin = async |tenant: &Tenant<'_>, name: &str, choice: &Value| {
        let mut rest = choice.clone();
        rest["intent"] = intent(name).into();
        tenant.begin(name, &url, rest).await;
    };
    let queued = async |tenant: &Tenant<'_>, name: &str, place: &str| {
        let what = format!("{place} in the queue");
        tenant.until(name, &what, |it| is_queued(it, place)).await
    };
    let choice = [chosen(&a, &server).await, chosen(&b, &server).await];

    // One is at work, and three wait: the other namespace's comes last, and has had nothing yet.
    server.hold();
    begin(&a, "a1", &choice[0]).await;
    a.until("a1", "at work", |it| phase(it) == Some(Phase::Cataloging))
        .await;
    begin(&a, "a2", &choice[0]).await;
    queued(&a, "a2", "1 of 1").await;
    begin(&a, "a3", &choice[0]).await;
    queued(&a, "a3", "2 of 2").await;
    begin(&b, "b1", &choice[1]).await;
    let first = queued(&b, "b1", "1 of 3").await;
    assert_eq!(phase(&first), Some(Phase::Pending));
    let reconciling = condition(&first, "Reconciling").unwrap();
    assert_eq!(
        (reconciling.status.as_str(), reconciling.reason.as_str()),
        ("True", "Queued")
    );
    // Whoever was overtaken is told so.
    queued(&a, "a2", "2 of 3").await;
    queued(&a, "a3", "3 of 3").await;

    let pod = operator.leader().await;
    for (name, labels, wanted) in WAITING {
        measured(&operator, &pod, name, labels, wanted.into()).await;
    }

    server.let_go();
    let mut cost = 0.0;
    for (tenant, name) in [(&a, "a1"), (&b, "b1"), (&a, "a2"), (&a, "a3")] {
        let run = tenant.succeeded(name).await.status.unwrap().run.unwrap();
        cost += run.usage.unwrap().cost.unwrap();
    }
    assert_eq!(turns(&server), ["a1", "b1", "a2", "a3"]);
    assert_eq!(server.problems(), Vec::<String>::new());

    // The model server's own count, and the statuses', are the metrics'.
    assert_eq!(server.requests().len(), ANSWERS as usize);
    for (name, labels, wanted) in DONE {
        measured(&operator, &pod, name, labels, wanted.into()).await;
    }
    let mut paid = 0;
    for (kind, _, tokens, price) in USED {
        let (label, all) = (format!("kind=\"{kind}\""), ANSWERS * tokens);
        measured(&operator, &pod, "cataloger_tokens_total", &[&label], all.into()).await;
        paid += all * price;
    }
    assert!(
        (f64::from(paid) / 1e6 - cost).abs() < 1e-6,
        "{cost} in the statuses"
    );
    measured(&operator, &pod, "cataloger_cost_dollars_total", &[], cost).await;
}

//! Several models of one provider, and several runs: who answers, and how fast may be asked.

use cataloger_tests::author::Move;
use cataloger_tests::model_server::{Failure, KEY, ModelServer, Recorded, Script};
use cataloger_tests::operator::{NODE, Operator, read};
use cataloger_tests::served::Served;
use serde_json::json;

use crate::{model, saying};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_model_answers_where_one_cannot() {
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("b"), Served::postgres_shop());
    let server = ModelServer::start_at(NODE).await;
    let author = saying("<p>Said by the third</p>");
    // One that is not there, and one that never has time.
    server.think(move |recorded| match recorded.json()["model"].as_str() {
        Some("first") => Script::Fail(Failure::new(404)),
        Some("second") => Script::Fail(Failure::new(529)),
        _ => author.answer(recorded),
    });
    let name = tenant.unique("chain");
    tenant.secret(&name, &[("key", KEY)]).await;
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": name, "key": "key"}, "baseURL": server.url()},
        "defaultModel": "first", "fallbacks": ["second", "third"],
    });
    tenant.provider(&name, spec).await;
    let choice = json!({"model": {"providerRef": {"name": name}}});
    tenant.begin(&name, &shop.reader(), choice).await;
    let status = tenant.succeeded(&name).await.status.unwrap();
    assert_eq!(
        status.run.unwrap().model.as_deref(),
        Some("anthropic/third"),
        "who wrote it"
    );
    let artifacts = status.artifacts.unwrap();
    let page = read(&artifacts.catalog).await;
    assert!(String::from_utf8_lossy(&page).contains("Said by the third"));
    // Each of both agents has asked them in order, the second as often as is of use, and stayed with who answered.
    let asked: Vec<String> = server
        .requests()
        .iter()
        .map(|request| request.json()["model"].as_str().unwrap().to_owned())
        .collect();
    let times = |model: &str| asked.iter().filter(|it| *it == model).count();
    assert_eq!(
        (times("first"), times("second"), times("third")),
        (2, 8, 4),
        "{asked:?}"
    );
    assert_eq!(server.problems(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_one_provider_share_its_rate() {
    /// Requests in a minute.
    const RATE: u32 = 6;
    /// The turns of each run: within the rate, if it were alone.
    const TURNS: usize = 5;
    /// How many may seem to be too early, since others before them were late on their way.
    const LATE: f64 = 1.0;
    let Some(operator) = Operator::shared().await else {
        return;
    };
    let (tenant, shop) = (operator.tenant("a"), Served::postgres_shop());
    let mut author = saying("<p>no hurry</p>");
    author.catalog.insert(1, Move::Execute("6 * 7".into()));
    let server = model(author).await;
    let provider = tenant.unique("slow");
    tenant.secret(&provider, &[("key", KEY)]).await;
    let spec = json!({
        "anthropic": {"apiKeySecretRef": {"name": provider, "key": "key"}, "baseURL": server.url()},
        "defaultModel": "claude-sonnet-5-5", "limits": {"requestsPerMinute": RATE},
    });
    tenant.provider(&provider, spec).await;
    let choice = json!({"model": {"providerRef": {"name": provider}}});
    let (names, url) = ([tenant.unique("one"), tenant.unique("other")], shop.reader());
    for name in &names {
        tenant.begin(name, &url, choice.clone()).await;
    }
    for name in &names {
        tenant.succeeded(name).await;
    }
    let mut came: Vec<Recorded> = server.requests();
    assert_eq!(came.len(), names.len() * TURNS);
    came.sort_by_key(|request| request.at);
    // A bucket that is full at first, and fills evenly: in no time are there more than it held and what it got.
    for (from, first) in came.iter().enumerate() {
        let mut many = 0.0;
        for last in &came[from..] {
            many += 1.0;
            let time = last.at.duration_since(first.at).as_secs_f64();
            let most = f64::from(RATE) * (1.0 + time / 60.0) + LATE;
            assert!(many <= most, "{many} requests within {time} s, not {most}");
        }
    }
    assert_eq!(server.problems(), Vec::<String>::new());
}

//! No run uses more than it may, by more than the turn that used the last of it, whatever a provider says.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cataloger::agent::budget::Limits;
use cataloger::llm::prices::Cost;
use cataloger::llm::{OpenAiApi, Usage};
use cataloger::run::{Kind, Parts, Plan, RunError, Sandboxes};
use cataloger_tests::author::{Asker, Author, Move, page, place, results};
use cataloger_tests::model_server::{Recorded, Say, Script};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::scene::{self, MODEL, Scene};
use crate::stage::{PLENTY, Warm, chain, resume, spec, start};

const CHAT: &str = "openai/gpt-6-sol";

/// Says what a turn has used: the number of the request, from 0, and what was sent, in tokens of four bytes.
type Reports = fn(u64, u64) -> Option<Value>;

/// Looks at something else in each turn, for ever.
fn restless(reports: Reports) -> impl FnMut(&Recorded) -> Script + Send + 'static {
    let mut number = 0;
    move |recorded| {
        let sent = recorded.body.len().div_ceil(4) as u64;
        let code = json!({"code": format!("looked_at = {number}")});
        let mut say = Say::call(&format!("call_{number}"), "execute_python", &code);
        if let Some(usage) = reports(number, sent) {
            say = say.usage(usage);
        }
        number += 1;
        Script::Say(Box::new(say))
    }
}

/// What one entry of a journal has used.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    tokens: u64,
    cost: Option<u64>,
    turns: u32,
}

fn tokens(usage: &Value) -> u64 {
    let usage: Usage = serde_json::from_value(usage.clone()).unwrap();
    usage.budget_tokens()
}

fn of_attempts(attempts: &Value) -> u64 {
    let attempts = attempts.as_array().into_iter().flatten();
    attempts
        .map(|attempt| tokens(&attempt["spent"]))
        .fold(0, u64::saturating_add)
}

/// What each question to a model has used.
fn used(records: &[Value]) -> Vec<Used> {
    let asked = |record: &Value| {
        if let Some(answered) = record.get("answered") {
            let turn = &answered["turn"];
            return Some(Used {
                tokens: tokens(&turn["usage"]).saturating_add(of_attempts(&turn["attempts"])),
                cost: answered["cost"].as_u64(),
                turns: 1,
            });
        }
        let unanswered = record.get("unanswered")?;
        Some(Used {
            tokens: of_attempts(&unanswered["attempts"]),
            cost: unanswered["cost"].as_u64(),
            turns: 0,
        })
    };
    records.iter().filter_map(asked).collect()
}

/// That something was left of each limit before each question.
fn is_within(records: &[Value], limits: &Limits, case: &str) {
    let mut sum = Used {
        cost: Some(0),
        ..Used::default()
    };
    for (number, used) in used(records).into_iter().enumerate() {
        assert!(
            sum.tokens < limits.tokens,
            "{case}: tokens before question {number}: {sum:?}"
        );
        assert!(
            sum.turns < limits.turns,
            "{case}: turns before question {number}: {sum:?}"
        );
        if let Some(limit) = limits.cost {
            let so_far = sum.cost.unwrap_or(u64::MAX);
            assert!(so_far < limit.0, "{case}: cost before question {number}: {sum:?}");
        }
        sum.tokens = sum.tokens.saturating_add(used.tokens);
        sum.cost = sum.cost.zip(used.cost).map(|(a, b)| a.saturating_add(b));
        sum.turns += used.turns;
    }
}

const REPORTS: [(&str, Reports); 10] = [
    ("honest", |_, _| None),
    ("absent", |_, _| Some(Value::Null)),
    ("empty", |_, _| Some(json!({}))),
    ("zero", |_, _| {
        Some(
            json!({"input_tokens": 0, "output_tokens": 0, "prompt_tokens": 0, "completion_tokens": 0,
            "total_tokens": 0, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}),
        )
    }),
    ("negative", |_, _| {
        Some(
            json!({"input_tokens": -9000, "output_tokens": -1, "prompt_tokens": -9000, "completion_tokens": -1,
            "total_tokens": -9001, "cache_read_input_tokens": -5000, "cache_creation_input_tokens": -7,
            "prompt_tokens_details": {"cached_tokens": -5000}}),
        )
    }),
    ("shrinking", |number, sent| {
        let less = sent.saturating_sub(700 * number);
        Some(
            json!({"input_tokens": less, "output_tokens": 20, "prompt_tokens": less, "completion_tokens": 20}),
        )
    }),
    ("absurd", |_, _| {
        Some(
            json!({"input_tokens": u64::MAX, "output_tokens": i64::MAX, "prompt_tokens": u64::MAX,
            "completion_tokens": i64::MAX, "total_tokens": 1e300, "cache_read_input_tokens": u64::MAX,
            "cache_creation_input_tokens": i64::MAX}),
        )
    }),
    ("no numbers", |_, _| {
        Some(
            json!({"input_tokens": "many", "output_tokens": null, "prompt_tokens": [1], "completion_tokens": {}}),
        )
    }),
    ("cached", |number, sent| {
        let (write, read) = if number == 0 {
            (sent - 10, 0)
        } else {
            (60, sent - 70)
        };
        Some(
            json!({"input_tokens": 10, "output_tokens": 30, "cache_creation_input_tokens": write,
            "cache_read_input_tokens": read, "prompt_tokens": sent, "completion_tokens": 30,
            "total_tokens": sent + 30,
            "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": write}}),
        )
    }),
    ("more cached than sent", |_, sent| {
        Some(
            json!({"input_tokens": 0, "output_tokens": 1, "cache_read_input_tokens": sent * 50,
            "prompt_tokens": sent, "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": sent * 50}}),
        )
    }),
];

/// Models, by all ways to ask them.
const WIRES: [(&str, OpenAiApi); 3] = [
    (MODEL, OpenAiApi::ChatCompletions),
    (CHAT, OpenAiApi::ChatCompletions),
    (CHAT, OpenAiApi::Responses),
];

/// A run of a model that never ends by itself: how it ended, and how many requests there were.
async fn overrun(
    (model, api): (&str, OpenAiApi),
    case: &str,
    reports: Reports,
    limits: Limits,
    warm: &Arc<Warm>,
) -> (Value, usize) {
    let scene = Scene::new().await;
    scene.server.think(restless(reports));
    let plan = Plan {
        model: spec(model),
        limits,
        ..scene.plan()
    };
    let mut providers = scene.server.providers();
    providers.openai.api = api;
    let parts = Parts {
        proven: std::sync::Arc::default(),
        sandboxes: Arc::clone(warm) as Arc<dyn Sandboxes>,
        model: Arc::new(chain(&providers, std::slice::from_ref(&plan.model))),
        ..scene.parts(&plan).await
    };
    let case = format!("{model}, {api:?}, {case}");
    let error = start(&plan, &parts).await.0.unwrap_err();
    assert_eq!(error.kind(), Kind::Budget, "{case}: {error}");
    assert_eq!(scene.server.problems(), Vec::<String>::new(), "{case}");
    let records = scene.records();
    is_within(&records, &limits.of_catalog(), &case);
    let requests = scene.server.requests();
    // No text has more than sixteen bytes for a token: what was counted is not much less than what was sent.
    let sent: usize = requests.iter().map(|request| request.body.len()).sum();
    let counted = used(&records)
        .iter()
        .fold(0, |sum: u64, used| sum.saturating_add(used.tokens));
    assert!(
        case.contains("cached") || counted >= sent as u64 / 16,
        "{case}: {counted} tokens for {sent} bytes"
    );
    let ended = &records.last().unwrap()["ended"]["failure"]["defeat"]["used_up"];
    (ended.clone(), requests.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_turns_end_a_run_whatever_is_reported() {
    let limits = Limits {
        tokens: 20_000,
        turns: 12,
        ..PLENTY
    };
    let warm = Warm::new().await;
    for wire in WIRES {
        for (case, reports) in REPORTS {
            let (ended, requests) = overrun(wire, case, reports, limits, &warm).await;
            // What is read from a cache is free: turns are the net under it.
            let by = if ended["tokens"].is_object() {
                "tokens"
            } else {
                "turns"
            };
            match case {
                "absurd" => assert_eq!((by, requests), ("tokens", 1), "{wire:?}, {case}"),
                "cached" => assert_eq!((by, requests), ("turns", 10), "{wire:?}, {case}"),
                "more cached than sent" => assert!(requests <= 10, "{wire:?}, {case}"),
                _ => assert_eq!((by, requests), ("tokens", 7), "{wire:?}, {case}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_ends_a_run_whatever_is_reported() {
    // A request of 2400 tokens costs about half a cent.
    let limits = Limits {
        cost: Some(Cost(20_000)),
        turns: 20,
        ..PLENTY
    };
    let warm = Warm::new().await;
    for wire in WIRES {
        for (case, reports) in REPORTS {
            let (ended, requests) = overrun(wire, case, reports, limits, &warm).await;
            match case {
                // All the tokens that there are, at once.
                "absurd" => assert_eq!(requests, 1, "{wire:?}, {case}"),
                "cached" => assert!(
                    ended["cost"].is_object() && requests > 5,
                    "{wire:?}, {case}: {requests}"
                ),
                _ => assert!(ended["cost"].is_object(), "{wire:?}, {case}: {ended}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_cost_needs_prices_before_anything_is_asked() {
    let scene = Scene::new().await;
    let limits = Limits {
        cost: Some(Cost(1_000_000)),
        ..PLENTY
    };
    for (model, fallbacks) in [
        ("anthropic/claude-unheard-of", vec![]),
        (MODEL, vec![spec(CHAT), spec("openai/local-llama")]),
    ] {
        let plan = Plan {
            model: spec(model),
            fallbacks,
            limits,
            ..scene.plan()
        };
        let parts = scene.parts(&plan).await;
        let error = start(&plan, &parts).await.0.unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains("costs is not known"), "{error}");
    }
    assert!(scene.server.requests().is_empty());
    assert!(scene::names(&scene.pages()).is_empty(), "nothing is claimed");
    // With a price it runs; without a limit it needs none, and the report says that it is not known.
    let unheard = Plan {
        model: spec("anthropic/claude-unheard-of"),
        limits,
        ..scene.plan()
    };
    let mut parts = scene.parts(&unheard).await;
    let sonnet = parts.prices.get(&spec(MODEL)).unwrap().clone();
    parts.prices.set(&unheard.model, sonnet);
    assert!(start(&unheard, &parts).await.0.unwrap().spent.cost.is_some());
    let free = Plan {
        limits: PLENTY,
        ..unheard
    };
    let outcome = start(
        &free,
        &scene.parts_at(&free, scene.directory.path().join("free")).await,
    )
    .await;
    assert_eq!(outcome.0.unwrap().spent.cost, None);
}

/// How many were asked, in order.
fn asked(scene: &Scene) -> Vec<String> {
    let model = |request: &Recorded| request.json()["model"].as_str().unwrap().to_owned();
    scene.server.requests().iter().map(model).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_tries_count_and_end_where_the_budget_does() {
    // A try is about 2400 tokens: the third passes 5000.
    let limits = Limits {
        tokens: 6000,
        ..PLENTY
    };
    let code = json!({"code": "1"});
    let cut = Say::text("I shall begin.").calls("a", "execute_python", &code.to_string());
    let after_a_200 = cut.clone().error_after(4, "overloaded_error");
    for (case, failing) in [("cut", cut.cut_after(4)), ("an error", after_a_200)] {
        for (model, fallback) in [(MODEL, CHAT), (CHAT, MODEL)] {
            let scene = Scene::new().await;
            let say = failing.clone();
            scene.server.think(move |_| Script::Say(Box::new(say.clone())));
            let plan = Plan {
                model: spec(model),
                fallbacks: vec![spec(fallback)],
                limits,
                ..scene.plan()
            };
            let parts = scene.parts(&plan).await;
            let error = start(&plan, &parts).await.0.unwrap_err();
            let case = format!("{model}, {case}");
            assert_eq!(error.kind(), Kind::Budget, "{case}: {error}");
            let asked = asked(&scene);
            assert_eq!(asked.len(), 3, "{case}: {asked:?}");
            assert!(
                asked.iter().all(|name| model.ends_with(name)),
                "{case}: {asked:?}"
            );
            let records = scene.records();
            is_within(&records, &limits, &case);
            let counted: u64 = used(&records).iter().map(|used| used.tokens).sum();
            assert!((6500..9000).contains(&counted), "{case}: {counted}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_ends_a_run_while_a_model_thinks() {
    let limits = Limits {
        time: Duration::from_secs(6),
        ..PLENTY
    };
    let warm = Warm::new().await;
    let long = "words and more words ".repeat(1000);
    for (case, say) in [
        ("no answer", Say::text("late").latency(Duration::from_mins(1))),
        ("a slow answer", Say::text(&long).drip(Duration::from_millis(50))),
        ("silence", Say::text(&long).silent_after(9)),
    ] {
        let scene = Scene::new().await;
        scene.server.think(move |_| Script::Say(Box::new(say.clone())));
        let plan = Plan {
            limits,
            ..scene.plan()
        };
        let parts = Parts {
            proven: std::sync::Arc::default(),
            sandboxes: Arc::clone(&warm) as Arc<dyn Sandboxes>,
            ..scene.parts(&plan).await
        };
        let began = Instant::now();
        let error = start(&plan, &parts).await.0.unwrap_err();
        assert_eq!(error.kind(), Kind::Budget, "{case}: {error}");
        assert!(error.to_string().contains("time"), "{case}: {error}");
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "{case}: {:?}",
            began.elapsed()
        );
        // What was read of the question may have to be paid.
        let counted: u64 = used(&scene.records()).iter().map(|used| used.tokens).sum();
        assert!(counted > 2000, "{case}: {counted}");
        assert_eq!(scene.server.requests().len(), 1, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_code_ends_with_the_time_of_its_agent() {
    let limits = Limits {
        time: Duration::from_secs(12),
        ..PLENTY
    };
    let scene = Scene::with(Author {
        catalog: vec![
            Move::Execute("import time\ntime.sleep(60)".into()),
            Move::Execute("'never'".into()),
        ],
        ..Author::default()
    })
    .await;
    let plan = Plan {
        limits,
        ..scene.plan()
    };
    let parts = Parts {
        proven: std::sync::Arc::default(),
        sandboxes: Warm::new().await,
        ..scene.parts(&plan).await
    };
    let began = Instant::now();
    let error = start(&plan, &parts).await.0.unwrap_err();
    assert_eq!(error.kind(), Kind::Budget, "{error}");
    assert!(began.elapsed() < Duration::from_secs(50), "{:?}", began.elapsed());
    assert_eq!(scene.server.requests().len(), 1);
    let records = scene.records();
    let ran = records.iter().find_map(|record| record.get("ran")).unwrap();
    assert_eq!(ran["status"], "timeout");
    // A sixth of the time is the summary's.
    let took = ran["milliseconds"].as_u64().unwrap();
    assert!(took < 11_500, "{took}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_earlier_attempts_have_used_counts() {
    let scene = Scene::new().await;
    let limits = Limits {
        tokens: 20_000,
        ..PLENTY
    };
    let plan = Plan {
        limits,
        ..scene.plan()
    };
    // Stopped in the middle of every third question.
    let cancel = Arc::new(Mutex::new(CancellationToken::new()));
    let stopping = Arc::clone(&cancel);
    let (mut brain, mut count) = (restless(|_, _| None), 0);
    scene.server.think(move |recorded| {
        count += 1;
        if count % 3 == 0 {
            stopping.lock().unwrap().cancel();
        }
        brain(recorded)
    });
    let mut attempts = 1;
    let parts = scene.parts(&plan).await;
    cancel.lock().unwrap().clone_from(&parts.cancel);
    let mut result = start(&plan, &parts).await.0;
    while let Err(RunError::Interrupted) = result {
        attempts += 1;
        let parts = scene.parts(&plan).await;
        cancel.lock().unwrap().clone_from(&parts.cancel);
        result = resume(&plan, &parts, scene.only()).await.0;
    }
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Budget, "{error}");
    assert!(attempts > 2);
    let records = scene.records();
    is_within(&records, &limits.of_catalog(), "resumed");
    let counted: u64 = used(&records).iter().map(|used| used.tokens).sum();
    assert!(counted < 20_000, "{counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_more_it_goes_on_where_it_was() {
    let scene = Scene::new().await;
    let few = Plan {
        limits: Limits { turns: 3, ..PLENTY },
        ..scene.plan()
    };
    let error = start(&few, &scene.parts(&few).await).await.0.unwrap_err();
    assert_eq!(error.kind(), Kind::Budget, "{error}");
    assert_eq!(scene.server.requests().len(), 3);
    // The same limits: nothing is asked.
    let again = resume(&few, &scene.parts(&few).await, scene.only()).await.0;
    assert_eq!(again.unwrap_err().kind(), Kind::Budget);
    assert_eq!(scene.server.requests().len(), 3);
    let plan = scene.plan();
    let outcome = resume(&plan, &scene.parts(&plan).await, scene.only())
        .await
        .0
        .unwrap();
    assert_eq!((outcome.spent.turns, outcome.summary_failure), (6, None));
    let requests = scene.server.requests();
    let mut turns: Vec<_> = requests.iter().map(place).collect();
    turns.dedup();
    assert_eq!(turns.len(), 6, "{turns:?}");
    // Who was told that this is the end is told that it is not.
    let told = results(&requests[3]);
    assert!(told.contains("39 turns"), "{told}");
    assert_eq!(scene.server.problems(), Vec::<String>::new());
    scene::is_whole(&scene.pages(), &scene.only().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn little_that_is_left_is_said_within_results_again_after_a_raise() {
    for model in [MODEL, CHAT] {
        let scene = Scene::new().await;
        scene.server.think(restless(|_, _| None));
        let mut plan = Plan {
            model: spec(model),
            limits: Limits { turns: 12, ..PLENTY },
            ..scene.plan()
        };
        let told = |from: usize| -> Vec<bool> {
            let requests = scene.server.requests().split_off(from);
            let marks = ["turns and about", "last turn"];
            requests
                .iter()
                .map(|request| {
                    let results = results(request);
                    marks.iter().any(|mark| results.contains(mark))
                })
                .collect()
        };
        let parts = scene.parts(&plan).await;
        let error = start(&plan, &parts).await.0.unwrap_err();
        assert_eq!(error.kind(), Kind::Budget, "{error}");
        // With 3 of 10 left, and with 1.
        let mut expected = [false; 10];
        (expected[7], expected[9]) = (true, true);
        assert_eq!(told(0), expected, "{model}");
        plan.limits.turns = 24;
        let parts = scene.parts(&plan).await;
        let error = resume(&plan, &parts, scene.only()).await.0.unwrap_err();
        assert_eq!(error.kind(), Kind::Budget, "{error}");
        // That there are 10 more; 6 of 20, 3 and the last one.
        let mut expected = [false; 10];
        for at in [0, 4, 7, 9] {
            expected[at] = true;
        }
        assert_eq!(told(10), expected, "{model}");
        assert_eq!(scene.server.problems(), Vec::<String>::new(), "{model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_has_its_share_when_the_catalog_has_used_its_own() {
    let looks = (0..9).map(|number| Move::Execute(format!("x = {number}")));
    let author = Author {
        catalog: looks.chain([Move::Submit(page("<p>late</p>"))]).collect(),
        ..Author::default()
    };
    // Ten turns for the catalog, two for the summary; and all of a share of tokens in the last turn.
    let by_turns = Limits { turns: 12, ..PLENTY };
    let by_tokens = Limits {
        tokens: 600_000,
        ..PLENTY
    };
    for (case, limits) in [("turns", by_turns), ("tokens", by_tokens)] {
        let scene = Scene::new().await;
        let author = author.clone();
        scene
            .server
            .think(move |recorded| match (place(recorded), author.answer(recorded)) {
                ((Asker::Catalog, 9), Script::Say(say)) if case == "tokens" => Script::Say(Box::new(
                    say.usage(json!({"input_tokens": 480_000, "output_tokens": 500})),
                )),
                (_, script) => script,
            });
        let plan = Plan {
            limits,
            ..scene.plan()
        };
        let outcome = start(&plan, &scene.parts(&plan).await).await.0.unwrap();
        assert_eq!(outcome.summary_failure, None, "{case}");
        assert_eq!(outcome.spent.turns, 12, "{case}");
        let report = scene.report();
        let catalog = &report["catalog"]["usage"];
        match case {
            "turns" => assert_eq!(catalog["turns"], 10),
            _ => assert!(catalog["tokens"].as_u64().unwrap() > 500_000, "{catalog}"),
        }
    }
}

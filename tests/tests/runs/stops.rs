//! Every way in which a model stops or misbehaves, over the wire and through the whole engine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cataloger::run::{Event, Kind, Outcome, Parts, Plan, RunError, Sandboxes};
use cataloger_tests::author::{Asker, Author, page, place, results};
use cataloger_tests::model_server::{Failure, Recorded, Say, Script};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::scene::{self, MODEL, Scene};
use crate::stage::{Warm, resume, spec, start};

const CHAT: &str = "openai/gpt-6-sol";

fn execute(id: &str, code: &str) -> Say {
    Say::call(id, "execute_python", &json!({"code": code}))
}

fn submit(id: &str, page: &str) -> Say {
    Say::call(id, "submit_html", &json!({"content": page}))
}

/// What a model says first; then it does its task.
struct Case {
    scene: Scene,
    plan: Plan,
    parts: Parts,
}

impl Case {
    async fn new(warm: &Arc<Warm>, model: &str, fallbacks: &[&str], first: Vec<Script>) -> Self {
        let scene = Scene::with(Author {
            catalog: vec![],
            ..Author::default()
        })
        .await;
        let author = Author::default();
        let mut number = 0;
        scene.server.think(move |recorded| {
            number += 1;
            match author.answer(recorded) {
                _ if recorded.body.contains("You compare descriptions") => author.answer(recorded),
                // Whatever there was before: the page.
                _ => Script::Say(Box::new(submit(&format!("page_{number}"), &page("<p>done</p>")))),
            }
        });
        for script in first {
            scene.server.script(script);
        }
        let plan = Plan {
            model: spec(model),
            fallbacks: fallbacks.iter().map(|name| spec(name)).collect(),
            ..scene.plan()
        };
        let parts = Parts {
            sandboxes: Arc::clone(warm) as Arc<dyn Sandboxes>,
            ..scene.parts(&plan).await
        };
        Self { scene, plan, parts }
    }

    async fn run(&self) -> (Result<Outcome, RunError>, Vec<Event>) {
        let told = start(&self.plan, &self.parts).await;
        assert_eq!(self.scene.server.problems(), Vec::<String>::new());
        told
    }

    /// That it came to its pages; the requests.
    async fn succeeds(&self, case: &str) -> Vec<Recorded> {
        let (result, _) = self.run().await;
        let outcome = result.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(outcome.summary_failure, None, "{case}");
        scene::is_whole(&self.scene.pages(), &self.scene.only().to_string());
        self.scene.server.requests()
    }

    async fn fails(&self, case: &str) -> RunError {
        let (result, _) = self.run().await;
        match result {
            Ok(_) => panic!("{case}: it succeeds"),
            Err(error) => error,
        }
    }
}

fn say(say: Say) -> Script {
    Script::Say(Box::new(say))
}

/// The words of a wire format for a reason to stop.
fn reason(model: &str, anthropic: &'static str, openai: &'static str) -> &'static str {
    if model.starts_with("anthropic") {
        anthropic
    } else {
        openai
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_talks_is_reminded_and_given_up_on() {
    let warm = Warm::new().await;
    for model in [MODEL, CHAT] {
        for (case, first) in [
            ("text", Say::text("I am done.")),
            ("nothing", Say::text("")),
            ("blanks", Say::text(" \n ")),
            ("only a thought", Say::text("").thinking("hm", "c2lnbmVk")),
            (
                "cut off",
                Say::text("It begins").stop(reason(model, "max_tokens", "length")),
            ),
            ("unheard of", Say::text("It").stop("no_such_reason")),
        ] {
            let case = format!("{model}, {case}");
            let once = Case::new(&warm, model, &[], vec![say(first.clone())]).await;
            let requests = once.succeeds(&case).await;
            assert!(
                requests[1].body.contains("submit_html(content)") || case.contains("cut off"),
                "{case}"
            );
            let never = Case::new(&warm, model, &[], vec![say(first.clone()); 3]).await;
            let error = never.fails(&case).await;
            assert_eq!(error.kind(), Kind::Agent, "{case}: {error}");
            assert_eq!(never.scene.server.requests().len(), 3, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pauses_is_asked_to_go_on() {
    let warm = Warm::new().await;
    for (case, first) in [("text", Say::text("A moment.")), ("nothing", Say::text(""))] {
        let paused = Case::new(&warm, MODEL, &[], vec![say(first.stop("pause_turn"))]).await;
        paused.succeeds(case).await;
    }
    // For ever: three times in a row are enough.
    let case = Case::new(
        &warm,
        MODEL,
        &[],
        vec![say(Say::text("Wait.").stop("pause_turn")); 9],
    )
    .await;
    let error = case.fails("for ever").await;
    assert_eq!(error.kind(), Kind::Agent, "{error}");
    assert_eq!(case.scene.server.requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_call_is_not_run_and_a_whole_one_is() {
    let warm = Warm::new().await;
    for model in [MODEL, CHAT] {
        let half = execute("a", "print('whole')")
            .calls("b", "submit_html", "{\"content\": \"<!doctype html><html><p>hal")
            .stop(reason(model, "max_tokens", "length"));
        let case = Case::new(&warm, model, &[], vec![say(half)]).await;
        let requests = case.succeeds(model).await;
        let told = &requests[1].body;
        assert!(
            told.contains("whole") && told.contains("cut off before their end"),
            "{model}: {told}"
        );
        // Again and again is a circle.
        let half = Say::text("")
            .calls("a", "submit_html", "{\"content\": \"<p")
            .stop(reason(model, "max_tokens", "length"));
        let case = Case::new(&warm, model, &[], vec![say(half); 9]).await;
        let error = case.fails(model).await;
        assert_eq!(error.kind(), Kind::Agent, "{model}: {error}");
        // Cut off as a whole window.
        if model == MODEL {
            let half = execute("a", "1")
                .calls("b", "submit_html", "{\"con")
                .stop("model_context_window_exceeded");
            let case = Case::new(&warm, model, &[], vec![say(half)]).await;
            case.succeeds("half a call in a full window").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_another_models_or_the_end() {
    let warm = Warm::new().await;
    let other = "anthropic/claude-haiku-5-5";
    for (model, fallback) in [(MODEL, CHAT), (CHAT, MODEL), (MODEL, other)] {
        let case_name = format!("{model}, {fallback}");
        let refusal = || say(Say::text("I must not.").stop(reason(model, "refusal", "content_filter")));
        let alone = Case::new(&warm, model, &[], vec![refusal()]).await;
        let error = alone.fails(&case_name).await;
        assert_eq!(error.kind(), Kind::Agent, "{case_name}: {error}");
        assert!(error.to_string().contains("refused"), "{case_name}: {error}");
        assert_eq!(alone.scene.server.requests().len(), 1);

        let case = Case::new(&warm, model, &[fallback], vec![refusal()]).await;
        let (result, events) = case.run().await;
        result.unwrap();
        let report = case.scene.report();
        let catalog = &report["catalog"];
        assert_eq!(catalog["models"][0]["asked"], fallback, "{catalog}");
        assert_eq!(catalog["retries"][0]["asked"], model, "{catalog}");
        let problem = catalog["retries"][0]["problem"].as_str().unwrap();
        assert!(problem.contains("refused"), "{catalog}");
        let fell = |event: &Event| format!("{event:?}").contains("FellBack");
        assert!(events.iter().any(fell), "{case_name}");
        // What was refused is paid.
        assert!(catalog["usage"]["input"].as_u64().unwrap() > 4000, "{catalog}");

        // All refuse.
        let again = say(Say::text("Nor I.").stop(reason(fallback, "refusal", "content_filter")));
        let both = Case::new(&warm, model, &[fallback], vec![refusal(), again]).await;
        let error = both.fails(&case_name).await;
        assert_eq!(error.kind(), Kind::Agent, "{case_name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_window_is_emptied() {
    let warm = Warm::new().await;
    let long = |number: usize| {
        let code = format!("{number}; print('row ' * 400)");
        say(execute(&format!("long_{number}"), &code))
    };
    let too_long = || {
        Script::Fail(Failure::new(400).saying(
            "invalid_request_error",
            "prompt is too long: 250000 tokens > 200000 maximum",
        ))
    };
    let stopped = || say(Say::text("So much").stop("model_context_window_exceeded"));
    for (case, full) in [("an error", too_long as fn() -> Script), ("a reason", stopped)] {
        let first = (0..6).map(long).chain([full()]).collect();
        let window = Case::new(&warm, MODEL, &[], first).await;
        let requests = window.succeeds(case).await;
        let (before, after) = (&requests[6].body, &requests[7].body);
        assert!(
            !before.contains("was removed") && after.contains("was removed"),
            "{case}"
        );
        assert!(
            after.len() + 2000 < before.len(),
            "{case}: {} {}",
            before.len(),
            after.len()
        );
        // Nothing can go: that is the end.
        let hopeless = Case::new(&warm, MODEL, &[], (0..20).map(|_| full()).collect()).await;
        let error = hopeless.fails(case).await;
        assert_eq!(error.kind(), Kind::Agent, "{case}: {error}");
        assert!(error.to_string().contains("no longer fits"), "{case}: {error}");
        assert!(hopeless.scene.server.requests().len() < 8, "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_are_answered_until_they_are_too_many() {
    let warm = Warm::new().await;
    for model in [MODEL, CHAT] {
        for (case, wrong, told) in [
            (
                "no JSON",
                Say::text("").calls("a", "execute_python", "print(1)"),
                "not valid JSON",
            ),
            (
                "a list",
                Say::text("").calls("a", "execute_python", "[1]"),
                "a list, not a JSON object",
            ),
            (
                "no argument",
                Say::text("").calls("a", "execute_python", ""),
                "code is missing",
            ),
            (
                "another argument",
                Say::call("a", "execute_python", &json!({"cmd": "1"})),
                "no argument",
            ),
            (
                "an unknown tool",
                Say::call("a", "bash", &json!({"code": "1"})),
                "There is no tool",
            ),
            ("no name", Say::call("a", "", &json!({})), "There is no tool"),
        ] {
            let case = format!("{model}, {case}");
            let once = Case::new(&warm, model, &[], vec![say(wrong.clone())]).await;
            let requests = once.succeeds(&case).await;
            assert!(
                results(&requests[1]).contains(told),
                "{case}: {}",
                results(&requests[1])
            );
            let never = Case::new(&warm, model, &[], vec![say(wrong.clone()); 3]).await;
            let error = never.fails(&case).await;
            assert_eq!(error.kind(), Kind::Agent, "{case}: {error}");
            assert_eq!(never.scene.server.requests().len(), 3, "{case}");
        }
        // Calls without ids, and with the same.
        let nameless = execute("", "1").calls("", "execute_python", "{\"code\": \"2\"}");
        let twins = execute("same", "1").calls("same", "execute_python", "{\"code\": \"2\"}");
        let case = Case::new(&warm, model, &[], vec![say(nameless), say(twins)]).await;
        case.succeeds(model).await;
        // More than anybody needs.
        let many = (0..30).fold(Say::text(""), |said, number| {
            said.calls(
                &format!("many_{number}"),
                "execute_python",
                &json!({"code": number.to_string()}).to_string(),
            )
        });
        let case = Case::new(&warm, model, &[], vec![say(many)]).await;
        let requests = case.succeeds(model).await;
        assert!(requests[1].body.contains("there were 30 in one turn"), "{model}");
        let ran = case
            .scene
            .records()
            .iter()
            .filter(|record| record.get("ran").is_some())
            .count();
        assert_eq!(ran, 20 + 1, "{model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_is_noticed_and_ended() {
    let warm = Warm::new().await;
    let same = |number: usize| say(execute(&format!("same_{number}"), "1 + 1"));
    let case = Case::new(&warm, MODEL, &[], (0..4).map(same).collect()).await;
    let requests = case.succeeds("left").await;
    assert!(
        results(&requests[4]).contains("several times in a row"),
        "{}",
        results(&requests[4])
    );
    let case = Case::new(&warm, MODEL, &[], (0..9).map(same).collect()).await;
    let error = case.fails("stayed").await;
    assert_eq!(
        (error.kind(), case.scene.server.requests().len()),
        (Kind::Agent, 6),
        "{error}"
    );
    // The same code with other results is none.
    let counting = |number: usize| {
        say(execute(
            &format!("count_{number}"),
            "n = globals().get('n', 0) + 1\nn",
        ))
    };
    let case = Case::new(&warm, MODEL, &[], (0..9).map(counting).collect()).await;
    case.succeeds("counting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_a_script_is_mended() {
    let warm = Warm::new().await;
    for model in [MODEL, CHAT] {
        let bad = page("<script>alert(1)</script><img src=\"https://evil.example/x.png\" onerror=\"x()\">");
        let case = Case::new(&warm, model, &[], vec![say(submit("bad", &bad))]).await;
        let requests = case.succeeds(model).await;
        let told = results(&requests[1]);
        assert!(told.contains("not accepted") && told.contains("script"), "{told}");
        let folder = case.scene.pages().join(case.scene.only().to_string());
        assert!(!scene::read(folder.join("catalog.html")).contains("evil"));
        // Never mended.
        let case = Case::new(&warm, model, &[], vec![say(submit("bad", &bad)); 9]).await;
        let error = case.fails(model).await;
        assert_eq!(error.kind(), Kind::Agent, "{error}");
        assert_eq!(
            scene::runs(&case.scene.pages()),
            Vec::<String>::new(),
            "nothing is published"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_waited_for() {
    let warm = Warm::new().await;
    for model in [MODEL, CHAT] {
        let begun = || execute("begun", "1").thinking("hm", "c2ln");
        let failures = [
            ("429", Script::Fail(Failure::new(429).retry_after("0"))),
            ("529", Script::Fail(Failure::new(529))),
            ("500", Script::Fail(Failure::new(500))),
            ("a cut stream", say(begun().cut_after(5))),
            (
                "an error after a 200",
                say(begun().error_after(5, "overloaded_error")),
            ),
        ];
        for (case, failure) in failures {
            let case = format!("{model}, {case}");
            let run = Case::new(&warm, model, &[], vec![failure.clone()]).await;
            run.succeeds(&case).await;
            let report = run.scene.report();
            let retries = &report["catalog"]["retries"];
            assert_eq!(retries.as_array().map(Vec::len), Some(1), "{case}: {report}");
            assert_eq!(report["catalog"]["usage"]["turns"], 1, "{case}");

            // With a model to turn to, and the reason in the report.
            let other = if model == MODEL { CHAT } else { MODEL };
            let run = Case::new(&warm, model, &[other], vec![failure.clone(); 4]).await;
            run.succeeds(&case).await;
            let report = run.scene.report();
            assert_eq!(report["catalog"]["models"][0]["asked"], other, "{case}: {report}");
            assert_eq!(
                report["catalog"]["retries"][3]["asked"], model,
                "{case}: {report}"
            );

            // For good: what was tried is in the journal, and the run can be gone on with.
            let run = Case::new(&warm, model, &[], vec![failure; 4]).await;
            let error = run.fails(&case).await;
            assert_eq!(error.kind(), Kind::Model, "{case}: {error}");
            assert!(error.to_string().contains("asked 4 times"), "{case}: {error}");
            let parts = run.scene.parts(&run.plan).await;
            let parts = Parts {
                sandboxes: Arc::clone(&warm) as Arc<dyn Sandboxes>,
                ..parts
            };
            let resumed = resume(&run.plan, &parts, run.scene.only()).await.0;
            resumed.unwrap_or_else(|error| panic!("{case}: {error}"));
        }
        // A wrong key is not hidden by another model, nor asked with again.
        let run = Case::new(
            &warm,
            model,
            &[if model == MODEL { CHAT } else { MODEL }],
            vec![Script::Fail(Failure::new(401))],
        )
        .await;
        let error = run.fails(model).await;
        assert_eq!(
            (error.kind(), run.scene.server.requests().len()),
            (Kind::Model, 1),
            "{error}"
        );
    }
}

/// The blocks of thinking that a request sends back, as their bytes.
fn thoughts(request: &Recorded) -> Vec<String> {
    let (begin, end) = ("{\"signature\":", "\"type\":\"thinking\"}");
    let begins = request.body.match_indices(begin);
    begins
        .map(|(at, _)| {
            let length = request.body[at..].find(end).unwrap() + end.len();
            request.body[at..at + length].to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn thoughts_go_back_byte_for_byte_after_a_crash_unless_they_held_a_secret() {
    let scene = Scene::new().await;
    let encoded = "p%C3%A4%22ss%2Fw0rd-of-it";
    let database = format!("{}?password={encoded}", scene.database());
    let plan = Plan {
        database: cataloger::run::Database::new(&database.into()).unwrap(),
        ..scene.plan()
    };
    let signature = "EqQB/+=\u{e9}\\\"";
    let thinking = |number: usize, text: &str| {
        let thought = format!("{text} {number} \u{1f980} \"quoted\" \\ <&> \u{2028}");
        execute(&format!("call_{number}"), &format!("x = {number}")).thinking(&thought, signature)
    };
    let stop = Arc::new(Mutex::new(CancellationToken::new()));
    let stopping = Arc::clone(&stop);
    scene.server.think(move |recorded| {
        let (asker, turn) = place(recorded);
        let summary = asker == Asker::Summary;
        say(match turn {
            _ if summary => submit("s", &page("<p>none</p>")),
            0 => thinking(0, "first"),
            1 => thinking(1, "The password is pä\"ss/w0rd-of-it, of all things"),
            2 => thinking(2, "third"),
            3 if !stopping.lock().unwrap().is_cancelled() => {
                stopping.lock().unwrap().cancel();
                Say::text("never heard").latency(Duration::from_mins(1))
            }
            3 => thinking(3, "fourth"),
            _ => submit("page", &page("<p>done</p>")),
        })
    });
    let parts = scene.parts(&plan).await;
    stop.lock().unwrap().clone_from(&parts.cancel);
    let stopped = start(&plan, &parts).await.0.unwrap_err();
    assert_eq!(stopped.kind(), Kind::Interrupted, "{stopped}");
    let parts = scene.parts(&plan).await;
    resume(&plan, &parts, scene.only()).await.0.unwrap();
    assert_eq!(scene.server.problems(), Vec::<String>::new());

    let requests = scene.server.requests();
    let sent = |at: usize| thoughts(&requests[at]);
    let (before, after) = (sent(3), sent(4));
    assert_eq!(before.len(), 2, "the second is forgotten: {before:?}");
    assert_eq!(before, after, "as before the crash");
    assert!(
        before[0].contains("first 0 \u{1f980} \\\"quoted\\\" \\\\ <&> \u{2028}"),
        "{before:?}"
    );
    assert!(before[1].contains("third"), "{before:?}");
    let escaped = serde_json::to_string(signature).unwrap();
    assert!(before.iter().all(|it| it.contains(&escaped)), "{before:?}");
    assert_eq!(requests[3].body, requests[4].body, "the whole question");
    assert_eq!(sent(5).len(), 3);
    for request in &requests {
        assert!(!request.body.contains("w0rd-of-it"), "{}", request.body);
    }
    let raw = |record: &Value| record["answered"]["turn"]["raw"].is_null();
    let turns: Vec<bool> = scene
        .records()
        .iter()
        .filter(|record| record.get("answered").is_some())
        .map(raw)
        .collect();
    assert_eq!(turns[..4], [false, true, false, false]);
}

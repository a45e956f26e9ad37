//! Runs that are handed over: nothing new is begun, what is paid is kept, and the next one goes on where it is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cataloger::agent::prompts::Role;
use cataloger::llm::retry::{Chain, RetryPolicy};
use cataloger::llm::{Http, Progress};
use cataloger::run::{self, Event, Kind, Outcome, Parts, Phase, Plan, RunError, Sandboxes};
use cataloger_tests::author::{Asker, Author, Move, page, place};
use cataloger_tests::model_server::{Failure, Recorded, Say, Script};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::scene::{self, MODEL, Scene};
use crate::stage::{Kept, Told, chain, resume, spec, start};

const MINUTE: Duration = Duration::from_mins(1);

/// A run in a sandbox that is kept.
struct Case {
    scene: Scene,
    plan: Plan,
    boxes: Arc<Kept>,
}

impl Case {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let plan = scene.plan();
        let boxes = Kept::new().await;
        Self { scene, plan, boxes }
    }

    /// As the next process would have them.
    async fn parts(&self) -> Parts {
        Parts {
            sandboxes: Arc::clone(&self.boxes) as Arc<dyn Sandboxes>,
            ..self.scene.parts(&self.plan).await
        }
    }

    /// When this question comes, does something, and says this.
    fn when(
        &self,
        at: (Asker, usize),
        mut act: impl FnMut() + Send + 'static,
        say: impl Fn(Script) -> Script + Send + 'static,
    ) {
        let (author, mut done) = (Author::default(), false);
        self.scene.server.think(move |recorded: &Recorded| {
            let answer = author.answer(recorded);
            if place(recorded) != at || std::mem::replace(&mut done, true) {
                return answer;
            }
            act();
            say(answer)
        });
    }

    /// That the next one brings it to its end, in so many sandboxes by then; what was told.
    async fn goes_on(&self, sandboxes: usize) -> (Outcome, Vec<Event>) {
        let parts = self.parts().await;
        let (result, events) = resume(&self.plan, &parts, self.scene.only()).await;
        let outcome = result.unwrap();
        assert_eq!(outcome.summary_failure, None);
        scene::is_whole(&self.scene.pages(), &self.scene.only().to_string());
        assert_eq!(self.boxes.counted(), (sandboxes, sandboxes));
        assert_eq!(self.scene.server.problems(), Vec::<String>::new());
        (outcome, events)
    }

    fn counted(&self, kind: &str) -> usize {
        let records = self.scene.records();
        records.iter().filter(|record| record.get(kind).is_some()).count()
    }

    /// How often each question was asked.
    fn asked_once(&self) -> bool {
        let requests = self.scene.server.requests();
        let mut places: Vec<String> = requests.iter().map(|it| format!("{:?}", place(it))).collect();
        let all = places.len();
        places.sort();
        places.dedup();
        places.len() == all
    }
}

fn slowly(script: Script, time: Duration) -> Script {
    match script {
        Script::Say(say) => Script::Say(Box::new(say.latency(time))),
        other => other,
    }
}

fn is_interrupted(told: &Told) {
    let error = told.0.as_ref().unwrap_err();
    assert!(matches!(error, RunError::Interrupted), "{error}");
}

/// What a status would say was spent, by events alone.
fn spent(events: &[Event]) -> Vec<cataloger::agent::budget::Spent> {
    let spent = |event: &Event| match event {
        Event::Resumed { so_far, .. } => Some(so_far.spent),
        Event::Answered { spent, .. } | Event::Unanswered { spent, .. } => Some(*spent),
        _ => None,
    };
    events.iter().filter_map(spent).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_on_its_way_is_waited_for() {
    let case = Case::new().await;
    let parts = case.parts().await;
    let stop = parts.hand_over.clone();
    case.when(
        (Asker::Catalog, 2),
        move || stop.cancel(),
        |answer| slowly(answer, Duration::from_millis(200)),
    );
    let told = start(&case.plan, &parts).await;
    is_interrupted(&told);
    assert_eq!(case.counted("answered"), 3);
    // Its code is not begun.
    assert_eq!(case.counted("ran"), 3);
    assert_eq!(case.boxes.counted(), (1, 0));

    let before = *spent(&told.1).last().unwrap();
    let (outcome, events) = case.goes_on(1).await;
    assert!(case.asked_once());
    let Some(Event::Resumed { so_far, entries, .. }) = events.first() else {
        panic!("{events:?}");
    };
    assert_eq!((so_far.spent, so_far.role), (before, Some(Role::Cataloging)));
    assert_eq!((so_far.model.as_ref(), so_far.attempts), (Some(&spec(MODEL)), 1));
    assert_eq!(so_far.objects, []);
    assert!(*entries > 7, "{entries}");
    // In the same sandbox, without making its variables again.
    assert!(
        !events.iter().any(|it| matches!(it, Event::Rebuilding { .. })),
        "{events:?}"
    );
    assert_eq!(*spent(&events).last().unwrap(), outcome.spent);
    assert_eq!(outcome.models, [spec(MODEL)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_under_way_is_left_to_the_next() {
    let case = Case::new().await;
    let go = case.scene.directory.path().join("go");
    let code = format!(
        "import os, time\nopen('count', 'a').write('x')\nprint('begun', flush=True)\n\
         while not os.path.exists({go:?}):\n    time.sleep(0.01)\n'done'"
    );
    let author = Author {
        catalog: vec![
            Move::Execute(code),
            Move::Execute("open('count').read()".to_owned()),
            Move::Submit(page("<p>3 orders</p>")),
        ],
        ..Author::default()
    };
    case.scene.server.think(author.brain());
    let parts = case.parts().await;
    let watch = |event: &Event| {
        if matches!(event, Event::Output(text) if text.contains("begun")) {
            parts.hand_over.cancel();
        }
    };
    let result = run::start(&case.plan, &parts, &watch).await;
    assert!(matches!(result, Err(RunError::Interrupted)), "{result:?}");
    assert_eq!((case.counted("ran"), case.boxes.counted()), (0, (1, 0)));

    std::fs::write(&go, "").unwrap();
    case.goes_on(1).await;
    let records = case.scene.records();
    let told: Vec<&Value> = records
        .iter()
        .filter_map(|it| Some(&it.get("ran")?["told"]))
        .collect();
    assert_eq!(told[..2], ["begun\n'done'\n", "'x'\n"]);
    assert!(case.asked_once());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_no_more_has_the_last_word() {
    let case = Case::new().await;
    let parts = case.parts().await;
    let (hand_over, cancel) = (parts.hand_over.clone(), parts.cancel.clone());
    case.when(
        (Asker::Catalog, 1),
        move || {
            hand_over.cancel();
            cancel.cancel();
        },
        |answer| slowly(answer, MINUTE),
    );
    is_interrupted(&start(&case.plan, &parts).await);
    assert_eq!((case.counted("answered"), case.boxes.counted()), (1, (1, 1)));
    case.goes_on(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_wait_drops_it() {
    let case = Case::new().await;
    let parts = case.parts().await;
    let asked = CancellationToken::new();
    let (hand_over, told) = (parts.hand_over.clone(), asked.clone());
    case.when(
        (Asker::Catalog, 1),
        move || {
            hand_over.cancel();
            told.cancel();
        },
        |answer| slowly(answer, MINUTE),
    );
    tokio::select! {
        (result, _) = start(&case.plan, &parts) => panic!("{result:?}"),
        () = asked.cancelled() => {}
    }
    assert_eq!((case.counted("answered"), case.boxes.counted()), (1, (1, 0)));
    // Only the question that was under way is asked again.
    case.goes_on(1).await;
    assert_eq!(case.scene.server.requests().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pause_is_waited_for() {
    let case = Case::new().await;
    case.when((Asker::Catalog, 1), || {}, |_| Script::Fail(Failure::new(529)));
    let providers = case.scene.server.providers();
    let model = providers
        .model(&Http::new(&providers.timeouts).unwrap(), &case.plan.model)
        .unwrap();
    let patient = RetryPolicy {
        attempts: 4,
        first: MINUTE,
        longest: MINUTE,
        patience: 10 * MINUTE,
    };
    let parts = Parts {
        model: Arc::new(Chain::new(model, patient)),
        ..case.parts().await
    };
    let events = Mutex::new(Vec::new());
    let watch = |event: &Event| {
        events.lock().unwrap().push(event.clone());
        if matches!(event, Event::Model(Progress::Retrying { .. })) {
            parts.hand_over.cancel();
        }
    };
    let error = run::start(&case.plan, &parts, &watch).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted, "{error}");
    // What was tried is kept, with what it used.
    let records = case.scene.records();
    let last: &Value = &records.last().unwrap()["unanswered"];
    assert_eq!(last["problem"], "interrupted", "{records:?}");
    assert_eq!(last["attempts"].as_array().map(Vec::len), Some(1), "{last}");
    let events = events.into_inner().unwrap();
    assert!(
        matches!(events.last(), Some(Event::Unanswered { .. })),
        "{events:?}"
    );
    case.goes_on(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_meanwhile_is_left_to_the_next() {
    for asker in [Asker::Catalog, Asker::Summary] {
        let case = Case::new().await;
        let parts = case.parts().await;
        let stop = parts.hand_over.clone();
        case.when(
            (asker, 1),
            move || stop.cancel(),
            |_| Script::Fail(Failure::new(500)),
        );
        let told = start(&case.plan, &parts).await;
        is_interrupted(&told);
        assert_eq!(case.counted("unanswered"), 1, "{asker:?}");
        assert_eq!(case.boxes.counted(), (1, 0), "{asker:?}");
        let (_, events) = case.goes_on(1).await;
        let Some(Event::Resumed { so_far, .. }) = events.first() else {
            panic!("{events:?}");
        };
        let (role, phase, published) = match asker {
            Asker::Catalog => (Role::Cataloging, Phase::Cataloging, 0),
            Asker::Summary => (Role::Summary, Phase::Summarizing, 2),
        };
        assert_eq!((so_far.role, so_far.objects.len()), (Some(role), published));
        let ready = events
            .iter()
            .position(|it| matches!(it, Event::Ready { .. }))
            .unwrap();
        assert!(
            events[ready..]
                .iter()
                .any(|it| matches!(it, Event::Phase(it) if *it == phase)),
            "{events:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_left_to_the_models_that_were_not_asked() {
    let mut case = Case::new().await;
    let other = spec("anthropic/claude-haiku-5-5");
    case.plan.fallbacks = vec![other.clone()];
    let parts = Parts {
        model: Arc::new(chain(
            &case.scene.server.providers(),
            &[case.plan.model.clone(), other],
        )),
        ..case.parts().await
    };
    let stop = parts.hand_over.clone();
    case.when(
        (Asker::Catalog, 0),
        move || stop.cancel(),
        |_| Script::Say(Box::new(Say::text("I must not.").stop("refusal"))),
    );
    is_interrupted(&start(&case.plan, &parts).await);
    assert_eq!((case.counted("answered"), case.counted("unanswered")), (0, 1));
    assert_eq!(case.scene.server.requests().len(), 1);
    case.goes_on(1).await;
}

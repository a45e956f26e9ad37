//! Requests with leave and without, of models that do as they are told.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::*;
use crate::llm::error::tests::status;
use crate::llm::retry::{Chain, RetryPolicy};
use crate::llm::tests::{request, turn};
use crate::llm::{Class, Message};

const SONNET: &str = "anthropic/claude-sonnet-5-5";
const SECOND: Duration = Duration::from_secs(1);

/// Books in memory, which can be out of reach.
struct Memory {
    ledger: Arc<Mutex<Ledger>>,
    now: Mutex<Timestamp>,
    writes: Mutex<Vec<Figures>>,
    away: Mutex<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Books for Memory {
    async fn keep(&self, more: Cost) -> Result<(), NotKept> {
        sleep(Duration::from_millis(10)).await;
        let figures = lock(&self.ledger).write(Some(more), self.now());
        if *lock(&self.away) {
            return Err(NotKept("no answer in time".into()));
        }
        lock(&self.ledger).written(&figures);
        lock(&self.writes).push(figures);
        Ok(())
    }

    fn moved(&self) {}

    fn now(&self) -> Timestamp {
        *lock(&self.now)
    }
}

/// A provider that allows so many cents a day.
struct Provider {
    desk: Desk,
    books: Arc<Memory>,
}

impl Provider {
    fn new(cents: u64, limits: Limits) -> Self {
        let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let budget = Budget {
            amount: Cost(cents * 10_000),
            period: Period::Day,
        };
        let ledger = Arc::new(Mutex::new(Ledger::open(Some(budget), None, now)));
        let books = Arc::new(Memory {
            ledger: Arc::clone(&ledger),
            now: Mutex::new(now),
            writes: Mutex::default(),
            away: Mutex::default(),
        });
        let name = "ModelProvider team/claude".to_owned();
        let desk = Desk::new(name, limits, ledger, Arc::clone(&books) as Arc<dyn Books>);
        Self { desk, books }
    }

    fn figures(&self) -> (Cost, Cost) {
        let figures = lock(&self.books.ledger).figures(self.books.now());
        (figures.spent, figures.reserved)
    }

    fn accounted(&self, model: &Arc<Told>) -> Arc<Accounted> {
        Arc::new(Accounted::new(
            Arc::clone(model) as Arc<dyn Model>,
            Arc::new(self.desk.clone()),
            Arc::new(Prices::bundled().clone()),
        ))
    }
}

/// Answers as it is told.
struct Told {
    spec: ModelSpec,
    answers: Mutex<VecDeque<Result<Turn, ModelError>>>,
    asked: Mutex<Vec<Instant>>,
    /// Whom it waits for before it answers.
    gate: Option<Notify>,
}

impl Told {
    fn new(spec: &str, answers: impl IntoIterator<Item = Result<Turn, ModelError>>) -> Arc<Self> {
        Arc::new(Self {
            spec: spec.parse().unwrap(),
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Mutex::default(),
            gate: None,
        })
    }

    fn times(&self) -> usize {
        lock(&self.asked).len()
    }
}

#[async_trait]
impl Model for Told {
    async fn complete(
        &self,
        _: &Request<'_>,
        _: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Turn, ModelError> {
        lock(&self.asked).push(Instant::now());
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        lock(&self.answers).pop_front().expect("asked too often")
    }

    fn spec(&self) -> &ModelSpec {
        &self.spec
    }
}

#[expect(clippy::unnecessary_wraps, reason = "they stand in lists beside errors")]
fn answer(output: u64) -> Result<Turn, ModelError> {
    let mut turn = turn(SONNET, &[]);
    turn.usage.output = output;
    Ok(turn)
}

fn broken() -> Result<Turn, ModelError> {
    Err(ModelError::Broken {
        model: SONNET.parse().unwrap(),
        message: "cut".into(),
        spent: Usage::default(),
    })
}

async fn ask(model: &dyn Model, deadline: Option<Duration>) -> (Result<Turn, ModelError>, Vec<String>) {
    let messages = [Message::User("a".into())];
    let request = Request {
        deadline: deadline.map(|time| Instant::now() + time),
        ..request(&messages)
    };
    let mut waits = Vec::new();
    let mut progress = |progress| {
        if let Progress::Waiting { why, .. } = progress {
            waits.push(why);
        }
    };
    let result = model.complete(&request, &mut progress).await;
    (result, waits)
}

/// What the request of [`ask`] may cost.
fn worst() -> Cost {
    let messages = [Message::User("a".into())];
    let spec = SONNET.parse().unwrap();
    Worst::of(&request(&messages), &spec, Prices::bundled())
        .cost
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_try_is_accounted_for() {
    let provider = Provider::new(100, Limits::default());
    let mut estimate = answer(10);
    if let Ok(turn) = &mut estimate {
        turn.estimated = true;
    }
    let told = Told::new(SONNET, [Err(status(529, None)), broken(), answer(7), estimate]);
    let chain = Chain::new(provider.accounted(&told), RetryPolicy::ALONE);
    ask(&chain, None).await.0.unwrap();
    // An error costs nothing, what broke off may have cost the most.
    assert_eq!(provider.figures(), (worst() + Cost(70), Cost(0)));
    ask(&chain, None).await.0.unwrap();
    assert_eq!(provider.figures(), (worst() + worst() + Cost(70), Cost(0)));
    assert_eq!(told.times(), 4);
    // One write was enough.
    assert_eq!(lock(&provider.books.writes).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_counts_as_the_worst() {
    let provider = Provider::new(100, Limits::default());
    let told = Arc::new(Told {
        gate: Some(Notify::new()),
        ..Arc::into_inner(Told::new(SONNET, [answer(1)])).unwrap()
    });
    let model = provider.accounted(&told);
    timeout(SECOND, ask(&*model, None)).await.unwrap_err();
    assert_eq!((told.times(), provider.figures()), (1, (worst(), Cost(0))));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_used_up_stops_the_run() {
    let provider = Provider::new(1, Limits::default());
    let told = Told::new(SONNET, [answer(900)]);
    let other = Told::new("anthropic/claude-opus-5-5", []);
    let chain = Chain::new(provider.accounted(&told), RetryPolicy::WITH_FALLBACK)
        .or(provider.accounted(&other), RetryPolicy::WITH_FALLBACK);
    ask(&chain, None).await.0.unwrap();
    let error = ask(&chain, None).await.0.unwrap_err();
    assert_eq!((error.class(), other.times()), (Class::Stop, 0));
    let ModelError::Budget { opens_at, .. } = error.last() else {
        panic!("{error:?}")
    };
    assert_eq!(opens_at.to_string(), "2026-11-27T00:00:00Z");
    let says = format!(
        "the budget of ModelProvider team/claude, $0.01 a day, is used up ($0.009 spent, $0.00 set aside, this request may cost up to {}): it opens again at 2026-11-27T00:00:00Z",
        worst()
    );
    assert_eq!(error.to_string(), says);
    // The next day.
    *lock(&provider.books.now) = *opens_at;
    lock(&told.answers).push_back(answer(1));
    ask(&chain, None).await.0.unwrap();
    assert_eq!(provider.figures(), (Cost(10), Cost(0)));
    assert_eq!(crate::run::RunError::from(error).kind(), crate::run::Kind::Budget);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_paid_is_a_mistake_of_the_setup() {
    let provider = Provider::new(1, Limits::default());
    for (model, says) in [
        (
            "openai/unknown",
            "openai/unknown has no known price, so the budget of ModelProvider team/claude can't be kept",
        ),
        (
            "openai/gpt-6-astra",
            "more than the whole budget of ModelProvider team/claude, $0.01 a day",
        ),
    ] {
        let told = Told::new(model, []);
        let error = ask(&*provider.accounted(&told), None).await.0.unwrap_err();
        assert!(
            matches!(&error, ModelError::Setup { message } if message.contains(says)),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_is_told_to_who_pays() {
    #[derive(Default)]
    struct Ear(Mutex<Vec<String>>);
    #[async_trait]
    impl Account for Ear {
        async fn admit(
            &self,
            _: &Worst,
            _: Option<Instant>,
            _: &mut (dyn FnMut(String) + Send),
        ) -> Result<Ticket, Refused> {
            Ok(Ticket::free())
        }

        fn key_refused(&self, message: &str) {
            lock(&self.0).push(message.to_owned());
        }
    }
    let ear = Arc::new(Ear::default());
    let told = Told::new(
        SONNET,
        [Err(status(403, None)), Err(status(401, None)), answer(1)],
    );
    let prices = Arc::new(Prices::bundled().clone());
    let model = Accounted::new(told, Arc::clone(&ear) as Arc<dyn Account>, prices);
    for _ in 0..3 {
        drop(ask(&model, None).await);
    }
    assert_eq!(
        lock(&ear.0).as_slice(),
        ["anthropic/a answered with error 401: no; check the API key"]
    );
}

#[tokio::test(start_paused = true)]
async fn others_are_waited_for() {
    // Enough for one at its worst, and a bit more.
    let cents = worst().0.div_ceil(10_000) + 1;
    let provider = Arc::new(Provider::new(cents, Limits::default()));
    let slow = Arc::new(Told {
        gate: Some(Notify::new()),
        ..Arc::into_inner(Told::new(SONNET, [answer(1)])).unwrap()
    });
    let first = provider.accounted(&slow);
    let first = tokio::spawn(async move { ask(&*first, None).await.0 });
    while slow.times() == 0 {
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_millis(5)).await;
    }
    let big = worst_of_long(cents);
    let told = Told::new(SONNET, [answer(2)]);
    let second = provider.accounted(&told);
    let second = tokio::spawn(async move { big.ask(&*second).await });
    sleep(SECOND).await;
    assert_eq!(told.times(), 0);
    slow.gate.as_ref().unwrap().notify_one();
    first.await.unwrap().unwrap();
    let (result, waits) = second.await.unwrap();
    result.unwrap();
    assert_eq!(
        waits,
        ["waiting for what others have set aside of the budget of ModelProvider team/claude"]
    );
    assert_eq!(provider.figures().0, Cost(30));
}

/// A prompt that costs nearly all of so many cents.
struct Long(String);

fn worst_of_long(cents: u64) -> Long {
    let bytes = (cents * 10_000 - 1_000 - worst().0) * 10 / 25;
    Long("x".repeat(usize::try_from(bytes).unwrap()))
}

impl Long {
    async fn ask(self, model: &dyn Model) -> (Result<Turn, ModelError>, Vec<String>) {
        let messages = [Message::User(self.0)];
        let mut waits = Vec::new();
        let mut progress = |progress| {
            if let Progress::Waiting { why, .. } = progress {
                waits.push(why);
            }
        };
        let result = model.complete(&request(&messages), &mut progress).await;
        (result, waits)
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_written_down_is_not_sent() {
    let provider = Provider::new(100, Limits::default());
    let told = Told::new(SONNET, [answer(1), answer(1)]);
    let model = provider.accounted(&told);
    *lock(&provider.books.away) = true;
    let (result, waits) = ask(&*model, None).await;
    let error = result.unwrap_err();
    assert_eq!((error.class(), told.times()), (Class::Retry, 0));
    assert!(
        error
            .to_string()
            .contains("the status of ModelProvider team/claude (no answer in time)"),
        "{error}"
    );
    assert!(waits.len() > 5, "{waits:?}");
    let (result, _) = ask(&*model, Some(SECOND * 5)).await;
    assert!(matches!(result, Err(ModelError::Deadline { .. })));
    // It comes back in time.
    let books = Arc::clone(&provider.books);
    tokio::spawn(async move {
        sleep(SECOND * 20).await;
        *lock(&books.away) = false;
    });
    ask(&*model, None).await.0.unwrap();
    ask(&*model, None).await.0.unwrap();
    assert_eq!(provider.figures(), (Cost(20), Cost(0)));
}

fn rates(requests: u32, tokens: u32) -> Limits {
    Limits {
        requests: NonZeroU32::new(requests),
        tokens: NonZeroU32::new(tokens),
    }
}

#[tokio::test(start_paused = true)]
async fn rates_are_shared_and_first_come_is_first_served() {
    let provider = Provider::new(100_000, rates(60, 6000));
    let began = Instant::now();
    let told = Told::new(SONNET, [answer(6000), answer(3000)]);
    let model = provider.accounted(&told);
    ask(&*model, None).await.0.unwrap();
    ask(&*model, None).await.0.unwrap();
    // The second had to pay for the first, which the bucket held; now it is empty, and owes half a minute.
    let asked: Vec<_> = (0..3).map(|_| Told::new(SONNET, [answer(1000)])).collect();
    let mut tasks = Vec::new();
    for told in &asked {
        let model = provider.accounted(told);
        tasks.push(tokio::spawn(async move { ask(&*model, None).await }));
        tokio::task::yield_now().await;
    }
    // Who has no time for that is told at once.
    let (late, _) = ask(&*model, Some(SECOND)).await;
    assert!(matches!(late, Err(ModelError::Deadline { .. })));
    let mut waits = Vec::new();
    for task in tasks {
        let (result, why) = task.await.unwrap();
        result.unwrap();
        waits.push(why);
    }
    assert_eq!(
        waits[0],
        ["waiting 30 s for the rate limits of ModelProvider team/claude"]
    );
    assert_eq!(waits[1][0], "waiting for leave of ModelProvider team/claude");
    let when: Vec<_> = asked
        .iter()
        .map(|told| (lock(&told.asked)[0] - began).as_secs())
        .collect();
    assert_eq!(when, [30, 40, 50]);
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_holds_up_nobody() {
    let provider = Provider::new(100_000, rates(1, 0));
    let told = Told::new(SONNET, [answer(1), answer(1)]);
    let model = provider.accounted(&told);
    ask(&*model, None).await.0.unwrap();
    let began = Instant::now();
    timeout(SECOND * 10, ask(&*model, None)).await.unwrap_err();
    ask(&*model, None).await.0.unwrap();
    assert!(
        began.elapsed() <= SECOND * 60 + Duration::from_millis(50),
        "{:?}",
        began.elapsed()
    );
    provider.desk.close();
    let error = ask(&*model, None).await.0.unwrap_err();
    assert!(
        error.to_string().contains("team/claude is not there any more"),
        "{error}"
    );
}

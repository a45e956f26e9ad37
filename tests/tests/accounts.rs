//! Leave for requests, and the probe of a key, against a server that speaks as the real ones do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cataloger::llm::account::{Accounted, Books, Budget, Desk, Figures, Ledger, Limits, NotKept, Period};
use cataloger::llm::prices::{Cost, Prices};
use cataloger::llm::{Http, Message, Model, ModelError, Probed, Progress, Provider, Providers, Request};
use cataloger_tests::model_server::{Failure, ModelServer, Reply, Say};
use serde_json::json;

/// Books that keep everything at once.
struct Kept {
    ledger: Arc<Mutex<Ledger>>,
    figures: Mutex<Vec<Figures>>,
}

#[async_trait]
impl Books for Kept {
    async fn keep(&self, more: Cost) -> Result<(), NotKept> {
        let mut ledger = self.ledger.lock().unwrap();
        let figures = ledger.write(Some(more), self.now());
        ledger.written(&figures);
        self.figures.lock().unwrap().push(figures);
        Ok(())
    }

    fn moved(&self) {}
}

/// All that a request needs, with so many cents for today.
struct Paid {
    model: Box<dyn Model>,
    books: Arc<Kept>,
}

impl Paid {
    fn new(server: &ModelServer, cents: u64) -> Self {
        let budget = Budget {
            amount: Cost(cents * 10_000),
            // A test must not run past the end of a period, and a month's is rare.
            period: Period::Month,
        };
        let now = "2026-11-26T12:00:00Z".parse().unwrap();
        let ledger = Arc::new(Mutex::new(Ledger::open(Some(budget), None, now)));
        let books = Arc::new(Kept {
            ledger: Arc::clone(&ledger),
            figures: Mutex::default(),
        });
        let name = "ModelProvider team/claude".to_owned();
        let desk = Arc::new(Desk::new(
            name,
            Limits::default(),
            ledger,
            Arc::clone(&books) as Arc<dyn Books>,
        ));
        let prices = Arc::new(Prices::bundled().clone());
        let providers = server.providers();
        let http = Http::new(&providers.timeouts).unwrap();
        let [first, other] = ["anthropic/claude-sonnet-5-5", "anthropic/claude-opus-5-5"];
        let chain = providers
            .chain_of(
                &http,
                &first.parse().unwrap(),
                &[other.parse().unwrap()],
                |model| Arc::new(Accounted::new(model, Arc::clone(&desk) as _, Arc::clone(&prices))),
            )
            .unwrap();
        Self {
            model: Box::new(chain),
            books,
        }
    }

    async fn ask(&self) -> Result<Cost, ModelError> {
        let messages = [Message::User("Hello".into())];
        let request = Request {
            system: "You are a cataloger.",
            messages: &messages,
            tools: &[],
            max_output_tokens: 1000,
            cache: true,
            deadline: None,
            again: None,
        };
        let turn = self.model.complete(&request, &mut |_: Progress| {}).await?;
        Ok(Prices::bundled().cost_of(&turn).unwrap())
    }

    fn spent(&self) -> Cost {
        let ledger = self.books.ledger.lock().unwrap();
        ledger.figures(self.books.now()).spent
    }
}

fn usage(input: u64, output: u64) -> serde_json::Value {
    json!({"input_tokens": input, "output_tokens": output})
}

#[tokio::test]
async fn each_request_of_a_chain_is_paid_by_what_it_used() {
    let server = ModelServer::start().await;
    let paid = Paid::new(&server, 50);
    server.say(Say::text("Hello").usage(usage(100, 20)));
    assert_eq!((paid.ask().await.unwrap(), paid.spent()), (Cost(400), Cost(400)));
    // Not there, so another one is asked: that it is not there costs nothing.
    server.fail(Failure::new(404));
    server.say(Say::text("Hello").usage(usage(100, 20)));
    assert_eq!(
        (paid.ask().await.unwrap(), paid.spent()),
        (Cost(800), Cost(1_200))
    );
    // It breaks off: it may cost what it may, until it has answered.
    server.say(Say::text("Hello").cut_after(2));
    server.say(Say::text("Hello").usage(usage(100, 20)));
    paid.ask().await.unwrap();
    assert!(paid.spent() > Cost(1_600 + 10_000), "{}", paid.spent());
    // So does an answer that does not say what it used.
    let before = paid.spent();
    server.say(Say::text("Hello").usage(json!(null)));
    paid.ask().await.unwrap();
    assert!(paid.spent() > before + Cost(10_000), "{}", paid.spent());
    assert_eq!(server.problems(), [""; 0]);
}

#[tokio::test]
async fn nothing_is_sent_beyond_the_budget() {
    let server = ModelServer::start().await;
    let paid = Paid::new(&server, 3);
    server.think(|_| {
        let say = Say::text("Hello").usage(usage(1000, 500));
        cataloger_tests::model_server::Script::Say(Box::new(say))
    });
    let error = loop {
        if let Err(error) = paid.ask().await {
            break error;
        }
    };
    assert!(matches!(error, ModelError::Budget { .. }), "{error}");
    let asked = server.requests().len();
    assert!(
        paid.spent() <= Cost(30_000) && (1..=4).contains(&asked),
        "{asked}: {}",
        paid.spent()
    );
    assert_eq!(paid.spent(), Cost(7_000 * asked as u64));
    for _ in 0..3 {
        paid.ask().await.unwrap_err();
    }
    assert_eq!(server.requests().len(), asked);
}

async fn probe(providers: &Providers, provider: Provider) -> Probed {
    let http = Http::new(&providers.timeouts).unwrap();
    providers.probe(&http, provider).await.unwrap()
}

#[tokio::test]
async fn keys_are_probed_for_nothing() {
    let server = ModelServer::start().await;
    let providers = server.providers();
    for provider in [Provider::Anthropic, Provider::OpenAi] {
        server.want(cataloger_tests::model_server::KEY);
        server.list(None);
        assert_eq!(probe(&providers, provider).await, Probed::Works);
        server.want("another");
        let Probed::Refused { message } = probe(&providers, provider).await else {
            panic!("{provider}")
        };
        assert_eq!(
            message,
            format!("{provider} answered with error 401: invalid x-api-key; check the API key")
        );
        for reply in [
            Reply::new(404, "text/plain", "nothing here"),
            Reply::new(405, "text/plain", ""),
            Reply::new(501, "text/plain", ""),
            Reply::new(200, "text/html", "<html>"),
        ] {
            server.list(Some(reply));
            assert!(matches!(probe(&providers, provider).await, Probed::NoList { .. }));
        }
        for reply in [
            Reply::new(503, "text/plain", "later"),
            Reply::new(302, "text/plain", "").header("location", "http://127.0.0.1:9/v1/models"),
            Reply::hang_up(),
        ] {
            server.list(Some(reply));
            assert!(matches!(probe(&providers, provider).await, Probed::Away { .. }));
        }
    }
    assert_eq!(server.requests().len(), 0);
    assert_eq!(server.listed(), 18);
    assert_eq!(probe(&providers, Provider::Builtin).await, Probed::Works);
    let mut nowhere = server.providers();
    nowhere.timeouts.connect = Duration::from_millis(200);
    nowhere.openai.base_url = Some("http://127.0.0.1:9/v1".into());
    assert!(matches!(
        probe(&nowhere, Provider::OpenAi).await,
        Probed::Away { .. }
    ));
}

//! One keeper, with an API server that has one object.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::super::fake::Server;
use super::*;
use crate::llm::account::Period;

struct Scene {
    server: Server,
    provider: Arc<Provider>,
    heard: Arc<Mutex<Vec<Verdict>>>,
    _keeper: Ended,
}

struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Scene {
    fn new(spec: &Value, status: &Value) -> Self {
        let server = Server::new(spec, status);
        let timeouts = Timeouts {
            connect: Duration::from_millis(100),
            ..Timeouts::default()
        };
        let provider = Arc::new(Provider::new(&server.client(), server.object()));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (told, about) = (Arc::clone(&heard), Arc::clone(&provider));
        let tools = Tools {
            client: server.client(),
            http: Http::new(&timeouts).unwrap(),
            timeouts,
            allowed: Box::new(|url| url.starts_with("http://127.0.0.1:9/")),
            tell: Box::new(move |_| lock(&told).push(about.verdict())),
            metrics: Metrics::new(),
        };
        let keeper = tokio::spawn(keep(Arc::clone(&provider), Arc::new(tools)));
        Self {
            server,
            provider,
            heard,
            _keeper: Ended(keeper),
        }
    }

    /// Waits until the status gives this reason. Time is not waited for.
    async fn reason(&self, reason: Reason) {
        for _ in 0..10_000 {
            if self.server.status("/conditions/0/reason") == json!(reason.as_str()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{} and not {reason}", self.server.status(""));
    }

    fn respec(&self, spec: Value) {
        self.server.change(|object| {
            object["spec"] = spec;
            let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
            object["metadata"]["generation"] = json!(generation + 1);
        });
        self.provider.update(self.server.object());
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_a_key_is_ready_at_once_and_left_alone() {
    let scene = Scene::new(&json!({"builtin": {}}), &json!(null));
    scene.reason(Reason::Ready).await;
    assert_eq!(scene.provider.verdict(), Verdict::Usable);
    assert_eq!(scene.server.status("/checkedAt"), Value::Null);
    assert_eq!(scene.server.status("/conditions/1"), Value::Null);
    let writes = scene.server.asked("PATCH status");
    tokio::time::sleep(Duration::from_hours(30)).await;
    assert_eq!(scene.server.asked("PATCH status"), writes);
    assert_eq!(lock(&scene.heard).as_slice(), [Verdict::Usable]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_looked_for_soon_without_hammering() {
    let anthropic = json!({"anthropic": {"apiKeySecretRef": {"name": "keys", "key": "k"},
        "baseURL": "http://127.0.0.1:9/"}});
    let scene = Scene::new(&anthropic, &json!(null));
    scene.reason(Reason::SecretMissing).await;
    tokio::time::sleep(Duration::from_hours(1)).await;
    let looks = scene.server.asked("GET secrets");
    assert!((12..=18).contains(&looks), "{looks}");
    assert!(scene.server.asked("PATCH status") <= 2);
    scene.server.secret("keys", "other", "x");
    scene.reason(Reason::KeyMissing).await;
    scene.server.secret("keys", "k", " \n");
    scene.reason(Reason::KeyEmpty).await;
    assert_eq!(scene.server.status("/conditions/1/type"), json!("Stalled"));
    // Nobody is at that port.
    scene.server.secret("keys", "k", "sk-1");
    scene.reason(Reason::Unreachable).await;
    assert!(matches!(scene.provider.verdict(), Verdict::Unknown { .. }));
    assert_eq!(scene.server.status("/checkedAt"), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_changed_spec_is_looked_at_at_once() {
    let scene = Scene::new(&json!({"builtin": {}}), &json!(null));
    scene.reason(Reason::Ready).await;
    scene.respec(json!({"openai": {"baseURL": "http://10.0.0.1/v1"}}));
    assert!(matches!(scene.provider.verdict(), Verdict::Unknown { .. }));
    scene.reason(Reason::NotAllowed).await;
    assert_eq!(scene.server.status("/observedGeneration"), json!(2));
    scene.respec(json!({"builtin": {}, "quantum": true}));
    scene.reason(Reason::NotUnderstood).await;
    assert!(scene.provider.provider().is_none());
    scene.respec(json!({"builtin": {}, "budget": {"amount": 0, "period": "Day"}}));
    scene.reason(Reason::BudgetUsedUp).await;
    assert!(matches!(scene.provider.verdict(), Verdict::Closed { .. }));
    scene.respec(json!({"builtin": {}}));
    scene.reason(Reason::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_used_up_closes_it_until_there_is_more() {
    let (since, until) = Period::Month.around(Timestamp::now());
    let spending = json!({"since": since, "until": until, "spent": 5, "reserved": 0});
    let spec = |amount: u32| json!({"builtin": {}, "budget": {"amount": amount}});
    let scene = Scene::new(&spec(5), &json!({"spending": spending}));
    scene.reason(Reason::BudgetUsedUp).await;
    let Verdict::Closed {
        until: opens,
        message,
    } = scene.provider.verdict()
    else {
        panic!("{:?}", scene.provider.verdict())
    };
    assert_eq!(opens, until);
    assert!(
        message.starts_with("the budget of $5.00 a month is used up ($5.00 spent)"),
        "{message}"
    );
    scene.respec(spec(6));
    scene.reason(Reason::Ready).await;
    assert_eq!(scene.provider.verdict(), Verdict::Usable);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_refused_is_believed_until_the_next_look() {
    let scene = Scene::new(&json!({"builtin": {}}), &json!(null));
    scene.reason(Reason::Ready).await;
    scene.provider.refused("error 401".to_owned());
    assert!(matches!(
        scene.provider.verdict(),
        Verdict::NotReady {
            reason: Reason::KeyRefused,
            ..
        }
    ));
    scene.reason(Reason::KeyRefused).await;
    scene.reason(Reason::Ready).await;
    let kinds: Vec<_> = lock(&scene.heard).iter().map(Verdict::kind).collect();
    assert_eq!(kinds, [(0, None), (3, Some(Reason::KeyRefused)), (0, None)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_nothing_is_written_that_stands_there() {
    let first = Scene::new(&json!({"builtin": {}, "budget": {"amount": 5}}), &json!(null));
    first.reason(Reason::Ready).await;
    let status = first.server.status("");
    let again = Scene::new(&json!({"builtin": {}, "budget": {"amount": 5}}), &status);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(again.provider.verdict(), Verdict::Usable);
    assert_eq!(
        (again.server.status(""), again.server.asked("PATCH status")),
        (status, 0)
    );
}

//! Several models that answer as one.
//!
//! What is done about a failure is decided in [`super::decide`]; whether it can be paid for, by who asks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{Decision, RetryPolicy, Tried, decide};
use crate::llm::{Attempt, Model, ModelError, ModelSpec, Progress, Request, StopReason, Turn};

struct Link {
    model: Arc<dyn Model>,
    policy: RetryPolicy,
}

/// Several models, asked in order until one answers, each as patiently as its policy says.
///
/// It has no state. The model that gave the last turn of a conversation is asked first, so a conversation stays
/// with the model that it fell back to (whose cache and thoughts it has), also after a restart.
pub struct Chain {
    first: Link,
    others: Vec<Link>,
}

impl Chain {
    /// Of one model.
    pub fn new(model: Arc<dyn Model>, policy: RetryPolicy) -> Self {
        Self {
            first: Link { model, policy },
            others: Vec::new(),
        }
    }

    /// With another one to fall back to.
    #[must_use]
    pub fn or(mut self, model: Arc<dyn Model>, policy: RetryPolicy) -> Self {
        self.others.push(Link { model, policy });
        self
    }

    /// From the one that gave the last turn, around.
    fn order(&self, last: Option<&ModelSpec>) -> Vec<&Link> {
        let mut links: Vec<&Link> = std::iter::once(&self.first).chain(&self.others).collect();
        let start = last.and_then(|last| links.iter().position(|link| link.model.spec() == last));
        links.rotate_left(start.unwrap_or(0));
        links
    }
}

/// One model, until it answers or there is no point in asking it again.
async fn ask(
    link: &Link,
    request: &Request<'_>,
    progress: &mut (dyn FnMut(Progress) + Send),
    attempts: &mut Vec<Attempt>,
) -> Result<Turn, (Decision, ModelError)> {
    let asked = link.model.spec();
    let mut tried = Tried::default();
    loop {
        let error = match link.model.complete(request, progress).await {
            Ok(turn) => return Ok(turn),
            Err(error) => error,
        };
        tried.failures += 1;
        let left = request
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let decision = decide(&link.policy, tried, &error, left, rand::random());
        attempts.push(Attempt {
            asked: asked.clone(),
            problem: error.to_string(),
            spent: error.spent(),
            waited: Duration::ZERO,
        });
        let wait = match decision {
            Decision::Again(wait) if request.may_go_on(attempts) => wait,
            Decision::Again(_) => return Err((Decision::GiveUp, error)),
            Decision::Next | Decision::GiveUp => return Err((decision, error)),
        };
        if let Some(attempt) = attempts.last_mut() {
            attempt.waited = wait;
        }
        tracing::debug!(model = %asked, problem = %error, wait_ms = wait.as_millis(), "asking a model again");
        progress(Progress::Retrying {
            model: asked.clone(),
            problem: error.to_string(),
            after: wait,
        });
        sleep(wait).await;
        tried.waited += wait;
    }
}

#[async_trait]
impl Model for Chain {
    async fn complete(
        &self,
        request: &Request<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Turn, ModelError> {
        request.check()?;
        let mut attempts = Vec::new();
        let mut refused: Option<Turn> = None;
        let mut last: Option<(ModelSpec, ModelError)> = None;
        let mut from: Option<(ModelSpec, String)> = None;
        for link in self.order(request.last_turn().map(|turn| &turn.asked)) {
            if !attempts.is_empty() && !request.may_go_on(&attempts) {
                break;
            }
            let asked = link.model.spec().clone();
            if let Some((from, problem)) = from.take() {
                tracing::debug!(%from, to = %asked, problem, "falling back to another model");
                progress(Progress::FellBack {
                    from,
                    to: asked.clone(),
                    problem,
                });
            }
            match ask(link, request, progress, &mut attempts).await {
                Ok(mut turn) if turn.stop == StopReason::Refusal && refused.is_none() => {
                    // Another model may answer. If none does, the refusal is the answer.
                    let problem = turn.stop_detail.as_ref().map_or_else(
                        || format!("{asked} refused"),
                        |why| format!("{asked} refused: {why}"),
                    );
                    turn.attempts.clone_from(&attempts);
                    attempts.push(Attempt {
                        asked: asked.clone(),
                        problem: problem.clone(),
                        spent: turn.usage,
                        waited: Duration::ZERO,
                    });
                    refused = Some(turn);
                    from = Some((asked, problem));
                }
                Ok(mut turn) => {
                    turn.attempts = attempts;
                    return Ok(turn);
                }
                Err((decision, error)) => {
                    let problem = error.to_string();
                    last = Some((asked.clone(), error));
                    from = Some((asked, problem));
                    if decision == Decision::GiveUp {
                        break;
                    }
                }
            }
        }
        if let Some(mut turn) = refused {
            // What was tried after it was paid for too.
            let own = turn.attempts.len();
            turn.attempts.extend(attempts.into_iter().skip(own + 1));
            return Ok(turn);
        }
        Err(match last {
            // One attempt needs no list, but what it used must not be lost.
            Some((_, error)) if attempts.len() == 1 => error,
            Some((_, last)) => ModelError::Exhausted {
                attempts,
                last: Box::new(last),
            },
            None => ModelError::setup("there is no model to ask"),
        })
    }

    fn spec(&self) -> &ModelSpec {
        self.first.model.spec()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;
    use crate::llm::error::tests::status;
    use crate::llm::tests::{request, turn};
    use crate::llm::{Class, Message, Usage};

    const SECOND: Duration = Duration::from_secs(1);

    /// Answers as it is told, and remembers when.
    struct Told {
        spec: ModelSpec,
        answers: Mutex<VecDeque<Result<Turn, ModelError>>>,
        asked: Mutex<Vec<Instant>>,
    }

    impl Told {
        fn new(spec: &str, answers: impl IntoIterator<Item = Result<Turn, ModelError>>) -> Arc<Self> {
            Arc::new(Self {
                spec: spec.parse().unwrap(),
                answers: Mutex::new(answers.into_iter().collect()),
                asked: Mutex::default(),
            })
        }

        fn times(&self) -> usize {
            self.asked.lock().unwrap().len()
        }
    }

    #[async_trait]
    impl Model for Told {
        async fn complete(
            &self,
            _: &Request<'_>,
            _: &mut (dyn FnMut(Progress) + Send),
        ) -> Result<Turn, ModelError> {
            self.asked.lock().unwrap().push(Instant::now());
            self.answers.lock().unwrap().pop_front().expect("asked too often")
        }

        fn spec(&self) -> &ModelSpec {
            &self.spec
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "they stand in lists beside errors")]
    fn answer(spec: &str) -> Result<Turn, ModelError> {
        let mut turn = turn(spec, &[]);
        turn.usage.output = 10;
        turn.stop = StopReason::EndTurn;
        Ok(turn)
    }

    fn refusal(spec: &str) -> Result<Turn, ModelError> {
        answer(spec).map(|turn| Turn {
            stop: StopReason::Refusal,
            stop_detail: Some("bio".into()),
            ..turn
        })
    }

    fn broken(spec: &str) -> Result<Turn, ModelError> {
        Err(ModelError::Broken {
            model: spec.parse().unwrap(),
            message: "cut".into(),
            spent: Usage {
                output: 7,
                ..Usage::default()
            },
        })
    }

    fn chain(models: &[&Arc<Told>]) -> Chain {
        let mut models = models.iter().map(|model| Arc::clone(*model) as Arc<dyn Model>);
        let first = Chain::new(models.next().unwrap(), RetryPolicy::WITH_FALLBACK);
        models.fold(first, |chain, model| chain.or(model, RetryPolicy::WITH_FALLBACK))
    }

    async fn complete(chain: &Chain, messages: &[Message]) -> (Result<Turn, ModelError>, Vec<Progress>) {
        let mut seen = Vec::new();
        let result = chain
            .complete(&request(messages), &mut |progress| seen.push(progress))
            .await;
        (result, seen)
    }

    fn said() -> Vec<Message> {
        vec![Message::User("a".into())]
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_answer_is_asked_for_again_and_counted() {
        let a = Told::new(
            "anthropic/a",
            [
                broken("anthropic/a"),
                Err(status(529, Some(9))),
                answer("anthropic/a"),
            ],
        );
        let (turn, seen) = complete(&chain(&[&a]), &said()).await;
        let turn = turn.unwrap();
        assert_eq!(turn.spent().output, 17);
        assert_eq!(turn.attempts.len(), 2);
        assert!(turn.attempts[1].waited >= SECOND * 9);
        assert!(matches!(
            seen[..],
            [Progress::Retrying { .. }, Progress::Retrying { .. }]
        ));
        let times = a.asked.lock().unwrap();
        assert!(times[2] - times[1] >= SECOND * 9);
    }

    #[tokio::test(start_paused = true)]
    async fn falling_back_says_why_and_stays() {
        let a = Told::new("anthropic/a", [Err(status(404, None))]);
        let b = Told::new("openai/b", [answer("openai/b"), answer("openai/b")]);
        let chain = chain(&[&a, &b]);
        let (turn, seen) = complete(&chain, &said()).await;
        let turn = turn.unwrap();
        assert!(turn.attempts[0].problem.contains("404"), "{:?}", turn.attempts);
        assert!(matches!(&seen[..], [Progress::FellBack { problem, .. }] if problem.contains("404")));

        let mut messages = said();
        messages.push(Message::Assistant(Box::new(turn)));
        messages.push(Message::User("b".into()));
        let (turn, _) = complete(&chain, &messages).await;
        assert_eq!(turn.unwrap().attempts, []);
        assert_eq!((a.times(), b.times()), (1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_the_answer_only_if_nobody_answers() {
        let a = Told::new("anthropic/a", [refusal("anthropic/a"), refusal("anthropic/a")]);
        let b = Told::new("openai/b", [answer("openai/b"), Err(status(404, None))]);
        let chain = chain(&[&a, &b]);
        let turn = complete(&chain, &said()).await.0.unwrap();
        assert_eq!(
            (turn.stop.clone(), turn.spent().output),
            (StopReason::EndTurn, 20)
        );
        assert_eq!(turn.attempts[0].problem, "anthropic/a refused: bio");
        let turn = complete(&chain, &said()).await.0.unwrap();
        assert_eq!(
            (turn.stop.clone(), turn.spent().output),
            (StopReason::Refusal, 10)
        );
        assert_eq!(turn.attempts.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_the_error_has_it_all() {
        let fails = |spec: &'static str| Told::new(spec, (0..4).map(move |_| broken(spec)));
        let (a, b) = (fails("anthropic/a"), fails("openai/b"));
        let error = complete(&chain(&[&a, &b]), &said()).await.0.unwrap_err();
        assert_eq!((a.times(), b.times()), (4, 4));
        assert_eq!(error.spent().output, 56);
        assert!(error.to_string().contains("asked 8 times"), "{error}");
    }

    /// What a request that may be sent `times` times was told, and what came of it.
    async fn paid(chain: &Chain, times: usize) -> (Result<Turn, ModelError>, Vec<Vec<Attempt>>) {
        let told = Mutex::new(Vec::new());
        let again = |attempts: &[Attempt]| {
            told.lock().unwrap().push(attempts.to_vec());
            attempts.len() < times
        };
        let messages = said();
        let request = Request {
            again: Some(&again),
            ..request(&messages)
        };
        let result = chain.complete(&request, &mut |_| {}).await;
        (result, told.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_paid_is_not_asked_again() {
        let a = Told::new("anthropic/a", (0..2).map(|_| broken("anthropic/a")));
        let b = Told::new("openai/b", []);
        let began = Instant::now();
        let (result, told) = paid(&chain(&[&a, &b]), 2).await;
        let error = result.unwrap_err();
        assert_eq!((a.times(), b.times()), (2, 0));
        assert!(began.elapsed() <= SECOND, "waited for nothing");
        assert_eq!(error.spent().output, 14);
        assert_eq!(error.class(), Class::Retry);
        assert!(error.to_string().contains("asked 2 times"), "{error}");
        let spent = |attempts: &Vec<Attempt>| attempts.iter().map(|attempt| attempt.spent.output).sum();
        assert_eq!(told.iter().map(spent).collect::<Vec<u64>>(), [7, 14]);
        assert_eq!(told[0][0].waited, Duration::ZERO);
        let ModelError::Exhausted { attempts, .. } = error else {
            panic!("{error}")
        };
        assert!(attempts[0].waited > Duration::ZERO);
        assert_eq!(attempts[1].waited, Duration::ZERO);

        // One attempt needs no list.
        let a = Told::new("anthropic/a", [broken("anthropic/a")]);
        let error = paid(&chain(&[&a]), 1).await.0.unwrap_err();
        assert!(matches!(error, ModelError::Broken { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_not_be_paid_does_not_fall_back() {
        let a = Told::new("anthropic/a", [Err(status(404, None))]);
        let b = Told::new("openai/b", []);
        let (result, told) = paid(&chain(&[&a, &b]), 1).await;
        assert!(matches!(
            result.unwrap_err(),
            ModelError::Status { status: 404, .. }
        ));
        assert_eq!((told.len(), b.times()), (1, 0));

        // A refusal counts, and is the answer.
        let a = Told::new("anthropic/a", [broken("anthropic/a"), refusal("anthropic/a")]);
        let (result, told) = paid(&chain(&[&a, &b]), 2).await;
        let turn = result.unwrap();
        assert_eq!(
            (turn.stop.clone(), turn.spent().output),
            (StopReason::Refusal, 17)
        );
        assert_eq!(told[1][1].problem, "anthropic/a refused: bio");
        assert_eq!(b.times(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_asks_what_it_costs_where_nothing_is_sent_again() {
        let a = Told::new("anthropic/a", [answer("anthropic/a"), Err(status(404, None))]);
        let (result, told) = paid(&chain(&[&a]), 0).await;
        assert_eq!((result.unwrap().attempts, told), (vec![], vec![]));
        let (result, told) = paid(&chain(&[&a]), 0).await;
        assert_eq!((result.unwrap_err().class(), told), (Class::Elsewhere, vec![]));
        let a = Told::new("anthropic/a", [Err(status(529, None)), answer("anthropic/a")]);
        let (result, told) = paid(&chain(&[&a]), 9).await;
        assert_eq!((result.unwrap().attempts.len(), told.len()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_key_is_not_hidden_by_another_model() {
        let a = Told::new("anthropic/a", [Err(status(401, None))]);
        let b = Told::new("openai/b", []);
        let error = complete(&chain(&[&a, &b]), &said()).await.0.unwrap_err();
        assert!(matches!(error, ModelError::Status { status: 401, .. }));
        assert_eq!(b.times(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_a_conversation_is_not_sent() {
        let a = Told::new("anthropic/a", []);
        let error = complete(&chain(&[&a]), &[]).await.0.unwrap_err();
        assert_eq!(error.class(), Class::Stop);
    }
}

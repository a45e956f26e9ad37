//! The client against a daemon that is made up here, over streams that are cut, silent or late.
//!
//! Time is paused: whatever waits, waits for nothing.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::BytesMut;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, duplex};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::*;
use crate::sandbox::protocol::frames::Frames;
use crate::sandbox::protocol::messages::{Parsed, parse};
use crate::sandbox::protocol::seal::{Binding, InstallationSecret, Key, Nonce, Opener, Sealer};
use crate::sandbox::{Class, Loss, State, Status};

/// What the next connection is like.
#[derive(Debug, Clone, Default)]
struct Plan {
    /// The dial fails.
    unreachable: bool,
    /// There is nothing to dial.
    gone: bool,
    /// So many bytes go from the daemon, then the stream ends.
    cut_answers: Option<usize>,
    /// So many bytes go to the daemon, then the stream ends.
    cut_questions: Option<usize>,
    /// The daemon says nothing after its ready.
    mute: bool,
    /// What the daemon says after its ready, sealed.
    says: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct Run {
    body: Vec<u8>,
    output: String,
    result: Option<Value>,
}

#[derive(Debug, Default)]
struct World {
    plans: VecDeque<Plan>,
    dials: Vec<Instant>,
    connection: u64,
    epoch: u64,
    key: Option<[u8; 32]>,
    claims: Vec<Vec<String>>,
    last: u64,
    runs: BTreeMap<u64, Run>,
    started: Vec<u64>,
    acknowledged: Vec<u64>,
    interrupts: Vec<u64>,
    ended: bool,
}

/// A daemon that lives as long as the test.
#[derive(Clone)]
struct Fake {
    boot: Arc<Mutex<BootId>>,
    world: Arc<Mutex<World>>,
    changed: watch::Sender<()>,
}

impl Fake {
    fn new() -> Self {
        let (boot, world) = (Arc::new(Mutex::new(BootId::random())), Arc::default());
        Self {
            boot,
            world,
            changed: watch::Sender::new(()),
        }
    }

    fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        let seen = look(&mut self.world.lock().unwrap());
        self.changed.send_replace(());
        seen
    }

    fn plan(&self, plans: impl IntoIterator<Item = Plan>) -> &Self {
        self.world(|world| world.plans.extend(plans));
        self
    }

    /// Cuts every connection that there is.
    fn cut(&self) {
        self.world(|world| world.connection += 1);
    }

    fn restart(&self) {
        *self.boot.lock().unwrap() = BootId::random();
        self.world(|world| {
            let (plans, claims) = (
                std::mem::take(&mut world.plans),
                std::mem::take(&mut world.claims),
            );
            *world = World {
                plans,
                claims,
                connection: world.connection + 1,
                ..World::default()
            };
        });
    }

    /// `echo X` writes X; `sleep N` takes N seconds; `slow X` writes X, one character a second.
    async fn run(self, id: u64, code: String) {
        let (word, rest) = code.split_once(' ').unwrap_or((&code, ""));
        match word {
            "echo" => self.write(id, rest),
            "sleep" => sleep(Duration::from_secs(rest.parse().unwrap())).await,
            "slow" => {
                for character in rest.chars() {
                    sleep(Duration::from_secs(1)).await;
                    self.write(id, &character.to_string());
                }
            }
            _ => {}
        }
        self.world(|world| {
            let run = world.runs.get_mut(&id).unwrap();
            run.result = Some(json!({
                "type": "result", "id": id, "ok": true, "status": "ok", "output": run.output, "size": 1,
                "total": run.output.len(), "omitted": 0, "state": "kept", "detail": null, "notice": null,
                "background": null, "error": null, "duration_ms": 1, "generation": 1,
            }));
        });
    }

    fn write(&self, id: u64, text: &str) {
        self.world(|world| world.runs.get_mut(&id).unwrap().output.push_str(text));
    }

    /// One call as the daemon takes it: what it says at once, if anything.
    fn take(&self, id: CallId, body: &[u8], code: &str) -> Option<Value> {
        let id = id.0;
        let refusal = |code: &str, running: Option<u64>| {
            Some(json!({"type": "refusal", "id": id, "code": code, "message": "no", "running": running}))
        };
        let start = self.world(|world| {
            if let Some(run) = world.runs.get(&id) {
                return if run.body == body {
                    Ok(false)
                } else {
                    Err(refusal("conflict", None))
                };
            }
            if id <= world.last {
                return Err(refusal("forgotten", None));
            }
            if let Some((running, _)) = world.runs.iter().find(|(_, run)| run.result.is_none()) {
                return Err(refusal("busy", Some(*running)));
            }
            world.last = id;
            world.started.push(id);
            world.runs.insert(
                id,
                Run {
                    body: body.to_vec(),
                    ..Run::default()
                },
            );
            Ok(true)
        });
        match start {
            Ok(true) => {
                tokio::spawn(self.clone().run(id, code.to_owned()));
                None
            }
            Ok(false) => None,
            Err(refusal) => refusal,
        }
    }

    #[expect(clippy::too_many_lines, reason = "a daemon in one place")]
    async fn serve(self, stream: tokio::io::DuplexStream, plan: Plan) -> Option<()> {
        let boot = self.boot.lock().unwrap().clone();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut inbox = BytesMut::new();
        let daemon = Nonce::random();
        let claimed = self.world(|world| world.key.is_some());
        let welcome =
            json!({"type": "welcome", "protocols": [1], "boot": boot, "nonce": daemon, "claimed": claimed});
        say(&mut writer, None, &welcome).await?;
        let hello = frame(&mut reader, &mut inbox).await?;
        let Parsed::Known(ControllerMessage::Hello(hello)) = parse(&hello).unwrap() else {
            panic!("no hello")
        };
        if let Some(claim) = &hello.claim {
            assert!(!claimed, "claimed twice");
            let key = secrecy::ExposeSecret::expose_secret(&claim.key);
            self.world(|world| {
                world.key = Some(hex::decode(key).unwrap().try_into().unwrap());
                world
                    .claims
                    .push(claim.env.iter().map(|(name, _)| name.to_owned()).collect());
            });
        }
        let binding = Binding {
            boot: boot.clone(),
            daemon,
            controller: hello.nonce,
            epoch: hello.epoch,
        };
        let key = Key::from_bytes(self.world(|world| world.key).unwrap());
        let newest = self.world(|world| world.epoch);
        if binding.proof(&key) != hello.proof {
            return say(
                &mut writer,
                None,
                &json!({"type": "refused", "code": "proof", "message": ""}),
            )
            .await;
        }
        if hello.epoch < newest {
            let refused = json!({"type": "refused", "code": "epoch", "message": "", "epoch": newest});
            return say(&mut writer, None, &refused).await;
        }
        let mine = self.world(|world| {
            world.epoch = hello.epoch;
            world.connection += 1;
            world.connection
        });
        let mut opener = Opener::new(&binding.controller_key(&key), 0);
        let mut sealer = Sealer::new(&binding.daemon_key(&key), 0);
        let last = self.world(|world| world.last);
        let ready = json!({"type": "ready", "epoch": hello.epoch, "last": last, "running": null, "kept": [], "generation": 1, "beat_ms": 5000});
        say(&mut writer, Some(&mut sealer), &ready).await?;
        for text in &plan.says {
            say_raw(&mut writer, Some(&mut sealer), text.as_bytes()).await?;
        }
        if plan.mute {
            std::future::pending::<()>().await;
        }
        let mut changed = self.changed.subscribe();
        let mut asked: BTreeMap<u64, usize> = BTreeMap::new();
        let mut beat = tokio::time::interval(Duration::from_secs(5));
        beat.tick().await;
        loop {
            let mut news = Vec::new();
            let (now, ended) = self.world(|world| {
                asked.retain(|id, seen| {
                    let run = &world.runs[id];
                    if *seen < run.output.len() {
                        let offset = run.output[..*seen].chars().count();
                        news.push(json!({"type": "output", "id": id, "offset": offset, "data": run.output[*seen..]}));
                        *seen = run.output.len();
                    }
                    news.extend(run.result.clone());
                    run.result.is_none()
                });
                (world.connection, world.ended)
            });
            changed.mark_unchanged();
            if now != mine {
                let newest = self.world(|world| world.epoch);
                let error = json!({"type": "error", "code": "superseded", "message": "", "epoch": newest});
                return if newest > hello.epoch {
                    say(&mut writer, Some(&mut sealer), &error).await
                } else {
                    None
                };
            }
            for new in news {
                say(&mut writer, Some(&mut sealer), &new).await?;
            }
            if ended {
                return say(&mut writer, Some(&mut sealer), &json!({"type": "bye"})).await;
            }
            let body = tokio::select! {
                body = frame(&mut reader, &mut inbox) => opener.open(body?).unwrap(),
                _ = changed.changed() => continue,
                _ = beat.tick() => {
                    say(&mut writer, Some(&mut sealer), &json!({"type": "beat"})).await?;
                    continue;
                }
            };
            let Parsed::Known(message) = parse::<ControllerMessage>(&body).unwrap() else {
                panic!("{body:?}")
            };
            let (id, code) = match message {
                ControllerMessage::Execute(execute) => (execute.id, execute.code),
                ControllerMessage::Reset(reset) => (reset.id, "reset".to_owned()),
                ControllerMessage::PutFile(file) => (file.id, "put".to_owned()),
                ControllerMessage::Ack { through } => {
                    self.world(|world| world.acknowledged.push(through.0));
                    continue;
                }
                ControllerMessage::Interrupt { id } => {
                    self.world(|world| world.interrupts.push(id.0));
                    continue;
                }
                ControllerMessage::Status => {
                    let status = json!({
                        "type": "status", "boot": boot, "uptime_ms": 1, "generation": 1, "running": null, "last": 0,
                        "kept": [], "processes": 1, "memory_bytes": 1, "memory_limit": null, "daemon_bytes": 1,
                    });
                    say(&mut writer, Some(&mut sealer), &status).await?;
                    continue;
                }
                ControllerMessage::Shutdown => {
                    self.world(|world| world.ended = true);
                    continue;
                }
                ControllerMessage::Beat => continue,
                ControllerMessage::Hello(_) => panic!("hello twice"),
            };
            match self.take(id, &body, &code) {
                Some(refusal) => say(&mut writer, Some(&mut sealer), &refusal).await?,
                None => drop(asked.insert(id.0, 0)),
            }
        }
    }
}

async fn frame(reader: &mut (impl AsyncRead + Unpin), inbox: &mut BytesMut) -> Option<Bytes> {
    loop {
        if let Some(frame) = Frames.decode(inbox).unwrap() {
            return Some(frame);
        }
        if reader.read_buf(inbox).await.ok()? == 0 {
            return None;
        }
    }
}

async fn say(
    writer: &mut (impl AsyncWrite + Unpin),
    sealer: Option<&mut Sealer>,
    message: &Value,
) -> Option<()> {
    say_raw(writer, sealer, message.to_string().as_bytes()).await
}

async fn say_raw(
    writer: &mut (impl AsyncWrite + Unpin),
    sealer: Option<&mut Sealer>,
    body: &[u8],
) -> Option<()> {
    let mut outbox = BytesMut::new();
    match sealer {
        Some(sealer) => sealer.seal(body, &mut outbox).unwrap(),
        None => Frames.encode([body], &mut outbox).unwrap(),
    }
    writer.write_all(&outbox).await.ok()
}

/// A stream that ends after so many bytes.
struct Cut<S> {
    stream: S,
    left: Option<usize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = self.left.unwrap_or(usize::MAX).min(buffer.remaining());
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut space = vec![0; room.min(4096)];
        let mut part = ReadBuf::new(&mut space);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let read = part.filled().len();
        buffer.put_slice(part.filled());
        if let Some(left) = &mut self.left {
            *left -= read;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cut<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = self.left.unwrap_or(usize::MAX).min(data.len());
        if room == 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, &data[..room]))?;
        if let Some(left) = &mut self.left {
            *left -= written;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl Dial for Fake {
    async fn dial(&self) -> Result<Connection, DialError> {
        let plan = self.world(|world| {
            world.dials.push(Instant::now());
            let last = world.plans.len() == 1;
            match world.plans.front() {
                // What fails for ever is the last plan.
                Some(plan) if last && (plan.unreachable || plan.gone) => plan.clone(),
                _ => world.plans.pop_front().unwrap_or_default(),
            }
        });
        if plan.gone {
            return Err(DialError::Gone("exit status: 137".into()));
        }
        if plan.unreachable {
            return Err(DialError::Unreachable("no route to host".into()));
        }
        // Small, so that what is large has to be written and read by turns.
        let (near, far) = duplex(512);
        let (reader, writer) = tokio::io::split(near);
        tokio::spawn(self.clone().serve(far, plan.clone()));
        Ok(Connection {
            reader: Box::new(Cut {
                stream: reader,
                left: plan.cut_answers,
            }),
            writer: Box::new(Cut {
                stream: writer,
                left: plan.cut_questions,
            }),
            guard: Box::new(()),
        })
    }
}

fn identity(epoch: u64) -> Identity {
    Identity {
        secret: InstallationSecret::new(*b"installation"),
        run: "20261121T145300Z".into(),
        epoch,
    }
}

fn new() -> Attach {
    Attach::New {
        env: Variables::from_iter([("DATABASE_URL", "postgresql://db")]),
    }
}

async fn connect(fake: &Fake, epoch: u64, attach: Attach) -> Result<Client, SandboxError> {
    Client::connect(fake.clone(), identity(epoch), attach, Timing::default()).await
}

async fn client(fake: &Fake) -> Client {
    connect(fake, 1, new()).await.unwrap()
}

async fn execute(client: &Client, id: u64, code: &str) -> Result<(String, Executed), SandboxError> {
    let mut seen = String::new();
    let mut next = 0;
    let result = client
        .execute(CallId(id), &Cell::new(code), &mut |chunk: Chunk| {
            assert_eq!(chunk.offset, next, "output came twice or was left out");
            next += chunk.text.chars().count() as u64;
            seen.push_str(&chunk.text);
        })
        .await?;
    Ok((seen, result))
}

#[tokio::test(start_paused = true)]
async fn a_call_is_run_and_answered() {
    let fake = Fake::new();
    let client = client(&fake).await;
    assert_eq!(client.last_call(), CallId(0));
    let (seen, result) = execute(&client, 1, "echo één 🐍").await.unwrap();
    assert_eq!((seen.as_str(), result.output.as_str()), ("één 🐍", "één 🐍"));
    assert_eq!(
        (result.ok, result.status, result.state),
        (true, Status::Ok, State::Kept)
    );
    assert_eq!(client.last_call(), CallId(1));
    assert_eq!(fake.world(|world| world.claims.clone()), [["DATABASE_URL"]]);
    assert_eq!(client.status().await.unwrap().boot, client.boot());
    assert!(
        client
            .put_file(CallId(2), "a", Bytes::from(vec![b'x'; 100_000]), false)
            .await
            .unwrap()
            .ok
    );
    assert!(client.reset(CallId(3), &Variables::new()).await.unwrap().ok);
}

#[tokio::test(start_paused = true)]
async fn streams_cut_anywhere_lose_nothing_and_repeat_nothing() {
    // The handshake and three calls take some 1,500 bytes in each direction.
    for seed in 0..400_usize {
        let fake = Fake::new();
        let cut = |at: usize| Plan {
            cut_answers: at.is_multiple_of(2).then_some(at),
            cut_questions: (!at.is_multiple_of(2)).then_some(at),
            ..Plan::default()
        };
        fake.plan((0..6).map(|n| cut((seed * 7 + n * 331) % 1600)));
        let client = client(&fake).await;
        for (id, text) in [(1, "échoué"), (2, "🐍🐍🐍🐍"), (5, "abcdef")] {
            let (seen, result) = execute(&client, id, &format!("slow {text}")).await.unwrap();
            assert_eq!(
                (seen.as_str(), result.output.as_str()),
                (text, text),
                "seed {seed}"
            );
        }
        assert_eq!(
            fake.world(|world| world.started.clone()),
            [1, 2, 5],
            "seed {seed}"
        );
        assert_eq!(fake.world(|world| world.claims.len()), 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_controller_takes_over_and_gets_the_same_answers() {
    let fake = Fake::new();
    let first = Arc::new(client(&fake).await);
    execute(&first, 1, "echo one").await.unwrap();
    let running = tokio::spawn({
        let first = Arc::clone(&first);
        async move { execute(&first, 2, "slow two").await }
    });
    sleep(Duration::from_secs(1)).await;
    let second = connect(
        &fake,
        2,
        Attach::Existing {
            boot: Some(first.boot()),
        },
    )
    .await
    .unwrap();
    assert_eq!(second.last_call(), CallId(2));
    assert_eq!(execute(&second, 1, "echo one").await.unwrap().1.output, "one");
    assert_eq!(execute(&second, 2, "slow two").await.unwrap().0, "two");
    let error = running.await.unwrap().unwrap_err();
    assert!(
        matches!(error, SandboxError::Superseded { ours: 1, theirs: 2 }),
        "{error}"
    );
    assert_eq!(error.class(), Class::Stop);
    assert!(matches!(
        execute(&first, 3, "echo").await,
        Err(SandboxError::Superseded { .. })
    ));
    assert!(matches!(
        connect(&fake, 1, new()).await,
        Err(SandboxError::Superseded { ours: 1, theirs: 2 })
    ));
    assert_eq!(fake.world(|world| world.started.clone()), [1, 2]);
    assert_eq!(fake.world(|world| world.claims.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn only_a_new_sandbox_gets_a_claim() {
    let fake = Fake::new();
    let error = connect(&fake, 2, Attach::Existing { boot: None })
        .await
        .unwrap_err();
    assert!(matches!(error, SandboxError::NotClaimed), "{error}");
    assert_eq!(error.class(), Class::Rebuild);
    assert_eq!(fake.world(|world| world.claims.len()), 0);

    // Restarted after the handshake, even though nothing was called: a loss, and no second claim.
    let client = client(&fake).await;
    let before = client.boot();
    fake.restart();
    let error = execute(&client, 1, "echo").await.unwrap_err();
    assert!(
        matches!(&error, SandboxError::Lost(Loss::Restarted { expected, .. }) if *expected == before),
        "{error}"
    );
    assert_eq!(fake.world(|world| world.claims.len()), 1);

    let error = connect(&fake, 2, Attach::Existing { boot: Some(before) })
        .await
        .unwrap_err();
    assert!(
        matches!(error, SandboxError::Lost(Loss::Restarted { .. })),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_before_the_handshake_is_done_costs_nothing() {
    let fake = Fake::new();
    // The hello gets through, the ready does not.
    fake.plan([
        Plan {
            cut_answers: Some(200),
            ..Plan::default()
        },
        Plan {
            unreachable: true,
            ..Plan::default()
        },
    ]);
    let connecting = tokio::spawn({
        let fake = fake.clone();
        async move { connect(&fake, 1, new()).await }
    });
    sleep(Duration::from_secs(5)).await;
    assert_eq!(fake.world(|world| world.claims.len()), 1);
    fake.restart();
    fake.world(|world| world.plans.clear());
    let client = connecting.await.unwrap().unwrap();
    execute(&client, 1, "echo").await.unwrap();
    assert_eq!(fake.world(|world| world.claims.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_replaced_after_three_beats() {
    let fake = Fake::new();
    fake.plan([Plan {
        mute: true,
        ..Plan::default()
    }]);
    let (begin, before) = (Instant::now(), reconnects());
    let client = client(&fake).await;
    execute(&client, 1, "echo").await.unwrap();
    // Of the whole process, so others may have had some too.
    assert!(reconnects() > before);
    let dials = fake.world(|world| world.dials.clone());
    assert_eq!(dials.len(), 2);
    let waited = dials[1] - begin;
    assert!(
        waited >= Duration::from_secs(15) && waited < Duration::from_secs(16),
        "{waited:?}"
    );
    // A stream that only beats is alive for as long as it does.
    sleep(Duration::from_hours(1)).await;
    assert_eq!(fake.world(|world| world.dials.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_in_a_loss() {
    let fake = Fake::new();
    let client = client(&fake).await;
    client.status().await.unwrap();
    fake.plan([Plan {
        unreachable: true,
        ..Plan::default()
    }])
    .cut();
    let begin = Instant::now();
    let error = execute(&client, 1, "echo").await.unwrap_err();
    assert_eq!(begin.elapsed().as_secs(), 60);
    let SandboxError::Lost(Loss::Unreachable { message, .. }) = &error else {
        panic!("{error}")
    };
    assert!(message.contains("no route to host"), "{message}");
    let dials = fake.world(|world| world.dials.clone());
    assert!(
        dials[1] - begin < Duration::from_millis(5),
        "the first retry waited"
    );
    assert!(
        dials[2] - dials[1] <= Duration::from_millis(21),
        "the second retry waited long"
    );
    assert!((35..80).contains(&dials.len()), "{} dials", dials.len());
    // It has ended, for good.
    assert!(matches!(
        execute(&client, 2, "echo").await,
        Err(SandboxError::Lost(_))
    ));
    assert!(matches!(client.status().await, Err(SandboxError::Lost(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_not_dialled_again() {
    let fake = Fake::new();
    fake.plan([Plan {
        gone: true,
        ..Plan::default()
    }]);
    let error = connect(&fake, 1, new()).await.unwrap_err();
    assert!(
        matches!(&error, SandboxError::Lost(Loss::Gone { message }) if message.contains("137")),
        "{error}"
    );
    assert_eq!(fake.world(|world| world.dials.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_deadline_that_counts_only_with_a_connection() {
    let fake = Fake::new();
    let client = client(&fake).await;
    let begin = Instant::now();
    let error = execute(&client, 1, "sleep 100000").await.unwrap_err();
    assert!(matches!(error, SandboxError::Timeout { .. }), "{error}");
    assert_eq!(error.class(), Class::Retry);
    assert_eq!(begin.elapsed().as_secs(), 60 + 5 + 420);

    let begin = Instant::now();
    let asked = async { execute(&client, 1, "sleep 100000").await.unwrap_err() };
    let outage = async {
        sleep(Duration::from_secs(30)).await;
        fake.plan([Plan {
            unreachable: true,
            ..Plan::default()
        }])
        .cut();
        sleep(Duration::from_secs(50)).await;
        fake.world(|world| world.plans.clear());
    };
    let (error, ()) = tokio::join!(asked, outage);
    assert!(matches!(error, SandboxError::Timeout { .. }), "{error}");
    let took = begin.elapsed().as_secs();
    assert!((485 + 50..=485 + 53).contains(&took), "{took}");
    assert_eq!(fake.world(|world| world.started.clone()), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_goes_on_and_can_be_asked_again() {
    let fake = Fake::new();
    let client = client(&fake).await;
    let dropped = tokio::time::timeout(Duration::from_secs(3), execute(&client, 1, "slow abcdef")).await;
    assert!(dropped.is_err());
    let error = execute(&client, 2, "echo").await.unwrap_err();
    assert!(
        matches!(
            error,
            SandboxError::Busy {
                running: Some(CallId(1)),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.class(), Class::Wait);
    // Twice at once, and while the stream is cut: both see everything.
    let (left, right, ()) = tokio::join!(
        execute(&client, 1, "slow abcdef"),
        execute(&client, 1, "slow abcdef"),
        async { fake.cut() },
    );
    assert_eq!(
        (left.unwrap().0, right.unwrap().0),
        ("abcdef".to_owned(), "abcdef".to_owned())
    );
    execute(&client, 2, "echo").await.unwrap();
    assert_eq!(fake.world(|world| world.started.clone()), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn ids_are_used_once() {
    let fake = Fake::new();
    let client = client(&fake).await;
    execute(&client, 5, "echo").await.unwrap();
    let error = execute(&client, 4, "echo").await.unwrap_err();
    assert!(
        matches!(error, SandboxError::Forgotten { id: CallId(4) }),
        "{error}"
    );
    let error = execute(&client, 5, "echo other").await.unwrap_err();
    assert!(
        matches!(error, SandboxError::Conflict { id: CallId(5) }),
        "{error}"
    );
    let (left, right) = tokio::join!(execute(&client, 6, "slow a"), execute(&client, 6, "slow b"));
    assert!(left.is_ok() && matches!(right, Err(SandboxError::Conflict { id: CallId(6) })));
    for id in [0, 1 << 53] {
        assert!(matches!(
            execute(&client, id, "echo").await,
            Err(SandboxError::Invalid { .. })
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_here() {
    let fake = Fake::new();
    let client = client(&fake).await;
    let error = client
        .put_file(CallId(1), "big", Bytes::from(vec![0; MAX_FILE_PART + 1]), false)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("append"), "{error}");
    let error = execute(&client, 1, &"\u{1}".repeat(MAX_FRAME / 6))
        .await
        .unwrap_err();
    assert!(matches!(error, SandboxError::Invalid { .. }), "{error}");
    assert!(
        client
            .put_file(CallId(1), "big", Bytes::from(vec![0; MAX_FILE_PART]), false)
            .await
            .unwrap()
            .ok
    );
}

#[tokio::test(start_paused = true)]
async fn interrupts_and_acknowledgements_survive_a_cut() {
    let fake = Fake::new();
    let client = client(&fake).await;
    client.acknowledge(CallId(7)).await.unwrap();
    let call = execute(&client, 8, "sleep 20");
    let rest = async {
        sleep(Duration::from_secs(1)).await;
        client.interrupt(CallId(8)).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        fake.cut();
    };
    let (result, ()) = tokio::join!(call, rest);
    result.unwrap();
    assert_eq!(fake.world(|world| world.interrupts.clone()), [8, 8]);
    assert_eq!(fake.world(|world| world.acknowledged.clone()), [7, 7]);
    fake.cut();
    execute(&client, 9, "echo").await.unwrap();
    assert_eq!(
        fake.world(|world| world.interrupts.clone()),
        [8, 8],
        "an old interrupt came back"
    );
}

#[tokio::test(start_paused = true)]
async fn unknown_frames_change_nothing() {
    let fake = Fake::new();
    let says = vec![
        r#"{"type":"dance"}"#,
        r#"{"type":"error","code":"unknown","message":"what?"}"#,
        r#"{"type":"result","id":99,"ok":true}"#,
    ];
    fake.plan([Plan {
        says,
        ..Plan::default()
    }]);
    let client = client(&fake).await;
    execute(&client, 1, "echo").await.unwrap();
    assert_eq!(fake.world(|world| world.dials.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn nonsense_under_the_right_key_is_final() {
    for nonsense in [
        "nonsense",
        r#"{"type":"result","id":"one"}"#,
        r#"{"type":"welcome","protocols":[1]}"#,
    ] {
        let fake = Fake::new();
        fake.plan([Plan {
            says: vec![nonsense],
            ..Plan::default()
        }]);
        let client = client(&fake).await;
        let error = execute(&client, 1, "echo").await.unwrap_err();
        assert!(matches!(error, SandboxError::Protocol { .. }), "{error}");
        assert_eq!(fake.world(|world| world.dials.len()), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_is_told() {
    let fake = Fake::new();
    client(&fake).await;
    let identity = Identity {
        secret: InstallationSecret::new(*b"another"),
        ..identity(9)
    };
    let error = Client::connect(fake.clone(), identity, new(), Timing::default())
        .await
        .unwrap_err();
    assert!(matches!(error, SandboxError::ProofRefused), "{error}");
}

#[tokio::test(start_paused = true)]
async fn two_of_one_epoch_do_not_fight_for_ever() {
    let fake = Fake::new();
    let superseded = Plan {
        says: vec![r#"{"type":"error","code":"superseded","message":"","epoch":1}"#],
        ..Plan::default()
    };
    fake.plan([superseded.clone(), superseded]);
    let client = client(&fake).await;
    let error = execute(&client, 1, "echo").await.unwrap_err();
    assert!(
        matches!(error, SandboxError::Superseded { ours: 1, theirs: 1 }),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_again_and_again_is_an_outage() {
    let fake = Fake::new();
    let broken = Plan {
        says: vec![r#"{"type":"error","code":"frame","message":"bad"}"#],
        ..Plan::default()
    };
    fake.plan(vec![broken; 1000]);
    let client = client(&fake).await;
    let error = execute(&client, 1, "echo").await.unwrap_err();
    assert!(
        matches!(error, SandboxError::Lost(Loss::Unreachable { .. })),
        "{error}"
    );
    assert!(fake.world(|world| world.dials.len()) < 80);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_everything() {
    let fake = Fake::new();
    let client = client(&fake).await;
    let call = execute(&client, 1, "sleep 1000");
    let close = async {
        sleep(Duration::from_secs(1)).await;
        client.close().await
    };
    let (call, close) = tokio::join!(call, close);
    assert!(matches!(call, Err(SandboxError::Closed)));
    close.unwrap();
    client.close().await.unwrap();
    assert!(matches!(
        execute(&client, 2, "echo").await,
        Err(SandboxError::Closed)
    ));

    // Gone is closed; out of reach is not.
    for (plan, right) in [
        (
            Plan {
                gone: true,
                ..Plan::default()
            },
            true,
        ),
        (
            Plan {
                unreachable: true,
                ..Plan::default()
            },
            false,
        ),
    ] {
        let fake = Fake::new();
        let client = self::client(&fake).await;
        fake.plan([plan]).cut();
        let begin = Instant::now();
        assert_eq!(client.close().await.is_ok(), right);
        assert!(begin.elapsed() <= Duration::from_secs(11));
    }
}

//! `cataloger run`: a run on this machine, without a cluster.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::arguments::{NEWEST, RunArguments};
use super::local::LocalSandboxes;
use super::show::Show;
use super::wish::{Wish, WishError};
use super::{exit, place};
use crate::agent::prompts::Prompts;
use crate::llm::{Http, Model};
use crate::logs;
use crate::redact::Redactor;
use crate::run::{self, CellLimits, Claimant, Database, Event, Kind, Outcome, Parts, Plan, RunError, Whose};
use crate::sandbox::environment;
use crate::store::RunId;

/// Why there was no run, or none that came to its end.
struct Failed {
    kind: Kind,
    message: String,
}

impl From<RunError> for Failed {
    fn from(error: RunError) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

impl From<WishError> for Failed {
    fn from(error: WishError) -> Self {
        Self::of(Kind::Input, error)
    }
}

impl Failed {
    fn of(kind: Kind, error: impl std::fmt::Display) -> Self {
        Self {
            kind,
            message: error.to_string(),
        }
    }
}

/// Runs the subcommand; its exit code.
pub async fn run(arguments: RunArguments) -> u8 {
    let show = Arc::new(Show::new(arguments.json));
    let cancel = CancellationToken::new();
    if let Err(error) = heed_signals(&cancel, &show) {
        show.failed(Kind::Input, &format!("signals can't be heard: {error}"), None);
        return exit::FAILED;
    }
    let claimed = std::sync::Mutex::new(None);
    let result = drive(arguments, &show, cancel, &claimed).await;
    let claimed = claimed.into_inner().unwrap_or_default();
    match result {
        Ok(outcome) => {
            show.done(&outcome);
            exit::DONE
        }
        Err(Failed { kind, message }) => {
            let message = logs::redact(&message).into_owned();
            // What somebody else drives is not to be gone on with.
            let kept = claimed.filter(|_| kind != Kind::Overtaken);
            show.failed(kind, &message, kept);
            exit::code(kind)
        }
    }
}

async fn drive(
    arguments: RunArguments,
    show: &Arc<Show>,
    cancel: CancellationToken,
    claimed: &std::sync::Mutex<Option<RunId>>,
) -> Result<Outcome, Failed> {
    let wish = Wish::read(&arguments, |name| std::env::var(name).ok())?;
    let prompts = match (&arguments.prompts, &wish.prompts) {
        (Some(directory), _) => Prompts::load(directory),
        (None, Some(own)) => Prompts::embedded().and_then(|usual| {
            let texts = own
                .texts
                .iter()
                .map(|(name, text)| (name.as_str(), text.as_str()));
            Prompts::of_texts(texts, &own.origin, &usual)
        }),
        (None, None) => Prompts::embedded(),
    };
    let prompts = prompts.map_err(RunError::from)?;
    // From here on nothing that is said holds a secret.
    let redactor = redactor(&wish);
    logs::hide(redactor.clone());
    for note in &wish.notes {
        show.say(&redactor.redact(note));
    }
    let database = Database::new(&wish.database).map_err(|error| Failed::of(Kind::Input, error))?;
    let model = model(&wish)?;
    let plan = Plan {
        database,
        tables: wish.tables.clone(),
        allow_writable: wish.allow_writable,
        intent: wish.intent.clone(),
        model: wish.model.clone(),
        fallbacks: wish.fallbacks.clone(),
        limits: wish.limits,
        cell: CellLimits {
            timeout: wish.execute_timeout,
            max_rows: wish.max_rows,
        },
        claimant: Claimant {
            installation: installation(),
            ..Claimant::default()
        },
        manifest: wish.manifest.clone(),
    };
    let opened = tokio::select! {
        opened = place::open(&wish.location, wish.bucket.clone()) => opened.map_err(RunError::from)?,
        () = cancel.cancelled() => return Err(RunError::Interrupted.into()),
    };
    let (store, layout) = opened;
    let say = |message: &str| show.say(message);
    let interpreter = tokio::select! {
        found = environment::find_or_make(&say) => found.map_err(|error| Failed::of(Kind::Sandbox, error))?,
        () = cancel.cancelled() => return Err(RunError::Interrupted.into()),
    };
    let parts = Parts {
        proven: Arc::default(),
        store,
        layout,
        model,
        sandboxes: Arc::new(LocalSandboxes {
            interpreter,
            preload: None,
        }),
        prompts,
        prices: wish.prices,
        redactor,
        cancel,
        hand_over: CancellationToken::new(),
    };
    let watch = |event: &Event| {
        if let Event::Claimed { run, .. } | Event::Resumed { run, .. } = event
            && let Ok(mut claimed) = claimed.lock()
        {
            *claimed = Some(*run);
        }
        show.event(event);
    };
    let found = match arguments.resume.as_deref() {
        None => return Ok(run::start(&plan, &parts, &watch).await?),
        Some(NEWEST) => (run::unfinished(&plan, &parts).await?.ok_or_else(|| {
            Failed::of(
                Kind::Input,
                format!(
                    "there is no run to go on with at {}: none for the same database, tables, intent, model and prompts is unfinished",
                    wish.location
                ),
            )
        })?, Whose::Mine),
        Some(run) => (
            run.parse().map_err(|error| Failed::of(Kind::Input, error))?,
            Whose::Anybodys,
        ),
    };
    Ok(run::resume(&plan, &parts, found, &watch).await?)
}

fn model(wish: &Wish) -> Result<Arc<dyn Model>, Failed> {
    let http = Http::new(&wish.providers.timeouts).map_err(RunError::from)?;
    let chain = wish
        .providers
        .chain(&http, &wish.model, &wish.fallbacks)
        .map_err(RunError::from)?;
    Ok(Arc::new(chain))
}

fn redactor(wish: &Wish) -> Redactor {
    let words = wish.tables.iter().flat_map(|table| table.split('.'));
    let builder = Redactor::builder().database_url(&wish.database).words(words);
    wish.secrets
        .iter()
        .fold(builder, |builder, (name, secret)| builder.secret(name, secret))
        .build()
}

/// Runs of one user on one machine know each other.
fn installation() -> String {
    let user = ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let user = user.unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    let system = rustix::system::uname();
    format!("{user}@{}", system.nodename().to_string_lossy())
}

/// The first signal stops the run where it is, the second ends the process.
fn heed_signals(cancel: &CancellationToken, show: &Arc<Show>) -> std::io::Result<()> {
    let (mut interrupts, mut terminations) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (cancel, show) = (cancel.clone(), Arc::clone(show));
    tokio::spawn(async move {
        let mut first = true;
        loop {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
            }
            if !first {
                // The sandbox ends by itself when this process is gone.
                std::process::exit(exit::INTERRUPTED.into());
            }
            first = false;
            show.say("stopping; once more to stop at once");
            cancel.cancel();
        }
    });
    Ok(())
}

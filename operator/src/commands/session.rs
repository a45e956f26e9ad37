//! `cataloger session`: a live Python session in a local sandbox, for people.
//!
//! Cells come from a file, or are typed. Must not know how a sandbox works, nor what agents do in one.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::sandbox::local::{LocalOptions, LocalSandbox};
use crate::sandbox::{Cell, Executed, Sandbox, SandboxError, State, Variables, environment};

/// Exit code: a cell failed, or the sandbox did.
const FAILED: u8 = 1;
/// Exit code: what was asked for can't be done.
const USAGE: u8 = 2;
/// Exit code: there is no sandbox.
const NO_SANDBOX: u8 = 3;

/// What begins a new cell.
const MARK: &str = "# %%";

/// Run Python in a sandbox on this machine: the cells of a file, or what you type.
///
/// Cells of a file begin at lines with `# %%`. Typed cells end with an empty line; Ctrl-C interrupts a
/// running cell, Ctrl-D ends the session. Exit codes: 1 if a cell failed, 2 for wrong usage, 3 if the
/// sandbox could not be started.
#[derive(Debug, Args)]
pub struct SessionArguments {
    /// A file with cells; standard input, if that is not a terminal
    file: Option<PathBuf>,
    /// The URL of the database that the session can read
    ///
    /// Better given by the environment variable: other users may see a command's arguments.
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database: Option<SecretString>,
    /// Go on at the prompt after the file
    #[arg(long, short)]
    interactive: bool,
    /// How long a cell may run
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// How many rows of a table are shown
    #[arg(long, value_name = "ROWS", default_value_t = 20)]
    max_rows: u32,
}

/// Runs a session to its end; the exit code.
pub async fn run(arguments: SessionArguments) -> u8 {
    let (typed, cells) = match cells(&arguments) {
        Ok(found) => found,
        Err(message) => {
            eprintln!("cataloger: {message}");
            return USAGE;
        }
    };
    let started = tokio::select! {
        started = start(arguments.database) => started,
        () = interrupted() => Err("interrupted".to_owned()),
    };
    let sandbox = match started {
        Ok(sandbox) => sandbox,
        Err(message) => {
            eprintln!("cataloger: {message}");
            return NO_SANDBOX;
        }
    };
    let prototype = Cell {
        timeout: Duration::from_secs(arguments.timeout),
        max_rows: arguments.max_rows,
        ..Cell::new(String::new())
    };
    let mut code = match Session::new(&sandbox, prototype) {
        Ok(mut session) => session.all(&cells, typed).await,
        Err(error) => {
            eprintln!("cataloger: signals can't be heard: {error}");
            FAILED
        }
    };
    if let Err(error) = sandbox.close().await {
        eprintln!("cataloger: {error}");
        code = code.max(FAILED);
    }
    code
}

async fn start(database: Option<SecretString>) -> Result<LocalSandbox, String> {
    let say = |message: &str| eprintln!("cataloger: {message}");
    let interpreter = environment::find_or_make(&say)
        .await
        .map_err(|error| error.to_string())?;
    let env = database
        .map(|url| ("DATABASE_URL", url))
        .into_iter()
        .collect::<Variables>();
    LocalSandbox::start(LocalOptions::new(interpreter, env))
        .await
        .map_err(|error| error.to_string())
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The cells that are there already, and whether more will be typed.
fn cells(arguments: &SessionArguments) -> Result<(bool, Vec<String>), String> {
    let terminal = io::stdin().is_terminal();
    let text = match &arguments.file {
        Some(path) if path != Path::new("-") => {
            std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None if terminal => return Ok((true, Vec::new())),
        _ if arguments.interactive => {
            return Err("--interactive needs a file, and a terminal to type at".into());
        }
        _ => io::read_to_string(io::stdin()).map_err(|error| format!("standard input: {error}"))?,
    };
    if arguments.interactive && !terminal {
        return Err("--interactive needs a terminal to type at".into());
    }
    Ok((arguments.interactive, split(&text)))
}

/// Cuts a text at its marks. What a mark says stays with its cell, as a comment.
fn split(text: &str) -> Vec<String> {
    let mut cells = vec![(String::new(), String::new())];
    for line in text.lines() {
        if let Some(title) = line.strip_prefix(MARK) {
            cells.push((title.trim().to_owned(), String::new()));
        } else if let Some((_, code)) = cells.last_mut() {
            code.push_str(line);
            code.push('\n');
        }
    }
    let cells = cells.iter().filter_map(|(title, code)| {
        let code = code.trim_end().trim_start_matches('\n');
        match (code, title.as_str()) {
            ("", _) => None,
            (code, "") => Some(code.to_owned()),
            (code, title) => Some(format!("# {title}\n{code}")),
        }
    });
    cells.collect()
}

/// Colours, if the terminal and its user want them.
#[derive(Clone, Copy)]
struct Paint {
    on: bool,
}

impl Paint {
    fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            on: !unwanted && io::stdout().is_terminal(),
        }
    }

    fn wrap(self, code: &str, text: impl fmt::Display) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }

    fn prompt(self, text: impl fmt::Display) -> String {
        self.wrap("32", text)
    }

    fn trouble(self, text: impl fmt::Display) -> String {
        self.wrap("31", text)
    }

    fn aside(self, text: impl fmt::Display) -> String {
        self.wrap("2", text)
    }
}

/// How a cell ended, as far as the session goes.
#[derive(PartialEq)]
enum Ending {
    Ok,
    Failed,
    /// The user has interrupted it.
    Interrupted,
    /// Somebody wants no more.
    Stop,
}

struct Session<'a> {
    sandbox: &'a LocalSandbox,
    prototype: Cell,
    number: u64,
    paint: Paint,
    interrupts: Signal,
    hangups: Signal,
    terminations: Signal,
}

impl<'a> Session<'a> {
    fn new(sandbox: &'a LocalSandbox, prototype: Cell) -> io::Result<Self> {
        Ok(Self {
            sandbox,
            prototype,
            number: 0,
            paint: Paint::new(),
            interrupts: signal(SignalKind::interrupt())?,
            hangups: signal(SignalKind::hangup())?,
            terminations: signal(SignalKind::terminate())?,
        })
    }

    async fn all(&mut self, cells: &[String], typed: bool) -> u8 {
        let mut code = 0;
        for cell in cells {
            self.number += 1;
            let prompt = self.prompt();
            let shown = cell.replace('\n', &format!("\n{}", self.continuation()));
            show(&format!("{prompt}{shown}\n"));
            match self.cell(cell).await {
                Ok(Ending::Ok) => {}
                Ok(Ending::Failed) => code = FAILED,
                Ok(Ending::Interrupted) => {
                    code = FAILED;
                    break;
                }
                Ok(Ending::Stop) => return FAILED,
                Err(error) => {
                    eprintln!("cataloger: {error}");
                    return FAILED;
                }
            }
        }
        if typed && let Err(error) = self.typed().await {
            eprintln!("cataloger: {error}");
            code = FAILED;
        }
        code
    }

    fn prompt(&self) -> String {
        self.paint.prompt(format_args!("In [{}]: ", self.number))
    }

    fn continuation(&self) -> String {
        let width = format!("In [{}]: ", self.number).len();
        self.paint.prompt(format_args!("{:>width$}", "...: "))
    }

    /// Takes cells from a terminal, until its end.
    async fn typed(&mut self) -> Result<(), SandboxError> {
        let mut lines = lines();
        loop {
            self.number += 1;
            let mut cell = String::new();
            show(&self.prompt());
            loop {
                let line = tokio::select! {
                    line = lines.recv() => line,
                    _ = self.interrupts.recv() => {
                        cell.clear();
                        show(&format!("\n{}", self.prompt()));
                        continue;
                    }
                    _ = self.hangups.recv() => None,
                    _ = self.terminations.recv() => None,
                };
                match line {
                    None => {
                        show("\n");
                        return Ok(());
                    }
                    Some(line) if line.trim().is_empty() => {
                        if !cell.trim().is_empty() {
                            break;
                        }
                        show(&self.prompt());
                    }
                    Some(line) => {
                        cell.push_str(&line);
                        cell.push('\n');
                        show(&self.continuation());
                    }
                }
            }
            if self.cell(&cell).await? == Ending::Stop {
                return Ok(());
            }
        }
    }

    /// Runs one cell, and shows what it does while it does it.
    async fn cell(&mut self, code: &str) -> Result<Ending, SandboxError> {
        let id = self.sandbox.last_call().next();
        let cell = Cell {
            code: code.to_owned(),
            ..self.prototype.clone()
        };
        let mut streamed = String::new();
        let mut output = |chunk: crate::sandbox::Chunk| {
            show(&chunk.text);
            streamed.push_str(&chunk.text);
        };
        let (mut interrupted, mut stop) = (false, false);
        let result = {
            let mut call = self.sandbox.execute(id, &cell, &mut output);
            loop {
                tokio::select! {
                    result = &mut call => break result?,
                    _ = self.interrupts.recv() => interrupted = true,
                    _ = self.hangups.recv() => stop = true,
                    _ = self.terminations.recv() => stop = true,
                }
                self.sandbox.interrupt(id).await?;
            }
        };
        self.sandbox.acknowledge(id).await?;
        show(&self.report(&streamed, &result));
        Ok(match result.ok {
            _ if stop => Ending::Stop,
            true => Ending::Ok,
            false if interrupted => Ending::Interrupted,
            false => Ending::Failed,
        })
    }

    /// What is left to show of a cell that has ended.
    fn report(&self, streamed: &str, result: &Executed) -> String {
        // The output was streamed as far as its head is kept; the result has the tail, too.
        let rest = result.output.strip_prefix(streamed);
        let mut text = rest.map_or_else(|| format!("\n{}", result.output), str::to_owned);
        if !result.output.is_empty() && !result.output.ends_with('\n') {
            text.push('\n');
        }
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        if let Some(background) = &result.background {
            line(self.paint.aside("from the background:"));
            line(background.output.trim_end().to_owned());
        }
        if let Some(notice) = &result.notice {
            line(self.paint.aside(notice));
        }
        if !result.ok {
            let state = if result.state == State::Lost {
                ", and all variables are gone"
            } else {
                ""
            };
            let detail = result
                .detail
                .as_ref()
                .map(|detail| format!(": {detail}"))
                .unwrap_or_default();
            line(
                self.paint
                    .trouble(format_args!("[{}{state}{detail}]", result.status.as_str())),
            );
        }
        text.push('\n');
        text
    }
}

/// Writes at once. Whoever closed our standard output does not want the rest.
fn show(text: &str) {
    let mut stdout = io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Lines from standard input, read by a thread of their own: such a read can't be called off.
fn lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            let Ok(line) = line else { break };
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_cut_at_their_marks() {
        assert_eq!(split(""), Vec::<String>::new());
        assert_eq!(split("1\n"), ["1"]);
        assert_eq!(
            split("# %% one\n\nx = 1\n\ny = 2\n\n# %%\n# %% three\n  # %% no mark\n"),
            ["# one\nx = 1\n\ny = 2", "# three\n  # %% no mark"]
        );
    }
}

//! What the binary writes to standard error beside its answers: logs, and what is left to say in a panic.
//! Known secrets are in neither.
//!
//! It must not know what is run, nor which secrets there are: whoever learns of them calls [`hide`].

use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::{PoisonError, RwLock};
use std::{env, thread};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::redact::Redactor;

/// What is hidden in this process.
static HIDDEN: Hidden = Hidden::nothing();

/// Sends logs to standard error, as much as `RUST_LOG` says (warnings, if it says nothing), and panics too.
/// Call it once, before anything is worth a line.
pub fn set_up() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let set = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Redacted {
            out: io::stderr,
            hidden: &HIDDEN,
        })
        .with_ansi(io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none())
        .try_init();
    if let Err(error) = set {
        tracing::warn!(%error, "logs are somebody else's already");
    }
    panic::set_hook(Box::new(say_panic));
}

/// Hides these secrets, and no others, in every line from now on. Until then nothing is known to be secret.
pub fn hide(redactor: Redactor) {
    HIDDEN.set(redactor);
}

/// A text for people, without what is hidden.
pub fn redact(text: &str) -> Cow<'_, str> {
    HIDDEN.redact(text)
}

/// Secrets that may become others while lines are written.
struct Hidden(RwLock<Option<Redactor>>);

impl Hidden {
    const fn nothing() -> Self {
        Self(RwLock::new(None))
    }

    fn set(&self, redactor: Redactor) {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = place.replace(redactor);
        drop(place);
        // Not under the lock: a panic may want to be written there.
        drop(before);
    }

    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let redactor = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        match redactor {
            Some(redactor) => Cow::Owned(redactor.redact(text).into_owned()),
            None => Cow::Borrowed(text),
        }
    }

    fn line<W: Write>(&self, out: W) -> Line<'_, W> {
        Line {
            text: Vec::new(),
            out,
            hidden: self,
        }
    }
}

/// Makes lines of events.
struct Redacted<M> {
    out: M,
    hidden: &'static Hidden,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Redacted<M> {
    type Writer = Line<'static, M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        self.hidden.line(self.out.make_writer())
    }
}

/// One event. It is held until it is whole, since a secret may come in pieces, and written when it is dropped.
struct Line<'a, W: Write> {
    text: Vec<u8>,
    out: W,
    hidden: &'a Hidden,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for Line<'_, W> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        let clean = self.hidden.redact(&text);
        // Where logs can't be written, nobody can be told that they can't.
        let _ = self.out.write_all(clean.as_bytes());
        let _ = self.out.flush();
    }
}

fn say_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = backtrace(env::var_os("RUST_BACKTRACE").as_deref());
    let text = panic_text(
        thread::current().name(),
        panic.location(),
        panic.payload_as_str(),
        backtrace.as_deref(),
    );
    let _ = HIDDEN.line(io::stderr()).write_all(text.as_bytes());
}

/// The way to here, if it is wanted: as Rust's own hook understands `RUST_BACKTRACE`.
fn backtrace(wanted: Option<&OsStr>) -> Option<String> {
    match wanted?.to_str() {
        Some("0") => None,
        Some("full") => Some(format!("{:#}", Backtrace::force_capture())),
        _ => Some(Backtrace::force_capture().to_string()),
    }
}

fn panic_text(
    thread: Option<&str>,
    place: Option<impl fmt::Display>,
    message: Option<&str>,
    backtrace: Option<&str>,
) -> String {
    let mut text = format!(
        "cataloger: this is a bug: thread '{}' panicked",
        thread.unwrap_or("unnamed")
    );
    if let Some(place) = place {
        let _ = write!(text, " at {place}");
    }
    text.push_str(":\n");
    text.push_str(message.unwrap_or("(without words)").trim_end());
    text.push('\n');
    match backtrace {
        Some(backtrace) => text.push_str(backtrace.trim_end()),
        None => text.push_str("RUST_BACKTRACE=1 shows how it came to this"),
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written, write by write.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.0.lock().unwrap().push(text);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn of(secret: &str) -> Redactor {
        Redactor::builder().secret("secret", &secret.into()).build()
    }

    #[test]
    fn an_event_is_redacted_as_a_whole() {
        let (hidden, written) = (Hidden::nothing(), Written::default());
        hidden.set(of("hunter2-xyz"));
        let mut line = hidden.line(written.clone());
        for piece in ["it is hun", "ter2", "-xyz", ", \u{fc}", "\n"] {
            line.write_all(piece.as_bytes()).unwrap();
            line.flush().unwrap();
        }
        assert_eq!(written.take(), [""; 0]);
        // Half a character, as no formatter writes.
        line.write_all(&"\u{fc}".as_bytes()[..1]).unwrap();
        drop(line);
        assert_eq!(written.take(), ["it is [redacted], \u{fc}\n\u{fffd}"]);
        drop(hidden.line(written.clone()));
        assert_eq!(written.take(), [""; 0]);
    }

    #[test]
    fn logs_hide_what_is_known_then() {
        static HIDDEN: Hidden = Hidden::nothing();
        let written = Written::default();
        let out = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(Redacted {
                out: move || out.clone(),
                hidden: &HIDDEN,
            })
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let say = || {
                let _span = tracing::info_span!("run", url = "postgres://a:hunter2-xyz@b/c").entered();
                tracing::warn!(token = ?"sw0rd\"fish-1", "hunter2-xyz");
            };
            say();
            let secrets = ["hunter2-xyz", "sw0rd\"fish-1"];
            let all = secrets.iter().fold(Redactor::builder(), |all, secret| {
                all.secret("secret", &(*secret).into())
            });
            HIDDEN.set(all.build());
            say();
            // The others are nobody's any more.
            HIDDEN.set(of("hunter2-xyz"));
            say();
        });
        assert_eq!(
            written.take(),
            [
                " WARN run{url=\"postgres://a:hunter2-xyz@b/c\"}: hunter2-xyz token=\"sw0rd\\\"fish-1\"\n",
                " WARN run{url=\"postgres://a:[redacted]@b/c\"}: [redacted] token=\"[redacted]\"\n",
                " WARN run{url=\"postgres://a:[redacted]@b/c\"}: [redacted] token=\"sw0rd\\\"fish-1\"\n",
            ]
        );
    }

    #[test]
    fn a_panic_says_what_and_where() {
        let text = panic_text(
            Some("main"),
            Some("src/a.rs:1:2"),
            Some("no `a` in b"),
            Some("0: a\n"),
        );
        assert_eq!(
            text,
            "cataloger: this is a bug: thread 'main' panicked at src/a.rs:1:2:\nno `a` in b\n0: a\n"
        );
        assert_eq!(
            panic_text(None, None::<&str>, None, None),
            "cataloger: this is a bug: thread 'unnamed' panicked:\n(without words)\n\
             RUST_BACKTRACE=1 shows how it came to this\n"
        );
    }

    #[test]
    fn a_panic_hides_what_is_secret() {
        let (hidden, written) = (Hidden::nothing(), Written::default());
        hidden.set(of("hunter2-xyz"));
        let text = panic_text(None, Some("hunter2-xyz.rs"), Some("hunter2-xyz"), None);
        hidden.line(written.clone()).write_all(text.as_bytes()).unwrap();
        let written = written.take().concat();
        assert!(written.contains("[redacted].rs:\n[redacted]\n"), "{written}");
    }

    #[test]
    fn backtraces_come_where_they_are_wanted() {
        assert_eq!(backtrace(None), None);
        assert_eq!(backtrace(Some("0".as_ref())), None);
        for wanted in ["1", "full"] {
            assert!(backtrace(Some(wanted.as_ref())).is_some_and(|trace| trace.contains("logs")));
        }
    }
}

//! The secrets that no line may hold, and lines without them.
//!
//! It must not know what a line says.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{PoisonError, RwLock};

use tracing_subscriber::fmt::MakeWriter;

use crate::redact::{Redactor, Redactors};

/// Secrets that may become others while lines are written.
pub(super) struct Hidden(RwLock<Known>);

struct Known {
    /// Of the process.
    own: Option<Redactor>,
    /// Of those that are at work, by the number of their guard.
    others: Vec<(u64, Redactor)>,
    next: u64,
    /// All of them; none if there are none.
    all: Option<Redactors>,
}

impl Known {
    fn gather(&mut self) -> Option<Redactors> {
        let others = self.others.iter().map(|(_, redactor)| redactor);
        let all = self.own.iter().chain(others).cloned().collect();
        let some = self.own.is_some() || !self.others.is_empty();
        std::mem::replace(&mut self.all, some.then_some(all))
    }
}

/// Keeps secrets hidden as long as it lives.
#[derive(Debug)]
#[must_use = "the secrets are hidden only until this is dropped"]
pub struct Hiding {
    hidden: &'static Hidden,
    number: u64,
}

impl Drop for Hiding {
    fn drop(&mut self) {
        self.hidden.change(|known| {
            let at = known.others.iter().position(|(number, _)| *number == self.number);
            at.map(|at| known.others.remove(at).1)
        });
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hidden")
    }
}

impl Hidden {
    pub(super) const fn nothing() -> Self {
        Self(RwLock::new(Known {
            own: None,
            others: Vec::new(),
            next: 0,
            all: None,
        }))
    }

    /// Hides the secrets of the process, instead of those that were its before.
    pub(super) fn set(&self, redactor: Redactor) {
        self.change(|known| known.own.replace(redactor));
    }

    /// Hides more, for as long as the guard lives.
    pub(super) fn add(&'static self, redactor: Redactor) -> Hiding {
        let mut number = 0;
        self.change(|known| {
            number = known.next;
            known.next += 1;
            known.others.push((number, redactor));
            None
        });
        Hiding { hidden: self, number }
    }

    fn change(&self, change: impl FnOnce(&mut Known) -> Option<Redactor>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let gone = change(&mut known);
        let before = known.gather();
        drop(known);
        // Not under the lock: a panic may want to be written there.
        drop((gone, before));
    }

    /// All that is hidden now, if anything is.
    pub(super) fn all(&self) -> Option<Redactors> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    pub(super) fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.all() {
            Some(all) => Cow::Owned(all.redact(text).into_owned()),
            None => Cow::Borrowed(text),
        }
    }

    pub(super) fn line<W: Write>(&self, out: W) -> Line<'_, W> {
        Line {
            text: Vec::new(),
            out,
            hidden: self,
        }
    }
}

/// Makes lines of events.
pub(super) struct Redacted<M> {
    pub(super) out: M,
    pub(super) hidden: &'static Hidden,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Redacted<M> {
    type Writer = Line<'static, M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        self.hidden.line(self.out.make_writer())
    }
}

/// One event. It is held until it is whole, since a secret may come in pieces, and written when it is dropped.
pub(super) struct Line<'a, W: Write> {
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

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written, write by write.
    #[derive(Clone, Default)]
    pub(in crate::logs) struct Written(Arc<Mutex<Vec<String>>>);

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
        pub(in crate::logs) fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    pub(in crate::logs) fn of(secret: &str) -> Redactor {
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
    fn many_hide_theirs_while_they_live() {
        static HIDDEN: Hidden = Hidden::nothing();
        let text = "hunter2-xyz sw0rd-fish-1 tr0ub4dor&3";
        assert!(matches!(HIDDEN.redact(text), Cow::Borrowed(_)));
        let one = HIDDEN.add(of("hunter2-xyz"));
        let other = HIDDEN.add(of("sw0rd-fish-1"));
        // The same secret of two: it stays hidden until the last of them is gone.
        let again = HIDDEN.add(of("hunter2-xyz"));
        HIDDEN.set(of("tr0ub4dor&3"));
        assert_eq!(HIDDEN.redact(text), "[redacted] [redacted] [redacted]");
        drop(one);
        assert_eq!(HIDDEN.redact(text), "[redacted] [redacted] [redacted]");
        drop(again);
        assert_eq!(HIDDEN.redact(text), "hunter2-xyz [redacted] [redacted]");
        drop(other);
        assert_eq!(HIDDEN.redact(text), "hunter2-xyz sw0rd-fish-1 [redacted]");
    }
}

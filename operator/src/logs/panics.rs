//! What is left to say in a panic.
//!
//! It must not know where that goes.

use std::backtrace::Backtrace;
use std::env;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::panic::PanicHookInfo;
use std::thread;

/// What a panic says.
pub(super) fn text(panic: &PanicHookInfo<'_>) -> String {
    let backtrace = backtrace(env::var_os("RUST_BACKTRACE").as_deref());
    panic_text(
        thread::current().name(),
        panic.location(),
        panic.payload_as_str(),
        backtrace.as_deref(),
    )
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
    use std::io::Write as _;

    use super::super::hidden::Hidden;
    use super::super::hidden::tests::{Written, of};
    use super::*;

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

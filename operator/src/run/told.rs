//! What a model is told of code that ran: its output without secrets, and what it could not see.

use crate::redact::Redactor;
use crate::sandbox::{Executed, State, Status, gap};

/// What the model is told. The output is capped by the sandbox.
pub(super) fn told(executed: &Executed, redactor: &Redactor) -> String {
    // Where the middle was left out, half a secret may stand on either side.
    let clean = |output: &str, omitted: u64| match omitted {
        0 => output.to_owned(),
        omitted => redactor.redact_with_gaps(output, &gap(omitted)),
    };
    let mut parts = Vec::new();
    if let Some(notice) = &executed.notice {
        parts.push(format!("[{notice}]"));
    }
    if !executed.output.trim().is_empty() {
        parts.push(clean(&executed.output, executed.omitted));
    }
    if let Some(background) = &executed.background {
        parts.push(format!(
            "[From threads or processes of earlier calls:]\n{}",
            clean(&background.output, background.omitted)
        ));
    }
    parts.extend(trouble(executed));
    if parts.is_empty() {
        return "[no output]".to_owned();
    }
    let mut text = String::new();
    for part in parts {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&part);
    }
    redactor.redact(&text).into_owned()
}

/// What the model could not see in the output.
fn trouble(executed: &Executed) -> Option<String> {
    let mut note = match executed.status {
        Status::Ok | Status::Error => String::new(),
        Status::Timeout => format!(
            "The code was interrupted after {} s: it took too long.",
            executed.duration_ms / 1000
        ),
        Status::Interrupted => "The code was interrupted.".to_owned(),
        Status::OutOfMemory => "The code used too much memory and was ended.".to_owned(),
        Status::TooManyProcesses => "The code started too many processes and was ended.".to_owned(),
        Status::Unavailable => "No session could be started, so the code was not run.".to_owned(),
        Status::Exited | Status::Killed | Status::Corrupted => {
            "The session ended while the code ran.".to_owned()
        }
    };
    if let (false, Some(detail)) = (note.is_empty(), &executed.detail) {
        note = format!("{note} ({detail})");
    }
    if executed.state == State::Lost {
        note.push_str(
            " All variables are gone; import and connect again. Files in the session's directory stay, unless said \
             otherwise.",
        );
    }
    (!note.is_empty()).then(|| format!("[{}]", note.trim()))
}

#[cfg(test)]
mod tests {
    use super::{Executed, Redactor, State, Status};
    use crate::sandbox::Background;

    fn told(executed: &Executed) -> String {
        super::told(
            executed,
            &Redactor::builder().secret("key", &"hunter2-xyz".into()).build(),
        )
    }

    fn executed(status: Status, output: &str) -> Executed {
        Executed {
            ok: status == Status::Ok,
            status,
            output: output.into(),
            total: 0,
            omitted: 0,
            state: State::Kept,
            detail: None,
            notice: None,
            background: None,
            error: None,
            duration_ms: 60_004,
            generation: 1,
        }
    }

    #[test]
    fn no_half_of_a_secret_stands_beside_what_was_left_out() {
        let cut = Executed {
            omitted: 12_345,
            ..executed(
                Status::Ok,
                "x hunter2\n[... 12,345 bytes left out ...]\n2-xyz, and hunter2-xyz\n",
            )
        };
        assert_eq!(
            told(&cut),
            "x [redacted]\n[... 12,345 bytes left out ...]\n[redacted], and [redacted]\n"
        );
    }

    #[test]
    fn the_output_comes_as_it_is_and_the_rest_is_said() {
        assert_eq!(told(&executed(Status::Ok, "1\n")), "1\n");
        assert_eq!(told(&executed(Status::Ok, "")), "[no output]");
        assert_eq!(told(&executed(Status::Error, "Traceback")), "Traceback");
        assert_eq!(
            told(&executed(Status::Timeout, "half")),
            "half\n[The code was interrupted after 60 s: it took too long.]"
        );
        let lost = Executed {
            state: State::Lost,
            detail: Some("the code used 900 MiB of memory".into()),
            notice: Some("the session was replaced before this call".into()),
            background: Some(Background {
                output: "late".into(),
                omitted: 0,
            }),
            ..executed(Status::OutOfMemory, "x")
        };
        let text = told(&lost);
        for part in [
            "[the session was replaced before this call]\nx",
            "earlier calls:]\nlate\n",
            "too much memory and was ended. (the code used 900 MiB of memory) All variables are gone",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}

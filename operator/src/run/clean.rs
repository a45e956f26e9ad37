//! Takes secrets out of what models say, before anything else sees it.

use std::borrow::Cow;

use crate::llm::{Arguments, Progress, Turn};
use crate::redact::{RedactedStream, Redactor};

/// What stands at the end of a text of which only the begin was kept.
const CUT: &str = "…";

/// Without secrets. If there was one, what is signed or can't be looked into goes, too.
pub(super) fn turn(turn: &mut Turn, redactor: &Redactor) {
    let mut dirty = false;
    let mut changed = turn
        .raw
        .as_ref()
        .is_some_and(|raw| !redactor.is_clean(raw.as_str()));
    let mut clean = |text: &mut String| {
        if let Cow::Owned(cleaned) = redactor.redact(text) {
            *text = cleaned;
            changed = true;
        }
    };
    clean(&mut turn.text);
    clean(&mut turn.model);
    turn.stop_detail.iter_mut().for_each(&mut clean);
    turn.request_id.iter_mut().for_each(&mut clean);
    for attempt in &mut turn.attempts {
        clean(&mut attempt.problem);
    }
    for call in &mut turn.tool_calls {
        clean(&mut call.id);
        clean(&mut call.name);
        match &mut call.arguments {
            Arguments::Given(given) => {
                let before = given.clone();
                let mut value = serde_json::Value::Object(std::mem::take(given));
                redactor.redact_json(&mut value);
                if let serde_json::Value::Object(cleaned) = value {
                    *given = cleaned;
                }
                dirty |= *given != before;
            }
            Arguments::Malformed { problem, text } => {
                clean(problem);
                clean(text);
                // Only its begin was kept, which may end within a secret.
                *text = redactor.redact_with_gaps(text, CUT);
            }
        }
    }
    // What is in the arguments is in the raw form as well, however deep it is escaped there.
    if changed || dirty {
        turn.forget_raw();
    }
}

pub(super) fn progress(
    progress: Progress,
    redactor: &Redactor,
    text: &mut RedactedStream,
) -> Option<Progress> {
    let clean = |problem: String| redactor.redact(&problem).into_owned();
    Some(match progress {
        Progress::Text(piece) => {
            let piece = text.push(&piece);
            if piece.is_empty() {
                return None;
            }
            Progress::Text(piece)
        }
        Progress::Call { name } => Progress::Call { name: clean(name) },
        Progress::Waiting { model, why } => Progress::Waiting {
            model,
            why: clean(why),
        },
        Progress::Retrying {
            model,
            problem,
            after,
        } => Progress::Retrying {
            model,
            problem: clean(problem),
            after,
        },
        Progress::FellBack { from, to, problem } => Progress::FellBack {
            from,
            to,
            problem: clean(problem),
        },
        other => other,
    })
}

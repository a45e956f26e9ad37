//! The stream to a sandbox, once an exec has opened it: what the operator asks the daemon for is a point each, and its
//! answer is when it was done.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::sleep;

use super::wire::{STDIN, STDOUT, Socket, Talk};
use super::{Act, Moment, Place, Point, Points};

type Stream = TokioIo<Upgraded>;

/// What a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The end of the handshake.
    Ready,
    /// The result of a call.
    Result(u64),
    /// The daemon's farewell.
    Bye,
}

/// What was asked for, and has no answer yet.
type Open = Mutex<VecDeque<(Answer, Point, Bytes)>>;

/// Passes everything both ways until either side ends, or somebody wants it to.
pub(super) async fn pass(down: Upgraded, up: Upgraded, points: &Points) {
    let (from_down, to_down) = split(TokioIo::new(down));
    let (from_up, to_up) = split(TokioIo::new(up));
    let open = Open::default();
    tokio::select! {
        () = asked(from_down, to_up, points, &open) => {}
        () = answered(from_up, to_down, points, &open) => {}
    }
}

/// What a message of the operator is called, and what answers it; nothing if nothing is different after it.
fn name(message: &Value) -> Option<(String, Option<Answer>)> {
    let id = || message["id"].as_u64().map(Answer::Result);
    let kind = message["type"].as_str()?;
    let answer = match kind {
        "hello" => Some(Answer::Ready),
        "execute" | "reset" | "put_file" => id(),
        "shutdown" => Some(Answer::Bye),
        "ack" | "interrupt" => None,
        _ => return None,
    };
    let claims = kind == "hello" && !message["claim"].is_null();
    Some((if claims { "claim" } else { kind }.to_owned(), answer))
}

fn answers(message: &Value) -> Option<Answer> {
    match message["type"].as_str()? {
        "ready" => Some(Answer::Ready),
        "result" | "refusal" => message["id"].as_u64().map(Answer::Result),
        "bye" => Some(Answer::Bye),
        _ => None,
    }
}

/// Whether it goes on.
async fn heed(act: Act) -> bool {
    match act {
        Act::Pass => true,
        Act::Wait(time) => {
            sleep(time).await;
            true
        }
        Act::Cut | Act::Answer(_) => false,
    }
}

async fn asked(mut from: ReadHalf<Stream>, mut to: WriteHalf<Stream>, points: &Points, open: &Open) {
    let (mut socket, mut talk) = (Socket::default(), Talk::default());
    loop {
        while let Some(frame) = socket.next() {
            let messages = match &frame.data {
                Some((STDIN, data)) => talk.hear(data),
                _ => Vec::new(),
            };
            let mut silent = Vec::new();
            for message in messages {
                let Some((what, answer)) = name(&message) else {
                    continue;
                };
                let point = points.ask(Place::Sandbox, (what, true));
                let body = Bytes::from(message.to_string());
                if !heed(points.judge(&point, Moment::Before, ("", &body))).await {
                    return;
                }
                match answer {
                    Some(answer) => open
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push_back((answer, point, body)),
                    None => silent.push((point, body)),
                }
            }
            if to.write_all(&frame.raw).await.is_err() || to.flush().await.is_err() {
                return;
            }
            // What nobody answers is done once it is on its way.
            for (point, body) in silent {
                if !heed(points.judge(&point, Moment::After { status: None }, ("", &body))).await {
                    return;
                }
            }
        }
        match from.read_buf(&mut socket.buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn answered(mut from: ReadHalf<Stream>, mut to: WriteHalf<Stream>, points: &Points, open: &Open) {
    let (mut socket, mut talk) = (Socket::default(), Talk::default());
    loop {
        while let Some(frame) = socket.next() {
            let messages = match &frame.data {
                Some((STDOUT, data)) => talk.hear(data),
                _ => Vec::new(),
            };
            for answer in messages.iter().filter_map(answers) {
                let done = {
                    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                    let at = open.iter().position(|(waits, ..)| *waits == answer);
                    at.and_then(|at| open.remove(at))
                };
                if let Some((_, point, body)) = done
                    && !heed(points.judge(&point, Moment::After { status: None }, ("", &body))).await
                {
                    return;
                }
            }
            if to.write_all(&frame.raw).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
        match from.read_buf(&mut socket.buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

//! A model over HTTP, whatever its wire format: a request from its check to the turn that comes of it, and what
//! that used, also where it failed.
//!
//! A provider is an [`Endpoint`] plus a [`WireFormat`]. This must not know how any of them writes anything.

use std::fmt;
use std::ops::ControlFlow;

use async_trait::async_trait;

use super::http::{Answer, Endpoint};
use super::usage::{Measured, Reported, settle};
use super::{Model, ModelError, ModelSpec, Progress, Request, Turn};

/// How a provider is spoken to.
pub(super) trait WireFormat: fmt::Debug + Send + Sync + 'static {
    /// What each request bears, beside the key.
    const HEADERS: &'static [(&'static str, &'static str)];
    /// The header of the key, and what stands before the key in it.
    const KEY: (&'static str, &'static str);
    /// What comes of an answer.
    type Collected: Collect;

    /// Whether the answer shall come in events.
    fn streams(&self, request: &Request<'_>) -> bool;

    /// The request as it is sent.
    fn body(
        &self,
        request: &Request<'_>,
        spec: &ModelSpec,
        stream: bool,
    ) -> Result<Vec<u8>, serde_json::Error>;
}

/// An answer as far as it has come. What it has is also of use if it never ends: it may have to be paid for.
pub(super) trait Collect: Default + Send {
    /// Takes an event of a stream, and says whether more may come.
    fn event(
        &mut self,
        from: Source<'_>,
        data: &str,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<ControlFlow<()>, ModelError>;

    /// The stream is over, though no event was the last: is the answer?
    fn end(&mut self, from: Source<'_>) -> Result<(), ModelError>;

    /// Takes an answer that is not a stream. A format that always streams has none.
    fn whole(&mut self, from: Source<'_>, _body: &str) -> Result<(), ModelError> {
        Err(from.endpoint.not_understood("an answer that is no stream"))
    }

    /// What the provider says that it used.
    fn reported(&self) -> Reported;

    /// How many bytes of text, thoughts and arguments have come.
    fn received(&self) -> usize;

    /// The turn, as message `at` of the conversation. What was used, sent and tried is filled in by the client.
    fn turn(self, at: usize, spec: &ModelSpec) -> Result<Turn, ModelError>;
}

/// Whose answer is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// The provider's name for the request, if it was in a header.
    pub(super) request_id: Option<&'a str>,
}

/// A model behind an endpoint that speaks `W`.
#[derive(Debug)]
pub(super) struct Client<W> {
    endpoint: Endpoint,
    format: W,
}

impl<W: WireFormat> Client<W> {
    pub(super) fn new(endpoint: Endpoint, format: W) -> Result<Self, ModelError> {
        let endpoint = introduced::<W>(endpoint)?;
        Ok(Self { endpoint, format })
    }
}

/// With what each request bears.
pub(super) fn introduced<W: WireFormat>(mut endpoint: Endpoint) -> Result<Endpoint, ModelError> {
    for (name, value) in W::HEADERS {
        endpoint.header(name, value);
    }
    let (name, prefix) = W::KEY;
    endpoint.key_header(name, prefix)?;
    Ok(endpoint)
}

#[async_trait]
impl<W: WireFormat> Model for Client<W> {
    async fn complete(
        &self,
        request: &Request<'_>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Turn, ModelError> {
        request.check()?;
        let (endpoint, spec) = (&self.endpoint, &self.endpoint.spec);
        let stream = self.format.streams(request);
        let body = self
            .format
            .body(request, spec, stream)
            .map_err(ModelError::not_json)?;
        let measured = Measured::of(request, spec, body.len());
        progress(Progress::Asked { model: spec.clone() });
        // One that is not streamed is silent until it is whole.
        let patience = if stream {
            endpoint.timeouts.first
        } else {
            endpoint.timeouts.answer
        };
        let answer = endpoint
            .post(body, patience, request.deadline)
            .await
            .map_err(|error| measured.unanswered(error))?;
        let request_id = answer.request_id.clone();
        let from = Source {
            endpoint,
            request_id: request_id.as_deref(),
        };
        let mut collected = W::Collected::default();
        let read = read(&mut collected, from, answer, stream, progress).await;
        let measured = measured.received(collected.received());
        let (usage, estimated) = settle(collected.reported(), measured);
        let turn = read
            .and_then(|()| collected.turn(request.messages.len(), spec))
            .map_err(|error| error.having_spent(usage))?;
        Ok(Turn {
            usage,
            estimated,
            sent_bytes: measured.sent_bytes,
            request_id: request_id.or(turn.request_id),
            ..turn
        })
    }

    fn spec(&self) -> &ModelSpec {
        &self.endpoint.spec
    }
}

async fn read(
    collected: &mut impl Collect,
    from: Source<'_>,
    mut answer: Answer<'_>,
    stream: bool,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), ModelError> {
    if !stream {
        let body = answer.all().await?;
        return collected.whole(from, &body);
    }
    let mut events = answer.events().await?;
    while let Some(data) = events.next().await? {
        if collected.event(from, &data, progress)?.is_break() {
            return Ok(());
        }
    }
    collected.end(from)
}

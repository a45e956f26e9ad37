//! Publishes what agents have made.

use bytes::Bytes;

use super::Engine;
use crate::agent::prompts::Role;
use crate::run::event::Event;
use crate::run::next::Object;
use crate::run::record::{Failure, Record};
use crate::run::{RunError, content, publish, report};
use crate::store::Key;

impl Engine<'_> {
    /// A page as it is published, or what is wrong with it, for the model.
    pub(super) fn page(&self, role: Role, page: &str) -> Result<String, String> {
        content::page(&self.state, &self.parts.redactor, role, page)
    }

    /// Writes what an agent has made. What it is is noted before: whoever goes on, perhaps another release that would
    /// make something else of it, knows what is there for its own. Its page was checked when it was handed in, perhaps by another release: nothing
    /// is written for one that can't be.
    pub(super) async fn publish(&mut self, role: Role, object: Object) -> Result<(), RunError> {
        let Some(handed_in) = self.state.of(role).and_then(|work| work.page()) else {
            return Err(self.broken("an agent has ended without its page, and no reason is given"));
        };
        let page = self.page(role, handed_in).map_err(|problem| {
            tracing::debug!(problem, "a page that was accepted is refused");
            RunError::NoPage(Failure::Trouble(
                "the page was accepted by another release, and this one refuses it: start another run"
                    .to_owned(),
            ))
        })?;
        let content = match object {
            Object::Script => content::script(&self.state, &self.parts.redactor, role),
            Object::Page => page,
        };
        let key = object.key(&self.parts.layout, self.journal.run(), role);
        let (store, cancel, run) = (&*self.parts.store, &self.parts.cancel, self.journal.run());
        let content = Bytes::from(content);
        let mut published = publish::described(&key, &content);
        let noted = self.state.in_doubt(key.name()).cloned();
        let is_there = match &noted {
            Some(noted) => publish::is_there(store, cancel, run, &key, noted).await?,
            None => false,
        };
        match noted {
            Some(noted) if is_there => published = noted,
            noted => {
                if noted.as_ref() != Some(&published) {
                    self.note(Record::Published(published.clone())).await?;
                }
                publish::publish(store, cancel, run, &key, &content, |_| false).await?;
            }
        }
        self.state.is_written();
        self.published(&key, published.bytes);
        Ok(())
    }

    /// Writes the report, which follows from the entries. If another release has written it, it is there.
    pub(super) async fn report(&self) -> Result<(), RunError> {
        let Some(text) = report::text(&self.state, &self.parts.redactor) else {
            return Err(self.broken("the run is not finished"));
        };
        let content = Bytes::from(text.map_err(|error| self.broken(&error.to_string()))?);
        let (store, cancel, run) = (&*self.parts.store, &self.parts.cancel, self.journal.run());
        let key = self.parts.layout.run(run);
        let as_good = |there: &[u8]| report::is_of(&self.state, there);
        publish::publish(store, cancel, run, &key, &content, as_good).await?;
        self.published(&key, content.len() as u64);
        Ok(())
    }

    fn published(&self, key: &Key, bytes: u64) {
        (self.watch)(&Event::Published {
            name: key.name().to_owned(),
            uri: self.parts.store.uri(key),
            bytes,
        });
    }
}

//! Checks what agents hand in, and publishes it with its script.

use bytes::Bytes;

use super::Engine;
use crate::agent::prompts::Role;
use crate::html;
use crate::run::event::Event;
use crate::run::record::{Failure, Record};
use crate::run::{RunError, provenance, publish, report, script};
use crate::store::Key;

fn rules(role: Role) -> html::Rules {
    match role {
        Role::Cataloging => html::Rules::CATALOG,
        Role::Summary => html::Rules::SUMMARY,
    }
}

impl Engine<'_> {
    /// What is wrong with a page, for the model.
    pub(super) fn problem(&self, role: Role, page: &str) -> Option<String> {
        self.published_as(role, page).err()
    }

    /// A page as it may be published at a key; none if it is there. It was checked when it was handed in, perhaps by
    /// another release.
    pub(super) fn fit(&self, role: Role, page: &str, key: &Key) -> Result<Option<String>, RunError> {
        if self.state.is_published(key.name()) {
            return Ok(None);
        }
        self.published_as(role, page).map(Some).map_err(|problem| {
            tracing::debug!(problem, "a page that was accepted is refused");
            RunError::NoPage(Failure::Trouble(
                "the page was accepted by another release, and this one refuses it: start another run"
                    .to_owned(),
            ))
        })
    }

    fn published_as(&self, role: Role, page: &str) -> Result<String, String> {
        let page = html::clean(&self.redact(page), rules(role))
            .map_err(|refusal| self.redact(&refusal.to_string()))?;
        let mut frame = provenance::frame(&self.state, role);
        let texts = [&mut frame.of, &mut frame.time].into_iter();
        let links = frame.links.iter_mut().map(|(name, _)| name);
        let facts = frame.facts.iter_mut().flat_map(|(_, values)| values);
        for text in texts.chain(links).chain(facts) {
            *text = self.redact(text);
        }
        // Not redacted as a whole: a style sheet that was changed is one that browsers ignore.
        html::framed(&page, &frame).map_err(|escaped| escaped.to_string())
    }

    pub(super) fn script(&self, role: Role) -> String {
        let cells: Vec<script::Ran<'_>> = self
            .state
            .of(role)
            .map_or(&[][..], |work| &work.cells)
            .iter()
            .zip(1..)
            .map(|(ran, number)| script::Ran {
                number,
                code: &ran.code,
                fate: ran.into(),
            })
            .collect();
        let kind = match role {
            Role::Cataloging => script::Kind::Catalog,
            Role::Summary => script::Kind::Summary,
        };
        let asked = &self.state.claim.asked;
        let (tables, model) = (asked.tables.join(", "), asked.model.to_string());
        let facts = [
            ("Database", asked.database.as_str()),
            ("Tables", tables.as_str()),
            ("Model", model.as_str()),
        ];
        self.redact(&script::script(kind, self.journal.run(), &facts, &cells))
    }

    /// Writes what was redacted, unless it is there. What it is is noted before: whoever goes on, perhaps another
    /// release that would make something else of it, knows what is there for its own.
    pub(super) async fn publish(&mut self, key: &Key, content: String) -> Result<(), RunError> {
        if self.state.is_published(key.name()) {
            return Ok(());
        }
        let (store, cancel, run) = (&*self.parts.store, &self.parts.cancel, self.journal.run());
        let content = Bytes::from(content);
        let mut published = publish::described(key, &content);
        let noted = self.state.in_doubt(key.name()).cloned();
        let is_there = match &noted {
            Some(noted) => publish::is_there(store, cancel, run, key, noted).await?,
            None => false,
        };
        match noted {
            Some(noted) if is_there => published = noted,
            noted => {
                if noted.as_ref() != Some(&published) {
                    self.note(Record::Published(published.clone())).await?;
                }
                publish::publish(store, cancel, run, key, &content, |_| false).await?;
            }
        }
        self.state.is_written();
        self.published(key, published.bytes);
        Ok(())
    }

    /// Writes the report, which follows from the entries. If another release has written it, it is there.
    pub(super) async fn report(&self, key: &Key, content: String) -> Result<(), RunError> {
        let content = Bytes::from(content);
        let (store, cancel) = (&*self.parts.store, &self.parts.cancel);
        let as_good = |there: &[u8]| report::is_of(&self.state, there);
        publish::publish(store, cancel, self.journal.run(), key, &content, as_good).await?;
        self.published(key, content.len() as u64);
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

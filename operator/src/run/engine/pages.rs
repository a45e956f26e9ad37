//! Checks what agents hand in, and publishes it with its script.

use super::Engine;
use crate::agent::prompts::Role;
use crate::html;
use crate::run::event::Event;
use crate::run::record::{Failure, Published, Record};
use crate::run::{RunError, provenance, publish, script};
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

    /// Writes what was redacted, unless it is there.
    pub(super) async fn publish(&mut self, key: &Key, content: String) -> Result<(), RunError> {
        if self.state.is_published(key.name()) {
            return Ok(());
        }
        let published = self.write(key, content).await?;
        let bytes = published.bytes;
        self.note(Record::Published(published)).await?;
        self.published(key, bytes);
        Ok(())
    }

    pub(super) async fn write(&self, key: &Key, content: String) -> Result<Published, RunError> {
        publish::publish(
            &*self.parts.store,
            &self.parts.cancel,
            self.journal.run(),
            key,
            content,
        )
        .await
    }

    pub(super) fn published(&self, key: &Key, bytes: u64) {
        (self.watch)(&Event::Published {
            name: key.name().to_owned(),
            uri: self.parts.store.uri(key),
            bytes,
        });
    }
}

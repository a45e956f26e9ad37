//! What an agent is told: its prompt, with what the run and the past have to say.

use super::Engine;
use crate::agent::prompts::{Role, Value, Values};
use crate::run::context::Reader;
use crate::run::record::Beginning;
use crate::run::{RunError, preflight as survey};
use crate::store::{Layout, Prefix, RunId};

impl<'a> Engine<'a> {
    /// What an agent is told: the prompt with its inputs.
    pub(super) async fn task(&self, role: Role) -> Result<Beginning, RunError> {
        let run = self.journal.run();
        let reader = self.reader();
        let earlier = reader.earlier(run).await?;
        let prompt = self.parts.prompts.get(role);
        let limits = match role {
            Role::Cataloging => self.state.limits.of_catalog(),
            Role::Summary => self.state.limits.after(&self.state.spent()),
        };
        let mut values = Values::new();
        values.insert("run", run.readable().into());
        values.insert("intent", self.plan.intent.clone().unwrap_or_default().into());
        values.insert("execute_seconds", self.plan.cell.timeout.as_secs().into());
        values.insert("max_turns", limits.turns.into());
        values.insert("max_tokens", limits.tokens.into());
        match role {
            Role::Cataloging => {
                let past = reader.past(&earlier).await?;
                values.insert("dialect", self.plan.database.kind().into());
                let tables = self.tables();
                if tables != self.plan.tables {
                    values.insert("patterns", self.plan.tables.clone().into());
                }
                values.insert("tables", tables.into());
                values.insert("max_rows", self.plan.cell.max_rows.into());
                values.insert("previous_catalog", past.catalog.into());
                values.insert("previous_summary", past.summary.into());
                values.insert("previous_script", past.script.into());
                values.insert("comments", past.comments.into());
            }
            Role::Summary => {
                let (summary, script) = reader.last_summary(&earlier).await?;
                values.insert("previous_summary", summary.into());
                values.insert("previous_script", script.into());
                values.insert("current", file_name(run).into());
                values.insert(
                    "earlier",
                    Value::List(earlier.iter().copied().map(file_name).collect()),
                );
                values.insert("comments", reader.comments(&earlier).await?.into());
            }
        }
        // A prompt of one's own may ask for less.
        values.retain(|name, _| prompt.takes(name));
        let task = self.parts.redactor.redact(&prompt.render(&values)?).into_owned();
        Ok(Beginning { role, task, earlier })
    }

    pub(super) fn reader(&self) -> Reader<'a> {
        Reader {
            store: &*self.parts.store,
            layout: &self.parts.layout,
            cancel: &self.parts.cancel,
        }
    }

    /// The tables that an agent is to document.
    fn tables(&self) -> Vec<String> {
        let survey = self.state.survey.as_ref();
        survey.map_or_else(|| self.plan.tables.clone(), survey::Survey::names)
    }
}

/// As the files lie in a directory of earlier catalogs.
pub(super) fn file_name(run: RunId) -> String {
    Layout::new(Prefix::root()).catalog(run).to_string()
}

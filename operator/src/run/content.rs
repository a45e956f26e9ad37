//! What is published of an agent's work. It follows from the journal alone, so it is the same whoever writes it: one
//! who goes on with a run finds what was written before as it should be.
//!
//! It must not know where it goes.

use super::state::State;
use super::{provenance, script};
use crate::agent::prompts::Role;
use crate::html::{self, Frame};
use crate::redact::Redactor;

/// A page as it is published, or what is wrong with it, for the model.
pub(super) fn page(state: &State, redactor: &Redactor, role: Role, page: &str) -> Result<String, String> {
    framed(provenance::frame(state, role), redactor, role, page)
}

/// The same, of which all that a journal has to say is in the frame.
pub(super) fn framed(
    mut frame: Frame,
    redactor: &Redactor,
    role: Role,
    page: &str,
) -> Result<String, String> {
    let rules = match role {
        Role::Cataloging => html::Rules::CATALOG,
        Role::Summary => html::Rules::SUMMARY,
    };
    let page = html::clean(&redactor.redact(page), rules)
        .map_err(|refusal| redactor.redact(&refusal.to_string()).into_owned())?;
    let texts = [&mut frame.of, &mut frame.time].into_iter();
    let links = frame.links.iter_mut().map(|(name, _)| name);
    let facts = frame.facts.iter_mut().flat_map(|(_, values)| values);
    for text in texts.chain(links).chain(facts) {
        *text = redactor.redact(text).into_owned();
    }
    // Not redacted as a whole: a style sheet that was changed is one that browsers ignore.
    html::framed(&page, &frame).map_err(|escaped| escaped.to_string())
}

/// The code behind a page.
pub(super) fn script(state: &State, redactor: &Redactor, role: Role) -> String {
    let cells: Vec<script::Ran<'_>> = state
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
    let asked = &state.claim.asked;
    let (tables, model) = (asked.tables.join(", "), asked.model.to_string());
    let facts = [
        ("Database", asked.database.as_str()),
        ("Tables", tables.as_str()),
        ("Model", model.as_str()),
    ];
    let script = script::script(kind, state.claim.run, &facts, &cells);
    redactor.redact(&script).into_owned()
}

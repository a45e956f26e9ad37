//! What the frame around a page says of the run. It follows from the journal alone, so it is the same whoever
//! publishes the page.

use super::state::{State, Work};
use crate::agent::prompts::Role;
use crate::html::Frame;
use crate::llm::prices::Cost;
use crate::store::{Layout, Prefix, RunId};

/// The frame around the page of an agent.
pub(super) fn frame(state: &State, role: Role) -> Frame {
    let run = state.claim.run;
    let asked = &state.claim.asked;
    let work = state.of(role);
    let tables = state
        .survey
        .as_ref()
        .map_or_else(|| asked.tables.clone(), super::preflight::Survey::names);
    let mut facts = vec![
        ("Database".to_owned(), vec![asked.database.clone()]),
        ("Run".to_owned(), vec![run.readable(), run.to_string()]),
        ("Model".to_owned(), work.map_or_else(Vec::new, models)),
        ("Used".to_owned(), work.map_or_else(Vec::new, used)),
        (
            "Written by".to_owned(),
            vec![format!("Cataloger {}", state.claim.cataloger)],
        ),
    ];
    if let Some(intent) = &asked.intent {
        facts.push(("Asked for".to_owned(), vec![intent.clone()]));
    }
    facts.push((counted(tables.len(), "table", "tables"), tables));
    Frame {
        kind: match role {
            Role::Cataloging => "Catalog",
            Role::Summary => "Summary",
        }
        .to_owned(),
        of: asked.database.clone(),
        time: run.readable(),
        datetime: run.readable().replace(" UTC", "Z").replace(' ', "T"),
        links: links(role, run, work),
        facts,
    }
}

/// The other pages of the run, and the catalog before it: all lie where they lie from each run's folder.
fn links(role: Role, run: RunId, work: Option<&Work>) -> Vec<(String, String)> {
    let layout = Layout::new(Prefix::root());
    let mut links = match role {
        Role::Cataloging => vec![
            ("What changed", layout.summary(run)),
            ("How it was made", layout.catalog_script(run)),
        ],
        Role::Summary => vec![
            ("The catalog", layout.catalog(run)),
            ("How it was compared", layout.summary_script(run)),
        ],
    }
    .into_iter()
    .map(|(name, key)| (name.to_owned(), key.name().to_owned()))
    .collect::<Vec<_>>();
    if let Some(earlier) = work.and_then(|work| work.beginning.earlier.first()) {
        links.push((
            format!("The catalog of {}", earlier.readable()),
            format!("../{}", layout.catalog(*earlier)),
        ));
    }
    links
}

fn models(work: &Work) -> Vec<String> {
    work.answered
        .keys()
        .map(|(asked, answered)| {
            let asked = asked.to_string();
            if asked == *answered || asked.ends_with(&format!("/{answered}")) {
                asked
            } else {
                format!("{asked} (answered as {answered})")
            }
        })
        .collect()
}

fn used(work: &Work) -> Vec<String> {
    let spent = work.agent.spent();
    let turns = usize::try_from(spent.turns).unwrap_or(usize::MAX);
    let mut used = vec![
        counted(turns, "turn", "turns"),
        counted(work.cells.len(), "piece of code", "pieces of code"),
    ];
    match (spent.usage.budget_tokens(), spent.cost) {
        (0, _) => {}
        (tokens, cost) => {
            used.push(format!("{tokens} tokens"));
            used.push(cost.map_or_else(|| "cost not known".to_owned(), |cost: Cost| cost.to_string()));
        }
    }
    used
}

fn counted(number: usize, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

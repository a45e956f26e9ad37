//! Plays a model that does its task: what it says follows from the conversation alone, so that it can be asked by
//! several processes, one after the other, and by the same one again.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::model_server::{ModelServer, Recorded, Say, Script};

/// What it does, turn by turn.
#[derive(Debug, Clone)]
pub struct Author {
    /// The turns of the agent that catalogs.
    pub catalog: Vec<Move>,
    /// The turns of the one that summarizes.
    pub summary: Vec<Move>,
    /// How long it takes for each.
    pub latency: std::time::Duration,
}

/// A turn: calls of tools.
#[derive(Debug, Clone)]
pub enum Move {
    /// Code.
    Execute(String),
    /// Several pieces of code at once.
    Both(String, String),
    /// A page.
    Submit(String),
    /// Only text.
    Talk(String),
}

/// Which agent asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The one that catalogs.
    Catalog,
    /// The one that summarizes.
    Summary,
}

/// How many turns a server was asked for more than once: each is an answer that was paid twice.
pub fn asked_again(server: &ModelServer) -> usize {
    let requests = server.requests();
    let mut turns: Vec<_> = requests.iter().map(|it| format!("{:?}", place(it))).collect();
    turns.sort();
    turns.dedup();
    requests.len() - turns.len()
}

/// A page with a title and this in it.
pub fn page(body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Shop</title>\
         <style>body {{ color-scheme: light dark }}</style></head><body><h1>Shop</h1>{body}</body></html>\n"
    )
}

impl Default for Author {
    fn default() -> Self {
        Self {
            catalog: vec![
                Move::Execute("db = connect_database()\nsorted(db.list_tables())".into()),
                Move::Both(
                    "orders = db.table('orders')\nrows = orders.count().execute()\nrows".into(),
                    "total = 40 + 2\ntotal / 0".into(),
                ),
                Move::Execute("f'{rows} orders, {total}'".into()),
                Move::Submit(page("<p>3 orders</p>")),
            ],
            summary: vec![
                Move::Execute("import os\nsorted(os.listdir('.'))".into()),
                Move::Submit(page("<p>No baseline</p>")),
            ],
            latency: std::time::Duration::ZERO,
        }
    }
}

impl Author {
    /// What it says to a request.
    pub fn answer(&self, recorded: &Recorded) -> Script {
        let (asker, turn) = place(recorded);
        let moves = match asker {
            Asker::Catalog => &self.catalog,
            Asker::Summary => &self.summary,
        };
        let id = |call: usize| format!("call_{asker:?}_{turn}_{call}");
        let said = match moves.get(turn) {
            None => Say::text("I have nothing more to say."),
            Some(Move::Talk(text)) => Say::text(text),
            Some(Move::Submit(page)) => Say::call(&id(0), "submit_html", &json!({"content": page})),
            Some(Move::Execute(code)) => Say::call(&id(0), "execute_python", &json!({"code": code})),
            Some(Move::Both(first, second)) => Say::call(&id(0), "execute_python", &json!({"code": first}))
                .calls(&id(1), "execute_python", &json!({"code": second}).to_string()),
        };
        Script::Say(Box::new(said.latency(self.latency)))
    }

    /// For [`crate::model_server::ModelServer::think`].
    pub fn brain(self) -> impl FnMut(&Recorded) -> Script + Send + 'static {
        let author = Arc::new(self);
        move |recorded| author.answer(recorded)
    }
}

/// Which agent asks, and which of its turns this will be, from 0.
pub fn place(recorded: &Recorded) -> (Asker, usize) {
    let body = recorded.json();
    let messages = ["messages", "input"]
        .iter()
        .find_map(|name| body[*name].as_array());
    let messages = messages.cloned().unwrap_or_default();
    let task = messages
        .iter()
        .find(|message| message["role"] == json!("user"))
        .map(|message| text(&message["content"]))
        .unwrap_or_default();
    let asker = if task.contains("You compare descriptions") {
        Asker::Summary
    } else {
        Asker::Catalog
    };
    // In Responses a call is an item of its own, without a role; those that stand together are one turn.
    let is_call = |item: &Value| item["type"] == json!("function_call");
    let calls = messages.iter().enumerate().filter(|(at, message)| {
        is_call(message) && at.checked_sub(1).is_none_or(|before| !is_call(&messages[before]))
    });
    let said = messages
        .iter()
        .filter(|message| message["role"] == json!("assistant"));
    (
        asker,
        if body["input"].is_array() {
            calls.count()
        } else {
            said.count()
        },
    )
}

/// The results that the request's last message holds, as text.
pub fn results(recorded: &Recorded) -> String {
    let body = recorded.json();
    let last = body["messages"]
        .as_array()
        .and_then(|messages| messages.last())
        .cloned();
    last.map(|message| text(&message["content"])).unwrap_or_default()
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .map(|block| {
                let part = ["text", "content"].iter().find(|name| !block[**name].is_null());
                part.map_or_else(String::new, |name| text(&block[*name]))
            })
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

//! Conversations of the builtin model with a sandbox that is played, and pages out of any facts.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::html::{self, Rules};
use crate::llm::{Message, ToolResult};

fn task(names: &[&str], turns: usize) -> String {
    let list: Vec<String> = names.iter().map(|name| format!("- `{name}`")).collect();
    format!(
        "Document these tables, and no others:\n\n{}\n\nThe run began 2026-11-21 12:00:00 UTC.\n\nA call may take 60 seconds.\nThere are {turns} turns",
        list.join("\n")
    )
}

fn request(messages: &[Message]) -> Request<'_> {
    Request {
        system: "",
        messages,
        tools: &[],
        max_output_tokens: 1,
        cache: false,
        deadline: None,
        again: None,
    }
}

/// Goes on until there is a page; `play` says what comes of a piece of code, or raises.
fn drive(task: &str, mut play: impl FnMut(&str) -> Result<String, String>) -> (String, Vec<Message>) {
    let model = Builtin::new("builtin".parse().unwrap());
    let mut messages = vec![Message::User(task.to_owned())];
    for _ in 0..200 {
        request(&messages).check().unwrap();
        let turn = model.turn(&request(&messages), next(&request(&messages)));
        assert!(turn.tool_calls.len() <= CALLS);
        assert_eq!(turn.stop, StopReason::ToolUse, "{}", turn.text);
        let mut results = Vec::new();
        for call in &turn.tool_calls {
            let Arguments::Given(given) = &call.arguments else {
                panic!("{call:?}")
            };
            if let Some(page) = given.get("content") {
                return (page.as_str().unwrap().to_owned(), messages);
            }
            let played = play(given["code"].as_str().unwrap());
            results.push(ToolResult {
                id: call.id.clone(),
                is_error: played.is_err(),
                content: played.unwrap_or_else(|error| error),
            });
        }
        messages.push(Message::Assistant(Box::new(turn)));
        messages.push(Message::ToolResults(results));
    }
    panic!("no page");
}

/// Plays a database of so many tables of so many columns, all called this.
fn database(name: &str, tables: usize, columns: usize) -> impl FnMut(&str) -> Result<String, String> {
    let name = name.to_owned();
    move |code| {
        let end = json!({"record": "end", "more": []});
        let mut lines = Vec::new();
        if code.contains("look.survey(") {
            lines.push(json!({"record": "database", "name": name, "version": name}));
            for table in 0..tables {
                let name = format!("{name}{table}");
                lines.push(json!({"record": "found", "table": table, "schema": "main", "name": name, "columns": columns, "estimate": 10}));
            }
        } else if let Some((_, numbers)) = code.split_once("look.profile(") {
            for number in numbers.trim_end_matches(')').split(", ") {
                let table: usize = number.parse().unwrap();
                lines.push(json!({"record": "table", "table": table, "schema": "main", "name": format!("{name}{table}"), "kind": "table", "rows": 10, "how": "exact", "at": "2026-11-21T12:00:00Z", "comment": name, "definition": name}));
                for column in 0..columns {
                    lines.push(json!({"record": "column", "table": table, "name": format!("{name}{column}"), "type": name, "kind": "text", "nulls": 1, "distinct": 2, "top": [[name, 5, null], ["b", 4, null]], "bins": [1, 2, 3], "min": name, "max": 7, "variants": [[name, "b"]], "comment": name, "problem": name}));
                }
            }
        } else if code.contains("relate") {
            lines.push(json!({"record": "reference", "table": 0, "columns": [name], "to": ["main", name], "to_columns": [name], "found": true, "evidence": [name], "orphans": 1, "filled": 9}));
        }
        lines.push(end);
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        Ok(lines.join("\n"))
    }
}

fn accepted(page: &str) {
    if let Err(refusal) = html::clean(page, Rules::CATALOG) {
        panic!("{refusal}\n{}", page.get(..3000).unwrap_or(page));
    }
}

#[test]
fn the_same_conversation_has_the_same_next_turn() {
    let (page, messages) = drive(&task(&["*"], 50), database("t", 30, 7));
    accepted(&page);
    // Whoever goes on from anywhere says what was said.
    for at in (1..messages.len()).step_by(2) {
        let Message::Assistant(said) = &messages[at] else {
            panic!()
        };
        let model = Builtin::new("builtin".parse().unwrap());
        let before = request(&messages[..at]);
        assert_eq!(model.turn(&before, next(&before)), **said);
    }
}

#[test]
fn a_thousand_tables_fit_into_turns_and_bytes() {
    let (page, messages) = drive(&task(&["*"], 50), database("table_", 1000, 12));
    assert!(messages.len() < 2 * 46, "{}", messages.len());
    accepted(&page);
    assert!(page.len() <= 475_000, "{}", page.len());
    assert_eq!(page.matches("data-table=").count(), 1000);
    assert!(!page.contains("data-cut-tables"));
}

/// As another, with names and types as databases have them.
fn with_types(
    mut played: impl FnMut(&str) -> Result<String, String>,
) -> impl FnMut(&str) -> Result<String, String> {
    const COLUMNS: [(&str, &str); 5] = [
        ("customer_reference", "character varying(255)"),
        ("created_at", "timestamp without time zone"),
        ("billing_address_id", "integer"),
        ("total_amount", "numeric(12,2)"),
        ("is_active", "boolean"),
    ];
    move |code| {
        let lines = played(code)?;
        let mut place = 0;
        let lines: Vec<String> = lines
            .lines()
            .map(|line| {
                let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
                if record["record"] == "table" {
                    place = 0;
                } else if record["record"] == "column" {
                    let (name, kind) = COLUMNS[place % COLUMNS.len()];
                    record["name"] = format!("{name}_{place}").into();
                    record["type"] = kind.into();
                    place += 1;
                }
                record.to_string()
            })
            .collect();
        Ok(lines.join("\n"))
    }
}

#[test]
fn a_thousand_tables_keep_the_names_and_types_of_their_columns() {
    let played = with_types(database("customer_orders_", 1000, 10));
    let (page, _) = drive(&task(&["*"], 50), played);
    accepted(&page);
    assert!(page.len() <= 475_000, "{}", page.len());
    for name in ["customer_reference_0", "billing_address_id_7", "is_active_9"] {
        // Warnings name some of them again.
        assert!(page.matches(name).count() >= 1000, "{name}");
    }
    assert_eq!(page.matches("<b>timestamp without time zone</b>").count(), 1000);
}

#[test]
fn a_thousand_columns_keep_their_names_and_types() {
    let (page, _) = drive(&task(&["*"], 50), database("c", 1, 1000));
    accepted(&page);
    assert!(page.len() <= 400_000, "{}", page.len());
    let rows = page.matches("data-column=").count();
    assert!(rows >= 20, "{rows}");
    assert!(rows == 1000 || page.contains(&format!("{rows} of 1000 columns")));
    for column in 0..1000 {
        let names = [
            format!("data-column=\"c{column}\""),
            format!(" c{column},"),
            format!(" c{column} "),
        ];
        assert!(names.iter().any(|name| page.contains(name)), "{column}");
    }
}

#[test]
fn columns_stand_in_the_order_of_their_table() {
    let told =
        |place: usize| json!({"record": "column", "table": 0, "place": place, "name": format!("c{place}")});
    let table = json!({"record": "table", "table": 0, "schema": "main", "name": "t"});
    let lines: Vec<String> = [table, told(2), told(0), told(3), told(1)]
        .iter()
        .map(ToString::to_string)
        .collect();
    let facts = facts::Facts::read(std::iter::once(lines.join("\n").as_str()));
    let names: Vec<&str> = facts.tables[&0]
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["c0", "c1", "c2", "c3"]);
}

#[test]
fn a_lost_session_is_begun_again() {
    let mut played = database("t", 3, 3);
    let mut calls = 0;
    let mut alive = true;
    let (page, _) = drive(&task(&["*"], 50), |code| {
        calls += 1;
        if code.contains("look.profile(") && calls < 20 {
            alive = false;
            return Err("[The code used too much memory and was ended.]".into());
        }
        if code.contains("look.survey(") {
            alive = true;
        }
        if alive || !code.contains("look.") {
            played(code)
        } else {
            Err("Traceback (most recent call last):\nNameError: name 'look' is not defined".into())
        }
    });
    accepted(&page);
    assert!(page.contains("too much memory"), "{page}");
}

#[test]
fn a_refused_page_comes_back_plainer_and_not_for_ever() {
    let (_, mut messages) = drive(&task(&["*"], 50), database("t", 3, 3));
    let model = Builtin::new("builtin".parse().unwrap());
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let turn = model.turn(&request(&messages), next(&request(&messages)));
        let Arguments::Given(given) = &turn.tool_calls[0].arguments else {
            panic!()
        };
        sizes.push(given["content"].as_str().unwrap().len());
        let id = turn.tool_calls[0].id.clone();
        messages.push(Message::Assistant(Box::new(turn)));
        messages.push(Message::ToolResults(vec![ToolResult {
            id,
            content: "The page was not accepted:\nno".into(),
            is_error: true,
        }]));
    }
    assert!(sizes[0] > sizes[1] && sizes[1] >= sizes[2], "{sizes:?}");
    let last = next(&request(&messages));
    assert!(
        matches!(&last, Move::Stop(reason) if reason.contains("not accepted")),
        "{last:?}"
    );
}

#[test]
fn summaries_are_short_whatever_changed() {
    let text = format!(
        "This run began 2026-11-21 12:00:00 UTC. Its catalog is the file `2/catalog.html`.\n\n{}\n\n- `1/catalog.html`\n",
        "The earlier catalogs, the newest first, are:"
    );
    let long = "<b>\u{202e}".repeat(30);
    let (page, _) = drive(&text, |code| {
        if !code.contains("changes(\"2/catalog.html\", [\"1/catalog.html\"])") {
            return Ok(String::new());
        }
        let mut lines = vec![
            json!({"record": "compared", "run": "b", "with": "a", "tables": 100, "changes": 70}).to_string(),
        ];
        for at in 0..40 {
            lines.push(json!({"record": "change", "what": "type", "on": format!("{long}{}", at % 9), "name": long, "before": long, "after": long}).to_string());
        }
        lines.push(json!({"record": "rest", "tables": vec![long.clone(); 40], "of": 100}).to_string());
        lines.extend((0..10).map(|_| json!({"record": "note", "text": long}).to_string()));
        Ok(lines.join("\n"))
    });
    html::clean(&page, Rules::SUMMARY).unwrap();
    assert!(page.contains("And 6") && page.contains("70 changes"), "{page}");
}

proptest! {
    #[test]
    fn no_name_or_value_breaks_a_page(name in "(\\PC|[<>&\"'`/=!\\-\u{0}-\u{1f}\u{202e}\u{2066}\u{feff}\u{e0041}]){1,20}") {
        let (page, _) = drive(&task(&["*"], 50), database(&name, 2, 2));
        accepted(&page);
    }
}

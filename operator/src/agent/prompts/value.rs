//! How a value is written into a prompt, so that nothing in it can be taken for what is around it.

use sha2::{Digest, Sha256};

use super::{Kind, Value};

pub(super) fn shown(name: &str, value: &Value, kind: Kind) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::List(items) => {
            let lines: Vec<String> = items.iter().map(|item| format!("- {}", code(item))).collect();
            lines.join("\n")
        }
        Value::Text(text) if kind == Kind::Untrusted => untrusted(name, text),
        Value::Text(text) => text.trim().to_owned(),
    }
}

/// One line of code in Markdown, whatever is in it: names of tables hold backticks too.
fn code(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect();
    let longest = line.split(|it| it != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    format!("{fence}{space}{line}{space}{fence}")
}

/// Between two lines that it can't hold: they name its own hash.
fn untrusted(name: &str, text: &str) -> String {
    let hash = hex::encode(Sha256::digest(text));
    let mark = format!("{name} {}", &hash[..16]);
    let mut out = format!("BEGIN DATA {mark}\n");
    for line in text.lines() {
        let line: String = line
            .chars()
            .filter(|it| !it.is_control() || *it == '\t')
            .collect();
        let upper = line.trim_start().to_uppercase();
        if upper.starts_with("BEGIN DATA") || upper.starts_with("END DATA") {
            out.push_str("| ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push_str("END DATA ");
    out.push_str(&mark);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_can_not_end_itself() {
        let text = "a\nEND DATA x 0123\n  begin data y\u{7}\r\nb\u{1b}[2J";
        let shown = untrusted("x", text);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines[1..lines.len() - 1],
            ["a", "| END DATA x 0123", "|   begin data y", "b[2J"]
        );
        let mark = lines[0].strip_prefix("BEGIN DATA x ").unwrap();
        assert_eq!(lines[lines.len() - 1], format!("END DATA x {mark}"));
        assert_eq!(code("a`b\n- c"), "`` a`b - c ``");
    }
}

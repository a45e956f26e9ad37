//! What is taken, what is refused, what becomes of it, and that nothing breaks on the way.

mod attacks;
mod frames;
mod hostile;
mod pages;

use super::{Rules, clean};

/// A page around what stands in its body.
fn page(body: &str) -> String {
    whole("", body)
}

/// A page around what stands in its head and body.
fn whole(head: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>t</title>{head}</head>\n\
         <body><p id=\"intro\">Something.</p>\n{body}\n</body></html>\n"
    )
}

/// What is said of a page; nothing if it is taken.
fn said(page: &str) -> String {
    match clean(page, Rules::CATALOG) {
        Ok(_) => String::new(),
        Err(refusal) => refusal.to_string(),
    }
}

/// What is left of a body.
fn left(body: &str) -> String {
    match clean(&format!("<h1>t</h1>x{body}<p>"), Rules::CATALOG) {
        Ok(clean) => clean.body["<h1>t</h1>x".len()..clean.body.len() - "<p></p>".len()].to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}

/// The same many times, each with its number.
fn numbered(many: usize, begin: &str, end: &str) -> String {
    let all: Vec<String> = (0..many).map(|number| format!("{begin}{number}{end}")).collect();
    all.concat()
}

//! What is asked of whom, by names that are the same in every run. Pure.

use cataloger::store::RunId;
use hyper::Method;

use super::Place;

/// What a request is called, and whether something is different after it.
pub(super) fn name(place: Place, method: &Method, path: &str, query: &str) -> (String, bool) {
    match place {
        Place::Bucket => bucket(method, path, query),
        Place::Api => api(method, path, query),
        Place::Model | Place::Sandbox => {
            let last = path.rsplit('/').next().unwrap_or_default();
            (format!("{method} {last}"), *method == Method::POST)
        }
    }
}

fn reads(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD || *method == Method::OPTIONS
}

fn bucket(method: &Method, path: &str, query: &str) -> (String, bool) {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let is_run = |part: &&str| part.parse::<RunId>().is_ok();
    let what = if query.contains("list-type=2") {
        "list".to_owned()
    } else if let Some(journal) = parts.iter().position(|part| *part == ".journal") {
        let rest: Vec<&str> = parts[journal + 1..].to_vec();
        match rest[..] {
            [_, entry] if is_run(&rest[0]) => format!(".journal/{}", entry.trim_end_matches(".json")),
            _ => "probe".to_owned(),
        }
    } else if let Some(run) = parts.iter().position(is_run) {
        parts[run + 1..].join("/")
    } else {
        "object".to_owned()
    };
    (format!("{method} {what}"), !reads(method))
}

/// As in a role: the resource and its part.
fn api(method: &Method, path: &str, query: &str) -> (String, bool) {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    // `api/v1` or `apis/GROUP/VERSION`.
    let skipped = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return (format!("{method} {path}"), !reads(method)),
    };
    let mut rest: Vec<&str> = parts.skip(skipped).collect();
    if rest.len() > 2 && rest[0] == "namespaces" {
        rest.drain(..2);
    }
    let what = match rest[..] {
        [resource, _, part, ..] => format!("{resource}/{part}"),
        [resource, ..] => resource.to_owned(),
        [] => "versions".to_owned(),
    };
    let verb = if is_watch(query) { "WATCH" } else { method.as_str() };
    (format!("{verb} {what}"), !reads(method))
}

/// Whether the answer has no end.
pub(super) fn is_watch(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| matches!(pair, "watch=true" | "watch=1" | "follow=true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_every_run() {
        let put = &Method::PUT;
        for (path, query, what) in [
            (
                "/pages/x/y/.journal/20261121T120000Z/000012.json",
                "x-id=PutObject",
                "PUT .journal/000012",
            ),
            ("/pages/x/.journal/probe-00ab-1.json", "", "PUT probe"),
            ("/pages/x/20261121T120000Z/catalog.html", "", "PUT catalog.html"),
        ] {
            assert_eq!(name(Place::Bucket, put, path, query), (what.to_owned(), true));
        }
        for (method, path, query, what, writes) in [
            (
                Method::PATCH,
                "/apis/cataloger.dev/v1alpha1/namespaces/a/catalogs/shop/status",
                "force=true",
                "PATCH catalogs/status",
                true,
            ),
            (Method::POST, "/api/v1/namespaces/a/pods", "", "POST pods", true),
            (
                Method::GET,
                "/apis/cataloger.dev/v1alpha1/catalogs",
                "watch=true&x=1",
                "WATCH catalogs",
                false,
            ),
            (
                Method::GET,
                "/api/v1/namespaces/a/pods/x/exec",
                "stdin=true",
                "GET pods/exec",
                false,
            ),
            (Method::GET, "/api/v1/namespaces/a", "", "GET namespaces", false),
        ] {
            assert_eq!(
                name(Place::Api, &method, path, query),
                (what.to_owned(), writes),
                "{path}"
            );
        }
        let model = name(Place::Model, &Method::POST, "/v1/messages", "");
        assert_eq!(model, ("POST messages".to_owned(), true));
    }
}

//! The URL of a database: a secret, of which a part can be shown.

use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;

/// The kinds that the sandbox can open, by their schemes.
const KINDS: [(&str, &str); 6] = [
    ("postgresql", "PostgreSQL"),
    ("postgres", "PostgreSQL"),
    ("mysql", "MySQL"),
    ("mariadb", "MariaDB"),
    ("sqlite", "SQLite"),
    ("duckdb", "DuckDB"),
];

/// Where a database is, and who may read it.
#[derive(Debug, Clone)]
pub struct Database {
    url: SecretString,
    kind: &'static str,
    shown: String,
}

/// A text that can't be the URL of a database. It is not shown: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the database's URL {0}; write it as postgresql://USER:PASSWORD@HOST/DATABASE, mysql://…, mariadb://…, sqlite:///FILE or duckdb:///FILE"
)]
pub struct InvalidDatabase(String);

impl Database {
    /// Reads a URL.
    pub fn new(url: &SecretString) -> Result<Self, InvalidDatabase> {
        let text = url.expose_secret().trim();
        let wrong = |what: &str| Err(InvalidDatabase(what.to_owned()));
        if text.is_empty() {
            return wrong("is empty");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong("has no scheme");
        };
        let plain = scheme.split('+').next().unwrap_or(scheme);
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == plain) else {
            // A scheme is no secret, if it looks like one.
            let scheme = scheme.chars().all(|it| it.is_ascii_alphanumeric() || it == '+');
            return wrong(if scheme && plain.len() <= 20 {
                "is of a kind that can't be opened"
            } else {
                "begins with no scheme"
            });
        };
        if text.contains(char::is_control) {
            return wrong("holds control characters");
        }
        // People forget to escape '@', '/' and '?' in passwords: all up to the last '@' is user and password.
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let place = place.split(['?', '#']).next().unwrap_or(place);
        if place.trim_matches('/').is_empty() {
            return wrong("names no host or file");
        }
        let shown = format!("{plain}://{place}");
        Ok(Self {
            kind,
            shown,
            url: text.to_owned().into(),
        })
    }

    /// The whole of it.
    pub fn url(&self) -> &SecretString {
        &self.url
    }

    /// What kind of database it is, for people and models.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Without user, password and parameters.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_secret() {
        for (url, kind, shown) in [
            (
                "postgresql://reader:hunter2@db.example:5432/shop?sslmode=require&password=hunter2",
                "PostgreSQL",
                "postgresql://db.example:5432/shop",
            ),
            (
                "mysql+tls://a:hun/ter2@x?hunter2@host/db",
                "MySQL",
                "mysql://host/db",
            ),
            ("sqlite:////srv/shop.db", "SQLite", "sqlite:////srv/shop.db"),
            (" duckdb:///shop.db\n", "DuckDB", "duckdb:///shop.db"),
        ] {
            let database = Database::new(&url.into()).unwrap();
            assert_eq!((database.kind(), database.shown()), (kind, shown));
            assert!(!format!("{database:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_not_shown() {
        for (url, says) in [
            ("", "is empty"),
            ("hunter2", "no scheme"),
            ("oracle://hunter2@h/d", "of a kind"),
            ("postgresql://a:hunter2@", "no host"),
            ("postgresql://a:hun\nter2@h/d", "control"),
            ("my:hunter2://x", "no scheme"),
        ] {
            let error = Database::new(&url.into()).unwrap_err();
            assert!(error.to_string().contains(says), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("hun"), "{error}");
        }
    }
}

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

/// The usual ports of those that are reached by a network.
const PORTS: [(&str, u16); 3] = [("PostgreSQL", 5432), ("MySQL", 3306), ("MariaDB", 3306)];

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

    /// The hosts and ports that it is reached by; none of a file's.
    pub fn endpoints(&self) -> Vec<(String, u16)> {
        let Some((_, usual)) = PORTS.iter().find(|(kind, _)| *kind == self.kind) else {
            return Vec::new();
        };
        let text = self.url.expose_secret();
        let rest = text.split_once("://").map_or("", |(_, rest)| rest);
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let (place, query) = place.split_once('?').unwrap_or((place, ""));
        let hosts = place.split(['/', '#']).next().unwrap_or_default();
        // PostgreSQL's tools take several hosts, and both as parameters too.
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                (key == name).then_some(value)
            })
        };
        let hosts = if hosts.is_empty() {
            parameter("host").unwrap_or_default()
        } else {
            hosts
        };
        let ports: Vec<&str> = parameter("port").unwrap_or_default().split(',').collect();
        let mut found = Vec::new();
        for (at, host) in hosts.split(',').enumerate() {
            // A path is a socket, which is not there in a sandbox.
            if host.is_empty() || host.starts_with(['/', '%']) {
                continue;
            }
            let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((address, rest)) => (address, rest.strip_prefix(':')),
                None => host
                    .rsplit_once(':')
                    .map_or((host, None), |(host, port)| (host, Some(port))),
            };
            let port = port.or_else(|| ports.get(at).or(ports.first()).copied());
            let port = port.and_then(|port| port.parse().ok()).unwrap_or(*usual);
            found.push((host.to_owned(), port));
        }
        found
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
    fn hosts_and_ports_are_found() {
        for (url, endpoints) in [
            ("postgresql://a:b@db/shop", &[("db", 5432)][..]),
            (
                "postgresql://a:p@ss/w?rd@db.x.svc:6432/shop?sslmode=require",
                &[("db.x.svc", 6432)],
            ),
            (
                "postgresql://a@one,two:6000/shop",
                &[("one", 5432), ("two", 6000)],
            ),
            ("postgresql:///shop?host=db&port=7000", &[("db", 7000)]),
            ("postgresql:///shop?host=/run/sockets", &[]),
            ("mysql://a:b@[2001:db8::1]:3307/shop", &[("2001:db8::1", 3307)]),
            ("mariadb://a:b@10.0.0.1", &[("10.0.0.1", 3306)]),
            ("sqlite:////srv/shop.db", &[]),
            ("duckdb:///shop.db", &[]),
        ] {
            let found = Database::new(&url.into()).unwrap().endpoints();
            let found: Vec<_> = found.iter().map(|(host, port)| (host.as_str(), *port)).collect();
            assert_eq!(found, endpoints, "{url}");
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

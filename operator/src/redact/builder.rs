//! Gathers what a run must not show, and makes what finds it.
//!
//! It must not know how a text is searched.

use std::collections::BTreeSet;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::escapes::{Step, undone};
use super::patterns::{everywhere, in_its_places, in_urls};
use super::words::is_distinctive;
use super::{MIN_LENGTH, Redactor};

/// What is kept of a run's secrets while they are gathered.
#[derive(Default)]
pub struct RedactorBuilder {
    secrets: Vec<(String, SecretString)>,
    users: Vec<(String, SecretString)>,
    words: BTreeSet<String>,
}

impl fmt::Debug for RedactorBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedactorBuilder({} secrets)", self.secrets.len())
    }
}

impl RedactorBuilder {
    /// Adds a secret. Its name is for people, who are told if it can't be hidden everywhere.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, secret: &SecretString) -> Self {
        self.secrets.push((name.into(), secret.clone()));
        self
    }

    /// Adds the URL of a database: as a whole, its password, and what looks secret among its parameters. Its
    /// user, host and database are words of the text.
    #[must_use]
    pub fn database_url(mut self, url: &SecretString) -> Self {
        let text = url.expose_secret();
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // People forget to escape '/' and '@' in passwords: up to the last '@' all is user and password.
        let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        // Who logs in without a password, or by a file, has nothing to hide but what the parameters hold.
        if login.contains(':') || text.contains('?') {
            // The whole of it is hidden however short or plain it is.
            self.users.push((text.to_owned(), String::new().into()));
        }
        self = self.words([user]);
        self = self.words(place.split(['/', ':', ',', '.']));
        // A '?' that is not escaped either.
        let unescaped = text
            .split_once("://")
            .and_then(|(_, rest)| rest.rsplit_once('@')?.0.split_once(':'))
            .map(|(_, password)| password);
        let mut passwords = vec![password];
        passwords.extend(unescaped);
        for parameter in query.split(['&', ';']) {
            let Some((name, value)) = parameter.split_once('=') else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            if ["pass", "pwd", "secret", "token", "key", "credential"]
                .iter()
                .any(|word| name.contains(word))
            {
                passwords.push(value);
            }
        }
        for password in passwords.into_iter().filter(|password| !password.is_empty()) {
            let mut forms = vec![password.to_owned(), undone(password, Step::Percent)];
            forms.push(undone(&password.replace('+', " "), Step::Percent));
            forms.dedup();
            for form in forms {
                self.users.push((format!("{user}:{form}"), form.as_str().into()));
                self.secrets.push(("the database's password".into(), form.into()));
            }
        }
        self
    }

    /// Adds words that texts are full of anyway, such as the names of tables: a secret that equals one of
    /// them is hidden in its usual places only.
    #[must_use]
    pub fn words<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        for word in words {
            if !word.is_empty() {
                self.words.insert(word.to_lowercase());
            }
        }
        self
    }

    /// Makes what finds them.
    pub fn build(self) -> Redactor {
        let mut patterns = BTreeSet::new();
        let mut weak = BTreeSet::new();
        for (name, secret) in &self.secrets {
            let secret = secret.expose_secret();
            let trimmed = secret.trim();
            for secret in BTreeSet::from([secret, trimmed]) {
                if secret.is_empty() {
                    continue;
                }
                if is_distinctive(secret, &self.words) {
                    everywhere(secret, &mut patterns);
                } else {
                    weak.insert(name.clone());
                    in_its_places(secret, &mut patterns);
                }
            }
        }
        for (whole, password) in &self.users {
            // With its user a password is not ordinary any more, also where both are encoded together.
            if whole.len() >= MIN_LENGTH && !whole.starts_with(':') {
                everywhere(whole, &mut patterns);
            }
            if !password.expose_secret().is_empty() {
                in_urls(password.expose_secret(), &mut patterns);
            }
        }
        Redactor::of(patterns.into_iter().collect(), weak.into_iter().collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::redact) fn url(url: &str) -> Redactor {
        Redactor::builder().database_url(&url.into()).build()
    }

    #[test]
    fn urls_of_databases_are_taken_apart() {
        let redactor = url(
            "postgresql://reader:s3cr%25t%2Fwith%40odd%3Aparts@db.example:5432/shop?sslpassword=k3y-of-tls&x=1",
        );
        for (text, clean) in [
            ("password s3cr%t/with@odd:parts!", "password [redacted]!"),
            ("k3y-of-tls", "[redacted]"),
            ("user reader at db.example/shop", "user reader at db.example/shop"),
            ("//reader:s3cr%25t%2fwith%40odd%3aparts@db", "//[redacted]@db"),
        ] {
            assert_eq!(redactor.redact(text), clean);
        }
        let whole = "at postgresql://reader:s3cr%25t%2Fwith%40odd%3Aparts@db.example:5432/shop?sslpassword=k3y-of-tls&x=1 now";
        assert_eq!(redactor.redact(whole), "at [redacted] now");
        assert!(redactor.weak().is_empty());
        // Not escaped, as people write them.
        let odd = url("mysql://root:p@ss/w?rd+1@localhost/x");
        assert_eq!(
            odd.redact("p@ss/w?rd+1, p%40ss%2fw%3Frd%2B1"),
            "[redacted], [redacted]"
        );
    }
}

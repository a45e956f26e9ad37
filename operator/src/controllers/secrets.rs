//! Secrets, read by name when they are needed. Never listed or watched, and never kept.
//!
//! Must not know what a value is for. Errors name the Secret and the key, and nothing of a value.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use secrecy::SecretString;
use thiserror::Error;
use tokio::time::timeout;

use super::ANSWER;

/// Why a value can't be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// There is no such Secret.
    #[error("the Secret {secret} of {asker} is not there: create it, with the key {key}")]
    Missing {
        /// Which field asks for it.
        asker: String,
        /// Namespace and name.
        secret: String,
        /// The key.
        key: String,
    },
    /// The Secret lacks the key.
    #[error(
        "the Secret {secret} of {asker} has no key {key} (it has {}): add it, or name another key",
        list(known)
    )]
    NoKey {
        /// Which field asks for it.
        asker: String,
        /// Namespace and name.
        secret: String,
        /// The key.
        key: String,
        /// The keys that it has.
        known: Vec<String>,
    },
    /// The value is of no use.
    #[error("the key {key} of the Secret {secret} of {asker} {problem}: write the value anew")]
    Unusable {
        /// Which field asks for it.
        asker: String,
        /// Namespace and name.
        secret: String,
        /// The key.
        key: String,
        /// What is wrong with the value.
        problem: String,
    },
    /// The operator may not read it.
    #[error(
        "the operator may not read the Secret {secret} of {asker}: its role has to allow `get` on secrets there"
    )]
    Forbidden {
        /// Which field asks for it.
        asker: String,
        /// Namespace and name.
        secret: String,
    },
    /// The API server could not be asked.
    #[error("the Secret {secret} can't be read now ({message}); it is tried again")]
    Unavailable {
        /// Namespace and name.
        secret: String,
        /// What happened.
        message: String,
    },
}

fn list(keys: &[String]) -> String {
    if keys.is_empty() {
        "none".to_owned()
    } else {
        keys.join(", ")
    }
}

/// A Secret that was read. Not to be printed.
pub struct Read {
    asker: String,
    name: String,
    secret: Secret,
}

/// Reads a Secret. `asker` is the field that names it, for people; `key` the one that is looked for first.
pub async fn read(
    client: &Client,
    namespace: &str,
    name: &str,
    asker: &str,
    key: &str,
) -> Result<Read, SecretError> {
    let full = format!("{namespace}/{name}");
    let unavailable = |message: String| SecretError::Unavailable {
        secret: full.clone(),
        message,
    };
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let answer = timeout(ANSWER, secrets.get_opt(name))
        .await
        .map_err(|_| unavailable("no answer in time".to_owned()))?;
    match answer {
        Ok(Some(secret)) => Ok(Read {
            asker: asker.to_owned(),
            name: full,
            secret,
        }),
        Ok(None) => Err(SecretError::Missing {
            asker: asker.to_owned(),
            secret: full,
            key: key.to_owned(),
        }),
        Err(kube::Error::Api(status)) if status.code == 403 => Err(SecretError::Forbidden {
            asker: asker.to_owned(),
            secret: full,
        }),
        Err(error) => Err(unavailable(error.to_string())),
    }
}

/// Reads one value.
pub async fn get(
    client: &Client,
    namespace: &str,
    name: &str,
    asker: &str,
    key: &str,
) -> Result<SecretString, SecretError> {
    read(client, namespace, name, asker, key).await?.value(key)
}

impl Read {
    /// The value of a key, without white space around it: a line end comes from the tool that wrote it.
    pub fn value(&self, key: &str) -> Result<SecretString, SecretError> {
        let unusable = |problem: &str| SecretError::Unusable {
            asker: self.asker.clone(),
            secret: self.name.clone(),
            key: key.to_owned(),
            problem: problem.to_owned(),
        };
        let data = self.secret.data.as_ref();
        let Some(bytes) = data.and_then(|data| data.get(key)) else {
            return Err(SecretError::NoKey {
                asker: self.asker.clone(),
                secret: self.name.clone(),
                key: key.to_owned(),
                known: data.map_or_else(Vec::new, |data| data.keys().cloned().collect()),
            });
        };
        let text = std::str::from_utf8(&bytes.0).map_err(|_| unusable("is not text"))?;
        match text.trim() {
            "" => Err(unusable("is empty")),
            text => Ok(text.into()),
        }
    }

    /// The value of a key that need not be there.
    pub fn optional(&self, key: &str) -> Result<Option<SecretString>, SecretError> {
        match self.value(key) {
            Ok(value) => Ok(Some(value)),
            Err(SecretError::NoKey { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn values_are_text_or_it_is_said_what_they_are() {
        let data = [
            ("url", &b" hunter2\n"[..]),
            ("empty", b" \n"),
            ("bytes", &[0xff, 0xfe]),
        ]
        .map(|(key, value)| (key.to_owned(), ByteString(value.to_vec())));
        let read = Read {
            asker: "spec.database.secretRef".into(),
            name: "sales/db".into(),
            secret: Secret {
                data: Some(data.into()),
                ..Secret::default()
            },
        };
        assert_eq!(read.value("url").unwrap().expose_secret(), "hunter2");
        for (key, says) in [
            ("empty", "is empty"),
            ("bytes", "is not text"),
            ("password", "has no key password (it has bytes, empty, url)"),
        ] {
            let error = read.value(key).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("sales/db"), "{error}");
        }
        assert!(read.optional("password").unwrap().is_none());
        assert!(read.optional("empty").is_err());
        assert!(!format!("{:?}", read.value("bytes")).contains("hunter2"));
    }
}

//! Where a user wants the pages: a directory, or `s3://bucket/prefix`. It opens nothing.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use super::layout::{InvalidPrefix, Prefix};

/// A place for pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
    /// Part of a bucket.
    S3 {
        /// The bucket.
        bucket: String,
        /// What all keys begin with.
        prefix: Prefix,
    },
}

impl Location {
    /// What keys begin with there. In a directory: nothing, the directory is the prefix.
    pub fn prefix(&self) -> Prefix {
        match self {
            Self::Directory(_) => Prefix::root(),
            Self::S3 { prefix, .. } => prefix.clone(),
        }
    }
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let wrong = |why: &str| {
            Err(InvalidLocation::Wrong {
                // Where there is an '@', there may be a key before it.
                text: text
                    .rsplit_once('@')
                    .map_or_else(|| text.to_owned(), |(_, end)| format!("…@{end}")),
                why: why.to_owned(),
            })
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text {
                "" => wrong("it is empty"),
                _ if text.contains('\0') => wrong("it holds a NUL"),
                // `s3:/bucket`, `s3:bucket`: nobody wants a directory of that name.
                _ if text.starts_with("s3:") => wrong("a bucket is written s3://bucket/prefix"),
                _ => Ok(Self::Directory(PathBuf::from(text))),
            };
        };
        match scheme {
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                check_bucket(bucket).or_else(|why| wrong(why).map(|_: Self| ()))?;
                Ok(Self::S3 {
                    bucket: bucket.to_owned(),
                    prefix: prefix.strip_suffix('/').unwrap_or(prefix).parse()?,
                })
            }
            "file" => match rest.strip_prefix("localhost").unwrap_or(rest) {
                path if path.starts_with('/') => Ok(Self::Directory(PathBuf::from(path))),
                _ => wrong("a file URL has an absolute path: file:///srv/pages"),
            },
            _ => wrong("only directories and s3:// are known"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(formatter),
            Self::S3 { bucket, prefix } if prefix.is_root() => write!(formatter, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(formatter, "s3://{bucket}/{prefix}"),
        }
    }
}

/// The rules that all S3 servers share; underscores and capitals are of old buckets, and taken.
pub(crate) fn check_bucket(bucket: &str) -> Result<(), &'static str> {
    if bucket.contains('@') || bucket.contains(':') {
        return Err("after s3:// comes the bucket; credentials and endpoints are set apart");
    }
    if !(3..=63).contains(&bucket.len()) {
        return Err("a bucket's name has 3 to 63 characters");
    }
    if !bucket
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    {
        return Err("a bucket's name holds letters, digits, '.' and '-' only");
    }
    if bucket.contains("..") || !bucket.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err("a bucket's name begins with a letter or a digit and has no '..'");
    }
    Ok(())
}

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidLocation {
    /// It is none of the forms.
    #[error("\"{text}\" is no place for pages: {why}; give a directory or s3://bucket/prefix")]
    Wrong {
        /// The text.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// Its prefix is none.
    #[error(transparent)]
    Prefix(#[from] InvalidPrefix),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_understood() {
        let s3 = |bucket: &str, prefix: &str| Location::S3 {
            bucket: bucket.into(),
            prefix: prefix.parse().unwrap(),
        };
        for (text, location, shown) in [
            ("out", Location::Directory("out".into()), "out"),
            ("./a b", Location::Directory("./a b".into()), "./a b"),
            (
                "file:///srv/pages",
                Location::Directory("/srv/pages".into()),
                "/srv/pages",
            ),
            ("s3://pages", s3("pages", ""), "s3://pages"),
            ("s3://pages/", s3("pages", ""), "s3://pages"),
            (
                "s3://pages/shop/eu/",
                s3("pages", "shop/eu"),
                "s3://pages/shop/eu",
            ),
        ] {
            assert_eq!(text.parse::<Location>().unwrap(), location);
            assert_eq!(location.to_string(), shown);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [
            "",
            "s3:/pages",
            "s3:pages",
            "s3://",
            "s3:///x",
            "s3://key:secret@pages/x",
            "s3://pa..ges",
            "s3://pages/a/../b",
            "s3://pages/.journal",
            "s3://pages//x",
            "https://pages/x",
            "gs://pages/x",
            "file://srv/pages",
        ] {
            let parsed = bad.parse::<Location>();
            assert!(parsed.is_err(), "{bad}: {parsed:?}");
        }
        let error = "s3://key:secret@pages/x".parse::<Location>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        assert_eq!(
            "gs://pages/x".parse::<Location>().unwrap_err().to_string(),
            "\"gs://pages/x\" is no place for pages: only directories and s3:// are known; give a directory or s3://bucket/prefix"
        );
    }
}

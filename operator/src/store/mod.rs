//! Where pages and journals are kept: named bytes, in a directory or in an S3 bucket.
//!
//! It must not know what the bytes mean. What is called how is in [`layout`], and nowhere else.
//!
//! Everything that runs build upon rests on one promise, [`Store::create`]: of all who create the same
//! key, on whatever machine, exactly one is told that it did. [`preflight`] proves it before a store is used.

pub mod directory;
mod error;
pub mod layout;
pub mod location;
pub mod preflight;
pub mod s3;

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

pub use directory::DirectoryStore;
pub use error::{Class, Operation, Problem, StoreError};
pub use layout::{Layout, Prefix, RunId};
pub use location::Location;
pub use s3::{S3Options, S3Store};

/// The largest object that is read or written: everything is held in memory, and written in one request,
/// so that nothing is ever left half done.
pub const MAX_OBJECT: usize = 64 << 20;

/// The longest key, in bytes: S3's limit.
pub const MAX_KEY: usize = 1024;

/// The longest part of a key, in bytes: what file systems take.
const MAX_SEGMENT: usize = 255;

/// Where a [`DirectoryStore`] keeps what is not finished. No key begins with it.
const UNFINISHED: &str = ".cataloger-unfinished";

/// The name of an object: parts joined by `/`, none of them empty, `.` or `..`, no control characters.
///
/// What holds for it holds for files and for S3: a key of the one is a key of the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Checks a key.
    pub fn new(key: impl Into<String>) -> Result<Self, InvalidKey> {
        let key = key.into();
        let wrong = |why| {
            Err(InvalidKey {
                key: key.escape_debug().to_string(),
                why,
            })
        };
        if key.is_empty() {
            return wrong("it is empty");
        }
        if key.len() > MAX_KEY {
            return wrong("it is longer than 1,024 bytes");
        }
        if key.chars().any(char::is_control) {
            return wrong("it holds control characters");
        }
        for segment in key.split('/') {
            match segment {
                "" => return wrong("it begins or ends with '/', or holds '//'"),
                "." | ".." => return wrong("it holds '.' or '..' as a part"),
                _ if segment.len() > MAX_SEGMENT => return wrong("a part is longer than 255 bytes"),
                _ => {}
            }
        }
        if key.split('/').next() == Some(UNFINISHED) {
            return wrong("that folder holds what is not finished");
        }
        Ok(Self(key))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last part.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// For keys that are right by construction.
    fn built(key: String) -> Self {
        debug_assert!(Self::new(key.as_str()).is_ok(), "{key:?} is no key");
        Self(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::new(text)
    }
}

/// A key that no object can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{key}\" can't be the name of an object: {why}; use names joined by single slashes")]
pub struct InvalidKey {
    key: String,
    why: &'static str,
}

/// What an object is, for who opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// A page.
    Html,
    /// A script.
    Python,
    /// Data.
    Json,
    /// Plain text.
    Text,
    /// Anything else.
    Bytes,
}

impl ContentType {
    /// The media type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Python => "text/x-python; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Bytes => "application/octet-stream",
        }
    }

    /// By the end of its name. Files have no other.
    pub fn of(key: &Key) -> Self {
        match key.name().rsplit_once('.').map(|(_, end)| end) {
            Some("html") => Self::Html,
            Some("py") => Self::Python,
            Some("json") => Self::Json,
            Some("txt") => Self::Text,
            _ => Self::Bytes,
        }
    }

    fn parse(media: &str) -> Self {
        let essence = media.split(';').next().unwrap_or_default().trim();
        [Self::Html, Self::Python, Self::Json, Self::Text]
            .into_iter()
            .find(|known| {
                known
                    .as_str()
                    .split(';')
                    .next()
                    .is_some_and(|it| it.eq_ignore_ascii_case(essence))
            })
            .unwrap_or(Self::Bytes)
    }
}

/// An object.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// What is in it.
    pub content: Bytes,
    /// What it is.
    pub content_type: ContentType,
}

impl fmt::Debug for Object {
    /// Without the content: journals hold rows.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Object({:?}, {} bytes)",
            self.content_type,
            self.content.len()
        )
    }
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Its size in bytes.
    pub size: u64,
    /// What it is.
    pub content_type: ContentType,
}

/// Whether this call made the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "who ignores this may go on with another's object"]
pub enum Creation {
    /// It was not there; it is now, with this content.
    Created,
    /// It is there already, and was left alone. **It may be one's own**: where the answer to a first try was
    /// lost, the second finds what the first has made. Read it to know.
    Exists,
}

/// How far a listing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The objects of one folder, and the names of its folders.
    Folder,
    /// All objects below it.
    Everything,
}

/// Which part of a listing.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The folder; everything if none.
    pub folder: Option<Key>,
    /// How far.
    pub depth: Depth,
    /// At most so many objects and folders in a page; 1 to 1,000.
    pub limit: u16,
    /// Where the page before ended.
    pub after: Option<PageToken>,
}

impl Listing {
    /// The first page of a folder.
    pub fn of(folder: Option<Key>, depth: Depth) -> Self {
        Self {
            folder,
            depth,
            limit: 1000,
            after: None,
        }
    }

    /// What the keys of the folder begin with.
    fn start(&self) -> String {
        self.folder
            .as_ref()
            .map_or_else(String::new, |key| format!("{key}/"))
    }
}

/// Where a page of a listing ended. Only the store that made it understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken(String);

/// Part of a listing, in the order of the keys' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Objects.
    pub objects: Vec<Listed>,
    /// Folders (only with [`Depth::Folder`]).
    pub folders: Vec<Key>,
    /// Where to go on, if there is more.
    pub next: Option<PageToken>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
}

/// Named bytes somewhere. Every call ends by itself: each has a timeout.
///
/// Objects whose names are no [`Key`] are not ours; listings leave them out.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Reads an object; `None` if there is none. Refuses those beyond [`MAX_OBJECT`].
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError>;

    /// What is known of an object; `None` if there is none.
    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError>;

    /// Writes an object as a whole, whether there is one or not. A reader sees the old or the new one.
    async fn put(&self, key: &Key, content: Bytes, content_type: ContentType) -> Result<(), StoreError>;

    /// Writes an object only if there is none. Of all who try, exactly one gets [`Creation::Created`].
    async fn create(
        &self,
        key: &Key,
        content: Bytes,
        content_type: ContentType,
    ) -> Result<Creation, StoreError>;

    /// Removes an object. It is no error if there is none.
    async fn delete(&self, key: &Key) -> Result<(), StoreError>;

    /// A page of a listing.
    async fn list(&self, listing: &Listing) -> Result<Page, StoreError>;

    /// Where an object is, for people: a path or an `s3://` URI.
    fn uri(&self, key: &Key) -> String;
}

/// All pages of a listing, as one. Fails where there are more than `most` objects and folders.
pub async fn list_all(
    store: &dyn Store,
    folder: Option<Key>,
    depth: Depth,
    most: usize,
) -> Result<Page, StoreError> {
    let mut all = Page::default();
    let mut listing = Listing::of(folder, depth);
    loop {
        let page = store.list(&listing).await?;
        all.objects.extend(page.objects);
        all.folders.extend(page.folders);
        if all.objects.len() + all.folders.len() > most {
            return Err(StoreError::new(
                Operation::List,
                listing.start(),
                Problem::TooMany { most },
            ));
        }
        match page.next {
            // A store that gives the same token again would be asked for ever.
            Some(next) if listing.after.as_ref() == Some(&next) => {
                return Err(StoreError::new(
                    Operation::List,
                    listing.start(),
                    Problem::Protocol {
                        message: "the listing does not advance".into(),
                    },
                ));
            }
            Some(next) => listing.after = Some(next),
            None => return Ok(all),
        }
    }
}

fn check_size(operation: Operation, on: impl FnOnce() -> String, size: u64) -> Result<(), StoreError> {
    if size > MAX_OBJECT as u64 {
        return Err(StoreError::new(operation, on(), Problem::TooLarge { size }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_clean() {
        for good in [
            "a",
            "a/b.html",
            "Übersicht/день 1/x y+z%20&?#.txt",
            "..a/...",
            ".journal/x",
        ] {
            assert!(Key::new(good).is_ok(), "{good}");
        }
        let long = "x/".repeat(600);
        let segment = "x".repeat(256);
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            ".",
            "a/../b",
            "..",
            "a\nb",
            "a\0",
            &long,
            &segment,
            ".cataloger-unfinished/x",
        ] {
            assert!(Key::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Key::new("a/../b").unwrap_err().to_string(),
            "\"a/../b\" can't be the name of an object: it holds '.' or '..' as a part; use names joined by single slashes"
        );
    }

    #[test]
    fn content_types_follow_the_name() {
        let of = |key: &str| ContentType::of(&Key::new(key).unwrap());
        assert_eq!(of("a/catalog.html"), ContentType::Html);
        assert_eq!(of("a.html/noend"), ContentType::Bytes);
        for known in [
            ContentType::Html,
            ContentType::Python,
            ContentType::Json,
            ContentType::Text,
            ContentType::Bytes,
        ] {
            assert_eq!(ContentType::parse(known.as_str()), known);
        }
        assert_eq!(ContentType::parse("TEXT/HTML"), ContentType::Html);
    }

    #[test]
    fn debug_hides_content() {
        let object = Object {
            content: Bytes::from_static(b"rows"),
            content_type: ContentType::Json,
        };
        assert_eq!(format!("{object:?}"), "Object(Json, 4 bytes)");
    }
}

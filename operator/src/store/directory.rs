//! Objects as files below a directory, for `cataloger run --output DIR` and for tests.
//!
//! It must not leave its directory, whatever keys and symbolic links there are: every path is walked part by
//! part from the open root, and no link is followed. What is written appears as a whole or not at all, and
//! stays after a power cut: file and folders are flushed before a call returns. Creation is exact among
//! processes, also on other machines where the file system is shared: a hard link is made or it is not.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{
    ContentType, Creation, Depth, Key, Listed, Listing, Meta, Object, Operation, Page, PageToken, Problem,
    Store, StoreError, UNFINISHED, check_size,
};

/// How long one operation may take: a network file system can hang for ever.
const LIMIT: Duration = Duration::from_mins(1);
/// How old an unfinished file is when nobody can be writing it any more.
const ABANDONED: Duration = Duration::from_hours(24);
/// Folders that others remove while this process makes them: so often they are made again.
const TRIES: u32 = 10;

/// A store below a directory. Clones are the same store.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    root: Arc<Root>,
}

#[derive(Debug)]
struct Root {
    path: PathBuf,
    folder: OwnedFd,
}

impl DirectoryStore {
    /// Opens a directory, and makes it (and those above it) where it is missing.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let shown = path.display().to_string();
        let root = blocking(Operation::Open, shown.clone(), move || {
            std::fs::create_dir_all(&path).map_err(|error| problem(&error))?;
            let folder = rustix::fs::open(&path, FOLDER, Mode::empty()).map_err(fault)?;
            // Absolute, so that what people are told is right wherever they stand.
            let path = std::path::absolute(&path).map_err(|error| problem(&error))?;
            let root = Root { path, folder };
            root.sweep();
            Ok(root)
        })
        .await?;
        Ok(Self { root: Arc::new(root) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root.path
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: Operation,
        key: &Key,
        work: impl FnOnce(&Root, &Key) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (root, owned) = (Arc::clone(&self.root), key.clone());
        blocking(operation, self.uri(key), move || work(&root, &owned)).await
    }
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);
const BENEATH: OFlags = FOLDER.union(OFlags::NOFOLLOW);
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    // A pipe that lies there must not hold us up.
    .union(OFlags::NONBLOCK);

/// Runs what may block where it may. After the time it is left to itself: it can't be stopped.
async fn blocking<T: Send + 'static>(
    operation: Operation,
    on: String,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, StoreError> {
    let ended = tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(work)).await;
    let problem = match ended {
        Ok(Ok(Ok(value))) => return Ok(value),
        Ok(Ok(Err(problem))) => problem,
        Ok(Err(join)) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Ok(Err(_)) => Problem::File {
            message: "this process is ending".into(),
        },
        Err(_) => Problem::Timeout { after: LIMIT },
    };
    Err(StoreError::new(operation, on, problem))
}

fn problem(error: &io::Error) -> Problem {
    let message = error.to_string();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Problem::Full { message },
        io::ErrorKind::PermissionDenied => Problem::Denied {
            message: format!("{message} for this user"),
        },
        io::ErrorKind::ReadOnlyFilesystem => Problem::Denied { message },
        io::ErrorKind::NotADirectory => Problem::Blocked {
            message: "a part of it is a file or a symbolic link, where a folder is needed".into(),
        },
        io::ErrorKind::IsADirectory => Problem::Blocked {
            message: "it is a folder".into(),
        },
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Problem::Blocked {
            message: "a part of it is a symbolic link, and those are not followed".into(),
        },
        _ => Problem::File { message },
    }
}

fn fault(errno: Errno) -> Problem {
    problem(&errno.into())
}

/// Brings a folder's names to the disk, where its file system can do that.
fn flush(folder: &OwnedFd) -> Result<(), Errno> {
    match rustix::fs::fsync(folder) {
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        flushed => flushed,
    }
}

/// The folders of a key, and its file.
fn split(key: &Key) -> (std::str::Split<'_, char>, &str) {
    match key.as_str().rsplit_once('/') {
        Some((folders, file)) => (folders.split('/'), file),
        None => {
            let mut none = "".split('/');
            none.next();
            (none, key.as_str())
        }
    }
}

/// A file that is not finished. Removed when dropped.
struct Unfinished<'a> {
    folder: BorrowedFd<'a>,
    name: String,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(self.folder, &self.name, AtFlags::empty());
    }
}

impl Root {
    /// Removes what processes have left that were killed while they wrote. It is no error if it can't.
    fn sweep(&self) {
        let Ok(folder) = rustix::fs::openat(&self.folder, UNFINISHED, BENEATH, Mode::empty()) else {
            return;
        };
        let Ok(entries) = Dir::read_from(&folder) else {
            return;
        };
        let now = SystemTime::now();
        for entry in entries.flatten() {
            let old = rustix::fs::statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                .ok()
                .and_then(|stat| u64::try_from(stat.st_mtime).ok())
                .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
                .and_then(|written| now.duration_since(written).ok())
                .is_some_and(|age| age > ABANDONED);
            if old {
                let _ = rustix::fs::unlinkat(&folder, entry.file_name(), AtFlags::empty());
            }
        }
    }

    /// Opens the folders of a key, `None` where one is missing.
    fn existing<'a>(&self, folders: impl Iterator<Item = &'a str>) -> Result<Option<OwnedFd>, Problem> {
        let mut at = self.folder.try_clone().map_err(|error| problem(&error))?;
        for name in folders {
            at = match rustix::fs::openat(&at, name, BENEATH, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(fault(errno)),
            };
        }
        Ok(Some(at))
    }

    /// Opens the folders of a key, and makes those that are missing.
    fn made<'a>(&self, folders: impl Iterator<Item = &'a str>) -> Result<OwnedFd, Errno> {
        let mut at = rustix::io::dup(&self.folder)?;
        for name in folders {
            at = match rustix::fs::openat(&at, name, BENEATH, Mode::empty()) {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
                        // Also one that another has just made may not have reached the disk yet.
                        Ok(()) | Err(Errno::EXIST) => flush(&at)?,
                        Err(errno) => return Err(errno),
                    }
                    rustix::fs::openat(&at, name, BENEATH, Mode::empty())?
                }
                opened => opened?,
            };
        }
        Ok(at)
    }

    fn open_file(&self, key: &Key) -> Result<Option<(File, u64)>, Problem> {
        let (folders, name) = split(key);
        let Some(folder) = self.existing(folders)? else {
            return Ok(None);
        };
        let file = match rustix::fs::openat(&folder, name, READ, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(fault(errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(fault)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Some((
                File::from(file),
                u64::try_from(stat.st_size).unwrap_or_default(),
            ))),
            // As on S3, a folder is no object.
            FileType::Directory => Ok(None),
            _ => Err(Problem::Blocked {
                message: "it is no regular file".into(),
            }),
        }
    }

    fn get(&self, key: &Key) -> Result<Option<Object>, Problem> {
        let Some((file, size)) = self.open_file(key)? else {
            return Ok(None);
        };
        let most = super::MAX_OBJECT as u64;
        if size > most {
            return Err(Problem::TooLarge { size });
        }
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        // One byte more than may be: it may be growing.
        file.take(most + 1)
            .read_to_end(&mut content)
            .map_err(|error| problem(&error))?;
        if content.len() as u64 > most {
            return Err(Problem::TooLarge {
                size: content.len() as u64,
            });
        }
        Ok(Some(Object {
            content: content.into(),
            content_type: ContentType::of(key),
        }))
    }

    /// Writes a file aside, and lets `publish` bring it to its place: by the folder that it is in, its name
    /// there, the folder where it belongs and its name there.
    fn write<T>(
        &self,
        key: &Key,
        content: &[u8],
        publish: impl Fn(BorrowedFd<'_>, &str, BorrowedFd<'_>, &str) -> Result<T, Errno>,
    ) -> Result<T, Problem> {
        let aside = self.made([UNFINISHED].into_iter()).map_err(fault)?;
        let unfinished = Unfinished {
            folder: aside.as_fd(),
            name: format!("{:032x}", rand::random::<u128>()),
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(&aside, &unfinished.name, flags, Mode::from_raw_mode(0o666)).map_err(fault)?;
        let mut file = File::from(file);
        file.write_all(content)
            .and_then(|()| file.sync_all())
            .map_err(|error| problem(&error))?;
        let (folders, name) = split(key);
        let mut tries = 0;
        loop {
            tries += 1;
            let published = self.made(folders.clone()).and_then(|folder| {
                let value = publish(aside.as_fd(), &unfinished.name, folder.as_fd(), name)?;
                flush(&folder)?;
                Ok(value)
            });
            match published {
                Ok(value) => return Ok(value),
                // A folder was removed, being empty, between its making and its use.
                Err(Errno::NOENT) if tries < TRIES => {}
                Err(Errno::XDEV) => {
                    return Err(Problem::Blocked {
                        message: "another file system is mounted below the store's directory".into(),
                    });
                }
                Err(errno) => return Err(fault(errno)),
            }
        }
    }

    fn put(&self, key: &Key, content: &[u8]) -> Result<(), Problem> {
        self.write(key, content, |from, unfinished, to, name| {
            rustix::fs::renameat(from, unfinished, to, name)
        })
    }

    fn create(&self, key: &Key, content: &[u8]) -> Result<Creation, Problem> {
        // Cheap, and usual when others are ahead. The link decides.
        if self.open_file(key)?.is_some() {
            return Ok(Creation::Exists);
        }
        let created = self.write(key, content, |from, unfinished, to, name| {
            let linked = match rustix::fs::linkat(from, unfinished, to, name, AtFlags::empty()) {
                // File systems without hard links may be able to do it otherwise.
                Err(Errno::PERM | Errno::NOTSUP | Errno::NOSYS) => {
                    rustix::fs::renameat_with(from, unfinished, to, name, RenameFlags::NOREPLACE)
                }
                linked => linked,
            };
            match linked {
                Ok(()) => Ok(Some(Creation::Created)),
                Err(Errno::EXIST) => Ok(Some(Creation::Exists)),
                Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(None),
                Err(errno) => Err(errno),
            }
        })?;
        match created {
            // Not only files are in the way.
            Some(Creation::Exists) if self.open_file(key)?.is_none() => Err(Problem::Blocked {
                message: "it is a folder, or was removed at the same moment".into(),
            }),
            Some(creation) => Ok(creation),
            None => Err(Problem::Unsupported {
                message: "its file system has neither hard links nor exclusive renames".into(),
            }),
        }
    }

    fn delete(&self, key: &Key) -> Result<(), Problem> {
        let (folders, name) = split(key);
        let Some(folder) = self.existing(folders)? else {
            return Ok(());
        };
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) => flush(&folder).map_err(fault)?,
            Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => return Ok(()),
            Err(errno) => return Err(fault(errno)),
        }
        self.prune(key);
        Ok(())
    }

    /// Removes the folders of a key that are empty: as on S3, a folder is there while something is in it.
    fn prune(&self, key: &Key) {
        let mut path = key.as_str();
        while let Some((folders, _)) = path.rsplit_once('/') {
            let (above, name) = folders.rsplit_once('/').unwrap_or(("", folders));
            let above = above.split('/').filter(|name| !name.is_empty());
            let removed = match self.existing(above) {
                Ok(Some(parent)) => rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR),
                _ => return,
            };
            if removed.is_err() {
                return;
            }
            path = folders;
        }
    }

    fn list(&self, listing: &Listing) -> Result<Page, Problem> {
        let folders = listing.folder.as_ref().map(|key| key.as_str().split('/'));
        let start = match folders {
            Some(folders) => match self.existing(folders) {
                Ok(Some(folder)) => folder,
                // As on S3: nothing is below a file.
                Ok(None) | Err(Problem::Blocked { .. }) => return Ok(Page::default()),
                Err(problem) => return Err(problem),
            },
            None => self.folder.try_clone().map_err(|error| problem(&error))?,
        };
        let mut found = Vec::new();
        walk(&start, &listing.start(), listing.depth, &mut found)?;
        // By the bytes of the keys, a folder's ending in '/', as S3 sorts them.
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        let after = listing.after.as_ref().map_or("", |token| token.0.as_str());
        let begin = found.partition_point(|(text, _)| text.as_str() <= after);
        let limit = usize::from(listing.limit.clamp(1, 1000));
        let mut page = Page::default();
        for (text, size) in found.iter().skip(begin).take(limit) {
            match size {
                Some(size) => page.objects.extend(
                    Key::new(text.as_str())
                        .ok()
                        .map(|key| Listed { key, size: *size }),
                ),
                None => page
                    .folders
                    .extend(text.strip_suffix('/').and_then(|folder| Key::new(folder).ok())),
            }
        }
        if found.len() > begin + limit {
            page.next = Some(PageToken(found[begin + limit - 1].0.clone()));
        }
        Ok(page)
    }
}

/// Collects files (with their sizes) and folders (with a slash at their end).
fn walk(
    folder: &OwnedFd,
    start: &str,
    depth: Depth,
    found: &mut Vec<(String, Option<u64>)>,
) -> Result<(), Problem> {
    // Opened anew: clones of a descriptor share how far it was read.
    for entry in Dir::read_from(folder).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        // Names that are no text are not ours.
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if name == "." || name == ".." || (start.is_empty() && name == UNFINISHED) {
            continue;
        }
        let stat = match rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Removed meanwhile.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(fault(errno)),
        };
        let text = format!("{start}{name}");
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if Key::new(text.as_str()).is_ok() => {
                found.push((text, Some(u64::try_from(stat.st_size).unwrap_or_default())));
            }
            FileType::Directory if depth == Depth::Folder => found.push((format!("{text}/"), None)),
            FileType::Directory => {
                match rustix::fs::openat(folder, OsStr::new(name), BENEATH, Mode::empty()) {
                    Ok(below) => walk(&below, &format!("{text}/"), depth, found)?,
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(fault(errno)),
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[async_trait]
impl Store for DirectoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.run(Operation::Get, key, Root::get).await
    }

    async fn head(&self, key: &Key) -> Result<Option<Meta>, StoreError> {
        self.run(Operation::Head, key, |root, key| {
            Ok(root.open_file(key)?.map(|(_, size)| Meta {
                size,
                content_type: ContentType::of(key),
            }))
        })
        .await
    }

    async fn put(&self, key: &Key, content: Bytes, _: ContentType) -> Result<(), StoreError> {
        check_size(Operation::Put, || self.uri(key), content.len() as u64)?;
        self.run(Operation::Put, key, move |root, key| root.put(key, &content))
            .await
    }

    async fn create(&self, key: &Key, content: Bytes, _: ContentType) -> Result<Creation, StoreError> {
        check_size(Operation::Create, || self.uri(key), content.len() as u64)?;
        self.run(Operation::Create, key, move |root, key| {
            root.create(key, &content)
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.run(Operation::Delete, key, Root::delete).await
    }

    async fn list(&self, listing: &Listing) -> Result<Page, StoreError> {
        let on = match &listing.folder {
            Some(folder) => self.uri(folder),
            None => self.root.path.display().to_string(),
        };
        let (root, listing) = (Arc::clone(&self.root), listing.clone());
        blocking(Operation::List, on, move || root.list(&listing)).await
    }

    fn uri(&self, key: &Key) -> String {
        self.root.path.join(key.as_str()).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    async fn store() -> (tempfile::TempDir, DirectoryStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(directory.path().join("a/b")).await.unwrap();
        (directory, store)
    }

    #[tokio::test]
    async fn nothing_leaves_the_directory() {
        let (directory, store) = store().await;
        let outside = directory.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret.txt"), "secret").unwrap();
        symlink(&outside, store.path().join("link")).unwrap();
        symlink(outside.join("secret.txt"), store.path().join("file.txt")).unwrap();
        symlink(outside.join("new.txt"), store.path().join("new.txt")).unwrap();
        let text = ContentType::Text;
        for inside in ["link/secret.txt", "link/deep/x.txt"] {
            let inside = key(inside);
            for error in [
                store.get(&inside).await.unwrap_err(),
                store.head(&inside).await.unwrap_err(),
                store.put(&inside, "x".into(), text).await.unwrap_err(),
                store.create(&inside, "x".into(), text).await.unwrap_err(),
                store.delete(&inside).await.unwrap_err(),
            ] {
                assert!(matches!(error.problem, Problem::Blocked { .. }), "{error}");
                assert!(error.to_string().contains("symbolic link"), "{error}");
            }
        }
        assert!(store.get(&key("file.txt")).await.is_err());
        assert!(store.create(&key("new.txt"), "x".into(), text).await.is_err());
        // Writing and removing concern the link itself, never what it points to.
        store.put(&key("file.txt"), "mine".into(), text).await.unwrap();
        store.delete(&key("new.txt")).await.unwrap();
        assert_eq!(std::fs::read(outside.join("secret.txt")).unwrap(), b"secret");
        assert!(!outside.join("new.txt").exists());
        let page = store.list(&Listing::of(None, Depth::Everything)).await.unwrap();
        assert_eq!(page.objects.len(), 1, "{page:?}");
        assert_eq!(page.objects[0].key, key("file.txt"));
        let linked = Listing::of(Some(key("link")), Depth::Everything);
        assert_eq!(store.list(&linked).await.unwrap(), Page::default());
    }

    #[tokio::test]
    async fn folders_come_and_go_with_what_is_in_them() {
        let (_directory, store) = store().await;
        let text = ContentType::Text;
        store.put(&key("x/y/z/1.txt"), "1".into(), text).await.unwrap();
        store.put(&key("x/2.txt"), "2".into(), text).await.unwrap();
        assert!(store.get(&key("x/y")).await.unwrap().is_none());
        let error = store.put(&key("x/y"), "file".into(), text).await.unwrap_err();
        assert!(matches!(error.problem, Problem::Blocked { .. }), "{error}");
        let error = store.create(&key("x/y"), "file".into(), text).await.unwrap_err();
        assert!(matches!(error.problem, Problem::Blocked { .. }), "{error}");
        let error = store
            .put(&key("x/2.txt/3.txt"), "3".into(), text)
            .await
            .unwrap_err();
        assert!(matches!(error.problem, Problem::Blocked { .. }), "{error}");
        store.delete(&key("x/y")).await.unwrap();
        store.delete(&key("x/y/z/1.txt")).await.unwrap();
        assert!(!store.path().join("x/y").exists());
        assert!(store.path().join("x").exists());
        store.delete(&key("x/2.txt")).await.unwrap();
        assert!(!store.path().join("x").exists());
        assert!(store.path().exists());
        // Nothing unfinished stays, also after refusals.
        assert_eq!(
            std::fs::read_dir(store.path().join(UNFINISHED)).unwrap().count(),
            0
        );
    }

    #[tokio::test]
    async fn what_was_abandoned_is_swept_and_what_is_fresh_is_not() {
        let (_directory, store) = store().await;
        let aside = store.path().join(UNFINISHED);
        std::fs::create_dir(&aside).unwrap();
        for (name, age) in [
            ("old", ABANDONED + Duration::from_mins(1)),
            ("new", Duration::ZERO),
        ] {
            let file = File::create(aside.join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        DirectoryStore::open(store.path()).await.unwrap();
        assert!(!aside.join("old").exists());
        assert!(aside.join("new").exists());
        let all = Listing::of(None, Depth::Everything);
        assert_eq!(store.list(&all).await.unwrap(), Page::default());
        let top = Listing::of(None, Depth::Folder);
        assert_eq!(store.list(&top).await.unwrap(), Page::default());
    }

    #[tokio::test]
    async fn a_pipe_holds_nobody_up() {
        let (_directory, store) = store().await;
        rustix::fs::mkfifoat(&store.root.folder, "pipe", Mode::from_raw_mode(0o600)).unwrap();
        let error = store.get(&key("pipe")).await.unwrap_err();
        assert!(matches!(error.problem, Problem::Blocked { .. }), "{error}");
    }

    #[test]
    fn a_full_disk_is_said() {
        let full = fault(Errno::NOSPC);
        assert!(matches!(full, Problem::Full { .. }), "{full}");
        assert!(matches!(fault(Errno::DQUOT), Problem::Full { .. }));
    }
}

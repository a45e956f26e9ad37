//! Lists the sandbox's Python package, so that the binary holds it: for whoever has nothing but the binary.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../sandbox-image/src");
    let root = root.canonicalize()?;
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?;
        let (name, file) = (name.to_string_lossy(), file.to_string_lossy());
        writeln!(list, "    ({name:?}, include_bytes!({file:?})),").map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    let target = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(target.join("package.rs"), list)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    // Names that come and go are seen by the directory, changes by the files. Python's own leavings
    // (`__pycache__`) change the first, not the list.
    println!("cargo::rerun-if-changed={}", directory.display());
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("__pycache__") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "py") {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}

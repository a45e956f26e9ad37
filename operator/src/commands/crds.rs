//! `cataloger crds`: writes the definitions of the API's kinds, as `crds/` of the project holds them, or what they say
//! for people, as `docs/api.md` does.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use thiserror::Error;

use super::reference;
use crate::api;

/// Write the custom resource definitions of Catalog and its kin, a file each.
#[derive(Debug, Args)]
pub struct CrdsArguments {
    /// The directory that they go to; standard output if not said.
    directory: Option<PathBuf>,
    /// Write the reference of the API instead, in Markdown, to this file; `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "directory")]
    reference: Option<PathBuf>,
}

/// That definitions could not be written.
#[derive(Debug, Error)]
pub enum CrdsError {
    /// A file could not be written.
    #[error("{} could not be written: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A type has no YAML: a defect of this program.
    #[error("a definition could not be rendered: {0}")]
    Render(#[from] serde_yaml::Error),
}

fn render(definition: &CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    let text = serde_yaml::to_string(definition)?;
    Ok(format!(
        "# Generated from operator/src/api. To make it anew: cargo run -- crds crds\n---\n{text}"
    ))
}

/// Runs the subcommand; its exit code.
pub fn run(arguments: &CrdsArguments) -> u8 {
    match write(arguments) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("cataloger: {error}");
            1
        }
    }
}

fn write(arguments: &CrdsArguments) -> Result<(), CrdsError> {
    if let Some(path) = &arguments.reference {
        let page = reference::render(&api::definitions());
        if path == Path::new("-") {
            print!("{page}");
            return Ok(());
        }
        let path = path.clone();
        return fs::write(&path, page).map_err(|source| CrdsError::File { path, source });
    }
    for definition in api::definitions() {
        let text = render(&definition)?;
        let Some(directory) = &arguments.directory else {
            print!("{text}");
            continue;
        };
        let path = directory.join(format!("{}.yaml", definition.spec.names.plural));
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&path, text))
            .map_err(|source| CrdsError::File { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_definitions_are_those_of_the_types() {
        // A chart can't reach out of its own directory.
        for directory in ["crds", "charts/cataloger/files/crds"] {
            for definition in api::definitions() {
                let path = format!(
                    "{}/../{directory}/{}.yaml",
                    env!("CARGO_MANIFEST_DIR"),
                    definition.spec.names.plural
                );
                let committed = fs::read_to_string(&path).unwrap_or_default();
                assert!(
                    committed == render(&definition).unwrap(),
                    "{path} is not what the types say: cargo run -- crds {directory}"
                );
            }
        }
    }
}

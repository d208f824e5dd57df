//! The rules as one checked set: loaded whole from their folders, tried on their own examples, published
//! as a numbered version. A set that fails leaves the old one in force.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{
    classify::{Classifier, model::Model},
    dispatch::{Dispatcher, Known},
    pipeline::Judges,
    queue::Catalog,
    sla::Policies,
};

/// Rule files by name: `classify/delivery.toml`, `dispatch.toml`, `sla.toml`, `calendars.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(pub Vec<(String, String)>);

/// What is wrong with a set of rules.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder or file cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Files are wrong, or examples fail; each line names file, line and remedy.
    #[error("{}", problems.join("\n"))]
    Wrong {
        /// All that was found.
        problems: Vec<String>,
    },
}

/// A set of rules that passed its checks.
pub struct RuleSet {
    /// Classification and dispatch.
    pub judges: Judges,
    /// SLA policies.
    pub policies: Policies,
}

impl Files {
    /// Reads the rule files of these folders, in their order.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn load(directories: &[PathBuf]) -> Result<Files, Error> {
        let mut files = Vec::new();
        for directory in directories {
            let before = files.len();
            for name in ["dispatch.toml", "sla.toml", "calendars.toml"] {
                let path = directory.join(name);
                if path.exists() {
                    files.push(read(&path)?);
                }
            }
            let classify = directory.join("classify");
            if classify.is_dir() {
                let entries = std::fs::read_dir(&classify).map_err(|source| Error::Read { path: classify.clone(), source })?;
                let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
                paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
                paths.sort();
                for path in paths {
                    files.push(read(&path)?);
                }
            }
            if files.len() == before {
                let source = std::io::Error::new(
                    std::io::ErrorKind::NotFound,
                    "it holds no rule files: dispatch.toml, sla.toml, classify/*.toml",
                );
                return Err(Error::Read { path: directory.clone(), source });
            }
        }
        Ok(Files(files))
    }

    /// A name for exactly these files.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, text) in &self.0 {
            hasher.update(name.len().to_be_bytes());
            hasher.update(name);
            hasher.update(text.len().to_be_bytes());
            hasher.update(text);
        }
        crate::text::hex(&hasher.finalize()[..16])
    }

    fn named(&self, wanted: impl Fn(&Path) -> bool) -> Vec<(String, String)> {
        self.0.iter().filter(|(name, _)| wanted(Path::new(name))).cloned().collect()
    }

    fn is(path: &Path, name: &str) -> bool {
        path.file_name().is_some_and(|file| file == name)
    }

    /// The SLA policies alone, as version `version`.
    ///
    /// # Errors
    /// [`Error::Wrong`].
    pub fn policies(&self, version: u32) -> Result<Policies, Error> {
        let files = self.named(|path| Self::is(path, "sla.toml") || Self::is(path, "calendars.toml"));
        Policies::parse(&files, version).map_err(|error| Error::Wrong { problems: vec![error.to_string()] })
    }

    /// Parses and checks everything, examples included.
    ///
    /// # Errors
    /// [`Error::Wrong`] with every problem that was found.
    pub fn check(&self, version: u32, catalog: &Catalog) -> Result<RuleSet, Error> {
        let mut problems = Vec::new();
        let policies = match self.policies(version) {
            Ok(policies) => Some(policies),
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        };
        if let Some(Err(error)) = policies.as_ref().map(Policies::run_examples) {
            problems.push(error.to_string());
        }
        let classifier =
            match Classifier::parse(&self.named(|path| path.parent().is_some_and(|parent| Self::is(parent, "classify")))) {
                Ok(classifier) => Some(classifier),
                Err(error) => {
                    problems.push(error.to_string());
                    None
                }
            };
        let model = Model::shipped().map_err(|error| problems.push(error.to_string())).ok();
        if let Some(Err(errors)) = classifier.as_ref().map(Classifier::check) {
            problems.extend(errors.iter().map(ToString::to_string));
        }
        let known = Known {
            teams: catalog.teams.iter().map(|team| team.key.clone()).collect(),
            policies: policies.iter().flat_map(Policies::iter).map(|policy| policy.reference().id.to_string()).collect(),
            brands: catalog.brands.iter().map(|brand| brand.key.clone()).collect(),
        };
        let dispatcher = match Dispatcher::parse(&self.named(|path| Self::is(path, "dispatch.toml")), &known) {
            Ok(dispatcher) => Some(dispatcher),
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        };
        if let Some(Err(errors)) = dispatcher.as_ref().map(Dispatcher::check) {
            problems.extend(errors.iter().map(ToString::to_string));
        }
        match (classifier, dispatcher, policies) {
            (Some(classifier), Some(dispatcher), Some(policies)) if problems.is_empty() => {
                let classifier = model.into_iter().fold(classifier, Classifier::with_model);
                Ok(RuleSet { judges: Judges { version, classifier, model: 0, choice: 0, shadow: None, dispatcher }, policies })
            }
            _ => Err(Error::Wrong { problems }),
        }
    }
}

fn read(path: &Path) -> Result<(String, String), Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((path.display().to_string(), text)),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

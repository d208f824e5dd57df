//! The configuration: defaults, then the file, then `MOKSORI__SECTION__KEY`, then flags.
//!
//! Defaults live in `config.default.toml` and nowhere else. Each stage owns the type of its section;
//! brands, accounts and teams are here, people are only in the store.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::{bus, connect, desk, pipeline, queue, search};

const DEFAULTS: &str = include_str!("config.default.toml");

/// Everything that an operator can set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The web side.
    pub server: Server,
    /// Where things are kept.
    pub data: Data,
    /// Where rules come from.
    pub rules: Rules,
    /// Connectors.
    pub connect: Connect,
    /// The durable log.
    pub bus: bus::Config,
    /// The store.
    pub queue: queue::Config,
    /// From log to desk.
    pub pipeline: pipeline::Config,
    /// Commands on cases.
    pub desk: desk::Config,
    /// The index.
    pub search: search::Config,
    /// Brands with their accounts.
    #[serde(default, rename = "brand")]
    pub brands: Vec<Brand>,
    /// Teams with their queues.
    #[serde(default, rename = "team")]
    pub teams: Vec<Team>,
    /// How a case can end.
    #[serde(default, rename = "disposition")]
    pub dispositions: Vec<Disposition>,
}

/// The web side.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address of console and API.
    pub listen: SocketAddr,
    /// The console is reached over https.
    pub https: bool,
    /// Show /metrics beyond loopback.
    pub public_metrics: bool,
    /// What this process does.
    pub roles: Vec<Role>,
}

/// A part of the work, for those who spread it over several processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Pulls mentions in and delivers replies.
    Connect,
    /// Classifies, dispatches, opens cases.
    Triage,
    /// Fires the alarms of the SLA clocks; relays.
    Clock,
    /// Keeps a search index.
    Index,
    /// Serves console and API; keeps an index too, since its search needs one.
    Web,
}

impl Role {
    /// All of them: what one process does by default.
    pub const ALL: [Role; 5] = [Role::Connect, Role::Triage, Role::Clock, Role::Index, Role::Web];
}

/// Where things are kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Bus, store, index and control socket.
    pub directory: PathBuf,
}

/// Where rules come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Folders, first match first.
    pub directories: Vec<PathBuf>,
}

/// Where connector files are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// Their folder.
    pub directory: PathBuf,
    /// Where the key is that seals the tokens of logins; without one they do not survive a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_key: Option<connect::SecretSource>,
}

/// A brand that the desk watches.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// Key in rules and URLs.
    pub key: String,
    /// Korean name.
    pub ko: String,
    /// English name.
    pub en: String,
    /// Its accounts on platforms.
    #[serde(default, rename = "account")]
    pub accounts: Vec<connect::AccountConfig>,
}

/// A team with its queue.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Key in rules and URLs.
    pub key: String,
    /// Key of its brand.
    pub brand: String,
    /// Korean name.
    pub ko: String,
    /// English name.
    pub en: String,
    /// IANA zone in which its pages show times.
    #[serde(default = "seoul")]
    pub zone: String,
}

fn seoul() -> String {
    "Asia/Seoul".into()
}

/// How a case can end.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Disposition {
    /// Key in the store.
    pub key: String,
    /// Korean words.
    pub ko: String,
    /// English words.
    pub en: String,
}

/// What is wrong with a configuration: file, line where one is known, key and remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or a key is unknown or has a wrong value.
    #[error("{file}:{line}: {message}")]
    Parse {
        /// The file.
        file: String,
        /// The line, 0 when it is not known.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A key that the environment or the command line sets is unknown or has a wrong value.
    #[error("{key} = \"{value}\", from the command line or the environment (MOKSORI__{}): {message}", key.to_uppercase().replace('.', "__"))]
    Override {
        /// The dotted key.
        key: String,
        /// What it was set to.
        value: String,
        /// What is wrong.
        message: String,
    },
    /// The parts do not fit together.
    #[error("{file}: {message}")]
    Meaning {
        /// The file.
        file: String,
        /// What is wrong and what to do.
        message: String,
    },
}

impl Config {
    /// Several processes may share the store.
    pub fn shared(&self) -> bool {
        self.queue.engine == queue::Engine::Postgres
    }

    /// This process does the work of `role`.
    pub fn does(&self, role: Role) -> bool {
        self.server.roles.contains(&role)
    }

    /// Reads `path`, or only the defaults; `overrides` are pairs of a dotted key and a value.
    ///
    /// # Errors
    /// With file, line and remedy.
    pub fn load(path: Option<&Path>, overrides: &[(String, String)]) -> Result<Config, Error> {
        let (file, text) = match path {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
                (path.display().to_string(), text)
            }
            None => ("defaults".to_owned(), String::new()),
        };
        let mut config = Config::from_texts(&[(file.clone(), text)], overrides)?;
        // Paths in a file are relative to that file.
        if let Some(base) = path.and_then(Path::parent) {
            config.relative_to(base);
        }
        config.check(&file)?;
        Ok(config)
    }

    /// Merges files over the defaults, in order; brands and teams of all of them add up.
    ///
    /// # Errors
    /// With file, line and remedy.
    pub fn from_texts(files: &[(String, String)], overrides: &[(String, String)]) -> Result<Config, Error> {
        let mut merged = parse("config.default.toml", DEFAULTS)?;
        let mut last = ("config.default.toml", DEFAULTS);
        for (file, text) in files {
            merge(&mut merged, parse(file, text)?);
            last = (file, text);
        }
        let said = |error: toml::de::Error| error.to_string().trim().replace('\n', " ");
        let written = merged.clone();
        overrides.iter().for_each(|(key, value)| set(&mut merged, key, value));
        merged.try_into().map_err(|error| {
            // The override that made a good table bad is to blame, else the file is.
            let mut table = written;
            for (key, value) in overrides {
                let before = table.clone().try_into::<Config>().is_ok();
                set(&mut table, key, value);
                if let (true, Err(error)) = (before, table.clone().try_into::<Config>()) {
                    return Error::Override { key: key.clone(), value: value.clone(), message: said(error) };
                }
            }
            let message = said(error);
            Error::Parse { file: last.0.to_owned(), line: line_of(last.1, &message), message }
        })
    }

    /// Overrides from the environment: `MOKSORI__SERVER__LISTEN` sets `server.listen`.
    pub fn environment(variables: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
        variables
            .filter_map(|(name, value)| Some((name.strip_prefix("MOKSORI__")?.to_lowercase().replace("__", "."), value)))
            .collect()
    }

    fn relative_to(&mut self, base: &Path) {
        let fix = |path: &mut PathBuf| {
            if path.is_relative() {
                *path = base.join(&*path);
            }
        };
        fix(&mut self.data.directory);
        fix(&mut self.connect.directory);
        self.bus.paths().for_each(fix);
        self.rules.directories.iter_mut().for_each(fix);
        for account in self.brands.iter_mut().flat_map(|brand| &mut brand.accounts) {
            account.path.iter_mut().for_each(fix);
        }
    }

    fn check(&self, file: &str) -> Result<(), Error> {
        let wrong = |message: String| Error::Meaning { file: file.to_owned(), message };
        if self.server.roles.is_empty() {
            return Err(wrong("server.roles is empty, so this process would do nothing; remove it to have all".into()));
        }
        let alone = !self.shared() || self.bus.engine != bus::Engine::Kafka;
        if Role::ALL.iter().any(|role| !self.does(*role)) && alone {
            return Err(wrong(
                "server.roles leaves work to other processes, but they cannot share this store or this log: set queue.engine = \"postgres\" \
                 and bus.engine = \"kafka\", or leave server.roles out"
                    .into(),
            ));
        }
        let mut seen = BTreeSet::new();
        let accounts = self.brands.iter().flat_map(|brand| &brand.accounts).map(|account| ("account", &account.key));
        let keys =
            self.brands.iter().map(|brand| ("brand", &brand.key)).chain(self.teams.iter().map(|team| ("team", &team.key)));
        for (what, key) in keys.chain(accounts) {
            if key.is_empty() || !key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_') {
                return Err(wrong(format!("{what} key \"{key}\" must be lower-case letters, digits, - and _")));
            }
            if !seen.insert((what, key)) {
                return Err(wrong(format!("two {what}s have the key \"{key}\"; rename one")));
            }
        }
        for team in &self.teams {
            if !self.brands.iter().any(|brand| brand.key == team.brand) {
                return Err(wrong(format!(
                    "team \"{}\" belongs to brand \"{}\", which is not there: add [[brand]]",
                    team.key, team.brand
                )));
            }
            if jiff::tz::TimeZone::get(&team.zone).is_err() {
                return Err(wrong(format!(
                    "team \"{}\" has the zone \"{}\", which is not an IANA zone like Asia/Seoul",
                    team.key, team.zone
                )));
            }
        }
        for brand in &self.brands {
            if !self.teams.iter().any(|team| team.brand == brand.key) {
                return Err(wrong(format!(
                    "brand \"{}\" has no team to send cases to: add [[team]] with brand = \"{}\"",
                    brand.key, brand.key
                )));
            }
        }
        Ok(())
    }

    /// The accounts of all brands, each naming its brand.
    pub fn accounts(&self) -> Vec<connect::AccountConfig> {
        self.brands
            .iter()
            .flat_map(|brand| {
                brand.accounts.iter().map(|account| connect::AccountConfig { brand: brand.key.clone(), ..account.clone() })
            })
            .collect()
    }

    /// What the connectors run with.
    pub fn connecting(&self) -> connect::Config {
        let Connect { directory, token_key } = self.connect.clone();
        connect::Config { directory, token_key, accounts: self.accounts() }
    }

    /// Brands, teams and accounts as the store keeps them. A team that is called like another has its brand's name
    /// before its own: whoever works for both brands could not tell them apart.
    pub fn catalog(&self) -> queue::CatalogConfig {
        let named = |team: &Team, name: fn(&Team) -> &String, of: fn(&Brand) -> &String| {
            let alike = self.teams.iter().filter(|other| name(other) == name(team)).count() > 1;
            let brand = self.brands.iter().find(|brand| alike && brand.key == team.brand);
            brand.map_or_else(|| name(team).clone(), |brand| format!("{} {}", of(brand), name(team)))
        };
        queue::CatalogConfig {
            brands: self.brands.iter().map(|brand| (brand.key.clone(), brand.ko.clone(), brand.en.clone())).collect(),
            teams: self
                .teams
                .iter()
                .map(|team| {
                    let (ko, en) = (named(team, |one| &one.ko, |one| &one.ko), named(team, |one| &one.en, |one| &one.en));
                    (team.key.clone(), team.brand.clone(), ko, en, team.zone.clone())
                })
                .collect(),
            accounts: self.accounts().into_iter().map(|account| (account.key, account.brand, account.handle)).collect(),
        }
    }
}

fn parse(file: &str, text: &str) -> Result<Table, Error> {
    text.parse::<Table>().map_err(|error| Error::Parse {
        file: file.to_owned(),
        line: error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1)),
        message: error.message().to_owned(),
    })
}

/// Tables merge key by key, brands and teams add up, anything else is replaced.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (Some(Value::Array(into)), Value::Array(from)) if key == "brand" || key == "team" => into.extend(from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn set(table: &mut Table, key: &str, value: &str) {
    // A number or a truth value is itself, all else is text; a list is written with commas.
    let text = value;
    let value = value
        .parse::<i64>()
        .map(Value::Integer)
        .or_else(|_| value.parse::<bool>().map(Value::Boolean))
        .unwrap_or_else(|_| Value::String(value.to_owned()));
    let mut place = table;
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            let list = || text.split(',').map(|part| Value::String(part.trim().to_owned())).collect();
            let value = if place.get(part).is_some_and(Value::is_array) { Value::Array(list()) } else { value };
            place.insert(part.to_owned(), value);
            return;
        }
        let next = place.entry(part.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        match next {
            Value::Table(next) => place = next,
            _ => return,
        }
    }
}

/// The line that an error of the merged table speaks of: the first that sets the key it names, in the table it names.
fn line_of(text: &str, message: &str) -> usize {
    let mut table = String::new();
    let mut keys: Vec<(usize, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.starts_with('[') {
            table = line.trim_start_matches('[').split(']').next().unwrap_or_default().trim().to_owned() + ".";
        } else if let Some((key, _)) = line.split_once('=') {
            keys.push((number, format!("{table}{}", key.trim())));
        }
    }
    let named = message.split('`').nth(1).unwrap_or_default();
    let inside = message.rsplit('`').nth(1).unwrap_or_default();
    let last = |path: &str| format!(".{}", path.rsplit('.').next().unwrap_or_default());
    let exact = [format!("{inside}.{named}"), named.to_owned(), inside.to_owned()];
    let found = exact.iter().find_map(|path| keys.iter().find(|(_, key)| key == path));
    // Inside an inline table, or of another file.
    let found =
        found.or_else(|| [last(named), last(inside)].iter().find_map(|end| keys.iter().find(|(_, key)| key.ends_with(end))));
    found.map_or(0, |(line, _)| *line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "[[brand]]\nkey = \"shop\"\nko = \"가게\"\nen = \"Shop\"\n[[team]]\nkey = \"cs\"\nbrand = \"shop\"\nko = \"상담\"\nen = \"CS\"\n";

    fn load(text: &str) -> Result<Config, String> {
        let config = Config::from_texts(&[("moksori.toml".into(), text.into())], &[]).map_err(|error| error.to_string())?;
        config.check("moksori.toml").map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn the_defaults_are_a_configuration() {
        let config = Config::load(None, &[]).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert!(config.server.listen.ip().is_loopback());
    }

    #[test]
    fn file_environment_and_flags_override_in_this_order() {
        let text = format!("[server]\nlisten = \"127.0.0.1:9000\"\n{ONE}");
        assert_eq!(load(&text).unwrap().server.listen.port(), 9000);
        let environment =
            Config::environment([("MOKSORI__SERVER__LISTEN".to_owned(), "127.0.0.1:9001".to_owned())].into_iter());
        let config = Config::from_texts(&[("moksori.toml".into(), text)], &environment).unwrap();
        assert_eq!(config.server.listen.port(), 9001);
    }

    #[test]
    fn a_wrong_override_is_not_blamed_on_the_file() {
        let texts = [("moksori.toml".to_owned(), ONE.to_owned())];
        let wrong = [("server.roles".to_owned(), "trioge,web".to_owned())];
        let error = Config::from_texts(&texts, &wrong).unwrap_err().to_string();
        assert!(error.starts_with("server.roles = \"trioge,web\""), "{error}");
        assert!(error.contains("MOKSORI__SERVER__ROLES") && error.contains("triage"), "{error}");
        assert!(!error.contains("moksori.toml"), "{error}");
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line() {
        let error = load(&format!("{ONE}[server]\nlisten = \"127.0.0.1:1\"\nlisen = 3\n")).unwrap_err();
        assert!(error.starts_with("moksori.toml:12: ") && error.contains("lisen"), "{error}");
        let error = load(&format!("{ONE}[[bus.cluster]]\nkey = \"main\"\n")).unwrap_err();
        assert!(error.starts_with("moksori.toml:11: ") && error.contains("bus.cluster"), "not a brand's key: {error}");
        let error = load("[server]\nlisten = \"here\"\n").unwrap_err();
        assert!(error.starts_with("moksori.toml:2: "), "{error}");
        let error = load("[server\n").unwrap_err();
        assert!(error.starts_with("moksori.toml:1: "), "{error}");
    }

    #[test]
    fn two_teams_of_one_name_are_told_apart_by_their_brands() {
        let two = ONE
            .replace("\"shop\"", "\"bank\"")
            .replace("\"cs\"", "\"help\"")
            .replace("가게", "은행")
            .replace("\"CS\"", "\"Help\"");
        let config = load(&format!("{ONE}{two}")).unwrap();
        let names: Vec<_> = config.catalog().teams.into_iter().map(|(_, _, ko, en, _)| (ko, en)).collect();
        let said = |ko: &str, en: &str| (ko.to_owned(), en.to_owned());
        assert_eq!(names, [said("가게 상담", "CS"), said("은행 상담", "Help")]);
        assert_eq!(load(ONE).unwrap().catalog().teams[0].2, "상담", "one alone needs no more");
    }

    #[test]
    fn parts_that_do_not_fit_say_what_to_do() {
        let error = load("[[brand]]\nkey = \"shop\"\nko = \"가\"\nen = \"S\"\n").unwrap_err();
        assert!(error.contains("add [[team]]"), "{error}");
        let error = load(&ONE.replace("brand = \"shop\"", "brand = \"shoo\"")).unwrap_err();
        assert!(error.contains("add [[brand]]"), "{error}");
        let error = load(&format!("{ONE}{ONE}")).unwrap_err();
        assert!(error.contains("rename one"), "{error}");
    }
}

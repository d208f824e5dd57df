//! `moksori demo`: three sample brands on a sample platform, all on this machine, to watch and to try.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use include_dir::{Dir, include_dir};
use serde::Deserialize;

use crate::{
    app::App,
    cli,
    clock::{Clock, random_word},
    config::Config,
    connect::{self, SecretSource},
    desk::Desk,
    queue::NewAgent,
    sample::{Sample, SampleAccount},
    staff::Role,
    web,
};

/// Only what judges: what the model was trained on stays out of the program.
static CLASSIFY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/rules/classify");
const RULES: [(&str, &str); 3] = [
    ("dispatch.toml", include_str!("../rules/dispatch.toml")),
    ("sla.toml", include_str!("../rules/sla.toml")),
    ("calendars.toml", include_str!("../rules/calendars.toml")),
];
static CONNECTORS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/connectors");
static SAMPLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/samples");

const BRANDS: [&str; 3] = ["shop", "office", "bank"];
/// The brand that listens to real servers.
const LIVE: &str = "live";
/// How long real servers have to answer before they are said not to.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The sample person whose link is printed: sees every team.
const GUIDE: &str = "MO";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct People {
    agent: Vec<Person>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    #[serde(rename = "name_en")]
    _name_en: String,
    email: String,
    initials: String,
    role: String,
    teams: Vec<String>,
}

/// What a demo listens to on real servers.
#[derive(Clone, Debug)]
pub struct Live {
    /// A word, as a hashtag and as a search.
    pub tag: String,
    /// Where all of it is asked for instead: a server that stands in for the real ones.
    pub base: Option<url::Url>,
}

impl Live {
    /// Reads a tag, with or without its #.
    ///
    /// # Errors
    /// For what is no hashtag.
    pub fn new(tag: &str, base: Option<url::Url>) -> Result<Live> {
        let tag = tag.trim_start_matches('#');
        let plain = |sign: char| sign.is_alphanumeric() || sign == '_';
        anyhow::ensure!(!tag.is_empty() && tag.chars().all(plain), "a tag is one word of letters, digits and _, like rustlang");
        Ok(Live { tag: tag.to_owned(), base })
    }

    /// The configuration of its accounts.
    fn config(&self) -> Result<String> {
        let file = SAMPLES.get_file("live/moksori.toml").context("samples lack live/moksori.toml")?;
        let text = file.contents_utf8().unwrap_or_default();
        // In a path a letter beyond ASCII is written in bytes; in a query it is itself.
        let lines = text.lines().map(|line| match line.starts_with("settings") {
            true => line.replace("TAG", &url::form_urlencoded::byte_serialize(self.tag.as_bytes()).collect::<String>()),
            false => line.replace("TAG", &self.tag),
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }
}

/// A demo that runs: the desk, and the sample platform it listens to.
pub struct Demo {
    /// The desk.
    pub app: App,
    /// The platform.
    pub sample: Sample,
    /// Where to sign in, once.
    pub link: String,
    players: Vec<tokio::task::JoinHandle<()>>,
}

/// Runs the demo until Ctrl+C, or for `lasting`.
///
/// # Errors
/// When a part cannot start.
pub async fn run(listen: SocketAddr, data: Option<PathBuf>, lasting: Option<Duration>, live: Option<Live>) -> Result<()> {
    let (directory, throw_away) = match data {
        Some(directory) => (directory, false),
        None => (fresh_directory()?, true),
    };
    let demo = Demo::start(listen, &directory, live.as_ref()).await?;
    println!("Moksori is running. Open this link and press the button; it works once, for ten minutes:\n\n  {}\n", demo.link);
    println!("The sample customers post to {} as you watch. Ctrl+C ends it.", demo.sample.url);
    std::io::stdout().flush()?;
    let telling = live.map(|live| tokio::spawn(tell_reached(Arc::clone(&demo.app.desk), live.tag)));
    match lasting {
        Some(lasting) => tokio::select! {
            () = Clock::System.sleep(lasting) => {}
            signal = cli::wait_for_signal() => signal?,
        },
        None => cli::wait_for_signal().await?,
    }
    if let Some(telling) = telling {
        telling.abort();
    }
    println!("{}", demo.summary().await?);
    demo.stop().await;
    if throw_away {
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(())
}

/// Says of each real server, once, whether it answered.
async fn tell_reached(desk: Arc<Desk>, tag: String) {
    let accounts: Vec<String> =
        desk.store().catalog().accounts.iter().filter(|one| one.key.starts_with("live-")).map(|one| one.key.clone()).collect();
    println!("Looking for {tag} on real servers as well.");
    let (until, mut told) = (Clock::System.now().plus(ANSWER_WITHIN), Vec::new());
    while told.len() < accounts.len() {
        let late = Clock::System.now() >= until;
        for account in &accounts {
            if told.contains(account) {
                continue;
            }
            let status = desk.source_state(account, crate::desk::STATUS).await.ok().flatten();
            let fared: Vec<connect::Status> = status.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            let failure = fared.iter().flat_map(|one| &one.failures).next();
            match failure {
                _ if fared.iter().any(|one| one.last_success.is_some()) => println!("{account}: answers"),
                Some(failure) => println!("{account}: not reached ({}); the sample brands go on without it", failure.last),
                None if late => println!("{account}: no answer yet; the sample brands go on without it"),
                None => continue,
            }
            told.push(account.clone());
        }
        Clock::System.sleep(Duration::from_millis(500)).await;
    }
}

fn fresh_directory() -> Result<PathBuf> {
    let name = random_word::<6>();
    let directory = std::env::temp_dir().join(format!("moksori-demo-{name}"));
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

impl Demo {
    /// Starts desk and platform, adds the sample people, and lets the sample customers post.
    ///
    /// # Errors
    /// When a part cannot start.
    pub async fn start(listen: SocketAddr, directory: &Path, live: Option<&Live>) -> Result<Demo> {
        let files = directory.join("demo-files");
        // The platform starts empty each time; what a demo before this one kept would all look deleted.
        let kept = directory.join("desk");
        if files.exists() && kept.exists() {
            std::fs::remove_dir_all(&kept).with_context(|| format!("failed to clear {}", kept.display()))?;
        }
        for (dir, name) in [(&CLASSIFY, "rules/classify"), (&CONNECTORS, "connectors"), (&SAMPLES, "samples")] {
            let target = files.join(name);
            std::fs::create_dir_all(&target)?;
            dir.extract(&target).with_context(|| format!("failed to write {}", target.display()))?;
        }
        for (name, text) in RULES {
            std::fs::write(files.join("rules").join(name), text)?;
        }
        let mut config = Self::config(&files, live)?;
        config.server.listen = listen;
        config.data.directory = directory.join("desk");

        let mut accounts = Vec::new();
        for brand in config.brands.iter().filter(|brand| brand.key != LIVE) {
            for account in &brand.accounts {
                let token = random_word::<16>();
                let path = files.join(format!("{}.token", account.key));
                std::fs::write(&path, &token)?;
                accounts.push((
                    SampleAccount { handle: account.handle.clone(), name: brand.ko.clone(), token },
                    account.key.clone(),
                    path,
                ));
            }
        }
        let sample_accounts: Vec<SampleAccount> = accounts.iter().map(|(account, ..)| account.clone()).collect();
        let sample = Sample::start((Ipv4Addr::LOCALHOST, 0).into(), Clock::System, &sample_accounts).await?;
        let base = url::Url::parse(&sample.url)?;
        let samples = config.brands.iter_mut().filter(|brand| brand.key != LIVE);
        for account in samples.flat_map(|brand| &mut brand.accounts) {
            account.base = Some(base.clone());
            if let Some((_, _, path)) = accounts.iter().find(|(_, key, _)| *key == account.key) {
                account.secrets.insert("token".into(), SecretSource::File(path.clone()));
            }
        }

        let app = App::start(config, Clock::System).await?;
        let link = Self::add_people(&app).await?;
        let mut players = Vec::new();
        for brand in BRANDS {
            let posts = files.join("samples").join(brand).join("posts.jsonl");
            let sample = sample.clone();
            players.push(tokio::spawn(async move {
                if let Err(error) = sample.play(&posts, 1.0).await {
                    tracing::error!(error = &error as &dyn std::error::Error, "the sample customers have stopped");
                }
            }));
        }
        Ok(Demo { app, sample, link, players })
    }

    fn config(files: &Path, live: Option<&Live>) -> Result<Config> {
        let mut texts = Vec::new();
        for brand in BRANDS {
            let path = files.join("samples").join(brand).join("moksori.toml");
            texts.push((path.display().to_string(), std::fs::read_to_string(&path)?));
        }
        if let Some(live) = live {
            texts.push(("samples/live/moksori.toml".to_owned(), live.config()?));
        }
        let mut config = Config::from_texts(&texts, &[])?;
        if let Some(base) = live.and_then(|live| live.base.as_ref()) {
            for account in config.brands.iter_mut().filter(|brand| brand.key == LIVE).flat_map(|brand| &mut brand.accounts) {
                (account.base, account.allow_private) = (Some(base.clone()), true);
            }
        }
        config.rules.directories =
            BRANDS.iter().chain(live.map(|_| &LIVE)).map(|brand| files.join("samples").join(brand).join("rules")).collect();
        config.rules.directories.push(files.join("rules"));
        config.connect.directory = files.join("connectors");
        Ok(config)
    }

    async fn add_people(app: &App) -> Result<String> {
        let catalog = app.store.catalog();
        let mut link = String::new();
        for brand in BRANDS {
            let file = SAMPLES.get_file(format!("{brand}/people.toml")).context("samples lack people.toml")?;
            let people: People = toml::from_str(file.contents_utf8().unwrap_or_default())?;
            for person in people.agent {
                let role = Role::parse(&person.role).with_context(|| format!("no role {}", person.role))?;
                let teams = if person.teams.is_empty() {
                    catalog.teams.iter().map(|team| (team.id, role)).collect()
                } else {
                    person.teams.iter().filter_map(|key| Some((catalog.team_by_key(key)?.id, role))).collect()
                };
                let initials = person.initials.clone();
                let agent = app
                    .desk
                    .put_agent(NewAgent {
                        name: person.name,
                        email: person.email,
                        initials: person.initials,
                        password_hash: None,
                        teams,
                    })
                    .await?;
                if initials == GUIDE {
                    let token = app.desk.sign_in_link(agent).await?;
                    link = format!("http://{}{}", app.address, web::link_path(&token));
                }
            }
        }
        Ok(link)
    }

    /// What happened so far, in a few lines.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn summary(&self) -> Result<String> {
        let totals = self.app.store.read(|reader| reader.totals()).await?;
        let list = |pairs: &[(String, u64)]| {
            pairs.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        let cases: u64 = totals.by_status.iter().map(|(_, count)| count).sum();
        Ok(format!(
            "mentions   {}\ncases      {cases} ({})\nstatus     {}\nclocks     met {}, breached {}\nindexed    {} documents",
            totals.mentions,
            list(&totals.by_label),
            list(&totals.by_status),
            totals.met,
            totals.breached,
            self.app.search.as_ref().map_or(0, |search| search.documents()),
        ))
    }

    /// Stops desk and platform.
    pub async fn stop(self) {
        for player in self.players {
            player.abort();
        }
        if !self.app.stop().await {
            tracing::warn!("the demo did not stop cleanly");
        }
        drop(Arc::new(self.sample));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_filled_in_where_it_is_asked_for() {
        let live = Live::new("#러스트", None).unwrap();
        let config = Config::from_texts(&[("live.toml".into(), live.config().unwrap())], &[]).unwrap();
        let account = |key: &str| config.brands[0].accounts.iter().find(|account| account.key == key).unwrap();
        assert_eq!(account("live-tag").settings["feed"], "/tags/%EB%9F%AC%EC%8A%A4%ED%8A%B8.rss");
        assert_eq!(account("live-hackernews").listen[0].text, "러스트");
        assert_eq!(account("live-forum").base.as_ref().unwrap().as_str(), "https://meta.discourse.org/");
        for wrong in ["", "#", "two words", "a/../b", "a\"b"] {
            assert!(Live::new(wrong, None).is_err(), "{wrong}");
        }
    }
}

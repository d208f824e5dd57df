//! The command line. Commands on a live desk go to it over its socket; when none runs, they take its lock.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use prometheus::Registry;
use serde_json::{Value, json};

use crate::{
    app::{self, App},
    backup,
    classify::Classifier,
    clock::{Clock, span},
    config::Config,
    connect,
    control::{self, Answer, Request},
    demo,
    desk::Desk,
    index::Follower,
    learn::{self, CorpusCommand, ModelCommand},
    progress::{Progress, Unit},
    query::Query,
    queue::{Catalog, NewAgent, Store},
    replay, rules,
    search::{
        Facet, Order, Page, Scope, Search,
        eval::{Engine, evaluate},
    },
    staff::{Role, TeamId},
    telemetry,
    training::{self, EvalArgs, TrainArgs},
};

/// Moksori: real-time triage of what customers post.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service, or a part of it.
    Run {
        /// What this process does ("connect,triage"); all of it by default.
        #[arg(long, value_delimiter = ',')]
        roles: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// See it work: three sample brands on a sample platform, all on this machine.
    Demo {
        /// Address of the console.
        #[arg(long, default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Where to keep its data, to look at afterwards; each demo starts anew. A temporary folder otherwise.
        #[arg(long)]
        data: Option<PathBuf>,
        /// End by itself after this long ("60s"), with a summary.
        #[arg(long = "for", value_parser = parse_span)]
        lasting: Option<Duration>,
        /// Listen to real servers too, without a key: a hashtag, a search, a forum, a feed about this word.
        #[arg(long, value_name = "TAG")]
        live: Option<String>,
        /// Ask this server instead of the real ones.
        #[arg(long, requires = "live", hide = true)]
        live_base: Option<url::Url>,
    },
    /// Check configuration, rules and connector files, and run their examples.
    Check(Place),
    /// Search past mentions.
    Search {
        /// What to look for, in the language of the search page.
        query: String,
        /// One JSON document instead of lines.
        #[arg(long)]
        json: bool,
        /// Most hits to show.
        #[arg(long, default_value_t = 20)]
        limit: u64,
        /// Which come first: best, newest or oldest.
        #[arg(long, default_value = "best")]
        sort: String,
        #[command(flatten)]
        place: Place,
    },
    /// Build the search index again from the store.
    Reindex(Place),
    /// Bring the store's schema up to date: once, before a new version of several processes starts.
    Migrate(Place),
    /// Do things again.
    Replay {
        #[command(subcommand)]
        command: ReplayCommand,
    },
    /// Copy the desk into a folder, while it runs or not.
    Backup {
        /// A folder that is not there yet, or is empty.
        directory: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Make a desk of a backup. Replies that were on their way wait for a person; everybody signs in again.
    Restore {
        /// The backup.
        directory: PathBuf,
        /// The new desk's data directory: not there yet, or empty.
        #[arg(long)]
        data: PathBuf,
    },
    /// Hold the outbox back and sign everybody out: after a database was restored by its own means, before a start.
    Park(Place),
    /// Write a whole desk that is at rest into a folder, as text, for another store and log.
    Export {
        /// A folder that is not there yet, or is empty.
        directory: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Load an export into the empty store and the log of a configuration; what was interrupted goes on.
    Import {
        /// The export.
        directory: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Index a JSON Lines file of {id, text}, run a file of {id, query} over it, print one line of hits a query.
    SearchEval {
        /// The posts.
        docs: PathBuf,
        /// The queries.
        queries: PathBuf,
        /// "moksori", or to compare "default" (tantivy's default words) or "pairs" (plain 2-grams).
        #[arg(long, default_value = "moksori", value_parser = ["moksori", "default", "pairs"])]
        engine: String,
    },
    /// People who sign in.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// The rules of classification, dispatch and SLA.
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Print what agents corrected and leads accepted, as JSON Lines for training.
    Feedback(Place),
    /// Models: list, compare, promote, go back, ask one beside.
    Model {
        #[command(subcommand)]
        command: ModelCommand,
        #[command(flatten)]
        place: Place,
    },
    /// The corpus of training text.
    Corpus {
        #[command(subcommand)]
        command: CorpusCommand,
    },
    /// Train the model on the corpus and the public text of a folder of rules; the same data give the same model.
    Train {
        #[command(flatten)]
        args: TrainArgs,
        /// Learn from what was corrected on this desk and accepted, too.
        #[arg(long)]
        with_feedback: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Say how right the classifier is on labelled text it was not trained on.
    Eval(EvalArgs),
    /// Connector files.
    Connector {
        #[command(subcommand)]
        command: ConnectorCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ReplayCommand {
    /// Append dead letters to the log again, once their cause is gone; what is stored already stays as it is.
    Dead {
        /// Only those whose reason contains this.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Judge stored mentions again by the rules in force, and say what differs.
    History {
        /// How far back ("30d").
        #[arg(long, default_value = "30d", value_parser = parse_span)]
        since: Duration,
        /// Write the new labels; a label that a person has set stays, and no case moves.
        #[arg(long)]
        apply: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add a person, or change the one with this e-mail; prints a one-time sign-in link.
    Add {
        /// For signing in.
        #[arg(long)]
        email: String,
        /// As colleagues see it.
        #[arg(long)]
        name: String,
        /// Two to four capital letters that sign replies.
        #[arg(long)]
        initials: String,
        /// A team's key and a role, `cs:agent`; once for each team.
        #[arg(long = "team", required = true)]
        teams: Vec<String>,
        /// Read a password from standard input.
        #[arg(long)]
        password: bool,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Check the rules on disk and put them in force; a wrong set leaves the old one in force.
    Publish(Place),
}

#[derive(Debug, Subcommand)]
enum ConnectorCommand {
    /// Write a commented file to start from; it passes.
    New {
        /// What the connector is called: lower-case letters, digits and _.
        name: String,
        /// Where to write it.
        #[arg(long, default_value = "connectors")]
        directory: PathBuf,
    },
    /// Run a connector file against its recorded replies and show the mentions it makes of them.
    Test {
        /// The file.
        file: PathBuf,
        /// Ask the platform itself, once, for an account of the configuration; nothing is kept.
        #[arg(long, requires = "account")]
        live: bool,
        /// Key of the account.
        #[arg(long, requires = "live")]
        account: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Print the JSON Schema of connector files, for editors.
    Schema,
}

/// Which desk.
#[derive(Debug, clap::Args)]
struct Place {
    /// The configuration file.
    #[arg(long, default_value = "moksori.toml", global = true)]
    config: PathBuf,
}

impl Place {
    fn load(&self) -> Result<Config> {
        self.load_with(Vec::new())
    }

    /// Loads it with flags over everything else.
    fn load_with(&self, flags: Vec<(String, String)>) -> Result<Config> {
        let mut overrides = Config::environment(std::env::vars());
        overrides.extend(flags);
        Ok(Config::load(Some(&self.config), &overrides)?)
    }
}

fn parse_span(text: &str) -> Result<Duration, String> {
    span::parse(text).ok_or_else(|| "write it like 60s or 5m".to_owned())
}

/// Parses the arguments and runs the command.
///
/// # Errors
/// Whatever made the command fail, for `main` to print.
pub fn main() -> Result<()> {
    let cli = Cli::parse();
    let filter = std::env::var(telemetry::VARIABLE).ok();
    let quiet = !matches!(cli.command, Command::Run { .. });
    telemetry::init(filter.as_deref().or(quiet.then_some("warn")), false)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(cli.command))
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Run { roles, place } => run_service(&place, &roles).await,
        Command::Demo { listen, data, lasting, live, live_base } => {
            let live = live.map(|tag| demo::Live::new(&tag, live_base)).transpose()?;
            demo::run(listen, data, lasting, live).await
        }
        Command::Check(place) => check(&place),
        Command::Search { query, json, limit, sort, place } => {
            let answer = on_desk(&place, "search", json!({ "query": query, "limit": limit, "sort": sort })).await?;
            if json {
                println!("{answer}");
            } else {
                print_hits(&answer);
            }
            Ok(())
        }
        Command::Reindex(place) => {
            let answer = on_desk(&place, "reindex", Value::Null).await?;
            println!("{} documents", answer["documents"]);
            Ok(())
        }
        Command::Migrate(place) => migrate(&place),
        Command::Backup { directory, place } => {
            let config = place.load()?;
            let order = backup::Order::new(&config, &place.config, &directory)?;
            let manifest = backup::ask(&config, order, &Clock::System).await?;
            println!("{}: {} bytes, the desk as it was after event {}", directory.display(), manifest.bytes(), manifest.event);
            Ok(())
        }
        Command::SearchEval { docs, queries, engine } => {
            let engine = match engine.as_str() {
                "default" => Engine::Default,
                "pairs" => Engine::Pairs,
                _ => Engine::Moksori,
            };
            let scratch = std::env::temp_dir().join(format!("moksori-search-eval-{}", std::process::id()));
            evaluate(&docs, &queries, engine, &scratch, &mut std::io::stdout().lock())?;
            Ok(())
        }
        Command::Park(place) => {
            println!("{}", backup::park(&place.load()?, &Clock::System).await?);
            Ok(())
        }
        Command::Export { directory, place } => {
            let export = backup::export(&place.load()?, &directory, &Clock::System).await?;
            let unread = export.mentions.lines;
            println!("{}: {} rows, {unread} unread mentions", directory.display(), export.lines() - unread);
            Ok(())
        }
        Command::Import { directory, place } => {
            println!("{}", backup::import(&place.load()?, &directory, &Clock::System).await?);
            Ok(())
        }
        Command::Restore { directory, data } => {
            println!("{}", backup::restore(&directory, &data, &Clock::System).await?);
            Ok(())
        }
        Command::Replay { command: ReplayCommand::Dead { reason, place } } => {
            let answer = on_desk(&place, "replay dead", json!({ "reason": reason })).await?;
            println!("{} dead letters, {} appended to the log again", answer["dead_letters"], answer["replayed"]);
            Ok(())
        }
        Command::Replay { command: ReplayCommand::History { since, apply, place } } => {
            let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            let answer = on_desk(&place, "replay history", json!({ "since_ms": since, "apply": apply })).await?;
            print_history(&answer, apply);
            Ok(())
        }
        Command::User { command: UserCommand::Add { email, name, initials, teams, password, place } } => {
            let password = if password { Some(read_password()?) } else { None };
            let args = json!({ "email": email, "name": name, "initials": initials, "teams": teams, "password": password });
            let answer = on_desk(&place, "user add", args).await?;
            let done = if answer["changed"] == true { "changed" } else { "added" };
            println!("{done}; sign-in link, good for ten minutes and once:\n  {}", answer["link"].as_str().unwrap_or_default());
            Ok(())
        }
        Command::Rules { command: RulesCommand::Publish(place) } => {
            let answer = on_desk(&place, "rules publish", Value::Null).await?;
            println!("version {} is in force", answer["version"]);
            Ok(())
        }
        Command::Feedback(place) => {
            print!("{}", feedback(&place).await?);
            Ok(())
        }
        Command::Model { command, place } => {
            let config = place.load()?;
            learn::model(command, &config, async |name, args| on_desk(&place, name, args).await).await
        }
        Command::Corpus { command } => learn::corpus(command),
        Command::Train { args, with_feedback, place } => {
            let feedback = if with_feedback { feedback(&place).await? } else { String::new() };
            training::run_train(&args, &feedback, &Clock::System)
        }
        Command::Eval(args) => training::run_eval(&args),
        Command::Connector { command } => connector(command).await,
    }
}

async fn run_service(place: &Place, roles: &[String]) -> Result<()> {
    let roles = (!roles.is_empty()).then(|| ("server.roles".to_owned(), roles.join(",")));
    let config = place.load_with(roles.into_iter().collect())?;
    let effective = serde_json::to_string(&config).unwrap_or_default();
    let mut signal = std::pin::pin!(wait_for_signal());
    // Who is asked to stop while starting has nothing to finish.
    let app = tokio::select! {
        biased;
        asked = &mut signal => return asked,
        app = App::start(config, Clock::System) => app?,
    };
    // After what may refuse to start, whose reason must not stand behind all of this.
    tracing::info!(config = effective, "configuration in effect");
    signal.await?;
    if app.stop().await { Ok(()) } else { bail!("not everything was finished; it will be at the next start") }
}

/// Returns at SIGTERM or Ctrl+C.
pub(crate) async fn wait_for_signal() -> Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Makes the data directory if it is not there.
fn data_directory(config: &Config) -> Result<()> {
    let path = &config.data.directory;
    std::fs::create_dir_all(path).with_context(|| format!("failed to create data.directory, {}", path.display()))
}

fn migrate(place: &Place) -> Result<()> {
    let config = place.load()?;
    data_directory(&config)?;
    let _lock = control::lock(&config.data.directory)?;
    let (found, reached) = Store::migrate(&config.data.directory, &config.queue)?;
    match found == reached {
        true => println!("the store has schema {reached}, nothing to do"),
        false => println!("the store had schema {found} and has {reached} now"),
    }
    Ok(())
}

fn check(place: &Place) -> Result<()> {
    let config = place.load()?;
    let mut problems = Vec::new();
    // A catalog without row ids is all that rules need to know.
    let catalog = Catalog::sketch(&config.catalog());
    match rules::Files::load(&config.rules.directories).and_then(|files| files.check(0, &catalog)) {
        Ok(rules) => println!("rules: {} classification rules, examples pass", Classifier::len(&rules.judges.classifier)),
        Err(error) => problems.push(error.to_string()),
    }
    match connect::load_files(&config.connect.directory) {
        Ok(files) => {
            println!("connectors: {}", files.keys().cloned().collect::<Vec<_>>().join(", "));
            problems.extend(connect::check_accounts(&config.connecting(), &files)?.iter().map(ToString::to_string));
        }
        Err(errors) => problems.extend(errors.iter().map(ToString::to_string)),
    }
    if problems.is_empty() {
        let counted = |count: usize, thing: &str| format!("{count} {thing}{}", if count == 1 { "" } else { "s" });
        let (brands, teams) = (counted(config.brands.len(), "brand"), counted(config.teams.len(), "team"));
        println!("{}: {brands}, {teams}, all is well", place.config.display());
        return Ok(());
    }
    bail!("{}", problems.join("\n"))
}

/// What agents corrected and leads accepted, a line of JSON each.
async fn feedback(place: &Place) -> Result<String> {
    let answer = on_desk(place, "feedback", Value::Null).await?;
    let lines = answer["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(lines.iter().filter_map(Value::as_str).map(|line| format!("{line}\n")).collect())
}

/// Has a command done by the running desk, or by ourselves under its lock when none runs.
async fn on_desk(place: &Place, command: &str, args: Value) -> Result<Value> {
    let config = place.load()?;
    let request = Request { command: command.to_owned(), args };
    if let Some(answer) = control::ask(&config.data.directory, &request).await? {
        return match answer {
            Answer::Ok(value) => Ok(value),
            Answer::Error(reason) => bail!("{reason}"),
        };
    }
    if command == "rules publish" {
        // A start would go on with the last published set; this command must refuse.
        rules::Files::load(&config.rules.directories)?.check(0, &Catalog::sketch(&config.catalog()))?;
    }
    data_directory(&config)?;
    let _lock = control::lock(&config.data.directory)?;
    let registry = Registry::new();
    let clock = Clock::System;
    let (store, rules) = app::open_store(&config, &clock, &registry).await?;
    match command {
        "replay dead" | "replay history" => {
            let judges = Arc::new(rules.judges);
            let desk =
                Desk::new(store, rules.policies, config.desk.clone(), clock.clone(), crate::desk::Metrics::new(&registry)?);
            let bus = app::open_bus(&config, &clock, &registry)?;
            let progress = Mutex::new(Progress::new(command, Unit::Pieces, 0, clock));
            let seen = |count| progress.lock().unwrap_or_else(PoisonError::into_inner).at(count);
            let answer = replay::run(&request, &bus, &desk, judges, &seen).await;
            bus.close().await;
            answer
        }
        "rules publish" => Ok(json!({ "version": rules.judges.version })),
        "feedback" | "model list" | "model file" | "model use" | "model rollback" => {
            learn::on_store(&store, &config.data.directory, command, &request.args).await
        }
        "user add" => {
            let desk = Desk::new(store, rules.policies, config.desk.clone(), clock, crate::desk::Metrics::new(&registry)?);
            add_user(&desk, &request.args, &format!("http://{}", config.server.listen)).await
        }
        _ => {
            if command == "reindex" {
                let index = config.data.directory.join("index");
                if index.exists() {
                    std::fs::remove_dir_all(&index)?;
                }
            }
            let (index, opened) = app::open_search(&config, &registry)?;
            let posts = store.read(|reader| reader.totals()).await?.mentions;
            let mut progress = Progress::new("index", Unit::Pieces, posts, clock.clone());
            let mut follower = Follower::new(Arc::clone(&store), Arc::clone(&index), clock, opened.seq).await?;
            while follower.step().await? {
                progress.at(index.documents() as u64);
            }
            drop(progress);
            index.flush()?;
            if command == "reindex" {
                return Ok(json!({ "documents": index.documents() }));
            }
            search(&store, &index, &request.args).await
        }
    }
}

/// Searches everything, as an operator at the machine may; `args` are `query`, `limit` and `sort`.
pub(crate) async fn search(store: &Arc<Store>, index: &Arc<Search>, args: &Value) -> Result<Value> {
    let query: Query = args["query"].as_str().unwrap_or_default().parse()?;
    let limit = usize::try_from(args["limit"].as_u64().unwrap_or(20)).unwrap_or(20);
    let order = match args["sort"].as_str().unwrap_or("best") {
        "best" => Order::Best,
        "newest" => Order::Newest,
        "oldest" => Order::Oldest,
        other => bail!("there is no order \"{other}\"; there are best, newest, oldest"),
    };
    let catalog = store.catalog();
    let scope = Scope {
        teams: catalog.teams.iter().map(|team| team.id).collect(),
        brands: catalog.brands.iter().filter_map(|brand| u32::try_from(brand.id.0).ok()).collect(),
    };
    let search = Arc::clone(index);
    let found = tokio::task::spawn_blocking(move || search.find(&query, &scope, order, Page { offset: 0, limit })).await??;
    let ids: Vec<_> = found.hits.iter().map(|hit| hit.mention).collect();
    let mentions = store.read(move |reader| reader.mentions(&ids)).await?;
    let shown = found.hits.iter().filter_map(|hit| {
        let mention = mentions.iter().find(|mention| mention.id == hit.mention)?;
        Some(json!({
            "mention": mention.id,
            "case": hit.case,
            "score": hit.score,
            "label": mention.label,
            "lang": mention.lang,
            "source": mention.source,
            "author": mention.handle,
            "posted_at": mention.posted_at.to_string(),
            "url": mention.url,
            "text": mention.text.whole(),
        }))
    });
    let hits: Vec<Value> = shown.collect();
    let facet = |facet: &Facet| json!({ "field": facet.field, "value": facet.value, "count": facet.count });
    let facets: Vec<Value> = found.facets.iter().map(facet).collect();
    let widened = found.widened.iter().map(|word| json!({ "typed": word.typed, "forms": word.forms }));
    let widened: Vec<Value> = widened.collect();
    Ok(json!({ "total": found.total, "widened": widened, "hits": hits, "facets": facets }))
}

fn print_history(answer: &Value, apply: bool) {
    println!(
        "{} mentions judged by rules version {}, {} otherwise than before",
        answer["mentions"], answer["rules"], answer["changed"]
    );
    for (change, count) in answer["changes"].as_object().into_iter().flatten() {
        println!("{count:>8}  {change}");
    }
    println!("{} cases would go elsewhere today; they stay where they are", answer["cases_elsewhere"]);
    if apply {
        println!("{} labels written", answer["written"]);
    } else if answer["changed"].as_u64() > Some(0) {
        println!("nothing was written: add --apply to write the new labels");
    }
}

fn print_hits(answer: &Value) {
    println!("{} found", answer["total"]);
    for hit in answer["hits"].as_array().into_iter().flatten() {
        let text = hit["text"].as_str().unwrap_or_default().replace('\n', " ");
        let case = hit["case"].as_i64().map_or_else(|| "-".to_owned(), |case| format!("#{case}"));
        println!(
            "{case:>8}  {}  {:<9}  @{}  {text}",
            hit["posted_at"].as_str().unwrap_or_default(),
            hit["label"].as_str().unwrap_or_default(),
            hit["author"].as_str().unwrap_or_default()
        );
    }
}

/// Adds a person from `{email, name, initials, teams: ["key:role"], password?}`; answers with a one-time link.
pub(crate) async fn add_user(desk: &Arc<Desk>, args: &Value, base: &str) -> Result<Value> {
    let text = |key: &str| args[key].as_str().map(str::to_owned).with_context(|| format!("{key} is missing"));
    let initials = text("initials")?;
    if !(2..=4).contains(&initials.len()) || !initials.chars().all(|c| c.is_ascii_uppercase()) {
        bail!("initials must be two to four capital letters, like KG; these are \"{initials}\"");
    }
    let catalog = desk.store().catalog();
    let mut teams: Vec<(TeamId, Role)> = Vec::new();
    for entry in args["teams"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (team, role) = entry.split_once(':').with_context(|| format!("write \"{entry}\" as team:role, like cs:agent"))?;
        let known = || catalog.teams.iter().map(|team| team.key.as_str()).collect::<Vec<_>>().join(", ");
        let team = catalog.team_by_key(team).with_context(|| format!("there is no team \"{team}\"; there are {}", known()))?;
        let role = Role::parse(role)
            .with_context(|| format!("there is no role \"{role}\"; there are marketer, operator, agent, lead, manager"))?;
        teams.push((team.id, role));
    }
    let email = text("email")?.trim().to_lowercase();
    if !email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()) {
        bail!("\"{email}\" is no e-mail address; write it like kg@example.com");
    }
    let (who, held) = (email.clone(), initials.clone());
    let (known, holder) = desk
        .store()
        .read(move |reader| Ok::<_, crate::queue::Error>((reader.credentials(&who)?, reader.agent_by_initials(&held)?)))
        .await?;
    let known = known.map(|known| known.agent);
    if holder.is_some() && holder != known {
        bail!("somebody else signs as {initials}; choose other initials");
    }
    let password_hash = match args["password"].as_str() {
        Some(password) => Some(crate::web::hash_password(password)?),
        None => None,
    };
    let agent = desk.put_agent(NewAgent { name: text("name")?, email, initials, password_hash, teams }).await?;
    let token = desk.sign_in_link(agent).await?;
    Ok(json!({ "agent": agent, "changed": known.is_some(), "link": format!("{base}{}", crate::web::link_path(&token)) }))
}

fn read_password() -> Result<String> {
    eprintln!("password (at least 8 characters), then Enter:");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let password = line.trim_end_matches(['\n', '\r']).to_owned();
    if password.chars().count() < 8 {
        bail!("the password has fewer than 8 characters");
    }
    Ok(password)
}

async fn connector(command: ConnectorCommand) -> Result<()> {
    let (file, report) = match command {
        ConnectorCommand::New { name, directory } => {
            let path = connect::new_file(&directory, &name)?;
            println!("{0}: edit it, then run moksori connector test {0}", path.display());
            return Ok(());
        }
        ConnectorCommand::Schema => {
            print!("{}", connect::SCHEMA);
            return Ok(());
        }
        ConnectorCommand::Test { file, live: true, account: Some(key), place } => {
            let accounts = place.load()?.accounts();
            let known = || accounts.iter().map(|account| account.key.as_str()).collect::<Vec<_>>().join(", ");
            let account = accounts.iter().find(|account| account.key == key);
            let account = account.with_context(|| format!("there is no account \"{key}\"; there are {}", known()))?;
            let report = connect::test_live(&file, account.clone()).await?;
            (file, report)
        }
        ConnectorCommand::Test { file, .. } => {
            let report = connect::test_file(&file).await?;
            (file, report)
        }
    };
    print!("{}", report.table());
    if report.faults.is_empty() { Ok(()) } else { bail!("{} does not pass", file.display()) }
}

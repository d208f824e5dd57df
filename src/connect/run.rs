//! The loops: every stream of every account, and the outbox, until the desk shuts down.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};

use super::{
    Account, AccountConfig, Config, ConnectorFile, Error, FileError, Home, Hooks, Listen, Metrics, Outbox, OwnIds, Poller,
    Walk,
    format::Do,
    limits::{back_off, back_off_at_home},
    live::{Connection, by_connection},
    seal::Sealer,
    toml_files,
};

use crate::{
    clock::{Clock, Time},
    desk::{LISTEN, Wishes},
};

/// When to look again for a stream on a server that has none, or does not let us.
const NO_STREAM: Duration = Duration::from_secs(15 * 60);

/// Reads every connector file of a folder, by the name of its connector.
///
/// # Errors
/// All that is wrong, one entry a file.
pub fn load_files(directory: &Path) -> Result<BTreeMap<String, Arc<ConnectorFile>>, Vec<FileError>> {
    let whole = |path: &Path, message: String, remedy: &str| FileError {
        file: path.to_owned(),
        line: 1,
        key: None,
        message,
        remedy: remedy.into(),
    };
    let paths = toml_files(directory).map_err(|error| {
        vec![whole(directory, format!("cannot be listed: {error}"), "point connect.directory at the folder of connectors")]
    })?;
    let (mut files, mut errors) = (BTreeMap::new(), Vec::new());
    for path in paths {
        match ConnectorFile::load(&path) {
            Ok(file) if files.contains_key(&file.connector) => {
                errors.push(whole(
                    &path,
                    format!("a second connector `{}`", file.connector),
                    "rename or remove one of the two files",
                ));
            }
            Ok(file) => {
                files.insert(file.connector.clone(), Arc::new(file));
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

/// All that [`Connect::new`] would refuse about accounts, not the first of it alone.
///
/// # Errors
/// When the process cannot count.
pub fn check_accounts(config: &Config, files: &BTreeMap<String, Arc<ConnectorFile>>) -> Result<Vec<Error>, prometheus::Error> {
    let metrics = Metrics::new(&prometheus::Registry::new())?;
    let home = Home::Tray(Arc::default());
    let mut made = Making { own: OwnIds::default(), keys: BTreeSet::new(), files, clock: &Clock::System, metrics };
    let accounts = config.accounts.iter().filter_map(|account| made.account(account, &home).err());
    Ok(sealer(config).err().into_iter().chain(accounts).collect())
}

/// What seals tokens that must survive a restart, where the configuration has a key.
fn sealer(config: &Config) -> Result<Option<Sealer>, Error> {
    let key = config.token_key.as_ref().map(|source| source.read()).transpose();
    let key = key.map_err(|reason| Error::Account { account: "connect.token_key".into(), reason })?;
    Ok(key.as_ref().map(Sealer::new))
}

/// What accounts share while they are made.
struct Making<'all> {
    own: OwnIds,
    keys: BTreeSet<String>,
    files: &'all BTreeMap<String, Arc<ConnectorFile>>,
    clock: &'all Clock,
    metrics: Metrics,
}

impl Making<'_> {
    fn account(&mut self, config: &AccountConfig, home: &Home) -> Result<Arc<Account>, Error> {
        let fail = |reason: String| Error::Account { account: config.key.clone(), reason };
        if !self.keys.insert(config.key.clone()) {
            return Err(fail("two accounts have this key; rename one".into()));
        }
        let file = self.files.get(&config.connector).ok_or_else(|| {
            let known: Vec<&str> = self.files.keys().map(String::as_str).collect();
            fail(format!("no connector `{}`; there are {}", config.connector, known.join(", ")))
        })?;
        let made = Account::new(file.clone(), config.clone(), self.own.clone(), self.clock.clone(), self.metrics.clone())?;
        // What cannot be read in its listening queries is said now, not when it runs.
        Poller::of(&made, home)?;
        Ok(made)
    }
}

/// All accounts at work.
#[derive(Debug)]
pub struct Connect {
    accounts: Vec<Arc<Account>>,
    home: Home,
    clock: Clock,
    wishes: watch::Sender<Wishes>,
}

/// How often people's wishes are looked for.
const LOOK_FOR_WISHES: Duration = Duration::from_secs(1);

impl Connect {
    /// Puts accounts, their connector files and where mentions go together; calls nobody yet.
    ///
    /// # Errors
    /// The first account whose configuration is wrong.
    pub fn new(
        config: &Config,
        files: &BTreeMap<String, Arc<ConnectorFile>>,
        home: Home,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Connect, Error> {
        let sealer = sealer(config)?;
        let mut made = Making { own: OwnIds::default(), keys: BTreeSet::new(), files, clock: &clock, metrics };
        let accounts = config.accounts.iter().map(|account| {
            let account = made.account(account, &home)?;
            account.keep_at(&home, sealer.as_ref());
            Ok(account)
        });
        let accounts = accounts.collect::<Result<_, Error>>()?;
        Ok(Connect { accounts, home, clock, wishes: watch::Sender::default() })
    }

    /// The accounts, for those who step through them by hand.
    pub fn accounts(&self) -> &[Arc<Account>] {
        &self.accounts
    }

    /// All streams of all accounts. Only one account of a source looks again at known posts: the desk
    /// watches by source.
    pub fn pollers(&self) -> Vec<Poller> {
        self.accounts.iter().flat_map(|account| self.pollers_of(account, &[])).collect()
    }

    /// What is sent to the accounts.
    ///
    /// # Errors
    /// A secret that cannot be read.
    pub fn hooks(&self) -> Result<Hooks, Error> {
        Hooks::new(&self.accounts, self.home.clone(), self.wishes.subscribe())
    }

    /// The replies of all accounts.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.home.clone(), &self.accounts)
    }

    /// Shows to people what a crash left in doubt of accounts that can reply no more.
    pub async fn give_up_orphans(&self) {
        if let Err(error) = self.outbox().give_up_orphans().await {
            tracing::warn!("replies in doubt of accounts that are gone stay in doubt: {error}");
        }
    }

    /// Polls and delivers for one account until `shutdown` turns true. `replies` changes when a reply was
    /// queued. A walk is dropped where it stands, for its cursor has not moved; a reply that is on its way is
    /// waited for. Each account delivers by itself, so that one slow platform holds up no other. What was found
    /// in doubt is settled after `doubts_after`: a node that was lost may still be in the middle of a call.
    pub async fn run(
        self: Arc<Self>,
        account: String,
        replies: watch::Receiver<u64>,
        doubts_after: Duration,
        shutdown: watch::Receiver<bool>,
    ) {
        let mut tasks = JoinSet::new();
        for account in self.accounts.iter().filter(|known| known.config.key == account) {
            let outbox = Outbox::new(self.home.clone(), std::slice::from_ref(account));
            tasks.spawn(keep_delivering(outbox, self.clock.clone(), replies.clone(), doubts_after, shutdown.clone()));
        }
        tasks.spawn(self.read_as_wished(account, shutdown));
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!("a connector task failed: {error}");
            }
        }
    }
}

impl Connect {
    /// Reads for one account while nobody has paused it; begins anew, where each stream left off, when somebody asks
    /// for a look now or for other things to be listened for.
    async fn read_as_wished(self: Arc<Self>, account: String, mut shutdown: watch::Receiver<bool>) {
        let mut wishes = self.wishes.subscribe();
        let wish = |wishes: &Wishes| -> (bool, Option<Time>, Vec<Listen>) {
            let heard = wishes.listening.iter().filter(|one| one.account == account);
            let heard = heard.map(|one| Listen { name: one.name.clone(), text: one.query.clone() }).collect();
            (wishes.paused.contains(&account), wishes.tests.get(&account).copied(), heard)
        };
        loop {
            let wished = wish(&wishes.borrow_and_update());
            let (paused, _, heard) = &wished;
            let mut tasks = JoinSet::new();
            if !paused {
                let known = self.accounts.iter().find(|known| known.config.key == account);
                let pollers = known.map(|known| self.pollers_of(known, heard)).unwrap_or_default();
                let (live, walked): (Vec<Poller>, Vec<Poller>) = pollers.into_iter().partition(|one| one.live().is_some());
                for poller in walked {
                    tasks.spawn(keep_polling(poller, self.clock.clone(), shutdown.clone()));
                }
                for listeners in by_connection(live) {
                    tasks.spawn(keep_listening(listeners, self.clock.clone(), shutdown.clone()));
                }
            }
            let other = async {
                // None will ever come when nobody can tell any more.
                if wishes.wait_for(|wishes| wish(wishes) != wished).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = stopped(&mut shutdown) => {
                    tasks.join_all().await;
                    return;
                }
                () = other => tasks.shutdown().await,
            }
        }
    }

    /// The streams of an account that listens for `heard` besides what its configuration says.
    fn pollers_of(&self, account: &Arc<Account>, heard: &[Listen]) -> Vec<Poller> {
        let kept = account.config.listen.iter().filter(|one| !heard.iter().any(|other| other.name == one.name));
        let all: Vec<Listen> = kept.chain(heard).cloned().collect();
        let pollers = Poller::hearing(account, &self.home, &all).unwrap_or_else(|error| {
            tracing::error!(account = account.config.key, "what was saved to listen for is left out: {error}");
            Poller::of(account, &self.home).unwrap_or_default()
        });
        let first = self.accounts.iter().find(|one| one.source == account.source);
        let revisits = first.is_some_and(|first| Arc::ptr_eq(first, account));
        pollers.into_iter().filter(|poller| revisits || !poller.revisits()).collect()
    }

    /// Tells people what the configuration has accounts listen for.
    async fn tell_listening(&self) {
        for account in &self.accounts {
            let text = serde_json::to_string(&account.config.listen).unwrap_or_default();
            if let Err(error) = self.home.save_state(&account.config.key, LISTEN, &text).await {
                tracing::debug!("what is listened for could not be told: {error}");
            }
        }
    }

    /// Looks for what people want of the sources, until `shutdown` turns true.
    pub async fn follow_wishes(&self, mut shutdown: watch::Receiver<bool>) {
        self.tell_listening().await;
        loop {
            match self.home.wishes().await {
                Ok(wishes) => {
                    self.wishes.send_if_modified(|known| {
                        let changed = *known != wishes;
                        *known = wishes;
                        changed
                    });
                }
                Err(error) => tracing::debug!("could not look for what people want of the sources: {error}"),
            }
            tokio::select! {
                () = stopped(&mut shutdown) => return,
                () = self.clock.sleep(LOOK_FOR_WISHES) => {}
            }
        }
    }
}

/// Resolves when the desk shuts down, or is gone.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _gone = shutdown.wait_for(|stop| *stop).await;
}

/// What was said in the log of a stream, so that it is said once, not at each attempt.
struct Log {
    account: String,
    stream: String,
    well: bool,
}

impl Log {
    fn of(poller: &Poller) -> Log {
        Log { account: poller.account().config.key.clone(), stream: poller.stream_name().to_owned(), well: true }
    }

    /// The server has no live stream; it is walked.
    fn note_none(&self) {
        let Log { account, stream, .. } = self;
        tracing::info!(%account, %stream, "the server of {account} has no live stream for {stream}: it is walked");
    }

    fn note<T>(&mut self, result: &Result<T, Error>) {
        let Log { account, stream, well } = self;
        match result {
            Ok(_) if !*well => {
                tracing::info!(%account, %stream, "the stream is well again");
                *well = true;
            }
            Ok(_) | Err(Error::Spent(_)) => {}
            // One that only a person can help is told every time.
            Err(error) if !error.is_retryable() => {
                tracing::error!(%account, %stream, "stream {stream} of {account} stands still until somebody helps: {error}");
                *well = false;
            }
            Err(error) if *well => {
                tracing::warn!(%account, %stream, "stream {stream} of {account} failed and will be tried again: {error}");
                *well = false;
            }
            Err(_) => {}
        }
    }
}

async fn keep_polling(mut poller: Poller, clock: Clock, mut shutdown: watch::Receiver<bool>) {
    let mut log = Log::of(&poller);
    loop {
        let result = tokio::select! {
            () = stopped(&mut shutdown) => return,
            result = walk_when_due(&mut poller, &clock) => result,
        };
        log.note(&result);
    }
}

async fn walk_when_due(poller: &mut Poller, clock: &Clock) -> Result<Walk, Error> {
    if !poller.walks() {
        return std::future::pending().await;
    }
    clock.sleep_until(poller.next_at()).await;
    poller.step().await
}

/// Holds a live connection open, and walks the streams beside it: at once where a connection has opened or broken,
/// slowly while there is one. The walks of those who listen to one connection take turns.
async fn keep_listening(mut listeners: Vec<Poller>, clock: Clock, mut shutdown: watch::Receiver<bool>) {
    let Some(live) = listeners.first().and_then(Poller::live) else { return };
    let (mut logs, mut live_log) = (listeners.iter().map(Log::of).collect::<Vec<_>>(), Log::of(&listeners[0]));
    let (mut connection, mut failures, mut open_at) = (None, 0, clock.now());
    loop {
        let due = listeners.iter().enumerate().min_by_key(|(_, one)| one.next_walk());
        let (next, walk_at) = due.map_or((0, Time::NEVER), |(at, one)| (at, one.next_walk()));
        let broke: Option<Error> = if let Some(open) = &mut connection {
            let open: &mut Connection = open;
            tokio::select! {
                () = stopped(&mut shutdown) => return,
                heard = open.hear() => {
                    failures = 0;
                    // Not among the branches: one that is given up would lose what was heard.
                    match heard {
                        Ok(batch) => open.take(&listeners, &live, batch).await.err(),
                        Err(error) => Some(error),
                    }
                }
                () = clock.sleep_until(walk_at) => {
                    logs[next].note(&listeners[next].step().await);
                    None
                }
            }
        } else {
            tokio::select! {
                () = stopped(&mut shutdown) => return,
                () = clock.sleep_until(open_at) => match Connection::open(&listeners, &live).await {
                    Ok(open) => {
                        connection = Some(open);
                        listeners.iter_mut().for_each(|one| one.set_live(true));
                        live_log.note(&Ok(()));
                        listeners[0].note_live(&Ok(Walk::default()), clock.now()).await;
                        None
                    }
                    Err(error) => Some(error),
                },
                () = clock.sleep_until(walk_at) => {
                    logs[next].note(&listeners[next].step().await);
                    None
                }
            }
        };
        if let Some(error) = broke {
            connection = None;
            listeners.iter_mut().for_each(|one| one.set_live(false));
            failures += 1;
            let now = clock.now();
            open_at = match &error {
                Error::Spent(until) | Error::Status { until: Some(until), .. } => *until,
                // Not every server of a kind has streams: the walk goes on without.
                Error::Status { action: Do::Skip | Do::Stop, .. } => now.plus(NO_STREAM),
                error if !error.is_retryable() => now.plus(NO_STREAM),
                _ => now.plus(back_off(failures)),
            };
            let result = Err(error);
            match &result {
                // Nothing is wrong, and nobody need do anything.
                Err(Error::Status { action: Do::Skip, .. }) => live_log.note_none(),
                result => live_log.note(result),
            }
            listeners[0].note_live(&result, open_at).await;
        }
    }
}

async fn keep_delivering(
    mut outbox: Outbox,
    clock: Clock,
    mut replies: watch::Receiver<u64>,
    doubts_after: Duration,
    mut shutdown: watch::Receiver<bool>,
) {
    let (mut announced, mut settled, mut failures) = (false, false, 0);
    let settle_at = clock.now().plus(doubts_after);
    while !*shutdown.borrow() {
        let result = async {
            if !announced {
                outbox.announce().await?;
                announced = true;
            }
            if !settled && clock.now() >= settle_at {
                outbox.settle().await?;
                settled = true;
            }
            // One at a time: between two the desk may shut down.
            if outbox.step().await? {
                return Ok(clock.now());
            }
            outbox.next_due(clock.now()).await
        };
        let next = match result.await {
            Ok(next) => {
                failures = 0;
                if settled { next } else { next.min(settle_at) }
            }
            Err(error) => {
                failures += 1;
                tracing::warn!("the outbox waits for the desk: {error}");
                clock.now().plus(back_off_at_home(failures))
            }
        };
        tokio::select! {
            () = stopped(&mut shutdown) => return,
            () = clock.sleep_until(next) => {}
            changed = replies.changed() => if changed.is_err() { return },
        }
    }
}

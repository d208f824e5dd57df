//! The loops: every stream of every account, and the outbox, until the desk shuts down.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet};

use super::{
    Account, Config, ConnectorFile, Error, FileError, Home, Hooks, Metrics, Outbox, OwnIds, Poller, limits::back_off_at_home,
    toml_files,
};
use crate::clock::Clock;

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
            Ok(file) if file.unready(&path).is_some() => errors.extend(file.unready(&path)),
            Ok(file) => {
                files.insert(file.connector.clone(), Arc::new(file));
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

/// All accounts at work.
#[derive(Debug)]
pub struct Connect {
    accounts: Vec<Arc<Account>>,
    home: Home,
    clock: Clock,
}

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
        let own = OwnIds::default();
        let mut keys = BTreeSet::new();
        let mut accounts = Vec::with_capacity(config.accounts.len());
        for account in &config.accounts {
            let fail = |reason: String| Error::Account { account: account.key.clone(), reason };
            if !keys.insert(&account.key) {
                return Err(fail("two accounts have this key; rename one".into()));
            }
            let file = files.get(&account.connector).ok_or_else(|| {
                let known: Vec<&str> = files.keys().map(String::as_str).collect();
                fail(format!("no connector `{}`; there are {}", account.connector, known.join(", ")))
            })?;
            accounts.push(Account::new(file.clone(), account.clone(), own.clone(), clock.clone(), metrics.clone())?);
        }
        Ok(Connect { accounts, home, clock })
    }

    /// The accounts, for those who step through them by hand.
    pub fn accounts(&self) -> &[Arc<Account>] {
        &self.accounts
    }

    /// All streams of all accounts. Only one account of a source looks again at known posts: the desk
    /// watches by source.
    pub fn pollers(&self) -> Vec<Poller> {
        let mut sources = BTreeSet::new();
        let pollers = self.accounts.iter().flat_map(|account| Poller::of(account, &self.home));
        pollers
            .filter(|poller| {
                !poller.revisits() || sources.insert((poller.account().source.clone(), poller.stream_name().to_owned()))
            })
            .collect()
    }

    /// What is sent to the accounts.
    ///
    /// # Errors
    /// A secret that cannot be read.
    pub fn hooks(&self) -> Result<Hooks, Error> {
        Hooks::new(&self.accounts, self.home.clone())
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
        for poller in self.pollers().into_iter().filter(|poller| poller.account().config.key == account) {
            tasks.spawn(keep_polling(poller, self.clock.clone(), shutdown.clone()));
        }
        for account in self.accounts.iter().filter(|known| known.config.key == account) {
            let outbox = Outbox::new(self.home.clone(), std::slice::from_ref(account));
            tasks.spawn(keep_delivering(outbox, self.clock.clone(), replies.clone(), doubts_after, shutdown.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!("a connector task failed: {error}");
            }
        }
    }
}

/// Resolves when the desk shuts down, or is gone.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _gone = shutdown.wait_for(|stop| *stop).await;
}

async fn keep_polling(mut poller: Poller, clock: Clock, mut shutdown: watch::Receiver<bool>) {
    let mut well = true;
    loop {
        let result = tokio::select! {
            () = stopped(&mut shutdown) => return,
            result = async {
                clock.sleep_until(poller.next_at()).await;
                poller.step().await
            } => result,
        };
        let (account, stream) = (poller.account().config.key.clone(), poller.stream_name().to_owned());
        match result {
            Ok(_) if !well => {
                tracing::info!(%account, %stream, "the stream is well again");
                well = true;
            }
            Ok(_) | Err(Error::Spent(_)) => {}
            // Told once, not at each attempt; one that only a person can help is told every time.
            Err(error) if !error.is_retryable() => {
                tracing::error!(%account, %stream, "stream {stream} of {account} stands still until somebody helps: {error}");
                well = false;
            }
            Err(error) if well => {
                tracing::warn!(%account, %stream, "stream {stream} of {account} failed and will be tried again: {error}");
                well = false;
            }
            Err(_) => {}
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

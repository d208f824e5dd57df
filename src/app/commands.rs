//! Commands on a live desk: what arrives over the control socket of the data directory.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail};
use tokio::sync::watch;

use super::engines;
use crate::{
    backup,
    bus::Bus,
    config::Config,
    control::{self, Answer, Request},
    desk::Desk,
    index::Reindex,
    learn,
    pipeline::Pipeline,
    replay,
    search::Search,
};

/// What the commands on a live desk need.
pub(super) struct Commands {
    pub(super) bus: Arc<Bus>,
    pub(super) desk: Arc<Desk>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) config: Config,
    /// What a sign-in link begins with.
    pub(super) base: String,
    /// The index and who keeps it, where this process has one.
    pub(super) index: Option<(Arc<Search>, Reindex)>,
    pub(super) backup: Arc<backup::Live>,
}

/// Answers commands until `stop` turns true.
pub(super) async fn serve(directory: PathBuf, commands: Arc<Commands>, mut stop: watch::Receiver<bool>) {
    let handler: control::Handler = Arc::new(move |request| {
        let commands = Arc::clone(&commands);
        Box::pin(async move {
            match commands.run(request).await {
                Ok(value) => Answer::Ok(value),
                Err(error) => Answer::Error(format!("{error:#}")),
            }
        })
    });
    let stopped = async move {
        // A dropped sender means the same as a signal.
        drop(stop.wait_for(|stop| *stop).await);
    };
    if let Err(error) = control::serve(&directory, handler, stopped).await {
        tracing::error!(error = &error as &dyn std::error::Error, "commands cannot reach this desk");
    }
}

impl Commands {
    async fn run(&self, request: Request) -> Result<serde_json::Value> {
        match request.command.as_str() {
            "search" => {
                let (search, _) = self.index()?;
                crate::cli::search(self.desk.store(), search, &request.args).await
            }
            "rules publish" => {
                let rules = engines::publish(self.desk.store(), &self.config).await?;
                let version = rules.judges.version;
                self.desk.set_policies(rules.policies);
                self.pipeline.set_judges(rules.judges);
                tracing::info!(version, "rules published");
                Ok(serde_json::json!({ "version": version }))
            }
            "feedback" | "model list" | "model file" => {
                learn::on_store(self.desk.store(), &self.config.data.directory, &request.command, &request.args).await
            }
            "model use" | "model rollback" => {
                let data = &self.config.data.directory;
                let answer = learn::on_store(self.desk.store(), data, &request.command, &request.args).await?;
                let rules = engines::newest_rules(self.desk.store(), data).await?;
                tracing::info!(model = rules.judges.model, choice = rules.judges.choice, "another model is in use");
                self.pipeline.set_judges(rules.judges);
                Ok(answer)
            }
            "user add" => crate::cli::add_user(&self.desk, &request.args, &self.base).await,
            "reindex" => {
                let documents = self.index()?.1.run().await?;
                Ok(serde_json::json!({ "documents": documents }))
            }
            "backup" => {
                backup::embedded(&self.config)?;
                let order = serde_json::from_value(request.args)?;
                self.backup.begin(order, Arc::clone(&self.bus), self.desk.clock().clone())
            }
            "backup status" => self.backup.status(&serde_json::from_value::<backup::Order>(request.args)?.to),
            "replay dead" | "replay history" => {
                let seen = |count| tracing::info!(count, "{} goes on", request.command);
                replay::run(&request, &self.bus, &self.desk, self.pipeline.judges(), &seen).await
            }
            other => bail!("this desk has no command \"{other}\"; it may be older than your moksori program"),
        }
    }

    fn index(&self) -> Result<&(Arc<Search>, Reindex)> {
        self.index.as_ref().context("this process keeps no index: ask one with the role index or web")
    }
}

//! Models by version in the store, and what agents corrected: what a running desk and the command line both do.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    classify::model::Model,
    mention::MentionId,
    queue::{self, ModelRole, Store, Tx, Urgency},
};

/// Accepted corrections read at a time.
const PAGE: u32 = 500;

/// Does on a store, whose process keeps its files in `data`, what `moksori feedback` and `moksori model` ask, whether the desk runs or not.
///
/// # Errors
/// When the store cannot be read or written, or there is no such model.
pub async fn on_store(store: &Store, data: &Path, command: &str, args: &Value) -> Result<Value> {
    match command {
        "feedback" => Ok(json!({ "lines": feedback(store).await? })),
        "model list" => list(store).await,
        "model file" => located(store, data, args).await,
        "model use" => choose(store, args).await,
        "model rollback" => rollback(store).await,
        other => bail!("there is no command \"{other}\" on models"),
    }
}

/// Every accepted correction, a line of JSON each.
async fn feedback(store: &Store) -> Result<Vec<String>> {
    let (mut lines, mut after) = (Vec::new(), MentionId(0));
    loop {
        let page = store.read(move |reader| reader.accepted_feedback(after, PAGE)).await?;
        let Some(last) = page.last() else { return Ok(lines) };
        after = last.mention;
        lines.extend(page.iter().map(|one| one.line().trim_end().to_owned()));
    }
}

async fn list(store: &Store) -> Result<Value> {
    let (models, used) = store.read(|reader| Ok::<_, queue::Error>((reader.models()?, reader.models_in_use()?))).await?;
    let models = models.into_iter().map(|model| {
        let role = match Some(model.version) {
            version if version == used.judge => "judge",
            version if version == used.shadow => "shadow",
            _ => "",
        };
        json!({
            "version": model.version,
            "role": role,
            "built_in": model.built_in,
            "added_at": model.added_at.to_string(),
            "judged_at": model.judged_at.map(|at| at.to_string()),
            "card": serde_json::from_str::<Value>(&model.card).unwrap_or_default(),
        })
    });
    Ok(json!({ "models": models.collect::<Vec<_>>() }))
}

/// Lets a model judge, or be asked beside; `{role, file | version}`, neither for nobody.
async fn choose(store: &Store, args: &Value) -> Result<Value> {
    let role = if args["role"] == "shadow" { ModelRole::Shadow } else { ModelRole::Judge };
    let version = match (args["file"].as_str(), args["version"].as_u64()) {
        (Some(file), _) => Some(add(store, Path::new(file)).await?),
        (None, Some(version)) => {
            let version = u32::try_from(version)?;
            let known = store.read(move |reader| reader.model_bytes(version)).await?.is_some();
            if !known {
                bail!("there is no model {version}: `moksori model list` says which there are");
            }
            Some(version)
        }
        (None, None) if role == ModelRole::Shadow => None,
        (None, None) => bail!("say which model is to judge"),
    };
    store.write(Urgency::Person, move |tx| tx.choose_model(role, version)).await?;
    Ok(json!({ "version": version, "role": role.as_str() }))
}

/// The file of a model: of the one that judges where no `version` is asked for, and null for the program's own.
async fn located(store: &Store, data: &Path, args: &Value) -> Result<Value> {
    let version = match args["version"].as_u64() {
        Some(version) => Some(u32::try_from(version)?),
        None => store.read(|reader| reader.models_in_use()).await?.judge,
    };
    let path = match version {
        Some(version) => file(store, data, version).await?,
        None => None,
    };
    Ok(json!({ "file": path, "version": version }))
}

async fn rollback(store: &Store) -> Result<Value> {
    let former = store.read(|reader| reader.former_judges()).await?;
    let version = *former.first().context("no other model has judged here before")?;
    store.write(Urgency::Person, move |tx| tx.choose_model(ModelRole::Judge, version)).await?;
    Ok(json!({ "version": version, "role": "judge" }))
}

/// Registers the model that this program carries, and lets it judge where none was promoted: where no model
/// judges yet, or the one of an older program.
///
/// # Errors
/// When the store cannot be read or written, or the program carries no model that it can use.
pub async fn ship(store: &Store) -> Result<()> {
    let shipped = Model::shipped()?;
    let (digest, card) = (digest(shipped.as_bytes()), serde_json::to_string(shipped.card())?);
    let (models, used) = store.read(|reader| Ok::<_, queue::Error>((reader.models()?, reader.models_in_use()?))).await?;
    let judge = models.iter().find(|model| Some(model.version) == used.judge);
    if judge.is_some_and(|judge| !judge.built_in || judge.digest == digest) {
        return Ok(());
    }
    let shipping = move |tx: &mut Tx<'_>| {
        // Its bytes are the program's.
        let version = tx.add_model(&digest, true, &card, &[])?;
        tx.choose_model(ModelRole::Judge, Some(version))
    };
    Ok(store.write(Urgency::Person, shipping).await?)
}

/// Puts a model into the store if it can be used, and says under which number.
async fn add(store: &Store, path: &Path) -> Result<u32> {
    let model = Model::open(path).with_context(|| format!("{} is no model that can be used", path.display()))?;
    // What was verified, whatever stands under this name by now.
    let bytes = model.as_bytes().to_vec();
    let (digest, card) = (digest(&bytes), serde_json::to_string(model.card())?);
    Ok(store.write(Urgency::Person, move |tx| tx.add_model(&digest, false, &card, &bytes)).await?)
}

fn digest(bytes: &[u8]) -> String {
    crate::text::hex(&Sha256::digest(bytes)[..16])
}

/// Opens a model of the store. Its bytes go into a file of the data directory, from which they are mapped; one
/// that came with a program is this program's own.
///
/// # Errors
/// When there is none of that number, or it is damaged or of another version of the program.
pub async fn open(store: &Store, data: &Path, version: u32) -> Result<Arc<Model>> {
    match file(store, data, version).await? {
        Some(path) => Ok(Arc::new(Model::open(&path).with_context(|| format!("model {version} cannot be used"))?)),
        None => Ok(Model::shipped()?),
    }
}

/// The file of a model in the data directory, written if it is not there yet; none for what came with a program.
async fn file(store: &Store, data: &Path, version: u32) -> Result<Option<PathBuf>> {
    let bytes = store.read(move |reader| reader.model_bytes(version)).await?;
    let bytes = bytes.with_context(|| format!("there is no model {version}: `moksori model list` says which there are"))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let directory = data.join("models");
    std::fs::create_dir_all(&directory).with_context(|| format!("failed to make {}", directory.display()))?;
    let path = directory.join(format!("{}.bin", digest(&bytes)));
    // What is there under this name has these bytes, unless writing it was cut off.
    if std::fs::metadata(&path).map(|file| file.len()).ok() != Some(bytes.len() as u64) {
        let fresh = directory.join(format!("{}.new", crate::clock::random_word::<6>()));
        std::fs::write(&fresh, &bytes).with_context(|| format!("failed to write {}", fresh.display()))?;
        std::fs::rename(&fresh, &path).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(Some(path))
}

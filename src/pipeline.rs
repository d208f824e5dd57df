//! The journey of one mention, from the bus to its case, as one page.
//!
//! A batch is read from the bus; each record is parsed, normalised, masked, classified and dispatched;
//! the desk takes the batch in as one transaction together with the position, so that a batch read twice
//! is stored once. What cannot be handled becomes a dead letter and the stream goes on.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError, RwLock, mpsc},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    bus::{Bus, Position, Record},
    classify::{Classifier, Input},
    clock::Clock,
    crash,
    desk::{self, Desk, Finding, Intake, Judged, Taken},
    dispatch::{Dispatcher, Facts},
    mention::{Envelope, Label, Lang, Mark, Op, Side, Verdict},
    text,
};

/// The name under which the pipeline's position is kept.
pub const CONSUMER: &str = "triage";
/// The embedded bus has one partition.
const PART: i64 = 0;

/// Texts that came after their delete leave the bus within this time.
const ERASE_EVERY: Duration = Duration::from_secs(60);

/// Settings of the pipeline.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Most mentions in one transaction.
    pub batch: usize,
}

/// The rules that judge, of one version.
pub struct Judges {
    /// The published version.
    pub version: u32,
    /// Label, language, reasons.
    pub classifier: Classifier,
    /// Case, fold or hold; for whom.
    pub dispatcher: Dispatcher,
}

crate::metrics! {
    /// What the pipeline counts.
    pub struct Metrics {
        /// Records read from the bus.
        read: IntCounter = "moksori_pipeline_records_total",
        /// Records that became dead letters. Look at their reasons.
        dead: IntCounter = "moksori_pipeline_dead_letters_total",
        /// Records of the bus that are not taken in yet. Should return to 0.
        lag: IntGauge = "moksori_pipeline_lag_records",
        /// Verdicts by label and language; `unsorted` where the classifier abstained.
        verdicts: IntCounterVec = "moksori_classify_verdicts_total" ["label", "lang"],
        /// Version of the rules in force.
        rules_version: IntGauge = "moksori_rules_version",
    }
}

/// Reads the bus and feeds the desk.
pub struct Pipeline {
    bus: Arc<Bus>,
    desk: Arc<Desk>,
    judges: RwLock<Arc<Judges>>,
    clock: Clock,
    config: Config,
    metrics: Metrics,
    erasure: Notify,
    judging: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

/// What stopped a batch for now: it is tried again whatever it was.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The thread that judges, until the pipeline is gone. Always the same one, since regular expressions keep
/// their working memory by thread: a pool of threads would fill it once for each.
fn judging_thread() -> mpsc::Sender<Job> {
    let (sender, jobs) = mpsc::channel::<Job>();
    std::thread::spawn(move || jobs.into_iter().for_each(|job| job()));
    sender
}

/// The judging thread is gone; what was in its hands is read from the bus again.
#[derive(Debug, thiserror::Error)]
#[error("the thread that judges has ended")]
struct Gone;

impl Pipeline {
    /// A pipeline with the rules in force.
    pub fn new(
        bus: Arc<Bus>,
        desk: Arc<Desk>,
        judges: Judges,
        config: Config,
        clock: Clock,
        metrics: Metrics,
    ) -> Arc<Pipeline> {
        metrics.rules_version.set(judges.version.into());
        let judges = RwLock::new(Arc::new(judges));
        let (erasure, judging) = (Notify::new(), judging_thread());
        Arc::new(Pipeline { bus, desk, judges, clock, config, metrics, erasure, judging })
    }

    /// Puts newly published rules in force, from the next batch on.
    pub fn set_judges(&self, judges: Judges) {
        self.metrics.rules_version.set(judges.version.into());
        *self.judges.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(judges);
    }

    /// The rules in force.
    pub fn judges(&self) -> Arc<Judges> {
        Arc::clone(&self.judges.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes mentions in until `stop` turns true; the batch in hand is finished first.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let from = match self.desk.store().read(|reader| reader.mark(CONSUMER, PART)).await {
                Ok(mark) => Position(mark.next),
                Err(error) => {
                    self.wait_after(&error, "read the position").await;
                    continue;
                }
            };
            // A log that lost its unsynced end in a crash goes on after what is stored already.
            self.bus.go_on_from(from);
            let mut from = from;
            loop {
                let batch = tokio::select! {
                    batch = self.bus.read(from, self.config.batch) => batch,
                    _ = stop.changed() => return,
                };
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(error) => {
                        self.wait_after(&error, "read the bus").await;
                        break;
                    }
                };
                self.metrics.lag.set(self.bus.end().0 - from.0);
                let deletes = match self.take(from, batch.next, batch.records).await {
                    Ok(deletes) => deletes,
                    Err(error) => {
                        self.wait_after(&*error, "take in a batch").await;
                        break;
                    }
                };
                if deletes {
                    self.erasure.notify_one();
                }
                from = batch.next;
                self.metrics.lag.set(self.bus.end().0 - from.0);
            }
        }
    }

    async fn wait_after(&self, error: &(dyn std::error::Error + Send + Sync + 'static), doing: &str) {
        tracing::error!(error = error as &(dyn std::error::Error + 'static), "could not {doing}, trying again");
        self.clock.sleep(Duration::from_millis(500)).await;
    }

    /// Judges a batch and has it stored. When the store refuses the data, halves find the record that it
    /// refuses, which becomes a dead letter; when the store is merely unwell, the caller tries again.
    async fn take(self: &Arc<Self>, from: Position, next: Position, records: Vec<Record>) -> Result<bool, Failure> {
        crash::point("judging");
        let intake = Arc::new(self.judge(from, next, records).await?);
        crash::point("judging");
        let deletes = intake.mentions.iter().any(|judged| judged.envelope.op == Op::Delete);
        let mut halves = vec![intake];
        while let Some(intake) = halves.pop() {
            match self.desk.take_in(Arc::clone(&intake)).await {
                Ok(Taken::Stored) => {}
                Ok(Taken::Stale) => tracing::warn!(position = intake.from.next, "a batch was stored before"),
                Err(error) if error.is_retryable() || error.is_closed() || intake.mentions.is_empty() => {
                    return Err(error.into());
                }
                Err(error) if intake.mentions.len() == 1 => {
                    tracing::error!(
                        position = intake.from.next,
                        error = &error as &dyn std::error::Error,
                        "a mention cannot be stored"
                    );
                    self.metrics.dead.inc();
                    halves.push(Arc::new(bury(&intake, &error)));
                }
                Err(_) => {
                    let (first, second) = split(&intake);
                    halves.extend([second, first].map(Arc::new));
                }
            }
        }
        Ok(deletes)
    }

    async fn judge(self: &Arc<Self>, from: Position, next: Position, records: Vec<Record>) -> Result<Intake, Gone> {
        self.metrics.read.inc_by(u64::try_from(records.len()).unwrap_or(0));
        let mut intake = Intake {
            consumer: CONSUMER,
            part: PART,
            from: embedded(from.0),
            to: embedded(next.0),
            mentions: Vec::with_capacity(records.len()),
            dead: Vec::new(),
        };
        let mut envelopes = Vec::with_capacity(records.len());
        for record in records.into_iter().filter(|record| !record.erased) {
            match Envelope::parse(&record.bytes) {
                Ok(envelope) => envelopes.push((record, envelope)),
                Err(reason) => {
                    self.metrics.dead.inc();
                    intake.dead.push((record.position.0, reason, record.bytes));
                }
            }
        }
        let answers = self.labels_of_parents(&envelopes).await;
        let pipeline = Arc::clone(self);
        let (answer, judged) = oneshot::channel();
        let job: Job = Box::new(move || {
            pipeline.judge_all(envelopes, answers, &mut intake);
            if answer.send(intake).is_err() {
                tracing::debug!("a judged batch came when the pipeline had stopped");
            }
        });
        self.judging.send(job).map_err(|_| Gone)?;
        judged.await.map_err(|_| Gone)
    }

    /// The stored label of each post that somebody answers.
    async fn labels_of_parents(&self, envelopes: &[(Record, Envelope)]) -> HashMap<String, Label> {
        let asked: Vec<(String, String)> =
            envelopes.iter().filter_map(|(_, envelope)| Some((envelope.source.clone(), envelope.parent.clone()?))).collect();
        if asked.is_empty() {
            return HashMap::new();
        }
        let keys: Vec<String> = asked.iter().map(|(source, id)| format!("{source}/{id}")).collect();
        match self.desk.store().read(move |reader| reader.labels(&asked)).await {
            Ok(labels) => keys.into_iter().zip(labels).filter_map(|(key, label)| Some((key, label?))).collect(),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "judging a batch without its threads");
                HashMap::new()
            }
        }
    }

    fn judge_all(&self, envelopes: Vec<(Record, Envelope)>, mut labels: HashMap<String, Label>, intake: &mut Intake) {
        let judges = self.judges();
        let threads = envelopes.iter().any(|(_, envelope)| envelope.parent.is_some());
        for (record, envelope) in envelopes {
            // One text that crashes a rule must not take its batch along.
            let judge = AssertUnwindSafe(|| self.judge_one(&judges, record.position, envelope, &labels));
            let Ok(judged) = std::panic::catch_unwind(judge) else {
                self.metrics.dead.inc();
                intake.dead.push((record.position.0, "judging it crashed".to_owned(), record.bytes));
                continue;
            };
            if threads {
                // A parent may have come in the same batch.
                let envelope = &judged.envelope;
                for id in [Some(&envelope.native_id), envelope.local_ref.as_ref()].into_iter().flatten() {
                    labels.insert(format!("{}/{id}", envelope.source), judged.verdict.label);
                }
            }
            intake.mentions.push(judged);
        }
    }

    /// One mention: normalise, mask, find its language, classify, dispatch for each brand that caught it.
    fn judge_one(&self, judges: &Judges, position: Position, envelope: Envelope, labels: &HashMap<String, Label>) -> Judged {
        let normalised = text::normalise(&envelope.text);
        let masked = text::mask(&normalised);
        let original = (masked != normalised).then(|| envelope.text.clone());
        let masked = masked.into_owned();
        let addressed = envelope.matched.iter().any(|matched| matched.addressed);
        let verdict = if envelope.op == Op::Upsert && envelope.side == Side::Customer {
            let answers =
                envelope.parent.as_ref().and_then(|parent| labels.get(&format!("{}/{parent}", envelope.source)).copied());
            let verdict =
                judges.classifier.read(&Input { text: &masked, lang_hint: envelope.lang.as_deref(), answers, addressed });
            let label = if verdict.unsure { "unsorted" } else { verdict.label.as_str() };
            self.metrics.verdicts.with_label_values(&[label, verdict.lang.as_str()]).inc();
            verdict
        } else {
            let lang = envelope.lang.as_deref().and_then(Lang::parse).unwrap_or_default();
            Verdict { lang, label: Label::Other, confidence: 1.0, unsure: false, reasons: Vec::new() }
        };
        let findings = self.dispatch(judges, &envelope, &masked, &verdict);
        let signature = if envelope.op == Op::Upsert { text::signature(&masked) } else { 0 };
        Judged { position: position.0, signature, masked, original, verdict, findings, rules: judges.version, envelope }
    }

    fn dispatch(&self, judges: &Judges, envelope: &Envelope, masked: &str, verdict: &Verdict) -> Vec<Finding> {
        let catalog = self.desk.store().catalog();
        let mut findings: Vec<Finding> = Vec::with_capacity(envelope.matched.len());
        for matched in &envelope.matched {
            let Some(account) = catalog.account_by_key(&matched.account) else { continue };
            let Some(brand) = catalog.brand(account.brand) else { continue };
            if findings.iter().any(|finding| finding.brand == brand.id) {
                continue;
            }
            let decision = judges.dispatcher.decide(&Facts {
                label: verdict.label,
                confidence: verdict.confidence,
                unsure: verdict.unsure,
                lang: verdict.lang,
                platform: envelope.platform(),
                account: &account.key,
                brand: &brand.key,
                text: masked,
                reach: envelope.author.as_ref().and_then(|author| author.reach).unwrap_or(0),
                side: envelope.side,
                addressed: matched.addressed,
            });
            findings.push(Finding {
                brand: brand.id,
                account: account.id,
                addressed: matched.addressed,
                query: matched.query.clone(),
                rule: decision.rule.to_owned(),
                route: decision.outcome.into(),
            });
        }
        findings
    }

    /// Takes deleted texts out of the bus as well, until `stop` turns true.
    pub async fn run_erasures(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            match self.erase_pending().await {
                Ok(0) => tokio::select! {
                    () = self.erasure.notified() => {}
                    // A post that comes after its delete wakes nobody.
                    () = self.clock.sleep(ERASE_EVERY) => {}
                    _ = stop.changed() => return,
                },
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(error = &*error, "could not erase deleted texts from the bus, trying again");
                    tokio::select! {
                        () = self.clock.sleep(Duration::from_secs(5)) => {}
                        _ = stop.changed() => return,
                    }
                }
            }
        }
    }

    /// One round of [`Pipeline::run_erasures`]; returns how many posts it erased.
    ///
    /// # Errors
    /// Those of the bus and of the store.
    pub async fn erase_pending(&self) -> Result<usize, Failure> {
        let pending = self.desk.pending_erasures().await?;
        if pending.is_empty() {
            return Ok(0);
        }
        let keys: Vec<String> = pending.iter().filter_map(|post| serde_json::to_string(&post.native_id).ok()).collect();
        self.bus.erase(&keys).await?;
        let erased = pending.len();
        self.desk.erasures_done(pending).await?;
        Ok(erased)
    }
}

fn embedded(next: i64) -> Mark {
    Mark { log: "".into(), next }
}

/// The same batch with its one mention as a dead letter.
fn bury(intake: &Intake, error: &desk::Error) -> Intake {
    let mut buried = Intake { mentions: Vec::new(), ..intake.clone() };
    for judged in &intake.mentions {
        let bytes = serde_json::to_vec(&judged.envelope).unwrap_or_default();
        buried.dead.push((judged.position, format!("could not be stored: {error}"), bytes));
    }
    buried
}

/// Two batches that together are this one.
fn split(intake: &Intake) -> (Intake, Intake) {
    let middle = intake.mentions.len() / 2;
    let (first, second) = intake.mentions.split_at(middle);
    let between = Mark { log: intake.to.log.clone(), next: second.first().map_or(intake.to.next, |judged| judged.position) };
    (
        Intake { mentions: first.to_vec(), to: between.clone(), ..intake.clone() },
        Intake { mentions: second.to_vec(), from: between, dead: Vec::new(), ..intake.clone() },
    )
}

//! The journey of one mention, from the bus to its case, as one page.
//!
//! A batch is read from the bus; each record is parsed, normalised, masked, classified and dispatched;
//! the desk takes the batch in as one transaction together with the position, so that a batch read twice
//! is stored once. What cannot be handled becomes a dead letter and the stream goes on.

mod erasures;
mod halves;
mod limit;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock, PoisonError, RwLock, mpsc},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    bus::{Batch, Bus, Marks, Position, Reader, Record},
    classify::{Classifier, Input, model::Model},
    clock::{Clock, random_bytes},
    crash,
    desk::{self, Desk, Finding, Intake, Judged, Taken},
    dispatch::{Dispatcher, Facts},
    mention::{Envelope, Label, Lang, Op, Side, Verdict},
    text,
};

use self::limit::DeadLimit;

/// The name under which the pipeline's position is kept.
pub const CONSUMER: &str = "triage";
/// How long to wait before the first new try of what failed; doubled up to 16 times that.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Settings of the pipeline.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Most mentions in one transaction.
    pub batch: usize,
    /// More dead letters than this among the last thousand records halt the pipeline; 100 never does.
    pub dead_limit_percent: usize,
    /// So many dead letters one after the other halt the pipeline; 0 never does.
    pub dead_limit_run: usize,
}

/// The rules that judge, of one version, with the model beside them.
pub struct Judges {
    /// The published version.
    pub version: u32,
    /// Label, language, reasons.
    pub classifier: Classifier,
    /// Version of the model within the classifier; 0 without one.
    pub model: u32,
    /// The choice of models that this one came of.
    pub choice: i64,
    /// Another model, by its version, which is only asked and counted.
    pub shadow: Option<(u32, Arc<Model>)>,
    /// Case, fold or hold; for whom.
    pub dispatcher: Dispatcher,
}

impl Judges {
    /// What the classifier says, and which model had its say in it.
    pub fn read(&self, input: &Input<'_>) -> Verdict {
        Verdict { model: self.model, ..self.classifier.read(input) }
    }

    /// The same, and what the shadow model would have said.
    fn read_both(&self, input: &Input<'_>) -> (Verdict, Option<Verdict>) {
        let Some((_, shadow)) = &self.shadow else { return (self.read(input), None) };
        let (verdict, other) = self.classifier.read_both(shadow, input);
        (Verdict { model: self.model, ..verdict }, Some(other))
    }
}

/// A verdict's label as it is counted.
fn counted(verdict: &Verdict) -> &'static str {
    if verdict.unsure { "unsorted" } else { verdict.label.as_str() }
}

crate::metrics! {
    /// What the pipeline counts.
    pub struct Metrics {
        /// Records read from the bus.
        read: IntCounter = "moksori_pipeline_records_total",
        /// Records that became dead letters. Look at their reasons.
        dead: IntCounter = "moksori_pipeline_dead_letters_total",
        /// 1 when too many records became dead letters: nothing is taken in until a person has looked and restarted it.
        halted: IntGauge = "moksori_pipeline_halted",
        /// Records of the bus that are not taken in yet. Should return to 0.
        lag: IntGauge = "moksori_pipeline_lag_records",
        /// Verdicts by label and language; `unsorted` where the classifier abstained.
        verdicts: IntCounterVec = "moksori_classify_verdicts_total" ["label", "lang"],
        /// Version of the rules in force.
        rules_version: IntGauge = "moksori_rules_version",
        /// Version of the model that judges beside the rules, and of the one that is only asked; 0 for none.
        model_version: IntGaugeVec = "moksori_classify_model_version" ["role"],
        /// Verdicts by label and by what the shadow model would have said. Off the diagonal they disagree.
        shadow: IntCounterVec = "moksori_classify_shadow_total" ["label", "shadow"],
    }
}

impl Metrics {
    /// Says which rules and models are in force.
    fn judges(&self, judges: &Judges) {
        self.rules_version.set(judges.version.into());
        self.model_version.with_label_values(&["judge"]).set(judges.model.into());
        let shadow = judges.shadow.as_ref().map_or(0, |(version, _)| *version);
        self.model_version.with_label_values(&["shadow"]).set(shadow.into());
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
    /// Why nothing is taken in any more.
    halted: OnceLock<String>,
}

/// One run of the pipeline: what it reads from, and what it heeds on the way.
struct Run {
    pipeline: Arc<Pipeline>,
    reader: Reader,
    limit: DeadLimit,
    stop: watch::Receiver<bool>,
}

type Job = Box<dyn FnOnce() + Send>;

/// What stopped an erasure for now: it is tried again whatever it was.
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
        metrics.judges(&judges);
        let judges = RwLock::new(Arc::new(judges));
        let (erasure, judging) = (Notify::new(), judging_thread());
        Arc::new(Pipeline { bus, desk, judges, clock, config, metrics, erasure, judging, halted: OnceLock::new() })
    }

    /// Puts newly published rules in force, from the next batch on.
    pub fn set_judges(&self, judges: Judges) {
        self.metrics.judges(&judges);
        *self.judges.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(judges);
    }

    /// The rules in force.
    pub fn judges(&self) -> Arc<Judges> {
        Arc::clone(&self.judges.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes mentions in until `stop` turns true; the batch in hand is finished first.
    pub async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let reader = match self.bus.reader(self.marks()) {
            Ok(reader) => reader,
            Err(error) => return self.halt(format!("the bus cannot be read: {error}")),
        };
        let limit = DeadLimit::new(self.config.dead_limit_percent, self.config.dead_limit_run);
        Run { pipeline: self, reader, limit, stop }.go().await;
    }

    /// Whether mentions are taken in, and why not, for `/health`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn healthy(&self) -> Result<(), String> {
        self.halted.get().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Takes nothing in until the process is started again.
    fn halt(&self, why: String) {
        tracing::error!(why, "the pipeline takes nothing in any more, until it is started again");
        self.metrics.halted.set(1);
        self.halted.get_or_init(|| why);
    }

    /// What tells a reader where the store stands.
    fn marks(&self) -> Marks {
        let store = Arc::clone(self.desk.store());
        Arc::new(move |part| {
            let store = Arc::clone(&store);
            Box::pin(
                async move { store.read(move |reader| reader.mark(CONSUMER, part)).await.map_err(|error| error.to_string()) },
            )
        })
    }

    /// Reads the records; what cannot be read is dead.
    fn parse(&self, batch: Batch) -> (Intake, Vec<(Record, Envelope)>) {
        self.metrics.read.inc_by(u64::try_from(batch.records.len()).unwrap_or(0));
        let mut envelopes = Vec::with_capacity(batch.records.len());
        let mut dead = Vec::new();
        for record in batch.records.into_iter().filter(|record| !record.erased) {
            match Envelope::parse(&record.bytes) {
                Ok(envelope) => envelopes.push((record, envelope)),
                Err(reason) => {
                    self.metrics.dead.inc();
                    dead.push((record.position.0, reason, record.bytes));
                }
            }
        }
        let mentions = Vec::with_capacity(envelopes.len());
        let intake = Intake { consumer: CONSUMER, part: batch.part, from: batch.from, to: batch.to, mentions, dead };
        (intake, envelopes)
    }

    /// Has all of them judged on the thread for it.
    async fn judge(
        self: &Arc<Self>,
        mut intake: Intake,
        envelopes: Vec<(Record, Envelope)>,
        answers: HashMap<String, Label>,
    ) -> Result<Intake, Gone> {
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

    /// The label that each stored post hands down to what answers it.
    async fn labels_of_parents(&self, envelopes: &[(Record, Envelope)]) -> Result<HashMap<String, Label>, desk::Error> {
        let asked: Vec<(String, String)> =
            envelopes.iter().filter_map(|(_, envelope)| Some((envelope.source.clone(), envelope.parent.clone()?))).collect();
        if asked.is_empty() {
            return Ok(HashMap::new());
        }
        let keys: Vec<String> = asked.iter().map(|(source, id)| format!("{source}/{id}")).collect();
        let labels = self.desk.store().read(move |reader| reader.labels(&asked)).await.map_err(desk::Error::Store)?;
        Ok(keys.into_iter().zip(labels).filter_map(|(key, label)| Some((key, label?))).collect())
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
                // A parent may have come in the same batch. Our own answer hands down the label of what it answered.
                let envelope = &judged.envelope;
                let named = |id: &String| format!("{}/{id}", envelope.source);
                let label = match envelope.side {
                    Side::Customer => Some(judged.verdict.label),
                    Side::Ours => envelope.parent.as_ref().and_then(|parent| labels.get(&named(parent)).copied()),
                    Side::Other => None,
                };
                if let Some(label) = label {
                    labels.insert(named(&envelope.native_id), label);
                    labels.extend(envelope.local_ref.iter().map(|id| (named(id), label)));
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
            let input = Input { text: &masked, lang_hint: envelope.lang.as_deref(), answers, addressed };
            let (verdict, other) = judges.read_both(&input);
            self.metrics.verdicts.with_label_values(&[counted(&verdict), verdict.lang.as_str()]).inc();
            if let Some(other) = other {
                self.metrics.shadow.with_label_values(&[counted(&verdict), counted(&other)]).inc();
            }
            verdict
        } else {
            let lang = envelope.lang.as_deref().and_then(Lang::parse).unwrap_or_default();
            Verdict { lang, label: Label::Other, confidence: 1.0, unsure: false, model: 0, reasons: Vec::new() }
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
}

impl Run {
    async fn go(mut self) {
        let pipeline = Arc::clone(&self.pipeline);
        while !*self.stop.borrow() {
            let batch = tokio::select! {
                batch = self.reader.next(pipeline.config.batch) => batch,
                _ = self.stop.changed() => return,
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    self.wait_after(&error, "read the bus", 1).await;
                    continue;
                }
            };
            let (part, to) = (batch.part, batch.to.clone());
            match self.take(batch).await {
                Some(Taken::Stored) => self.reader.stored(part, &to),
                Some(Taken::Stale) => self.reader.reset(part).await,
                None => return,
            }
            pipeline.metrics.lag.set(self.reader.lag());
            if let Some(why) = self.limit.reached() {
                return pipeline.halt(why);
            }
        }
    }

    /// Judges a batch and has it stored. When the store refuses the data, halves find the record that it
    /// refuses, which becomes a dead letter; when the store is merely unwell, the same is tried again, and
    /// none is the answer if the pipeline is stopped before the store is well.
    async fn take(&mut self, batch: Batch) -> Option<Taken> {
        let pipeline = Arc::clone(&self.pipeline);
        pipeline.metrics.lag.set(self.reader.lag() + i64::try_from(batch.records.len()).unwrap_or(0));
        crash::point("judging");
        let (intake, envelopes) = pipeline.parse(batch);
        let mut tries = 0;
        let answers = loop {
            match pipeline.labels_of_parents(&envelopes).await {
                Ok(answers) => break answers,
                Err(error) => {
                    tries += 1;
                    self.wait_after(&error, "look up who is answered", tries).await?;
                }
            }
        };
        let intake = match pipeline.judge(intake, envelopes, answers).await {
            Ok(intake) => intake,
            Err(error) => {
                self.wait_after(&error, "judge a batch", 1).await;
                return Some(Taken::Stale);
            }
        };
        crash::point("judging");
        let mut halves = vec![Arc::new(intake)];
        tries = 0;
        while let Some(intake) = halves.pop() {
            match pipeline.desk.take_in(Arc::clone(&intake)).await {
                Ok(Taken::Stored) => {
                    tries = 0;
                    self.limit.count(&intake);
                    if intake.mentions.iter().any(|judged| judged.envelope.op == Op::Delete) {
                        pipeline.erasure.notify_one();
                    }
                }
                Ok(Taken::Stale) => {
                    let (part, position) = (intake.part, intake.from.next);
                    tracing::warn!(part, position, "a batch was stored before, or by somebody else");
                    return Some(Taken::Stale);
                }
                Err(error) if error.is_retryable() || error.is_closed() || intake.mentions.is_empty() => {
                    tries += 1;
                    halves.push(intake);
                    self.wait_after(&error, "take in a batch", tries).await?;
                }
                Err(error) if intake.mentions.len() == 1 => {
                    tracing::error!(
                        position = intake.from.next,
                        error = &error as &dyn std::error::Error,
                        "a mention cannot be stored"
                    );
                    pipeline.metrics.dead.inc();
                    halves.push(Arc::new(halves::bury(&intake, &error)));
                }
                Err(_) => {
                    let (first, second) = halves::split(&intake);
                    halves.extend([second, first].map(Arc::new));
                }
            }
        }
        Some(Taken::Stored)
    }

    /// Waits before another try, longer each time; none when the pipeline is stopped meanwhile.
    async fn wait_after(
        &mut self,
        error: &(dyn std::error::Error + Send + Sync + 'static),
        doing: &str,
        tries: u32,
    ) -> Option<()> {
        tracing::error!(error = error as &dyn std::error::Error, tries, "could not {doing}, trying again");
        let [jitter] = random_bytes::<1>();
        let wait = FIRST_WAIT * 2_u32.pow(tries.min(5) - 1) + Duration::from_millis(jitter.into());
        tokio::select! {
            () = self.pipeline.clock.sleep(wait) => Some(()),
            _ = self.stop.changed() => None,
        }
    }
}

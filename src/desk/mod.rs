//! Where anything happens to a case: every command is one transaction that settles the clocks first.
//!
//! A new mention, a claim, a reply, a hand-over, an alarm: each runs as begin, load, settle clocks,
//! decide, write, commit. Nothing else changes a case, so no path can forget a clock; and every command
//! of a person passes [`authorize`] on the way.

mod alarms;
mod finding;
mod history;
mod intake;
mod learning;
mod outbox;
mod people;
mod protection;
mod replies;
mod sources;
mod work;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use crate::queue::{Capability, Erasure, Outgoing, Watched};
pub use finding::NewSearch;
pub use intake::{Finding, Intake, Judged, Route, Taken};
pub use learning::LabelBefore;
pub use outbox::Receipt;
pub use people::{SignIn, token_hash};
pub use protection::{day_of, zone_of};
pub use replies::{Answer, NewReply};
pub use sources::{LISTEN, PAUSE, SENT, STATUS, TEST, Wishes, cannot_be_heard, may_in_brand};
pub use work::HandOver;

use crate::{
    case::{Actor, BrandId, CaseId, EventKind, Status},
    clock::{Clock, Time},
    mention::{Label, MentionId},
    queue::{self, Case, NewEvent, Store, Tx, Urgency},
    sla::{Fired, Kind, Origin, Policies, SlaClock},
    staff::{Action, Denied, Viewer, authorize},
};

/// Settings of the desk.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long a reply can be taken back before it leaves ("5s").
    #[serde(with = "crate::clock::span")]
    pub undo_window: Duration,
    /// With less than this on the clock a reply leaves at once ("15s").
    #[serde(with = "crate::clock::span")]
    pub hurry: Duration,
    /// How long a session lasts ("12h").
    #[serde(with = "crate::clock::span")]
    pub session: Duration,
    /// How long a one-time link is good for ("10m").
    #[serde(with = "crate::clock::span")]
    pub link: Duration,
    /// Pages tell of an abusive post instead of showing it, until somebody asks for it.
    pub mask_abuse: bool,
    /// So many abusive posts read in a day, and a pause is offered; 0 never.
    pub exposure_limit: u32,
}

/// Why a command was not done. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such case, or none that this person may see.
    #[error("there is no case {0:?} to see")]
    NotFound(CaseId),
    /// The role does not allow it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Somebody else has the case.
    #[error("{initials} has claimed it")]
    Claimed {
        /// Who.
        initials: String,
    },
    /// Somebody else has just answered the same post.
    #[error("{initials} answered it a moment ago")]
    Answered {
        /// Who.
        initials: String,
        /// What they wrote.
        text: String,
    },
    /// The text is empty.
    #[error("the text is empty")]
    Empty,
    /// The text is longer than the platform takes.
    #[error("the text is {over} too long")]
    TooLong {
        /// By how much, as the platform counts.
        over: usize,
    },
    /// The case or reply is past the point where this could be done.
    #[error("it is too late for that: {0}")]
    TooLate(&'static str),
    /// This account cannot answer through its platform's interface.
    #[error("the account cannot reply; answer on the site")]
    LinkOnly,
    /// A name that the desk does not know.
    #[error("there is no {what} called {name}")]
    Unknown {
        /// Team, agent, account, disposition.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The store failed.
    #[error("could not write to the store")]
    Store(#[from] queue::Error),
}

impl Error {
    /// Worth trying again as it is.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Store(error) if error.is_retryable())
    }

    /// The store is closing down: nothing will be written any more.
    pub fn is_closed(&self) -> bool {
        matches!(self, Error::Store(queue::Error::Closed))
    }
}

crate::metrics! {
    /// What the desk counts.
    pub struct Metrics {
        /// Mentions taken in, by what became of them.
        mentions: IntCounterVec = "moksori_desk_mentions_total" ["outcome"],
        /// Clocks met in time.
        met: IntCounterVec = "moksori_sla_met_total" ["clock", "team", "label"],
        /// Clocks breached. Should be rare; ask which team and why.
        breached: IntCounterVec = "moksori_sla_breached_total" ["clock", "team", "label"],
        /// Clocks cancelled, by reason; a rise of one reason may be somebody hitting targets by it.
        cancelled: IntCounterVec = "moksori_sla_cancelled_total" ["reason"],
        /// Warnings given before a deadline.
        warned: IntCounterVec = "moksori_sla_warned_total" ["clock"],
        /// Seconds from a deadline to its breach being recorded. Should stay under a second.
        detection_delay: Histogram = "moksori_sla_detection_delay_seconds" (crate::metrics::DELAY_SECONDS),
        /// Seconds by which the oldest alarm that has not fired is late. Should stay 0; a burst of posts is a burst of alarms later.
        alarms_late: IntGauge = "moksori_sla_alarms_late_seconds",
        /// Seconds from the customer's post to our first answer; 720 is the promise.
        response: HistogramVec = "moksori_sla_response_seconds" ["clock", "team"] (crate::metrics::WAIT_SECONDS),
        /// Seconds from a post on its platform to its case here, by platform.
        ingest_lag: HistogramVec = "moksori_desk_ingest_lag_seconds" ["platform"] (crate::metrics::WAIT_SECONDS),
        /// Commands that were refused, by why.
        refused: IntCounterVec = "moksori_desk_refused_total" ["reason"],
        /// Labels that a person set, by the label before; `unsorted` where the classifier had abstained.
        corrected: IntCounterVec = "moksori_classify_corrections_total" ["from", "to"],
        /// Cases resolved, by label and by who had the last word on it: the share of `person` is how often the classifier is wrong.
        checked: IntCounterVec = "moksori_classify_checked_total" ["label", "by"],
        /// Abusive posts that somebody read, each once a day and person. A rise is a reason to share abuse out.
        exposures: IntCounter = "moksori_desk_exposures_total",
        /// Breaks that people took.
        breaks: IntCounter = "moksori_desk_breaks_total",
    }
}

/// The desk: commands on cases, and the alarms of their clocks.
pub struct Desk {
    store: Arc<Store>,
    clock: Clock,
    config: Config,
    policies: RwLock<Arc<Policies>>,
    metrics: Metrics,
    outbox: watch::Sender<u64>,
    /// When and why the store last could not be written, if nothing was written since.
    unwritable: Mutex<Option<(Time, String)>>,
}

/// So long after a failure the store counts as unwell, unless something is written: whoever has to write tries
/// again sooner than that.
const UNWELL: Duration = Duration::from_secs(15);

impl Desk {
    /// A desk over a store, with the policies in force.
    pub fn new(store: Arc<Store>, policies: Policies, config: Config, clock: Clock, metrics: Metrics) -> Arc<Desk> {
        Arc::new(Desk {
            store,
            clock,
            config,
            policies: RwLock::new(Arc::new(policies)),
            metrics,
            outbox: watch::Sender::new(0),
            unwritable: Mutex::new(None),
        })
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The desk's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts newly published policies in force; open clocks keep theirs.
    pub fn set_policies(&self, mut policies: Policies) {
        let mut current = self.policies.write().unwrap_or_else(PoisonError::into_inner);
        policies.remember(Policies::clone(&current));
        *current = Arc::new(policies);
    }

    /// Whether the store can be written, as far as the last attempt says; it is not tried here.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn healthy(&self) -> Result<(), String> {
        let unwritable = self.unwritable.lock().unwrap_or_else(PoisonError::into_inner);
        match &*unwritable {
            Some((at, why)) if self.clock.now().since(*at) < UNWELL => Err(why.clone()),
            _ => Ok(()),
        }
    }

    fn note_health(&self, failure: Option<&Error>) {
        let mut unwritable = self.unwritable.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            None => *unwritable = None,
            Some(error) if error.is_retryable() => {
                let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
                let words: Vec<String> = causes.map(ToString::to_string).collect();
                *unwritable = Some((self.clock.now(), words.join(": ")));
            }
            Some(_) => {}
        }
    }

    /// One transaction of the desk. What it counts is added to the metrics only once it is committed.
    async fn transact<T: Send + 'static>(
        &self,
        urgency: Urgency,
        mut work: impl FnMut(&mut Ledger<'_, '_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let policies = self.policies();
        let config = self.config.clone();
        let written = self
            .store
            .write(urgency, move |tx| {
                let (policies, config) = (Arc::clone(&policies), config.clone());
                let mut ledger = Ledger { tx, policies, config, tally: Vec::new(), overheard: None };
                let value = work(&mut ledger)?;
                Ok::<_, Error>((value, ledger.tally))
            })
            .await;
        self.note_health(written.as_ref().err());
        let (value, tally) = written.inspect_err(|error| self.metrics.refused.with_label_values(&[refusal(error)]).inc())?;
        for count in tally {
            self.count(&count);
        }
        Ok(value)
    }

    /// One command of a person on one case: authorised, with settled clocks, saved at the end.
    async fn command<T: Send + 'static>(
        &self,
        viewer: &Viewer,
        action: Action,
        id: CaseId,
        mut work: impl FnMut(&mut Ledger<'_, '_>, &mut Case) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let viewer = viewer.clone();
        self.transact(Urgency::Person, move |ledger| {
            let mut case = ledger.tx.load_case(id)?.ok_or(Error::NotFound(id))?;
            // Somebody else's case looks exactly like no case.
            authorize(&viewer, Action::Read, case.team).map_err(|_| Error::NotFound(id))?;
            authorize(&viewer, action, case.team)?;
            ledger.settle(&mut case);
            let value = work(ledger, &mut case)?;
            ledger.tx.save_case(&case)?;
            Ok(value)
        })
        .await
    }

    fn count(&self, count: &Count) {
        match count {
            Count::Clock { kind, team, label, fired, late, waited } => {
                let labels = [kind.as_str(), team.as_str(), label];
                match fired {
                    Fired::Warned { .. } => self.metrics.warned.with_label_values(&labels[..1]).inc(),
                    Fired::Breached { .. } => {
                        self.metrics.breached.with_label_values(&labels).inc();
                        self.metrics.detection_delay.observe(late.as_secs_f64());
                    }
                    Fired::Met => {
                        self.metrics.met.with_label_values(&labels).inc();
                        self.metrics.response.with_label_values(&labels[..2]).observe(waited.as_secs_f64());
                    }
                    Fired::MetLate => self.metrics.response.with_label_values(&labels[..2]).observe(waited.as_secs_f64()),
                    Fired::Cancelled(reason) => self.metrics.cancelled.with_label_values(&[reason.as_str()]).inc(),
                    Fired::BreachWithdrawn => {}
                }
            }
            Count::Corrected { from, to } => self.metrics.corrected.with_label_values(&[*from, to.as_str()]).inc(),
            Count::Checked { label, by } => self.metrics.checked.with_label_values(&[label.as_str(), by]).inc(),
            Count::Exposed => self.metrics.exposures.inc(),
            Count::Break => self.metrics.breaks.inc(),
            Count::Mention { outcome, platform, lag } => {
                self.metrics.mentions.with_label_values(&[*outcome]).inc();
                if let Some(lag) = lag {
                    self.metrics.ingest_lag.with_label_values(&[platform.as_str()]).observe(lag.as_secs_f64());
                }
            }
        }
    }
}

fn refusal(error: &Error) -> &'static str {
    match error {
        Error::NotFound(_) => "not_found",
        Error::Denied(_) => "denied",
        Error::Claimed { .. } => "claimed",
        Error::Answered { .. } => "answered",
        Error::Empty | Error::TooLong { .. } => "text",
        Error::TooLate(_) => "too_late",
        Error::LinkOnly => "link_only",
        Error::Unknown { .. } => "unknown",
        Error::Store(_) => "store",
    }
}

/// Something to count once the transaction is durable.
enum Count {
    Clock { kind: Kind, team: String, label: &'static str, fired: Fired, late: Duration, waited: Duration },
    Corrected { from: &'static str, to: Label },
    Checked { label: Label, by: &'static str },
    Mention { outcome: &'static str, platform: String, lag: Option<Duration> },
    Exposed,
    Break,
}

/// A transaction with the policies of its moment and a tally of what to count.
struct Ledger<'l, 'tx> {
    tx: &'l mut Tx<'tx>,
    policies: Arc<Policies>,
    config: Config,
    tally: Vec<Count>,
    /// Lately opened cases of posts that address nobody, with their signatures: read once, when first asked for.
    overheard: Option<Vec<(BrandId, u64)>>,
}

impl Ledger<'_, '_> {
    fn now(&self) -> Time {
        self.tx.now
    }

    /// Brings every clock of a case up to now: what should have fired has fired, at its time.
    fn settle(&mut self, case: &mut Case) {
        let now = self.now();
        for index in 0..case.clocks.len() {
            let policies = Arc::clone(&self.policies);
            let clock = &mut case.clocks[index];
            let fired = clock.settle(policies.get(&clock.policy), now);
            self.record(case, index, fired);
        }
    }

    /// Runs one transition of the open clock of a kind, if there is one.
    fn turn(
        &mut self,
        case: &mut Case,
        kind: Kind,
        transition: impl FnOnce(&mut SlaClock, &crate::sla::Policy, Time) -> Vec<Fired>,
    ) {
        let now = self.now();
        if let Some(index) = case.clocks.iter().position(|clock| clock.kind == kind && clock.state.open()) {
            let policies = Arc::clone(&self.policies);
            let clock = &mut case.clocks[index];
            let fired = transition(clock, policies.get(&clock.policy), now);
            self.record(case, index, fired);
        }
    }

    /// Starts the next cycle of a clock, unless one of its kind is open or the policy has no such target.
    fn start(&mut self, case: &mut Case, kind: Kind, origin_at: Time, origin: Origin) {
        if case.open_clock(kind).is_some() {
            return;
        }
        let cycle = case.clocks.iter().filter(|clock| clock.kind == kind).map(|clock| clock.cycle).max().unwrap_or(0) + 1;
        let policies = Arc::clone(&self.policies);
        if let Some((clock, fired)) = crate::sla::start(policies.get(&case.policy), kind, cycle, origin_at, origin, self.now())
        {
            case.clocks.push(clock);
            self.record(case, case.clocks.len() - 1, fired);
        }
    }

    /// Writes what a clock did as events, and remembers to count it.
    fn record(&mut self, case: &Case, index: usize, fired: Vec<Fired>) {
        if fired.is_empty() {
            return;
        }
        let clock = case.clocks[index].clone();
        let team = self.tx.catalog().team(case.team).map_or_else(String::new, |team| team.key.clone());
        for fired in fired {
            let (kind, at) = match &fired {
                Fired::Warned { at, .. } => (EventKind::Warned, *at),
                Fired::Breached { at } => (EventKind::Breached, *at),
                Fired::BreachWithdrawn => (EventKind::BreachWithdrawn, self.now()),
                Fired::Met => (EventKind::Met, clock.met_at.unwrap_or(self.now())),
                Fired::MetLate => (EventKind::MetLate, clock.met_at.unwrap_or(self.now())),
                Fired::Cancelled(_) => (EventKind::ClockCancelled, self.now()),
            };
            let mut payload = serde_json::json!({ "clock": clock.kind.as_str(), "cycle": clock.cycle });
            match &fired {
                Fired::Warned { threshold, .. } => payload["threshold"] = (*threshold).into(),
                Fired::Cancelled(reason) => payload["reason"] = reason.as_str().into(),
                Fired::Breached { .. } => payload["deadline"] = clock.deadline_at.0.into(),
                _ => {}
            }
            self.tx.event(NewEvent {
                case: Some(case.id),
                mention: None,
                at,
                actor: Actor::System,
                kind,
                payload: Some(payload.to_string()),
            });
            self.tally.push(Count::Clock {
                kind: clock.kind,
                team: team.clone(),
                label: case.label.as_str(),
                late: self.now().since(clock.deadline_at),
                waited: clock.met_at.unwrap_or(self.now()).since(clock.origin_at),
                fired,
            });
        }
    }

    /// We spoke: the clocks that wait for an answer stop at the platform's time.
    fn answered(&mut self, case: &mut Case, at: Time) {
        for kind in [Kind::FirstResponse, Kind::NextResponse] {
            self.turn(case, kind, |clock, policy, now| clock.meet(policy, at, now));
        }
        case.unanswered_since = None;
    }

    /// The case is somebody's work again, and its resolution clock runs.
    fn stop_waiting(&mut self, case: &mut Case) -> Result<(), Error> {
        case.status = if case.assignee.is_some() { Status::Open } else { Status::New };
        self.turn(case, Kind::Resolution, |clock, policy, now| clock.resume(policy, now));
        if let Some(clock) = case.open_clock(Kind::Resolution).cloned() {
            self.tx.record_pause(case.id, &clock, None)?;
        }
        Ok(())
    }

    /// The customer spoke again: the oldest unanswered post starts the next clock, later ones change nothing.
    fn asked_again(&mut self, case: &mut Case, at: Time, origin: Origin) {
        if case.unanswered_since.is_none() {
            case.unanswered_since = Some(at);
            if case.open_clock(Kind::FirstResponse).is_none() {
                self.start(case, Kind::NextResponse, at, origin);
            }
        }
    }

    fn event(&mut self, case: &Case, actor: Actor, kind: EventKind, payload: Option<serde_json::Value>) {
        self.tx.case_event(case.id, None, actor, kind, payload.map(|payload| payload.to_string()));
    }

    fn mention_event(&mut self, case: Option<CaseId>, mention: MentionId, actor: Actor, kind: EventKind) {
        let at = self.now();
        self.tx.event(NewEvent { case, mention: Some(mention), at, actor, kind, payload: None });
    }
}

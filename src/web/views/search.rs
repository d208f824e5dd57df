//! The search page: hits with what was looked for marked, and narrower searches.

use std::time::Duration;

use askama::Template;

use super::{Choice, Frame, LabelView, Place};
use crate::{
    case::Status,
    clock::Time,
    mention::{Lang, MentionId},
    web::format,
};

/// One post that a search found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Which.
    pub mention: MentionId,
    /// Its case; a folded post has none.
    pub case: Option<HitCase>,
    /// Its label.
    pub label: LabelView,
    /// Where it was written.
    pub place: Place,
    /// Its language.
    pub lang: Lang,
    /// When it was posted.
    pub at: Time,
    /// Pieces of the text; true for what was looked for.
    pub snippet: Vec<(bool, String)>,
    /// Reach of its author.
    pub reach: Option<u64>,
    /// Where it can be read, for one without a case.
    pub url: Option<String>,
    /// Signature of its text, by which copies are counted.
    pub signature: u64,
    /// How many others say nearly the same.
    pub copies: u64,
    /// How like it is, in per cent, where likeness was asked for; and whether it says the same words.
    pub like: Option<(u8, bool)>,
}

impl Hit {
    /// "41% alike", or "same words".
    pub fn likeness(&self, f: &Frame) -> Option<String> {
        let (percent, copy) = self.like?;
        Some(if copy { f.w.same_words.into() } else { f.with(f.w.same_matter, "n", percent) })
    }
}

/// The case of a hit, and how it was answered.
#[derive(Clone, Debug)]
pub struct HitCase {
    /// Its number.
    pub number: i64,
    /// Where it stands.
    pub status: Status,
    /// Its team.
    pub team: String,
    /// Who answered, and in how long.
    pub answered: Option<(String, Duration)>,
    /// How it ended, in words.
    pub disposition: Option<String>,
    /// What was answered, where likeness was asked for.
    pub answer: Option<String>,
}

/// A narrower search.
#[derive(Clone, Debug, Default)]
pub struct FacetItem {
    /// What it narrows to.
    pub name: String,
    /// How many hits are left.
    pub count: u64,
    /// Where it leads; to the wider search when it is on.
    pub href: String,
    /// It narrows now.
    pub on: bool,
}

/// Narrower searches of one kind.
#[derive(Clone, Debug, Default)]
pub struct Facet {
    /// Its word.
    pub title: String,
    /// Its items.
    pub items: Vec<FacetItem>,
}

/// The search page.
#[derive(Clone, Debug, Template)]
#[template(path = "search.html")]
pub struct SearchPage {
    /// Around it.
    pub f: Frame,
    /// What is looked for, as typed.
    pub q: String,
    /// How many posts; `None` before a search.
    pub total: Option<u64>,
    /// There are more than `total`.
    pub more: bool,
    /// The index is far behind the store: it was damaged or lost, and is built again.
    pub behind: bool,
    /// How long it took.
    pub took: Duration,
    /// Words that find more than their letters: "튕김 → 튕겨, 튕겼".
    pub widened: Vec<String>,
    /// The hits of this page.
    pub hits: Vec<Hit>,
    /// Narrower searches.
    pub facets: Vec<Facet>,
    /// Orders: relevance, newest, oldest.
    pub sorts: Vec<Choice>,
    /// The order in force, as the address has it.
    pub sort: String,
    /// Teams that a saved search can be shared with.
    pub teams: Vec<Choice>,
    /// The case whose look-alikes these are.
    pub like: Option<i64>,
    /// What is wrong with the query, in words, pointing at the place.
    pub error: Option<String>,
    /// A better query, when nothing was found.
    pub hint: Option<String>,
    /// Where the page before is.
    pub previous: Option<String>,
    /// Where the next page is.
    pub next: Option<String>,
}

impl SearchPage {
    /// "0.006".
    pub fn seconds(&self) -> String {
        format!("{:.3}", self.took.as_secs_f64())
    }

    /// What a hit says of its answer.
    pub fn answered(&self, case: &HitCase) -> Option<String> {
        let (name, span) = case.answered.as_ref()?;
        let span = format::duration(*span, self.f.language);
        Some(crate::web::words::fill(self.f.w.answered_in, &[("name", name), ("time", &span)]))
    }

    /// The lines of the help, as queries with what each finds.
    pub fn help(&self) -> Vec<(&'static str, &'static str)> {
        let w = self.f.w;
        let words = match self.f.language {
            super::Language::Ko => ["배송 지연", "\"고객 센터\"", "배송 -교환", "환불 OR 취소", "\"배송 지연\"~3", "배송*"],
            super::Language::En => [
                "late delivery",
                "\"customer service\"",
                "delivery -exchange",
                "refund OR cancel",
                "\"late delivery\"~3",
                "deliver*",
            ],
        };
        let says = [w.help_and, w.help_phrase, w.help_not, w.help_or, w.help_near, w.help_prefix];
        let fields = [
            ("label:complaint", w.help_field),
            ("agent:^KG has:reply", w.help_agent),
            ("answered:<12m", w.help_answered),
            ("sla:breached", w.help_sla),
            ("state:resolved", w.help_state),
            ("reach:>10000", w.help_reach),
            ("posted:2026-11-01..11-21", w.help_posted),
            ("lang:en platform:forum", w.help_lang),
        ];
        words.into_iter().zip(says).chain(fields).collect()
    }
}

/// A look-alike beside a case.
#[derive(Clone, Debug)]
pub struct Lookalike {
    /// The post and its case.
    pub hit: Hit,
    /// How like, in words.
    pub words: String,
}

//! How varied texts are: of the phrases, openings and endings in a draw of fixed size, how many differ?
//!
//! The draw is of fixed size because small sets are always varied. It is not drawn: the expected number of
//! different things in it follows from how often each occurs (rarefaction), so that the figure has no luck in it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Post, Problem, Public, problem};
use crate::mention::{Label, Lang};

/// Posts in a small draw, for one label in one trade.
const FEW: usize = 30;
/// Posts in a large draw, for a label or a trade: finds what comes back once in every file.
const MANY: usize = 240;
/// Phrases drawn for each post drawn.
const PHRASES: usize = 5;
/// A group must reach this share of what real text of its label has.
const FLOOR: f64 = 0.9;

/// Shares of a draw that differ, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Runs of three words in English, of six syllables in Korean.
    pub phrases: f64,
    /// First two words, first four syllables.
    pub openings: f64,
    /// Last two words, last four syllables.
    pub endings: f64,
}

/// How varied the real texts of one source with one label are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Language.
    pub lang: Lang,
    /// Label in our terms.
    pub label: Label,
    /// In a small draw.
    pub few: Figures,
    /// In a large one.
    pub many: Figures,
}

/// Real text to compare with: figures only (`rules/corpus/reference.toml`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// One for each source and label.
    #[serde(default)]
    pub source: Vec<Source>,
}

/// A group of posts with its figures and the floor.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which: `ko complaint`, `ko bank`, `ko bank complaint`.
    pub group: String,
    /// How many posts.
    pub posts: usize,
    /// Its figures.
    pub figures: Figures,
    /// What it must reach.
    pub floor: Figures,
    /// The phrases, openings and endings that come most often.
    most: [String; 3],
}

impl Row {
    /// Where the group falls below real text.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let parts = ["phrases", "openings", "endings"];
        let pairs = parts.iter().zip(self.figures.all()).zip(self.floor.all()).zip(&self.most);
        let low = pairs.filter(|(((_, has), floor), _)| has < floor);
        low.map(|(((part, has), floor), most)| {
            let text =
                format!("is monotonous: {has:.3} of its {part} differ, real text has {floor:.3} at least; often: {most}");
            problem(&self.group, text)
        })
        .collect()
    }
}

impl Figures {
    fn all(&self) -> [f64; 3] {
        [self.phrases, self.openings, self.endings]
    }
}

impl Reference {
    /// Measures real text; groups that are too small to compare are left out, and texts without a label.
    pub fn measure(texts: &[Public]) -> Reference {
        let mut groups: BTreeMap<(&str, &str, &str), Vec<&Public>> = BTreeMap::new();
        for (text, label) in texts.iter().filter_map(|text| Some((text, text.label?))) {
            groups.entry((text.lang.as_str(), label.as_str(), &text.source)).or_default().push(text);
        }
        let measured = groups.into_values().filter_map(|group| {
            let first = *group.first()?;
            let mut counts = Counts::new(first.lang);
            group.iter().for_each(|text| counts.add(&text.text));
            let name = first.source.clone();
            Some(Source { name, lang: first.lang, label: first.label?, few: counts.figures(FEW)?, many: counts.figures(MANY)? })
        });
        Reference { source: measured.collect() }
    }

    /// What posts of `lang`, and of `label` if given, must reach; nothing where no real text is known.
    fn floor(&self, lang: Lang, label: Option<Label>, draw: usize) -> Figures {
        let median = |part: fn(&Figures) -> f64| {
            let of_label = |source: &&Source| label.is_none_or(|label| source.label == label);
            let sources = self.source.iter().filter(|source| source.lang == lang).filter(of_label);
            let mut values: Vec<f64> = sources.map(|s| part(if draw == FEW { &s.few } else { &s.many })).collect();
            values.sort_by(f64::total_cmp);
            match values.as_slice() {
                [] => 0.0,
                _ => (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0 * FLOOR,
            }
        };
        Figures { phrases: median(|f| f.phrases), openings: median(|f| f.openings), endings: median(|f| f.endings) }
    }
}

/// How often each phrase, opening and ending occurs in a group of texts.
struct Counts {
    lang: Lang,
    texts: usize,
    counts: [HashMap<String, usize>; 3],
}

impl Counts {
    fn new(lang: Lang) -> Counts {
        Counts { lang, texts: 0, counts: Default::default() }
    }

    fn add(&mut self, text: &str) {
        self.texts += 1;
        let kept: String = text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).collect::<String>().to_lowercase();
        let (units, phrase, edge): (Vec<String>, _, _) = match self.lang {
            Lang::Ko => (kept.chars().filter(|c| !c.is_whitespace()).map(String::from).collect(), 6, 4),
            _ => (kept.split_whitespace().map(|word| format!("{word} ")).collect(), 3, 2),
        };
        let [phrases, openings, endings] = &mut self.counts;
        for run in units.windows(phrase) {
            *phrases.entry(run.concat()).or_default() += 1;
        }
        *openings.entry(units[..units.len().min(edge)].concat()).or_default() += 1;
        *endings.entry(units[units.len().saturating_sub(edge)..].concat()).or_default() += 1;
    }

    /// The figures of a draw of so many posts; `None` when there are not so many.
    fn figures(&self, posts: usize) -> Option<Figures> {
        let [phrases, openings, endings] = &self.counts;
        Some(Figures {
            phrases: differing(phrases, posts * PHRASES)?,
            openings: differing(openings, posts)?,
            endings: differing(endings, posts)?,
        })
    }

    fn most(&self) -> [String; 3] {
        self.counts.each_ref().map(|counts| {
            let mut often: Vec<(&String, &usize)> = counts.iter().filter(|(_, count)| **count > 1).collect();
            often.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            often.iter().take(5).map(|(what, count)| format!("{:?} {count}", what.trim())).collect::<Vec<_>>().join(", ")
        })
    }
}

/// The share of `draw` things, drawn from all without putting back, that differ; to three places.
#[expect(clippy::cast_precision_loss, reason = "counts of phrases")]
fn differing(counts: &HashMap<String, usize>, draw: usize) -> Option<f64> {
    let all: usize = counts.values().sum();
    if all < draw {
        return None;
    }
    // By how often they occur, so that the sum does not depend on the order of a map.
    let mut by_count: BTreeMap<usize, usize> = BTreeMap::new();
    counts.values().for_each(|count| *by_count.entry(*count).or_default() += 1);
    let expected: f64 = by_count
        .iter()
        .map(|(count, things)| {
            let missed: f64 = (0..*count).map(|i| ((all - i) as f64 - draw as f64).max(0.0) / (all - i) as f64).product();
            *things as f64 * (1.0 - missed)
        })
        .sum();
    Some((expected / draw as f64 * 1_000.0).round() / 1_000.0)
}

/// The figures of every label, trade, and label within a trade that has posts enough.
pub(super) fn rows(posts: &[Post], reference: &Reference) -> Vec<Row> {
    let mut groups: BTreeMap<(usize, String), (Lang, Option<Label>, Counts)> = BTreeMap::new();
    for post in posts {
        let (lang, label, trade) = (post.lang.as_str(), post.label.as_str(), &post.trade);
        let kinds = [
            (MANY, format!("{lang} {label}"), Some(post.label)),
            (MANY, format!("{lang} {trade}"), None),
            (FEW, format!("{lang} {trade} {label}"), Some(post.label)),
        ];
        for (draw, name, label) in kinds {
            let group = groups.entry((draw, name)).or_insert_with(|| (post.lang, label, Counts::new(post.lang)));
            group.2.add(&post.text);
        }
    }
    let measured = groups.into_iter().rev().filter_map(|((draw, group), (lang, label, counts))| {
        let (figures, floor) = (counts.figures(draw)?, reference.floor(lang, label, draw));
        Some(Row { group, posts: counts.texts, figures, floor, most: counts.most() })
    });
    measured.collect()
}

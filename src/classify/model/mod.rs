//! The trained half of the classifier: hashed pieces of a text, weighed for each label, with honest doubt.
//!
//! One table of weights a language, linear, one byte a weight. [`train`] makes a [`Model`] from examples and
//! the rules (which rule fires is a piece like any other); [`Model::open`] maps one from its file. What it is
//! sure of is set on sources that were left out of training in turn, so that it is meant for texts of strangers.

mod calibrate;
mod evaluate;
mod features;
mod file;
mod train;

use std::{
    cell::RefCell,
    ops::Range,
    sync::{Arc, OnceLock},
};

use serde::{Deserialize, Serialize};

use crate::mention::{Label, Lang};
pub use evaluate::{LabelScore, Report, evaluate};
use features::{Kind, Reader};
use file::Bytes;
pub use file::Error;
pub use train::{CORPUS, Example, Fold, Options, leave_out, train};

/// How many labels there are.
pub(super) const LABELS: usize = Label::ALL.len();

/// What a model says of itself; the head of its file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// What it is called.
    pub name: String,
    /// The day it was trained, `2026-11-26`.
    pub date: String,
    /// What it was trained on.
    pub data: Vec<Source>,
    /// What it was never trained on, so that it can be scored there.
    pub held_out: Vec<String>,
    /// One entry a language.
    pub tables: Vec<Table>,
}

/// A source of training text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// How many texts were taken.
    pub texts: usize,
    /// Licence of the texts.
    pub licence: String,
}

/// The weights of one language, and how its doubt is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The language.
    pub lang: Lang,
    /// The table has 2 to this power rows.
    pub bits: u32,
    /// The largest weight; a byte counts a square root's share of it.
    pub scale: f32,
    /// Divides the sums before they become probabilities: over 1, the model is less sure than it was in training.
    pub temperature: f32,
    /// Below this probability it abstains.
    pub unsure_below: f32,
    /// The precision for which `unsure_below` was chosen, on sources left out in turn.
    pub precision: f32,
    /// The share of those texts that it does not abstain from.
    pub coverage: f32,
}

/// A trained model.
pub struct Model {
    bytes: Bytes,
    card: Card,
    /// What helps to read each table of the card.
    tables: Vec<Index>,
}

/// How a table is read.
struct Index {
    /// Where it begins in the model's bytes.
    start: usize,
    /// Shifts a hash to the number of its row.
    shift: u32,
    /// The largest weight.
    scale: f32,
    /// A bit for each row that says anything: small enough to stay near the processor, as the table is not.
    known: Vec<u64>,
}

impl Index {
    fn new(bytes: &[u8], start: usize, table: &Table) -> Index {
        let mut known = vec![0; (1 << table.bits) / 64];
        for (row, weights) in bytes[start..start + (LABELS << table.bits)].chunks_exact(LABELS).enumerate() {
            known[row / 64] |= u64::from(weights != [0; LABELS]) << (row % 64);
        }
        Index { start, shift: 32 - table.bits, scale: table.scale, known }
    }

    /// Finds the rows of the reader's pieces in the `table` and drops the pieces that training never saw: they say
    /// nothing, and take nothing from those that do.
    fn weigh(&self, table: &[[u8; LABELS]], Desk { reader, bytes, rows, .. }: &mut Desk) {
        let mut kept = 0;
        // Without a branch, which the processor would guess wrong.
        for at in 0..reader.pieces.len() {
            let piece = reader.pieces[at];
            reader.pieces[kept] = piece;
            let row = (piece.hash >> self.shift) as usize;
            kept += (self.known[row / 64] >> (row % 64) & 1) as usize;
        }
        reader.pieces.truncate(kept);
        // The rows lie all over the table: in a loop that does nothing else, several are fetched at a time.
        bytes.clear();
        bytes.extend(reader.pieces.iter().map(|piece| table[(piece.hash >> self.shift) as usize]));
        rows.resize(kept, [0.0; LABELS]);
        for (weight, byte) in rows.as_flattened_mut().iter_mut().zip(bytes.as_flattened()) {
            *weight = file::weight(*byte, self.scale);
        }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("card", &self.card).finish_non_exhaustive()
    }
}

/// What is seen of a text besides its letters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signs<'a> {
    /// The text without disguises, where it has any.
    pub folded: Option<&'a str>,
    /// Ids of the rules that fired.
    pub rules: &'a [&'a str],
    /// What the rules say for each label, in the order of [`Label::ALL`]: the model's sums start from it.
    pub nudge: [f32; 5],
    /// Label of the post that this one answers.
    pub answers: Option<Label>,
}

/// What a model thinks of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// Probability of each label, in the order of [`Label::ALL`].
    pub probabilities: [f32; 5],
    /// Below this probability the model abstains.
    pub unsure_below: f32,
    /// The words that weighed most, heaviest first: place, label, weight.
    pub words: Vec<(Range<usize>, Label, f32)>,
}

/// Buffers of one thread, used again for the next text.
#[derive(Default)]
struct Desk {
    reader: Reader,
    /// The row of each piece, as it stands in the table.
    bytes: Vec<[u8; LABELS]>,
    /// The weights of each piece.
    rows: Vec<[f32; LABELS]>,
    /// What each byte of the text weighs for one label.
    spread: Vec<f32>,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::default();
}

impl Model {
    /// The model that the program carries.
    ///
    /// # Errors
    /// When it is not one: see [`Error`].
    pub fn shipped() -> Result<Arc<Model>, Error> {
        static SHIPPED: OnceLock<Arc<Model>> = OnceLock::new();
        if let Some(model) = SHIPPED.get() {
            return Ok(Arc::clone(model));
        }
        let model = Model::from_static(include_bytes!("../../../rules/model/default.bin"))?;
        Ok(Arc::clone(SHIPPED.get_or_init(|| Arc::new(model))))
    }

    /// What it says of itself.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Its file, for keeping it elsewhere.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Judges a normalised, masked text; `None` in a language that it does not know.
    pub fn read(&self, text: &str, lang: Lang, signs: &Signs<'_>) -> Option<Opinion> {
        let number = self.card.tables.iter().position(|table| table.lang == lang)?;
        let table = &self.card.tables[number];
        DESK.with_borrow_mut(|desk| {
            desk.reader.read_all(text, signs);
            let index = &self.tables[number];
            index.weigh(self.bytes.as_slice()[index.start..].as_chunks().0, desk);
            let values = values(&desk.reader.counts());
            let scores = scores(&desk.reader, &desk.rows, &values);
            let scores: [f32; LABELS] = std::array::from_fn(|label| scores[label] + signs.nudge[label]);
            let best = top(&scores);
            let probabilities = softmax(scores.map(|score| score / table.temperature));
            Some(Opinion { probabilities, unsure_below: table.unsure_below, words: words(desk, text, &values, best) })
        })
    }
}

fn scores(reader: &Reader, rows: &[[f32; LABELS]], values: &[f32; Kind::COUNT]) -> [f32; LABELS] {
    let mut kinds = [[0.0_f32; LABELS]; Kind::COUNT];
    for (piece, row) in reader.pieces.iter().zip(rows) {
        let sums = &mut kinds[piece.kind as usize];
        for label in 0..LABELS {
            sums[label] += row[label];
        }
    }
    std::array::from_fn(|label| kinds.iter().zip(values).map(|(sums, value)| sums[label] * value).sum())
}

/// The words that speak most for `label`.
fn words(desk: &mut Desk, text: &str, values: &[f32; Kind::COUNT], label: usize) -> Vec<(Range<usize>, Label, f32)> {
    let Desk { reader, rows, spread, .. } = desk;
    // The slope of what each byte weighs: a piece adds its share where it begins and takes it away where it ends.
    spread.clear();
    spread.resize(text.len() + 1, 0.0);
    for (piece, row) in reader.pieces.iter().zip(rows.iter()).filter(|(piece, _)| piece.to > piece.from) {
        let mean = row.iter().sum::<f32>() / LABELS as f32;
        let share = (row[label] - mean) * values[piece.kind as usize] / (piece.to - piece.from) as f32;
        spread[piece.from as usize] += share;
        spread[piece.to as usize] -= share;
    }
    let mut level = 0.0;
    for place in spread.iter_mut() {
        level += *place;
        *place = level;
    }
    let mut words: Vec<(Range<usize>, Label, f32)> = reader
        .words_of()
        .map(|word| (word.clone(), Label::ALL[label], spread[word].iter().sum()))
        .filter(|(_, _, weight)| *weight >= 0.1)
        .collect();
    words.sort_by(|a, b| b.2.total_cmp(&a.2));
    words.truncate(3);
    words
}

/// What one piece of each kind counts: a kind counts the same in a short text and in a long one.
fn values(counts: &[u32; Kind::COUNT]) -> [f32; Kind::COUNT] {
    std::array::from_fn(|kind| {
        let (count, enough) = (counts[kind].max(1) as f32, features::ENOUGH[kind]);
        features::FACTORS[kind] / if count > enough { count / enough.sqrt() } else { count.sqrt() }
    })
}

fn softmax(scores: [f32; LABELS]) -> [f32; LABELS] {
    let most = scores.iter().copied().fold(f32::MIN, f32::max);
    let powers = scores.map(|score| (score - most).exp());
    let sum: f32 = powers.iter().sum();
    powers.map(|power| power / sum)
}

/// The likeliest label; the earlier one on a tie.
fn top(values: &[f32; LABELS]) -> usize {
    (0..LABELS).rev().max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(0)
}

#[cfg(test)]
mod tests;

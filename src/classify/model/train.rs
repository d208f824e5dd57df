//! Training: plain gradient descent on labelled texts, the same result on every run.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Card, Error, LABELS, Model, Source, Table,
    calibrate::{self, Judged},
    features::{Kind, Reader},
    file, softmax, values,
};
use crate::{
    classify::Classifier,
    mention::{Label, Lang},
};

/// A text with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Normalised and masked.
    pub text: String,
    /// Its language.
    pub lang: Lang,
    /// The label that it teaches.
    pub label: Label,
    /// The label that its source gave it; none where all that is known is what somebody read.
    pub own: Option<Label>,
    /// The label by docs/labels.md, where somebody has read it by that.
    pub read: Option<Label>,
    /// What was read judges the model and does not teach it.
    pub judge_only: bool,
    /// All that is known is that it has not this label: the text is weighed as any of the others.
    pub only_not: Option<Label>,
    /// Where it is from; what is left out together, and what shares its weight.
    pub source: String,
    /// Licence of the source.
    pub licence: String,
    /// What it counts beside others.
    pub weight: f32,
    /// Label of the post that it answers.
    pub answers: Option<Label>,
}

impl Example {
    /// Whether its label is what somebody read.
    pub fn teaches_what_was_read(&self) -> bool {
        self.read.is_some() && !self.judge_only
    }
}

/// How to train.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the model is called.
    pub name: String,
    /// Today, for the card.
    pub date: String,
    /// What was kept out of the examples, for the card.
    pub held_out: Vec<String>,
    /// Rows of a table: 2 to this power.
    pub bits: u32,
    /// How often each text is read.
    pub rounds: u32,
    /// Length of a step.
    pub rate: f32,
    /// Share of pieces that a text loses each time it is read, so that no piece is relied on alone.
    pub dropout: f32,
    /// Share of words that it loses before: the pieces of one word say much the same, and go together.
    pub lost_words: f32,
    /// How often it loses its marks: many people write none.
    pub lost_marks: f32,
    /// What is kept back from the label for all others.
    pub smoothing: f32,
    /// Pulls weights towards zero.
    pub decay: f32,
    /// A piece must be in this many texts.
    pub least_texts: u32,
    /// How far the labels are brought to equal weight: 0 not at all, 1 wholly.
    pub balance: f32,
    /// Weight that all texts of one source and label have together at most; those that teach what was read are a source of
    /// their own there.
    pub most: f32,
    /// The precision that what the model is sure of should have.
    pub precision: f32,
    /// The seed of the order in which texts are read.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: "default".to_owned(),
            date: String::new(),
            held_out: Vec::new(),
            bits: 19,
            rounds: 24,
            rate: 0.1,
            dropout: 0.3,
            lost_words: 0.2,
            lost_marks: 0.2,
            smoothing: 0.05,
            decay: 1e-5,
            least_texts: 2,
            balance: 1.0,
            most: 150.0,
            precision: 0.9,
            seed: 0x6d6f_6b73_6f72_6921,
        }
    }
}

/// One source that was left out, and the model that never saw it.
pub struct Fold {
    /// What was left out: a source, or several trades.
    pub sources: Vec<String>,
    /// The language.
    pub lang: Lang,
    /// Trained and calibrated without them.
    pub model: Model,
}

/// A text as the model sees it.
#[derive(Default)]
struct Reading {
    /// Row of each piece, with its kind in the lowest bits.
    pieces: Vec<u32>,
    /// Where the sums start.
    nudge: [f32; LABELS],
}

/// An example, read as it is written.
struct Seen<'a> {
    example: &'a Example,
    reading: Reading,
    source: usize,
    weight: f32,
}

/// The examples of one language.
struct Lesson<'a> {
    rules: &'a Classifier,
    lang: Lang,
    bits: u32,
    seen: Vec<Seen<'a>>,
    sources: Vec<&'a str>,
}

const KIND_BITS: u32 = 3;
/// How many groups the trades of the corpus are left out in: more would be fairer and take longer.
const TRADE_GROUPS: usize = 3;
/// What the names of the corpus' sources begin with.
pub const CORPUS: &str = "corpus/";

/// Trains a model on `examples`, and measures its doubt on sources left out in turn.
///
/// # Errors
/// [`Error::Examples`] when a language has too little to leave a source out.
pub fn train(rules: &Classifier, examples: &[Example], options: &Options) -> Result<Model, Error> {
    let mut card = card(examples, options);
    let mut tables = Vec::new();
    for lesson in lessons(rules, examples, options)? {
        // The last one leaves nothing out: it is the model.
        let mut groups = lesson.groups();
        groups.push(Vec::new());
        let mut parts = lesson.fit_without(&groups, options);
        let weights = parts.pop().map(|(weights, _)| weights).unwrap_or_default();
        let judged: Vec<Judged> = parts.into_iter().flat_map(|(_, judged)| judged).collect();
        let (table, bytes) = lesson.table(&weights, calibrate::fit(&judged, options.precision), options);
        card.tables.push(table);
        tables.push(bytes);
    }
    Model::assemble(&card, &tables)
}

/// Trains one model for each source, without it; its doubt is measured on the others alone.
///
/// # Errors
/// [`Error::Examples`] when a language has too little to leave a source out.
pub fn leave_out(rules: &Classifier, examples: &[Example], options: &Options) -> Result<Vec<Fold>, Error> {
    let mut folds = Vec::new();
    for lesson in lessons(rules, examples, options)? {
        let groups = lesson.groups();
        let parts = lesson.fit_without(&groups, options);
        for (index, group) in groups.iter().enumerate() {
            let others = parts.iter().enumerate().filter(|(other, _)| *other != index);
            let judged: Vec<Judged> = others.flat_map(|(_, (_, judged))| judged.iter().cloned()).collect();
            let (table, bytes) = lesson.table(&parts[index].0, calibrate::fit(&judged, options.precision), options);
            let card = Card { tables: vec![table], ..card(examples, options) };
            let sources = group.iter().map(|source| lesson.sources[*source].to_owned()).collect();
            folds.push(Fold { sources, lang: lesson.lang, model: Model::assemble(&card, &[bytes])? });
        }
    }
    Ok(folds)
}

fn card(examples: &[Example], options: &Options) -> Card {
    let mut data: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for example in examples {
        data.entry(&example.source).or_insert((0, &example.licence)).0 += 1;
    }
    let source =
        |(name, (texts, licence)): (&str, (usize, &str))| Source { name: name.to_owned(), texts, licence: licence.to_owned() };
    Card {
        name: options.name.clone(),
        date: options.date.clone(),
        data: data.into_iter().map(source).collect(),
        held_out: options.held_out.clone(),
        tables: Vec::new(),
    }
}

fn lessons<'a>(rules: &'a Classifier, examples: &'a [Example], options: &Options) -> Result<Vec<Lesson<'a>>, Error> {
    let mut lessons = Vec::new();
    for lang in [Lang::Ko, Lang::En] {
        let mine: Vec<&Example> = examples.iter().filter(|example| example.lang == lang).collect();
        if mine.is_empty() {
            continue;
        }
        let names: BTreeSet<&str> = mine.iter().map(|example| example.source.as_str()).collect();
        let sources: Vec<&str> = names.into_iter().collect();
        if sources.len() < 2 {
            return Err(Error::Examples(format!("all texts in {} are of one source, none can be left out", lang.as_str())));
        }
        let mut lesson = Lesson { rules, lang, bits: options.bits, seen: Vec::new(), sources };
        let mut reader = Reader::default();
        for example in mine {
            let mut reading = Reading::default();
            lesson.read(&example.text, example.answers, &mut reader, &mut reading);
            let source = lesson.sources.iter().position(|source| *source == example.source).unwrap_or(0);
            lesson.seen.push(Seen { example, reading, source, weight: example.weight });
        }
        weigh(&mut lesson.seen, lesson.sources.len(), options);
        lessons.push(lesson);
    }
    if lessons.is_empty() {
        return Err(Error::Examples("there is no text in Korean or English".to_owned()));
    }
    Ok(lessons)
}

/// Evens out sources and labels.
fn weigh(seen: &mut [Seen<'_>], sources: usize, options: &Options) {
    let source = |seen: &Seen<'_>| seen.source + if seen.example.teaches_what_was_read() { sources } else { 0 };
    let mut counts = vec![[0.0_f32; LABELS]; 2 * sources];
    seen.iter().for_each(|seen| counts[source(seen)][seen.label()] += 1.0);
    let mut totals = [0.0_f32; LABELS];
    for seen in seen.iter_mut() {
        seen.weight *= (options.most / counts[source(seen)][seen.label()]).min(1.0);
        totals[seen.label()] += seen.weight;
    }
    let mean = totals.iter().sum::<f32>() / LABELS as f32;
    for seen in seen {
        seen.weight *= (mean / totals[seen.label()]).powf(options.balance);
    }
}

impl Lesson<'_> {
    /// What is left out together: each public source, and the trades in a few groups.
    fn groups(&self) -> Vec<Vec<usize>> {
        let of_corpus = |source: &usize| self.sources[*source].starts_with(CORPUS);
        let (trades, public): (Vec<usize>, Vec<usize>) = (0..self.sources.len()).partition(of_corpus);
        let mut groups: Vec<Vec<usize>> = public.into_iter().map(|source| vec![source]).collect();
        for part in 0..TRADE_GROUPS.min(trades.len()) {
            groups.push(trades.iter().copied().skip(part).step_by(TRADE_GROUPS).collect());
        }
        groups
    }

    /// Reads a text into `reading`.
    fn read(&self, text: &str, answers: Option<Label>, reader: &mut Reader, reading: &mut Reading) {
        self.rules.signs(text, self.lang, answers, |signs| {
            reading.nudge = signs.nudge;
            reader.read_all(text, signs);
        });
        let row = |hash: u32| hash >> (32 - self.bits);
        reading.pieces.clear();
        reading.pieces.extend(reader.pieces.iter().map(|piece| row(piece.hash) << KIND_BITS | piece.kind as u32));
    }

    /// For each group the weights that were fitted without it, and how they judge it.
    fn fit_without(&self, groups: &[Vec<usize>], options: &Options) -> Vec<(Vec<[f32; LABELS]>, Vec<Judged>)> {
        let part = &|group: &Vec<usize>| {
            let weights = fit(self, |seen| !group.contains(&seen.source), options);
            let judged = self.judge(&weights, group);
            (weights, judged)
        };
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(groups.len());
        std::thread::scope(|scope| {
            let share = |worker: usize| groups.iter().skip(worker).step_by(count);
            let work = |worker| scope.spawn(move || share(worker).map(part).collect::<Vec<_>>());
            let workers: Vec<_> = (0..count).map(work).collect();
            let done = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            let mut parts: Vec<_> = done.map(Vec::into_iter).collect();
            (0..groups.len()).filter_map(|at| parts[at % count].next()).collect()
        })
    }

    fn judge(&self, weights: &[[f32; LABELS]], group: &[usize]) -> Vec<Judged> {
        let Some(first) = group.first() else { return Vec::new() };
        let seen = self.seen.iter().filter(|seen| group.contains(&seen.source));
        let count = seen.clone().count().max(1) as f32;
        // The trades are what customers write, the public sources mostly something near it.
        let customer = self.sources[*first].starts_with(CORPUS);
        let share = if customer { 2.0 } else { 1.0 };
        seen.filter(|seen| seen.example.only_not.is_none())
            .map(|seen| {
                let values = seen.reading.values(|row| weights[row] != [0.0; LABELS]);
                let scores = scores(weights, &seen.reading, &values, 0.0, |_| true);
                Judged { scores, label: seen.label(), weight: share / count, customer }
            })
            .collect()
    }

    fn table(&self, weights: &[[f32; LABELS]], doubt: calibrate::Doubt, options: &Options) -> (Table, Vec<u8>) {
        let scale = weights.iter().flatten().fold(1e-6_f32, |most, weight| most.max(weight.abs()));
        let bytes = weights.iter().flatten().map(|weight| file::byte(*weight, scale)).collect();
        let calibrate::Doubt { temperature, unsure_below, precision, coverage } = doubt;
        (Table { lang: self.lang, bits: options.bits, scale, temperature, unsure_below, precision, coverage }, bytes)
    }
}

impl Seen<'_> {
    fn label(&self) -> usize {
        self.example.label as usize
    }
}

impl Reading {
    /// What a piece of each kind counts when only those are counted whose rows are known.
    fn values(&self, known: impl Fn(usize) -> bool) -> [f32; Kind::COUNT] {
        let mut counts = [0; Kind::COUNT];
        for piece in self.pieces.iter().filter(|piece| known((*piece >> KIND_BITS) as usize)) {
            counts[kind(*piece)] += 1;
        }
        values(&counts)
    }
}

fn kind(piece: u32) -> usize {
    (piece & ((1 << KIND_BITS) - 1)) as usize
}

/// The sums of one text over the pieces that are kept; what they lose by the others is made up for.
fn scores(
    weights: &[[f32; LABELS]],
    reading: &Reading,
    values: &[f32; Kind::COUNT],
    dropout: f32,
    mut takes: impl FnMut(usize) -> bool,
) -> [f32; LABELS] {
    let mut scores = [0.0; LABELS];
    for (index, piece) in reading.pieces.iter().enumerate() {
        if takes(index) {
            let value = values[kind(*piece)];
            let row = &weights[(piece >> KIND_BITS) as usize];
            for label in 0..LABELS {
                scores[label] += row[label] * value;
            }
        }
    }
    std::array::from_fn(|label| scores[label] / (1.0 - dropout) + reading.nudge[label])
}

/// Fits the weights to the examples that `takes` lets in: AdaGrad on texts that lose a part each time they are read,
/// averaged over the second half of the rounds.
fn fit(lesson: &Lesson<'_>, takes: impl Fn(&Seen<'_>) -> bool, options: &Options) -> Vec<[f32; LABELS]> {
    let rows = 1_usize << options.bits;
    let mut order: Vec<&Seen<'_>> = lesson.seen.iter().filter(|seen| takes(seen)).collect();
    let known = known(&order, rows, options.least_texts);
    let mut weights = vec![[0.0_f32; LABELS]; rows];
    let mut squares = vec![1e-3_f32; rows];
    let mut dice = Dice(options.seed | 1);
    let (mut reader, mut reading) = (Reader::default(), Reading::default());
    let (mut text, mut kept): (String, Vec<bool>) = (String::new(), Vec::new());
    let mut means = vec![[0.0_f32; LABELS]; rows];
    let averaged = options.rounds.div_ceil(2);
    for round in 0..options.rounds {
        for at in (1..order.len()).rev() {
            order.swap(at, (dice.next() % (at as u64 + 1)) as usize);
        }
        let rate = options.rate * (1.0 - 0.8 * round as f32 / options.rounds as f32);
        for seen in &order {
            lose(&seen.example.text, &mut dice, options, &mut text);
            lesson.read(&text, seen.example.answers, &mut reader, &mut reading);
            let values = &reading.values(|row| known[row]);
            kept.clear();
            kept.extend(
                reading.pieces.iter().map(|piece| known[(piece >> KIND_BITS) as usize] && dice.unit() >= options.dropout),
            );
            let sums = scores(&weights, &reading, values, options.dropout, |index| kept[index]);
            let pull = pull(softmax(sums), seen, options);
            let size: f32 = pull.iter().map(|part| part * part).sum();
            for piece in reading.pieces.iter().zip(&kept).filter_map(|(piece, kept)| kept.then_some(piece)) {
                let value = values[kind(*piece)] / (1.0 - options.dropout);
                let row = (piece >> KIND_BITS) as usize;
                squares[row] += size * value * value;
                let step = rate / squares[row].sqrt();
                let decay = 1.0 - rate * options.decay / value;
                for label in 0..LABELS {
                    weights[row][label] = weights[row][label] * decay - step * pull[label] * value;
                }
            }
        }
        if round >= options.rounds - averaged {
            for (mean, row) in means.iter_mut().zip(&weights) {
                *mean = std::array::from_fn(|label| mean[label] + row[label] / averaged as f32);
            }
        }
    }
    means
}

/// Writes into `rest` what is left of a text that loses some words and perhaps its marks; never nothing.
fn lose(text: &str, dice: &mut Dice, options: &Options, rest: &mut String) {
    rest.clear();
    rest.extend(text.split_inclusive(char::is_whitespace).filter(|_| dice.unit() >= options.lost_words));
    if dice.unit() < options.lost_marks {
        rest.retain(|c| !matches!(c, '.' | ',' | '!' | '?' | '~' | ';'));
    }
    if rest.trim().is_empty() {
        rest.clear();
        rest.push_str(text);
    }
}

/// The gradient of the loss of one text.
fn pull(probabilities: [f32; LABELS], seen: &Seen<'_>, options: &Options) -> [f32; LABELS] {
    let mut pull = probabilities;
    match seen.example.only_not.map(|label| label as usize) {
        Some(not) => {
            let rest = (1.0 - probabilities[not]).max(1e-6);
            for label in (0..LABELS).filter(|label| *label != not) {
                pull[label] -= probabilities[label] / rest;
            }
        }
        None => {
            pull.iter_mut().for_each(|part| *part -= options.smoothing / LABELS as f32);
            pull[seen.label()] -= 1.0 - options.smoothing;
        }
    }
    pull.map(|part| part * seen.weight)
}

/// Rows whose pieces are in enough texts.
fn known(seen: &[&Seen<'_>], rows: usize, least: u32) -> Vec<bool> {
    let mut counts = vec![0_u32; rows];
    let mut last = vec![u32::MAX; rows];
    for (index, seen) in seen.iter().enumerate() {
        for row in seen.reading.pieces.iter().map(|piece| (piece >> KIND_BITS) as usize) {
            if last[row] != index as u32 {
                last[row] = index as u32;
                counts[row] += 1;
            }
        }
    }
    counts.into_iter().map(|count| count >= least).collect()
}

/// The same numbers on every run (xorshift).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_loses_words_and_marks_and_never_all_of_it() {
        let rest = |lost_words, lost_marks| {
            let (mut dice, mut rest) = (Dice(7), String::new());
            lose("Late again, why?", &mut dice, &Options { lost_words, lost_marks, ..Options::default() }, &mut rest);
            rest
        };
        assert_eq!(rest(0.0, 0.0), "Late again, why?");
        assert_eq!(rest(0.0, 1.0), "Late again why");
        assert_eq!(rest(1.0, 0.0), "Late again, why?");
        assert!(["Late ", "again, ", "why?", "Late again, ", "Late why?", "again, why?"].contains(&rest(0.5, 0.0).as_str()));
    }
}

//! English words by their stem, and the few forms that no stem can know: stole and stolen.

use super::{check::Unit, tokens::Cutter};

/// Forms that belong together and share no stem.
const IRREGULAR: [&str; 60] = [
    "be am is are was were been",
    "begin began begun",
    "break broke broken",
    "bring brought",
    "build built",
    "buy bought",
    "catch caught",
    "choose chose chosen",
    "come came",
    "cost costs",
    "do does did done",
    "drink drank drunk",
    "drive drove driven",
    "eat ate eaten",
    "fall fell fallen",
    "feel felt",
    "fight fought",
    "find found",
    "fly flew flown",
    "forget forgot forgotten",
    "freeze froze frozen",
    "get got gotten",
    "give gave given",
    "go goes went gone",
    "grow grew grown",
    "have has had",
    "hear heard",
    "hide hid hidden",
    "hold held",
    "keep kept",
    "know knew known",
    "lead led",
    "leave left",
    "lend lent",
    "lose lost",
    "make made",
    "mean meant",
    "meet met",
    "pay paid",
    "ride rode ridden",
    "run ran",
    "say said",
    "see saw seen",
    "sell sold",
    "send sent",
    "sing sang sung",
    "sleep slept",
    "speak spoke spoken",
    "spend spent",
    "stand stood",
    "steal stole stolen",
    "swim swam swum",
    "take took taken",
    "teach taught",
    "tell told",
    "think thought",
    "throw threw thrown",
    "wear wore worn",
    "win won",
    "write wrote written",
];

/// The unit of a word, by its stem.
pub(super) fn stem(word: &str, cutter: &mut Cutter) -> Unit {
    let mut unit = 0;
    cutter.atoms(word, &mut |atom| unit = atom.unit);
    unit
}

/// The word and its irregular forms, each with its unit.
pub(super) fn forms(word: &str, cutter: &mut Cutter) -> Vec<(String, Unit)> {
    let typed = stem(word, cutter);
    let mut forms = vec![(word.to_owned(), typed)];
    for group in IRREGULAR {
        let group: Vec<(String, Unit)> = group.split(' ').map(|form| (form.to_owned(), stem(form, cutter))).collect();
        if group.iter().any(|(_, unit)| *unit == typed) {
            forms.extend(group.into_iter().filter(|(_, unit)| *unit != typed));
            break;
        }
    }
    forms
}

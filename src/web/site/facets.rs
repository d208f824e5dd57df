//! Narrower searches beside a result: each value is a link, and the way back when it is on.

use jiff::{ToSpan, civil::Date};

use super::{fill::team_name, finding::Asked, pages::Desktop};
use crate::{
    case::Status,
    mention::Label,
    queue::Reader,
    search::Found,
    web::views::{Facet, FacetItem, Frame},
};

/// The days since which hits are counted: a week, a month and a year before today.
pub(super) fn days(f: &Frame) -> Vec<Date> {
    let today = f.now.timestamp().to_zoned(f.zone.clone()).date();
    [7.days(), 30.days(), 1.year()].into_iter().filter_map(|span| today.checked_sub(span).ok()).collect()
}

/// Narrower searches; one that is on leads back to the wider search.
pub(super) fn facets(reader: &Reader<'_>, desktop: &Desktop, found: &Found, asked: &Asked) -> Vec<Facet> {
    let f = &desktop.f;
    let mut periods = [f.w.period_week, f.w.period_month, f.w.period_year].into_iter();
    let ours = |key: &str| {
        let account = reader.catalog.account_by_key(key)?;
        let mine = |team: &crate::staff::TeamId| reader.catalog.team(*team).is_some_and(|team| team.brand == account.brand);
        desktop.viewer.visible_teams().iter().any(mine).then(|| account.handle.clone())
    };
    let mut facets: Vec<Facet> = Vec::new();
    for facet in &found.facets {
        let (title, name) = match facet.field {
            "posted" => (f.w.facet_period, periods.next().map(str::to_owned)),
            "label" => (f.w.facet_label, Some(f.w.label(Label::parse(&facet.value)).to_owned())),
            "team" => (f.w.facet_team, reader.catalog.team_by_key(&facet.value).map(|team| team_name(team, f.language))),
            "platform" => (f.w.facet_platform, None),
            // Another brand's account may have caught the same post.
            "account" => match ours(&facet.value) {
                Some(handle) => (f.w.facet_account, Some(handle)),
                None => continue,
            },
            "lang" => (f.w.facet_lang, None),
            "status" => (f.w.facet_state, Status::parse(&facet.value).map(|status| f.w.status(status).to_owned())),
            "sla" => (f.w.facet_sla, Some(if facet.value == "met" { f.w.met } else { f.w.overdue }.to_owned())),
            "disposition" => (f.w.facet_disposition, Some(desktop.fill(reader).disposition(&facet.value, f.language))),
            _ => continue,
        };
        let (q, on) = toggled(&asked.q, facet.field, &facet.value);
        let item = FacetItem {
            name: name.unwrap_or_else(|| facet.value.clone()),
            count: u64::try_from(facet.count).unwrap_or(u64::MAX),
            href: asked.address(&q, 0),
            on,
        };
        match facets.last_mut().filter(|last| last.title == title) {
            Some(last) => last.items.push(item),
            None => facets.push(Facet { title: title.into(), items: vec![item] }),
        }
    }
    facets
}

/// The query with a condition added or, where it is on, taken away; and whether it is on. One period replaces
/// another, and what stands beside an `OR` is kept together.
fn toggled(q: &str, field: &str, value: &str) -> (String, bool) {
    let term = format!("{field}:{value}");
    let is = |word: &&str| word.eq_ignore_ascii_case(&term);
    if q.split_whitespace().any(|word| is(&word)) {
        return (q.split_whitespace().filter(|word| !is(word)).collect::<Vec<_>>().join(" "), true);
    }
    let period = |word: &&str| field == "posted" && word.starts_with("posted:");
    let rest = q.split_whitespace().filter(|word| !period(word)).collect::<Vec<_>>().join(" ");
    let either = rest.split_whitespace().any(|word| word == "OR");
    (
        if either && !rest.starts_with('(') { format!("({rest}) {term}") } else { format!("{rest} {term}").trim().to_owned() },
        false,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_added_once_and_taken_away_again() {
        for (q, field, value, expected) in [
            ("배송", "label", "complaint", ("배송 label:complaint", false)),
            ("배송 Label:complaint 지연", "label", "complaint", ("배송 지연", true)),
            ("a OR b", "team", "cs", ("(a OR b) team:cs", false)),
            ("(a OR b) team:cs", "lang", "ko", ("(a OR b) team:cs lang:ko", false)),
            ("배송 posted:2026-11-01", "posted", ">=2026-11-20", ("배송 posted:>=2026-11-20", false)),
            ("posted:>=2026-11-20", "posted", ">=2026-11-20", ("", true)),
        ] {
            let (toggled, on) = toggled(q, field, value);
            assert_eq!((toggled.as_str(), on), expected, "{q}");
        }
    }
}

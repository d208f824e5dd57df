//! Tables of what people type, and of what they typed wrong.

use super::*;

fn tree(text: &str) -> String {
    match text.parse::<Query>() {
        Ok(query) => query.to_string(),
        Err(error) => format!("! {error}"),
    }
}

#[test]
fn what_is_typed_becomes_a_tree() {
    let table = [
        ("", "everything"),
        ("  \t ", "everything"),
        ("배송", "배송"),
        ("배송 지연", "(and 배송 지연)"),
        ("배송 AND 지연", "(and 배송 지연)"),
        ("배송 -환불", "(and 배송 (not 환불))"),
        ("-환불", "(not 환불)"),
        ("배송 - 환불", "(and 배송 - 환불)"),
        ("배송-지연", "배송-지연"),
        ("환\u{200b}불 ａｐｐ \"배\u{202e}송\"", "(and 환불 app \"배송\")"),
        ("a OR b c", "(or a (and b c))"),
        ("(a OR b) c", "(and (or a b) c)"),
        ("-(a OR b)", "(not (or a b))"),
        ("a or b", "(and a or b)"),
        ("배송*", "배송*"),
        ("\"배송 지연\"", "\"배송 지연\""),
        ("“배송 지연”", "\"배송 지연\""),
        ("\"배송 지연\"~3", "\"배송 지연\"~3"),
        ("\"배송 지연\"~99", "\"배송 지연\"~10"),
        ("\"배송 지연\"~x", "(and \"배송 지연\" ~x)"),
        ("label:complaint", "label:complaint"),
        ("LABEL:Complaint", "label:complaint"),
        ("label:Unsorted", "label:unsorted"),
        ("team:\"고객 지원\" 환불", "(and team:고객 지원 환불)"),
        ("agent:^KG author:@minji", "(and agent:^kg author:minji)"),
        ("state:open status:waiting_customer", "(and status:open status:waiting_customer)"),
        ("sla:breached has:reply lang:ko", "(and sla:breached has:reply lang:ko)"),
        ("reach:>10000 reach:<10 reach:5..9 reach:1,000", "(and reach:10001.. reach:0..9 reach:5..9 reach:1000..1000)"),
        ("posted:2026-11-01", "posted:2026-11-01..2026-11-01"),
        ("posted:2026-11-01..11-21", "posted:2026-11-01..2026-11-21"),
        ("posted:2026-11-01..21", "posted:2026-11-01..2026-11-21"),
        ("posted:2026-11-01..2027-01-05", "posted:2026-11-01..2027-01-05"),
        ("posted:>2026-11-30", "posted:2026-12-01.."),
        ("posted:<2026-11-01", "posted:..2026-10-31"),
        ("posted:..2026-11-01", "posted:..2026-11-01"),
        ("posted:2026-11-01T14", "posted:2026-11-01T14:00..2026-11-01T14:59"),
        ("posted:2026-11-01t14:30..14:40", "posted:2026-11-01T14:30..2026-11-01T14:40"),
        ("posted:2026-11-01T22..2026-11-02T03", "posted:2026-11-01T22:00..2026-11-02T03:59"),
        ("posted:>=2026-11-01T14:30", "posted:2026-11-01T14:30.."),
        ("incident:31 incident:INC-7 incident:#8", "(and incident:31 incident:7 incident:8)"),
        ("answered:<12m answered:>1h", "(and answered:0s..719s answered:3601s..)"),
        ("answered:12m..1h30m", "answered:720s..5400s"),
        ("disposition:Refund", "disposition:refund"),
        ("-label:abuse", "(not label:abuse)"),
        ("https://shop.example/a", "https://shop.example/a"),
        ("14:30", "14:30"),
        ("가격:만원", "가격:만원"),
    ];
    for (text, expected) in table {
        assert_eq!(tree(text), expected, "{text}");
    }
}

#[test]
fn an_error_says_what_and_where() {
    let table = [
        ("배송 지연이 심해요 \"환불", "! the quote at character 12 is not closed"),
        ("team:\"cs", "! the quote at character 6 is not closed"),
        ("(배송", "! the parenthesis at character 1 is not closed"),
        ("배송 (지연 (", "! the parenthesis at character 8 is not closed"),
        ("배송) 지연", "! the parenthesis at character 3 closes nothing"),
        ("a ()", "! the parentheses at character 3 are empty"),
        ("OR a", "! the OR at character 1 needs a word on each side"),
        ("a OR", "! the OR at character 3 needs a word on each side"),
        ("a OR OR b", "! the OR at character 3 needs a word on each side"),
        ("a -OR b", "! the OR at character 4 needs a word on each side"),
        ("lable:complaint", "! there is no field lable (character 1)"),
        ("a label:angry", "! label at character 3 takes complaint, question, proposal, abuse, other or unsorted"),
        ("team:", "! team at character 1 takes a name"),
        ("reach:>many", "! reach at character 1 takes a number, >1000, <1000 or 1000..5000"),
        ("reach:9..5", "! reach at character 1 takes a number, >1000, <1000 or 1000..5000"),
        (
            "posted:2026-13-01",
            "! posted at character 1 takes a day as 2026-11-01, an hour as 2026-11-01T14, >day, <day or day..day",
        ),
        (
            "posted:2026-11-21..01",
            "! posted at character 1 takes a day as 2026-11-01, an hour as 2026-11-01T14, >day, <day or day..day",
        ),
        (
            "posted:2026-11-01T25",
            "! posted at character 1 takes a day as 2026-11-01, an hour as 2026-11-01T14, >day, <day or day..day",
        ),
        ("답변 answered:soon", "! answered at character 4 takes a span as <12m, >1h or 12m..1h"),
        ("incident:big", "! incident at character 1 takes the number of an incident"),
        ("posted:..", "! posted at character 1 takes a day as 2026-11-01, an hour as 2026-11-01T14, >day, <day or day..day"),
    ];
    for (text, expected) in table {
        assert_eq!(tree(text), expected, "{text}");
    }
}

#[test]
fn size_and_depth_are_limited() {
    assert_eq!(tree(&"가".repeat(MAX_CHARS + 1)), "! the query is longer than 1000 characters");
    assert!(!tree(&"가".repeat(MAX_CHARS)).starts_with('!'));
    assert_eq!(tree(&"가 ".repeat(MAX_TERMS + 1)), "! the query has more than 64 words, from character 129 on");
    assert!(!tree(&"가 ".repeat(MAX_TERMS)).starts_with('!'));
    assert_eq!(tree(&format!("{}a", "-".repeat(17))), "! the query is nested deeper than 16 at character 17");
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(tree(&nested(16)), "a");
    assert_eq!(tree(&nested(17)), "! the query is nested deeper than 16 at character 17");
}

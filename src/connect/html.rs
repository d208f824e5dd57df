//! Turns the HTML of a post into the lines that a person reads.

/// Elements whose text nobody sees.
const UNSEEN: [&str; 4] = ["script", "style", "head", "template"];

/// Tags at which a new line begins or ends.
const BLOCKS: [&str; 11] = ["p", "div", "blockquote", "li", "ul", "ol", "tr", "h1", "h2", "h3", "pre"];

/// Elements that have no end tag.
const VOID: [&str; 6] = ["br", "hr", "img", "input", "meta", "wbr"];

/// A longer tag is text: every "<" is looked at once, and hostile input has many.
const LONGEST_TAG: usize = 8 * 1024;

/// The text of `html`: `<br>` and blocks make lines, `.invisible` is dropped, entities are resolved.
/// Never fails: what is no tag is text.
pub fn html_to_text(html: &str) -> String {
    text_of(html, false)
}

/// The text of `html` as its writer typed it: with the parts of addresses that are not shown.
pub(super) fn html_as_typed(html: &str) -> String {
    text_of(html, true)
}

fn text_of(html: &str, with_invisible: bool) -> String {
    let mut out = String::with_capacity(html.len());
    // Names of the elements that are open since one that is not shown, outermost first.
    let mut hidden: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        if hidden.is_empty() {
            push_text(&mut out, &rest[..open]);
        }
        rest = &rest[open..];
        let Some((tag, after)) = split_tag(rest) else {
            // A lone "<" is what its writer typed.
            if hidden.is_empty() {
                out.push('<');
            }
            rest = &rest[1..];
            continue;
        };
        rest = after;
        if tag.starts_with("!--") || tag.starts_with('!') || tag.starts_with('?') {
            continue;
        }
        let closing = tag.starts_with('/');
        let name =
            tag.trim_start_matches('/').split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or("").to_lowercase();
        if hidden.is_empty() {
            match name.as_str() {
                "br" => out.push('\n'),
                block if BLOCKS.contains(&block) && !out.is_empty() && !out.ends_with('\n') => out.push('\n'),
                _ => {}
            }
        }
        let void = VOID.contains(&name.as_str()) || tag.ends_with('/');
        if closing {
            if let Some(at) = hidden.iter().rposition(|open| *open == name) {
                hidden.truncate(at);
            }
        } else if !void && (!hidden.is_empty() || UNSEEN.contains(&name.as_str()) || (!with_invisible && invisible(tag))) {
            hidden.push(name);
        }
    }
    if hidden.is_empty() {
        push_text(&mut out, rest);
    }
    let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
    lines.join("\n").trim().to_owned()
}

/// Resolves entities; line ends inside HTML text are spaces.
fn push_text(out: &mut String, raw: &str) {
    for character in htmlize::unescape(raw).chars() {
        match character {
            '\n' | '\r' | '\t' | ' ' if out.is_empty() || out.ends_with([' ', '\n']) => {}
            '\n' | '\r' | '\t' => out.push(' '),
            '\u{a0}' => out.push(' '),
            _ => out.push(character),
        }
    }
}

/// The inside of the tag at the start of `text`, and what follows it. A tag starts with a letter, `/`,
/// `!` or `?`, and a ">" inside a quoted attribute does not end it.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    if let Some(comment) = text.strip_prefix("<!--") {
        // A comment that does not end hides the rest, as in a browser.
        return Some(("!--", comment.find("-->").map_or("", |end| &comment[end + 3..])));
    }
    if !text[1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c)) {
        return None;
    }
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate().take(LONGEST_TAG).skip(1) {
        match (quote, byte) {
            (None, b'>') => return Some((&text[1..at], &text[at + 1..])),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

/// Whether a tag's class list has `invisible`.
fn invisible(tag: &str) -> bool {
    tag.split_once("class=").is_some_and(|(_, value)| {
        let mut chars = value.chars();
        let list = match chars.next() {
            Some(quote @ ('"' | '\'')) => chars.as_str().split(quote).next(),
            _ => value.split_whitespace().next(),
        };
        list.is_some_and(|list| list.split_whitespace().any(|class| class == "invisible"))
    })
}

#[cfg(test)]
mod tests {
    use super::{html_as_typed, html_to_text};

    #[test]
    fn html_becomes_the_lines_that_people_read() {
        for (html, text) in [
            ("<p>배송이 안 와요.<br />환불해 주세요</p>", "배송이 안 와요.\n환불해 주세요"),
            ("<p>하나</p><p>둘</p>", "하나\n둘"),
            (
                "<p><span class=\"h-card\"><a href=\"https://x.example/@a\" class=\"u-url mention\">@<span>a</span></a></span> 안녕</p>",
                "@a 안녕",
            ),
            (
                "<a href=\"https://example.com/a/long\"><span class=\"invisible\">https://</span><span class=\"ellipsis\">example.com/a</span><span class=\"invisible\">/long</span></a>",
                "example.com/a",
            ),
            ("<span class='quote invisible'>안<b>보</b>임</span>보임", "보임"),
            ("a &lt;b&gt; &amp; &#x27;c&#39; &nbsp;d", "a <b> & 'c'  d"),
            ("3 < 4 이고 5 > 2", "3 < 4 이고 5 > 2"),
            ("<3 사랑해요", "<3 사랑해요"),
            ("<p title=\"a > b\">본문</p>", "본문"),
            ("앞<!-- 주석 > 아님 -->뒤", "앞뒤"),
            ("<script>alert(1)</script>글", "글"),
            ("<ul><li>하나</li><li>둘</li></ul>", "하나\n둘"),
            ("줄\n바꿈은 칸", "줄 바꿈은 칸"),
            ("끊긴 <a href=\"x", "끊긴 <a href=\"x"),
            ("", ""),
            ("그냥 글", "그냥 글"),
        ] {
            assert_eq!(html_to_text(html), text, "{html}");
        }
    }

    #[test]
    fn an_address_is_whole_as_its_writer_typed_it() {
        let html = "<p>여기: <a href='https://example.com/a/long'><span class='invisible'>https://</span><span>example.com/a</span><span class='invisible'>/long</span></a></p>";
        assert_eq!(html_as_typed(html), "여기: https://example.com/a/long");
    }

    #[test]
    fn a_flood_of_open_angles_takes_no_longer_than_its_length_allows() {
        // 256 KiB is the most that an envelope may carry.
        let text = html_to_text(&"<a".repeat(20_000));
        assert!(text.starts_with("<a<a"));
    }
}

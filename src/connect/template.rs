//! The expressions of a connector file: templates with a closed set of values and filters, and paths.
//!
//! A template can read what [`VALUES`] lists and call the filters below; it can call no function, read
//! no file and include no other template. A value that starts with `$` is an RFC 9535 path instead.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD};
use minijinja::{Environment, UndefinedBehavior, context, value::Kwargs};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value as Json;
use serde_json_path::JsonPath;

/// The names that a template may read. `item` is the record being mapped.
pub const VALUES: [&str; 19] = [
    "account",
    "auth",
    "body",
    "cursor",
    "each",
    "extra",
    "handle",
    "id",
    "ids",
    "item",
    "now",
    "page",
    "query",
    "reply",
    "root",
    "secret",
    "setting",
    "tag",
    "timestamp",
];

/// The names that a field of a map may read: no secret is part of a post.
const IN_FIELDS: [&str; 3] = ["account", "item", "setting"];

static FILTERS: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut filters = Environment::empty();
    filters.set_undefined_behavior(UndefinedBehavior::Strict);
    filters.add_filter("base64", |text: &str| BASE64_STANDARD.encode(text));
    filters.add_filter("default", minijinja::filters::default);
    filters.add_filter("first", minijinja::filters::first);
    filters.add_filter("int", minijinja::filters::int);
    filters.add_filter("join", minijinja::filters::join);
    filters.add_filter("last", minijinja::filters::last);
    filters.add_filter("lower", minijinja::filters::lower);
    filters.add_filter("map", minijinja::filters::map);
    filters.add_filter("plain", |html: &str| super::html::html_as_typed(html));
    filters.add_filter("replace", minijinja::filters::replace);
    filters.add_filter("split", minijinja::filters::split);
    filters.add_filter("trim", minijinja::filters::trim);
    filters.add_filter("urlencode", |text: &str, _options: Kwargs| urlencode(text));
    filters.add_test("defined", minijinja::tests::is_defined);
    filters
});

/// The filters and tests of [`FILTERS`].
const CALLED: [&str; 14] = [
    "base64",
    "default",
    "defined",
    "first",
    "int",
    "join",
    "last",
    "lower",
    "map",
    "plain",
    "replace",
    "split",
    "trim",
    "urlencode",
];

/// Percent-encodes all but the unreserved characters of RFC 3986.
pub fn urlencode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// The names of filters and tests in a template: what stands behind `|` and `is`, outside of quotes.
fn called(source: &str) -> Vec<String> {
    let (mut names, mut expected, mut quote, mut inside) = (Vec::new(), false, None, false);
    let mut rest = source;
    while let Some(sign) = rest.chars().next() {
        let word = rest.chars().take_while(|sign| sign.is_alphanumeric() || *sign == '_').map(char::len_utf8).sum::<usize>();
        let length = match (quote, inside) {
            (Some(open), _) => {
                quote = quote.filter(|_| sign != open);
                if sign == '\\' { 1 + rest.chars().nth(1).map_or(0, char::len_utf8) } else { sign.len_utf8() }
            }
            (None, false) => {
                inside = rest.starts_with("{{") || rest.starts_with("{%");
                if inside { 2 } else { sign.len_utf8() }
            }
            (None, true) if word > 0 => {
                let found = &rest[..word];
                if expected && found != "not" {
                    names.push(found.to_owned());
                }
                expected = found == "is" || (expected && found == "not");
                word
            }
            (None, true) => {
                inside = !(rest.starts_with("}}") || rest.starts_with("%}"));
                quote = matches!(sign, '\'' | '"').then_some(sign);
                expected = sign == '|' || (expected && sign.is_whitespace());
                sign.len_utf8()
            }
        };
        rest = &rest[length.min(rest.len())..];
    }
    names
}

/// A checked template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Checks syntax, filters and the names it reads.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn parse(source: &str) -> Result<Template, String> {
        let reason = |error: minijinja::Error| {
            format!("{} in the template `{source}`", error.detail().unwrap_or(&error.kind().to_string()))
        };
        let template = FILTERS.template_from_str(source).map_err(reason)?;
        for name in template.undeclared_variables(false) {
            if !VALUES.contains(&name.as_str()) {
                return Err(format!("unknown value `{name}` in a template; there are {}", VALUES.join(", ")));
            }
        }
        // The parser takes any name of a filter or test, and rendering tells only of what it comes to.
        if let Some(name) = called(source).into_iter().find(|name| !CALLED.contains(&name.as_str())) {
            return Err(format!("unknown filter or test `{name}` in the template `{source}`; there are {}", CALLED.join(", ")));
        }
        match template.render(context! {}) {
            Err(error) if error.kind() == minijinja::ErrorKind::UnknownFunction => Err(reason(error)),
            _ => Ok(Template(source.to_owned())),
        }
    }

    /// Whether nothing is written.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a template that is one whole `{{ x }}`, with its type; none where it is absent.
    ///
    /// # Errors
    /// As for [`Template::render`].
    pub(super) fn value(&self, values: &minijinja::Value) -> Result<Option<Json>, super::Error> {
        let failed = |reason: String| super::Error::Template { template: self.0.clone(), reason };
        let expression = super::body::whole(&self.0).ok_or_else(|| failed("no single value".into()))?;
        let value = FILTERS.compile_expression(expression).and_then(|expression| expression.eval(values));
        let value = value.map_err(|error| failed(error.kind().to_string()))?;
        if value.is_undefined() {
            return Ok(None);
        }
        serde_json::to_value(value).map(Some).map_err(|_| failed("not a JSON value".into()))
    }

    /// Whether it renders `true`.
    ///
    /// # Errors
    /// As for [`Template::render`].
    pub(super) fn holds(&self, values: &minijinja::Value) -> Result<bool, super::Error> {
        Ok(self.render(values)?.trim().eq_ignore_ascii_case("true"))
    }

    /// Whether it reads `secret.NAME`.
    pub(super) fn names(&self, secret: &str) -> bool {
        self.0.contains(&format!("secret.{secret}"))
    }

    /// Whether it reads the value `name`.
    pub(super) fn reads(&self, name: &str) -> bool {
        FILTERS.template_from_str(&self.0).is_ok_and(|template| template.undeclared_variables(false).contains(name))
    }

    /// The text with its values filled in.
    ///
    /// # Errors
    /// When a value is missing or a filter refuses it; the message holds the template, never a value.
    pub fn render(&self, values: &minijinja::Value) -> Result<String, super::Error> {
        if !self.0.contains("{{") && !self.0.contains("{%") {
            return Ok(self.0.clone());
        }
        FILTERS
            .render_str(&self.0, values)
            .map_err(|error| super::Error::Template { template: self.0.clone(), reason: error.kind().to_string() })
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Template::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// An RFC 9535 path: `$.account.id`.
#[derive(Clone, Debug)]
pub struct Path(JsonPath);

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// Where the path stops making sense.
    pub fn parse(source: &str) -> Result<Path, String> {
        JsonPath::parse(source).map(Path).map_err(|error| format!("`{source}` is not an RFC 9535 path: {error}"))
    }

    /// All values that it points at.
    pub fn all<'json>(&self, json: &'json Json) -> Vec<&'json Json> {
        self.0.query(json).all()
    }

    /// The first value that it points at, null being none.
    pub fn first<'json>(&self, json: &'json Json) -> Option<&'json Json> {
        self.0.query(json).first().filter(|value| !value.is_null())
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Path::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Where a field comes from: a path (`$.id`) or a template over `item` (`{{ item.title }}`).
#[derive(Clone, Debug)]
pub enum Field {
    /// Points into the item.
    Path(Path),
    /// Is put together from the item, or constant.
    Template(Template),
}

impl Field {
    /// The value for `item` as text, `about` being the account and its settings; nothing where it is absent, null
    /// or empty.
    pub fn text(&self, item: &Json, about: &minijinja::Value) -> Option<String> {
        let text = match self {
            Field::Path(path) => scalar(path.first(item)?)?,
            Field::Template(template) => {
                let values = context! { item => item, ..about.clone() };
                if super::body::whole(&template.0).is_some() {
                    scalar(&template.value(&values).ok()??)?
                } else {
                    template.render(&values).ok()?
                }
            }
        };
        (!text.is_empty()).then_some(text)
    }

    /// All values for `item` as texts.
    pub fn texts(&self, item: &Json, about: &minijinja::Value) -> Vec<String> {
        match self {
            Field::Path(path) => path.all(item).into_iter().filter_map(scalar).collect(),
            Field::Template(_) => self.text(item, about).into_iter().collect(),
        }
    }
}

/// A string, number or truth value as text.
pub(super) fn scalar(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(truth) => Some(truth.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = String::deserialize(deserializer)?;
        if source.starts_with('$') {
            return Path::parse(&source).map(Field::Path).map_err(de::Error::custom);
        }
        let template = Template::parse(&source).map_err(de::Error::custom)?;
        match VALUES.iter().find(|name| !IN_FIELDS.contains(name) && template.reads(name)) {
            Some(name) => Err(de::Error::custom(format!("a field reads `item`, `account` and `setting`, not `{name}`"))),
            None => Ok(Field::Template(template)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secret::Secret;

    #[test]
    fn templates_fill_in_and_fall_back() {
        let values = context! { account => context! { key => "shop" }, cursor => "", secret => context! { token => "s3" } };
        for (source, expected) in [
            ("plain", "plain"),
            ("{{ account.key }}/x", "shop/x"),
            ("Bearer {{ secret.token }}", "Bearer s3"),
            ("{{ account.name | default('none') }}", "none"),
            ("{{ '한 글/' | urlencode }}", "%ED%95%9C%20%EA%B8%80%2F"),
            ("{{ ['a', 'b'] | join(',') }}", "a,b"),
            ("{{ cursor }}", ""),
            ("{{ account.key is defined }} {{ account.name is not defined }}", "True True"),
            ("a | b is odd {{ 'x | y is odd' ~ \"it\\\"s | z\" }}", "a | b is odd x | y is oddit\"s | z"),
        ] {
            assert_eq!(Template::parse(source).unwrap().render(&values).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn what_is_not_in_the_closed_set_is_refused_when_the_file_is_read() {
        for (source, why) in [
            ("{{ env.HOME }}", "unknown value `env`"),
            ("{{ cursor | safe }}", "safe"),
            ("{{ item.author.name | safe }}", "`safe`"),
            ("{{ 'a' if item.kind == 'x' else item.b|lower | upper }}", "`upper`"),
            ("{{ item.kind is not none }}", "`none`"),
            ("{% if item.a is odd %}b{% endif %}", "`odd`"),
            ("{{ cursor", "unexpected"),
            ("{{ range(10) }}", "unknown value `range`"),
            ("{% include 'x' %}", "include"),
        ] {
            let error = Template::parse(source).unwrap_err();
            assert!(error.contains(why), "{source}: {error}");
        }
        assert!(Path::parse("$.a[").unwrap_err().contains("RFC 9535"));
    }

    #[test]
    fn a_secret_shows_nowhere() {
        let secret = Secret::new("token-123\n");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[redacted]\"");
        assert_eq!(secret.reveal(), "token-123");
        let values = context! { secret => context! { token => secret.reveal() } };
        let error = Template::parse("{{ secret.token | join(secret.nothing.at) }}").unwrap().render(&values).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("token-123"), "{error:?}");
    }

    #[test]
    fn a_field_is_a_path_or_a_template_over_the_item() {
        let item = json!({"id": 7, "title": "제목", "body": "본문", "none": null, "tags": [{"n": "a"}, {"n": "b"}]});
        let field = |source: &str| serde_json::from_value::<Field>(json!(source)).unwrap();
        let none = context! {};
        assert_eq!(field("$.id").text(&item, &none).as_deref(), Some("7"));
        assert_eq!(field("$.none").text(&item, &none), None);
        assert_eq!(field("{{ item.title }}\n{{ item.body }}").text(&item, &none).as_deref(), Some("제목\n본문"));
        assert_eq!(field("{{ item.absent }}").text(&item, &none), None);
        assert_eq!(field("$.tags[*].n").texts(&item, &none), ["a", "b"]);
        let error = serde_json::from_value::<Field>(json!("{{ secret.token }}")).unwrap_err();
        assert!(error.to_string().contains("not `secret`"), "a secret is no part of a post: {error}");
    }
}

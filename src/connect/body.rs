//! A JSON body as a connector file writes it: its strings are templates.
//!
//! A string that is one whole `{{ x }}` keeps the type of x, so that lists, numbers and truth values
//! reach the platform as such. What is empty or absent is left out.

use minijinja::{Value, context};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value as Json;

use super::{Error, template::Template};

/// A JSON object whose strings are templates.
#[derive(Clone, Debug)]
pub struct Body(Node);

#[derive(Clone, Debug)]
enum Node {
    Constant(Json),
    Text(Template),
    Whole(Template),
    List(Vec<Node>),
    /// One of these for each value of a list: read as `each`.
    Each(Template, Box<Node>),
    Table(Vec<(String, Node)>),
}

/// The key of a table in a list that is written once for each value of another list.
const FOR_EACH: &str = "for_each";

impl Body {
    /// The object with its values filled in.
    ///
    /// # Errors
    /// When a value is missing or a filter refuses it; the message holds the template, never a value.
    pub fn render(&self, values: &Value) -> Result<Json, Error> {
        Ok(self.0.render(values)?.unwrap_or_else(|| Json::Object(serde_json::Map::new())))
    }

    /// Whether any of its templates reads the value `name`.
    pub fn reads(&self, name: &str) -> bool {
        self.0.reads(name)
    }
}

impl Node {
    fn parse(value: toml::Value) -> Result<Node, String> {
        Ok(match value {
            toml::Value::String(text) if whole(&text).is_some() => Node::Whole(Template::parse(&text)?),
            toml::Value::String(text) => Node::Text(Template::parse(&text)?),
            toml::Value::Array(list) => Node::List(list.into_iter().map(Node::parse_in_list).collect::<Result<_, _>>()?),
            toml::Value::Table(table) => Node::Table(
                table.into_iter().map(|(key, value)| Ok((key, Node::parse(value)?))).collect::<Result<_, String>>()?,
            ),
            toml::Value::Datetime(_) => return Err("a time is written as a string here".into()),
            constant => Node::Constant(serde_json::to_value(constant).map_err(|error| error.to_string())?),
        })
    }

    fn parse_in_list(value: toml::Value) -> Result<Node, String> {
        let toml::Value::Table(mut table) = value else { return Node::parse(value) };
        match table.remove(FOR_EACH) {
            None => Node::parse(toml::Value::Table(table)),
            Some(toml::Value::String(list)) if whole(&list).is_some() => {
                Ok(Node::Each(Template::parse(&list)?, Box::new(Node::parse(toml::Value::Table(table))?)))
            }
            Some(_) => Err(format!("{FOR_EACH} is one whole {{{{ list }}}}")),
        }
    }

    fn render(&self, values: &Value) -> Result<Option<Json>, Error> {
        Ok(match self {
            Node::Each(..) => None,
            Node::Constant(json) => Some(json.clone()),
            Node::Text(template) => Some(template.render(values)?).filter(|text| !text.is_empty()).map(Json::String),
            Node::Whole(template) => {
                template.value(values)?.filter(|json| !json.is_null() && json.as_str().is_none_or(|text| !text.is_empty()))
            }
            Node::List(list) => {
                let mut rendered = Vec::new();
                for node in list {
                    let Node::Each(source, node) = node else {
                        rendered.extend(node.render(values)?);
                        continue;
                    };
                    for each in source.value(values)?.as_ref().and_then(Json::as_array).into_iter().flatten() {
                        rendered.extend(node.render(&context! { each => each, ..values.clone() })?);
                    }
                }
                Some(Json::Array(rendered))
            }
            Node::Table(table) => {
                let mut object = serde_json::Map::new();
                for (key, node) in table {
                    object.extend(node.render(values)?.map(|json| (key.clone(), json)));
                }
                // What has nothing to say is left out whole; what was written empty is meant.
                (!object.is_empty() || table.is_empty()).then_some(Json::Object(object))
            }
        })
    }

    fn reads(&self, name: &str) -> bool {
        match self {
            Node::Constant(_) => false,
            Node::Text(template) | Node::Whole(template) => template.reads(name),
            Node::List(list) => list.iter().any(|node| node.reads(name)),
            Node::Each(list, node) => list.reads(name) || node.reads(name),
            Node::Table(table) => table.iter().any(|(_, node)| node.reads(name)),
        }
    }
}

/// The expression of a template that is nothing but one.
pub(super) fn whole(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then_some(inner.trim())
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            table @ toml::Value::Table(_) => Node::parse(table).map(Body).map_err(de::Error::custom),
            _ => Err(de::Error::custom("a JSON body is a table")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_written_once_for_each_value_of_a_list() {
        let body: Body = toml::from_str(
            r#"facets = [{ for_each = "{{ reply.facets }}", index = { from = "{{ each.start }}" }, kinds = [{ "$type" = "k#{{ each.kind }}", uri = "{% if each.kind == 'link' %}{{ each.value }}{% endif %}" }] }]
            number = "{{ reply.number | int }}""#,
        )
        .unwrap();
        let facets = json!([{"start": 3, "kind": "link", "value": "https://a"}, {"start": 9, "kind": "tag", "value": "b"}]);
        let rendered = body.render(&context! { reply => context! { facets => facets, number => "31" } }).unwrap();
        assert_eq!(
            rendered,
            json!({"number": 31, "facets": [{"index": {"from": 3}, "kinds": [{"$type": "k#link", "uri": "https://a"}]},
                               {"index": {"from": 9}, "kinds": [{"$type": "k#tag"}]}]})
        );
        assert!(toml::from_str::<Body>("a = [{ for_each = 'x', b = 1 }]").unwrap_err().to_string().contains("for_each"));
    }

    #[test]
    fn strings_are_templates_types_are_kept_and_what_is_empty_is_left_out() {
        let body: Body = toml::from_str(
            r#"
            text = "{{ reply.text }}!"
            facets = "{{ reply.facets }}"
            langs = ["{{ reply.lang }}"]
            none = "{{ reply.none }}"
            empty = ""
            count = 3
            open = true
            nothing = {}
            [reply]
            root = { uri = "{{ reply.root }}" }
            parent = { uri = "{{ reply.empty }}" }
            "#,
        )
        .unwrap();
        let reply = context! { text => "안녕", facets => [json!({"start": 1})], lang => "ko", root => "at://1", empty => "" };
        assert_eq!(
            body.render(&context! { reply => reply }).unwrap(),
            json!({"text": "안녕!", "facets": [{"start": 1}], "langs": ["ko"], "count": 3, "open": true, "nothing": {},
                   "reply": {"root": {"uri": "at://1"}}})
        );
        let error = body.render(&context! { reply => context! { facets => 1 } }).unwrap_err();
        assert!(error.to_string().contains("reply.text"), "a part of a text must be there: {error}");
        assert!(body.reads("reply") && !body.reads("secret"));
    }
}
